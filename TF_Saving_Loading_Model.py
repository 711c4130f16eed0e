"""Lesson 7: saving and loading - three formats, a look inside, and training that resumes where it stopped.

You learn to save a model as .keras, as .h5, or without its architecture; to resume training from a checkpoint as if
nothing had happened; to look into the files; and what loading a stranger's model could do.

  python -m pip install "tensorflow==2.21.*" h5py
  python TF_Saving_Loading_Model.py                                       # does all of it, and compares the predictions
  python TF_Saving_Loading_Model.py --epochs 50 --output-dir outputs/try  # trains longer first

Expect a difference of exactly 0 between the predictions before and after, in about ten seconds. Nothing is downloaded.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "h5py"]
# ///

import argparse
import json
import os
import sys
import time
import zipfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it

import h5py
import numpy as np
import tensorflow as tf

SLOPE, INTERCEPT = 2.0, -1.0  # the rule of lesson 1: y = 2 x - 1


def build_model() -> tf.keras.Model:
    """Return lesson 1's network with a hidden layer before the one neuron: numbers [batch, 1] in, [batch, 1] out."""
    model = tf.keras.Sequential([
        tf.keras.layers.Input((1,)),
        tf.keras.layers.Dense(8, activation="relu", name="hidden"),  # these names will appear in the files
        tf.keras.layers.Dense(1, name="output"),
    ])
    # Adam keeps moving averages of past gradients. To resume training, this state must be saved as well.
    model.compile(optimizer=tf.keras.optimizers.Adam(0.05), loss="mean_squared_error")
    return model


def main(arguments: argparse.Namespace) -> None:
    folder = arguments.output_dir
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.config.experimental.enable_op_determinism()  # sums in the same order in each run, on a GPU too
    x = np.linspace(-1, 4, 64, dtype="float32").reshape(-1, 1)
    y = SLOPE * x + INTERCEPT

    print("1. Train, and save a checkpoint after each epoch")
    model = build_model()
    start = time.perf_counter()
    model.fit(x, y, epochs=arguments.epochs, shuffle=False, verbose=0, callbacks=[
        tf.keras.callbacks.ModelCheckpoint(folder / "checkpoints" / "epoch_{epoch:02d}.keras"),
        tf.keras.callbacks.CSVLogger(folder / "history.csv"),
    ])
    seconds = time.perf_counter() - start
    print("2. Save the model in three formats, load it again, and compare the predictions")
    model.save(folder / "model.keras")  # everything, in today's format
    model.save(folder / "model.h5")  # the same in the old format, but Keras loads it without the optimizer's state
    model.save_weights(folder / "model.weights.h5")  # weights and optimizer, no architecture
    weights_alone = build_model()  # weights alone need the code that builds the network
    weights_alone.optimizer.build(weights_alone.trainable_variables)  # and an optimizer with room for its state
    weights_alone.load_weights(folder / "model.weights.h5")
    differences = {
        "model.keras": largest_difference(model, tf.keras.models.load_model(folder / "model.keras"), x),
        "model.h5": largest_difference(model, tf.keras.models.load_model(folder / "model.h5"), x),
        "model.weights.h5": largest_difference(model, weights_alone, x),
    }
    print("3. Resume training from the checkpoint halfway: the state of the optimizer is in the file")
    half = arguments.epochs // 2
    continued = tf.keras.models.load_model(folder / "checkpoints" / f"epoch_{half:02d}.keras")
    continued.fit(x, y, initial_epoch=half, epochs=arguments.epochs, shuffle=False, verbose=0)  # in the same order
    differences[f"continued from epoch_{half:02d}.keras"] = largest_difference(model, continued, x)
    for name, difference in differences.items():
        print(f"   {name}: largest difference {difference:g}")
    print("4. Look inside. A .keras file is a zip archive:")
    with zipfile.ZipFile(folder / "model.keras") as archive:
        for entry in archive.infolist():
            print(f"   {entry.filename}, {entry.file_size:,} bytes")
    print_tree(folder / "model.h5")
    print_tree(folder / "model.weights.h5")
    print("\n.h5 is legacy: Keras no longer develops it, and loads it without the state of the optimizer.")
    print("5. A model may carry Python code. Loading it runs that code, unless `safe_mode`, the default, refuses:")
    model_with_code = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Lambda(lambda x: 2 * x)])
    model_with_code.save(folder / "with_code.keras")
    try:
        tf.keras.models.load_model(folder / "with_code.keras")
    except ValueError as refusal:
        print(f"   {'. '.join(str(refusal).split('. ')[:2])}.")  # the rest says how to allow it
    save_metrics(folder, arguments, seconds, largest_difference=max(differences.values()))


def largest_difference(model: tf.keras.Model, other: tf.keras.Model, x: np.ndarray) -> float:
    """Return the largest absolute difference between two models' predictions for x [n, 1]."""
    return float(np.abs(model.predict(x, verbose=0) - other.predict(x, verbose=0)).max())


def print_tree(file: Path) -> None:
    """Print the groups and datasets (shape and type) of an HDF5 file, and the attributes of its root."""
    def describe(name: str, node) -> None:
        kind = f"dataset {node.shape} {node.dtype}" if isinstance(node, h5py.Dataset) else "group"
        print(f"{'  ' * name.count('/')}   {name.split('/')[-1]}: {kind}")

    with h5py.File(file) as content:
        print(f"\n   {file.name}, {file.stat().st_size:,} bytes")
        for name, value in content.attrs.items():  # the architecture is one of them, as JSON
            print(f"   attribute {name} = {str(value)[:90]}")
        content.visititems(describe)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=positive, default=20, help="at least 2 (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), help="(%(default)s)")
    arguments = parser.parse_args()
    if arguments.epochs < 2:
        parser.error("--epochs must be at least 2: one before the checkpoint, one after it")
    return arguments


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
