"""Lesson 9: how a picture changes on its way through the network of lesson 8.

You learn to build a second model from the layers of a trained one, to read the output of each layer, and to count the
zeros: the deeper the convolution, the fewer the places where its filters respond.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow
  python TF_Dogs_Cats.py                                # lesson 8 first: it trains the network
  python TF_Dogs_Cats_Visualization.py                  # a random photograph, layer by layer
  python TF_Dogs_Cats_Visualization.py --image my_pet.jpg
  python TF_Dogs_Cats_Visualization.py --model outputs/TF_Human_horse/model.keras --image me.jpg

Expect two figures after about ten seconds. The script works with the networks of lessons 5, 6, 8, 11 and 13.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow"]
# ///

import argparse
import os
import random
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

RESCALE = 1 / 255  # pixels 0..255 become 0..1, as in the training of these networks
COLUMNS = 16  # filters of each layer that the figure shows


def main(arguments: argparse.Namespace) -> None:
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    try:
        model = tf.keras.models.load_model(arguments.model)
    except Exception as error:
        sys.exit(f"{error} Run lesson 8 first (python TF_Dogs_Cats.py), or choose another trained model with --model.")

    # A second model with the same layers and weights, but with an output after each convolution and each pooling.
    kinds = tf.keras.layers.Conv2D, tf.keras.layers.MaxPooling2D
    layers = [layer for layer in model.layers if isinstance(layer, kinds)]
    if len(layers) < 2 or model.input_shape[-1] != 3:
        sys.exit(f"{arguments.model} needs colour pictures and two layers that convolve or pool: choose another.")
    file = arguments.image or choose_photograph(arguments.data_dir, arguments.seed)
    # Resize the picture to the network's input by taking the nearest pixels, as in training.
    with Image.open(file) as photograph:
        upright = ImageOps.exif_transpose(photograph).convert("RGB")
        picture = np.asarray(upright.resize(model.input_shape[2:0:-1], Image.Resampling.NEAREST))
    look_inside = tf.keras.Model(model.inputs, [layer.output for layer in layers])
    outputs = look_inside.predict(picture[np.newaxis] * RESCALE, verbose=0)  # a batch of one picture
    maps = {layer.name: np.float32(output[0]) for layer, output in zip(layers, outputs)}  # [height, width, filters]

    # relu turns every negative value into 0: the filter has not found its pattern there. A filter that is 0 everywhere
    # is called dead, although it may respond to another picture.
    zeros = {name: float(np.mean(layer_maps == 0)) for name, layer_maps in maps.items()}
    dead = {name: int(np.sum(~layer_maps.any(axis=(0, 1)))) for name, layer_maps in maps.items()}
    print(f"{file} on its way through {arguments.model}")
    for name, layer_maps in maps.items():
        print(f"  {name:18} {str(layer_maps.shape):15} {zeros[name]:5.0%} zeros, dead filters: {dead[name]}")
    draw_representations(picture, maps, arguments.output_dir / "dog_intermediate representation.png")
    draw_sparsity(zeros, dead, arguments.output_dir / "sparsity.png")
    print(f"The figures are in {arguments.output_dir}.")
    plt.show()


def choose_photograph(folder: Path | None, seed: int | None) -> Path:
    """Return a random photograph from `folder` or its subfolders, by default from the download of lesson 8."""
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", "cats_and_dogs_filtered")
    photographs = sorted((folder or cache).rglob("*.[jJpP]*[gG]"))  # .jpg, .jpeg, .png, in capitals too
    if not photographs:
        sys.exit(f"There is no photograph in {folder or cache}: name a folder with --data-dir, or a file with --image.")
    return random.Random(seed).choice(photographs)


def draw_representations(picture: np.ndarray, maps: dict[str, np.ndarray], file: Path) -> None:
    """Draw `picture` [height, width, 3] and a row for each layer's maps [height, width, filters], scaled."""
    figure, axes = plt.subplots(len(maps) + 1, 1, figsize=(16, 1.3 * (len(maps) + 2)), layout="constrained",
                                height_ratios=[2] + [1] * len(maps), subplot_kw={"xticks": [], "yticks": []})
    axes[0].imshow(picture * RESCALE)
    for axis, (name, layer_maps) in zip(axes[1:], maps.items()):
        height, width, filters = layer_maps.shape
        strip = np.full((height, COLUMNS * width), np.nan)  # stays white where there are fewer filters than columns
        for column in range(min(COLUMNS, filters)):
            values = layer_maps[..., column]
            deviation = values.std() or 1  # makes weak responses visible; `or 1`: no division by 0
            strip[:, column * width:(column + 1) * width] = (values - values.mean()) / deviation if values.any() else -2
        axis.imshow(strip, cmap="viridis", vmin=-2, vmax=2, interpolation="nearest")
        for column in range(1, COLUMNS):
            axis.axvline(column * width - 0.5, color="white", linewidth=2)
        axis.set_ylabel(f"{name}\n{height} x {width} x {filters}", rotation=0, ha="right", va="center", fontsize=12)
    figure.suptitle(f"Layer by layer: the first {COLUMNS} filters of each", fontsize=16)
    figure.savefig(file)


def draw_sparsity(zeros: dict[str, float], dead: dict[str, int], file: Path) -> None:
    """Draw the share of zeros (0..1) in each layer's maps, with the number of dead filters beside it."""
    figure, axis = plt.subplots(figsize=(10, 1.5 + 0.4 * len(zeros)), layout="constrained")
    bars = axis.barh(list(zeros), list(zeros.values()))
    axis.bar_label(bars, [f"{zeros[name]:.0%}, {dead[name]} dead filters" for name in zeros], padding=4)
    axis.invert_yaxis()
    axis.set(title="How much of each layer is silent for this picture", xlabel="share of zeros", xlim=(0, 1.2))
    figure.savefig(file)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("outputs", "TF_Dogs_Cats", "model.keras"), metavar="FILE",
                        help="a trained network with convolutions (%(default)s)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="this picture instead of a random one")
    parser.add_argument("--seed", type=int, help="random seed: the same number chooses the same picture")
    parser.add_argument("--data-dir", type=Path, help="a folder with pictures, at any depth")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), help="(%(default)s)")
    return parser.parse_args()


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:  # no such file, an unreadable picture, a full disk, a protected folder
        sys.exit(str(error))
