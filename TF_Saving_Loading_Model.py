"""Lesson 7: saving and loading - what is in the file, and how a network gets into other programs.

You learn to save a network as .keras, as .h5, or its weights alone; to resume training from a
checkpoint as if nothing had happened; to look into the files; to export a network to programs
without Keras and to phones; and what a stranger's model file could do.

  python -m pip install "tensorflow==2.21.*" matplotlib h5py
  python TF_Saving_Loading_Model.py                                  # does all of it
  python TF_Saving_Loading_Model.py --epochs 50 --output-dir outputs/saving_50

Expect a difference of exactly 0 between the predictions before and after, in about fifteen seconds.
Nothing is downloaded.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "h5py"]
# ///

import argparse
import json
import os
import socket
import sys
import time
import zipfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ["TF_USE_LEGACY_KERAS"] = "0"  # Keras 3, not 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions
if os.environ.get("MPLBACKEND", "").startswith("module:") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]  # set by a notebook, and of use only inside it

import h5py
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.ticker import LogFormatter
from tensorflow.keras import layers

NAME = "TF_Saving_Loading_Model"  # of this lesson
SLOPE = 2.0  # the rule of lesson 1: y = 2 x - 1
INTERCEPT = -1.0


def build_model():
    """Return lesson 1's network with a layer before its neuron: numbers [batch, 1] in and out."""
    return tf.keras.Sequential([
        layers.Input((1,)),
        layers.Dense(8, activation="relu", name="hidden"),  # these names will appear in the files
        layers.Dense(1, name="output"),
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    output.mkdir(parents=True, exist_ok=True)
    (output / "checkpoints").mkdir(exist_ok=True)
    x = np.linspace(-1, 4, 64, dtype="float32")
    x = x.reshape(-1, 1)  # [64, 1]: 64 examples of one number each
    y = SLOPE * x + INTERCEPT

    # 1. Train, and save a checkpoint after each epoch: the whole network, as it is then.
    model = build_model()
    model.compile(
        loss="mean_squared_error",
        # Adam remembers averages of past gradients. To resume training, they must be saved, too.
        optimizer=tf.keras.optimizers.Adam(learning_rate=0.05),
    )
    save_checkpoint = tf.keras.callbacks.ModelCheckpoint(
        output / "checkpoints" / "epoch_{epoch:02d}.keras")
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    history = model.fit(x, y, epochs=arguments.epochs, verbose=0,
                        shuffle=False,  # the same order in each epoch: step 3 can repeat it
                        callbacks=[save_checkpoint, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start

    # 2. Save the network in three formats, load it again, and compare the predictions.
    keras_file = output / "model.keras"
    h5_file = output / "model.h5"
    weights_file = output / "model.weights.h5"
    model.save(keras_file)  # all of it, in today's format
    model.save(h5_file)  # in the old format: Keras 3 loads it without Adam's averages
    model.save_weights(weights_file)  # weights and averages, but no architecture
    rebuilt = build_model()  # weights alone need the code that builds the network
    rebuilt.compile(
        loss="mean_squared_error",
        optimizer=tf.keras.optimizers.Adam(learning_rate=0.05),
    )
    rebuilt.optimizer.build(rebuilt.trainable_variables)  # makes room for the averages
    rebuilt.load_weights(weights_file)
    from_keras = tf.keras.models.load_model(keras_file)
    from_h5 = tf.keras.models.load_model(h5_file)
    expected = model(x)  # a network can be called like a function
    differences = []
    differences.append(compare("model.keras", expected, from_keras(x)))
    differences.append(compare("model.h5", expected, from_h5(x)))
    differences.append(compare("model.weights.h5", expected, rebuilt(x)))

    # 3. Resume training from the checkpoint halfway. It ends where the first training ended.
    half = arguments.epochs // 2
    checkpoint = output / "checkpoints" / f"epoch_{half:02d}.keras"
    resumed = tf.keras.models.load_model(checkpoint)
    resumed_history = resumed.fit(x, y, initial_epoch=half, epochs=arguments.epochs, verbose=0,
                                  shuffle=False).history
    differences.append(compare("resumed training", expected, resumed(x)))

    # 4. Leave Keras. A SavedModel runs wherever TensorFlow does, without the code above; a LiteRT
    #    file runs on phones and microcontrollers.
    model.export(output / "saved_model", verbose=False)
    exported = tf.saved_model.load(output / "saved_model")
    differences.append(compare("saved_model", expected, exported.serve(x)))
    phone_file = output / "model.tflite"
    model.export(phone_file, format="litert", verbose=False)
    print(f"model.tflite has {phone_file.stat().st_size:,} bytes.")

    # 5. Look inside. A .keras file is a zip archive, an .h5 file a tree of arrays.
    print("\nmodel.keras")
    with zipfile.ZipFile(keras_file) as archive:
        for entry in archive.infolist():
            print(f"  {entry.filename}, {entry.file_size:,} bytes")
    print_tree(h5_file)
    print_tree(weights_file)

    # 6. Beware of strangers. A model may carry Python code, and whoever loads the file runs it,
    #    unless `safe_mode`, which is on by default, refuses. It is no guarantee: load only files
    #    from people you trust.
    #    This code only doubles a number, but it could do anything.
    model_with_code = tf.keras.Sequential([layers.Input((1,)), layers.Lambda(lambda x: 2 * x)])
    code_file = output / "with_code.keras"
    model_with_code.save(code_file)
    try:
        tf.keras.models.load_model(code_file)
    except ValueError as refusal:
        first_sentences = str(refusal).split(". ")[:2]
        print(f"\nwith_code.keras was refused: {'. '.join(first_sentences)}.")
    save_metrics(output, arguments, seconds, largest_difference=max(differences))
    draw_losses(history["loss"], resumed_history["loss"], output / "loss.png")
    plt.show()


def compare(name, expected, predicted):
    """Print and return the largest difference between two networks' predictions [n, 1]."""
    difference = float(np.max(np.abs(expected - predicted)))
    print(f"{name:18} largest difference {difference:g}")
    return difference


def print_tree(file):
    """Print the groups and datasets of an HDF5 file, and the attributes of its root."""
    with h5py.File(file) as content:
        print(f"\n{file.name}, {file.stat().st_size:,} bytes")
        for name, value in content.attrs.items():  # the architecture is one of them, as JSON
            print(f"  attribute {name} = {str(value)[:80]}")
        content.visititems(print_node)


def print_node(name, node):
    """Print a group or a dataset of an HDF5 file, indented by its depth."""
    indent = "  " * name.count("/")
    short = name.split("/")[-1]
    if isinstance(node, h5py.Dataset):
        print(f"  {indent}{short}: dataset {node.shape} {node.dtype}")
    else:
        print(f"  {indent}{short}: group")


def draw_losses(losses, resumed_losses, file):
    """Draw the loss of the whole training, and of the one that was resumed halfway."""
    figure, axis = plt.subplots(figsize=(8, 5))
    epochs = np.arange(1, len(losses) + 1)
    axis.semilogy(epochs, losses, "o-", label="trained in one go")
    axis.semilogy(epochs[-len(resumed_losses):], resumed_losses, "x", markersize=12,
                  label="resumed from a checkpoint")
    axis.set(title="As if nothing had happened", xlabel="epoch", ylabel="loss (logarithmic)")
    axis.yaxis.set_major_formatter("{x:g}")  # 0.1, not a power of ten
    axis.yaxis.set_minor_formatter(LogFormatter())
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()
    figure.savefig(file)


# The lesson ends here. What follows is tools, which need not be read to understand it. Those that
# several lessons need are the same, to the letter, in all of them.
# --------------------------------------------------------------------------------------------------


# Setting up


def set_up(seed):
    """Prepare TensorFlow, whatever a settings file or an earlier lesson in this kernel has chosen.

    All layers compute in 32 bits, unless the lesson chooses otherwise afterwards.
    """
    major, minor = tf.__version__.split(".")[:2]
    if (int(major), int(minor)) < (2, 21):
        sys.exit(f"This lesson needs TensorFlow 2.21, and this is {tf.__version__}. Install it: "
                 'python -m pip install "tensorflow==2.21.*"')
    socket.setdefaulttimeout(60)  # seconds without an answer end a download
    prepare_figures()
    tf.keras.backend.clear_session()
    tf.keras.config.set_image_data_format("channels_last")
    tf.keras.config.set_floatx("float32")
    tf.keras.utils.set_random_seed(seed)
    tf.keras.mixed_precision.set_global_policy("float32")


def prepare_figures():
    """Set the size of all text in figures, and let matplotlib arrange what is in them."""
    plt.rcParams["font.size"] = 14
    plt.rcParams["figure.figsize"] = (12, 5.4)  # inches
    plt.rcParams["figure.constrained_layout.use"] = True
    plt.rcParams["text.parse_math"] = False


# Saving a network, and using it


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run when the loss is no longer a number, and before the network is saved."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            sys.exit("The loss is no longer a number: the steps of the training are too large. Use "
                     "a smaller learning rate.")


def save_metrics(folder, arguments, seconds, **metrics):
    """Print the metrics, and save them with the arguments of the run as metrics.json."""
    precision = tf.keras.mixed_precision.global_policy().name
    content = {**metrics, "seconds": seconds, "precision": precision, **vars(arguments)}
    (folder / "metrics.json").write_text(json.dumps(content, indent=2, default=str))
    for name, value in metrics.items():
        print(f"{name.replace('_', ' ')}: {value:.4f}")
    print(f"The training took {seconds:.0f} s, in {precision}. All results are in {folder}.")


# Flags


def positive(text):
    """Return `text` as a whole number above 0; anything else is an error of the flag."""
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 to {2**31 - 1}")
    return int(text)


def path(text):
    """Return `text` as a path; a `~` at its beginning is the home folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # there is no such user
        return Path(text)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)
    parser.add_argument("--epochs", type=positive, default=20, help="at least 2 (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for the results (%(default)s)")
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be at least 2: one before the checkpoint, one after it")
    return arguments


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has no such method, and needs none
        sys.stdout.reconfigure(errors="backslashreplace")  # for letters that a terminal lacks
    try:
        main(parse_arguments())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:  # a file that is no picture, a full disk, a protected folder
        sys.exit(str(error))
