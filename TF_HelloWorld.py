"""Lesson 1: hello, world - one neuron learns y = a x + b.

You learn to describe a network, a loss and an optimizer, and to train the network with `fit`.
Nobody tells it the rule: it finds weight and bias from six examples, and its answer is nearly, but
not exactly, right.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_HelloWorld.py                                    # y = 2 x - 1
  python TF_HelloWorld.py --slope -3 --intercept 7           # another rule
  python TF_HelloWorld.py --learning-rate 0.0001             # steps that are too small
  python TF_HelloWorld.py --learning-rate 0.2                # steps that are too large

Expect a prediction of about 18.98 for x = 10, where the rule says 19, after a few seconds. Nothing
is downloaded.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import json
import os
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
from matplotlib.ticker import LogFormatter
from tensorflow.keras import layers

NAME = "TF_HelloWorld"  # of this lesson
X = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]  # all that the neuron will ever see
QUESTION = 10.0  # an x that is not among them


def build_model():
    """Return the smallest network there is: a number [batch, 1] in, weight * number + bias out."""
    return tf.keras.Sequential([
        layers.Input((1,)),  # one number
        layers.Dense(1),  # one neuron: one weight, one bias
    ], name=NAME)


def main(arguments):
    output = arguments.output_dir
    slope = arguments.slope
    intercept = arguments.intercept
    set_up(arguments.seed)
    output.mkdir(parents=True, exist_ok=True)

    # 1. Make six examples of the rule. The network gets x and y. It never sees slope and intercept.
    x = np.array(X, dtype="float32").reshape(-1, 1)  # [6, 1]: six examples of one number each
    y = slope * x + intercept
    print(f"Examples: x {x.shape}, y {y.shape}.")

    # 2. Build the network, and say how it learns. Its weight starts at random, its bias at 0.
    model = build_model()
    model.compile(
        loss="mean_squared_error",  # how wrong the answers are: the mean of (answer - y)^2
        # Stochastic gradient descent: moves weight and bias a little in the direction in which
        # the loss falls. The learning rate says how far.
        optimizer=tf.keras.optimizers.SGD(learning_rate=arguments.learning_rate),
    )
    model.summary()

    # 3. Train. The usual call is `model.fit(x, y, epochs=500)`. It takes the same 500 steps, but
    #    prepares the data anew for each of them, which takes many times as long as the step
    #    itself. A Dataset that repeats the six points for ever is prepared only once.
    points = tf.data.Dataset.from_tensors((x, y)).repeat()
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = StopOnNaN()  # not a number: then the steps were too large
    start = time.perf_counter()
    history = model.fit(points, epochs=arguments.epochs, steps_per_epoch=1, verbose=0,
                        shuffle=False,  # each step gets all six points: no order matters
                        callbacks=[save_curves, stop_on_nan]).history
    seconds = time.perf_counter() - start
    model.save(output / "model.keras")

    # 4. Compare. The weight should now be close to the slope, and the bias to the intercept.
    kernel, biases = model.get_weights()  # [1, 1] and [1]: arrays, as for any number of neurons
    weight = float(kernel[0, 0])
    bias = float(biases[0])
    answers = model.predict(np.array([[QUESTION]]), verbose=0)  # [1, 1]: one answer
    prediction = float(answers[0, 0])
    truth = slope * QUESTION + intercept
    print("           rule   learned")
    print(f"weight  {slope:7.3f}   {weight:7.3f}")
    print(f"bias    {intercept:7.3f}   {bias:7.3f}")
    print(f"x = {QUESTION:g}  {truth:7.3f}   {prediction:7.3f}")
    print(f"Why not exactly {truth:g}? Each step removes only a part of the error. More epochs "
          "leave less of it.")
    save_metrics(output, arguments, seconds, prediction=prediction)
    draw_result(history["loss"], y, weight, bias, output / "loss_and_line.png")
    plt.show()


def draw_result(losses, y, weight, bias, file):
    """Draw the loss by epoch, and the line that the neuron has found beside its six points."""
    figure, (left, right) = plt.subplots(1, 2)
    left.semilogy(losses)
    left.yaxis.set_major_formatter("{x:g}")  # 0.01, not a power of ten
    left.yaxis.set_minor_formatter(LogFormatter())
    left.set(title="The loss falls, step by step",
             xlabel="epoch",
             ylabel="mean squared error (logarithmic)")
    ends = np.array([min(X) - 1, QUESTION + 1])
    answer = weight * QUESTION + bias
    right.plot(ends, weight * ends + bias, color="C1",
               label=f"learned: y = {weight:.3f} x {bias:+.3f}")
    right.plot(X, y, "o", color="C0", label="the six examples")
    right.plot(QUESTION, answer, "*", color="C3", markersize=16,
               label=f"prediction for x = {QUESTION:g}: {answer:.3f}")
    right.set(title="The line that the neuron has found", xlabel="x", ylabel="y")
    right.legend()
    figure.savefig(file)


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


def rate(text):
    """Return `text` as a number above 0; anything else is an error of the flag."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)
    parser.add_argument("--slope", type=float, default=2.0,
                        help="the a of y = a x + b (%(default)s)")
    parser.add_argument("--intercept", type=float, default=-1.0,
                        help="the b of y = a x + b (%(default)s)")
    parser.add_argument("--learning-rate", type=rate, default=0.01,
                        help="how far a step goes (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=500,
                        help="passes over the six points (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
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
