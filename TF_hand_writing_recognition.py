"""Lesson 4: MNIST - handwritten digits, and a callback that stops when the network is good enough.

You learn to
  * stop the training when it has reached what you want, not after a number of epochs that you guessed;
  * see what convolutions add: fewer weights, better answers;
  * look at the mistakes: which digits does it still get wrong, and would you have got them right?

  python TF_hand_writing_recognition.py                      # both networks, then the mistakes
  python TF_hand_writing_recognition.py --fast               # the same, sooner
  python TF_hand_writing_recognition.py --epochs 3           # give it less time
  python TF_hand_writing_recognition.py --predict seven.jpg  # your own digit, dark on white paper

Expect a test accuracy of about .98 without and .985 to .99 with convolutions, two minutes on a two-core CPU, and
11 MB to download once. MNIST: Yann LeCun and Corinna Cortes, CC BY-SA 3.0.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "numpy>=1.26,<3", "matplotlib>=3.9,<4", "pillow>=10.3,<14"]
# ///

import argparse
import csv
import gzip
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

SERVERS = ["https://storage.googleapis.com/tensorflow/tf-keras-datasets"]
SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FILES = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
LAYOUT = "mnist.npz or the four idx .gz files"
CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
MODEL_NAME = "digits"
CLASSES = list("0123456789")
RESCALE = 1 / 255  # pixels 0..255 become 0..1, in training and in prediction alike


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=whole_number, default=10, metavar="N", help="passes over the pictures, at most (%(default)s)")
    add("--batch-size", type=whole_number, metavar="N", help="pictures in one step (32; 128 with --fast)")
    add("--steps", type=whole_number, metavar="N", help="at most N batches an epoch, for a quick try")
    add("--fast", action="store_true", help="the same lesson in a fraction of the time")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help=f"no download: the folder that holds {LAYOUT}")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
    add("--predict", type=Path, nargs="+", metavar="FILE", help="no training: classify pictures with the saved model")
    return parser.parse_args(line)


if __name__ == "__main__":
    arguments = parse_arguments()  # before the slow imports: --help and a wrong flag answer at once
    sys.stdout.reconfigure(line_buffering=True)  # a line is seen at once, also through a pipe or in a log
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("\nStopped. The same command goes on after the last finished epoch."))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
standard_error = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow's greeting goes there, whatever the log level
try:
    import matplotlib.pyplot as plt
    import numpy as np
    import tensorflow as tf
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow numpy matplotlib pillow")
finally:
    os.dup2(standard_error, 2)


def download_file(addresses: list[str], target: Path, sha256: str | None = None) -> None:
    """Download one file to `target` from the first of `addresses` that has it; exit when none has.

    `target` appears when it is whole and checked (by `sha256`, and a .gz by its own checksum), never half done.
    """
    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    failures = []
    for address in addresses:
        if target.exists():
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-", ignore_cleanup_errors=True) as home:
                file = tf.keras.utils.get_file(target.name, address, file_hash=sha256, cache_dir=home)
                if target.suffix == ".gz":
                    gzip.decompress(Path(file).read_bytes())
                os.replace(file, target)
        except Exception as error:
            failures.append(f"{address} ({str(error).rpartition(' -- ')[2]})")  # Keras puts the address before it
    if not target.exists():
        sys.exit(f"Could not download {' nor '.join(failures)}. Check the network and start again, or fetch the file "
                 "elsewhere and name its folder with --data-dir.")


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Return the array of bytes 0..255 in an idx .gz file (format: yann.lecun.com/exdb/mnist); exit when it is none."""
    try:
        content = gzip.decompress(file.read_bytes())
        if content[:4] != bytes([0, 0, 8, dimensions]):  # 8: unsigned bytes
            raise ValueError(f"it does not begin as one with {dimensions} dimensions")
        shape = np.frombuffer(content, ">i4", dimensions, offset=4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        sys.exit(f"{file} is not a whole idx file ({error}): fetch it again, or name with --data-dir the folder that "
                 f"holds {LAYOUT}.")


def check_data(images: np.ndarray, labels: np.ndarray) -> None:
    """Exit when these are not pictures [n, 28, 28] of 0..255 with a label 0..9 each."""
    if images.dtype != np.uint8 or images.shape != (len(labels), 28, 28) or labels.ndim != 1 or len(labels) == 0:
        sys.exit(f"Pictures {images.dtype} {images.shape} and labels {labels.shape} do not belong together: fetch the "
                 "files again, 28x28 pictures of 0..255 and a label for each.")
    if labels.max() >= len(CLASSES):
        sys.exit(f"There is a label {labels.max()} among the data; the classes are 0 to {len(CLASSES) - 1}.")


def load_digits(data_dir: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return (pictures, labels) for training (60,000) and for the test (10,000); pictures [n, 28, 28] of 0..255."""
    if data_dir is None:  # the file that tf.keras.datasets.mnist.load_data() downloads, checked in the same way
        data_dir = CACHE
        download_file([f"{server}/mnist.npz" for server in SERVERS], CACHE / "mnist.npz", SHA256)
    if (data_dir / "mnist.npz").exists():
        try:
            with np.load(data_dir / "mnist.npz", allow_pickle=False) as data:
                return (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            sys.exit(f"{data_dir / 'mnist.npz'} is not the whole MNIST file ({error}): remove it and start again.")
    images, labels, test_images, test_labels = (read_idx(data_dir / name, 1 + 2 * ("idx3" in name)) for name in FILES)
    return (images, labels), (test_images, test_labels)


def use_native_bfloat16() -> None:
    """Let Keras compute in bfloat16, half as long as float32, where this machine multiplies it natively."""
    gpus, cpu = tf.config.list_physical_devices("GPU"), Path("/proc/cpuinfo")
    if gpus:
        native = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    else:
        native = cpu.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu.read_text().split())
    if native:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")  # the weights themselves stay float32


def ahead(data: tf.data.Dataset) -> tf.data.Dataset:
    """Return `data` with two batches always made in advance, while the network computes."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread looks in ever more rarely, and the end of every epoch waits for it
    return data.prefetch(2).with_options(options)


def build_model(convolutional: bool) -> tf.keras.Model:
    """Return a network: pictures [batch, 28, 28, 1] of 0..1 in, a probability for each digit [batch, 10] out."""
    layers = tf.keras.layers
    hidden = [
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),  # 28x28 pixels -> 13x13 places, 32 filters
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
    ] if convolutional else [
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
    ]
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        *hidden,
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),
    ], name=MODEL_NAME)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


class StopAtAccuracy(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch whose training accuracy is above `threshold` (0..1)."""

    def __init__(self, threshold: float):
        super().__init__()
        self.threshold = threshold

    def on_epoch_end(self, epoch, logs=None):
        if logs["accuracy"] > self.threshold:
            print(f"Training accuracy above {self.threshold:.1%} in epoch {epoch + 1}: the callback stops here.")
            self.model.stop_training = True


def read_history(file: Path) -> dict[str, list[float]]:
    """Return the columns of a history.csv, one entry an epoch: where an epoch was repeated its last row counts."""
    with open(file, newline="") as lines:
        rows = list({row["epoch"]: row for row in csv.DictReader(lines)}.values())
    return {name: [float(row[name]) for row in rows] for name in rows[0] if rows[0][name] != "NA"}


def train(model: tf.keras.Model, folder: Path, arguments: argparse.Namespace, callbacks=(), **data) -> dict:
    """Fit `model` to `data` (the arguments of `fit`); return the history, a list per column and an entry an epoch.

    Leaves history.csv and model.keras (the best epoch where there is validation) in `folder`. After an interruption
    the same command goes on behind the last finished epoch; with other settings it starts anew.
    """
    log, best, backup, starts = folder / "history.csv", folder / "model.keras", folder / "backup", []
    note, state, weights = (backup / name for name in ("settings.json", "training_metadata.json", "latest.weights.h5"))
    settings, earlier = json.dumps([vars(arguments), model.to_json()], default=str), Path(f"{state}.bkp")
    if state.exists() and not state.read_text() and earlier.exists():
        earlier.replace(state)  # killed just when Keras wrote it: the copy it keeps counts
    resume = (all(file.exists() for file in (log, note, state, weights)) and state.read_text()
              and note.read_text() == settings and zipfile.is_zipfile(best))
    if not resume:
        if note.exists():
            print("The run that was interrupted had other settings or no finished epoch: starting anew.")
        shutil.rmtree(backup, ignore_errors=True)
        log.unlink(missing_ok=True)
        backup.mkdir(parents=True)
        note.write_text(settings)
    keep_best = {"monitor": "val_accuracy", "mode": "max", "save_best_only": True,
                 "initial_value_threshold": max(read_history(log).get("val_accuracy", [0])) if resume else None}
    stop, waiting = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}, []

    def end_epoch(epoch, logs):
        logs.update(seconds=time.perf_counter() - starts[-1])
        for number in stop:  # the next callbacks write files: Ctrl-C has to wait until they are whole
            signal.signal(number, lambda number, frame: waiting.append(number))

    def let_stop(epoch, logs):
        for number, handler in stop.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)

    model.fit(**data, epochs=arguments.epochs, verbose=1 if sys.stdout.isatty() else 2, callbacks=[
        tf.keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter()), on_epoch_end=end_epoch),
        *callbacks,
        tf.keras.callbacks.ModelCheckpoint(best, **(keep_best if "validation_data" in data else {})),
        tf.keras.callbacks.CSVLogger(log, append=True),
        tf.keras.callbacks.BackupAndRestore(backup, double_checkpoint=True),  # everything else is on disk by now
        tf.keras.callbacks.LambdaCallback(on_epoch_end=let_stop),
    ])
    history = read_history(log)
    with open(log, "w", newline="") as lines:
        csv.writer(lines).writerows([history, *zip(*history.values())])
    return history


def draw_curves(histories: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Draw accuracy and loss of each run over the epochs: training dashed, validation solid, a star at its best."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, name in zip(axes, ("accuracy", "loss")):
        for number, (label, history) in enumerate(histories.items()):
            if name not in history:
                continue
            epochs, look = np.arange(1, len(history[name]) + 1), {"color": f"C{number}", "markersize": 4}
            axis.plot(epochs, history[name], ".--", label=f"{label}: training", **look)
            if f"val_{name}" in history:
                best = np.argmax(history["val_accuracy"])
                axis.plot(epochs, history[f"val_{name}"], "o-", label=f"{label}: validation, best in epoch {best + 1}",
                          **look)
                axis.plot(best + 1, history[f"val_{name}"][best], "*", **{**look, "markersize": 16})
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=100)


def draw_mistakes(x: np.ndarray, y: np.ndarray, scores: np.ndarray, file: Path) -> None:
    """Draw the (at most) fifteen digits that the network got wrong with the most confidence.

    x: pictures [n, 28, 28, 1], y: true labels [n], scores: a probability for each digit [n, 10].
    """
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    wrong = np.flatnonzero(predicted != y)
    figure, axes = plt.subplots(3, 5, figsize=(10, 7), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(y)} test digits are wrong; these it was surest of", fontsize=15)
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong[np.argsort(-confidence[wrong])]):
        axis.imshow(x[index, ..., 0], cmap="gray_r")
        axis.set_title(f"a {CLASSES[y[index]]}, taken for {CLASSES[predicted[index]]} ({confidence[index]:.0%})")
    figure.savefig(file, dpi=80)


def predict_grey(arguments: argparse.Namespace) -> None:
    """Print the three most probable classes of each file of --predict; exit with 1 when one is no picture."""
    file, failures = arguments.output_dir / "model.keras", 0
    try:
        model = tf.keras.models.load_model(file)  # in safe mode: a file that brings its own code is refused
    except Exception as error:
        sys.exit(f"No model in {file}, train first or name its folder with --output-dir ({str(error).splitlines()[0]})")
    if model.name != MODEL_NAME:
        sys.exit(f"{file} holds {model.name!r}, the model of another lesson: name another folder with --output-dir.")
    for file in arguments.predict:
        try:
            with Image.open(file) as picture:
                pixels = np.array(ImageOps.fit(picture.convert("L"), (28, 28)))  # grey, the square in the middle
        except Exception as error:
            print(f"{file}: not readable as a picture ({error})", file=sys.stderr)
            failures += 1
            continue
        border = np.concatenate([pixels[[0, -1]].ravel(), pixels[:, [0, -1]].ravel()])
        pixels = 255 - pixels if np.median(border) > 127 else pixels  # the training pictures are white on black
        scores = model.predict(pixels[np.newaxis, ..., np.newaxis] * RESCALE, verbose=0)[0]
        shares = ", ".join(f"{CLASSES[index]} {scores[index]:.1%}" for index in np.argsort(scores)[:-4:-1])
        print(f"{file}: {CLASSES[np.argmax(scores)]} ({shares})")
    sys.exit(1 if failures else 0)


def report(model: tf.keras.Model, history: dict, arguments: argparse.Namespace, pictures: int, **facts) -> None:
    """Write metrics.json and print what matters of it; `facts` are those of this lesson alone."""
    gpus, seconds, epochs = tf.config.list_physical_devices("GPU"), sum(history["seconds"]), len(history["epoch"])
    device = gpus[0].name if gpus else f"CPU, {os.cpu_count()} cores"
    best = {"best_validation_accuracy": max(history["val_accuracy"])} if "val_accuracy" in history else {}
    facts = {"lesson": Path(__file__).stem, "accuracy": history["accuracy"][-1], **best, **facts}
    (arguments.output_dir / "metrics.json").write_text(json.dumps({
        **facts, "epochs": epochs, "seconds": seconds, "seconds_per_epoch": seconds / epochs, "seed": arguments.seed,
        "arguments": vars(arguments), "device": device, "precision": model.dtype_policy.name, "pictures": pictures,
        "tensorflow": tf.__version__, "keras": tf.keras.__version__}, indent=2, default=str) + "\n")
    print(", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in facts.items() if "accuracy" in name))
    print(f"{epochs} epochs in {seconds:.0f} s on {device}, in {model.dtype_policy.name}; "
          f"figures, model and numbers are in {arguments.output_dir}")


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    if arguments.predict:
        predict_grey(arguments)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    arguments.batch_size = arguments.batch_size or (128 if arguments.fast else 32)
    limit = arguments.steps and arguments.steps * arguments.batch_size  # None: all pictures
    (images, labels), (test_images, test_labels) = load_digits(arguments.data_dir)
    check_data(images, labels)
    check_data(test_images, test_labels)
    x, y = images[:limit, ..., np.newaxis] * np.float32(RESCALE), labels[:limit]
    x_test, y_test = test_images[:limit, ..., np.newaxis] * np.float32(RESCALE), test_labels[:limit]

    data = {"x": x, "y": y, "batch_size": arguments.batch_size}
    if arguments.fast:  # the same pictures to the same network, in fewer and cheaper steps
        use_native_bfloat16()
        pairs = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x))
        data = {"x": ahead(pairs.batch(arguments.batch_size)), "shuffle": False}  # the Dataset shuffles itself

    results = {}
    for name, convolutional, threshold in (("dense", False, 0.99), ("convolutional", True, 0.998)):
        print(f"\nThe {name} network, until its training accuracy is above {threshold:.1%}")
        folder = arguments.output_dir if convolutional else arguments.output_dir / "dense"
        folder.mkdir(exist_ok=True)
        model = build_model(convolutional)
        model.steps_per_execution = 20 if arguments.fast else 1  # so many steps in a row stay inside TensorFlow
        model.summary()
        history = train(model, folder, arguments, [StopAtAccuracy(threshold)], **data)
        results[name] = history, model.evaluate(x_test, y_test, verbose=0)[1]
    draw_curves({name: history for name, (history, _) in results.items()}, arguments.output_dir / "curves.png")
    draw_mistakes(x_test, y_test, model.predict(x_test, verbose=0), arguments.output_dir / "mistakes.png")
    tests = ", ".join(f"{name} {test:.4f}" for name, (_, test) in results.items())
    print(f"\nAccuracy on test digits, which no network has seen: {tests}")
    report(model, history, arguments, len(images) + len(test_images), test_accuracy=results["convolutional"][1],
           dense_test_accuracy=results["dense"][1], dense_epochs=len(results["dense"][0]["loss"]),
           dense_seconds=sum(results["dense"][0]["seconds"]))
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
