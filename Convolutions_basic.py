"""Lesson 3: what a convolution does to a picture - with NumPy alone, no network and no TensorFlow.

You learn to slide a 3x3 filter over a picture, to see what it responds to, to normalise it, and to
halve the width and the height with 2x2 max pooling.

  python -m pip install numpy matplotlib "pillow>=10.3"
  python Convolutions_basic.py                                 # all named filters, on a portrait
  python Convolutions_basic.py --image my.jpg                  # on your own picture
  python Convolutions_basic.py --filter -1 0 1 -2 0 2 -1 0 1   # a filter of your own, row by row

Expect two figures after a few seconds. The portrait, of Grace Hopper, comes with matplotlib:
nothing is downloaded.

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy", "matplotlib", "pillow>=10.3"]
# ///

import argparse
import contextlib
import os
import sys
from pathlib import Path

if os.environ.get("MPLBACKEND", "").startswith("module:") and "ipykernel" not in sys.modules:
    del os.environ["MPLBACKEND"]  # set by a notebook, and of use only inside it

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image, ImageOps, UnidentifiedImageError

FILTERS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "vertical edges": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "horizontal edges": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "Laplacian": [[1, 1, 1], [1, -8, 1], [1, 1, 1]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "blur": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "show edges excessively": [[1, 1, 1], [1, -7, 1], [1, 1, 1]],
}


def convolve_by_definition(pixels, kernel):
    """Return the filtered picture [height - 2, width - 2]: the definition, term by term.

    pixels: a grey picture [height, width]. kernel: the nine numbers of the filter [3, 3].
    """
    height, width = pixels.shape
    result = np.zeros((height - 2, width - 2))  # pixels at the border lack neighbours on one side
    for row in range(height - 2):
        for column in range(width - 2):
            for i in range(3):
                for j in range(3):
                    result[row, column] += kernel[i, j] * pixels[row + i, column + j]
    return result


def convolve(pixels, kernel):
    """Return the same as `convolve_by_definition`, much faster: NumPy does two of the loops."""
    height, width = pixels.shape
    result = np.zeros((height - 2, width - 2))
    for i in range(3):
        for j in range(3):
            shifted = pixels[i:i + height - 2, j:j + width - 2]  # one neighbour of every pixel
            result += kernel[i, j] * shifted
    return result


def normalising_weight(kernel):
    """Return the factor that makes a filter sum to 1, which keeps the brightness of a picture.

    It is 1 if the filter sums to 1 already, or to 0: then it shows only changes.
    """
    total = kernel.sum()
    if np.isclose(total, 0) or np.isclose(total, 1):
        return 1.0
    return 1 / total


def max_pool(pixels):
    """Return the largest of each 2x2 block [height // 2, width // 2], without an odd last row."""
    height = pixels.shape[0] // 2
    width = pixels.shape[1] // 2
    even = pixels[:height * 2, :width * 2]
    blocks = even.reshape(height, 2, width, 2)
    return blocks.max(axis=(1, 3))


def main(arguments):
    output = arguments.output_dir
    prepare_figures()
    output.mkdir(parents=True, exist_ok=True)

    # 1. Open the picture in grey: an array [height, width] of numbers, 0 (black) to 255.
    file = arguments.image or cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture = open_picture(file).convert("L")
    if not arguments.image:
        picture = picture.crop((110, 10, 430, 410))  # the head is enough
    picture.thumbnail((1024, 1024))  # shrinks a larger picture
    original = np.asarray(picture, dtype=float)
    if min(original.shape) < 4:
        sys.exit(f"{file} has only {picture.width} x {picture.height} pixels, at most 1024 wide "
                 "and high: too few for a filter. Choose another picture.")
    print(f"{file} is an array {original.shape}.")

    # 2. Apply each filter. Its weight keeps the brightness. A screen shows nothing darker than
    #    black or brighter than white, so what is below 0 or above 255 is clipped.
    filters = dict(FILTERS)
    if arguments.filter:
        filters["your own filter"] = np.reshape(arguments.filter, (3, 3))
    pictures = {"original": original}
    for name, rows in filters.items():
        kernel = np.array(rows, dtype=float)
        weight = normalising_weight(kernel)
        result = convolve(original, kernel) * weight
        pictures[name] = result.clip(0, 255)
        print(f"{name:23} sum {kernel.sum():2g}, weight {weight:.3f}: "
              f"values of {result.min():5.0f} to {result.max():4.0f} before clipping")
    draw_pictures(pictures, "A picture, and what filters make of it", output / "filters.png")

    # 3. Pool. The largest of four values stays, so what a filter has found is still there, in a
    #    quarter of the pixels.
    pooled = {}
    for name, pixels in pictures.items():
        pooled[name] = max_pool(pixels)
    draw_pictures(pooled, "The same after 2x2 max pooling", output / "pooled.png")
    print(f"The figures are in {output}.")
    plt.show()


def draw_pictures(pictures, title, file):
    """Draw grey pictures [height, width], 0 to 255, with their names and axes in pixels."""
    figure, axes = plt.subplots(2, 5, figsize=(14, 8))
    figure.suptitle(title)
    for axis, (name, pixels) in zip(axes.flat, pictures.items()):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(name.replace("show edges ", "show edges\n"))
    for axis in axes.flat[len(pictures):]:
        axis.axis("off")
    figure.savefig(file)


# The lesson ends here. What follows is tools, which need not be read to understand it. Those that
# several lessons need are the same, to the letter, in all of them.
# --------------------------------------------------------------------------------------------------


# Setting up


def prepare_figures():
    """Set the size of all text in figures, and let matplotlib arrange what is in them."""
    plt.rcParams["font.size"] = 14
    plt.rcParams["figure.figsize"] = (12, 5.4)  # inches
    plt.rcParams["figure.constrained_layout.use"] = True
    plt.rcParams["text.parse_math"] = False


# Reading pictures


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


# Flags


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
    parser.add_argument("--image", type=path, metavar="FILE",
                        help="a picture of your own instead of the portrait")
    parser.add_argument("--filter", type=float, nargs=9, metavar="N",
                        help="nine numbers, row by row: a filter of your own")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", "Convolutions_basic"),
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
