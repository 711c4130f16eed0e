"""Lesson 15: how to judge a model - two curves, and more than one number.

You learn to tell from two curves whether a network underfits, fits or overfits, and when to stop; to regularise it; and
to look behind its accuracy, once, at the very end, on test pictures that had no part in it.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_Model_Evaluation.py      # both networks, on Fashion-MNIST
  python TF_Model_Evaluation.py --history outputs/TF_Human_horse/history.csv outputs/TF_Dogs_Cats/history.csv

With --history it only draws the curves of other lessons on common axes. Without it, expect a test accuracy of .86
after one to five minutes on a two-core CPU. 31 MB is downloaded once. Fashion-MNIST: Zalando Research, MIT licence.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import gzip
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
RESCALE = 1 / 255  # pixels 0..255 become 0..1: a network starts with weights that suit small numbers
TRAINING, VALIDATION = 10_000, 10_000  # of the 60,000 pictures: with few to learn from, overfitting shows soon


def build_model(regularised: bool) -> tf.keras.Model:
    """Return a network too large for its data: pictures [batch, 28, 28] (0..1) in, probabilities [batch, 10] out."""
    layers = tf.keras.layers
    rate = 0.5 if regularised else 0  # the share of neurons switched off, at random, in each training step
    model = tf.keras.Sequential([
        layers.Input((28, 28)),
        layers.Flatten(),  # the 784 pixels in one row
        layers.Dense(512, activation="relu"), layers.Dropout(rate),
        layers.Dense(512, activation="relu"), layers.Dropout(rate),  # 0.7 million weights for 10,000 pictures
        layers.Dense(len(CLASSES), activation="softmax"),  # ten probabilities that sum to 1
    ])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    if arguments.history:
        return compare_histories(arguments.history, output / "histories.png")
    tf.keras.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test) = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)
    x, x_test = x * np.float32(RESCALE), x_test * np.float32(RESCALE)
    validation = x[-VALIDATION:], y[-VALIDATION:]
    draw_batch((x[:10], y[:10]), output / "pictures.png")  # look at the data before you train on them

    histories, start = {}, time.perf_counter()
    for name in ("unregularised", "regularised"):
        print(f"\nThe {name} network")
        (output / name).mkdir(exist_ok=True)
        model = build_model(regularised=name == "regularised")
        # Training runs to the end, to show the whole curve, but the checkpoint keeps the epoch in which the validation
        # loss was lowest. (Other lessons keep the best accuracy, which counts right and wrong, not how sure.)
        histories[name] = model.fit(x[:TRAINING], y[:TRAINING], validation_data=validation, epochs=arguments.epochs,
                                    batch_size=arguments.batch_size, callbacks=[
            tf.keras.callbacks.ModelCheckpoint(output / name / "model.keras", monitor="val_loss", save_best_only=True),
            tf.keras.callbacks.CSVLogger(output / name / "history.csv"),
        ]).history
    seconds = time.perf_counter() - start
    draw_turns(histories, output / "model_evaluation1.png")
    for name, history in histories.items():
        print(f"The {name} network: {diagnose(history)}")

    # Validation has chosen the epoch, and now it chooses the network. The test pictures have had no part in either,
    # and are used once: the accuracy on them is what to expect on new pictures.
    better = min(histories, key=lambda name: min(histories[name]["val_loss"]))
    for file in ("history.csv", "model.keras"):
        shutil.copy2(output / better / file, output / file)
    scores = tf.keras.models.load_model(output / "model.keras").predict(x_test, verbose=0)
    matrix = tf.math.confusion_matrix(y_test, scores.argmax(axis=1), len(CLASSES)).numpy()
    print(f"\nThe {better} network on the test pictures:\n{'':12} precision  recall     F1")
    for name, *values in zip(CLASSES, *judge_classes(matrix)):
        print(f"{name:12}" + "".join(f"{value:10.3f}" for value in values))
    draw_judgement(x_test, y_test, scores, matrix, output / "model_evaluation2.png")
    kept = np.argmin(histories[better]["val_loss"])  # the epoch of the saved network
    save_metrics(output, arguments, seconds, best_validation_accuracy=histories[better]["val_accuracy"][kept],
                 test_accuracy=float(np.mean(scores.argmax(axis=1) == y_test)))
    plt.show()


def draw_turns(histories: dict[str, dict], file: Path) -> None:
    """Draw accuracy and loss of each run over the epochs, with a star at the lowest validation loss."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    for number, (label, history) in enumerate(histories.items()):
        epochs, turn = np.arange(1, len(history["loss"]) + 1), np.argmin(history["val_loss"])
        for axis, name in zip(axes, ("accuracy", "loss")):
            missing = np.full(len(epochs), np.nan)  # lessons 1 and 7 measure no accuracy, 2, 4 and 6 have no validation
            training, validation = history.get(name, missing), history.get(f"val_{name}", missing)
            axis.plot(epochs, training, ".--", color=f"C{number}", label=f"{label}: training")
            axis.plot(epochs, validation, "-", color=f"C{number}", label=f"{label}: validation")
            axis.plot(epochs[turn], validation[turn], "*", color=f"C{number}", markersize=18)
            axis.set(title="star: lowest validation loss", xlabel="epoch", ylabel=name)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file)


def diagnose(history: dict) -> str:
    """Return in words what the curves of a run show, by rules of thumb that a reader can check against the figure."""
    loss, val_loss = history["loss"], history["val_loss"]
    if np.isnan(val_loss).any():
        return "there was no validation set, so nobody can tell whether it memorised."
    turn, training, validation = np.argmin(val_loss), np.median(loss[-5:]), np.median(val_loss[-5:])
    words = (f"accuracy was best in epoch {np.argmax(history['val_accuracy']) + 1}, validation loss lowest in epoch "
             f"{turn + 1}, {val_loss[turn]:.3f}; median over the last five {validation:.3f}, training {training:.3f}")
    if validation > 1.1 * max(val_loss[turn], training) and turn + 1 < len(val_loss):
        return f"{words}: overfitting, stop at epoch {turn + 1}."
    if val_loss[-1] == val_loss[turn] < 0.98 * val_loss[-3:][0]:  # the last is the lowest, by a margin
        return f"{words}: still falling, train longer."
    return f"{words}: no overfitting: a good fit if the loss is low enough, underfitting if not."


def judge_classes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of each class [classes], 0..1, from counts [true class, predicted class]."""
    right = matrix.diagonal()
    precision = right / np.maximum(matrix.sum(axis=0), 1)  # of all that it called shirts, how many are shirts?
    recall = right / np.maximum(matrix.sum(axis=1), 1)  # of all shirts, how many did it find?
    return precision, recall, 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # F1: their harmonic mean


def draw_judgement(x: np.ndarray, y: np.ndarray, scores: np.ndarray, matrix: np.ndarray, file: Path) -> None:
    """Draw four views of `scores` [n, 10] for pictures x [n, 28, 28] of labels y [n], with their confusion matrix."""
    predicted, confidence = scores.argmax(axis=1), scores.max(axis=1)
    parts = plt.figure(figsize=(15, 12), layout="constrained").subfigures(2, 2)
    draw_confusion_matrix(parts[0, 0].subplots(), matrix, CLASSES)
    axis = parts[0, 1].subplots()
    for offset, name, values in zip((-0.25, 0, 0.25), ("precision", "recall", "F1"), judge_classes(matrix)):
        axis.barh(np.arange(len(CLASSES)) + offset, values, height=0.25, label=name)
    axis.set(title="Precision, recall and F1 by class", xlabel="0 to 1: higher is better", yticks=range(len(CLASSES)),
             yticklabels=CLASSES, ylim=(len(CLASSES) - 0.5, -0.5))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    axis = parts[1, 0].subplots()
    groups = np.minimum(confidence * 10, 9).astype(int)  # 0 to 9: confidence 0..10%, 10..20%, ... 90..100%
    counts, middles = np.bincount(groups, minlength=10), np.arange(0.05, 1, 0.1)  # pictures in each group
    right, promised = (np.bincount(groups, part, 10) / np.maximum(counts, 1) for part in (predicted == y, confidence))
    axis.bar_label(axis.bar(middles, right, 0.09, label="share correct"), counts, label_type="center", color="w")
    axis.plot(middles[counts > 0], promised[counts > 0], "kD--", label="mean confidence: what is promised")
    axis.set(title=f"Above 90%: promised {promised[9]:.1%}, right {right[9]:.1%}", xlabel="confidence", ylim=(0, 1.1))
    axis.legend(loc="upper left")
    wrong = np.flatnonzero(predicted != y)
    axes = parts[1, 1].subplots(2, 4, subplot_kw={"xticks": [], "yticks": []})
    parts[1, 1].suptitle("The worst mistakes: wrong with high confidence")
    for axis, index in zip(axes.flat, wrong[np.argsort(-confidence[wrong])]):
        axis.imshow(x[index], cmap="gray_r")
        axis.set_title(f"{CLASSES[y[index]]},\ntaken for\n{CLASSES[predicted[index]]}, {confidence[index]:.1%}")
    parts[0, 0].figure.savefig(file)


def compare_histories(files: list[Path], target: Path) -> None:
    """Draw the history.csv of other runs on common axes, named by their folders, and say what each of them shows."""
    histories = {}
    for file in files:
        lines = file.read_text(errors="replace").splitlines()
        if len(lines) < 2 or not lines[0].startswith("epoch,"):
            sys.exit(f"{file} is not the history.csv of a run that has finished an epoch.")
        table = np.atleast_1d(np.genfromtxt(lines, delimiter=",", names=True))
        histories[str(file.parent)] = {name: table[name] for name in table.dtype.names}
        print(f"{file}: {diagnose(histories[str(file.parent)])}")
    draw_turns(histories, target)
    plt.show()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path, nargs="+", metavar="FILE", help="no training: draw these history.csv")
    parser.add_argument("--epochs", type=positive, default=40, help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=64, help="pictures in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help="folder that already holds the four idx .gz files")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "TF_Model_Evaluation"), help="(%(default)s)")
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


def draw_batch(batch: tuple, file: Path) -> None:
    """Draw the first ten pictures of a batch (pictures, labels) as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.4), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
    for axis, picture, label in zip(axes.flat, *(np.asarray(part, np.float32) for part in batch)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(CLASSES[int(label) if label.ndim == 0 else np.argmax(label)], fontsize=14)
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
