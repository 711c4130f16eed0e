"""Lesson 2: Fashion-MNIST - ten kinds of clothes, first without and then with convolutions.

You learn to build a network of two layers that tells ten classes apart; to write a callback, your
own code that Keras calls after each epoch, to stop the training at a threshold; to put convolutions
before these layers, and to gain three percentage points; and to look at what they find.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_fashion_mnist.py                                            # all four steps
  python TF_fashion_mnist.py --epochs 15 --output-dir outputs/clothes_15  # does it help?

Expect the dense network to be right about 87 of 100 new pictures, and the convolutional one about
90, after one to four minutes on a two-core CPU. The first run downloads 31 MB. Fashion-MNIST:
Zalando Research, MIT licence.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import gzip
import json
import os
import socket
import sys
import time
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ["TF_USE_LEGACY_KERAS"] = "0"  # Keras 3, not 2
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions
if os.environ.get("MPLBACKEND", "").startswith("module:") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]  # set by a notebook, and of use only inside it

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

NAME = "TF_fashion_mnist"  # of this lesson
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # labels 0 to 9
STOP_AT = 0.95  # the training accuracy above which the callback stops; try 0.85
DRAWN_CLASS = "Ankle boot"  # whose pictures the last figure shows; try "Bag"
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


class StopAtAccuracy(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch whose training accuracy is above a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def on_epoch_end(self, epoch, logs=None):
        # Keras calls this after each epoch. `logs` has the numbers that the progress bar shows:
        # the accuracy is a mean over the steps of the epoch, in which the network has improved.
        if logs["accuracy"] > self.threshold:
            print(f"\nThe accuracy of epoch {epoch + 1} is above {self.threshold:.1%}: stopping.")
            self.model.stop_training = True


def build_dense_model():
    """Return a network of two layers: pictures [batch, 28, 28, 1] in, ten probabilities out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Flatten(),  # 784 pixels in one row, as a dense layer needs them
        layers.Dense(128, activation="relu"),  # 128 neurons, each of which weighs all the pixels
        layers.Dense(10, activation="softmax", dtype="float32"),  # ten probabilities, together 1
    ], name="dense")


def build_convolutional_model():
    """Return the same network behind two convolutions, which find patterns for it to weigh."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Conv2D(64, 3, activation="relu"),  # 26x26x64: 64 filters of 3x3 pixels find edges
        layers.MaxPooling2D(2),  # 13x13x64: keeps the largest of each 2x2 block
        layers.Conv2D(64, 3, activation="relu"),  # 11x11x64: combinations of edges, such as a heel
        layers.MaxPooling2D(2),  # 5x5x64
        layers.Flatten(),  # 1,600 numbers in one row
        layers.Dense(128, activation="relu"),  # weighs what was found where
        layers.Dense(10, activation="softmax", dtype="float32"),  # ten probabilities, together 1
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    choose_precision()  # 16-bit numbers where the machine is faster with them, else 32
    output.mkdir(parents=True, exist_ok=True)

    # 1. Load the pictures, and look at some: x has the pixels, y the labels. The test pictures are
    #    for the end: the networks never learn from them. All pixels are scaled alike, and get a
    #    fourth axis, for the channels: [60000, 28, 28] becomes [60000, 28, 28, 1].
    training, test = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)
    x, y = training
    x_test, y_test = test
    x = x[..., np.newaxis] * np.float32(RESCALE)
    x_test = x_test[..., np.newaxis] * np.float32(RESCALE)
    print(f"Training pictures {x.shape} with labels {y.shape}, test pictures {x_test.shape}.")
    draw_batch(x[:10], y[:10], CLASSES, output / "pictures.png")

    # 2. Train a network of two dense layers. Nobody writes the rule for "pullover": the network
    #    finds it in the examples, a batch of 128 pictures at a time.
    dense = build_dense_model()
    dense.compile(
        loss="sparse_categorical_crossentropy",  # large if the true class gets a low probability
        optimizer="adam",  # moves each weight in the direction in which the loss falls
        metrics=["accuracy"],  # the share of pictures whose most probable class is the true one
    )
    dense.summary()
    stop_at_accuracy = StopAtAccuracy(STOP_AT)
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    dense_history = dense.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
                              callbacks=[stop_at_accuracy, stop_on_nan]).history

    # 3. Train the same network behind two convolutions, in the same way.
    convolutional = build_convolutional_model()
    convolutional.compile(
        loss="sparse_categorical_crossentropy",
        optimizer="adam",
        metrics=["accuracy"],
    )
    convolutional.summary()
    save_network = tf.keras.callbacks.ModelCheckpoint(output / "model.keras")
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    convolutional_history = convolutional.fit(
        x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
        callbacks=[stop_at_accuracy, save_network, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start

    # 4. Compare both on the test pictures, and look at what the convolutions have found.
    dense_scores = dense.evaluate(x_test, y_test, verbose=0, return_dict=True)
    scores = convolutional.evaluate(x_test, y_test, verbose=0, return_dict=True)
    save_metrics(output, arguments, seconds, dense_test_accuracy=dense_scores["accuracy"],
                 test_accuracy=scores["accuracy"])
    draw_curves({"dense": dense_history, "convolutional": convolutional_history},
                output / "curves.png")
    pictures = x_test[y_test == CLASSES.index(DRAWN_CLASS)]
    draw_layers(convolutional, pictures[:3], output / "layers.png")
    plt.show()


def draw_layers(model, pictures, file):
    """Draw three pictures [3, 28, 28, 1], and what a filter of each convolution makes of them.

    It is the filter whose output varies most; the pooling behind it shows the same one.
    """
    convolutions = model.layers[:4]  # two convolutions, each with its pooling
    outputs = [layer.output for layer in convolutions]
    look_inside = tf.keras.Model(model.inputs[0], outputs)  # the same layers, but with four outputs
    titles = ["picture", "first convolution", "its pooling", "second convolution", "its pooling"]
    columns = [pictures, *look_inside.predict(pictures, verbose=0)]
    figure, axes = plt.subplots(3, 5, figsize=(13, 8.4))
    for axis in axes.flat:
        axis.axis("off")
    for column, title, maps in zip(axes.T, titles, columns):
        maps = np.float32(maps)
        if title != "its pooling":
            best = np.argmax(maps.std(axis=(0, 1, 2)))
        column[0].set_title(f"{title}\n{maps.shape[1]}x{maps.shape[2]}")
        for axis, feature_map in zip(column, maps):
            axis.imshow(feature_map[..., best], cmap="gray")
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


def choose_precision():
    """Let the layers compute in 16 bits (bfloat16), if the machine is faster with them."""
    if multiplies_bfloat16():
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")


def multiplies_bfloat16():
    """Return whether the GPUs, or else the processor, have instructions for 16-bit numbers."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        for gpu in gpus:
            details = tf.config.experimental.get_device_details(gpu)
            if details.get("compute_capability", (0, 0)) < (8, 0):
                return False
        return True
    cpu = Path("/proc/cpuinfo")  # on Linux
    return cpu.exists() and "bf16" in cpu.read_text()


# Getting the data


def load_mnist(dataset, data_dir):
    """Return pictures [n, 28, 28] (bytes) and labels [n], for training and for the test.

    They come from the four idx files in `data_dir`, or else from Keras: `dataset` is a module such
    as tf.keras.datasets.mnist, which downloads its pictures on the first run.
    """
    try:
        if data_dir is None:
            return dataset.load_data()
        training = read_idx_pair(data_dir, "train")
        test = read_idx_pair(data_dir, "t10k")
        return training, test
    except Exception as error:
        sys.exit(f"The pictures cannot be loaded ({error}). If an incomplete file is in the way, "
                 "delete it, and try again. Or download the four idx .gz files, and name their "
                 "folder with --data-dir.")


def read_idx_pair(folder, part):
    """Return the pictures [n, 28, 28] and the labels [n] of one part, "train" or "t10k"."""
    pictures = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pictures = np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28)  # after a header
    labels = np.frombuffer(labels, np.uint8, offset=8)
    if len(pictures) != len(labels):
        raise ValueError(f"{folder} has {len(pictures)} pictures, but {len(labels)} labels")
    if labels.max() > 9:
        raise ValueError(f"{folder} has labels above 9: this is another dataset")
    return pictures, labels


# Drawing


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label in zip(axes.flat, pictures, labels):
        if np.ndim(label) == 1:  # [0, 1, 0] stands for label 1
            label = np.argmax(label)
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(classes[int(label)])
    figure.savefig(file)


def draw_curves(histories, file, star="best validation accuracy"):
    """Draw accuracy and loss by epoch: training dashed, validation solid, a star at one epoch.

    histories: {name of a run: its history, with a list of numbers for each metric}.
    star: "best validation accuracy", or "lowest validation loss".
    """
    figure, axes = plt.subplots(1, 2)
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        drawn = []
        for number, (name, history) in enumerate(histories.items()):
            color = f"C{number}"
            epochs = np.arange(1, len(history["loss"]) + 1)
            if metric in history:  # lessons 1 and 7 measure no accuracy
                axis.plot(epochs, history[metric], ".--", color=color, label=f"{name}: training")
                drawn.extend(history[metric])
            if f"val_{metric}" in history and "val_loss" in history:  # where measured
                validation = history[f"val_{metric}"]
                if star == "lowest validation loss":
                    kept = np.argmin(history["val_loss"])
                else:
                    kept = np.argmax(history["val_accuracy"])
                axis.plot(epochs, validation, ".-", color=color, label=f"{name}: validation")
                axis.plot(epochs[kept], validation[kept], "*", color=color, markersize=18,
                          label=f"{name}: {star}")
                drawn.extend(validation)
        axis.set(title=metric.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if metric == "loss" and max(drawn) > 2 * np.quantile(drawn, 0.9):
            axis.set_ylim(0, 2 * np.quantile(drawn, 0.9))  # a single peak would flatten the rest
            axis.set_title("Loss (the highest peaks are cut off)")
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(histories), 2))
    figure.savefig(file)


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
    parser.add_argument("--epochs", type=positive, default=5,
                        help="passes over the pictures, at most (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=128,
                        help="pictures in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path, help="your own folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for the results (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has no such method, and needs none
        sys.stdout.reconfigure(errors="backslashreplace")  # for letters that a terminal lacks
    try:
        main(parse_arguments())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:  # a file that is no picture, a full disk, a protected folder
        sys.exit(str(error))
