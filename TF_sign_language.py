"""Lesson 14: twenty-four letters of American Sign Language - pictures that come as rows of a table.

You learn to get a dataset from Kaggle, to turn the rows of a CSV file into pictures [n, 28, 28, 1], and to choose the
best epoch on validation pictures, so that the test pictures decide nothing.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy kagglehub
  python TF_sign_language.py                           # train, draw the curves, evaluate once
  python TF_sign_language.py --data-dir my_folder      # sign_mnist_train.csv and sign_mnist_test.csv are there already
  python TF_sign_language.py --predict my_hand.jpg     # your own hand, and what the network sees of it

Expect one to five minutes on a two-core CPU. Kaggle needs no login for this set; 63 MB is downloaded once. J and Z
are signed with a movement, so no picture shows them. Sign Language MNIST: "tecperson" on Kaggle, CC0.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy", "kagglehub"]
# ///

import argparse
import csv
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it
if "--plain" not in sys.argv:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster convolutions: only the rounding differs

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

DATASET = "datamunge/sign-language-mnist/versions/1"  # owner, name and version: the same data for everybody
FILES = ["sign_mnist_train.csv", "sign_mnist_test.csv"]
CLASSES = list("ABCDEFGHIJKLMNOPQRSTUVWXY")  # labels 0 to 24; 9, the J, never occurs
RESCALE = 1 / 255  # pixels 0..255 become 0..1: a network starts with weights that suit small numbers
AUGMENTATION = {  # gentler than in lesson 11: signs differ by their angle, too, and 28x28 pixels have no room to spare
    "rotation_range": 10, "width_shift_range": 0.1, "height_shift_range": 0.1, "zoom_range": 0.1,
    "fill_mode": "nearest",  # no horizontal_flip: the mirror image of a right hand is a left hand
}


def build_model(learning_rate: float = 1e-3, steps_per_execution: int = 1) -> tf.keras.Model:
    """Return the network: pictures [batch, 28, 28, 1] (0..1) in, a probability for each label [batch, 25] out."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # one channel: grey
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # edges of fingers; half the width and height
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # combinations of edges: a knuckle, a nail
        layers.Flatten(),  # the 5x5 map with 64 channels as one row of 1,600 numbers, for the dense layer
        layers.Dense(128, activation="relu"),  # weighs what was found where
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),  # 25 neurons, as the labels run to 24
    ])
    model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate), loss="sparse_categorical_crossentropy",
                  metrics=["accuracy"], steps_per_execution=steps_per_execution)
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    if arguments.predict:
        predict(arguments.predict, output / "model.keras", load_grey)
        seen = np.hstack([load_grey(file)[..., 0] for file in arguments.predict])  # what the network sees of each hand
        return plt.imsave(output / "prediction.png", seen.repeat(8, 0).repeat(8, 1), cmap="gray", vmin=0, vmax=255)
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    data = arguments.data_dir or download_from_kaggle()
    (pictures, labels), (test_pictures, test_labels) = (read_csv(data / name) for name in FILES)

    # A tenth of the training rows, chosen at random, decides which epoch is the best. So the test rows decide nothing.
    order = np.random.permutation(len(labels))
    held_out, rest = np.split(order, [len(order) // 10])
    generator = tf.keras.preprocessing.image.ImageDataGenerator
    flow = {"batch_size": arguments.batch_size, "seed": arguments.seed}
    training = generator(rescale=RESCALE, **AUGMENTATION).flow(pictures[rest], labels[rest], **flow)
    validation = generator(rescale=RESCALE).flow(pictures[held_out], labels[held_out], **flow)
    learning_rate, at_once = 1e-3, 1
    if not arguments.plain:  # a larger batch gives less noisy gradients: the learning rate may be larger, too
        use_bfloat16_where_native()
        learning_rate, at_once = 2e-3, 10  # TensorFlow takes ten steps before it returns to Python
        training, validation = (make_batches(source.x, source.y, source.batch_size, partial(
            augment, limits=source.image_data_generator), arguments.seed) for source in (training, validation))
    draw_batch(next(iter(training)), output / "pictures.png")  # look at the data before you train on them
    model = build_model(learning_rate, at_once)
    model.summary()
    start = time.perf_counter()
    history = model.fit(training, validation_data=validation, epochs=arguments.epochs, shuffle=False, callbacks=[
        tf.keras.callbacks.ModelCheckpoint(output / "model.keras", monitor="val_accuracy", save_best_only=True),
        tf.keras.callbacks.CSVLogger(output / "history.csv"),
    ]).history  # shuffle=False: the pictures are shuffled already
    seconds = time.perf_counter() - start
    draw_curves({"sign language": history}, output / "curves.png")

    # The test pictures must be scaled as the training pictures were. We also see what it costs to forget this.
    best = tf.keras.models.load_model(output / "model.keras")  # of the best epoch, not of the last one
    predicted = best.predict(test_pictures * np.float32(RESCALE), verbose=0).argmax(axis=1)
    unscaled = best.predict(test_pictures.astype("float32"), verbose=0).argmax(axis=1)
    print(f"Accuracy on the test pictures if they are not scaled: {np.mean(unscaled == test_labels):.4f}")
    matrix = tf.math.confusion_matrix(test_labels, predicted, len(CLASSES)).numpy()  # counts [true, predicted]
    figure, axis = plt.subplots(figsize=(11, 11), layout="constrained")
    draw_confusion_matrix(axis, matrix, CLASSES)
    figure.savefig(output / "confusion_matrix.png")
    save_metrics(output, arguments, seconds, best_validation_accuracy=max(history["val_accuracy"]),
                 test_accuracy=float(np.mean(predicted == test_labels)))
    plt.show()


def download_from_kaggle() -> Path:
    """Return the folder with the two CSV files, which kagglehub downloads on the first run and then finds again."""
    try:
        import kagglehub
        return next(Path(kagglehub.dataset_download(DATASET)).rglob(FILES[0])).parent
    except Exception as error:
        sys.exit(f"The data could not be downloaded ({error}). Try again, or download them from "
                 "https://www.kaggle.com/datasets/datamunge/sign-language-mnist and name their folder with --data-dir.")


def read_csv(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures [n, 28, 28, 1] (0..255) and labels [n] from rows `label,pixel1,...,pixel784` below a header."""
    rows = []
    with open(file, newline="") as lines:
        next(lines, None)  # the header
        for number, row in enumerate(csv.reader(lines), start=2):
            try:
                values = bytes(map(int, row))  # an error unless each is a whole number in 0..255
            except ValueError:
                values = b""
            if len(values) != 785 or values[0] >= len(CLASSES) or CLASSES[values[0]] == "J":
                raise OSError(f"{file}, line {number}: not a label (0..24, except 9) and 784 pixels (0..255).")
            rows.append(values)
    table = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 785)
    return table[:, 1:].reshape(-1, 28, 28, 1), table[:, 0]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=15, help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32 if "--plain" in sys.argv else 128,
                        help="pictures in each step (%(default)s; 32 with --plain)")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help=f"folder that already holds {' and '.join(FILES)}")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "TF_sign_language"), help="(%(default)s)")
    parser.add_argument("--predict", type=Path, nargs="+", metavar="FILE", help="only classify these pictures")
    return parser.parse_args()


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """Return `text` as a whole number from 1 to 2^31 - 1; anything else is an argparse error."""
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


def load_grey(file: Path, size: int = 28) -> np.ndarray:
    """Return the square in the middle of a photograph, as in the 28x28 datasets: greyscale [size, size, 1], 0..255."""
    with Image.open(file) as picture:
        return np.array(ImageOps.fit(ImageOps.exif_transpose(picture).convert("L"), (size, size)))[..., np.newaxis]


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
