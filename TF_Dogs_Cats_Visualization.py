"""Lesson 9: how a picture changes on its way through the network of lesson 8.

You learn to
  * build a second model that ends in the middle of a trained one, layer by layer;
  * read its answers: the first layers still show the animal, the last ones only say where a feature is;
  * count the silence: the deeper the layer, the more zeros, and some filters never answer (dead filters).

  python TF_Dogs_Cats.py                                # lesson 8 first: it trains the network
  python TF_Dogs_Cats_Visualization.py                  # a random photograph on its way through
  python TF_Dogs_Cats_Visualization.py --image my_pet.jpg
  python TF_Dogs_Cats_Visualization.py --model outputs/TF_Human_horse/model.keras --image horse.png

Expect two figures in ten seconds. It works for the networks of lessons 5, 6, 8, 11, 12 and 13, and for any other Keras
file with convolutions that takes pictures of 0..1.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "numpy>=1.26,<3", "matplotlib>=3.9,<4"]
# ///

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff")
RESCALE = 1 / 255  # pixels 0..255 become 0..1, as the networks were trained
MOST_ROWS = 10  # layers in the figure; of a deeper network it shows every so many


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", type=Path, default=Path("outputs", "TF_Dogs_Cats", "model.keras"), metavar="FILE",
        help="any trained network with convolutions (%(default)s)")
    add("--image", type=Path, metavar="FILE", help="this picture, not a random one of the set")
    add("--filters", type=whole_number, default=16, metavar="N", help="at most N filters of each layer (%(default)s)")
    add("--seed", type=lambda text: whole_number(text, 0), metavar="N", help="the same random picture again")
    add("--data-dir", type=Path, default=CACHE / "cats_and_dogs_filtered", metavar="DIR",
        help="folder with pictures, at any depth, to take a random one from (what lesson 8 downloaded)")
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


def load_model(file: Path) -> tf.keras.Model:
    """Return the trained model in `file`; exit when there is none or when it takes no pictures."""
    if not file.is_file():
        sys.exit(f"{file} is not there: run lesson 8 first (python TF_Dogs_Cats.py), or name a model with --model.")
    try:
        model = tf.keras.models.load_model(file)  # in safe mode: a file that brings its own code is refused
    except Exception as error:
        sys.exit(f"{file} cannot be loaded, train again or name another --model ({str(error).splitlines()[0]})")
    if len(model.inputs) != 1 or len(model.input_shape) != 4 or not layers_to_show(model):
        sys.exit(f"{file} has no convolutions, or takes no pictures but {model.input_shape}: name another --model.")
    return model


def layers_to_show(model: tf.keras.Model) -> list:
    """Return the convolution and pooling layers of `model` whose answers are pictures, in their order."""
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.MaxPooling2D, tf.keras.layers.AveragePooling2D)
    return [layer for layer in model.layers if isinstance(layer, kinds) and None not in layer.output.shape[1:]]


def load_picture(file: Path, shape: tuple) -> np.ndarray:
    """Return the picture in `file` as the network knows it: [1, *shape] of 0..1; exit when it cannot be read."""
    mode = "rgb" if shape[2] == 3 else "grayscale"
    try:
        picture = tf.keras.utils.load_img(file, target_size=shape[:2], color_mode=mode)
    except Exception as error:
        sys.exit(f"{file} is not a picture that can be read ({error}): name another one with --image.")
    return tf.keras.utils.img_to_array(picture)[np.newaxis] * RESCALE


def draw_representations(picture: np.ndarray, answers: dict, columns: int, title: str, file: Path) -> None:
    """Draw `picture` [height, width, channels], and a row of filters for each layer's answer [height, width, filters].

    Each filter's answer is scaled to its own mean and deviation, so that weak ones are seen as well.
    """
    figure, axes = plt.subplots(len(answers) + 1, 1, figsize=(16, 1.25 * (len(answers) + 2.4)), layout="constrained",
                                height_ratios=[2.2] + [1] * len(answers))
    figure.suptitle(title, fontsize=16)
    axes[0].imshow(picture.squeeze(), cmap="gray")
    axes[0].axis("off")
    for axis, (name, answer) in zip(axes[1:], answers.items()):
        height, width, filters = answer.shape
        strip = np.full((height, columns * width), np.nan)  # empty where the layer has fewer filters than columns
        for column in range(min(columns, filters)):
            values = answer[..., column]
            deviation = values.std()  # 0 for a dead filter: it stays as dark as an answer can be
            strip[:, column * width:(column + 1) * width] = (values - values.mean()) / deviation if deviation else -2
        axis.imshow(strip, cmap="viridis", vmin=-2, vmax=2, aspect="equal", interpolation="nearest")
        axis.set_xticks(np.arange(1, columns) * width - 0.5, [])
        axis.set_yticks([])
        axis.grid(axis="x", color="white", linewidth=2)
        shown = f"{columns} of {filters}" if filters > columns else f"all {filters}"
        axis.set_ylabel(f"{name}\n{height} x {width} x {filters}\n{shown} filters", rotation=0, ha="right", va="center")
    figure.savefig(file, dpi=80)


def draw_sparsity(zeros: dict[str, float], dead: dict[str, int], file: Path) -> None:
    """Draw the share of zeros (0..1) in each layer's answer, with the number of dead filters beside it."""
    figure, axis = plt.subplots(figsize=(10, 1.5 + 0.35 * len(zeros)), layout="constrained")
    bars = axis.barh(list(zeros), list(zeros.values()))
    axis.bar_label(bars, [f"{zeros[name]:.0%}, {dead[name]} dead" for name in zeros], padding=4)
    axis.invert_yaxis()
    axis.set(title="How much of each layer is silent for this picture", xlabel="share of zeros", xlim=(0, 1.15))
    figure.savefig(file, dpi=100)


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    model = load_model(arguments.model)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    if not arguments.image:
        pictures = sorted(file for file in arguments.data_dir.rglob("*") if file.suffix.lower() in SUFFIXES)
        if not pictures:
            sys.exit(f"No pictures in {arguments.data_dir}: run lesson 8 first, or name one with --image.")
        arguments.image = random.Random(arguments.seed).choice(pictures)
    picture = load_picture(arguments.image, model.input_shape[1:])

    layers = layers_to_show(model)
    look_inside = tf.keras.Model(model.inputs, [layer.output for layer in layers])  # the same network, cut everywhere
    outputs = look_inside.predict(picture, verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]  # Keras unpacks a list of one
    answers = {layer.name: np.float32(output[0]) for layer, output in zip(layers, outputs)}  # were bfloat16 with --fast
    zeros = {name: float(np.mean(answer == 0)) for name, answer in answers.items()}
    dead = {name: int(np.sum(answer.std(axis=(0, 1)) == 0)) for name, answer in answers.items()}
    print(f"{arguments.image} on its way through {arguments.model}")
    for name, answer in answers.items():
        shape = " x ".join(map(str, answer.shape))
        print(f"  {name:20} {shape:15} {zeros[name]:6.1%} zeros, {dead[name]} dead filters")

    rows = list(answers)
    if len(rows) > MOST_ROWS:
        rows = [rows[index] for index in np.linspace(0, len(rows) - 1, MOST_ROWS).round().astype(int)]
        print(f"The figure shows {MOST_ROWS} of the {len(answers)} layers, from the first to the last.")
    draw_representations(picture[0], {name: answers[name] for name in rows}, arguments.filters,
                         f"{arguments.image.name}, layer by layer (an all dark filter is dead)",
                         arguments.output_dir / "dog_intermediate representation.png")
    draw_sparsity({name: zeros[name] for name in rows}, {name: dead[name] for name in rows},
                  arguments.output_dir / "sparsity.png")
    metrics = {"lesson": Path(__file__).stem, "share_of_zeros": zeros, "dead_filters": dead, "pictures": 1,
               "seconds": time.perf_counter() - start, "seed": arguments.seed, "arguments": vars(arguments),
               "tensorflow": tf.__version__, "keras": tf.keras.__version__}
    (arguments.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2, default=str) + "\n")
    convolutions = sum(dead[layer.name] for layer in layers if isinstance(layer, tf.keras.layers.Conv2D))
    print(f"{convolutions} filters of the convolutions are dead for this picture; figures: {arguments.output_dir}")
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir names another.")
