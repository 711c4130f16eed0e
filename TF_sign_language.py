"""Lesson 14: twenty-four letters of American Sign Language - pictures that come as rows of a table.

You learn to get a dataset from Kaggle, to turn the rows of a CSV file into pictures, and to choose
the best epoch on validation pictures, so that the test pictures decide nothing.

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3" scipy kagglehub
  python TF_sign_language.py                        # train, draw the curves, evaluate once
  python TF_sign_language.py --data-dir my_folder   # which has the two CSV files already
  python TF_sign_language.py --predict my_hand.jpg  # your own hand, and what the network sees

Expect one to five minutes on a two-core CPU. The first run downloads 63 MB from Kaggle, which asks
for no login. J and Z are signed with a movement, so no picture shows them. Sign Language MNIST:
"tecperson" on Kaggle, CC0.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3", "scipy", "kagglehub"]
# ///

import argparse
import contextlib
import csv
import functools
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
from tensorflow.keras.preprocessing.image import ImageDataGenerator

NAME = "TF_sign_language"  # of this lesson
DATASET = "datamunge/sign-language-mnist/versions/1"  # owner, name, version: the same for everybody
FILES = ["sign_mnist_train.csv", "sign_mnist_test.csv"]
CLASSES = list("ABCDEFGHIJKLMNOPQRSTUVWXY")  # labels 0 to 24; label 9, the J, never occurs
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers
AUGMENTATION = {  # gentler than in lesson 11: signs differ by their angle, too
    "rotation_range": 10,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.1,
    "fill_mode": "nearest",  # no horizontal_flip: the mirror image of a right hand is a left hand
}


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
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    choose_precision()  # 16-bit numbers where the machine is faster with them, else 32
    if arguments.predict:
        predict(arguments.predict, output, load_hand, CLASSES)
        draw_hands(arguments.predict, output / "prediction.png")
        return
    output.mkdir(parents=True, exist_ok=True)

    # 1. Get the table, and turn its rows into pictures: [n, 785] becomes [n, 28, 28, 1], because a
    #    convolution expects height, width and channels.
    folder = arguments.data_dir or download_from_kaggle()
    pictures, labels = read_csv(folder / FILES[0])
    test_pictures, test_labels = read_csv(folder / FILES[1])

    # 2. Hold out a tenth of the training rows, chosen at random. They are the validation pictures:
    #    they decide which epoch is the best. So the test pictures decide nothing.
    order = np.random.permutation(len(labels))
    held_out = order[:len(order) // 10]
    rest = order[len(order) // 10:]
    if len(held_out) == 0:
        sys.exit(f"{folder / FILES[0]} has {len(labels)} pictures: at least ten are needed.")

    # 3. Say how the pictures may be changed. `flow` takes arrays where `flow_from_directory` takes
    #    folders. `make_batches` does what the flow says, but for a whole batch at once.
    train_flow = ImageDataGenerator(rescale=RESCALE, **AUGMENTATION).flow(
        pictures[rest], labels[rest], batch_size=arguments.batch_size)
    validation_flow = ImageDataGenerator(rescale=RESCALE).flow(
        pictures[held_out], labels[held_out], batch_size=arguments.batch_size)
    training = make_batches(train_flow.x, train_flow.y, train_flow)
    validation = make_batches(validation_flow.x, validation_flow.y, validation_flow)
    batch, batch_labels = next(iter(training))
    print(f"A batch has pictures {batch.shape} and labels {batch_labels.shape}.")
    draw_batch(batch, batch_labels, CLASSES, output / "pictures.png")

    # 4. Build the network, and say how it learns. A batch is four times as large as in the course,
    #    so its gradient is less noisy: twice the usual learning rate does no harm.
    model = build_model()
    model.compile(
        loss="sparse_categorical_crossentropy",  # for labels that are numbers, 0 to 24
        optimizer=tf.keras.optimizers.Adam(learning_rate=2e-3),
        metrics=["accuracy"],  # the share of pictures whose most probable letter is the true one
        steps_per_execution=10,  # TensorFlow returns to Python after ten steps, which saves time
    )
    model.summary()

    # 5. Train. The best epoch is saved.
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_names = SaveClasses(output, CLASSES)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        shuffle=False,  # the batches are shuffled already; `fit` cannot
                        callbacks=[save_best, save_names, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start

    # 6. Evaluate the network of the best epoch, once, on the test pictures. They must be scaled as
    #    the training pictures were. We also see what it costs to forget this.
    best = tf.keras.models.load_model(output / "model.keras")
    scores = best.predict(test_pictures * np.float32(RESCALE), verbose=0)
    predicted = np.argmax(scores, axis=1)
    test_accuracy = np.mean(predicted == test_labels)
    unscaled_scores = best.predict(test_pictures.astype("float32"), verbose=0)
    unscaled_accuracy = np.mean(np.argmax(unscaled_scores, axis=1) == test_labels)
    print(f"On test pictures that are not scaled, accuracy would be {unscaled_accuracy:.4f}.")
    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]),
                 test_accuracy=float(test_accuracy))
    draw_curves({"sign language": history}, output / "curves.png")
    draw_letters(test_labels, predicted, output / "confusion_matrix.png")
    plt.show()


def download_from_kaggle():
    """Return the folder with the two CSV files, which kagglehub downloads on the first run."""
    try:
        import kagglehub
        folder = Path(kagglehub.dataset_download(DATASET))
        return next(folder.rglob(FILES[0])).parent
    except Exception as error:
        sys.exit(f"The data cannot be downloaded ({error}). Try again, or download them from "
                 "https://www.kaggle.com/datasets/datamunge/sign-language-mnist and name their "
                 "folder with --data-dir.")


def read_csv(file):
    """Return pictures [n, 28, 28, 1] (bytes) and labels [n] from a header and rows of a table.

    Each row has a label, 0 to 24 except 9, and 784 pixels, 0 to 255. Raises OSError, with the
    number of the line, if one has not.
    """
    if not file.is_file():
        raise OSError(f"There is no file {file}.")
    table = []
    line = 0
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            reader = csv.reader(lines, strict=True)
            for row in reader:
                if line == 0 and row[:1] != ["label"]:
                    raise ValueError("the header is missing: label, pixel1, ... pixel784")
                if line > 0 and any(row):  # not empty
                    table.append(read_row(row))
                line = reader.line_num
    except UnicodeDecodeError:
        raise OSError(f"{file} is no CSV file in UTF-8. Save it in that format.") from None
    except (ValueError, csv.Error) as error:
        raise OSError(f"{file}, line {line + 1}: {error}.") from None
    if not table:
        raise OSError(f"{file} has no rows below its header.")
    table = np.array(table, np.uint8)
    return table[:, 1:].reshape(-1, 28, 28, 1), table[:, 0]


def read_row(row):
    """Return a row of the table, 785 texts, as numbers. Raises ValueError if it is wrong."""
    if len(row) != 785:
        raise ValueError(f"there are {len(row)} columns, not a label and 784 pixels")
    try:
        numbers = bytes(map(int, row))  # an error unless each is a whole number from 0 to 255
    except ValueError:
        raise ValueError("not all pixels are whole numbers from 0 to 255") from None
    if numbers[0] >= len(CLASSES) or CLASSES[numbers[0]] == "J":
        raise ValueError(f"there is no label {numbers[0]}, only 0 to 24 except 9")
    return list(numbers)


def draw_letters(labels, predicted, file):
    """Draw the confusion matrix of the twenty-four letters, without the J, which never occurs."""
    matrix = tf.math.confusion_matrix(labels, predicted, len(CLASSES)).numpy()
    j = CLASSES.index("J")
    matrix = np.delete(np.delete(matrix, j, axis=0), j, axis=1)
    letters = CLASSES[:j] + CLASSES[j + 1:]
    draw_confusion_matrix(matrix, letters, file)


def load_hand(file, shape):
    """Return the square in the middle of a photograph, in grey, as bytes of the given shape."""
    height, width, _ = shape
    square = ImageOps.fit(open_picture(file).convert("L"), (width, height))
    return np.asarray(square).reshape(shape)


def draw_hands(files, file):
    """Draw what the network sees of each photograph: 28x28 pixels."""
    hands = []
    for photograph in files:
        hands.append(load_hand(photograph, (28, 28, 1))[..., 0])
    large = np.hstack(hands).repeat(8, axis=0).repeat(8, axis=1)
    plt.imsave(file, large, cmap="gray", vmin=0, vmax=255)
    print(f"What the network sees of them is in {file}.")


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


def make_batches(pictures, labels, flow):
    """Return batches of pictures and labels, changed, scaled and shuffled as `flow` says.

    pictures: [n, height, width, channels], 0 to 255. labels: [n] or [n, classes].
    """
    with tf.device("CPU"):  # leaves the memory of a GPU to the network
        pictures = tf.constant(pictures)
        labels = tf.constant(labels)

    def make_batch(rows):
        changed = augment(tf.gather(pictures, rows), flow.image_data_generator)
        return changed, tf.gather(labels, rows)

    rows = tf.data.Dataset.range(len(labels))
    if flow.shuffle:
        rows = rows.shuffle(len(labels))  # all of them, in another order in each epoch
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would hold up the end of every epoch
    batches = rows.batch(flow.batch_size).map(make_batch)
    return batches.prefetch(2).with_options(options)


def augment(pictures, generator):
    """Return a batch of pictures, 0 to 255, changed at random and scaled as the generator says.

    All changes of place are one map for each picture: where does each of its pixels come from?
    """
    if is_set(generator, ["brightness_range", "channel_shift_range", "preprocessing_function",
                          "samplewise_center", "samplewise_std_normalization", "zca_whitening",
                          "featurewise_center", "featurewise_std_normalization"]):
        return augment_one_by_one(pictures, generator)
    scale = generator.rescale or 1
    scaled = tf.cast(pictures, tf.float32) * scale
    if not is_set(generator, ["rotation_range", "width_shift_range", "height_shift_range",
                              "shear_range", "zoom_range", "horizontal_flip", "vertical_flip"]):
        return scaled
    draw = functools.partial(draw_maps, generator, pictures.shape[1:])
    maps = tf.numpy_function(draw, [tf.shape(pictures)[0]], tf.float32)
    maps = tf.ensure_shape(maps, [None, 8])
    return tf.keras.ops.image.affine_transform(
        scaled, maps, fill_mode=generator.fill_mode, fill_value=generator.cval * scale)


def is_set(generator, names):
    """Return whether the generator was given one of the settings `names`."""
    default = ImageDataGenerator()
    return any(getattr(generator, name) != getattr(default, name) for name in names)


def augment_one_by_one(pictures, generator):
    """Let the generator itself change the pictures: right for every setting, but slow."""
    def change(batch):
        changed = []
        for picture in batch:
            changed.append(generator.standardize(generator.random_transform(picture)))
        return np.array(changed, np.float32)

    changed = tf.numpy_function(change, [tf.cast(pictures, tf.float32)], tf.float32)
    return tf.ensure_shape(changed, pictures.shape)


def draw_maps(generator, shape, count):
    """Return `count` random maps [count, 8] within the limits of the generator: see affine_map."""
    maps = []
    for _ in range(count):
        change = generator.get_random_transform(shape)
        maps.append(affine_map(change, shape[0], shape[1]))
    return np.array(maps, np.float32)


def affine_map(change, height, width):
    """Return where each pixel (x, y) of the changed picture comes from, in eight numbers."""
    turn = np.deg2rad(change["theta"])
    slant = np.deg2rad(change["shear"])
    cos = np.cos(turn)
    sin = np.sin(turn)
    rotate = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([[1, 0, change["tx"]], [0, 1, change["ty"]], [0, 0, 1]])
    shear = np.array([[1, -np.sin(slant), 0], [0, np.cos(slant), 0], [0, 0, 1]])
    zoom = np.diag([change["zx"], change["zy"], 1])
    flip = np.diag([1 - 2 * change["flip_horizontal"], 1 - 2 * change["flip_vertical"], 1])
    to_middle = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    matrix = to_middle @ rotate @ shift @ shear @ zoom @ flip @ np.linalg.inv(to_middle)
    return matrix.flatten()[:8]


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


def draw_confusion_matrix(matrix, names, file):
    """Draw the counts [true class, predicted class]; the color is the share of the true class."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = max(5, 2.5 + 0.36 * len(names))  # inches
    figure, axis = plt.subplots(figsize=(side + 1, side))
    image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=color, fontsize=11)
    longest = max(map(len, names))
    axis.set_xticks(range(len(names)), names, rotation=60 if longest > 5 else 0, fontsize=12)
    axis.set_yticks(range(len(names)), names, fontsize=12)
    axis.set(xlabel="predicted class", ylabel="true class")
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
    parser.add_argument("--epochs", type=positive, default=12,
                        help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=128,
                        help="pictures in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path,
                        help="your own folder with sign_mnist_train.csv and sign_mnist_test.csv")
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
