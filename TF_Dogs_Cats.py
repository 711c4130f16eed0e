"""Lesson 8: dogs and cats - a network for real photographs, and how it overfits.

A network with 9.5 million weights can learn 2,000 photographs by heart. Then it is right about all
of them, but still wrong about one in four new ones. That is overfitting.

You learn to recognise it in the curves of accuracy and loss; and you try a remedy, augmentation:
training pictures that are never the same twice.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_Dogs_Cats.py                         # train, and see it overfit
  python TF_Dogs_Cats.py --augment --epochs 30   # the remedy, and the curves of both runs
  python TF_Dogs_Cats.py --predict my_pet.jpg    # ask the first network, with --augment the other

An experiment: give the dense layer in `build_model` 16 instead of 512 numbers, train it with
--output-dir outputs/small_layer, and compare the gap between the curves.

Best validation accuracy, three seeds each:

  not augmented, 15 epochs   .739 to .761   validation loss rises after six to eight epochs
  augmented, 30 epochs       .756 to .775   both losses fall together

So the best accuracy rises little. But the network no longer grows sure of answers that are wrong.

One to five minutes on a two-core CPU, with --augment three times as long. The first run downloads
69 MB: 3,000 photographs of the Asirra dataset (Microsoft Research, Petfinder.com).

ImageDataGenerator is the course's way, which Keras keeps for older programs. For today's way, and
for classes of your own, see lesson 12, TF_Dogs_Cats_Transfer_Learning.py.

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
URL = "https://download.mlcc.google.com/mledu-datasets/cats_and_dogs_filtered.zip"
CLASSES = ["cats", "dogs"]  # label 0 and label 1: the names of the folders with the pictures
IMAGE_SIZE = (150, 150)  # height and width in pixels: the network needs pictures of one size
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model():
    """Return the network: pictures [batch, 150, 150, 3] in, probability of a dog [batch, 1] out."""
    return tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),  # height, width, and three channels: red, green and blue
        layers.Conv2D(16, 3, activation="relu"),  # 148x148x16: 16 filters of 3x3 pixels find edges
        layers.MaxPooling2D(2),  # 74x74x16: keeps the largest of each 2x2 block
        layers.Conv2D(32, 3, activation="relu"),  # 72x72x32: combinations of edges, such as corners
        layers.MaxPooling2D(2),  # 36x36x32
        layers.Conv2D(64, 3, activation="relu"),  # 34x34x64: combinations of those, such as an ear
        layers.MaxPooling2D(2),  # 17x17x64
        layers.Flatten(),  # 18,496 numbers in one row, as a dense layer needs them
        layers.Dense(512, activation="relu"),  # 9.5 million weights: can memorise 2,000 pictures
        layers.Dense(1, activation="sigmoid", dtype="float32"),  # a probability, always in 32 bits
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Say what happens to a picture before the network sees it. Its pixels are scaled. With
    #    --augment, a training picture is also changed at random, each time it is shown. Validation
    #    pictures are never changed: they measure what the network makes of pictures as they are.
    train_generator = ImageDataGenerator(rescale=RESCALE)
    if arguments.augment:
        train_generator = ImageDataGenerator(
            rescale=RESCALE,
            rotation_range=40,  # rotate by up to 40 degrees to either side
            # Keras 3 has the names of the next two exchanged.
            width_shift_range=0.2,  # shift up or down, by up to a fifth
            height_shift_range=0.2,  # shift to the left or to the right, by up to a fifth
            shear_range=0.2,  # slant by up to 0.2 degrees: the course's number, hardly to be seen
            zoom_range=0.2,  # show from 0.8 to 1.2 times as much, in width and in height
            horizontal_flip=True,  # mirror half of them: a dog that looks left is still a dog
            fill_mode="nearest",  # fill what a shift uncovers with the nearest pixels
        )
    validation_generator = ImageDataGenerator(rescale=RESCALE)

    # 2. Find the pictures, read them, and look at the first batch. `fit` could take the two flows
    #    as they are, but would read every file again in each epoch.
    folder = arguments.data_dir or download(URL) / "cats_and_dogs_filtered"
    training = InMemory(train_generator.flow_from_directory(
        choose_folder(folder, "train", "training"), target_size=IMAGE_SIZE, classes=CLASSES,
        class_mode="binary", batch_size=arguments.batch_size))
    validation = InMemory(validation_generator.flow_from_directory(
        choose_folder(folder, "validation", "testing"), target_size=IMAGE_SIZE, classes=CLASSES,
        class_mode="binary", batch_size=arguments.batch_size))
    pictures, labels = training[0]
    print(f"A batch has pictures {pictures.shape} and labels {labels.shape}.")
    draw_batch(pictures, labels, CLASSES, output / "pictures.png")

    # 3. Build the network, and say how it learns.
    model = build_model()
    model.compile(
        loss="binary_crossentropy",  # how wrong its probabilities are: training makes this smaller
        # Moves each weight in the direction in which the loss falls; the rate says how far.
        optimizer=tf.keras.optimizers.RMSprop(learning_rate=1e-3),
        metrics=["accuracy"],  # the share of pictures that it classifies correctly
    )
    model.summary()

    # 4. Train. In each epoch, the network learns from every training picture once, and is then
    #    measured on the validation pictures. Whenever it is better on them than ever before, it is
    #    saved. These pictures choose the epoch, so the accuracy on them is a little too high.
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        callbacks=[save_best, save_curves, stop_on_nan]).history

    # 5. Read the curves: how much of what it has learned also works for new pictures? Training
    #    accuracy above validation accuracy is the gap. Validation loss that rises, while training
    #    loss falls, is overfitting: the network grows surer of answers that are wrong.
    gap = history["accuracy"][-1] - history["val_accuracy"][-1]
    print(judge_curves(history))
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")
    print(f"gap in the last epoch: {gap:.4f}")

    # 6. Draw them, and, beside an augmented run, those of the run without it. If yours overfits,
    #    the remedy is one flag away: --augment makes the training pictures new in every epoch, so
    #    that they cannot be memorised. Expect lower training accuracy, a small gap, and validation
    #    loss that goes on falling; it takes twice as many epochs.
    if arguments.augment:
        histories = {"augmented": history}
        not_augmented = read_history(Path("outputs", "TF_Dogs_Cats", "history.csv"))
        if not_augmented:
            histories["not augmented"] = not_augmented
    else:
        histories = {"not augmented": history}
        print("To see what helps, run: python TF_Dogs_Cats.py --augment --epochs 30")
    draw_curves(histories, output / "training_validation_acc_loss_plot.png")
    print(f"The results are in {output}.")
    plt.show()


def judge_curves(history):
    """Return in words what the losses of a run show. These are rules of thumb: see the figure."""
    if "val_loss" not in history:
        return "There was no validation set: nobody can tell whether the network overfits."
    loss = history["loss"]
    val_loss = history["val_loss"]
    if len(loss) > 2 and loss[-1] > 0.9 * loss[0]:
        return (f"Training loss hardly fell, from {loss[0]:.3f} to {loss[-1]:.3f}: underfitting. "
                "Train longer, or try another learning rate, or a larger network.")
    turn = np.argmin(val_loss)
    later = val_loss[turn + 1:]
    text = f"Validation loss is lowest in epoch {turn + 1}, {val_loss[turn]:.3f}."
    if len(later) < 2:
        return f"{text} It may still fall: train longer."
    latest = min(later[-3:])  # one high value may be chance, three hardly
    text += f" In the last epochs it was {latest:.3f} at best,"
    if latest <= 1.1 * val_loss[turn]:
        return f"{text} about the same: no clear overfitting."
    if loss[-1] > loss[turn]:
        return f"{text} and training loss rose, too: try a smaller learning rate."
    text += f" while training loss fell to {loss[-1]:.3f}"
    return f"{text}: overfitting, stop at epoch {turn + 1}."


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


def read_history(file):
    """Return the curves that a CSVLogger has saved, {metric: a number for each epoch}, or None."""
    if not file.exists() or not file.stat().st_size:  # no run, or one stopped in its first epoch
        return None
    table = np.genfromtxt(file, delimiter=",", names=True, ndmin=1)  # NA, no validation, is nan
    history = {name: table[name] for name in table.dtype.names}
    return {name: curve for name, curve in history.items() if not np.isnan(curve).all()}


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
    parser.add_argument("--augment", action="store_true", help="change the training pictures")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the pictures (15)")
    parser.add_argument("--batch-size", type=int, default=40, help="pictures in each step (40)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path,
                        help="folder with train and validation, or with training and testing")
    parser.add_argument("--output-dir", type=Path, help="folder for the results "
                        "(outputs/TF_Dogs_Cats, with --augment outputs/TF_Dogs_Cats_augmented)")
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.batch_size) < 1:
        parser.error("--epochs and --batch-size must be at least 1")
    if not arguments.output_dir:
        arguments.output_dir = Path("outputs", "TF_Dogs_Cats")
        if arguments.augment:
            arguments.output_dir = Path("outputs", "TF_Dogs_Cats_augmented")
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
