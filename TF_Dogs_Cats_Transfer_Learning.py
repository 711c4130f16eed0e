"""Lesson 12: transfer learning - dogs and cats, with a network that has already learned to see.

You learn to take InceptionV3, trained on the 1.3 million photographs of ImageNet, to freeze it, and to train a new head
for your own classes; and to use dropout, or to turn it off and see whether the loss then falls step by step.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_Dogs_Cats_Transfer_Learning.py                        # train the head, compare with lesson 8
  python TF_Dogs_Cats_Transfer_Learning.py --dropout 0 --epochs 5 --output-dir outputs/try
  python TF_Dogs_Cats_Transfer_Learning.py --predict my_pet.jpg   # classify your own photograph

Expect a validation accuracy of .96 to .98 after two to seven minutes on a two-core CPU. 157 MB is downloaded once. The
photographs are part of the Asirra dataset (Microsoft Research, Petfinder.com).
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy"]
# ///

import argparse
import json
import os
import shutil
import socket
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it
if "--plain" not in sys.argv:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster convolutions: only the rounding differs

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

URL = "https://storage.googleapis.com/mledu-datasets/cats_and_dogs_filtered.zip"
SHA256 = None  # the publisher gives no hash
CLASSES = ["cats", "dogs"]  # label 0 and label 1: the names of the folders
IMAGE_SIZE = (150, 150)  # height and width in pixels
RESCALE = 1 / 255  # pixels 0..255 become 0..1
VARIANTS = 4  # of each training picture: the fifth epoch shows the first again
AUGMENTATION = {"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2,
                "zoom_range": 0.2, "horizontal_flip": True, "fill_mode": "nearest"}  # lesson 11 explains each of them


def build_model(weights: str, dropout: float) -> tuple[tf.keras.Model, tf.keras.Model]:
    """Return base and head: pictures [n, 150, 150, 3] (0..1) -> maps [n, 7, 7, 768] -> probability of a dog [n, 1]."""
    layers = tf.keras.layers
    pixels = layers.Input((*IMAGE_SIZE, 3))
    scaled = layers.Rescaling(2, offset=-1)(pixels)  # 0..1 becomes -1..1, as InceptionV3 was trained
    try:
        inception = tf.keras.applications.InceptionV3(include_top=False, input_tensor=scaled, weights=weights)
    except Exception as error:
        sys.exit(f"InceptionV3's weights could not be loaded ({error}). Try again, or name their file with --weights.")
    base = tf.keras.Model(pixels, inception.get_layer("mixed7").output, name="base")  # what follows knows ImageNet only
    base.trainable = False  # frozen: the first steps of an untrained head would destroy what the base has learned
    head = tf.keras.Sequential([
        layers.Input(base.output_shape[1:]),
        layers.Flatten(),  # 37,632 numbers, so the next layer has 38.5 million weights: most of the whole network
        layers.Dense(1024, activation="relu"),  # weighs what InceptionV3 has found in the picture
        layers.Dropout(dropout),  # zeroes a random share of the 1024 in each step: no neuron can rely on another
        layers.Dense(1, activation="sigmoid"),  # two classes, not ImageNet's thousand: one probability is enough
    ], name="head")
    return base, head


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    if arguments.predict:
        return predict(arguments.predict, output / "model.keras", load_picture)
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    data = arguments.data_dir or download(URL, SHA256)
    names = ("training", "testing") if (data / "training").exists() else ("train", "validation")

    # Two models: a base that has learned to see, and a head that has to learn what a dog is.
    base, head = build_model(str(arguments.weights or "imagenet"), arguments.dropout)
    whole = tf.keras.Sequential([base, head])
    whole.summary()

    # The generators find the pictures and take the folders' names as labels. Only the training pictures are augmented.
    generator = tf.keras.preprocessing.image.ImageDataGenerator
    flow = {"target_size": IMAGE_SIZE, "classes": CLASSES, "class_mode": "binary",  # the label is 0 or 1
            "batch_size": arguments.batch_size, "seed": arguments.seed}
    training = generator(rescale=RESCALE, **AUGMENTATION).flow_from_directory(data / names[0], **flow)
    validation = generator(rescale=RESCALE).flow_from_directory(data / names[1], **flow)
    draw_batch(next(iter(training)), output / "pictures.png")  # look at the data before you train on them

    start, model, steps = time.perf_counter(), whole, len(training)
    if not arguments.plain:
        # The frozen base always finds the same features in the same picture. So it is run on only four variants of each
        # picture, instead of a new one in each of 20 epochs; then the head is trained on these features.
        print(f"Extracting the features of {VARIANTS} variants of each training picture ...")
        pictures, validation = keep_in_memory(training, augment), extract_features(base, keep_in_memory(validation))
        model, training = head, extract_features(base, pictures)
        for _ in range(VARIANTS - 1):  # each pass over `pictures` augments them anew
            training = training.concatenate(extract_features(base, pictures))
        training = training.repeat()  # `steps_per_epoch` ends an epoch when each picture has been shown once
    # A tenth of lesson 8's learning rate: each step moves 38.5 million new weights at once, and easily goes too far.
    model.compile(optimizer=tf.keras.optimizers.RMSprop(1e-4), loss="binary_crossentropy", metrics=["accuracy"])
    saver = tf.keras.callbacks.ModelCheckpoint(output / "model.keras", "val_accuracy", mode="max", save_best_only=True)
    saver.set_model(whole)
    saver.set_model = lambda _: None  # otherwise `fit` hands it the model that it trains, the head, to save
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs, steps_per_epoch=steps,
                        callbacks=[saver, tf.keras.callbacks.CSVLogger(output / "history.csv")], shuffle=False).history
    seconds = time.perf_counter() - start

    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]))
    histories, lesson_8 = {"transfer learning": history}, Path("outputs", "TF_Dogs_Cats", "history.csv")
    if lesson_8.exists() and lesson_8.stat().st_size:  # the same photographs, but a network trained from scratch
        table = np.atleast_1d(np.genfromtxt(lesson_8, delimiter=",", names=True))
        histories["lesson 8"] = {name: table[name] for name in table.dtype.names}
    draw_curves(histories, output / "curves.png")
    plt.show()


def extract_features(base: tf.keras.Model, pictures: tf.data.Dataset) -> tf.data.Dataset:
    """Return batches of the features [batch, 7, 7, 768] that `base` finds in one pass over batches of `pictures`."""
    features, labels = zip(*((base.predict_on_batch(batch).astype("float16"), labels) for batch, labels in pictures))
    return make_batches(np.concatenate(features), np.concatenate(labels), len(labels[0]))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=20, help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=20 if "--plain" in sys.argv else 100,
                        help="pictures in each step (%(default)s; 20 with --plain)")
    parser.add_argument("--dropout", type=share, default=0.2, help="share of neurons dropped; 0: none (%(default)s)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="no download: weights of InceptionV3 without top")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help="folder that holds train and validation, or lesson 10's")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), help="(%(default)s)")
    parser.add_argument("--predict", type=Path, nargs="+", metavar="FILE", help="only classify these pictures")
    return parser.parse_args()


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """Return `text` as a whole number from 1 to 2^31 - 1; anything else is an argparse error."""
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


def share(text: str) -> float:
    """Return `text` as a number from 0 up to, but not including, 1; anything else is an argparse error."""
    if not 0 <= float(text) < 1:
        raise ValueError
    return float(text)


def download(url: str, sha256: str | None) -> Path:
    """Return the folder with the content of the zip file at `url`, downloaded and unpacked on the first run only."""
    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", Path(url).stem)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent) as home:
                archive = tf.keras.utils.get_file(origin=url, file_hash=sha256, cache_dir=home)
                shutil.unpack_archive(archive, Path(home, "all"), "zip")
                content = Path(home, "all", folder.name)  # some archives hold a folder, some only its content
                (content if content.exists() else content.parent).rename(folder)  # it appears when it is complete
        except Exception as error:
            sys.exit(f"{url} could not be downloaded or unpacked ({error}). Try again, or name a copy with --data-dir.")
    return folder


def keep_in_memory(flow, change=None) -> tf.data.Dataset:
    """Return an ImageDataGenerator's batches, but read each file only once; `change` may augment a batch."""
    if len(set(flow.labels)) < flow.num_classes:
        raise OSError(f"{flow.directory} needs pictures in each of its folders {', '.join(flow.class_indices)}.")
    limits = flow.image_data_generator
    if not change and vars(limits) != vars(type(limits)(rescale=limits.rescale)):  # asked to do more than scale
        sys.exit("Only ImageDataGenerator itself can augment the pictures of this lesson: train with --plain.")
    change = change or (lambda batch, rng, limits: tf.cast(batch, tf.float32) * limits.rescale)
    print(f"Reading {len(flow.filepaths)} pictures into memory ...")
    with ThreadPoolExecutor() as pool:
        pictures = np.fromiter(pool.map(load_picture, flow.filepaths), (np.uint8, (*IMAGE_SIZE, 3)), len(flow.labels))
    labels = tf.one_hot(flow.labels, flow.num_classes) if flow.class_mode == "categorical" else np.float32(flow.labels)
    return make_batches(pictures, labels, flow.batch_size, lambda batch, rng: change(batch, rng, limits), flow.seed)


def load_picture(file: Path) -> np.ndarray:
    """Return the picture in `file` as bytes 0..255 [height, width, 3], stretched to IMAGE_SIZE."""
    try:
        picture = ImageOps.exif_transpose(tf.keras.utils.load_img(file))  # upright, however the camera was held
        return np.asarray(picture.resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST))
    except Exception as error:  # Pillow raises many kinds
        raise OSError(f"{file} cannot be read as a picture ({error}). Remove it, or choose another.") from error


def make_batches(pictures, labels, batch_size: int, change=lambda batch, rng: batch, seed: int = 1) -> tf.data.Dataset:
    """Return batches of pictures [n, ...] after `change`, and labels [n, ...], in a new random order in each epoch."""
    with tf.device("CPU"):  # leaves a GPU's memory to the network
        pictures, labels, rng = tf.constant(pictures), tf.constant(labels), tf.random.Generator.from_seed(seed)
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread would delay the end of every epoch
    numbers = tf.data.Dataset.range(len(pictures)).shuffle(len(pictures)).batch(batch_size)
    batches = numbers.map(lambda rows: (change(tf.gather(pictures, rows), rng), tf.gather(labels, rows)))
    return batches.prefetch(2).with_options(options)  # two batches are made while the network computes


def augment(pictures: tf.Tensor, rng: tf.random.Generator, limits) -> tf.Tensor:
    """Return a random variant of each picture [n, height, width, channels], as an ImageDataGenerator, `limits`, allows.

    All changes combine into one affine map: pixel (x, y) of a variant comes from (a x + b y + right, c x + d y + down).
    """
    def between(low: float, high: float) -> tf.Tensor:
        return rng.uniform([tf.shape(pictures)[0]], low, high)

    for name in ("brightness_range", "channel_shift_range", "featurewise_center", "featurewise_std_normalization",
                 "samplewise_center", "samplewise_std_normalization", "zca_whitening", "preprocessing_function"):
        if getattr(limits, name):
            sys.exit(f"Only ImageDataGenerator itself can do {name}: train with --plain.")
    height, width = pictures.shape[1:3]
    turn, shear = (between(-limit, limit) * np.pi / 180 for limit in (limits.rotation_range, limits.shear_range))
    shift_x, shift_y = (between(-limit, limit) * (size if limit < 1 else 1)  # below 1 a share, otherwise pixels
                        for limit, size in ((limits.width_shift_range, width), (limits.height_shift_range, height)))
    zoom_x, zoom_y = (between(*limits.zoom_range) * (tf.sign(between(-1, 1)) if flip else 1)  # negative: flips
                      for flip in (limits.horizontal_flip, limits.vertical_flip))
    cos, sin, u, v = tf.cos(turn), tf.sin(turn), (width - 1) / 2, (height - 1) / 2  # rotates about the middle (u, v)
    a, b, c, d = zoom_x * cos, -zoom_y * tf.sin(turn + shear), zoom_x * sin, zoom_y * tf.cos(turn + shear)
    right, down = u - a * u - b * v + cos * shift_x - sin * shift_y, v - c * u - d * v + sin * shift_x + cos * shift_y
    return tf.keras.ops.image.affine_transform(
        tf.cast(pictures, tf.float32) * limits.rescale, tf.stack([a, b, right, c, d, down, 0 * a, 0 * a], axis=1),
        fill_mode=limits.fill_mode, fill_value=limits.cval * limits.rescale)


def draw_batch(batch: tuple, file: Path) -> None:
    """Draw the first ten pictures of a batch (pictures, labels) as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.4), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
    for axis, picture, label in zip(axes.flat, *(np.asarray(part, np.float32) for part in batch)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(CLASSES[int(label) if label.ndim == 0 else np.argmax(label)], fontsize=14)
    figure.savefig(file)


def draw_curves(histories: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Draw accuracy and loss by epoch: training dashed, validation solid, a star at the best validation accuracy."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.4), layout="constrained")
    for axis, name in zip(axes, ("accuracy", "loss")):
        for color, (label, history) in zip(("C0", "C1", "C2"), histories.items()):
            epochs = np.arange(1, len(history["loss"]) + 1)
            axis.plot(epochs, history[name], ".--", color=color, label=f"{label}: training")
            if "val_loss" in history:
                axis.plot(epochs, history[f"val_{name}"], "*-", color=color, label=f"{label}: validation",
                          markersize=18, markevery=[np.argmax(history["val_accuracy"])])
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file)


def predict(files: list[Path], model_file: Path, load) -> None:
    """Print the class of each picture, and how sure the saved model is; `load` turns a file into an array of 0..255."""
    try:
        model = tf.keras.models.load_model(model_file)
    except Exception as error:
        sys.exit(f"{error} Train first, or name the folder of a trained model with --output-dir.")
    for file in files:
        scores = model.predict(load(file)[np.newaxis] * RESCALE, verbose=0)[0]  # a batch of one, scaled as in training
        scores = [1 - scores[0], scores[0]] if len(scores) == 1 else scores  # one sigmoid, or a softmax
        print(f"{file}: {CLASSES[np.argmax(scores)]} ({max(scores):.1%} sure)")


def save_metrics(folder: Path, run: argparse.Namespace, seconds: float, **metrics: float) -> None:
    """Print the metrics, and save them with the flags of the run as metrics.json."""
    (folder / "metrics.json").write_text(json.dumps(dict(metrics, seconds=seconds, **vars(run)), indent=2, default=str))
    print(*(f"{name} {value:.4f}," for name, value in metrics.items()), f"in {seconds:.0f} s. Saved in {folder}.")


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:  # no such file, an unreadable picture, a full disk, a protected folder
        sys.exit(str(error))
