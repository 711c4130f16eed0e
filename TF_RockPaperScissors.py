"""Lesson 13: rock, paper, scissors - from two classes to many.

What changes in a network that has to choose among three classes, or a hundred? Three things, and
one follows from the other: the last layer needs an output for each class; a label must have the
same form as the outputs; and the loss must compare the two.

You learn to make these three changes; to calm the curves with a learning rate that falls during the
training; and to see in a confusion matrix which class is taken for which.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_RockPaperScissors.py --look                 # only look at the augmented pictures
  python TF_RockPaperScissors.py                        # train, draw curves and confusion matrix
  python TF_RockPaperScissors.py --predict my_hand.jpg  # your own hand, on a white background
  python TF_RockPaperScissors.py --data-dir outputs/mushrooms --output-dir outputs/mushroom_shapes

The last command is for your own classes, any number of them: the folder holds training and testing,
as lesson 10 makes them (or train and validation, or rps and rps-test-set), each with a folder for
every class. An experiment: replace Adam(learning_rate) by Adam(1e-3) in step 3, train with
--output-dir outputs/constant_rate, and compare the last epochs of the curves.

Expect 97 to 100% of the validation hands to be recognised, after four minutes on a two-core CPU
with 16-bit numbers, or a quarter of an hour on an older one. The first run downloads 230 MB. The
hands were rendered by Laurence Moroney (CC BY 2.0).

ImageDataGenerator is the course's way, which Keras keeps for older programs. Today's way, which
also needs fewer pictures, is lesson 12, TF_Dogs_Cats_Transfer_Learning.py.

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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unicodedata import normalize

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
TRAINING_URL = "https://storage.googleapis.com/learning-datasets/rps.zip"
TRAINING_SHA256 = "c2403444395842ad04c53612bad54b574443eae17a0723117a2ff87b9d72194f"
VALIDATION_URL = "https://storage.googleapis.com/learning-datasets/rps-test-set.zip"
VALIDATION_SHA256 = "c27ab9fa43ce40b2e453de711365b477f4424586edf0388116674fd320f07503"
IMAGE_SIZE = (150, 150)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model(class_count):
    """Return the network: pictures [batch, 150, 150, 3] in, probabilities [batch, classes] out."""
    return tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),  # height, width, and three channels: red, green and blue
        layers.Conv2D(64, 3, activation="relu"),  # 148x148x64: edges
        layers.MaxPooling2D(2),  # 74x74x64: keeps the largest of each 2x2 block
        layers.Conv2D(64, 3, activation="relu"),  # 72x72x64: combinations of edges, a fingertip
        layers.MaxPooling2D(2),  # 36x36x64
        layers.Conv2D(128, 3, activation="relu"),  # 34x34x128: combinations of those, a finger
        layers.MaxPooling2D(2),  # 17x17x128
        layers.Conv2D(128, 3, activation="relu"),  # 15x15x128: how fingers lie
        layers.MaxPooling2D(2),  # 7x7x128
        layers.Flatten(),  # 6,272 numbers in one row, as a dense layer needs them
        layers.Dropout(0.5),  # zeroes a random half in each step: harder to learn by heart
        layers.Dense(512, activation="relu"),  # weighs what was found where
        # CHANGE 1, instead of Dense(1, activation="sigmoid"): an output for each class. Softmax
        # raises e to each sum, and divides by the total: 1, 0 and 3 become .11, .04 and .84.
        layers.Dense(class_count, activation="softmax", dtype="float32"),
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Find the pictures.
    if arguments.data_dir:
        train_folder = choose_folder(arguments.data_dir, "rps", "train", "training")
        validation_folder = choose_folder(
            arguments.data_dir, "rps-test-set", "validation", "testing")
    else:
        train_folder = download(TRAINING_URL, TRAINING_SHA256) / "rps"
        validation_folder = download(VALIDATION_URL, VALIDATION_SHA256) / "rps-test-set"

    # 2. Say how a training picture may be changed, at random, each time it is shown: 840 hands of a
    #    class would soon be known by heart. Then read all pictures. The names of the folders are
    #    the classes, numbered in alphabetical order: 0, 1, 2.
    train_generator = ImageDataGenerator(
        rescale=RESCALE,
        rotation_range=40,  # rotate by up to 40 degrees to either side
        # Keras 3 has the names of the next two exchanged.
        width_shift_range=0.2,  # shift up or down, by up to a fifth
        height_shift_range=0.2,  # shift to the left or to the right, by up to a fifth
        shear_range=0.2,  # slant by up to 0.2 degrees: the course's number, hardly to be seen
        zoom_range=0.2,  # show from 0.8 to 1.2 times as much, in width and in height
        horizontal_flip=True,  # mirror half of them: there are left and right hands
        fill_mode="nearest",  # fill what a shift uncovers with the nearest pixels
    )
    validation_generator = ImageDataGenerator(rescale=RESCALE)
    train_flow = train_generator.flow_from_directory(
        train_folder,
        target_size=IMAGE_SIZE,
        class_mode="categorical",  # CHANGE 2, instead of "binary": label 1 becomes [0, 1, 0]
        batch_size=arguments.batch_size,
    )
    validation_flow = validation_generator.flow_from_directory(
        validation_folder, target_size=IMAGE_SIZE, class_mode="categorical",
        batch_size=arguments.batch_size)
    # A name such as "café" has two encodings: compare one of them.
    classes = [normalize("NFC", name) for name in train_flow.class_indices]
    others = [normalize("NFC", name) for name in validation_flow.class_indices]
    if classes != others or len(classes) < 2:
        sys.exit(f"{train_folder} and {validation_folder} need folders of the same names, one for "
                 "each of two or more classes.")
    training = InMemory(train_flow)
    validation = InMemory(validation_flow)
    pictures, labels = training[0]
    print(f"A batch has pictures {pictures.shape} and labels {labels.shape}.")
    draw_batch(pictures, np.argmax(labels, axis=1), classes, output / "pictures.png")
    if arguments.look:
        print(f"The figures are in {output}.")
        plt.show()
        return
    (output / "classes.txt").write_text("\n".join(classes), encoding="utf-8")

    # 3. Build the network, and say how it learns. Large steps find the right region soon; small
    #    steps at the end settle in it, and calm the curves. So the learning rate falls, along half
    #    a wave of the cosine, from 0.001 to 0 in the last step.
    model = build_model(len(classes))
    steps = arguments.epochs * len(training)
    learning_rate = tf.keras.optimizers.schedules.CosineDecay(1e-3, steps)
    model.compile(
        # CHANGE 3, instead of "binary_crossentropy": minus the logarithm of the probability of the
        # true class. It is 0 for 1, 0.2 for .84, and 3.2 for .04: a sure mistake costs most.
        loss="categorical_crossentropy",
        optimizer=tf.keras.optimizers.Adam(learning_rate),
        metrics=["accuracy"],  # the share of pictures whose most probable class is the true one
    )
    model.summary()

    # 4. Train. The epoch that is best on the validation pictures is saved. They have chosen it, so
    #    its accuracy is a little too high. (The dataset calls them a test set.)
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        callbacks=[save_best, save_curves, stop_on_nan]).history
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")
    draw_curves({"augmented": history}, output / "curves.png")

    # 5. Look behind the accuracy: which class is the hardest, and what is it taken for? A row of
    #    the matrix has the pictures of a class, a column those that the network calls so.
    best = tf.keras.models.load_model(output / "model.keras")
    probabilities = best.predict(validation.pictures * np.float32(RESCALE), verbose=0)
    predicted = np.argmax(probabilities, axis=1)
    labels = validation.flow.labels
    for label, name in enumerate(classes):
        print(f"{name}: {np.mean(predicted[labels == label] == label):.1%} are recognised")
    draw_confusion_matrix(labels, predicted, classes, output / "confusion_matrix.png")
    print(f"The results are in {output}.")
    plt.show()


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


def predict(files, folder):
    """Print the class of each picture, and the probability that the saved network gives to it."""
    if not (folder / "model.keras").exists():
        sys.exit(f"There is no network in {folder} yet: train first.")
    model = tf.keras.models.load_model(folder / "model.keras")
    classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    unread = 0
    for file in files:
        try:
            picture = load_picture(file).resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST)
        except OSError as error:
            print(error)
            unread += 1
            continue
        batch = np.float32([picture]) * RESCALE  # one picture, scaled as in training
        probabilities = model.predict(batch, verbose=0)[0]
        print(f"{file}: {classes[np.argmax(probabilities)]} ({np.max(probabilities):.1%})")
    sys.exit(min(unread, 1))


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


class InMemory(tf.keras.utils.PyDataset):
    """The batches of an ImageDataGenerator's flow, but every file is read only once.

    A PyDataset is a source of batches: `fit` asks it for its length, and for batch 0, 1, 2, ...
    """

    def __init__(self, flow):
        super().__init__(workers=2, max_queue_size=3)  # threads that prepare the next batches
        if len(np.unique(flow.labels)) < flow.num_classes:
            sys.exit(f"{flow.directory} needs a folder with pictures for each of the classes "
                     f"{', '.join(flow.class_indices)}.")
        self.flow = flow
        self.labels = np.float32(flow.labels)
        if flow.class_mode == "categorical":
            self.labels = tf.keras.utils.to_categorical(flow.labels)  # [0, 1, 0] for 1 of 0, 1, 2
        self.pictures = np.empty((flow.n, *flow.image_shape), np.uint8)
        size = flow.target_size[::-1]  # Pillow has the width first
        progress = tf.keras.utils.Progbar(flow.n, unit_name="picture")
        with ThreadPoolExecutor() as pool:
            for row, picture in enumerate(pool.map(load_picture, flow.filepaths)):
                self.pictures[row] = picture.resize(size, Image.Resampling.NEAREST)
                progress.add(1)
        self.on_epoch_end()

    def on_epoch_end(self):
        """Draw another order, and another change for each picture."""
        self.order = np.arange(self.flow.n)
        if self.flow.shuffle:
            np.random.shuffle(self.order)
        draw = self.flow.image_data_generator.get_random_transform
        self.changes = [draw(self.flow.image_shape) for _ in self.order]

    def __len__(self):
        return len(self.flow)  # batches

    def __getitem__(self, number):
        size = self.flow.batch_size
        rows = self.order[number * size:(number + 1) * size]
        changes = [self.changes[row] for row in rows]
        pictures = augment(self.pictures[rows], changes, self.flow.image_data_generator)
        return pictures, self.labels[rows]


def augment(pictures, changes, generator):
    """Return a batch of pictures, each changed and scaled as the generator does it, but faster.

    A change, such as {"theta": 12.3, "tx": -30.1, ...}, is what get_random_transform has drawn.
    The generator changes colours. A matrix for each picture says where its pixels come from.
    """
    colored = []
    matrices = []
    for picture, change in zip(pictures, changes):
        colors = {name: change[name] for name in ["brightness", "channel_shift_intensity"]}
        picture = generator.apply_transform(np.float32(picture), colors)
        colored.append(generator.standardize(picture))
        matrices.append(to_matrix(change, picture.shape))
    if np.allclose(matrices, np.eye(3)):  # nothing moves, as in validation
        return np.array(colored)
    eight = np.float32(matrices).reshape(-1, 9)[:, :8]  # the ninth number is always 1
    with tf.device("CPU"):
        return tf.keras.ops.image.affine_transform(
            np.array(colored), eight, fill_mode=generator.fill_mode,
            fill_value=generator.cval * (generator.rescale or 1))


def to_matrix(change, shape):
    """Return the matrix [3, 3] that turns the place (x, y, 1) of a pixel into where it comes from.

    It goes from the new picture back to the old one, so that every new pixel gets a value. Each
    change is a matrix, and so is their product. Read it from right to left: move the middle of the
    picture to (0, 0), flip, zoom, shear, shift, rotate, and move the middle back.
    """
    height, width, _ = shape
    turn = np.deg2rad(change["theta"])
    slant = np.deg2rad(change["shear"])
    rotate = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    shift = [[1, 0, change["tx"]], [0, 1, change["ty"]], [0, 0, 1]]
    shear = [[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]]
    zoom = np.diag([change["zx"], change["zy"], 1])
    flip = np.diag([1 - 2 * change["flip_horizontal"], 1 - 2 * change["flip_vertical"], 1])
    middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    return middle @ rotate @ shift @ shear @ zoom @ flip @ np.linalg.inv(middle)


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


def choose_precision():
    """Let the layers compute in 16 bits (bfloat16) where the GPU, or the CPU, is made for it."""
    cpu = Path("/proc/cpuinfo")  # on Linux
    fast = cpu.exists() and "bf16" in cpu.read_text()
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if fast else "float32")


def choose_folder(folder, *names):
    """Return the first of the folders with these names in `folder`."""
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    sys.exit(f"{folder} needs a folder named {' or '.join(names)}.")


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
    parser.add_argument("--epochs", type=int, default=12, help="passes over the pictures (12)")
    parser.add_argument("--batch-size", type=int, default=126, help="pictures in each step (126)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--look", action="store_true", help="draw the pictures, and do not train")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path, help="your own folder, as above")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_RockPaperScissors"))
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
