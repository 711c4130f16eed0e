"""Lesson 3: what a convolution does to a picture - with NumPy alone, no network and no TensorFlow.

You learn to
  * slide a 3x3 filter over a picture: each pixel becomes the weighted sum of itself and its eight neighbours;
  * read a filter: which numbers find vertical edges, which sharpen, which blur, and when a weight must normalise it;
  * halve the picture with 2x2 max pooling, and see that what the filter found survives.

  python Convolutions_basic.py                                   # all named filters on a portrait that comes along
  python Convolutions_basic.py --image my.jpg                    # on your own picture
  python Convolutions_basic.py --filter -1 0 1 -2 0 2 -1 0 1     # a filter of your own, row by row

Expect two figures in about two seconds. The portrait of Grace Hopper (public domain) ships inside matplotlib, so
nothing is downloaded.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["numpy>=1.26,<3", "matplotlib>=3.9,<4", "pillow>=10.3,<14"]
# ///

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

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
LARGEST = 1024  # pixels: a larger picture is reduced to this width and height at most


def decimal_number(text: str) -> float:
    """Return `text` as a number between -1000 and 1000; anything else, nan included, is an argparse error."""
    if not -1000 <= float(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between -1000 and 1000")
    return float(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--image", type=Path, metavar="FILE", help="another picture than the portrait")
    add("--filter", type=decimal_number, nargs=9, metavar="N", help="nine numbers, row by row: a filter of your own")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
    return parser.parse_args(line)


if __name__ == "__main__":
    arguments = parse_arguments()  # before the slow imports: --help and a wrong flag answer at once
    sys.stdout.reconfigure(line_buffering=True)  # a line is seen at once, also through a pipe or in a log
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("\nStopped. The same command starts anew."))

try:
    import matplotlib.pyplot as plt
    import numpy as np
    from matplotlib import cbook
    from PIL import Image
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install numpy matplotlib pillow")


def load_grey(file: Path) -> np.ndarray:
    """Return a picture as grey values 0..255 [height, width]; exit when it cannot be read or is under 4x4 pixels."""
    try:
        with Image.open(file) as picture:
            picture.thumbnail((LARGEST, LARGEST))
            pixels = np.asarray(picture.convert("L"), dtype=float)
    except Exception as error:  # Pillow raises many kinds
        sys.exit(f"{file} is not a picture that can be read ({error}): name another one with --image.")
    if min(pixels.shape) < 4:
        sys.exit(f"{file} has {pixels.shape[1]}x{pixels.shape[0]} pixels, too few for a 3x3 filter and 2x2 pooling.")
    return pixels


def normalising_weight(kernel: np.ndarray) -> float:
    """Return the factor that keeps the brightness: 1 for a filter that sums to 0 or 1, otherwise 1 / sum."""
    total = kernel.sum()
    return 1.0 if np.isclose(total, 0) or np.isclose(total, 1) else 1 / total


def convolve_by_definition(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the filtered picture [height - 2, width - 2], not clipped: the definition, one multiplication at a time.

    As in every deep-learning library the filter is not mirrored first, as mathematicians would (cross-correlation).
    """
    height, width = pixels.shape
    result = np.zeros((height - 2, width - 2))
    for row in range(height - 2):
        for column in range(width - 2):
            for i in range(3):
                for j in range(3):
                    result[row, column] += kernel[i, j] * pixels[row + i, column + j]
    return result


def convolve(pixels: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the same as `convolve_by_definition`, hundreds of times as fast: all 3x3 windows at once."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels, kernel.shape)  # [height - 2, width - 2, 3, 3], no copy
    return np.einsum("hwij,ij->hw", windows, kernel)


def max_pool(pixels: np.ndarray) -> np.ndarray:
    """Return the largest value of each 2x2 square [height // 2, width // 2]; an odd last row or column is dropped."""
    height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
    return pixels[:height * 2, :width * 2].reshape(height, 2, width, 2).max(axis=(1, 3))


def draw_pictures(pictures: dict[str, np.ndarray], title: str, file: Path) -> None:
    """Draw grey pictures of 0..255 side by side, with name and size above each and pixels along its sides."""
    columns = 5
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 3.6 * rows), layout="constrained", squeeze=False)
    figure.suptitle(title, fontsize=16)
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, (name, pixels) in zip(axes.flat, pictures.items()):
        axis.set_visible(True)
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        axis.set_title(f"{name}\n{pixels.shape[1]} x {pixels.shape[0]}")
    figure.savefig(file, dpi=80)


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    original = load_grey(arguments.image or cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    filters = {name: np.array(rows, dtype=float) for name, rows in FILTERS.items()}
    if arguments.filter:
        filters["your own filter"] = np.array(arguments.filter).reshape(3, 3)

    filtered, facts = {"original": original}, {}
    for name, kernel in filters.items():
        weight = normalising_weight(kernel)
        result = convolve(original, kernel) * weight
        filtered[name] = result.clip(0, 255)  # a picture has no pixel darker than black or brighter than white
        facts[name] = {"sum": kernel.sum(), "weight": weight, "smallest": result.min(), "largest": result.max()}
        rows = " | ".join(" ".join(f"{value:g}" for value in row) for row in kernel)
        print(f"{name:22}  {rows:26}  sum {kernel.sum():g}, weight {weight:.3g}: "
              f"{result.min():.0f}..{result.max():.0f} before clipping")
    pooled = {name: max_pool(pixels) for name, pixels in filtered.items()}

    draw_pictures(filtered, "A 3x3 filter rewrites every pixel from its neighbourhood",
                  arguments.output_dir / "filters.png")
    draw_pictures(pooled, "After 2x2 max pooling: a quarter of the pixels, and what was found is still there",
                  arguments.output_dir / "pooled.png")
    metrics = {"lesson": Path(__file__).stem, "filters": facts, "size": original.shape[::-1], "pictures": 1,
               "seconds": time.perf_counter() - start, "arguments": vars(arguments)}
    (arguments.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2, default=str) + "\n")
    print(f"{len(filters)} filters in {metrics['seconds']:.1f} s; the figures are in {arguments.output_dir}")
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir names another.")
