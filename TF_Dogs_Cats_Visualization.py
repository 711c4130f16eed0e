"""Lesson 9: how a picture changes on its way through the network of lesson 8, and where it looked.

A network says "cat". What has it made of the picture to get there, and which part of it decided?

You learn to read the output of each layer of a trained network, to count its zeros, and to draw
with Grad-CAM (Selvaraju et al. 2017) what speaks for a class.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow
  python TF_Dogs_Cats.py                                    # lesson 8 first: trains the network
  python TF_Dogs_Cats_Visualization.py                      # a random photograph
  python TF_Dogs_Cats_Visualization.py --image my_pet.jpg   # your own
  python TF_Dogs_Cats_Visualization.py --model outputs/TF_Human_horse/model.keras
      --classes horses humans --image me.jpg                # another network (all in one line)

Expect three figures after about ten seconds. In layers.png, look for the animal: its outlines are
plain in the first row, and gone in the last. In sparsity.png, more and more is zero from
convolution to convolution. In grad_cam.png, see whether the network looked at the animal, or at
what is behind it.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
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

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow.keras import layers

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
LESSON_8 = Path("outputs", "TF_Dogs_Cats", "model.keras")
KERAS_HOME = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
PHOTOGRAPHS = KERAS_HOME / "datasets/cats_and_dogs_filtered.zip/cats_and_dogs_filtered/validation"
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1, as in the training of these networks
COLUMNS = 16  # filters of each layer that the figure shows


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.mixed_precision.set_global_policy("float32")  # the saved layers keep their own

    # 1. Load the trained network, and a picture: of the size, and scaled, as in its training.
    model = load_network(arguments.model)
    classes = find_classes(arguments, model)
    file = arguments.image or choose_photograph(arguments.data_dir, arguments.seed)
    height, width = model.input_shape[1:3]
    picture = load_picture(file).resize((width, height), Image.Resampling.NEAREST)
    batch = np.float32([picture]) * RESCALE  # a batch of one picture
    print(f"{file} becomes a batch of one: {batch.shape}.")

    # 2. Build a second model from the same layers, with the same weights, but with an output after
    #    each convolution and each pooling. `layer.output` has no numbers yet: it stands for what
    #    the layer will compute, a map [height, width] for each of its filters.
    outputs = []
    names = []
    convolutions = 0
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            convolutions += 1
            outputs.append(layer.output)
            names.append(f"convolution {convolutions}")
        elif isinstance(layer, layers.MaxPooling2D):
            outputs.append(layer.output)
            names.append(f"pooling {convolutions}")
    look_inside = tf.keras.Model(model.inputs[0], outputs)
    all_maps = []
    for maps in look_inside.predict(batch, verbose=0):
        all_maps.append(np.float32(maps[0]))  # [height, width, filters]

    # 3. Count the zeros. A convolution ends with relu, which turns every negative value into 0:
    #    there the filter has not found its pattern. A filter that is 0 everywhere is called dead
    #    for this picture: it may respond to another. (Pooling keeps the largest of four values, so
    #    fewer of its values are zero.)
    zeros = []
    for name, maps in zip(names, all_maps):
        zero_share = np.mean(maps == 0)
        zeros.append(zero_share)
        strongest = maps.max(axis=(0, 1))  # the strongest response of each filter
        dead = np.sum(strongest == 0)
        print(name, maps.shape, f"{zero_share:.0%} zeros,", dead, "dead filters")
    draw_representations(picture, names, all_maps, output / "layers.png")
    draw_sparsity(names, zeros, output / "sparsity.png")

    # 4. Ask where it looked. Which parts of the picture speak for the most probable class, and
    #    which for the one that comes second? (Where one output serves two classes, what speaks for
    #    the second is exactly what speaks against the first.)
    probabilities = model.predict(batch, verbose=0)[0]
    if len(probabilities) == 1:  # that of label 1 alone
        second = probabilities[0]
        probabilities = np.array([1 - second, second])
    most_probable_first = np.argsort(-probabilities)
    heat_maps = {}
    for label in most_probable_first[:2]:
        answer = f"{classes[label]} ({probabilities[label]:.1%})"
        print(answer)
        heat_maps[answer] = grad_cam(model, batch, label)
    draw_heat(picture, heat_maps, output / "grad_cam.png")
    print(f"The results are in {output}.")
    plt.show()


def draw_representations(picture, names, all_maps, file):
    """Draw a picture, and below it a row for each layer with the maps of its first filters."""
    rows = 1 + len(all_maps)
    figure, axes = plt.subplots(rows, figsize=(10, 0.65 * rows + 1), layout="constrained",
                                height_ratios=[2.5] + [1] * len(all_maps))
    plt.setp(axes, xticks=[], yticks=[])
    axes[0].imshow(picture)
    axes[0].set_anchor("W")  # on the left, above the first filters
    for axis, name, maps in zip(axes[1:], names, all_maps):
        image = axis.imshow(join_maps(maps), cmap="inferno", interpolation="nearest",
                            vmin=0, vmax=1)
        axis.set_ylabel(f"{name}\n{maps.shape}", rotation=0, ha="right", va="center")
    add_key(image, axes, "zero", "strongest\nresponse\nof the filter")
    figure.savefig(file)


def join_maps(maps):
    """Return the maps [height, width, filters] of a layer's first filters in one row, 0 to 1.

    Each is divided by its largest value: zero stays zero, and the strongest response becomes 1.
    """
    maps = maps[..., :COLUMNS]
    maps = maps / np.maximum(maps.max(axis=(0, 1)), 1e-9)  # a dead filter must not divide by zero
    maps = np.pad(maps, [(0, 0), (0, 1), (0, 0)], constant_values=np.nan)  # a gap: stays white
    return np.hstack(np.moveaxis(maps, -1, 0))


def add_key(image, axes, low, high):
    """Say beside the axes what the darkest color, 0, and the brightest, 1, mean."""
    key = plt.colorbar(image, ax=axes, shrink=0.5, ticks=[0, 1], panchor=False)
    key.set_ticklabels([low, high])


def draw_sparsity(names, zeros, file):
    """Draw the share of zeros, 0 to 1, in the maps of each layer."""
    figure, axis = plt.subplots(figsize=(10, 4.5), layout="constrained")
    axis.barh(names, zeros)
    axis.invert_yaxis()  # the first layer on top
    axis.set_xlim(0, 1)
    axis.set(title="How much of each layer is zero for this picture", xlabel="share of zeros")
    figure.savefig(file)


def grad_cam(model, batch, label):
    """Return how much each place of a picture speaks for a class: [height, width], 0 or more.

    batch: one picture [1, height, width, 3], 0 to 1.
    """
    # Pass the picture from layer to layer, and keep the maps of the last convolution on the way.
    # The tape records how the scores are computed from them: a second model, as in step 2, would
    # give the maps alone. (The shapes are those of lesson 8.)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            last_convolution = layer
    last_layer = model.layers[-1]
    values = tf.constant(batch)
    with tf.GradientTape() as tape:
        for layer in model.layers[:-1]:
            values = layer(values)
            if layer is last_convolution:
                maps = values  # [1, 34, 34, 64]
                tape.watch(maps)

        # The score of a class is the last layer's sum before sigmoid or softmax, inputs times
        # weights plus bias, because a probability that has reached 1.0 does not change any more.
        features = tf.cast(values, tf.float32)  # 32 bits, like the last layer
        scores = features @ last_layer.kernel + last_layer.bias
        if scores.shape[1] == 1:  # one score for two classes: what is for label 1 is against 0
            scores = tf.concat([-scores, scores], axis=1)
        score = scores[0, label]

    # The gradient says how much the score grows as a value in a map grows. Its mean over the whole
    # map is the weight of the map: how much what this filter has found speaks for the class.
    gradients = tape.gradient(score, maps)
    weights = tf.reduce_mean(gradients, axis=[1, 2], keepdims=True)  # [1, 1, 1, 64]

    # The sum of all maps, each times its weight, without the places that speak against the class.
    heat = tf.reduce_sum(maps * weights, axis=-1, keepdims=True)
    heat = tf.nn.relu(heat)

    # Enlarge it to the size of the picture; from 34x34, it gets blurred.
    heat = tf.image.resize(heat, batch.shape[1:3])  # [1, height, width, 1]
    return heat[0, ..., 0].numpy()  # the only picture, the only channel


def draw_heat(picture, heat_maps, file):
    """Draw a picture, and again with each heat map over it: bright is what speaks for the class.

    heat_maps: {title: heat map [height, width]}. All have the same scale.
    """
    highest = 1e-9  # not 0: perhaps nothing speaks for any class
    for heat in heat_maps.values():
        highest = max(highest, heat.max())
    columns = 1 + len(heat_maps)
    figure, axes = plt.subplots(1, columns, figsize=(10, 3.3), layout="constrained")
    for axis in axes:
        axis.axis("off")
        axis.imshow(picture)
    axes[0].set_title("the picture")
    for axis, title in zip(axes[1:], heat_maps):
        axis.set_title(title)
        heat = heat_maps[title] / highest
        image = axis.imshow(heat, cmap="inferno", alpha=0.6, vmin=0, vmax=1)
    add_key(image, axes, "nothing, or\nagainst it", "most for\nthis class")
    figure.savefig(file)


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def load_network(file):
    """Return the network that was saved in `file`, if this lesson can look into it."""
    if not file.exists():
        sys.exit(f"There is no {file}. Run lesson 8, TF_Dogs_Cats.py, first.")
    model = tf.keras.models.load_model(file)
    is_chain = isinstance(model, tf.keras.Sequential) and model.input_shape[-1] == 3
    if not is_chain or layers.Conv2D not in [type(layer) for layer in model.layers]:
        sys.exit(f"{file} is no chain of layers with convolutions, for pictures in colour: choose "
                 "the network of lesson 5, 6, 8, 11 or 13 with --model.")
    return model


def find_classes(arguments, model):
    """Return the names of the classes: those of --classes, or of classes.txt, or lesson 8's."""
    names = arguments.classes or []
    saved = arguments.model.parent / "classes.txt"  # lesson 13 leaves it
    if not names and saved.exists():
        names = saved.read_text(encoding="utf-8").splitlines()
    elif not names and arguments.model == LESSON_8:
        names = ["cats", "dogs"]
    count = max(model.output_shape[1], 2)  # one output is enough for two classes
    if len(names) != count:
        sys.exit(f"{arguments.model} has {count} classes: name them with --classes, label 0 first.")
    return names


def choose_photograph(folder, seed):
    """Return a random picture, at any depth in `folder`, or of lesson 8's validation pictures."""
    folder = folder or PHOTOGRAPHS
    photographs = sorted(folder.rglob("*.jpg")) + sorted(folder.rglob("*.png"))
    if not photographs:
        sys.exit(f"There is no .jpg or .png picture in {folder}. Name one of yours with --image.")
    return random.Random(seed).choice(photographs)


def load_picture(file):
    """Return a picture in RGB, upright, and on white if it is transparent."""
    try:
        picture = Image.open(file)
        picture.draft("RGB", (1200, 1200))  # decodes a huge JPEG smaller, not below 1,200 pixels
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I"):  # 16 bits, 0 to 65,535
            picture = picture.convert("I").point(lambda value: value / 257).convert("L")
        if picture.has_transparency_data:
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return picture.convert("RGB")
    except Exception as error:  # Pillow raises many kinds
        raise OSError(f"{file} cannot be read as a picture ({error}). Lesson 10 finds all such "
                      "files in a folder.") from error


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, metavar="FILE", default=LESSON_8,
                        help="a trained network with convolutions (%(default)s)")
    parser.add_argument("--classes", nargs="+", metavar="NAME",
                        help="names of its classes: label 0, label 1, ... (lesson 8's: cats dogs)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="a picture of your own")
    parser.add_argument("--seed", type=int, help="the same number chooses the same random picture")
    parser.add_argument("--data-dir", type=Path, help="a folder with pictures, at any depth")
    parser.add_argument("--output-dir", type=Path, help="folder for the figures (%(default)s)",
                        default=Path("outputs", "TF_Dogs_Cats_Visualization"))
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (OSError, KeyboardInterrupt) as error:  # such as a file that is no picture
        sys.exit(str(error) or "Stopped.")
