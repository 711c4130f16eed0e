"""Lesson 7: saving and loading - what is in the file, and how a network gets into other programs.

Training takes minutes or days, and its result is a few files. What is in them, is anything lost,
and how does a network get out of Keras, or onto a phone?

You learn to save a network as .keras, as .h5, or its weights alone; to resume training from a
checkpoint as if nothing had happened; to look into the files; to export a network to programs
without Keras and to phones; and what a stranger's model file could do.

  python -m pip install "tensorflow==2.21.*" matplotlib h5py
  python TF_Saving_Loading_Model.py
  python TF_Saving_Loading_Model.py --epochs 50 --output-dir outputs/saving_50

Then open model.keras with a zip program: where is the architecture, and where are the weights?

Expect a difference of exactly 0 between the predictions before and after, in about fifteen seconds.
Nothing is downloaded.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "h5py"]
# ///

import argparse
import os
import sys
import zipfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log

import h5py
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.ticker import LogFormatter
from tensorflow.keras import layers

SLOPE = 2  # the rule of lesson 1: y = 2 x - 1
INTERCEPT = -1


def build_model():
    """Return lesson 1's network with a layer before its neuron: numbers [batch, 1] in and out."""
    model = tf.keras.Sequential([
        layers.Input((1,)),  # one number
        layers.Dense(8, activation="relu", name="hidden"),  # these names will appear in the files
        layers.Dense(1, name="output"),  # one number again
    ])
    model.compile(
        loss="mean_squared_error",  # how wrong the answers are: the mean of (answer - y)^2
        # Adam remembers averages of past gradients. To resume training, they must be saved, too.
        optimizer=tf.keras.optimizers.Adam(learning_rate=0.05),
    )
    return model


def main(arguments):
    output = arguments.output_dir
    (output / "checkpoints").mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.keras.mixed_precision.set_global_policy("float32")  # more than enough for 25 weights

    # 1. Train, and save a checkpoint after each epoch: the whole network, as it is then.
    x = np.linspace(-1, 4, 64, dtype="float32").reshape(-1, 1)  # [64, 1]: one number each
    y = SLOPE * x + INTERCEPT
    model = build_model()
    save_checkpoint = tf.keras.callbacks.ModelCheckpoint(
        output / "checkpoints" / "epoch_{epoch:02d}.keras")
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    history = model.fit(x, y, epochs=arguments.epochs, verbose=0,
                        shuffle=False,  # the same order in each epoch: step 3 can repeat it
                        callbacks=[save_checkpoint, save_curves]).history

    # 2. Save the network in three formats, load it again, and compare the predictions.
    keras_file = output / "model.keras"
    h5_file = output / "model.h5"
    weights_file = output / "model.weights.h5"
    model.save(keras_file)  # all of it, in today's format
    model.save(h5_file)  # in the old format: Keras 3 loads it without Adam's averages
    model.save_weights(weights_file)  # weights and averages, but no architecture
    from_keras = tf.keras.models.load_model(keras_file)
    from_h5 = tf.keras.models.load_model(h5_file)
    rebuilt = build_model()  # weights alone need the code that builds the network
    rebuilt.optimizer.build(rebuilt.trainable_variables)  # makes room for the averages
    rebuilt.load_weights(weights_file)
    expected = model(x)  # a network can be called like a function
    differences = []
    differences.append(compare("model.keras", expected, from_keras(x)))
    differences.append(compare("model.h5", expected, from_h5(x)))
    differences.append(compare("model.weights.h5", expected, rebuilt(x)))

    # 3. Resume training from the checkpoint halfway. It ends where the first training ended.
    half = arguments.epochs // 2
    resumed = tf.keras.models.load_model(output / "checkpoints" / f"epoch_{half:02d}.keras")
    resumed_history = resumed.fit(x, y, initial_epoch=half, epochs=arguments.epochs, verbose=0,
                                  shuffle=False).history
    differences.append(compare("resumed training", expected, resumed(x)))

    # 4. Leave Keras. A SavedModel runs wherever TensorFlow does, without the code above; a LiteRT
    #    file runs on phones and microcontrollers.
    model.export(output / "saved_model", verbose=False)
    exported = tf.saved_model.load(output / "saved_model")  # must be kept while `serve` is used
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
    #    from people you trust. This code only doubles a number, but it could do anything.
    model_with_code = tf.keras.Sequential([layers.Input((1,)), layers.Lambda(lambda x: 2 * x)])
    code_file = output / "with_code.keras"
    model_with_code.save(code_file)
    try:
        tf.keras.models.load_model(code_file)
    except ValueError as refusal:
        first_sentences = str(refusal).split(". ")[:2]
        print(f"\nwith_code.keras was refused: {'. '.join(first_sentences)}.")
    draw_losses(history["loss"], resumed_history["loss"], output / "loss.png")
    print(f"\nlargest difference: {max(differences):.4f}")
    print(f"The results are in {output}.")
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
        content.visititems(print)  # each group and dataset; "<f4" is a number of 32 bits


def draw_losses(losses, resumed_losses, file):
    """Draw the loss of the whole training, and of the one that was resumed halfway."""
    figure, axis = plt.subplots(figsize=(10, 4.5), layout="constrained")
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


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="at least 2 (20)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_Saving_Loading_Model"))
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be at least 2: one before the checkpoint, one after it")
    return arguments


if __name__ == "__main__":
    try:
        main(parse_arguments())
    # Of a file that is written by half, BadZipFile and KeyError; of a full disk, the last two.
    except (OSError, zipfile.BadZipFile, KeyError,
            tf.errors.OutOfRangeError, tf.errors.ResourceExhaustedError) as error:
        sys.exit(f"A file cannot be saved or read: {error}. Is the disk full, or does another "
                 "program, or another run, use the same folder?")
    except KeyboardInterrupt:
        sys.exit("Stopped.")
