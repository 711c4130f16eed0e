"""Lesson 2: Fashion-MNIST - ten kinds of clothes, first without and then with convolutions.

You learn to
  1. build a network of two layers that tells ten classes apart;
  2. write a callback, your own code that Keras calls after each epoch, to stop the training at a threshold;
  3. put convolutions before them, and gain three percentage points;
  4. look into them: what each layer makes of three pictures of the same class.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_fashion_mnist.py                                       # all four steps
  python TF_fashion_mnist.py --epochs 15 --output-dir outputs/try  # longer: does it help the test accuracy?

Expect a test accuracy of about .87 without and .90 with convolutions, after one to four minutes on a two-core CPU.
31 MB is downloaded once. Fashion-MNIST: Zalando Research, MIT licence.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
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

STOP_AT = 0.95  # the training accuracy above which the callback stops; try 0.85
DRAWN_CLASS = "Ankle boot"  # whose pictures step 4 draws; try "Bag"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
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
    """Return a network: pictures [batch, 28, 28, 1] (0..1) in, a probability for each class [batch, 10] out."""
    layers = tf.keras.layers
    convolutions = [
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # 64 filters: edges; half the width and height
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),  # combinations of edges: a collar, a heel
    ] if convolutional else []
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # one channel: grey
        *convolutions,
        layers.Flatten(),  # a dense layer needs its numbers in one row: 784 pixels, or 5 x 5 x 64 after convolutions
        layers.Dense(128, activation="relu"),  # 128 neurons, each of which weighs all of these numbers
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),  # ten probabilities that sum to 1
    ])
    # The labels are plain numbers, 0 to 9: that is what "sparse" means. Adam adapts the step to each weight.
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"],
                  steps_per_execution=steps_per_execution)
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test) = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)

    # [n, 28, 28] becomes [n, 28, 28, 1], because a convolution expects channels; training and test are scaled alike.
    x, x_test = (pictures[..., np.newaxis] * np.float32(RESCALE) for pictures in (x, x_test))
    draw_batch((x[:10], y[:10]), output / "pictures.png")  # look at the data before you train on them

    data, at_once = {"x": x, "y": y, "batch_size": arguments.batch_size}, 1
    if not arguments.plain:  # larger batches, and 20 steps before TensorFlow returns to Python
        use_bfloat16_where_native()
        data, at_once = {"x": make_batches(x, y, arguments.batch_size), "shuffle": False}, 20

    histories, accuracies = {}, {}
    for name, convolutional in (("dense", False), ("convolutional", True)):
        print(f"\nThe {name} network")
        model = build_model(convolutional, at_once)
        model.summary()
        start = time.perf_counter()
        histories[name] = model.fit(**data, epochs=arguments.epochs, callbacks=[
            StopAtAccuracy(STOP_AT), tf.keras.callbacks.CSVLogger(output / "history.csv"),
            tf.keras.callbacks.ModelCheckpoint(output / "model.keras"),  # the second network overwrites the first
        ]).history
        seconds = time.perf_counter() - start  # overwritten, too: in the end, the convolutional network's
        accuracies[name] = model.evaluate(x_test, y_test, verbose=0)[1]  # on pictures that it has never seen

    draw_curves(histories, output / "curves.png")
    three = x_test[y_test == CLASSES.index(DRAWN_CLASS)][:3]
    draw_layers(model, three, DRAWN_CLASS, output / "layers.png")
    save_metrics(output, arguments, seconds, dense_test_accuracy=accuracies["dense"],
                 test_accuracy=accuracies["convolutional"])
    plt.show()


def draw_layers(model: tf.keras.Model, pictures: np.ndarray, title: str, file: Path) -> None:
    """Draw three pictures [3, 28, 28, 1], and what each convolution's most varied filter makes of them."""
    layers, best = model.layers[:4], 0  # the two convolutions, each with its pooling
    look_inside = tf.keras.Model(model.inputs, [layer.output for layer in layers])  # the same layers, with four outputs
    outputs = [np.float32(maps) for maps in look_inside.predict(pictures, verbose=0)]
    figure, axes = plt.subplots(3, 5, figsize=(15, 9.4), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
    figure.suptitle(f"{title}, layer by layer", fontsize=18)
    for column, name, maps in zip(axes.T, ["picture"] + [layer.name for layer in layers], [pictures, *outputs]):
        best = best if "pooling" in name else np.argmax(maps.std(axis=(0, 1, 2)))  # a pooling shows the same filter
        column[0].set_title(f"{name}, {maps.shape[1]}x{maps.shape[2]}\nfilter {best + 1}/{maps.shape[3]}", fontsize=14)
        for axis, feature_map in zip(column, maps):
            axis.imshow(feature_map[..., best], cmap="gray" if maps is pictures else "viridis")
    axes[0, 0].set_title("picture, 28x28", fontsize=14)
    figure.savefig(file)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=5, help="passes over the pictures, at most (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=32 if "--plain" in sys.argv else 128,
                        help="pictures in each step (%(default)s; 32 with --plain)")
    parser.add_argument("--plain", action="store_true", help="train as the original course does (slower)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help="folder that already holds the four idx .gz files")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "TF_fashion_mnist"), help="(%(default)s)")
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
