"""Lesson 4: MNIST - handwritten digits, and a callback that stops when the network is good enough.

A network reads digits that were written, scanned and prepared as those it has learned from. Your
own digit, on a photograph, is none of this. What does it take to read it, too?

You learn to apply lessons 2 and 3 to digits; to see what a convolution adds; to look at the
mistakes; and to prepare a photograph as the training pictures were prepared.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_hand_writing_recognition.py                      # train both, show the mistakes
  python TF_hand_writing_recognition.py --predict seven.jpg  # your own digit, dark on light paper

An experiment: give the dense network 32 instead of 512 neurons. Does it still reach 99%?

Expect both networks to be right about 98 of 100 new digits, the convolutional one a little more
often, after one to three minutes on a two-core CPU. The first run downloads 11 MB. MNIST: Yann
LeCun and Corinna Cortes, CC BY-SA 3.0.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy"]
# ///

import argparse
import gzip
import os
import socket
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage
from tensorflow.keras import layers

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
CLASSES = list("0123456789")
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers
PAGE = 600  # pixels of the longer side of a photographed page


class StopAtAccuracy(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch whose training accuracy is above a threshold."""

    def __init__(self, threshold):
        super().__init__()  # Keras prepares its part
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
    ])


def build_convolutional_model():
    """Return a network with a convolution: digits [batch, 28, 28, 1] in, ten probabilities out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Conv2D(32, 3, activation="relu"),  # 26x26x32: finds strokes, wherever they are
        layers.MaxPooling2D(2),  # 13x13x32: keeps the largest of each 2x2 block
        layers.Flatten(),  # 5,408 numbers in one row
        layers.Dense(128, activation="relu"),  # weighs which strokes are where
        layers.Dense(10, activation="softmax", dtype="float32"),  # ten probabilities, together 1
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

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
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    dense_history = dense.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
                              callbacks=[stop_at_99, stop_on_nan]).history

    # 3. Train a network with a convolution, which can do more: until 99.8%. It is the one to keep.
    convolutional = build_convolutional_model()
    convolutional.compile(loss="sparse_categorical_crossentropy", optimizer="adam",
                          metrics=["accuracy"], steps_per_execution=20)
    convolutional.summary()
    stop_at_998 = StopAtAccuracy(0.998)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    convolutional_history = convolutional.fit(
        x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
        callbacks=[stop_at_998, save_curves, stop_on_nan]).history
    convolutional.save(output / "model.keras")

    # 4. Measure both on test digits, which they have never seen, and look at the mistakes: would
    #    you have read these digits?
    dense_scores = dense.evaluate(x_test, y_test, verbose=0, return_dict=True)
    scores = convolutional.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"dense test accuracy: {dense_scores['accuracy']:.4f}")
    print(f"test accuracy: {scores['accuracy']:.4f}")
    draw_curves({"dense": dense_history, "convolutional": convolutional_history},
                output / "curves.png")
    probabilities = convolutional.predict(x_test, verbose=0)
    draw_mistakes(x_test, y_test, probabilities, CLASSES, output / "mistakes.png")
    print(f"The results are in {output}.")
    plt.show()


def load_digit(file):
    """Return a photographed digit as MNIST has them, 0 to 255 [28, 28]: white on black."""
    page = load_picture(file).convert("L")
    page = ImageOps.contain(page, (PAGE, PAGE)).filter(ImageFilter.GaussianBlur(1))  # less noise
    ink = find_ink(np.float32(page))  # what is darker than the paper around it
    if ink.max() < 0.25:
        raise OSError(f"{file} is an empty page. Write a digit on it, with a dark pen.")
    ink = keep_digit(ink, file)  # without specks, squares and the desk
    return center_digit(ink)  # at most 20 pixels high and wide, in the middle of 28x28


def predict(files, folder):
    """Print the digit on each photograph, and draw what the network sees: 28x28 pixels."""
    if not (folder / "model.keras").exists():
        sys.exit(f"There is no network in {folder} yet: train first.")
    model = tf.keras.models.load_model(folder / "model.keras")
    digits = []
    for file in files:
        try:
            digit = load_digit(file)
        except OSError as error:
            print(error)
            continue
        digits.append(digit)
        scaled = digit[np.newaxis, ..., np.newaxis] * np.float32(RESCALE)  # a batch of one digit
        probabilities = model.predict(scaled, verbose=0)[0]
        print(f"{file}: {CLASSES[np.argmax(probabilities)]} ({np.max(probabilities):.1%})")
    if digits:
        large = np.hstack(digits).repeat(8, axis=0).repeat(8, axis=1)
        plt.imsave(folder / "prediction.png", large, cmap="gray", vmin=0, vmax=255)
        print(f"What the network sees of them is in {folder / 'prediction.png'}.")
    if len(digits) < len(files):
        sys.exit(1)


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def find_ink(page):
    """Return how dark each place of a page is against its surroundings, 0 to 1 [height, width]."""
    # The paper around a place is the brightest that is near: closing fills whatever is darker and
    # narrower than a fifth of the page. A shadow is wider, so it darkens the paper, too.
    paper = ndimage.grey_closing(page, (PAGE // 5, PAGE // 5))
    ink = 1 - page / np.maximum(paper, 1)
    ink[paper < 0.4 * paper.max()] = 0  # no paper, but the desk around it
    return ink


def keep_digit(ink, file):
    """Return the ink without what is no part of the digit, such as the lines of squared paper."""
    strokes, _ = ndimage.label(ink > ink.max() / 2, np.ones((3, 3)))  # 1, 2, ...: what is connected
    boxes = {}
    heights = {}
    for number, (rows, columns) in enumerate(ndimage.find_objects(strokes), start=1):
        inside = rows.start > 0 and columns.start > 0
        inside = inside and rows.stop < ink.shape[0] and columns.stop < ink.shape[1]
        if inside:  # the desk reaches the edge of the photograph, a digit does not
            boxes[number] = (rows, columns)
            heights[number] = rows.stop - rows.start
    if max(heights.values(), default=0) < PAGE / 20:
        raise OSError(f"{file} has no digit that is large enough, and away from the edges.")
    tallest = max(heights, key=heights.get)
    rows, columns = boxes[tallest]
    gap = heights[tallest] / 4
    pieces = []
    for number, (other_rows, other_columns) in boxes.items():
        above = other_columns.start < columns.stop and columns.start < other_columns.stop
        near = other_rows.start < rows.stop + gap and rows.start < other_rows.stop + gap
        if above and near:  # the digit itself, or such as the bar of a 5 that does not touch it
            pieces.append(number)
        elif heights[number] > heights[tallest] / 2:
            raise OSError(f"{file} has more than one digit. Photograph one at a time.")
    kept = ndimage.binary_dilation(np.isin(strokes, pieces), iterations=2)  # with their soft edges
    return np.where(kept, ink, 0)


def center_digit(ink):
    """Return a digit as in MNIST: 20 pixels high or wide, its centre of mass in the middle."""
    digit = Image.fromarray(np.uint8(255 * ink / ink.max()))
    digit = digit.crop(digit.getbbox())  # the digit alone
    digit = ImageOps.expand(digit, 4)  # with a border, or else a thin 1 would vanish
    digit = ImageOps.expand(ImageOps.pad(digit, (20, 20)), 4)  # 20x20 pixels within 28x28
    pixels = np.float32(digit)
    middle_row, middle_column = ndimage.center_of_mass(pixels)
    pixels = np.roll(pixels, round(13.5 - middle_row), axis=0)
    pixels = np.roll(pixels, round(13.5 - middle_column), axis=1)
    return 255 * pixels / pixels.max()


def load_mnist(dataset, data_dir):
    """Return pictures [n, 28, 28] (bytes) and labels [n], for training and for the test.

    They come from the four idx .gz files in `data_dir`, or else from Keras: `dataset` is a module
    such as tf.keras.datasets.mnist, which downloads its pictures on the first run.
    """
    try:
        if data_dir is None:
            return dataset.load_data()
        parts = []
        for name in ["train", "t10k"]:
            pictures = gzip.decompress((data_dir / f"{name}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((data_dir / f"{name}-labels-idx1-ubyte.gz").read_bytes())
            pictures = np.frombuffer(pictures, np.uint8, offset=16)  # behind a header of 16 bytes
            labels = np.frombuffer(labels, np.uint8, offset=8)
            parts.append((pictures.reshape(-1, 28, 28), labels))
        return parts
    except Exception as error:
        sys.exit(f"The pictures cannot be loaded ({error}). Delete what is incomplete in "
                 "~/.keras/datasets and try again, or name a folder with the four idx .gz files "
                 "with --data-dir.")


def load_picture(file):
    """Return a picture in RGB, upright, and on white if it is transparent."""
    try:
        picture = Image.open(file)
        picture.draft("RGB", (1200, 1200))  # decodes a huge JPEG smaller, not below 1,200 pixels
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I"):  # 16 bits, 0 to 65,535
            picture = picture.convert("I").point(lambda value: value / 257).convert("L")
        if picture.has_transparency_data:
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return picture.convert("RGB")
    except Exception as error:  # Pillow raises many kinds
        raise OSError(f"{file} cannot be read as a picture ({error}). Lesson 10 finds all such "
                      "files in a folder.") from error


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, picture, label in zip(axes.flat, pictures, labels):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)  # the map is for grey pictures only
        axis.set_title(classes[int(label)])
    figure.savefig(file)


def draw_curves(histories, file, monitor="val_accuracy", find_best=np.argmax):
    """Draw accuracy and loss by epoch, for each {name: history}: training dashed.

    A star marks the saved epoch, where `find_best` finds the best value of `monitor`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        for name, history in histories.items():
            epochs = range(1, len(history["loss"]) + 1)
            [line] = axis.plot(epochs, history[metric], ".--", label=f"{name}: training")
            if f"val_{metric}" in history:
                best = find_best(history[monitor])
                axis.plot(epochs, history[f"val_{metric}"], "*-", markevery=[best], markersize=15,
                          color=line.get_color(), label=f"{name}: validation")
        axis.set(title=metric.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(handles=axes[1].lines, loc="outside lower center", ncols=2)
    figure.savefig(file)


def draw_mistakes(pictures, labels, probabilities, classes, file):
    """Draw the ten pictures that the network is most surely wrong about, and return their rows.

    pictures: [n, height, width], or with an axis for 1 or 3 channels. probabilities: [n, classes].
    """
    predicted = np.argmax(probabilities, axis=1)
    confidence = np.max(probabilities, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong])][:10]
    figure, axes = plt.subplots(2, 5, figsize=(10, 6), layout="constrained")
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} are misclassified. The surest of them:")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, row in zip(axes.flat, surest):
        axis.imshow(pictures[row], cmap="gray")  # the map is for grey pictures only
        axis.set_title(f"{classes[labels[row]]}, taken\nfor {classes[predicted[row]]}\n"
                       f"({confidence[row]:.1%})")
    figure.savefig(file)
    return surest


def choose_precision():
    """Let the layers compute in 16 bits (bfloat16) where the GPU, or the CPU, is made for it."""
    cpu = Path("/proc/cpuinfo")  # on Linux
    fast = cpu.exists() and "bf16" in cpu.read_text()
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if fast else "float32")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="passes over the digits (10)")
    parser.add_argument("--batch-size", type=int, default=128, help="digits in each step (128)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path, help="folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_hand_writing_recognition"))
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.batch_size) < 1:
        parser.error("--epochs and --batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        if arguments.predict:
            predict(arguments.predict, arguments.output_dir)
        else:
            main(arguments)
    except (OSError, KeyboardInterrupt) as error:  # such as a file that is no picture
        sys.exit(str(error) or "Stopped.")
