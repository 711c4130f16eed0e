"""Lesson 1: hello, world - one neuron learns y = a x + b.

Usually you give a computer a rule and numbers, and it gives you answers. Here you give it numbers
and answers, and it finds the rule.

You learn to describe a network, a loss and an optimizer, and to train the network with `fit`. It
finds weight and bias from six examples, and its answer is nearly, but not exactly, right.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_HelloWorld.py                                    # y = 2 x - 1
  python TF_HelloWorld.py --slope -3 --intercept 7           # another rule
  python TF_HelloWorld.py --learning-rate 0.0001             # steps that are too small
  python TF_HelloWorld.py --learning-rate 0.2                # steps that are too large

Expect a prediction of about 18.98 for x = 10, where the rule says 19, after a few seconds. Nothing
is downloaded.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from matplotlib.ticker import LogFormatter
from tensorflow.keras import layers

X = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]  # all that the neuron will ever see
QUESTION = 10.0  # an x that is not among them


def build_model():
    """Return the smallest network there is: a number [batch, 1] in, weight * number + bias out."""
    return tf.keras.Sequential([
        layers.Input((1,)),  # one number
        layers.Dense(1),  # one neuron: one weight, one bias
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.keras.mixed_precision.set_global_policy("float32")  # numbers of 32 bits: every digit counts

    # 1. Make six examples of the rule. The network gets x and y. It never sees slope and intercept.
    slope = arguments.slope
    intercept = arguments.intercept
    x = np.array(X, dtype="float32").reshape(-1, 1)  # [6, 1]: six examples of one number each
    y = slope * x + intercept
    print(f"Examples: x {x.shape}, y {y.shape}.")

    # 2. Build the network, and say how it learns. Its weight starts at random, its bias at 0.
    model = build_model()
    model.compile(
        loss="mean_squared_error",  # how wrong the answers are: the mean of (answer - y)^2
        # Gradient descent: moves weight and bias a little in the direction in which
        # the loss falls. The learning rate says how far.
        optimizer=tf.keras.optimizers.SGD(learning_rate=arguments.learning_rate),
    )
    model.summary()

    # 3. Train. The usual call is `model.fit(x, y, epochs=500)`. It takes the same 500 steps, but
    #    prepares the data anew for each of them, which takes many times as long as the step
    #    itself. A Dataset that repeats the six points for ever is prepared only once.
    points = tf.data.Dataset.from_tensors((x, y)).repeat()
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN()  # when the loss is not a number any more
    losses = model.fit(points, epochs=arguments.epochs, steps_per_epoch=1, verbose=0,
                       shuffle=False,  # each step gets all six points: no order matters
                       callbacks=[save_curves, stop_on_nan]).history["loss"]
    if not np.isfinite(losses[-1]):
        sys.exit("The loss is no longer a number: each step went too far, and the next one even "
                 "further. Use a smaller --learning-rate.")
    model.save(output / "model.keras")

    # 4. Compare. The weight should now be close to the slope, and the bias to the intercept.
    kernel, biases = model.get_weights()  # the weights [1, 1], and the biases [1]
    weight = float(kernel[0, 0])
    bias = float(biases[0])
    answers = model.predict(np.array([[QUESTION]]), verbose=0)  # [1, 1]: one answer
    prediction = float(answers[0, 0])
    truth = slope * QUESTION + intercept
    print("           rule   learned")
    print(f"weight  {slope:7.3f}   {weight:7.3f}")
    print(f"bias    {intercept:7.3f}   {bias:7.3f}")
    print(f"x = {QUESTION:g}  {truth:7.3f}   {prediction:7.3f}")
    print(f"Why not exactly {truth:g}? Each epoch removes only a part of the remaining error.")
    draw_result(losses, y, weight, bias, output / "loss_and_line.png")
    print(f"prediction: {prediction:.4f}")
    print(f"The results are in {output}.")
    plt.show()


def draw_result(losses, y, weight, bias, file):
    """Draw the loss by epoch, and the line that the neuron has found beside its six points."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    left.semilogy(losses)
    left.yaxis.set_major_formatter("{x:g}")  # 0.01, not a power of ten
    left.yaxis.set_minor_formatter(LogFormatter())
    left.set(title="The loss falls, step by step", xlabel="epoch",
             ylabel="mean squared error (logarithmic)")
    ends = np.array([min(X) - 1, QUESTION + 1])
    answer = weight * QUESTION + bias
    right.plot(ends, weight * ends + bias, color="C1",
               label=f"learned: y = {weight:.3f} x {bias:+.3f}")
    right.plot(X, y, "o", color="C0", label="the six examples")
    right.plot(QUESTION, answer, "*", color="C3", markersize=15,
               label=f"prediction for x = {QUESTION:g}: {answer:.3f}")
    right.set(title="The line that the neuron has found", xlabel="x", ylabel="y")
    right.legend()
    figure.savefig(file)


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slope", type=float, default=2.0, help="the a of y = a x + b (2)")
    parser.add_argument("--intercept", type=float, default=-1.0, help="the b of y = a x + b (-1)")
    parser.add_argument("--learning-rate", type=float, default=0.01, help="size of a step (0.01)")
    parser.add_argument("--epochs", type=int, default=500, help="passes over the points (500)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_HelloWorld"))
    arguments = parser.parse_args()
    if arguments.learning_rate <= 0 or arguments.epochs < 1:
        parser.error("--learning-rate must be above 0, and --epochs at least 1")
    return arguments


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (OSError, KeyboardInterrupt) as error:  # such as a full disk
        sys.exit(str(error) or "Stopped.")
