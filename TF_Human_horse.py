"""Lesson 5: horses or humans - two classes of coloured pictures, read straight from their folders.

You learn to let an ImageDataGenerator find pictures and take the names of their folders as labels;
to tell two classes apart with five convolutions and one output; to measure a network on validation
pictures, from which it never learns; to see overfitting; and to look at the mistakes.

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3" scipy
  python TF_Human_horse.py                           # train, and save the best epoch
  python TF_Human_horse.py --predict me.jpg you.png  # classify your own pictures
  python TF_Human_horse.py --data-dir photos --output-dir outputs/tea_or_coffee

The last command is for two classes of your own, in folders like these (lesson 10 divides pictures):

  photos/train/tea/        photos/validation/tea/
  photos/train/coffee/     photos/validation/coffee/

Then change IMAGE_SIZE, the layers in `build_model`, or the learning rate, and see what becomes of
the two curves.

Expect it to be right about nine of ten validation pictures, after two to nine minutes on a two-core
CPU. The first run downloads 161 MB. The pictures were rendered by Laurence Moroney.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3", "scipy"]
# ///

import argparse
import contextlib
import functools
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
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

NAME = "TF_Human_horse"  # of this lesson
TRAINING_URLS = [  # the first address that answers is used
    "https://storage.googleapis.com/learning-datasets/horse-or-human.zip",
    "https://storage.googleapis.com/download.tensorflow.org/data/horse-or-human.zip",
    "https://storage.googleapis.com/tensorflow-1-public/course2/week3/horse-or-human.zip",
]
TRAINING_SHA256 = "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9"
VALIDATION_URLS = [
    "https://storage.googleapis.com/learning-datasets/validation-horse-or-human.zip",
    "https://storage.googleapis.com/download.tensorflow.org/data/validation-horse-or-human.zip",
]
VALIDATION_SHA256 = "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0"
IMAGE_SIZE = (300, 300)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model():
    """Return the network: pictures [batch, 300, 300, 3] in, probability of class 1 [batch, 1] out.

    Each convolution looks for patterns in what the one before it has found; relu turns what is
    negative into 0. Each pooling halves the width and the height, so that the next filter sees
    more of the picture.
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
        # Sigmoid turns the last sum into a probability, that of label 1. The rest, up to 1, is that
        # of label 0: a single output is enough. (float32: in 16 bits, 0.999 would become 1.)
        layers.Dense(1, activation="sigmoid", dtype="float32"),
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    choose_precision()  # 16-bit numbers where the machine is faster with them, else 32
    if arguments.predict:
        predict(arguments.predict, output, load_picture)
        return
    output.mkdir(parents=True, exist_ok=True)

    # 1. Find the pictures. An ImageDataGenerator says what happens to a picture before the
    #    network sees it: its pixels are scaled. Its flow lists the files, takes the name of a
    #    picture's folder as its label, and gives every picture the same size. The network will
    #    learn from the training pictures, and be measured on the validation pictures. (This is the
    #    course's way. Keras's newer one, `image_dataset_from_directory`, is in README.md.)
    if arguments.data_dir:
        train_folder, validation_folder = find_folders(  # or train and validation
            arguments.data_dir, "horse-or-human", "validation-horse-or-human")
    else:
        train_folder = download(TRAINING_URLS, TRAINING_SHA256)
        validation_folder = download(VALIDATION_URLS, VALIDATION_SHA256)
    classes = list_classes(train_folder)  # horses are label 0, humans label 1
    if len(classes) > 2:
        sys.exit(f"This network tells two classes apart, and {train_folder} has {len(classes)}. "
                 "Lesson 13 is for more.")
    train_flow = ImageDataGenerator(rescale=RESCALE).flow_from_directory(
        train_folder, target_size=IMAGE_SIZE, classes=classes, class_mode="binary",
        batch_size=arguments.batch_size)
    validation_flow = ImageDataGenerator(rescale=RESCALE).flow_from_directory(
        validation_folder, target_size=IMAGE_SIZE, classes=classes, class_mode="binary",
        batch_size=arguments.batch_size)

    # 2. Read them, and look at some. `fit` could take the flows as they are, but they would read
    #    every file again in each epoch. `keep_in_memory` gives the batches that a flow describes,
    #    but reads every file only once. (300x300 pixels of three bytes take 270 kB of memory.)
    training = keep_in_memory(train_flow)
    validation = keep_in_memory(validation_flow)
    pictures, labels = next(iter(training))
    print(f"A batch has pictures {pictures.shape} and labels {labels.shape}.")
    draw_batch(pictures, labels, classes, output / "pictures.png")

    # 3. Build the network, and say how it learns.
    model = build_model()
    model.compile(
        loss="binary_crossentropy",  # large if the true class gets a low probability
        # Moves each weight in the direction in which the loss falls; the rate says how far.
        optimizer=tf.keras.optimizers.RMSprop(learning_rate=1e-3),
        metrics=["accuracy"],  # the share of pictures that it classifies correctly
    )
    model.summary()

    # 4. Train. In each epoch, the network learns from every training picture once, a batch at a
    #    time, and is then measured on the validation pictures. Whenever it is better on them than
    #    ever before, it is saved: the last epoch is rarely the best.
    save_best = tf.keras.callbacks.ModelCheckpoint(
        output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True)
    save_names = SaveClasses(output, classes)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs,
                        shuffle=False,  # the batches are shuffled already; `fit` cannot
                        callbacks=[save_best, save_names, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start

    # 5. Compare both curves. Training accuracy approaches 1: in the end, the network knows these
    #    pictures by heart. Validation accuracy says what it has understood. While the first still
    #    rises and the second does not, the network overfits; lesson 11 shows what helps. The best
    #    validation accuracy flatters a little, as it has chosen the epoch.
    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]))
    draw_curves({" or ".join(classes): history}, output / "curves.png")

    # 6. Look at the mistakes: would you have expected them?
    best = tf.keras.models.load_model(output / "model.keras")
    pictures, labels, probabilities = classify(best, validation)
    draw_mistakes(pictures, labels, probabilities, classes, output / "mistakes.png")
    plt.show()


def classify(model, batches):
    """Return all pictures, their labels [n], and the probabilities of both classes [n, 2]."""
    all_pictures = []
    all_labels = []
    all_probabilities = []
    for pictures, labels in batches:
        probability = model.predict_on_batch(pictures)  # of label 1, [batch, 1]
        all_pictures.append(pictures)
        all_labels.append(np.int32(labels))
        all_probabilities.append(np.hstack([1 - probability, probability]))
    return (np.concatenate(all_pictures), np.concatenate(all_labels),
            np.concatenate(all_probabilities))


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


def download(urls, sha256=None):
    """Return the folder with the content of a zip file, downloaded and unpacked on the first run.

    The addresses in `urls` are tried in turn. `sha256` is the file's hash, if it is known.
    """
    cache = find_cache()
    folder = cache / Path(urls[0]).stem
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    errors = []
    for url in urls:
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            content = Path(temporary, "content")
            try:
                archive = tf.keras.utils.get_file(
                    origin=url, file_hash=sha256, cache_dir=temporary)
                print(f"Unpacking {Path(archive).name} ...")
                shutil.unpack_archive(archive, content, "zip")
            except Exception as error:
                errors.append(f"{url} ({error})")
                continue
            if (content / folder.name).exists():  # some archives hold the folder, some its content
                content = content / folder.name
            try:
                content.rename(folder)  # complete, or not there at all
            except OSError:
                if not folder.is_dir():  # no other run at the same time was faster
                    raise
            return folder
    sys.exit(f"Nothing could be downloaded from {' or '.join(errors)}. Try again, or name your own "
             "copy of the pictures with --data-dir.")


def find_cache():
    """Return the folder in which Keras, too, keeps the datasets that it downloads."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"], "datasets")
    try:
        return Path.home() / ".keras" / "datasets"
    except RuntimeError:  # in a container, a user may have no home
        return Path(tempfile.gettempdir(), ".keras", "datasets")


def find_folders(data, training="train", validation="validation"):
    """Return the folders with the training and the validation pictures in the folder `data`.

    They have the names that this lesson's download gives them, or those of lessons 8 and 10.
    """
    names = [(training, validation), ("train", "validation"), ("training", "testing")]
    for first, second in names:
        if (data / first).is_dir() and (data / second).is_dir():
            return data / first, data / second
    sys.exit(f"{data} needs two folders, {training} and {validation} (or training and testing, as "
             "lesson 10 makes them), each with a folder for every class. If it is an unfinished "
             "download, delete it, and run the lesson again.")


def list_classes(folder):
    """Return the names of the folders in `folder`, in alphabetical order: each is a class."""
    classes = []
    for entry in sorted(folder.glob("*")):
        if entry.is_dir() and not is_hidden(entry.name):
            classes.append(entry.name)
            if not entry.name.isprintable():  # bytes that are no letters, from an old zip file
                sys.exit(f"The name of the folder {ascii(str(entry))} cannot be read. Rename it.")
    if len(classes) < 2:
        sys.exit(f"{folder} needs a folder with pictures for each of two or more classes. If it is "
                 "an unfinished download, delete it, and run the lesson again.")
    return classes


def is_hidden(name):
    """Return whether the system or a program, such as Jupyter, keeps a file for itself."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(file):
    """Return whether the name of a file ends as one of those that Keras's flows read."""
    return file.suffix.lower() in [".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff"]


def list_files(folder):
    """Return all files in `folder` and its subfolders, sorted, except hidden ones."""
    files = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(map(is_hidden, file.relative_to(folder).parts)):
            files.append(file)
    return files


def find_pictures(folder):
    """Return the pictures in `folder` and its subfolders, sorted, and say what is left out."""
    pictures = []
    skipped = []
    for file in list_files(folder):
        if is_picture(file):
            pictures.append(file)
        else:
            skipped.append(file.suffix or file.name)
    if skipped:
        endings = ", ".join(sorted(set(skipped)))
        noun = "file" if len(skipped) == 1 else "files"
        print(f"Not used in {folder}: {len(skipped)} {noun} that Keras does not read as a picture "
              f"({endings}).")
    return pictures


# Reading pictures


def keep_in_memory(flow):
    """Return the batches of an ImageDataGenerator's `flow`, but read every file only once.

    Each batch has pictures [batch, height, width, channels], changed and scaled as the generator
    says, and labels [batch], or [batch, classes] if they are categorical.
    """
    files, labels = select_pictures(flow)
    if flow.class_mode == "categorical":
        labels = tf.keras.utils.to_categorical(labels, flow.num_classes)
    return make_batches(read_pictures(files, flow), np.float32(labels), flow)


def select_pictures(flow):
    """Return the files and the labels of a flow, without hidden files; say what is left out."""
    folder = Path(flow.directory)
    pictures = set()
    for name in flow.class_indices:
        found = find_pictures(folder / name)
        if not found:
            sys.exit(f"{folder} has no pictures of the class {name}. If it is an unfinished "
                     "download, delete it, and run the lesson again.")
        pictures.update(found)
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not is_hidden(entry.name) and entry.name not in flow.class_indices:
            print(f"Not used in {folder}: the folder {entry.name}, which is not one of the classes "
                  f"{', '.join(flow.class_indices)}.")
    files = []
    labels = []
    for file, label in zip(flow.filepaths, flow.labels):
        if Path(file) in pictures:
            files.append(file)
            labels.append(label)
    return files, labels


def read_pictures(files, flow):
    """Return the pictures in `files` as bytes [n, height, width, channels], in order."""
    pictures = np.empty((len(files), *flow.image_shape), np.uint8)
    load = functools.partial(load_picture, shape=flow.image_shape, resampling=flow.interpolation,
                             crop=flow.keep_aspect_ratio)
    print(f"Reading {len(files)} pictures from {flow.directory}")
    progress = tf.keras.utils.Progbar(len(files), unit_name="picture")
    with ThreadPoolExecutor() as pool:
        for row, picture in enumerate(pool.map(load, files)):
            pictures[row] = picture
            progress.add(1)
    return pictures


def load_picture(file, shape, resampling="nearest", crop=False):
    """Return a picture as bytes [height, width, channels] of the given shape.

    It is stretched to that shape, or, with `crop`, its sides are cut off until it fits.
    """
    height, width, channels = shape
    method = Image.Resampling[resampling.upper()]
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    picture = open_picture(file).convert(mode)
    if crop:
        picture = ImageOps.fit(picture, (width, height), method)
    else:
        picture = picture.resize((width, height), method)
    return np.asarray(picture).reshape(shape)


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
    parser.add_argument("--epochs", type=positive, default=15,
                        help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32,
                        help="pictures in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path,
                        help="your own folder with train and validation, or with horse-or-human "
                             "and validation-horse-or-human")
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
