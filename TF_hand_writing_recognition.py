"""Lesson 4: MNIST - handwritten digits, and a callback that stops when the network is good enough.

You learn to apply lessons 2 and 3 to digits, to see what a convolution adds, and to look at the
mistakes: which digits does the network still get wrong, and would you have got them right?

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3"
  python TF_hand_writing_recognition.py                      # train both, show the mistakes
  python TF_hand_writing_recognition.py --predict seven.jpg  # your own digit, dark on white paper

Expect the dense network to be right about 98 of 100 new digits, and the convolutional one nearly
99, after one to two minutes on a two-core CPU. The first run downloads 11 MB. MNIST: Yann LeCun and
Corinna Cortes, CC BY-SA 3.0.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3"]
# ///

import argparse
import contextlib
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
from PIL import Image, ImageOps, UnidentifiedImageError
from tensorflow.keras import layers

NAME = "TF_hand_writing_recognition"  # of this lesson
CLASSES = list("0123456789")
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
    """Return a network of two layers: digits [batch, 28, 28, 1] in, ten probabilities out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Flatten(),  # 784 pixels in one row, as a dense layer needs them
        layers.Dense(512, activation="relu"),  # 512 neurons, each of which weighs all the pixels
        layers.Dense(10, activation="softmax", dtype="float32"),  # ten probabilities, together 1
    ], name="dense")


def build_convolutional_model():
    """Return a network with a convolution: digits [batch, 28, 28, 1] in, ten probabilities out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Conv2D(32, 3, activation="relu"),  # 26x26x32: finds strokes, wherever they are
        layers.MaxPooling2D(2),  # 13x13x32: keeps the largest of each 2x2 block
        layers.Flatten(),  # 5,408 numbers in one row
        layers.Dense(128, activation="relu"),  # weighs which strokes are where
        layers.Dense(10, activation="softmax", dtype="float32"),  # ten probabilities, together 1
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    choose_precision()  # 16-bit numbers where the machine is faster with them, else 32
    if arguments.predict:
        predict(arguments.predict, output, load_digit, CLASSES)
        return
    output.mkdir(parents=True, exist_ok=True)

    # 1. Load the digits, and look at some, as in lesson 2: scaled, and with an axis for channels.
    training, test = load_mnist(tf.keras.datasets.mnist, arguments.data_dir)
    x, y = training
    x_test, y_test = test
    x = x[..., np.newaxis] * np.float32(RESCALE)
    x_test = x_test[..., np.newaxis] * np.float32(RESCALE)
    print(f"Training digits {x.shape} with labels {y.shape}, test digits {x_test.shape}.")
    draw_batch(x[:10], y[:10], CLASSES, output / "pictures.png")

    # 2. Train a network of two dense layers until its training accuracy is above 99%.
    dense = build_dense_model()
    dense.compile(
        loss="sparse_categorical_crossentropy",  # large if the true digit gets a low probability
        optimizer="adam",  # moves each weight in the direction in which the loss falls
        metrics=["accuracy"],  # the share of digits whose most probable class is the true one
        steps_per_execution=20,  # TensorFlow returns to Python after 20 steps, which saves time
    )
    dense.summary()
    stop_at_99 = StopAtAccuracy(0.99)
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    dense_history = dense.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
                              callbacks=[stop_at_99, stop_on_nan]).history

    # 3. Train a network with a convolution, which can do more: until 99.8%.
    convolutional = build_convolutional_model()
    convolutional.compile(
        loss="sparse_categorical_crossentropy",
        optimizer="adam",
        metrics=["accuracy"],
        steps_per_execution=20,
    )
    convolutional.summary()
    stop_at_998 = StopAtAccuracy(0.998)
    save_network = tf.keras.callbacks.ModelCheckpoint(output / "model.keras")
    save_names = SaveClasses(output, CLASSES)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    convolutional_history = convolutional.fit(
        x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
        callbacks=[stop_at_998, save_network, save_names, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start

    # 4. Measure both on test digits, which they have never seen, and look at the mistakes.
    dense_scores = dense.evaluate(x_test, y_test, verbose=0, return_dict=True)
    scores = convolutional.evaluate(x_test, y_test, verbose=0, return_dict=True)
    save_metrics(output, arguments, seconds, dense_test_accuracy=dense_scores["accuracy"],
                 test_accuracy=scores["accuracy"])
    draw_curves({"dense": dense_history, "convolutional": convolutional_history},
                output / "curves.png")
    probabilities = convolutional.predict(x_test, verbose=0)
    draw_mistakes(x_test, y_test, probabilities, CLASSES, output / "mistakes.png")
    plt.show()


def load_digit(file, shape):
    """Return a photographed digit as MNIST has them, 0 to 255: white on black, of shape 28x28x1.

    There a digit is 20 pixels high or wide, and its centre of mass is in the middle.
    """
    picture = open_picture(file).convert("L")
    if max(picture.size) > 20 * min(picture.size):
        raise OSError(f"{file} is too narrow for a digit: {picture.width}x{picture.height} pixels.")
    page = ImageOps.contain(picture, (280, 280))
    pixels = np.float32(page)
    ink = np.abs(pixels - np.median(pixels))  # most of a page is paper: that becomes black
    if ink.max() < 30:
        raise OSError(f"{file} is an empty page. Write a digit on it, with a dark pen.")
    ink[ink < ink.max() / 4] = 0  # without shadows
    digit = Image.fromarray(np.uint8(255 * ink / ink.max()))
    digit = digit.crop(digit.getbbox())  # the digit alone
    digit = ImageOps.expand(digit, 4)  # with a border, or else a thin 1 would vanish
    digit = ImageOps.expand(ImageOps.pad(digit, (20, 20)), 4)  # 20x20 pixels within 28x28
    pixels = np.float32(digit)
    middle_row = np.average(np.arange(28), weights=pixels.sum(axis=1))
    middle_column = np.average(np.arange(28), weights=pixels.sum(axis=0))
    down = round(13.5 - middle_row)
    right = round(13.5 - middle_column)
    pixels = np.roll(pixels, (down, right), axis=(0, 1))
    return (255 * pixels / pixels.max()).reshape(shape)


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


# Reading pictures


def open_picture(file):
    """Return the picture in `file` as an RGB picture of 8 bits, upright, on white paper.

    Raises OSError, with a sentence that names the file, if it cannot be read.
    """
    if Path(file).is_dir():
        raise OSError(f"{file} is a folder, not a picture.")
    if not Path(file).exists():
        raise OSError(f"There is no file {file}.")
    try:
        with open(file, "rb") as stream:
            picture = Image.open(stream)
            picture.load()
        with contextlib.suppress(Exception):  # an Exif header that cannot be read: no rotation
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16 bits, black 0 and white 65,535
            pixels = np.asarray(picture)
            if pixels.min() < 0 or pixels.max() > 65535:
                raise ValueError("it has more than 16 bits a pixel")
            transparent = pixels == picture.info.get("transparency", -1)
            if pixels.max() > 255:
                pixels = pixels // 257
            pixels = np.where(transparent, 255, pixels)  # white paper
            picture = Image.fromarray(np.uint8(pixels))
        if picture.mode == "F":
            raise ValueError("its pixels are not whole numbers")
        if picture.has_transparency_data:
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return picture.convert("RGB")
    except UnidentifiedImageError:
        reason = "it is empty, or its format is unknown"
    except Image.DecompressionBombError:
        reason = "it has too many pixels: make it smaller"
    except Exception as error:  # Pillow raises many kinds
        reason = str(error)
    raise OSError(f"{file} cannot be read as a picture ({reason}). Save it as JPEG or PNG, or "
                  "leave it out.")


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


def draw_mistakes(pictures, labels, scores, classes, file):
    """Draw the ten pictures that a network gets wrong most surely.

    pictures: [n, height, width], or with an axis for 1 or 3 channels. scores: the probabilities
    that the network gives to the classes [n, classes].
    """
    predicted = np.argmax(scores, axis=1)
    confidence = np.max(scores, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest_first = wrong[np.argsort(-confidence[wrong])]
    figure, axes = plt.subplots(2, 5, figsize=(13, 7))
    figure.suptitle(f"{len(wrong)} of {len(labels):,} are misclassified. The surest of them:\n")
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, surest_first):
        axis.imshow(pictures[row], cmap="gray")
        axis.set_title(f"{classes[labels[row]]}, taken\nfor {classes[predicted[row]]}\n"
                       f"({confidence[row]:.2%})")
    figure.savefig(file)


# Saving a network, and using it


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run when the loss is no longer a number, and before the network is saved."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            sys.exit("The loss is no longer a number: the steps of the training are too large. Use "
                     "a smaller learning rate.")


class SaveClasses(tf.keras.callbacks.Callback):
    """Keeps the names of the classes beside the network, as soon as an epoch has saved it."""

    def __init__(self, folder, classes):
        super().__init__()
        self.folder = folder
        self.classes = classes

    def on_epoch_end(self, epoch, logs=None):
        save_classes(self.folder, self.classes)


def save_classes(folder, classes):
    """Keep the names of the classes beside the network, for --predict and for lesson 9."""
    (folder / "classes.txt").write_text("\n".join(classes), encoding="utf-8")


def read_classes(folder, model):
    """Return the names of the classes that were saved beside a network."""
    file = folder / "classes.txt"
    if not file.exists():
        sys.exit(f"There is no {file} with the names of the classes. Train again.")
    classes = file.read_text(encoding="utf-8").splitlines()
    if len(classes) != max(model.output_shape[1], 2):  # one output is enough for two classes
        sys.exit(f"{file} is of another run than the network beside it. Train again.")
    return classes


def load_network(file):
    """Return the network that was saved in `file`."""
    try:
        return tf.keras.models.load_model(file)
    except Exception as error:
        sys.exit(f"{file} cannot be loaded as a network ({error}). Train again.")


def predict(files, folder, load, expected_classes=None):
    """Print the class of each picture, and the probability that the saved network gives to it.

    load: a function that turns a file and the shape of the network's input into pixels, 0 to 255.
    """
    saved = folder / "model.keras"
    if not saved.exists():
        sys.exit(f"There is no {saved}. Train first, or name another folder with --output-dir.")
    model = load_network(saved)
    if model.name != NAME:
        sys.exit(f"The network in {folder} is one of {model.name}, not of {NAME}. Name another "
                 "folder with --output-dir.")
    classes = read_classes(folder, model)
    if expected_classes and classes != expected_classes:
        sys.exit(f"The network in {folder} tells {', '.join(classes)} apart, not "
                 f"{', '.join(expected_classes)}. Name another folder with --output-dir.")
    for file in files:
        picture = load(file, model.input_shape[1:]) * np.float32(RESCALE)  # scaled as in training
        scores = model.predict(picture[np.newaxis], verbose=0)[0]  # a batch of one picture
        if len(scores) == 1:  # the probability of label 1 alone
            scores = [1 - scores[0], scores[0]]
        print(f"{file}: {classes[np.argmax(scores)]} ({max(scores):.1%})")


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
    parser.add_argument("--epochs", type=positive, default=10,
                        help="passes over the digits, at most (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=128,
                        help="digits in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path, help="your own folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for the results (%(default)s)")
    parser.add_argument("--predict", type=path, nargs="+", metavar="FILE",
                        help="only classify these pictures")
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
