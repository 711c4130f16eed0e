"""Lesson 5: horses or humans - two classes of coloured pictures, read straight from their folders.

You learn to let ImageDataGenerator find pictures and take the names of their folders as labels, to tell two classes
apart with five convolutions and one sigmoid neuron, and to measure a network on pictures from which it never learns.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_Human_horse.py                           # train, and save the best epoch
  python TF_Human_horse.py --predict me.jpg you.png  # classify your own pictures with the saved model

Expect a best validation accuracy of about .9 after one to nine minutes on a two-core CPU. 161 MB is downloaded once.
The pictures were rendered by Laurence Moroney.
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

SERVER = "https://storage.googleapis.com/learning-datasets"
ARCHIVES = {  # the zip file's name, for training and for validation: its SHA-256
    "horse-or-human": "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9",
    "validation-horse-or-human": "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0",
}
CLASSES = ["horses", "humans"]  # label 0 and label 1: the names of the folders
IMAGE_SIZE = (300, 300)  # height and width in pixels
RESCALE = 1 / 255  # pixels 0..255 become 0..1: a network starts with weights that suit small numbers


def build_model() -> tf.keras.Model:
    """Return the network: pictures [batch, 300, 300, 3] (0..1) in, the probability of a human [batch, 1] out."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),  # three channels: how much red, green and blue each pixel has
        layers.Conv2D(16, 3, activation="relu"),  # 16 filters of 3x3 pixels find edges and colours
        layers.MaxPooling2D(2),  # keeps the largest of each 2x2 block: half the width, half the height
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),  # combinations of edges: corners, textures
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # each filter now sees 18x18 pixels
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # parts: a leg, an arm
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # what is left is a 7x7 map with 64 channels
        layers.Flatten(),  # the map as one row of 3,136 numbers, as the dense layer needs it
        layers.Dense(512, activation="relu"),  # weighs which part was found where
        layers.Dense(1, activation="sigmoid", dtype="float32"),  # one probability is enough for two classes
    ])
    # The loss, binary cross-entropy, is largest for a confident mistake. RMSprop adapts the step size to each weight.
    model.compile(optimizer=tf.keras.optimizers.RMSprop(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    if arguments.predict:
        return predict(arguments.predict, output / "model.keras", load_picture)
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    folders = [arguments.data_dir / name if arguments.data_dir else download(f"{SERVER}/{name}.zip", sha256)
               for name, sha256 in ARCHIVES.items()]

    # Each folder holds a subfolder for each class. The generators find the pictures in them and deliver batches of 32:
    # the network learns from a batch at a time, because a thousand pictures at once would give one step instead of 33.
    generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=RESCALE)
    flow = {"target_size": IMAGE_SIZE, "classes": CLASSES, "class_mode": "binary",  # the label is 0 or 1
            "batch_size": arguments.batch_size, "seed": arguments.seed}
    training, validation = (generator.flow_from_directory(folder, **flow) for folder in folders)
    if not arguments.plain:  # the same pictures and labels, at least twice as fast
        use_bfloat16_where_native()
        training, validation = keep_in_memory(training), keep_in_memory(validation)
    draw_batch(next(iter(training)), output / "pictures.png")  # look at the data before you train on them

    model = build_model()
    model.summary()
    start = time.perf_counter()
    # In each epoch the network sees every training picture once, and is then measured on the validation pictures. The
    # last epoch is rarely the best, so the checkpoint keeps the one with the highest validation accuracy.
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs, shuffle=False, callbacks=[
        tf.keras.callbacks.ModelCheckpoint(output / "model.keras", monitor="val_accuracy", save_best_only=True),
        tf.keras.callbacks.CSVLogger(output / "history.csv"),
    ]).history  # shuffle=False: the pictures are shuffled already
    seconds = time.perf_counter() - start

    # Validation accuracy is lower, perhaps because its pictures have white backgrounds, those for training landscapes.
    draw_curves({"horses or humans": history}, output / "curves.png")
    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]))
    plt.show()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=15, help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32, help="pictures in each step (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help=f"folder that already holds {' and '.join(ARCHIVES)}")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "TF_Human_horse"), help="(%(default)s)")
    parser.add_argument("--predict", type=Path, nargs="+", metavar="FILE", help="only classify these pictures")
    return parser.parse_args()


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """Return `text` as a whole number from 1 to 2^31 - 1; anything else is an argparse error."""
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


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


def use_bfloat16_where_native() -> None:
    """Let Keras compute in bfloat16, twice as fast as float32, if the processor or GPU has instructions for it."""
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if all(gpu.get("compute_capability", (0, 0)) >= (8, 0) for gpu in gpus) and (gpus or "bf16" in cpu):
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")  # the weights and the last layer stay float32


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
