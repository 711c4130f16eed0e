"""Lesson 3: what a convolution does to a picture - with NumPy alone, no network and no TensorFlow.

You learn to slide a 3x3 filter over a picture, to see what it looks for, to normalise it, and to halve the width
and height with 2x2 max pooling.

  python -m pip install numpy matplotlib pillow
  python Convolutions_basic.py                                   # all named filters, on a portrait that is bundled
  python Convolutions_basic.py --image my.jpg                    # on your own picture
  python Convolutions_basic.py --filter -1 0 1 -2 0 2 -1 0 1     # a filter of your own, row by row

Expect two figures after a few seconds. The portrait, of Grace Hopper, comes with matplotlib: nothing is downloaded.
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

FILTERS = {
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "vertical edges": [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
    "horizontal edges": [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
    "Laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "blur": [[1, 1, 1], [1, 1, 1], [1, 1, 1]],
    "show edges excessively": [[1, 1, 1], [1, -7, 1], [1, 1, 1]],
}


def convolve_by_definition(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the filtered picture [height - 2, width - 2]: the definition, term by term."""
    height, width = pixels.shape
    result = np.zeros((height - 2, width - 2))  # the pixels at the border have no neighbours on one side
    for row in range(height - 2):
        for column in range(width - 2):
            for i in range(3):
                for j in range(3):
                    result[row, column] += kernel[i, j] * pixels[row + i, column + j]
    return result


def convolve(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the same as `convolve_by_definition`, over a hundred times as fast: NumPy does the loops."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, kernel.shape)  # [height - 2, width - 2, 3, 3], no copy
    return np.einsum("hwij,ij->hw", windows, kernel)


def normalising_weight(kernel: np.ndarray) -> float:
    """Return the factor that makes a filter sum to 1, which keeps the brightness; 1 if it sums to 0 or 1 already."""
    total = kernel.sum()
    return 1.0 if np.isclose(total, 0) or np.isclose(total, 1) else 1 / total


def max_pool(pixels: np.ndarray) -> np.ndarray:
    """Return the largest value of each 2x2 square [height // 2, width // 2]; an odd last row or column is dropped."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    return pixels[:height * 2, :width * 2].reshape(height, 2, width, 2).max(axis=(1, 3))


def main(arguments: argparse.Namespace) -> None:
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    with Image.open(arguments.image or cbook.get_sample_data("grace_hopper.jpg")) as picture:
        picture.thumbnail((1024, 1024))  # shrinks a larger picture to fit
        original = np.asarray(ImageOps.exif_transpose(picture).convert("L"), dtype=float)  # grey, 0..255, upright
    filters = dict(FILTERS)
    if arguments.filter:
        filters["your own filter"] = np.reshape(arguments.filter, (3, 3))
    pictures = {"original": original}
    for name, rows in filters.items():
        kernel = np.array(rows, dtype=float)
        result = convolve(original, kernel) * normalising_weight(kernel)
        pictures[name] = result.clip(0, 255)  # a screen shows nothing darker than black or brighter than white
        print(f"{name:23} sum {kernel.sum():2g}, weight {normalising_weight(kernel):.3f}: "
              f"values of {result.min():5.0f} to {result.max():4.0f} before clipping")

    # Pooling keeps the largest of four values, so what a filter has found is still there in a quarter of the pixels.
    draw_pictures(pictures, "Original and filtered pictures", arguments.output_dir / "filters.png")
    draw_pictures({name: max_pool(pixels) for name, pixels in pictures.items()}, "After 2x2 max pooling",
                  arguments.output_dir / "pooled.png")
    print(f"The figures are in {arguments.output_dir}.")
    plt.show()


def draw_pictures(pictures: dict[str, np.ndarray], title: str, file: Path) -> None:
    """Draw greyscale pictures (0..255) side by side, with name and size above each and axes in pixels."""
    figure, axes = plt.subplots(2, 5, figsize=(15, 8), layout="constrained")
    figure.suptitle(title, fontsize=18)
    for axis, (name, pixels) in zip(axes.flat, pictures.items()):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{name}\n{pixels.shape[1]} x {pixels.shape[0]}")
    for axis in axes.flat[len(pictures):]:
        axis.axis("off")
    figure.savefig(file)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, metavar="FILE", help="a picture to use instead of the portrait")
    parser.add_argument("--filter", type=float, nargs=9, metavar="N", help="nine numbers, row by row: your own filter")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", "Convolutions_basic"), help="(%(default)s)")
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
