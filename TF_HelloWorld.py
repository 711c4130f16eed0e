"""Lesson 1: hello, world - one neuron learns y = a x + b.

You learn to describe a network, a loss and an optimizer, and to train the network with `fit`. Nobody tells it the rule:
it finds weight and bias from six examples, and its answer is nearly, but not exactly, right.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_HelloWorld.py                                         # y = 2 x - 1
  python TF_HelloWorld.py --slope -3 --intercept 7                # another rule
  python TF_HelloWorld.py --epochs 50 --output-dir outputs/try    # too little training

Expect a prediction of about 18.98 for x = 10, where the rule says 19, after a few seconds. Nothing is downloaded.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf

X = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]  # all that the neuron will ever see
QUESTION = 10.0  # an x that is not among them


def build_model() -> tf.keras.Model:
    """Return the smallest network there is: a number [batch, 1] in, weight * number + bias [batch, 1] out."""
    model = tf.keras.Sequential([
        tf.keras.layers.Input((1,)),  # one number
        tf.keras.layers.Dense(1),  # one neuron: one weight, one bias
    ])
    # The loss says how wrong the answers are: the mean of the squared differences. The optimizer, stochastic gradient
    # descent, moves weight and bias a little in the direction that makes the loss smaller.
    model.compile(optimizer="sgd", loss="mean_squared_error")
    return model


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)  # the weight starts at random, the same in each run; the bias at 0

    # Six examples of the rule. The network gets x and y; it never sees the slope and the intercept themselves.
    x = np.array(X, dtype="float32").reshape(-1, 1)  # [6, 1]: six examples of one number each
    y = arguments.slope * x + arguments.intercept
    model = build_model()

    # The usual call is `model.fit(x, y, epochs=500)`. It takes the same 500 steps, but prepares the data again for each
    # of them, which takes half a minute for six numbers. A Dataset that repeats them forever is prepared only once.
    points = tf.data.Dataset.from_tensors((x, y)).repeat()
    start = time.perf_counter()
    history = model.fit(points, epochs=arguments.epochs, steps_per_epoch=1, shuffle=False, verbose=0, callbacks=[
        tf.keras.callbacks.CSVLogger(output / "history.csv")]).history
    seconds = time.perf_counter() - start
    model.save(output / "model.keras")
    # The neuron's weight should now be close to the slope, and its bias to the intercept.
    weight, bias = (value.item() for value in model.get_weights())
    prediction = model.predict(np.array([[QUESTION]]), verbose=0).item()
    truth = arguments.slope * QUESTION + arguments.intercept
    print(f"           rule   learned\n"
          f"weight  {arguments.slope:7.3f}   {weight:7.3f}\n"
          f"bias    {arguments.intercept:7.3f}   {bias:7.3f}\n"
          f"x = {QUESTION:g}  {truth:7.3f}   {prediction:7.3f}\n"
          f"Why not exactly {truth:g}? Each step removes only a part of the error: more epochs leave less of it.")
    draw_result(history["loss"], y, weight, bias, output / "loss_and_line.png")
    save_metrics(output, arguments, seconds, loss=history["loss"][-1], weight=weight, bias=bias, prediction=prediction)
    plt.show()


def draw_result(losses: list[float], y: np.ndarray, weight: float, bias: float, file: Path) -> None:
    """Draw the loss over the epochs, and the line that the neuron found beside the six points it learned from."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    left.semilogy(np.arange(1, len(losses) + 1), losses)
    left.set(title="The loss falls epoch by epoch", xlabel="epoch", ylabel="mean squared error (log scale)")
    line = np.array([min(X) - 1, QUESTION + 1])
    right.plot(line, weight * line + bias, "C1", label=f"learned: y = {weight:.3f} x {bias:+.3f}")
    right.plot(X, y, "o", color="C0", label="the six points")
    right.plot(QUESTION, weight * QUESTION + bias, "*", color="C3", markersize=14,
               label=f"prediction for x = {QUESTION:g}: {weight * QUESTION + bias:.3f}")
    right.set(title="The line that the neuron found", xlabel="x", ylabel="y")
    right.legend()
    figure.savefig(file)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slope", type=float, default=2.0, help="the a of y = a x + b (%(default)s)")
    parser.add_argument("--intercept", type=float, default=-1.0, help="the b of y = a x + b (%(default)s)")
    parser.add_argument("--epochs", type=positive, default=500, help="passes over the six points (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "TF_HelloWorld"), help="(%(default)s)")
    return parser.parse_args()


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


def positive(text: str) -> int:
    """Return `text` as a whole number from 1 to 2^31 - 1; anything else is an argparse error."""
    if not 0 < int(text) < 2**31:
        raise ValueError
    return int(text)


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
