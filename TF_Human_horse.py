"""Lesson 5: horses or humans - two classes of coloured pictures, read from their folders.

How does a network tell two kinds of pictures apart, and how do you know what it can do with
pictures that it has never seen?

You learn to let an ImageDataGenerator find pictures and take their labels from the folders; to tell
two classes apart with five convolutions and a single output; to measure a network on validation
pictures, from which it never learns; and to look at its mistakes.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_Human_horse.py                           # train, and save the best epoch
  python TF_Human_horse.py --predict me.jpg you.png  # classify your own pictures
  python TF_Human_horse.py --seed 2 --output-dir outputs/horses_2

The last command trains once more, from other random weights: how much of the result is chance? Then
change the layers in `build_model`, or the learning rate in step 3, and see what becomes of the two
curves.

Expect training accuracy to reach 1, and validation accuracy to stay near .83, after two to five
minutes on a two-core CPU. The first run downloads 161 MB. Laurence Moroney rendered the pictures.

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
TRAINING_URL = "https://storage.googleapis.com/learning-datasets/horse-or-human.zip"
TRAINING_SHA256 = "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9"
VALIDATION_URL = "https://storage.googleapis.com/learning-datasets/validation-horse-or-human.zip"
VALIDATION_SHA256 = "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0"
CLASSES = ["horses", "humans"]  # label 0 and label 1: the names of the folders with the pictures
IMAGE_SIZE = (300, 300)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model():
    """Return the network: pictures [batch, 300, 300, 3] in, probability of a human out.

    Each convolution looks for patterns in what the layer before it has found, and `relu` turns what
    is negative into 0. Each pooling halves height and width: the next filter sees more of the
    picture.
    """
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
        # Sigmoid turns the last sum into a probability, that of label 1, a human. The rest, up to
        # 1, is that of a horse: one output is enough for two classes. It is always in 32 bits.
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Find the pictures. An ImageDataGenerator says what happens to each picture before the
    #    network sees it: here its pixels are scaled. `flow_from_directory` lists the files, gives
    #    all pictures one size, and numbers the folders: horses are label 0, humans label 1.
    if arguments.data_dir:
        train_folder = arguments.data_dir / "horse-or-human"
        validation_folder = arguments.data_dir / "validation-horse-or-human"
    else:
        train_folder = download(TRAINING_URL, TRAINING_SHA256)
        validation_folder = download(VALIDATION_URL, VALIDATION_SHA256)
    generator = ImageDataGenerator(rescale=RESCALE)
    train_flow = generator.flow_from_directory(
        train_folder,
        target_size=IMAGE_SIZE,  # a batch is one array, so all its pictures have one size
        classes=CLASSES,
        class_mode="binary",  # labels are 0 or 1
        batch_size=arguments.batch_size,
    )
    validation_flow = generator.flow_from_directory(
        validation_folder, target_size=IMAGE_SIZE, classes=CLASSES, class_mode="binary",
        batch_size=arguments.batch_size)

    # 2. Read them, and look at the first batch. `fit` could take the two flows as they are, but
    #    they would read and decode every file again in each epoch.
    training = InMemory(train_flow)
    validation = InMemory(validation_flow)
    pictures, labels = training[0]
    print(f"A batch has pictures {pictures.shape} and labels {labels.shape}.")
    draw_batch(pictures, labels, CLASSES, output / "pictures.png")

    # 3. Build the network, and say how it learns. Each step moves the weights in the direction in
    #    which the loss falls, and the learning rate says how far. Large steps find a good region
    #    soon, small ones settle in it: so the rate falls, along half a wave of the cosine.
    model = build_model()
    steps = arguments.epochs * len(training)
    learning_rate = tf.keras.optimizers.schedules.CosineDecay(3e-4, steps)  # from 3e-4 to 0
    model.compile(
        loss="binary_crossentropy",  # large if the true class gets a low probability
        optimizer=tf.keras.optimizers.Adam(learning_rate),  # moves weights so that the loss falls
        metrics=["accuracy"],  # the share of pictures that it classifies correctly
    )
    model.summary()

    # 4. Train. In each epoch, the network learns from every training picture once, a batch at a
    #    time, and is then measured on the validation pictures. Whenever it is better on them than
    #    ever before, it is saved: the last epoch is rarely the best.
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        callbacks=[save_best, save_curves, stop_on_nan]).history

    # 5. Compare both curves. Training accuracy approaches 1: the network knows these pictures by
    #    heart. Validation accuracy says what it has understood. If the first rises and the second
    #    does not, the network overfits. Lesson 11 tries a remedy. These pictures choose the best
    #    epoch, so the accuracy on them is a little too high: look at the last five epochs, too.
    last = history["val_accuracy"][-5:]
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")
    print(f"mean of the last epochs, at most five: {np.mean(last):.4f}")
    draw_curves({"horses or humans": history}, output / "curves.png")

    # 6. Look at the mistakes of the saved network: what do these pictures have in common? Here
    #    nearly all are horses on white. In training, horses and humans stand in landscapes: a white
    #    background is new to the network, and its answer is mostly "human".
    best = tf.keras.models.load_model(output / "model.keras")
    pictures = validation.pictures * np.float32(RESCALE)
    human = best.predict(pictures, verbose=0)  # [256, 1]
    probabilities = np.hstack([1 - human, human])  # of both classes, [256, 2]
    draw_mistakes(pictures, validation.flow.labels, probabilities, CLASSES, output / "mistakes.png")
    print(f"The results are in {output}.")
    plt.show()


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


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


class InMemory(tf.keras.utils.PyDataset):
    """The batches of an ImageDataGenerator's flow, but every file is read only once.

    A PyDataset is a source of batches: `fit` asks it for its length, and for batch 0, 1, 2, ...
    This one scales pixels. How to change pictures, such as rotation_range, is lesson 11's subject.
    """

    def __init__(self, flow):
        super().__init__(workers=2, max_queue_size=3)  # threads that prepare the next batches
        if len(np.unique(flow.labels)) < flow.num_classes:
            sys.exit(f"{flow.directory} needs a folder with pictures for each of the classes "
                     f"{', '.join(flow.class_indices)}.")
        self.flow = flow
        self.labels = np.float32(flow.labels)
        self.pictures = np.empty((flow.n, *flow.image_shape), np.uint8)
        size = flow.target_size[::-1]  # Pillow has the width first
        progress = tf.keras.utils.Progbar(flow.n, unit_name="picture")
        with ThreadPoolExecutor() as pool:
            for row, picture in enumerate(pool.map(load_picture, flow.filepaths)):
                self.pictures[row] = picture.resize(size, Image.Resampling.NEAREST)
                progress.add(1)
        self.on_epoch_end()

    def on_epoch_end(self):
        """Draw another order."""
        self.order = np.arange(self.flow.n)
        if self.flow.shuffle:
            np.random.shuffle(self.order)

    def __len__(self):
        return len(self.flow)  # batches

    def __getitem__(self, number):
        size = self.flow.batch_size
        rows = self.order[number * size:(number + 1) * size]
        pictures = self.flow.image_data_generator.standardize(np.float32(self.pictures[rows]))
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
    parser.add_argument("--epochs", type=int, default=10, help="passes over the pictures (10)")
    parser.add_argument("--batch-size", type=int, default=32, help="pictures in each step (32)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path,
                        help="folder with horse-or-human and validation-horse-or-human")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_Human_horse"))
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
