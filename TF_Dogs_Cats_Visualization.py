"""Lesson 9: how a picture changes on its way through the network of lesson 8, and where it looked.

You learn to build a second model from the layers of a trained one, to read the output of each
layer, and to count its zeros. And you ask which parts of the picture decided, with Grad-CAM
(Selvaraju et al. 2017).

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3"
  python TF_Dogs_Cats.py                                    # lesson 8 first: trains the network
  python TF_Dogs_Cats_Visualization.py                      # a random photograph
  python TF_Dogs_Cats_Visualization.py --image my_pet.jpg   # your own
  python TF_Dogs_Cats_Visualization.py --model outputs/TF_Human_horse/model.keras --image me.jpg

Expect three figures after about ten seconds. In layers.png, look for the animal: its outlines are
plain in the first row, and gone in the last. In sparsity.png, more and more is zero from
convolution to convolution. In grad_cam.png, see whether the network looked at the animal, or at
what is behind it.

The last command is for another network. Its layers must form a single chain without branches, as
in lessons 5, 6, 8, 11 and 13.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3"]
# ///

import argparse
import contextlib
import os
import random
import socket
import sys
import tempfile
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
from PIL import Image, ImageOps, UnidentifiedImageError
from tensorflow.keras import layers

NAME = "TF_Dogs_Cats_Visualization"  # of this lesson
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1, as in the training of these networks
COLUMNS = 16  # filters of each layer that the figure shows


def main(arguments):
    output = arguments.output_dir
    set_up(seed=1)  # any seed: TensorFlow computes nothing random here
    output.mkdir(parents=True, exist_ok=True)

    # 1. Load the trained network, and a picture: of the size, and scaled, as in its training.
    if not arguments.model.exists():
        sys.exit(f"There is no {arguments.model}. Run lesson 8 first (python TF_Dogs_Cats.py), or "
                 "choose another trained network with --model.")
    model = load_network(arguments.model)
    classes = read_classes(arguments.model.parent, model)
    file = arguments.image
    if file is None:
        file = choose_photograph(arguments.data_dir, arguments.seed)
    picture = load_picture(file, model.input_shape[1:])
    batch = picture[np.newaxis] * np.float32(RESCALE)  # a batch of one picture
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
    if convolutions == 0 or not isinstance(model, tf.keras.Sequential):
        sys.exit(f"{arguments.model} is not a single chain of layers with convolutions: choose the "
                 "network of lesson 5, 6, 8, 11 or 13 with --model.")
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
        name = classes[label]
        probability = probabilities[label]
        answer = f"{name} ({probability:.1%})"
        print(answer)
        heat_maps[answer] = grad_cam(model, batch, label)
    draw_heat(picture, heat_maps, output / "grad_cam.png")
    print(f"The figures are in {output}.")
    plt.show()


def choose_photograph(folder, seed):
    """Return a random picture from `folder`, by default a validation picture of lesson 8."""
    if folder is None:
        folder = find_cache() / "cats_and_dogs_filtered" / "validation"
    photographs = find_pictures(folder)
    if not photographs:
        sys.exit(f"There is no picture in {folder}. Name a folder with --data-dir, or a file with "
                 "--image.")
    return random.Random(seed).choice(photographs)


def draw_representations(picture, names, all_maps, file):
    """Draw a picture, and below it a row for each layer with the maps of its first filters."""
    count = len(all_maps)
    ratios = [2.5] + [1] * count  # the picture gets more space
    figure, axes = plt.subplots(count + 1, 1, height_ratios=ratios)
    figure.set_size_inches(15, 1.4 * count + 1.4)
    plt.setp(axes, xticks=[], yticks=[])
    axes[0].imshow(picture)
    axes[0].set_anchor("W")  # on the left, above the first filters
    for axis, name, maps in zip(axes[1:], names, all_maps):
        strip = join_maps(maps)
        image = axis.imshow(strip, cmap="inferno", interpolation="nearest", vmin=0, vmax=1)
        text = f"{name}\n{maps.shape}"
        axis.set_ylabel(text, rotation=0, ha="right", va="center")
    add_key(image, axes, "zero", "strongest\nresponse\nof the filter")
    figure.savefig(file)


def join_maps(maps):
    """Return the maps [height, width, filters] of a layer's first filters in one row, 0 to 1.

    Each is divided by its largest value: zero stays zero, and the strongest response becomes 1.
    """
    strips = []
    for column in range(min(COLUMNS, maps.shape[-1])):
        values = maps[..., column]
        largest = max(values.max(), 1e-9)  # a dead filter must not divide by zero
        strips.append(values / largest)
        gap = np.full((len(maps), 1), np.nan)  # stays white
        strips.append(gap)
    return np.hstack(strips)


def add_key(image, axes, low, high):
    """Say beside the axes what the darkest color, 0, and the brightest, 1, mean."""
    key = plt.colorbar(image, ax=axes, shrink=0.5, ticks=[0, 1], panchor=False)
    key.set_ticklabels([low, high])


def draw_sparsity(names, zeros, file):
    """Draw the share of zeros, 0 to 1, in the maps of each layer."""
    figure, axis = plt.subplots()
    rows = range(len(zeros))
    axis.barh(rows, zeros)
    axis.set_yticks(rows, names)
    axis.invert_yaxis()  # the first layer on top
    axis.set_xlim(0, 1)
    axis.set_title("How much of each layer is zero for this picture")
    axis.set_xlabel("share of zeros")
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
    heat = heat[0, ..., 0]  # the only picture, the only channel
    return heat.numpy()


def draw_heat(picture, heat_maps, file):
    """Draw a picture, and again with each heat map over it: bright is what speaks for the class.

    heat_maps: {title: heat map [height, width]}. All have the same scale.
    """
    highest = 1e-9  # not 0: perhaps nothing speaks for any class
    for heat in heat_maps.values():
        highest = max(highest, heat.max())
    columns = 1 + len(heat_maps)
    figure, axes = plt.subplots(1, columns, figsize=(13, 4.2))
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


# Getting the data


def find_cache():
    """Return the folder in which Keras, too, keeps the datasets that it downloads."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"], "datasets")
    try:
        return Path.home() / ".keras" / "datasets"
    except RuntimeError:  # in a container, a user may have no home
        return Path(tempfile.gettempdir(), ".keras", "datasets")


def is_hidden(name):
    """Return whether the system or a program, such as Jupyter, keeps a file for itself."""
    return name.startswith(".") or name == "__MACOSX"


def is_picture(file):
    """Return whether the name of a file ends as one of those that Keras's flows read."""
    return file.suffix.lower() in [".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff"]


def list_files(folder):
    """Return all files in `folder` and its subfolders, sorted, except hidden ones."""
    files = []
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(map(is_hidden, file.relative_to(folder).parts)):
            files.append(file)
    return files


def find_pictures(folder):
    """Return the pictures in `folder` and its subfolders, sorted, and say what is left out."""
    pictures = []
    skipped = []
    for file in list_files(folder):
        if is_picture(file):
            pictures.append(file)
        else:
            skipped.append(file.suffix or file.name)
    if skipped:
        endings = ", ".join(sorted(set(skipped)))
        noun = "file" if len(skipped) == 1 else "files"
        print(f"Not used in {folder}: {len(skipped)} {noun} that Keras does not read as a picture "
              f"({endings}).")
    return pictures


# Reading pictures


def load_picture(file, shape, resampling="nearest", crop=False):
    """Return a picture as bytes [height, width, channels] of the given shape.

    It is stretched to that shape, or, with `crop`, its sides are cut off until it fits.
    """
    height, width, channels = shape
    method = Image.Resampling[resampling.upper()]
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    picture = open_picture(file).convert(mode)
    if crop:
        picture = ImageOps.fit(picture, (width, height), method)
    else:
        picture = picture.resize((width, height), method)
    return np.asarray(picture).reshape(shape)


def open_picture(file):
    """Return the picture in `file` as an RGB picture of 8 bits, upright, on white paper.

    Raises OSError, with a sentence that names the file, if it cannot be read.
    """
    if Path(file).is_dir():
        raise OSError(f"{file} is a folder, not a picture.")
    if not Path(file).exists():
        raise OSError(f"There is no file {file}.")
    try:
        with open(file, "rb") as stream:
            picture = Image.open(stream)
            picture.load()
        with contextlib.suppress(Exception):  # an Exif header that cannot be read: no rotation
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16 bits, black 0 and white 65,535
            pixels = np.asarray(picture)
            if pixels.min() < 0 or pixels.max() > 65535:
                raise ValueError("it has more than 16 bits a pixel")
            transparent = pixels == picture.info.get("transparency", -1)
            if pixels.max() > 255:
                pixels = pixels // 257
            pixels = np.where(transparent, 255, pixels)  # white paper
            picture = Image.fromarray(np.uint8(pixels))
        if picture.mode == "F":
            raise ValueError("its pixels are not whole numbers")
        if picture.has_transparency_data:
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return picture.convert("RGB")
    except UnidentifiedImageError:
        reason = "it is empty, or its format is unknown"
    except Image.DecompressionBombError:
        reason = "it has too many pixels: make it smaller"
    except Exception as error:  # Pillow raises many kinds
        reason = str(error)
    raise OSError(f"{file} cannot be read as a picture ({reason}). Save it as JPEG or PNG, or "
                  "leave it out.")


# Saving a network, and using it


def read_classes(folder, model):
    """Return the names of the classes that were saved beside a network."""
    file = folder / "classes.txt"
    if not file.exists():
        sys.exit(f"There is no {file} with the names of the classes. Train again.")
    classes = file.read_text(encoding="utf-8").splitlines()
    if len(classes) != max(model.output_shape[1], 2):  # one output is enough for two classes
        sys.exit(f"{file} is of another run than the network beside it. Train again.")
    return classes


def load_network(file):
    """Return the network that was saved in `file`."""
    try:
        return tf.keras.models.load_model(file)
    except Exception as error:
        sys.exit(f"{file} cannot be loaded as a network ({error}). Train again.")


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


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)
    parser.add_argument("--model", type=path, metavar="FILE",
                        default=Path("outputs", "TF_Dogs_Cats", "model.keras"),
                        help="a trained network with convolutions (%(default)s)")
    parser.add_argument("--image", type=path, metavar="FILE",
                        help="this picture instead of a random one")
    parser.add_argument("--seed", type=positive,
                        help="the same number chooses the same random picture")
    parser.add_argument("--data-dir", type=path, help="a folder with pictures, at any depth")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for the figures (%(default)s)")
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
