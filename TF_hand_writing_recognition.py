"""Lesson 4: MNIST - handwritten digits, and a callback that stops when the network is good enough.

You learn to apply lessons 2 and 3 to digits, to see what a convolution adds, and to look at the mistakes:
which digits does the network still get wrong, and would you have got them right?

  python -m pip install "tensorflow==2.21.*" matplotlib pillow
  python TF_hand_writing_recognition.py                      # train both networks, show the mistakes
  python TF_hand_writing_recognition.py --predict seven.jpg  # your own digit, dark on white paper

Expect a test accuracy of .98 without and .985 to .99 with a convolution, after one to two minutes on a two-core CPU.
11 MB is downloaded once. MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow"]
# ///

import argparse
import gzip
import json
import os
import socket
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it
if "--plain" not in sys.argv:
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # faster convolutions: only the rounding differs

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

CLASSES = list("0123456789")
RESCALE = 1 / 255  # pixels 0..255 become 0..1: a network starts with weights that suit small numbers


class StopAtAccuracy(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch whose training accuracy, the mean of its steps, is above `threshold`."""
    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold

    def on_epoch_end(self, epoch, logs=None):  # Keras calls this after each epoch, with the epoch's numbers in `logs`
        if logs["accuracy"] > self.threshold:
            print(f"\nTraining accuracy is above {self.threshold:.1%} after epoch {epoch + 1}: stopping here.")
            self.model.stop_training = True


def build_model(convolutional: bool, steps_per_execution: int = 1) -> tf.keras.Model:
    """Return a network: pictures [batch, 28, 28, 1] (0..1) in, a probability for each digit [batch, 10] out."""
    layers = tf.keras.layers
    hidden = [layers.Flatten(), layers.Dense(512, activation="relu")]  # each of 512 neurons weighs all 784 pixels
    if convolutional:
        hidden = [layers.Conv2D(32, 3, activation="relu"),  # 32 filters of 3x3 pixels find strokes, wherever they are
                  layers.MaxPooling2D(2),  # keeps the largest of each 2x2 block: half the width, half the height
                  layers.Flatten(), layers.Dense(128, activation="relu")]  # weighs which strokes are where (13x13)
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)), *hidden,  # one channel: grey
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),  # ten probabilities that sum to 1
    ])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"],
                  steps_per_execution=steps_per_execution)
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    if arguments.predict:
        return predict(arguments.predict, output / "model.keras", load_digit)
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test) = load_mnist(tf.keras.datasets.mnist, arguments.data_dir)

    # [n, 28, 28] becomes [n, 28, 28, 1], because a convolution expects channels; training and test are scaled alike.
    x, x_test = (pictures[..., np.newaxis] * np.float32(RESCALE) for pictures in (x, x_test))
    draw_batch((x[:10], y[:10]), output / "pictures.png")  # look at the data before you train on them
    data, at_once = {"x": x, "y": y, "batch_size": arguments.batch_size}, 1
    if not arguments.plain:  # larger batches, and 20 steps before TensorFlow returns to Python
        use_bfloat16_where_native()
        data, at_once = {"x": make_batches(x, y, arguments.batch_size), "shuffle": False}, 20

    histories, accuracies = {}, {}
    for name, convolutional, threshold in (("dense", False, 0.99), ("convolutional", True, 0.998)):
        print(f"\nTraining the {name} network until its accuracy is above {threshold:.1%}")
        model = build_model(convolutional, at_once)
        model.summary()
        start = time.perf_counter()
        histories[name] = model.fit(**data, epochs=arguments.epochs, callbacks=[
            StopAtAccuracy(threshold), tf.keras.callbacks.CSVLogger(output / "history.csv"),
            tf.keras.callbacks.ModelCheckpoint(output / "model.keras"),  # the second network overwrites the first
        ]).history
        seconds = time.perf_counter() - start  # overwritten, too: in the end, the convolutional network's
        accuracies[name] = model.evaluate(x_test, y_test, verbose=0)[1]  # on digits that it has never seen

    draw_curves(histories, output / "curves.png")
    draw_mistakes(x_test, y_test, model.predict(x_test, verbose=0), output / "mistakes.png")
    save_metrics(output, arguments, seconds, dense_test_accuracy=accuracies["dense"],
                 test_accuracy=accuracies["convolutional"])
    plt.show()


def draw_mistakes(x: np.ndarray, y: np.ndarray, scores: np.ndarray, file: Path) -> None:
    """Draw the fifteen pictures of x [n, 28, 28, 1] misclassified by `scores` [n, 10] with the highest confidence."""
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(predicted != y)
    figure, axes = plt.subplots(3, 5, figsize=(12, 8.4), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
    figure.suptitle(f"{len(wrong)} of {len(y)} test digits are misclassified. The most confident ones:", fontsize=18)
    for axis, index in zip(axes.flat, wrong[np.argsort(-confidence[wrong])]):
        axis.imshow(x[index], cmap="gray_r")
        axis.set_title(f"{y[index]}, taken for {predicted[index]} ({confidence[index]:.0%})", fontsize=14)
    figure.savefig(file)


def load_digit(file: Path) -> np.ndarray:
    """Return a photographed digit [28, 28, 1] (0..255) like MNIST's: white on black, 20 pixels long, centred."""
    pixels = np.float32(load_grey(file, 280)[..., 0])
    ink = np.abs(pixels - np.median(pixels))  # most of the picture is paper: it becomes black, whatever its grey was
    digit = Image.fromarray(np.uint8(255 * np.where(ink < ink.max() / 4, 0, ink) / max(ink.max(), 1)))  # no shadows
    digit = ImageOps.expand(digit.crop(digit.getbbox()), 4)  # the digit alone; a border keeps a thin 1 from vanishing
    digit = np.float32(ImageOps.expand(ImageOps.pad(digit, (20, 20)), 4))  # 20x20 pixels, in the middle of 28x28
    shift = [round(13.5 - np.average(np.arange(28), weights=digit.sum(axis) + 1e-9)) for axis in (1, 0)]
    return np.roll(digit * 255 / max(digit.max(), 1), shift, (0, 1))[..., np.newaxis]  # centre of mass to the middle


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=10, help="passes over the pictures, at most (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32 if "--plain" in sys.argv else 128,
                        help="pictures in each step (%(default)s; 32 with --plain)")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help="folder that already holds the four idx .gz files")
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


def load_mnist(dataset, data_dir: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return (pictures [n, 28, 28] (0..255), labels [n] of 0..9) for training and for the test, in NumPy arrays."""
    def read(name: str, header: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((data_dir / name).read_bytes()), np.uint8, offset=header)

    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    try:
        return dataset.load_data() if data_dir is None else [
            (read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28), read(f"{part}-labels-idx1-ubyte.gz", 8))
            for part in ("train", "t10k")]
    except Exception as error:
        sys.exit(f"The pictures could not be loaded ({error}). Delete the incomplete file, if there is one, and try "
                 "again; or download the four idx .gz files yourself, and name their folder with --data-dir.")


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
