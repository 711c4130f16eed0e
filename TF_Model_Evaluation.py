"""Lesson 15: how to judge a model - two curves, and more than one number.

You learn to tell from two curves whether a network underfits or overfits, and when to stop;
to regularise it; and to look behind its accuracy, once, at the very end, on test pictures that had
no part in it: where it is wrong, how sure it is, and how sure you can be of the accuracy itself.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_Model_Evaluation.py                # two networks, on Fashion-MNIST; one overfits
  python TF_Model_Evaluation.py --epochs 3 --output-dir outputs/evaluation_3  # both underfit
  python TF_Model_Evaluation.py --history outputs/TF_Human_horse/history.csv

With --history it only draws the curves of other lessons, one or several. Without it, expect a test
accuracy of about .86 after half a minute to two minutes on a two-core CPU. The first run downloads
31 MB. Fashion-MNIST: Zalando Research, MIT licence.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import csv
import gzip
import json
import os
import shutil
import socket
import sys
import time
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
from tensorflow.keras import layers

NAME = "TF_Model_Evaluation"  # of this lesson
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # labels 0 to 9
TRAINING = 10_000  # of the 60,000 pictures: with few to learn from, overfitting shows soon
VALIDATION = 10_000
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


def build_model(dropout):
    """Return a network too large for its data: pictures [batch, 28, 28] in, [batch, 10] out.

    dropout: the share of neurons that are switched off, at random, in each step of the training.
    """
    return tf.keras.Sequential([
        layers.Input((28, 28)),  # height and width: there is only one channel, grey
        layers.Flatten(),  # 784 pixels in one row, as a dense layer needs them
        layers.Dense(512, activation="relu"),  # 0.4 million weights
        layers.Dropout(dropout),
        layers.Dense(512, activation="relu"),  # 0.3 million more, to learn from 10,000 pictures
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),  # ten probabilities, together 1
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    output.mkdir(parents=True, exist_ok=True)
    if arguments.history:
        compare_runs(arguments.history, output / "histories.png")
        return

    # 1. Load the pictures, and divide them. The network learns from the training pictures. The
    #    validation pictures decide: which epoch, which network. The test pictures are for the end.
    training, test = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)
    x, y = training
    x_test, y_test = test
    x = x * np.float32(RESCALE)
    x_test = x_test * np.float32(RESCALE)
    x_training = x[:TRAINING]
    y_training = y[:TRAINING]
    x_validation = x[-VALIDATION:]
    y_validation = y[-VALIDATION:]
    print(f"Training pictures {x_training.shape}, test pictures {x_test.shape}.")
    draw_batch(x[:10], y[:10], CLASSES, output / "pictures.png")

    # 2. Train the same network twice: as it is, and regularised, that is, with memorising made
    #    harder by dropout. Training runs to the end, to show the whole curve. But the epoch with
    #    the lowest validation loss is saved: there one should have stopped.
    histories = {}
    start = time.perf_counter()
    for name, dropout in [("not regularised", 0.0), ("regularised", 0.5)]:
        print(f"\nThe network that is {name}")
        model = build_model(dropout)
        model.compile(
            loss="sparse_categorical_crossentropy",  # large if the true class gets little
            optimizer="adam",  # moves each weight in the direction in which the loss falls
            metrics=["accuracy"],  # the share of pictures that it classifies correctly
            steps_per_execution=40,  # TensorFlow returns to Python once an epoch: saves time
        )
        folder = output / name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        save_best = tf.keras.callbacks.ModelCheckpoint(
            folder / "model.keras", monitor="val_loss", save_best_only=True)
        save_curves = tf.keras.callbacks.CSVLogger(folder / "history.csv")
        stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
        histories[name] = model.fit(
            x_training, y_training, validation_data=(x_validation, y_validation),
            batch_size=arguments.batch_size, epochs=arguments.epochs,
            callbacks=[save_best, save_curves, stop_on_nan],
            verbose=2,  # a line for each epoch
        ).history
    seconds = time.perf_counter() - start

    # 3. Read the curves, and choose the network with the lower validation loss. (Training loss is
    #    measured with dropout on, so the regularised network's looks too high.)
    draw_curves(histories, output / "model_evaluation1.png", star="lowest validation loss")
    lowest = {}
    for name, history in histories.items():
        print(f"The network that is {name}: {diagnose(history)}")
        lowest[name] = min(history["val_loss"])
    better = min(lowest, key=lowest.get)
    folder = output / better.replace(" ", "_")
    shutil.copy2(folder / "history.csv", output)
    shutil.copy2(folder / "model.keras", output)

    # 4. Only now look at the test pictures, once. They have had no part in any choice, so the
    #    accuracy on them is what to expect on new pictures, within what chance allows.
    model = tf.keras.models.load_model(output / "model.keras")
    scores = model.predict(x_test, verbose=0)  # probabilities [10000, 10]
    predicted = np.argmax(scores, axis=1)
    accuracy = np.mean(predicted == y_test)
    low, high = accuracy_interval(accuracy, len(y_test))
    print(f"\nThe network that is {better} classifies {accuracy:.1%} of the test pictures "
          f"correctly. Of all pictures like these, it would be {low:.1%} to {high:.1%}, with 95% "
          "confidence.")
    save_metrics(output, arguments, seconds, test_accuracy=float(accuracy))

    # 5. Look behind the accuracy: which classes does it confuse, how sure is it, and what are its
    #    worst mistakes?
    matrix = tf.math.confusion_matrix(y_test, predicted, len(CLASSES)).numpy()
    print_classes(matrix)
    draw_confusion_matrix(matrix, CLASSES, output / "model_evaluation2.png")
    confidence = np.max(scores, axis=1)
    draw_certainty(confidence, predicted == y_test, output / "certainty.png")
    draw_mistakes(x_test, y_test, scores, CLASSES, output / "mistakes.png")
    plt.show()


def diagnose(history):
    """Return in words what the curves of a run show, by rules of thumb to check in the figure."""
    if "val_loss" not in history:
        return "there was no validation set, so nobody can tell whether it has memorised."
    val_loss = history["val_loss"]
    turn = np.argmin(val_loss)
    lowest = val_loss[turn]
    training_end = np.median(history["loss"][-5:])  # of five epochs: one alone may be chance
    validation_end = np.median(val_loss[-5:])
    text = (f"validation loss is lowest in epoch {turn + 1}, {lowest:.3f}. In the last epochs it "
            f"is about {validation_end:.3f}, and training loss {training_end:.3f}")
    earlier = val_loss[max(turn - 2, 0)]  # two epochs before
    if turn + 1 == len(val_loss) and lowest < 0.98 * earlier:  # falls by more than 2%
        return f"{text}: validation loss still falls, train longer."
    has_risen = validation_end > 1.1 * lowest  # by more than a tenth
    is_above = validation_end > 1.1 * training_end
    is_far_above = validation_end > 2 * training_end
    if (has_risen and is_above) or is_far_above:
        return f"{text}: overfitting, stop at epoch {turn + 1}."
    return f"{text}: no overfitting. A good fit if the loss is low enough, underfitting if not."


def accuracy_interval(accuracy, count):
    """Return the limits, 0 to 1, between which the true accuracy is with a confidence of 95%.

    accuracy: the share of `count` test pictures that are right. The interval is Wilson's (1927).
    """
    z = 1.96  # 95% of a normal distribution are within 1.96 standard deviations
    shrink = 1 + z**2 / count
    middle = accuracy + z**2 / (2 * count)
    variance = accuracy * (1 - accuracy) / count
    correction = z**2 / (4 * count**2)
    half = z * np.sqrt(variance + correction)
    low = (middle - half) / shrink
    high = (middle + half) / shrink
    return low, high


def print_classes(matrix):
    """Print precision, recall and F1 of each class, from counts [true class, predicted class]."""
    precision, recall, f1 = judge_classes(matrix)
    print("\n             precision  recall     F1")
    for name, p, r, f in zip(CLASSES, precision, recall, f1):
        print(f"{name:12} {p:9.3f} {r:7.3f} {f:6.3f}")


def judge_classes(matrix):
    """Return precision, recall and F1 of each class [classes], 0 to 1, from a confusion matrix."""
    right = matrix.diagonal()
    precision = right / np.maximum(matrix.sum(axis=0), 1)  # of all called shirts: how many are?
    recall = right / np.maximum(matrix.sum(axis=1), 1)  # of all shirts: how many were found?
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)  # high only if both are
    return precision, recall, f1


def draw_certainty(confidence, right, file):
    """Draw how often a network is right where it is how sure, and when it may say "don't know".

    confidence: the probability of each predicted class [n]. right: whether it is the true one [n].
    """
    figure, (left_axis, right_axis) = plt.subplots(1, 2)
    draw_calibration(left_axis, confidence, right)
    draw_abstention(right_axis, confidence, right)
    figure.savefig(file)


def draw_calibration(axis, confidence, right):
    """Draw the share of right answers over the confidence, in steps of a tenth."""
    promised = []
    kept = []
    for lowest in np.arange(0, 1, 0.1):
        group = (confidence > lowest) & (confidence <= lowest + 0.1)
        if np.count_nonzero(group) >= 20:  # fewer say nothing
            promised.append(np.mean(confidence[group]))
            kept.append(np.mean(right[group]))
    axis.plot([0, 1], [0, 1], "--", color="grey", label="as sure as it should be")
    axis.plot(promised, kept, "o-", label="this network")
    axis.set_title("Is it as often right as it says?")
    axis.set_xlabel("confidence: the probability it gives")
    axis.set_ylabel("share correct")
    axis.legend()


def draw_abstention(axis, confidence, right):
    """Draw the accuracy on the pictures that the network answers, the surest ones first."""
    surest_first = np.argsort(-confidence)
    answered = np.arange(1, len(right) + 1)
    accuracy = np.cumsum(right[surest_first]) / answered
    axis.plot(answered / len(right), accuracy)
    axis.set_title('If it may say "I don\'t know"')
    axis.set_xlabel("share of pictures it answers, surest first")
    axis.set_ylabel("accuracy on these")
    half = len(right) // 2
    print(f"If it answers only the surest half, {accuracy[half - 1]:.1%} of these are right.")


def compare_runs(files, target):
    """Draw the history.csv of other runs together, named by their folders, and judge each."""
    histories = {}
    for file in files:
        if not file.exists():
            sys.exit(f"There is no {file}. Run that lesson first.")
        history = read_history(file, needed=["loss"])
        if history:
            histories[str(file.parent)] = history
            print(f"{file}: {diagnose(history)}")
    if not histories:
        sys.exit("None of these files can be read: there is nothing to draw.")
    draw_curves(histories, target, star="lowest validation loss")
    print(f"The curves are in {target}.")
    plt.show()


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


def load_mnist(dataset, data_dir):
    """Return pictures [n, 28, 28] (bytes) and labels [n], for training and for the test.

    They come from the four idx files in `data_dir`, or else from Keras: `dataset` is a module such
    as tf.keras.datasets.mnist, which downloads its pictures on the first run.
    """
    try:
        if data_dir is None:
            return dataset.load_data()
        training = read_idx_pair(data_dir, "train")
        test = read_idx_pair(data_dir, "t10k")
        return training, test
    except Exception as error:
        sys.exit(f"The pictures cannot be loaded ({error}). If an incomplete file is in the way, "
                 "delete it, and try again. Or download the four idx .gz files, and name their "
                 "folder with --data-dir.")


def read_idx_pair(folder, part):
    """Return the pictures [n, 28, 28] and the labels [n] of one part, "train" or "t10k"."""
    pictures = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    pictures = np.frombuffer(pictures, np.uint8, offset=16).reshape(-1, 28, 28)  # after a header
    labels = np.frombuffer(labels, np.uint8, offset=8)
    if len(pictures) != len(labels):
        raise ValueError(f"{folder} has {len(pictures)} pictures, but {len(labels)} labels")
    if labels.max() > 9:
        raise ValueError(f"{folder} has labels above 9: this is another dataset")
    return pictures, labels


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


def draw_curves(histories, file, star="best validation accuracy"):
    """Draw accuracy and loss by epoch: training dashed, validation solid, a star at one epoch.

    histories: {name of a run: its history, with a list of numbers for each metric}.
    star: "best validation accuracy", or "lowest validation loss".
    """
    figure, axes = plt.subplots(1, 2)
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        drawn = []
        for number, (name, history) in enumerate(histories.items()):
            color = f"C{number}"
            epochs = np.arange(1, len(history["loss"]) + 1)
            if metric in history:  # lessons 1 and 7 measure no accuracy
                axis.plot(epochs, history[metric], ".--", color=color, label=f"{name}: training")
                drawn.extend(history[metric])
            if f"val_{metric}" in history and "val_loss" in history:  # where measured
                validation = history[f"val_{metric}"]
                if star == "lowest validation loss":
                    kept = np.argmin(history["val_loss"])
                else:
                    kept = np.argmax(history["val_accuracy"])
                axis.plot(epochs, validation, ".-", color=color, label=f"{name}: validation")
                axis.plot(epochs[kept], validation[kept], "*", color=color, markersize=18,
                          label=f"{name}: {star}")
                drawn.extend(validation)
        axis.set(title=metric.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if metric == "loss" and max(drawn) > 2 * np.quantile(drawn, 0.9):
            axis.set_ylim(0, 2 * np.quantile(drawn, 0.9))  # a single peak would flatten the rest
            axis.set_title("Loss (the highest peaks are cut off)")
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(histories), 2))
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


def draw_mistakes(pictures, labels, scores, classes, file):
    """Draw the ten pictures that a network gets wrong most surely.

    pictures: [n, height, width], or with an axis for 1 or 3 channels. scores: the probabilities
    that the network gives to the classes [n, classes].
    """
    predicted = np.argmax(scores, axis=1)
    confidence = np.max(scores, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest_first = wrong[np.argsort(-confidence[wrong])]
    figure, axes = plt.subplots(2, 5, figsize=(13, 7))
    figure.suptitle(f"{len(wrong)} of {len(labels):,} are misclassified. The surest of them:\n")
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, surest_first):
        axis.imshow(pictures[row], cmap="gray")
        axis.set_title(f"{classes[labels[row]]}, taken\nfor {classes[predicted[row]]}\n"
                       f"({confidence[row]:.2%})")
    figure.savefig(file)


# Saving a network, and using it


class StopOnNaN(tf.keras.callbacks.Callback):
    """Ends the run when the loss is no longer a number, and before the network is saved."""

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            sys.exit("The loss is no longer a number: the steps of the training are too large. Use "
                     "a smaller learning rate.")


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
    parser.add_argument("--history", type=path, nargs="+", metavar="FILE",
                        help="no training: draw these history.csv files")
    parser.add_argument("--epochs", type=positive, default=30,
                        help="passes over the pictures (%(default)s)")
    parser.add_argument("--batch-size", type=positive, default=256,
                        help="pictures in each step (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path, help="your own folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for the results (%(default)s)")
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
