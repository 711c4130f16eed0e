"""Lesson 11: horses or humans, augmented - lesson 5 again, with pictures that change every time.

A network that sees few pictures learns them by heart: training accuracy rises, validation accuracy
does not. That is overfitting. Pictures that change every time are harder to learn by heart.

You learn to let an ImageDataGenerator rotate, shift, shear, zoom and flip the training pictures at
random; why validation pictures are left as they are; that such a change is a small matrix; and to
measure whether it helps.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_Human_horse.py                       # lesson 5, to compare with
  python TF_Human_horse_Augmentation.py --look   # only look at the augmented pictures
  python TF_Human_horse_Augmentation.py          # train, and draw both lessons' curves
  python TF_Human_horse_Augmentation.py --predict me.jpg you.png

Validation accuracy, lowest and highest of three seeds (guessing would reach .5):

                                               as they are    augmented
  horses and humans, mean of last five epochs  .819 to .846   .599 to .655   augmentation does harm
  photographs of lesson 8, best epoch          .739 to .761   .756 to .775   and overfits less

Augmentation helps if it makes the training pictures more like new ones. Here it probably does not:
the training pictures have landscapes in the background, the validation pictures plain white, and no
rotation takes a landscape away.

Two to five minutes on a two-core CPU. It downloads 161 MB: pictures rendered by Laurence Moroney.

Then change a single setting in step 1, such as rotation_range, look, and train into a folder of its
own (--output-dir), with two seeds. Or take the course's optimizer in step 4, RMSprop(1e-3): then
validation accuracy jumps, and the best of fifteen epochs, .824 to .898 in three runs, is luck.

ImageDataGenerator is the course's way, which Keras keeps for older programs. New ones use layers:
see lesson 12, TF_Dogs_Cats_Transfer_Learning.py, which also takes pictures of your own.

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
TRAINING_URL = "https://storage.googleapis.com/learning-datasets/horse-or-human.zip"
TRAINING_SHA256 = "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9"
VALIDATION_URL = "https://storage.googleapis.com/learning-datasets/validation-horse-or-human.zip"
VALIDATION_SHA256 = "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0"
CLASSES = ["horses", "humans"]  # label 0 and label 1: the names of the folders with the pictures
IMAGE_SIZE = (300, 300)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model():
    """Return lesson 5's network: pictures [batch, 300, 300, 3] in, probability of a human out."""
    return tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),  # height, width, and three channels: red, green and blue
        layers.Conv2D(16, 3, activation="relu"),  # 298x298x16: 16 filters of 3x3 pixels find edges
        layers.MaxPooling2D(2),  # 149x149x16: keeps the largest of each 2x2 block
        layers.Conv2D(32, 3, activation="relu"),  # 147x147x32: combinations of edges, corners
        layers.MaxPooling2D(2),  # 73x73x32
        layers.Conv2D(64, 3, activation="relu"),  # 71x71x64: each filter now sees 18x18 pixels
        layers.MaxPooling2D(2),  # 35x35x64
        layers.Conv2D(64, 3, activation="relu"),  # 33x33x64: parts, such as a leg or an arm
        layers.MaxPooling2D(2),  # 16x16x64
        layers.Conv2D(64, 3, activation="relu"),  # 14x14x64
        layers.MaxPooling2D(2),  # 7x7x64
        layers.Flatten(),  # 3,136 numbers in one row, as a dense layer needs them
        layers.Dense(512, activation="relu"),  # weighs which part was found where
        layers.Dense(1, activation="sigmoid", dtype="float32"),  # a probability, always in 32 bits
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Say how a training picture may be changed, at random, each time it is shown. Its label must
    #    stay true. Validation pictures are never changed: they measure what the network can do with
    #    pictures as they are, and chance must not decide the result.
    train_generator = ImageDataGenerator(
        rescale=RESCALE,
        rotation_range=40,  # rotate by up to 40 degrees to either side
        # Keras 3 has the names of the next two exchanged.
        width_shift_range=0.2,  # shift up or down, by up to a fifth
        height_shift_range=0.2,  # shift to the left or to the right, by up to a fifth
        shear_range=0.2,  # slant by up to 0.2 degrees: the course's number, hardly to be seen
        zoom_range=0.2,  # show from 0.8 to 1.2 times as much, in width and in height
        horizontal_flip=True,  # mirror half of them: a horse that faces left is still a horse
        fill_mode="nearest",  # fill what a shift uncovers with the nearest pixels
    )
    validation_generator = ImageDataGenerator(rescale=RESCALE)

    # 2. Find the pictures, as in lesson 5, and read them. `fit` could take the two flows as they
    #    are, but would read every file again in each epoch, and change one picture after another.
    if arguments.data_dir:
        train_folder = arguments.data_dir / "horse-or-human"
        validation_folder = arguments.data_dir / "validation-horse-or-human"
    else:
        train_folder = download(TRAINING_URL, TRAINING_SHA256)
        validation_folder = download(VALIDATION_URL, VALIDATION_SHA256)
    training = InMemory(train_generator.flow_from_directory(
        train_folder, target_size=IMAGE_SIZE, classes=CLASSES, class_mode="binary",
        batch_size=arguments.batch_size))
    validation = InMemory(validation_generator.flow_from_directory(
        validation_folder, target_size=IMAGE_SIZE, classes=CLASSES, class_mode="binary",
        batch_size=arguments.batch_size))

    # 3. Look at fifteen variants of one picture before training: would you still know what it is?
    pictures, labels = training[0]
    print(f"A batch has pictures {pictures.shape} and labels {labels.shape}.")
    draw_variants(training.pictures[0], train_generator, output / "augmentations.png")
    if arguments.look:
        print(f"The figure is in {output}.")
        plt.show()
        return

    # 4. Build and train the network of lesson 5 in the same way, for a fair comparison. The best
    #    epoch is saved.
    model = build_model()
    steps = arguments.epochs * len(training)
    learning_rate = tf.keras.optimizers.schedules.CosineDecay(3e-4, steps)  # from 3e-4 to 0
    model.compile(
        loss="binary_crossentropy",  # large if the true class gets a low probability
        optimizer=tf.keras.optimizers.Adam(learning_rate),  # moves weights so that the loss falls
        metrics=["accuracy"],  # the share of pictures that it classifies correctly
    )
    model.summary()
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        callbacks=[save_best, save_curves, stop_on_nan]).history

    # 5. Compare the last five epochs with those of lesson 5: the best epoch may have been lucky,
    #    and so may a seed. Training accuracy falls, as augmented pictures are harder.
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")
    histories = {"augmented": history}
    lesson_5 = read_history(Path("outputs", "TF_Human_horse", "history.csv"))
    if lesson_5:
        histories["lesson 5, not augmented"] = lesson_5
    else:
        print("Run lesson 5, TF_Human_horse.py, and this lesson draws the curves of both.")
    for name, run in histories.items():
        training_mean = np.mean(run["accuracy"][-5:])
        validation_mean = np.mean(run["val_accuracy"][-5:])
        print(f"{name}, mean of the last epochs, at most five: "
              f"training accuracy {training_mean:.4f}, validation accuracy {validation_mean:.4f}")
    draw_curves(histories, output / "curves.png")
    print(f"The results are in {output}.")
    plt.show()


def draw_variants(picture, generator, file):
    """Draw a picture [height, width, 3], 0 to 255, and fifteen variants of it."""
    changes = [generator.get_random_transform(picture.shape) for _ in range(15)]
    variants = augment([picture] * 15, changes, generator)
    figure, axes = plt.subplots(2, 8, figsize=(12, 3.4), layout="constrained")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    axes[0, 0].imshow(picture)
    axes[0, 0].set_title("original")
    for axis, variant in zip(axes.flat[1:], variants):
        axis.imshow(variant)
    figure.savefig(file)


def read_history(file):
    """Return the curves that a CSVLogger has saved, {metric: a number for each epoch}, or None."""
    if not file.exists() or not file.stat().st_size:  # no run, or one stopped in its first epoch
        return None
    table = np.genfromtxt(file, delimiter=",", names=True, ndmin=1)  # NA, no validation, is nan
    history = {name: table[name] for name in table.dtype.names}
    return {name: curve for name, curve in history.items() if not np.isnan(curve).all()}


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
    parser.add_argument("--epochs", type=int, default=10, help="passes over the pictures (10)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures in each step (32)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--look", action="store_true", help="draw the pictures, and do not train")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path,
                        help="folder with horse-or-human and validation-horse-or-human")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_Human_horse_Augmentation"))
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
