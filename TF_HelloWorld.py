"""Lesson 1: hello, world - one neuron learns y = a x + b.

You learn to
  * describe a network (one layer with one neuron), a loss and an optimizer, and train it with `fit`;
  * see that nobody tells it the rule: it finds weight and bias from six examples alone;
  * understand why its answer is nearly, but not exactly, right.

  python TF_HelloWorld.py                           # y = 2 x - 1
  python TF_HelloWorld.py --slope -3 --intercept 7  # another rule
  python TF_HelloWorld.py --epochs 50               # too little practice

Expect a prediction of about 18.98 for x = 10, where the rule says 19, after half a second of training. Nothing is
downloaded.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "numpy>=1.26,<3", "matplotlib>=3.9,<4"]
# ///

import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

X = [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0]  # all that the neuron will ever see
QUESTION = 10.0  # an x that is not among them
AT_ONCE = 10  # gradient steps that TensorFlow takes without coming back to Python in between


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def decimal_number(text: str) -> float:
    """Return `text` as a number between -1000 and 1000; anything else, nan included, is an argparse error."""
    if not -1000 <= float(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between -1000 and 1000")
    return float(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--slope", type=decimal_number, default=2.0, metavar="A", help="the a of y = a x + b (%(default)s)")
    add("--intercept", type=decimal_number, default=-1.0, metavar="B", help="the b of y = a x + b (%(default)s)")
    add("--epochs", type=whole_number, default=500, metavar="N", help="passes over the six points (%(default)s)")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
    return parser.parse_args(line)


if __name__ == "__main__":
    arguments = parse_arguments()  # before the slow imports: --help and a wrong flag answer at once
    sys.stdout.reconfigure(line_buffering=True)  # a line is seen at once, also through a pipe or in a log
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("\nStopped. The same command starts anew."))

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


def build_model(steps_per_execution: int = 1) -> tf.keras.Model:
    """Return the smallest network there is: numbers [batch, 1] in, weight * number + bias [batch, 1] out."""
    model = tf.keras.Sequential([
        tf.keras.layers.Input((1,)),
        tf.keras.layers.Dense(1),  # one neuron: one weight, one bias
    ], name="hello_world")
    # The loss says how wrong the guesses are, the optimizer (stochastic gradient descent) makes better ones.
    model.compile(optimizer="sgd", loss="mean_squared_error", steps_per_execution=steps_per_execution)
    return model


def draw_result(epochs: np.ndarray, losses: list, y: np.ndarray, weight: float, bias: float, file: Path) -> None:
    """Draw the loss over the epochs and the line that the neuron found, beside the six points it learned from."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    left.semilogy(epochs, losses)
    left.set(title="The loss falls epoch by epoch", xlabel="epoch", ylabel="mean squared error (logarithmic)")
    left.grid(alpha=0.3)
    line = np.array([min(X) - 1, QUESTION + 1])
    right.plot(line, weight * line + bias, color="tab:orange", label=f"learned: y = {weight:.4f} x {bias:+.4f}")
    right.plot(X, y, "o", color="tab:blue", label="the six points")
    right.plot(QUESTION, weight * QUESTION + bias, "*", markersize=14, color="tab:red",
               label=f"prediction for x = {QUESTION:g}: {weight * QUESTION + bias:.4f}")
    right.set(title="The line it found", xlabel="x", ylabel="y")
    right.grid(alpha=0.3)
    right.legend()
    figure.savefig(file, dpi=100)


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    x = np.array(X, dtype="float32").reshape(-1, 1)  # six examples of one number each
    y = arguments.slope * x + arguments.intercept

    # All six points are one batch, so an epoch is one gradient step. `model.fit(x, y, epochs=500)` would do, but sets
    # everything up anew for each of them: many seconds for six numbers. A data set that repeats for ever is set up
    # once, and ten steps in a row stay inside TensorFlow: the same steps, the same result, in no time.
    at_once = math.gcd(arguments.epochs, AT_ONCE)
    model = build_model(at_once)
    points = tf.data.Dataset.from_tensors((x, y)).repeat()
    start = time.perf_counter()
    history = model.fit(points, epochs=arguments.epochs // at_once, steps_per_epoch=at_once, shuffle=False, verbose=0,
                        callbacks=[tf.keras.callbacks.CSVLogger(arguments.output_dir / "history.csv")]).history
    seconds = time.perf_counter() - start

    weight, bias = (float(value.squeeze()) for value in model.get_weights())
    prediction = float(model.predict(np.array([[QUESTION]]), verbose=0)[0, 0])
    truth = arguments.slope * QUESTION + arguments.intercept
    print(f"          rule      learned\n"
          f"weight {arguments.slope:9.4f} {weight:12.6f}\n"
          f"bias   {arguments.intercept:9.4f} {bias:12.6f}\n"
          f"x = {QUESTION:g} {truth:9.4f} {prediction:12.6f}\n"
          f"Why not exactly {truth:g}? Each epoch removes only a share of the error, so after {arguments.epochs} some "
          "is left.\nAnd six points prove no line: the neuron knows no rule, it only has numbers that fit.")

    model.save(arguments.output_dir / "model.keras")
    draw_result(np.arange(at_once, arguments.epochs + 1, at_once), history["loss"], y, weight, bias,
                arguments.output_dir / "loss_and_line.png")
    gpus = tf.config.list_physical_devices("GPU")
    device = gpus[0].name if gpus else f"CPU, {os.cpu_count()} cores"
    metrics = {"lesson": Path(__file__).stem, "loss": history["loss"][-1], "weight": weight, "bias": bias,
               "prediction": prediction, "truth": truth, "epochs": arguments.epochs, "seconds": seconds,
               "seconds_per_epoch": seconds / arguments.epochs, "seed": arguments.seed, "arguments": vars(arguments),
               "device": device, "precision": model.dtype_policy.name, "pictures": 0, "tensorflow": tf.__version__,
               "keras": tf.keras.__version__}
    (arguments.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2, default=str) + "\n")
    print(f"{arguments.epochs} epochs in {seconds:.2f} s on {device}; loss {history['loss'][-1]:.2g}; "
          f"the figure, the model and the numbers are in {arguments.output_dir}")
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir names another.")
