"""Lesson 7: saving and loading a model - all the ways, what is inside the files, and proof that nothing is lost.

You learn to
  * save a whole model as .keras (today's format) and as .h5 (the old one), or its weights alone as .weights.h5;
  * keep a checkpoint of every epoch through a callback, and go on training from one as if nothing had happened;
  * open the files with h5py and zipfile and find architecture, weights and the optimizer's memory;
  * know what loading a stranger's model may do, and what safe_mode refuses.

  python TF_Saving_Loading_Model.py              # does all of it, and checks itself
  python TF_Saving_Loading_Model.py --epochs 50  # train longer first

Expect differences of exactly 0 after every way of saving, in some ten seconds. Nothing is downloaded.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "numpy>=1.26,<3", "matplotlib>=3.9,<4", "h5py>=3.11,<4"]
# ///

import argparse
import json
import logging
import os
import signal
import sys
import time
import zipfile
from pathlib import Path

SLOPE, INTERCEPT = 2.0, -1.0  # the rule of lesson 1: y = 2 x - 1


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=lambda text: whole_number(text, 2), default=20, metavar="N", help="2 or more (%(default)s)")
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
    import h5py
    import matplotlib.pyplot as plt
    import numpy as np
    import tensorflow as tf
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow numpy matplotlib h5py")
finally:
    os.dup2(standard_error, 2)


def build_model() -> tf.keras.Model:
    """Return lesson 1's network with a hidden layer before the one neuron: numbers [batch, 1] in, [batch, 1] out."""
    model = tf.keras.Sequential([
        tf.keras.layers.Input((1,)),
        tf.keras.layers.Dense(8, activation="relu", name="hidden"),
        tf.keras.layers.Dense(1, name="output"),
    ], name="saving_and_loading")
    # Adam remembers means of past gradients: an optimizer with something to lose when a model is saved.
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05), loss="mean_squared_error")
    return model


def largest_difference(model: tf.keras.Model, other: tf.keras.Model, x: np.ndarray) -> float:
    """Return the largest absolute difference between two models' predictions for x [n, 1]."""
    return float(np.abs(model.predict(x, verbose=0) - other.predict(x, verbose=0)).max())


def print_tree(file: Path) -> None:
    """Print groups, datasets (shape, type) and attributes of an HDF5 file (.h5, .weights.h5)."""
    def describe(name: str, node) -> None:
        depth = "  " * (name.count("/") + 1)
        kind = f"{node.shape} {node.dtype}" if isinstance(node, h5py.Dataset) else "group"
        print(f"{depth}{name.split('/')[-1]}: {kind}" + (f", attributes {sorted(node.attrs)}" if node.attrs else ""))

    with h5py.File(file) as content:
        print(f"\n{file.name}, {file.stat().st_size:,} bytes")
        for name, value in content.attrs.items():
            value = value if len(str(value)) < 90 else f"{str(value)[:90]}... ({len(str(value))} characters)"
            print(f"  attribute {name} = {value}")
        content.visititems(describe)


def refuses_code(folder: Path) -> str:
    """Save a model that carries Python code in a Lambda layer; return what safe mode says when it is loaded."""
    model = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Lambda(lambda x: 2 * x)])
    model.save(folder / "with_code.keras")
    try:
        tf.keras.models.load_model(folder / "with_code.keras")  # safe_mode=True is the default
    except ValueError as error:
        return str(error).split(". ")[0]
    sys.exit("Safe mode loaded a model that carries code: do not trust this version of Keras.")


def draw_losses(losses: list[float], resumed: list[float], start: int, file: Path) -> None:
    """Draw the loss of the uninterrupted training, and of the one that went on from the checkpoint of epoch `start`."""
    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    axis.semilogy(range(1, len(losses) + 1), losses, "o-", label="trained in one go")
    axis.semilogy(range(start + 1, len(losses) + 1), resumed, "x--", markersize=10,
                  label=f"loaded after epoch {start}, trained on")
    axis.set(title="Going on from a checkpoint as if nothing had happened", xlabel="epoch", ylabel="mean squared error")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(file, dpi=100)


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    folder = arguments.output_dir
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()  # the same sums in the same order, on a GPU too
    logging.getLogger("absl").setLevel("ERROR")  # Keras warns of the .h5 format, and so does this lesson
    x = np.linspace(-1, 4, 64, dtype="float32").reshape(-1, 1)
    y = SLOPE * x + INTERCEPT

    print("1. Train, with a checkpoint of every epoch")
    model = build_model()
    each_epoch = tf.keras.callbacks.ModelCheckpoint(folder / "checkpoints" / "epoch_{epoch:02d}.keras")
    start = time.perf_counter()
    losses = model.fit(x, y, epochs=arguments.epochs, shuffle=False, verbose=0, callbacks=[
        each_epoch, tf.keras.callbacks.CSVLogger(folder / "history.csv")]).history["loss"]
    seconds = time.perf_counter() - start
    print(f"   loss {losses[0]:.4f} -> {losses[-1]:.6f}")

    print("2. Save it in every way, load it again, compare the predictions")
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")  # Keras calls this format legacy: see 4.
    model.save_weights(folder / "model.weights.h5")
    only_weights = build_model()  # weights alone need the code that builds the network
    only_weights.optimizer.build(only_weights.trainable_variables)  # room for the optimizer's state, else it is skipped
    only_weights.load_weights(folder / "model.weights.h5")
    differences = {
        "model.keras": largest_difference(model, tf.keras.models.load_model(folder / "model.keras"), x),
        "model.h5": largest_difference(model, tf.keras.models.load_model(folder / "model.h5"), x),
        "model.weights.h5": largest_difference(model, only_weights, x),
    }

    print("3. Go on from the checkpoint in the middle: the optimizer's memory is in the file")
    half = arguments.epochs // 2
    resumed = tf.keras.models.load_model(folder / "checkpoints" / f"epoch_{half:02d}.keras")
    resumed_losses = resumed.fit(x, y, initial_epoch=half, epochs=arguments.epochs, shuffle=False,
                                 verbose=0).history["loss"]
    differences[f"trained on from epoch_{half:02d}.keras"] = largest_difference(model, resumed, x)
    for name, difference in differences.items():
        print(f"   {name}: largest difference {difference:g}")

    print("4. Look inside. A .keras file is a zip archive:")
    with zipfile.ZipFile(folder / "model.keras") as archive:
        for entry in archive.infolist():
            print(f"  {entry.filename}, {entry.file_size:,} bytes")
    print_tree(folder / "model.h5")
    print_tree(folder / "model.weights.h5")
    print("\nBoth hold architecture, weights and the optimizer's state. But .h5 is legacy: Keras develops it no more,\n"
          "and layers of your own can keep neither state nor files in it. The .keras archive has a place for both.")
    print(f"5. A model may carry code. Safe mode refuses it: {refuses_code(folder)}.")

    draw_losses(losses, resumed_losses, half, folder / "losses.png")
    gpus = tf.config.list_physical_devices("GPU")
    metrics = {"lesson": Path(__file__).stem, "loss": losses[-1], "differences": differences,
               "epochs": arguments.epochs, "seconds": seconds, "seconds_per_epoch": seconds / arguments.epochs,
               "seed": arguments.seed, "arguments": vars(arguments),
               "device": gpus[0].name if gpus else f"CPU, {os.cpu_count()} cores", "precision": model.dtype_policy.name,
               "pictures": 0, "tensorflow": tf.__version__, "keras": tf.keras.__version__}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2, default=str) + "\n")
    if any(differences.values()):
        sys.exit(f"A model changed on its way through a file: {differences}. This should never happen.")
    print(f"All differences are 0; {arguments.epochs} epochs in {seconds:.1f} s on {metrics['device']}; see {folder}")
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir names another.")
