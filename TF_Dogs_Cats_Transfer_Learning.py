"""Lesson 12: transfer learning - a network that has already learned to see, for your own classes.

You learn to take InceptionV3, which was trained on the 1.3 million photographs of ImageNet, to cut
off its last layers, to freeze the rest, and to train a new head for your own classes. You use
dropout, and turn it off to see what it does. And you see how few photographs are enough.

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3" scipy
  python TF_Dogs_Cats_Transfer_Learning.py                         # the cats and dogs of lesson 8
  python TF_Dogs_Cats_Transfer_Learning.py --predict my_pet.jpg    # classify your own photograph
  python TF_Dogs_Cats_Transfer_Learning.py --dropout 0 --output-dir outputs/no_dropout
  python TF_Dogs_Cats_Transfer_Learning.py --fine-tune 3 --output-dir outputs/fine_tuned
  python TF_Dogs_Cats_Transfer_Learning.py --data-dir outputs/mushrooms --output-dir outputs/network
  python TF_Dogs_Cats_Transfer_Learning.py --output-dir outputs/network --predict found_today.jpg

The last two commands are for your own classes, any number of them, in folders like these (lesson 10
makes them; they may also be called train and validation):

  outputs/mushrooms/training/porcino/        outputs/mushrooms/testing/porcino/
  outputs/mushrooms/training/death cap/      outputs/mushrooms/testing/death cap/

Expect it to be right about 97 of 100 validation pictures, after one to three minutes on a two-core
CPU. The first run downloads 157 MB: the photographs of the Asirra dataset (Microsoft Research,
Petfinder.com), and the weights of InceptionV3 (Google).

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3", "scipy"]
# ///

import argparse
import contextlib
import csv
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

NAME = "TF_Dogs_Cats_Transfer_Learning"  # of this lesson
URLS = [  # the first address that answers is used
    "https://download.mlcc.google.com/mledu-datasets/cats_and_dogs_filtered.zip",
    "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip",
]
IMAGE_SIZE = (150, 150)  # height and width in pixels
RESCALE = 1 / 255  # turns bytes, 0 to 255, into numbers from 0 to 1
LEARNING_RATE = 3e-4  # of the head
LAST_LAYER = "mixed8"  # of its blocks mixed0 to mixed10; the last are specialised in ImageNet
FROZEN_UP_TO = "mixed6"  # what --fine-tune leaves as it is
VARIANTS = 2  # augmented variants of each training picture
AUGMENTATION = {  # how far a training picture may be changed, at random, each time it is shown
    "rotation_range": 40,  # degrees to either side
    "width_shift_range": 0.2,  # share of the width, to either side
    "height_shift_range": 0.2,
    "shear_range": 0.2,  # slant in degrees, too little to be seen
    "zoom_range": 0.2,  # shows from 0.8 to 1.2 times as much, in width and in height
    "horizontal_flip": True,  # half of them are mirrored
    "fill_mode": "nearest",  # what a shift uncovers is filled with the nearest pixels
}


def build_base(weights):
    """Return the frozen part: pictures [batch, 150, 150, 3] in, features [batch, 1280] out."""
    pictures = layers.Input((*IMAGE_SIZE, 3))
    scaled = layers.Rescaling(2, offset=-1)(pictures)  # 0..1 to -1..1, as InceptionV3 was trained
    try:
        inception = tf.keras.applications.InceptionV3(
            include_top=False,  # without the layer that tells ImageNet's thousand classes apart
            weights=weights,
            input_tensor=scaled,
        )
    except Exception as error:
        sys.exit(f"The weights of InceptionV3 cannot be loaded ({error}). Try again, or name a "
                 "file with --weights.")
    maps = inception.get_layer(LAST_LAYER).output  # 1280 maps of 3x3, one for each feature
    features = layers.GlobalAveragePooling2D()(maps)  # the mean of each map: 1280 numbers
    base = tf.keras.Model(pictures, features, name="base")
    base.trainable = False  # frozen: training cannot change its weights
    return base


def build_head(feature_count, class_count, dropout):
    """Return the new part: features [batch, features] in, probabilities [batch, classes] out."""
    return tf.keras.Sequential([
        layers.Input((feature_count,)),
        layers.Dense(1024, activation="relu"),  # combines what InceptionV3 has found
        layers.Dropout(dropout),  # zeroes some of the 1024 in each step: it is harder to memorise
        layers.Dense(class_count, activation="softmax"),  # a probability for each of your classes
    ], name="head")


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    if arguments.predict:
        predict(arguments.predict, output, load_picture)
        return
    output.mkdir(parents=True, exist_ok=True)

    # 1. Find and read the pictures, as in lesson 8: a flow says what to read and how to change it,
    #    and `keep_in_memory` does so, reading each file once. Here the folders name the classes.
    train_folder, validation_folder = find_folders(arguments.data_dir or download(URLS))
    classes = list_classes(train_folder)
    train_flow = ImageDataGenerator(rescale=RESCALE, **AUGMENTATION).flow_from_directory(
        train_folder, target_size=IMAGE_SIZE, classes=classes,
        class_mode="sparse", batch_size=arguments.batch_size)  # the labels are 0, 1, 2, ...
    validation_flow = ImageDataGenerator(rescale=RESCALE).flow_from_directory(
        validation_folder, target_size=IMAGE_SIZE, classes=classes,
        class_mode="sparse", batch_size=arguments.batch_size)
    training = keep_in_memory(train_flow)
    validation = keep_in_memory(validation_flow)
    pictures, labels = next(iter(training))
    draw_batch(pictures, labels, classes, output / "pictures.png")

    # 2. Take a network that has learned to see, without its last layers, and freeze it. Put a new
    #    head on it, for our classes. See what becomes of one batch on its way through both.
    base = build_base(str(arguments.weights or "imagenet"))
    head = build_head(base.output_shape[1], len(classes), arguments.dropout)
    batch_features = base(pictures)
    probabilities = head(batch_features)
    print(f"A batch of pictures:    {pictures.shape}")
    print(f"the maps of {LAST_LAYER}:     {base.get_layer(LAST_LAYER).output.shape}")
    print(f"features, their means:  {batch_features.shape}")
    print(f"probabilities:          {probabilities.shape}")

    # 3. Compute the features of every picture. A frozen base always computes the same features for
    #    the same picture, so it is used once, before the training, and not in each epoch. Each
    #    training picture is augmented VARIANTS times, and these variants are used in every epoch:
    #    new ones would have to go through the base again.
    start = time.perf_counter()
    features, labels = extract_features(base, training, passes=VARIANTS)
    validation_data = extract_features(base, validation, passes=1)

    # 4. Train the head on these features. Measure it first: it can only guess. Stop when ten epochs
    #    have brought nothing, and go back to the best weights.
    head.compile(
        loss="sparse_categorical_crossentropy",  # for labels 0, 1, 2, ...
        optimizer=tf.keras.optimizers.Adam(LEARNING_RATE),
        metrics=["accuracy"],
    )
    before = head.evaluate(*validation_data, verbose=0, return_dict=True)
    stop_early = tf.keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=10, restore_best_weights=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    history = head.fit(features, labels, validation_data=validation_data,
                       batch_size=arguments.batch_size, epochs=arguments.epochs,
                       callbacks=[stop_early, save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start
    best = max(history["val_accuracy"])  # flatters a little: these pictures have chosen the epoch
    print(f"Validation accuracy: {before['accuracy']:.3f} before training, {best:.3f} after it.")

    #    Which class is taken for which? A rare class may be missed although accuracy is high. (The
    #    matrix shows this network, before any fine-tuning.)
    validation_features, validation_labels = validation_data
    predicted = np.argmax(head.predict(validation_features, verbose=0), axis=1)
    matrix = tf.math.confusion_matrix(validation_labels, predicted, len(classes)).numpy()
    draw_confusion_matrix(matrix, classes, output / "confusion_matrix.png")

    # 5. Put both parts together, and save one network: pictures in, probabilities out.
    model = tf.keras.Sequential([base, head], name=NAME)
    model.summary()  # only the weights of the head are trainable
    model.save(output / "model.keras")
    save_classes(output, classes)

    # 6. How many pictures does it take? Train other heads on a few of them, in their first variant:
    #    the first pass through the pictures has made one of each.
    count = len(labels) // VARIANTS
    draw_learning_curve(features[:count], labels[:count], validation_data, arguments.dropout,
                        output / "learning_curve.png")

    # 7. Fine-tune, if asked to: let training change the last layers of the base, too, a little.
    #    Only now: an untrained head makes large mistakes, and its first steps would have spoiled
    #    what the base has learned. `model` consists of this base and this head, so both go on
    #    learning.
    fine_tuning = None
    if arguments.fine_tune:
        unfreeze(base)
        model.compile(  # needed after each change of `trainable`
            loss="sparse_categorical_crossentropy",
            optimizer=tf.keras.optimizers.Adam(learning_rate=1e-5),  # small steps
            metrics=["accuracy"],
        )
        save_better = tf.keras.callbacks.ModelCheckpoint(
            output / "model.keras", monitor="val_accuracy", mode="max", save_best_only=True,
            initial_value_threshold=best)
        start = time.perf_counter()
        fine_tuning = model.fit(training, validation_data=validation, epochs=arguments.fine_tune,
                                shuffle=False,  # the batches are shuffled already; `fit` cannot
                                callbacks=[save_better, stop_on_nan]).history
        seconds += time.perf_counter() - start
        after = max(fine_tuning["val_accuracy"])
        print(f"Validation accuracy: {best:.3f} before fine-tuning, {after:.3f} after it.")
        best = max(best, after)
    save_metrics(output, arguments, seconds, best_validation_accuracy=best)
    lesson_8 = None
    if classes == ["cats", "dogs"]:  # its network has learned from the same photographs alone
        lesson_8 = read_history(Path("outputs", "TF_Dogs_Cats", "history.csv"))
    draw_stages(before, history, fine_tuning, lesson_8, output / "curves.png")
    plt.show()


def extract_features(base, batches, passes):
    """Return what `base` finds in the pictures, features [n, 1280], and their labels [n]."""
    features = []
    labels = []
    print(f"Computing the features of {passes * len(batches)} batches")
    progress = tf.keras.utils.Progbar(passes * len(batches), unit_name="batch")
    for _ in range(passes):
        for pictures, batch_labels in batches:
            features.append(base.predict_on_batch(pictures))
            labels.append(batch_labels)
            progress.add(1)
    return np.concatenate(features), np.concatenate(labels)


def draw_learning_curve(features, labels, validation_data, dropout, file):
    """Draw the validation accuracy of heads that have learned from 3, 10, 30, ... of each class.

    For each number, three heads learn from pictures drawn at random: the line is their mean.
    """
    smallest_class = np.unique(labels, return_counts=True)[1].min()
    counts = []
    accuracies = []
    for count in [3, 10, 30, 100, 300, 1000]:
        if count > smallest_class:
            break
        trials = []
        for trial in range(3):
            rows = choose_rows(labels, count, seed=trial)
            trials.append(measure_head(features[rows], labels[rows], validation_data, dropout))
        counts.append(count)
        accuracies.append(trials)
        print(f"{count:5} training pictures of each class: validation accuracy "
              f"{min(trials):.3f} to {max(trials):.3f}")
    if not counts:
        return
    figure, axis = plt.subplots(figsize=(8, 5))
    axis.semilogx(counts, np.mean(accuracies, axis=1), "-")
    axis.semilogx(counts, accuracies, "o", color="C0")
    axis.set(title="How many pictures does it take?",
             xlabel="training pictures of each class",
             ylabel="validation accuracy")
    axis.set_xticks(counts, counts)
    axis.minorticks_off()
    figure.savefig(file)


def choose_rows(labels, count, seed):
    """Return `count` random rows of each class, by its label, in one array."""
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        chosen.append(generator.choice(rows, count, replace=False))
    return np.concatenate(chosen)


def measure_head(features, labels, validation_data, dropout):
    """Train another head on these features, and return its validation accuracy."""
    head = build_head(features.shape[1], len(np.unique(labels)), dropout)
    head.compile(loss="sparse_categorical_crossentropy",
                 optimizer=tf.keras.optimizers.Adam(LEARNING_RATE), metrics=["accuracy"])
    examples = tf.data.Dataset.from_tensor_slices((features, labels)).shuffle(len(labels))
    batches = examples.repeat().batch(20)  # however few they are, each head takes 100 steps
    head.fit(batches, steps_per_epoch=100, shuffle=False, verbose=0)
    return head.evaluate(*validation_data, verbose=0, return_dict=True)["accuracy"]


def unfreeze(base):
    """Let training change the layers after FROZEN_UP_TO, except BatchNormalization.

    BatchNormalization holds averages over all of ImageNet, which a few pictures would spoil.
    """
    base.trainable = True
    last_frozen = base.layers.index(base.get_layer(FROZEN_UP_TO))
    for number, layer in enumerate(base.layers):
        is_normalization = isinstance(layer, layers.BatchNormalization)
        layer.trainable = number > last_frozen and not is_normalization


def draw_stages(before, history, fine_tuning, lesson_8, file):
    """Draw accuracy and loss before the training, while the head learns, and in fine-tuning.

    Beside them, the history of lesson 8, if there is one.
    """
    figure, axes = plt.subplots(1, 2)
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        training = list(history[metric])
        validation = [before[metric], *history[f"val_{metric}"]]
        if fine_tuning:
            axis.axvline(len(training) + 0.5, color="grey", label="fine-tuning begins")
            training.extend(fine_tuning[metric])
            validation.extend(fine_tuning[f"val_{metric}"])
        axis.plot(range(1, len(training) + 1), training, ".--", color="C0",
                  label="transfer learning: training")
        axis.plot(validation, ".-", color="C0", label="transfer learning: validation")
        if lesson_8:
            epochs = range(1, len(lesson_8["loss"]) + 1)
            axis.plot(epochs, lesson_8[metric], ".--", color="C1", label="lesson 8: training")
            axis.plot(epochs, lesson_8[f"val_{metric}"], ".-", color="C1",
                      label="lesson 8: validation")
        axis.set(title=metric.capitalize(), xlabel="epoch (0: before the training)")
        axis.xaxis.get_major_locator().set_params(integer=True)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    figure.savefig(file)


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


def read_history(file, needed=("accuracy", "loss", "val_accuracy", "val_loss")):
    """Return the curves in a run's history.csv, {name: list of numbers}, or None without any."""
    if not file.exists():
        return None
    history = {}
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            for row in csv.DictReader(lines):
                for name, number in row.items():
                    if number == "NA":  # nothing was measured
                        number = "nan"
                    history.setdefault(name, []).append(float(number))
    except (OSError, ValueError, TypeError, csv.Error):  # changed by another program
        history = {}
    for name in list(history):
        if not np.isfinite(history[name]).all():
            del history[name]
    if not set(needed) <= set(history):
        print(f"{file} cannot be read as the curves of a run, and is left out.")
        return None
    return history


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


def share(text):
    """Return `text` as a number from 0 up to, but not including, 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up to, not including, 1")
    return number


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
    parser.add_argument("--epochs", type=positive, default=40, help="at most (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=100,
                        help="pictures, or their features, in each step (%(default)s)")
    parser.add_argument("--dropout", type=share, default=0.2,
                        help="share of neurons that are dropped; 0: none (%(default)s)")
    parser.add_argument("--fine-tune", type=positive, metavar="EPOCHS",
                        help="then train the last layers of InceptionV3, too (slow)")
    parser.add_argument("--weights", type=path, metavar="FILE",
                        help="InceptionV3's weights without top: nothing is downloaded")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path, help="your own folder with train and validation")
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
