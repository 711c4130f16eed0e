"""Lesson 3: what a convolution does to a picture - with NumPy alone, no network and no TensorFlow.

A convolutional network looks at a picture through filters of nine numbers. What can they find?

You learn to slide a 3x3 filter over a picture, to see what it responds to, to normalise it, and to
halve the width and the height with 2x2 max pooling.

  python -m pip install numpy matplotlib pillow
  python Convolutions_basic.py                                 # all named filters, on a portrait
  python Convolutions_basic.py --image my.jpg                  # on your own picture
  python Convolutions_basic.py --filter -1 0 1 -2 0 2 -1 0 1   # a filter of your own, row by row

Then turn that filter by 90 degrees: --filter -1 -2 -1 0 0 0 1 2 1. What does it find?

Expect two figures after a few seconds. The portrait, of Grace Hopper, comes with matplotlib:
nothing is downloaded.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy", "matplotlib", "pillow"]
# ///

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook
from PIL import Image, ImageOps

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
LARGEST = 1024  # a larger picture is shrunk to this width or height
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


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)

    # 1. Open the picture in grey: an array [height, width] of numbers, 0 (black) to 255.
    file = arguments.image or cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    picture = load_picture(file).convert("L")
    if not arguments.image:
        picture = picture.crop((110, 10, 430, 410))  # the head is enough
    picture.thumbnail((LARGEST, LARGEST))
    original = np.asarray(picture, dtype=float)
    print(f"{file} is an array {original.shape}.")

    # 2. Apply each filter. `convolve_by_definition` says what that means, in four loops; `convolve`
    #    gives the same numbers much faster, and a corner of the picture is the proof. A factor
    #    keeps the brightness of the picture. A screen shows nothing darker than black or brighter
    #    than white, so what is below 0 or above 255 is clipped.
    corner = original[:21, :21]
    emboss = np.array(FILTERS["emboss"])
    assert np.allclose(convolve(corner, emboss), convolve_by_definition(corner, emboss))
    filters = dict(FILTERS)
    if arguments.filter:
        filters["your own filter"] = np.reshape(arguments.filter, (3, 3))
    pictures = {"original": original}
    for name, rows in filters.items():
        kernel = np.array(rows, dtype=float)
        factor = find_factor(kernel)
        result = convolve(original, kernel) * factor
        pictures[name] = result.clip(0, 255)
        print(f"{name:23} sum {kernel.sum():2g}, factor {factor:.3f}: "
              f"values of {result.min():5.0f} to {result.max():4.0f} before clipping")
    draw_pictures(pictures, "A picture, and what filters make of it", output / "filters.png")

    # 3. Pool. The largest of four values stays, so what a filter has found is still there, in a
    #    quarter of the pixels. Here, too, there is a definition, and a faster form.
    assert np.allclose(max_pool(corner), max_pool_by_definition(corner))
    pooled = {}
    for name, pixels in pictures.items():
        pooled[name] = max_pool(pixels)
    draw_pictures(pooled, "The same after 2x2 max pooling", output / "pooled.png")
    print(f"The results are in {output}.")
    plt.show()


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


def find_factor(kernel):
    """Return the factor that makes a filter sum to 1, which keeps the brightness of a picture.

    It is 1 if the filter sums to 1 already, or to 0: then it shows only changes.
    """
    total = kernel.sum()
    if np.isclose(total, 0) or np.isclose(total, 1):
        return 1.0
    return 1 / total


def max_pool_by_definition(pixels):
    """Return the largest of each 2x2 block [height // 2, width // 2], without an odd last row."""
    height = pixels.shape[0] // 2
    width = pixels.shape[1] // 2
    result = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            block = pixels[2 * row:2 * row + 2, 2 * column:2 * column + 2]
            result[row, column] = block.max()
    return result


def max_pool(pixels):
    """Return the same as `max_pool_by_definition`, much faster: NumPy does the loops."""
    height = pixels.shape[0] // 2
    width = pixels.shape[1] // 2
    even = pixels[:height * 2, :width * 2]
    blocks = even.reshape(height, 2, width, 2)  # which block, which row in it, and so for columns
    return blocks.max(axis=(1, 3))


def draw_pictures(pictures, title, file):
    """Draw grey pictures [height, width], 0 to 255, with their names and axes in pixels."""
    figure, axes = plt.subplots(2, 5, figsize=(10, 6), layout="constrained")
    figure.suptitle(title)
    for axis, (name, pixels) in zip(axes.flat, pictures.items()):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(name.replace("show edges ", "show edges\n"))
    for axis in axes.flat[len(pictures):]:
        axis.axis("off")
    figure.savefig(file)


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


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
    parser.add_argument("--image", type=Path, metavar="FILE", help="a picture of your own")
    parser.add_argument("--filter", type=float, nargs=9, metavar="N", help="a filter of your own")
    parser.add_argument("--output-dir", type=Path, help="folder for the figures (%(default)s)",
                        default=Path("outputs", "Convolutions_basic"))
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (OSError, KeyboardInterrupt) as error:  # such as a file that is no picture
        sys.exit(str(error) or "Stopped.")
