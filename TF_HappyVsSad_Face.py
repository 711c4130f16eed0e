"""Lesson 6: happy or sad - eighty icons, and a callback that stops when the network knows them.

How many epochs does it take? Nobody knows beforehand. So let the training stop by itself, as soon
as the network gets every icon right.

You learn to write a callback, a piece of your own code that Keras calls after each epoch; and you
see what is missing when there are no validation pictures.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_HappyVsSad_Face.py                           # train until every icon is right
  python TF_HappyVsSad_Face.py --predict my_drawing.png  # classify your own drawing

Then set STOP_AT to 0.9: after which epoch does the training stop?

Expect it to stop after three to six epochs, within half a minute on a two-core CPU. The first run
downloads 3 MB. The icons were drawn by Laurence Moroney.

ImageDataGenerator is the course's way, which Keras keeps for older programs. Today's way is in
lesson 12, TF_Dogs_Cats_Transfer_Learning.py.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy"]
# ///

import argparse
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
from PIL import Image, ImageOps
from tensorflow.keras import layers
from tensorflow.keras.preprocessing.image import ImageDataGenerator

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
URL = "https://storage.googleapis.com/learning-datasets/happy-or-sad.zip"
CLASSES = ["happy", "sad"]  # label 0 and label 1: the names of the folders with the icons
IMAGE_SIZE = (150, 150)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers
STOP_AT = 0.999  # the accuracy above which the network is good enough


class StopWhenLearned(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch at whose end the accuracy is above a threshold."""

    def __init__(self, icons, labels, threshold):
        super().__init__()
        self.icons = icons
        self.labels = labels
        self.threshold = threshold

    def on_epoch_end(self, epoch, logs=None):
        # Keras calls this after each epoch. `logs` has the accuracy that the progress bar shows: a
        # mean over the epoch, during which the network has changed. So measure it as it is now.
        scores = self.model.evaluate(self.icons, self.labels, verbose=0, return_dict=True)
        print(f"\nAfter epoch {epoch + 1}, accuracy on the same icons: {scores['accuracy']:.1%}")
        if scores["accuracy"] > self.threshold:
            print("That is good enough: stopping here.")
            self.model.stop_training = True


def build_model():
    """Return the network: icons [batch, 150, 150, 3] in, probability of sad [batch, 1] out."""
    return tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),  # height, width, and three channels: red, green and blue
        layers.Conv2D(16, 3, activation="relu"),  # 148x148x16: finds the lines of a face
        layers.MaxPooling2D(2),  # 74x74x16: keeps the largest of each 2x2 block
        layers.Conv2D(32, 3, activation="relu"),  # 72x72x32: a curve upwards or downwards
        layers.MaxPooling2D(2),  # 36x36x32
        layers.Conv2D(32, 3, activation="relu"),  # 34x34x32: curves together, such as a mouth
        layers.MaxPooling2D(2),  # 17x17x32
        layers.Flatten(),  # 9,248 numbers in one row, as a dense layer needs them
        layers.Dense(512, activation="relu"),  # weighs what was found where
        layers.Dense(1, activation="sigmoid", dtype="float32"),  # a probability, always in 32 bits
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Find the icons, as in lesson 5. There are only eighty, and all are needed for training:
    #    none is left to measure what the network makes of icons that it has not seen.
    folder = arguments.data_dir or download(URL)
    generator = ImageDataGenerator(rescale=RESCALE)
    flow = generator.flow_from_directory(folder, classes=CLASSES, class_mode="binary")
    labels = flow.labels
    if len(np.unique(labels)) < len(CLASSES):
        sys.exit(f"{folder} needs pictures in both of the folders {' and '.join(CLASSES)}.")

    # 2. Read them, and look at ten. `fit` could take the flow as it is, but would read every file
    #    again in each epoch. Eighty icons are few enough for one array.
    icons = []
    for file in flow.filepaths:
        icon = load_picture(file).resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST)
        icons.append(np.float32(icon))
    icons = generator.standardize(np.array(icons))  # scaled, as the generator says
    print(f"The icons are an array {icons.shape}, their labels {labels.shape}.")
    ten = np.random.permutation(len(icons))[:10]
    draw_batch(icons[ten], labels[ten], CLASSES, output / "pictures.png")

    # 3. Build the network, and say how it learns.
    model = build_model()
    model.compile(
        loss="binary_crossentropy",  # large if the true class gets a low probability
        optimizer=tf.keras.optimizers.RMSprop(learning_rate=1e-3),  # how far each step goes
        metrics=["accuracy"],  # the share of icons that it classifies correctly
    )
    model.summary()

    # 4. Train, for as many epochs as it takes, but not for ever. `fit` calls every callback after
    #    each epoch: ours may stop it, Keras's own save the curves and look for a loss of nan.
    stop_when_learned = StopWhenLearned(icons, labels, STOP_AT)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(icons, labels, batch_size=arguments.batch_size, epochs=arguments.epochs,
                        callbacks=[stop_when_learned, save_curves, stop_on_nan]).history
    model.save(output / "model.keras")

    # 5. Measure it once more, on the icons that it has learned from. This says that it knows them.
    #    What it makes of any other icon, it does not say: with 4.8 million weights, it could have
    #    learned eighty icons by heart.
    scores = model.evaluate(icons, labels, verbose=0, return_dict=True)
    print(f"training accuracy: {scores['accuracy']:.4f}")
    if scores["accuracy"] <= STOP_AT:
        print(f"It is not above {STOP_AT:.1%} yet: train for more --epochs.")
    draw_curves({"happy or sad": history}, output / "curves.png")
    print(f"The results are in {output}.")
    plt.show()


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


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


def predict(files, folder):
    """Print the class of each picture, and the probability that the saved network gives to it."""
    if not (folder / "model.keras").exists():
        sys.exit(f"There is no network in {folder} yet: train first.")
    model = tf.keras.models.load_model(folder / "model.keras")
    unread = 0
    for file in files:
        try:
            picture = load_picture(file).resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST)
        except OSError as error:
            print(error)
            unread += 1
            continue
        batch = np.float32([picture]) * RESCALE  # one picture, scaled as in training
        probability = model.predict(batch, verbose=0)[0, 0]
        label = round(probability)  # it is the probability of label 1
        print(f"{file}: {CLASSES[label]} ({max(probability, 1 - probability):.1%})")
    sys.exit(min(unread, 1))


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


def choose_precision():
    """Let the layers compute in 16 bits (bfloat16) where the GPU, or the CPU, is made for it."""
    cpu = Path("/proc/cpuinfo")  # on Linux
    fast = cpu.exists() and "bf16" in cpu.read_text()
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if fast else "float32")


def download(url, sha256=None):
    """Return the folder with the content of a zip file. It is kept in ~/.keras/datasets."""
    try:
        folder = Path(tf.keras.utils.get_file(origin=url, file_hash=sha256, extract=True))
    except Exception as error:
        sys.exit(f"{error}\nTry again, or name your own copy of the pictures with --data-dir.")
    if not folder.exists():
        sys.exit(f"{folder}_archive is not complete. Delete it, and try again.")
    return folder


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15, help="passes over the icons (15)")
    parser.add_argument("--batch-size", type=int, default=10, help="icons in each step (10)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path, help="folder with happy and sad")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_HappyVsSad_Face"))
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
