"""Lesson 13: rock, paper, scissors - from two classes to many.

You learn to make the three changes that lead from two classes to many, in the labels, the last layer and the loss, and
to read a confusion matrix: which class is taken for which?

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_RockPaperScissors.py                                       # train, draw curves and confusion matrix
  python TF_RockPaperScissors.py --epochs 5 --output-dir outputs/try   # a shorter try
  python TF_RockPaperScissors.py --predict my_hand.jpg                 # your own hand, against a white background

Expect a validation accuracy of about .99 after seven minutes, or forty without bfloat16, on a two-core CPU.
230 MB is downloaded once. The hands were rendered by Laurence Moroney (CC BY 2.0).
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
from itertools import islice
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it
if "--plain" not in sys.argv:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster convolutions: only the rounding differs

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

SERVER = "https://storage.googleapis.com/learning-datasets"
ARCHIVES = {  # the zip file's name, for training and for the test: its SHA-256
    "rps": "c2403444395842ad04c53612bad54b574443eae17a0723117a2ff87b9d72194f",
    "rps-test-set": "c27ab9fa43ce40b2e453de711365b477f4424586edf0388116674fd320f07503",
}
CLASSES = ["rock", "paper", "scissors"]  # labels 0, 1 and 2: the names of the folders
IMAGE_SIZE = (150, 150)  # height and width in pixels
RESCALE = 1 / 255  # pixels 0..255 become 0..1: a network starts with weights that suit small numbers
AUGMENTATION = {"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2,
                "zoom_range": 0.2, "horizontal_flip": True, "fill_mode": "nearest"}  # lesson 11 explains each of them


def build_model() -> tf.keras.Model:
    """Return the network: pictures [batch, 150, 150, 3] (0..1) in, a probability for each class [batch, 3] out."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # edges and colours; half the width and height
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # combinations of edges: a fingertip
        layers.Conv2D(128, 3, activation="relu"), layers.MaxPooling2D(2),  # combinations of those: a finger
        layers.Conv2D(128, 3, activation="relu"), layers.MaxPooling2D(2),  # what is left is a 7x7 map, 128 channels
        layers.Flatten(),  # the map as one row of 6,272 numbers, as the dense layer needs it
        layers.Dropout(0.5),  # zeroes a random half of these numbers in each training step
        layers.Dense(512, activation="relu"),  # weighs what was found where
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),  # CHANGE 2: one neuron per class, softmax
    ])
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])  # CHANGE 3: the loss
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    if arguments.predict:
        return predict(arguments.predict, output / "model.keras", load_picture)
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    folders = [arguments.data_dir / name if arguments.data_dir else download(f"{SERVER}/{name}.zip", sha256)
               for name, sha256 in ARCHIVES.items()]

    # The generators find the pictures and take the folders' names as labels. Only the training pictures are augmented.
    generator = tf.keras.preprocessing.image.ImageDataGenerator
    flow = {"target_size": IMAGE_SIZE, "classes": CLASSES, "batch_size": arguments.batch_size, "seed": arguments.seed,
            "class_mode": "categorical"}  # CHANGE 1: the label of paper is not 1 but the one-hot vector [0, 1, 0]
    training = generator(rescale=RESCALE, **AUGMENTATION).flow_from_directory(folders[0], **flow)
    validation = generator(rescale=RESCALE).flow_from_directory(folders[1], **flow)
    if not arguments.plain:  # the same pictures and labels, the same kind of variants, in less time
        use_bfloat16_where_native()
        training, validation = keep_in_memory(training, augment), keep_in_memory(validation)
    draw_batch(next(iter(training)), output / "pictures.png")  # look at the data before you train on them

    model = build_model()
    model.summary()
    start = time.perf_counter()
    # Accuracy jumps from epoch to epoch, so the checkpoint keeps the best. As the test hands choose that epoch, its
    # accuracy flatters a little: lesson 14 does it with separate validation pictures.
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs, shuffle=False, callbacks=[
        tf.keras.callbacks.ModelCheckpoint(output / "model.keras", monitor="val_accuracy", save_best_only=True),
        tf.keras.callbacks.CSVLogger(output / "history.csv"),
    ]).history  # shuffle=False: the pictures are shuffled already
    seconds = time.perf_counter() - start
    draw_curves({"rock, paper, scissors": history}, output / "curves.png")

    # One number for three classes hides which of them are confused. The most probable class counts. (`islice` takes one
    # pass: Keras's generator never ends.)
    best = tf.keras.models.load_model(output / "model.keras")
    batches = [(best.predict_on_batch(pictures), labels) for pictures, labels in islice(validation, len(validation))]
    predicted = np.concatenate([np.argmax(scores, axis=1) for scores, _ in batches])
    truth = np.concatenate([np.argmax(labels, axis=1) for _, labels in batches])
    matrix = tf.math.confusion_matrix(truth, predicted, len(CLASSES)).numpy()  # counts [true class, predicted class]
    figure, axis = plt.subplots(figsize=(6, 6), layout="constrained")
    draw_confusion_matrix(axis, matrix, CLASSES)
    figure.savefig(output / "confusion_matrix.png")
    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]))
    plt.show()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=25, help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=126, help="pictures in each step (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help=f"folder that already holds {' and '.join(ARCHIVES)}")
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


def draw_confusion_matrix(axis, matrix: np.ndarray, names: list[str]) -> None:
    """Draw the counts [true class, predicted class]: what is off the diagonal was taken for something else."""
    image = axis.imshow(matrix, cmap="Blues", norm="symlog")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axis.text(column, row, count, ha="center", va="center", color="w" if image.norm(count) > 0.6 else "k")
    axis.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    axis.set_xticks(range(len(names)), names, rotation=60 if max(map(len, names)) > 5 else 0)
    axis.set_yticks(range(len(names)), names)


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
