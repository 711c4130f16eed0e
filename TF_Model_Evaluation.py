"""Lesson 15: how to judge a model - two curves, and more than one number.

A network is right about 86 of 100 pictures. Should its training have stopped earlier? Where is it
wrong, and can you trust it when it says that it is sure?

You learn to tell from two curves whether a network underfits or overfits, and when to stop;
to regularise it; and to look behind its accuracy, once, at the very end, on test pictures that had
no part in it.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_Model_Evaluation.py    # two networks, on Fashion-MNIST; one overfits
  python TF_Model_Evaluation.py --epochs 3 --output-dir outputs/evaluation_3  # both underfit
  python TF_Model_Evaluation.py --history outputs/TF_Human_horse/history.csv  # lesson 5's curves

Expect a test accuracy of about .86 after half a minute to two minutes on a two-core CPU. The first
run downloads 31 MB. Fashion-MNIST: Zalando Research, MIT licence.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import gzip
import os
import shutil
import socket
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

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
        layers.Dense(512, activation="relu"),  # 512 neurons, with 0.4 million weights
        layers.Dropout(dropout),
        layers.Dense(512, activation="relu"),  # 0.3 million more, to learn from 10,000 pictures
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),  # ten probabilities, together 1
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # seconds without an answer end a download
    tf.keras.mixed_precision.set_global_policy("float32")  # fast enough for a small network

    # 1. Load the pictures, and divide them. The network learns from the training pictures. The
    #    validation pictures decide: which epoch, which network. The test pictures are for the end.
    (x, y), (x_test, y_test) = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)
    x = x * np.float32(RESCALE)
    x_test = x_test * np.float32(RESCALE)
    training = x[:TRAINING]
    validation = x[-VALIDATION:]
    print(f"Training pictures {training.shape}, validation pictures {validation.shape}, "
          f"test pictures {x_test.shape}.")

    # 2. Train the same network twice: as it is, and regularised, that is, with memorising made
    #    harder by dropout. Training runs to the end, to show the whole curve. But the epoch with
    #    the lowest validation loss is saved: there one should have stopped.
    histories = {}
    for name, dropout in [("not regularised", 0.0), ("regularised", 0.5)]:
        print(f"\nThe network that is {name}")
        model = build_model(dropout)
        model.compile(
            loss="sparse_categorical_crossentropy",  # large if the true class gets little
            optimizer="adam",  # moves each weight in the direction in which the loss falls
            metrics=["accuracy"],  # the share of pictures that it classifies correctly
        )
        folder = output / name.replace(" ", "_")
        folder.mkdir(exist_ok=True)
        save_best = tf.keras.callbacks.ModelCheckpoint(
            folder / "model.keras", monitor="val_loss", save_best_only=True)
        save_curves = tf.keras.callbacks.CSVLogger(folder / "history.csv")
        stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)
        histories[name] = model.fit(
            training, y[:TRAINING], validation_data=(validation, y[-VALIDATION:]),
            batch_size=arguments.batch_size, epochs=arguments.epochs,
            callbacks=[save_best, save_curves, stop_on_nan],
            verbose=2,  # a line for each epoch
        ).history

    # 3. Read the curves, and choose the network with the lower validation loss. (Training loss is
    #    measured with dropout on, so the regularised network's looks too high.)
    draw_curves(histories, output / "model_evaluation1.png", "val_loss", np.argmin)
    lowest = {}
    for name, history in histories.items():
        print(f"{name}: {judge_curves(history)}")
        lowest[name] = min(history["val_loss"])
    better = min(lowest, key=lowest.get)
    folder = output / better.replace(" ", "_")
    shutil.copy(folder / "history.csv", output)
    shutil.copy(folder / "model.keras", output)

    # 4. Only now look at the test pictures, once. They have had no part in any choice, so the
    #    accuracy on them is what to expect on new pictures, within what chance allows.
    model = tf.keras.models.load_model(output / "model.keras")
    probabilities = model.predict(x_test, verbose=0)  # [10000, 10]
    predicted = np.argmax(probabilities, axis=1)
    is_right = predicted == y_test
    accuracy = np.mean(is_right)
    low, high = find_interval(accuracy, len(y_test))
    print(f"\nThe network that is {better} classifies {accuracy:.1%} of the test pictures "
          f"correctly. Of all pictures like these, it would be {low:.1%} to {high:.1%}, with 95% "
          "confidence.")

    # 5. Look behind the accuracy: which classes does it confuse, how sure is it, and what are its
    #    worst mistakes?
    print_classes(y_test, predicted)
    draw_confusion_matrix(y_test, predicted, CLASSES, output / "model_evaluation2.png")
    confidence = np.max(probabilities, axis=1)
    draw_certainty(confidence, is_right, output / "certainty.png")
    draw_mistakes(x_test, y_test, probabilities, CLASSES, output / "mistakes.png")
    print(f"test accuracy: {accuracy:.4f}")
    print(f"The results are in {output}.")
    plt.show()


def judge_curves(history):
    """Return in words what the losses of a run show. These are rules of thumb: see the figure."""
    if "val_loss" not in history:
        return "There was no validation set: nobody can tell whether the network overfits."
    loss = history["loss"]
    val_loss = history["val_loss"]
    if len(loss) > 2 and loss[-1] > 0.9 * loss[0]:
        return (f"Training loss hardly fell, from {loss[0]:.3f} to {loss[-1]:.3f}: underfitting. "
                "Train longer, or try another learning rate, or a larger network.")
    turn = np.argmin(val_loss)
    later = val_loss[turn + 1:]
    text = f"Validation loss is lowest in epoch {turn + 1}, {val_loss[turn]:.3f}."
    if len(later) < 2:
        return f"{text} It may still fall: train longer."
    latest = min(later[-3:])  # one high value may be chance, three hardly
    text += f" In the last epochs it was {latest:.3f} at best,"
    if latest <= 1.1 * val_loss[turn]:
        return f"{text} about the same: no clear overfitting."
    if loss[-1] > loss[turn]:
        return f"{text} and training loss rose, too: try a smaller learning rate."
    text += f" while training loss fell to {loss[-1]:.3f}"
    return f"{text}: overfitting, stop at epoch {turn + 1}."


def find_interval(accuracy, count):
    """Return the limits, 0 to 1, between which the true accuracy is with a confidence of 95%.

    accuracy: the share of `count` test pictures that are right. The interval is Wilson's (1927).
    """
    z = 1.96  # 95% of a normal distribution are within 1.96 standard deviations
    variance = accuracy * (1 - accuracy) / count
    middle = accuracy + z**2 / (2 * count)
    half = z * np.sqrt(variance + z**2 / (4 * count**2))
    shrink = 1 + z**2 / count
    return (middle - half) / shrink, (middle + half) / shrink


def print_classes(labels, predicted):
    """Print precision, recall and F1 of each class, 0 to 1."""
    print("\n             precision  recall     F1")
    for label, name in enumerate(CLASSES):
        precision, recall, f1 = judge_class(labels == label, predicted == label)
        print(f"{name:12} {precision:9.3f} {recall:7.3f} {f1:6.3f}")


def judge_class(is_shirt, called_shirt):
    """Return precision, recall and F1 of one class. Arguments: yes or no for each picture [n]."""
    found = np.sum(is_shirt & called_shirt)
    precision = found / max(np.sum(called_shirt), 1)  # of all called shirts: how many are?
    recall = found / max(np.sum(is_shirt), 1)  # of all shirts: how many were found?
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)  # high only if both are
    return precision, recall, f1


def draw_certainty(confidence, is_right, file):
    """Draw whether its confidence can be trusted. Both arguments have a value for each picture."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")

    # Where it says 80%, it should be right four times out of five. So group by confidence.
    promised = []
    kept = []
    for lowest in np.arange(0, 1, 0.1):
        group = (confidence > lowest) & (confidence <= lowest + 0.1)
        if np.sum(group) >= 20:  # fewer say nothing
            promised.append(np.mean(confidence[group]))
            kept.append(np.mean(is_right[group]))
    axes[0].plot([0, 1], [0, 1], "--", color="grey", label="as sure as it should be")
    axes[0].plot(promised, kept, "o-", label="this network")
    axes[0].set(title="Is it as often right as it says?", ylabel="share that is right",
                xlabel="confidence: the probability that it gives")
    axes[0].legend()

    # Let it answer only the pictures of which it is surest: one, two, three, ..., all of them.
    surest_first = np.argsort(-confidence)
    answered = np.arange(1, len(is_right) + 1)
    accuracy = np.cumsum(is_right[surest_first]) / answered
    axes[1].plot(answered / len(is_right), accuracy)
    axes[1].set(title='If it may say "I don\'t know"', ylabel="accuracy on these",
                xlabel="share of pictures that it answers, surest first")
    half = len(is_right) // 2
    print(f"If it answers only the surest half, {accuracy[half - 1]:.1%} of these are right.")
    figure.savefig(file)


def compare_runs(files, folder):
    """Draw the history.csv of other runs together, named by their folders, and judge each."""
    histories = {}
    for file in files:
        history = read_history(file)
        if history is None or "accuracy" not in history:
            sys.exit(f"{file} is missing, or has no curve of an accuracy: train that lesson first.")
        histories[str(file.parent)] = history
        print(f"{file}: {judge_curves(history)}")
    folder.mkdir(parents=True, exist_ok=True)
    draw_curves(histories, folder / "histories.png", "val_loss", np.argmin)
    print(f"The curves are in {folder / 'histories.png'}.")
    plt.show()


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def load_mnist(dataset, data_dir):
    """Return pictures [n, 28, 28] (bytes) and labels [n], for training and for the test.

    They come from the four idx .gz files in `data_dir`, or else from Keras: `dataset` is a module
    such as tf.keras.datasets.mnist, which downloads its pictures on the first run.
    """
    try:
        if data_dir is None:
            return dataset.load_data()
        parts = []
        for name in ["train", "t10k"]:
            pictures = gzip.decompress((data_dir / f"{name}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((data_dir / f"{name}-labels-idx1-ubyte.gz").read_bytes())
            pictures = np.frombuffer(pictures, np.uint8, offset=16)  # behind a header of 16 bytes
            labels = np.frombuffer(labels, np.uint8, offset=8)
            parts.append((pictures.reshape(-1, 28, 28), labels))
        return parts
    except Exception as error:
        sys.exit(f"The pictures cannot be loaded ({error}). Delete what is incomplete in "
                 "~/.keras/datasets and try again, or name a folder with the four idx .gz files "
                 "with --data-dir.")


def draw_curves(histories, file, monitor="val_accuracy", find_best=np.argmax):
    """Draw accuracy and loss by epoch, for each {name: history}: training dashed.

    A star marks the saved epoch, where `find_best` finds the best value of `monitor`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        for name, history in histories.items():
            epochs = range(1, len(history["loss"]) + 1)
            [line] = axis.plot(epochs, history[metric], ".--", label=f"{name}: training")
            if f"val_{metric}" in history:
                best = find_best(history[monitor])
                axis.plot(epochs, history[f"val_{metric}"], "*-", markevery=[best], markersize=15,
                          color=line.get_color(), label=f"{name}: validation")
        axis.set(title=metric.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(handles=axes[1].lines, loc="outside lower center", ncols=2)
    figure.savefig(file)


def read_history(file):
    """Return the curves that a CSVLogger has saved, {metric: a number for each epoch}, or None."""
    if not file.exists() or not file.stat().st_size:  # no run, or one stopped in its first epoch
        return None
    table = np.genfromtxt(file, delimiter=",", names=True, ndmin=1)  # NA, no validation, is nan
    history = {name: table[name] for name in table.dtype.names}
    return {name: curve for name, curve in history.items() if not np.isnan(curve).all()}


def draw_confusion_matrix(labels, predicted, classes, file):
    """Draw how many pictures of each class (a row) are taken for which (a column)."""
    matrix = tf.math.confusion_matrix(labels, predicted, len(classes)).numpy()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(7.5, 6.5), layout="constrained")
    figure.colorbar(axis.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the class")
    if len(classes) <= 30:  # more would not be legible
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=60)
        axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted class", ylabel="true class")
    figure.savefig(file)


def draw_mistakes(pictures, labels, probabilities, classes, file):
    """Draw the ten pictures that the network is most surely wrong about, and return their rows.

    pictures: [n, height, width], or with an axis for 1 or 3 channels. probabilities: [n, classes].
    """
    predicted = np.argmax(probabilities, axis=1)
    confidence = np.max(probabilities, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong])][:10]
    figure, axes = plt.subplots(2, 5, figsize=(10, 6), layout="constrained")
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} are misclassified. The surest of them:")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, row in zip(axes.flat, surest):
        axis.imshow(pictures[row], cmap="gray")  # the map is for grey pictures only
        axis.set_title(f"{classes[labels[row]]}, taken\nfor {classes[predicted[row]]}\n"
                       f"({confidence[row]:.1%})")
    figure.savefig(file)
    return surest


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--history", type=Path, nargs="+", metavar="CSV", help="only judge these")
    parser.add_argument("--epochs", type=int, default=30, help="passes over the pictures (30)")
    parser.add_argument("--batch-size", type=int, default=256, help="pictures in each step (256)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--data-dir", type=Path, help="folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_Model_Evaluation"))
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.batch_size) < 1:
        parser.error("--epochs and --batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        if arguments.history:
            compare_runs(arguments.history, arguments.output_dir)
        else:
            main(arguments)
    except (OSError, KeyboardInterrupt) as error:  # such as a full disk
        sys.exit(str(error) or "Stopped.")
