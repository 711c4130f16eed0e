"""Lesson 14: sign language - the letters of the alphabet, from a table of numbers.

Not all pictures come as picture files. On Kaggle, a site for data and competitions, many come as
tables: a row for each picture, a column for each pixel.

You learn to download data from Kaggle, and to turn the rows of a table into pictures; to hold back
pictures for validation, so that the test pictures decide nothing; and what a network makes of
pictures that are not scaled as in its training.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy kagglehub
  python TF_sign_language.py
  python TF_sign_language.py --data-dir my_folder   # which has the two CSV files already
  python TF_sign_language.py --predict my_hand.jpg  # your own hand, and what the network sees

Then add horizontal_flip=True in step 3, and train into a folder of its own (--output-dir): does it
help to mirror hands?

Expect it to be right about 99 of 100 test pictures, after one to five minutes on a two-core CPU.
The first run downloads 63 MB from Kaggle, which asks for no login. J and Z are signed with a
movement, so no picture shows them. Sign Language MNIST: "tecperson" on Kaggle, CC0.

ImageDataGenerator is the course's way, which Keras keeps for older programs. Today's way is in
lesson 12, TF_Dogs_Cats_Transfer_Learning.py.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy", "kagglehub"]
# ///

import argparse
import csv
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
DATASET = "datamunge/sign-language-mnist/versions/1"  # owner, name, version: the same for everybody
CLASSES = list("ABCDEFGHIJKLMNOPQRSTUVWXY")  # labels 0 to 24; label 9, the J, never occurs
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model():
    """Return the network: pictures [batch, 28, 28, 1] in, probabilities [batch, 25] out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Conv2D(64, 3, activation="relu"),  # 26x26x64: edges of fingers
        layers.MaxPooling2D(2),  # 13x13x64: keeps the largest of each 2x2 block
        layers.Conv2D(64, 3, activation="relu"),  # 11x11x64: combinations of edges, a knuckle
        layers.MaxPooling2D(2),  # 5x5x64
        layers.Flatten(),  # 1,600 numbers in one row, as a dense layer needs them
        layers.Dense(128, activation="relu"),  # weighs what was found where
        layers.Dense(25, activation="softmax", dtype="float32"),  # labels run from 0 to 24
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Get the tables, and turn their rows into pictures: [n, 785] becomes [n, 28, 28, 1], because
    #    a convolution expects height, width and channels.
    folder = arguments.data_dir or download_from_kaggle()
    pictures, labels = read_csv(find_file(folder, "sign_mnist_train.csv"))
    test_pictures, test_labels = read_csv(find_file(folder, "sign_mnist_test.csv"))

    # 2. Hold back a tenth of the training rows, chosen at random. They are the validation pictures:
    #    they decide which epoch is the best. So the test pictures decide nothing.
    order = np.random.permutation(len(labels))
    held_back = order[:len(order) // 10]
    rest = order[len(order) // 10:]
    if len(held_back) == 0:
        sys.exit(f"{folder} has only {len(labels)} training pictures: at least ten are needed.")

    # 3. Say how a training picture may be changed, at random, each time it is shown: more gently
    #    than in lesson 11, as signs differ by their angle, too. `flow` takes arrays where
    #    `flow_from_directory` takes folders. There is no horizontal_flip: the mirror image of a
    #    right hand is a left hand.
    train_generator = ImageDataGenerator(
        rescale=RESCALE,
        rotation_range=10,  # rotate by up to 10 degrees to either side
        # Keras 3 has the names of the next two exchanged.
        width_shift_range=0.1,  # shift up or down, by up to a tenth
        height_shift_range=0.1,  # shift to the left or to the right, by up to a tenth
        zoom_range=0.1,  # show from 0.9 to 1.1 times as much, in width and in height
        fill_mode="nearest",  # fill what a shift uncovers with the nearest pixels
    )
    validation_generator = ImageDataGenerator(rescale=RESCALE)
    training = train_generator.flow(
        pictures[rest], labels[rest], batch_size=arguments.batch_size)
    validation = validation_generator.flow(
        pictures[held_back], labels[held_back], batch_size=arguments.batch_size)
    batch, batch_labels = training[0]
    print(f"A batch has pictures {batch.shape} and labels {batch_labels.shape}.")
    draw_batch(batch, batch_labels, CLASSES, output / "pictures.png")

    # 4. Build the network, and say how it learns. A batch is four times as large as in the course,
    #    so its gradient is less noisy: twice the usual learning rate does no harm.
    model = build_model()
    model.compile(
        loss="sparse_categorical_crossentropy",  # for labels that are numbers, 0 to 24
        optimizer=tf.keras.optimizers.Adam(learning_rate=2e-3),  # how far each step goes
        metrics=["accuracy"],  # the share of pictures whose most probable letter is the true one
        steps_per_execution=10,  # TensorFlow returns to Python after ten steps, which saves time
    )
    model.summary()

    # 5. Train. The best epoch is saved.
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        callbacks=[save_best, save_curves, stop_on_nan]).history

    # 6. Evaluate the network of the best epoch, once, on the test pictures. They must be scaled as
    #    the training pictures were. We also see what it costs to forget this.
    best = tf.keras.models.load_model(output / "model.keras")
    probabilities = best.predict(test_pictures * np.float32(RESCALE), verbose=0)
    predicted = np.argmax(probabilities, axis=1)
    unscaled = best.predict(np.float32(test_pictures), verbose=0)
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")
    print(f"test accuracy: {np.mean(predicted == test_labels):.4f}")
    print(f"without scaling: {np.mean(np.argmax(unscaled, axis=1) == test_labels):.4f}")
    draw_curves({"sign language": history}, output / "curves.png")
    draw_confusion_matrix(test_labels, predicted, CLASSES, output / "confusion_matrix.png")
    print(f"The results are in {output}.")
    plt.show()


def download_from_kaggle():
    """Return the folder with the two CSV files, which kagglehub downloads on the first run."""
    try:
        import kagglehub
        return Path(kagglehub.dataset_download(DATASET))
    except Exception as error:
        sys.exit(f"{error}\nTry again, or download the two files from "
                 "https://www.kaggle.com/datasets/datamunge/sign-language-mnist and name their "
                 "folder with --data-dir.")


def find_file(folder, name):
    """Return the file of this name in `folder`, or in one of its folders, as Kaggle lays them."""
    for file in sorted(folder.rglob(name)):
        if file.is_file():  # the archive also has a folder of this name
            return file
    sys.exit(f"There is no file {name} in {folder}.")


def read_csv(file):
    """Return pictures [n, 28, 28, 1] (bytes) and labels [n] from a header and rows of a table.

    Each row has a label, 0 to 24 except 9, and 784 pixels, 0 to 255.
    """
    table = []
    with open(file, newline="", encoding="utf-8-sig", errors="replace") as lines:
        header = lines.readline()
        if not header.startswith("label,"):
            sys.exit(f"{file}, line 1: it begins with {header[:30]!r}. Expected is a header that "
                     "begins with 'label,pixel1,pixel2'.")
        for number, row in enumerate(csv.reader(lines), 2):
            try:
                numbers = bytes(map(int, row))  # an error unless all are from 0 to 255
            except ValueError:
                numbers = b""
            if len(numbers) != 785 or numbers[0] > 24 or numbers[0] == 9:
                sys.exit(f"{file}, line {number}: expected are a label, 0 to 24 except 9, and 784 "
                         f"pixels, whole numbers from 0 to 255. This line has {len(row)} columns, "
                         f"and its label is {row[:1]}.")
            table.append(list(numbers))
    table = np.array(table, np.uint8).reshape(-1, 785)
    return table[:, 1:].reshape(-1, 28, 28, 1), table[:, 0]


def load_hand(file):
    """Return the square in the middle of a photograph, in grey, as bytes [28, 28, 1]."""
    square = ImageOps.fit(load_picture(file).convert("L"), (28, 28))
    return np.asarray(square)[..., np.newaxis]


def predict(files, folder):
    """Print the letter of each photograph, and draw what the network sees: 28x28 pixels."""
    if not (folder / "model.keras").exists():
        sys.exit(f"There is no network in {folder} yet: train first.")
    model = tf.keras.models.load_model(folder / "model.keras")
    hands = []
    for file in files:
        try:
            hand = load_hand(file)
        except OSError as error:
            print(error)
            continue
        hands.append(hand[..., 0])
        scaled = hand * np.float32(RESCALE)  # as in training
        probabilities = model.predict(scaled[np.newaxis], verbose=0)[0]  # a batch of one picture
        print(f"{file}: {CLASSES[np.argmax(probabilities)]} ({np.max(probabilities):.1%})")
    if hands:
        large = np.hstack(hands).repeat(8, axis=0).repeat(8, axis=1)
        plt.imsave(folder / "prediction.png", large, cmap="gray", vmin=0, vmax=255)
        print(f"What the network sees of them is in {folder / 'prediction.png'}.")
    if len(hands) < len(files):
        sys.exit(1)


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


def draw_confusion_matrix(labels, predicted, classes, file):
    """Draw how many pictures of each class (a row) are taken for which (a column)."""
    matrix = tf.math.confusion_matrix(labels, predicted, len(classes)).numpy()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(7.5, 6.5), layout="constrained")
    figure.colorbar(axis.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the class")
    if len(classes) <= 30:  # more would not be legible
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=60)
        axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted class", ylabel="true class")
    figure.savefig(file)


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
    parser.add_argument("--epochs", type=int, default=12, help="passes over the pictures (12)")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures in each step (128)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path, help="folder with the two CSV files")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_sign_language"))
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
        sys.exit(str(error) or f"Stopped. The best epoch, if any, is in {arguments.output_dir}.")
