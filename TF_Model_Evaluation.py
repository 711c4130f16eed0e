"""Lesson 15: how to judge a model - curves, and more than one number.

You learn to
  * tell from two curves whether a network underfits, fits or overfits, and which epoch was its best;
  * regularise: the same network with dropout and a penalty on large weights;
  * look behind the accuracy: precision, recall and F1 of each class, how sure it was when wrong, its worst mistakes;
  * evaluate once, at the very end, on pictures that no decision has seen.

  python TF_Model_Evaluation.py                          # both networks, on Fashion-MNIST
  python TF_Model_Evaluation.py --history outputs/TF_Human_horse/history.csv outputs/TF_Dogs_Cats/history.csv

With --history it trains nothing, and draws the curves of other lessons' runs side by side. Expect two figures, a test
accuracy of about .86, a minute on a two-core CPU, and 31 MB to download once. Fashion-MNIST: Zalando
Research, MIT licence.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "numpy>=1.26,<3", "matplotlib>=3.9,<4"]
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

SERVERS = ["https://storage.googleapis.com/tensorflow/tf-keras-datasets",
           "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"]
FILES = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
         "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
LAYOUT = "the four idx .gz files"
CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
MODEL_NAME = "model_evaluation"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
RESCALE = 1 / 255  # pixels 0..255 become 0..1, in training and in evaluation alike
TRAINING, VALIDATION = 10_000, 10_000  # pictures of the 60,000: with fewer to learn from, overfitting shows sooner


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--history", type=Path, nargs="+", metavar="FILE", help="no training: draw these history.csv side by side")
    add("--epochs", type=whole_number, default=40, metavar="N", help="passes over the pictures (%(default)s)")
    add("--batch-size", type=whole_number, default=64, metavar="N", help="pictures in one step (%(default)s)")
    add("--steps", type=whole_number, metavar="N", help="at most N batches an epoch, for a quick try")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help=f"no download: the folder that holds {LAYOUT}")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
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
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow numpy matplotlib")
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


def load_data(data_dir: Path | None) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return (pictures, labels) for training (60,000) and for the test (10,000); pictures [n, 28, 28] of 0..255."""
    if data_dir is None:
        for name in FILES:  # load_data() downloads too, but it neither checks nor repairs what arrived
            download_file([f"{server}/{name}" for server in SERVERS], CACHE / "fashion-mnist" / name)
        return tf.keras.datasets.fashion_mnist.load_data()
    images, labels, test_images, test_labels = (read_idx(data_dir / name, 1 + 2 * ("idx3" in name)) for name in FILES)
    return (images, labels), (test_images, test_labels)


def build_model(regularised: bool) -> tf.keras.Model:
    """Return a network too large for its data: pictures [batch, 28, 28] of 0..1 in, probabilities [batch, 10] out."""
    layers = tf.keras.layers
    penalty = tf.keras.regularizers.L2(1e-4) if regularised else None  # large weights cost something
    dropout = [0.5] if regularised else []  # half of the neurons, others in each step, are turned off in training
    model = tf.keras.Sequential([
        layers.Input((28, 28)),
        layers.Flatten(),
        layers.Dense(512, activation="relu", kernel_regularizer=penalty), *map(layers.Dropout, dropout),
        layers.Dense(512, activation="relu", kernel_regularizer=penalty), *map(layers.Dropout, dropout),
        layers.Dense(len(CLASSES), activation="softmax"),
    ], name=MODEL_NAME)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


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


def diagnose(history: dict[str, list[float]]) -> str:
    """Say what the curves of a training tell, by rules of thumb that a reader can check against the figure."""
    if "val_loss" not in history:
        return "no validation, so nobody knows whether it learned or memorised."
    losses, last = history["val_loss"], min(5, len(history["val_loss"]))
    lowest = int(np.argmin(losses))
    training, validation = (float(np.mean(history[name][-last:])) for name in ("loss", "val_loss"))
    figures = (f"(validation loss lowest in epoch {lowest + 1}: {losses[lowest]:.3f}; over the last {last} epochs "
               f"{validation:.3f}, training {training:.3f})")
    if validation > 1.1 * losses[lowest] and validation > 1.1 * training:
        return f"overfitting: validation gets worse while training gets better {figures}."
    if lowest >= len(losses) - 2 and len(losses) > 2 and losses[-1] < 0.98 * losses[-3]:
        return f"underfitting so far: both losses still fall, train longer {figures}."
    return f"a good fit: validation has levelled out and stays near training {figures}."


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


def judge_classes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of each class [classes], 0..1, from counts [true class, predicted class]."""
    right = matrix.diagonal()
    precision = right / np.maximum(matrix.sum(axis=0), 1)  # of those it called a shirt, how many are shirts?
    recall = right / np.maximum(matrix.sum(axis=1), 1)  # of the shirts, how many did it find?
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # F1: their harmonic mean


def draw_judgement(x: np.ndarray, y: np.ndarray, scores: np.ndarray, matrix: np.ndarray, file: Path) -> None:
    """Draw confusion matrix, precision, recall and F1 of each class, confidence right and wrong, and worst mistakes.

    x: pictures [n, 28, 28], y: true labels [n], scores: probabilities [n, 10], matrix: counts [true, predicted].
    """
    figure = plt.figure(figsize=(15, 11), layout="constrained")
    parts = figure.subfigures(2, 2)
    axis = parts[0, 0].subplots()
    axis.imshow(matrix, cmap="Blues", norm="symlog")
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axis.text(column, row, count, ha="center", va="center", color="w" if row == column else "k")
    axis.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class")
    axis.set_xticks(range(len(CLASSES)), CLASSES, rotation=60, ha="right")
    axis.set_yticks(range(len(CLASSES)), CLASSES)

    axis = parts[0, 1].subplots()
    for offset, name, values in zip((-0.25, 0, 0.25), ("precision", "recall", "F1"), judge_classes(matrix)):
        axis.barh(np.arange(len(CLASSES)) + offset, values, height=0.25, label=name)
    axis.set_yticks(range(len(CLASSES)), CLASSES)
    axis.invert_yaxis()
    axis.set(title="One number for all classes hides this", xlabel="0 to 1, higher is better", xlim=(0.4, 1))
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3)
    axis.grid(axis="x", alpha=0.3)

    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    axis = parts[1, 0].subplots()
    bins = np.linspace(0, 1, 21)
    axis.hist([confidence[predicted == y], confidence[predicted != y]], bins, stacked=True, log=True,
              label=["right", "wrong"], color=["tab:blue", "tab:red"])
    axis.set(title="How sure was it when it was wrong?", xlabel="probability of the predicted class", ylabel="pictures")
    axis.legend(loc="upper left")

    wrong = np.flatnonzero(predicted != y)
    axes = parts[1, 1].subplots(2, 4)
    parts[1, 1].suptitle("Its worst mistakes: wrong, and sure of it")
    for axis in axes.flat:
        axis.axis("off")
    for axis, index in zip(axes.flat, wrong[np.argsort(-confidence[wrong])]):
        axis.imshow(x[index], cmap="gray_r")
        axis.set_title(f"{CLASSES[y[index]]},\ntaken for\n{CLASSES[predicted[index]]}, {confidence[index]:.1%}")
    figure.savefig(file, dpi=80)


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


def compare_histories(files: list[Path], target: Path) -> None:
    """Draw the history.csv of other runs on common axes, labelled by their folders, and say what each one tells."""
    histories = {}
    for file in files:
        try:
            label = file.resolve().parent.name
            histories[str(file.parent) if label in histories else label] = read_history(file)
        except (OSError, ValueError, KeyError, IndexError) as error:
            sys.exit(f"{file} is not a history.csv that a lesson has written ({error!r}).")
    for label, history in histories.items():
        print(f"{label}: {len(history['epoch'])} epochs; {diagnose(history)}")
    draw_curves(histories, target)
    print(f"The figure is {target}")
    show_figures()


def main(arguments: argparse.Namespace) -> None:
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    if arguments.history:
        return compare_histories(arguments.history, arguments.output_dir / "histories.png")
    tf.keras.utils.set_random_seed(arguments.seed)
    (images, labels), (test_images, test_labels) = load_data(arguments.data_dir)
    check_data(images, labels)
    check_data(test_images, test_labels)
    x, x_test = images * np.float32(RESCALE), test_images * np.float32(RESCALE)
    part = min(TRAINING, len(x) // 2, (arguments.steps or len(x)) * arguments.batch_size)
    validation = slice(-min(VALIDATION, len(x) // 2), None)

    histories, models = {}, {}
    for name in ("plain", "regularised"):
        print(f"\nThe {name} network")
        folder = arguments.output_dir / name
        folder.mkdir(exist_ok=True)
        model = build_model(regularised=name == "regularised")
        histories[name] = train(model, folder, arguments, x=x[:part], y=labels[:part], batch_size=arguments.batch_size,
                                validation_data=(x[validation], labels[validation]))
        models[name] = tf.keras.models.load_model(folder / "model.keras")  # of its best epoch
    draw_curves(histories, arguments.output_dir / "model_evaluation1.png")
    for name, history in histories.items():
        print(f"The {name} network: {diagnose(history)}")

    # Validation chose the epoch and now chooses the network. The test set has had no part in it, and is used once.
    better = max(histories, key=lambda name: max(histories[name]["val_accuracy"]))
    scores = models[better].predict(x_test, verbose=0)
    matrix = tf.math.confusion_matrix(test_labels, scores.argmax(axis=1), len(CLASSES)).numpy()
    draw_judgement(x_test, test_labels, scores, matrix, arguments.output_dir / "model_evaluation2.png")
    print(f"\nThe better one is the {better} network. On the test set:\n{'':12} precision  recall     F1")
    for name, *values in zip(CLASSES, *judge_classes(matrix)):
        print(f"{name:12}" + "".join(f"{value:10.3f}" for value in values))
    for file in ("history.csv", "model.keras"):
        shutil.copy2(arguments.output_dir / better / file, arguments.output_dir / file)
    report(models[better], histories[better], arguments, part + len(x[validation]) + len(x_test), better=better,
           test_accuracy=float(np.mean(scores.argmax(axis=1) == test_labels)), confusion_matrix=matrix.tolist())
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
