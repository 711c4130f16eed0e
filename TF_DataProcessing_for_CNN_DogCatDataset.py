"""Lesson 10: from a raw archive to a clean split - 25,000 photographs of dogs and cats.

You learn to open every file before you train on it, because some are empty, not pictures, or cut off; to divide the
rest at random into training and testing; and to lay out the folders as `flow_from_directory` expects them.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow scipy
  python TF_DataProcessing_for_CNN_DogCatDataset.py              # 90% for training
  python TF_DataProcessing_for_CNN_DogCatDataset.py --split 0.8 --output-dir outputs/split_80
  python TF_Dogs_Cats.py --data-dir outputs/TF_DataProcessing_for_CNN_DogCatDataset --output-dir outputs/full_set

Expect a few minutes, mostly to download 825 MB once. The originals are never changed; a second run adds nothing.
The photographs are part of the Asirra dataset (Microsoft Research, Petfinder.com).
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow", "scipy"]
# ///

import argparse
import os
import random
import shutil
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides TensorFlow's log; 0 shows all of it

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image

URL = ("https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
       "kagglecatsanddogs_5340.zip")
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
FOLDERS = {"Cat": "cats", "Dog": "dogs"}  # the folder in the archive, and ours
CLASSES = ["cats", "dogs"]  # label 0 and label 1


def main(arguments: argparse.Namespace) -> None:
    output = arguments.output_dir
    data = arguments.data_dir or download(URL, SHA256) / "PetImages"

    # {file in the new folders: its original}. Each class is split by itself, so that both parts have the same mixture.
    sources, left_out = {}, {}
    for original, name in FOLDERS.items():
        usable, unusable = check_files(data / original)
        left_out |= unusable
        parts = dict(zip(("training", "testing"), split_names(usable, arguments.split, arguments.seed)))
        sources |= {output / part / name / file: data / original / file for part in parts for file in parts[part]}
    print(*(f"left out: {file} ({reason})" for file, reason in left_out.items()), sep="\n")

    # A picture in both parts would be learned by heart and then counted as recognised. So nothing is placed as long as
    # one of the four folders holds a picture of another split.
    folders = [output / part / name for part in parts for name in CLASSES]
    if strangers := sorted({file for folder in folders for file in folder.glob("*")} - set(sources)):
        sys.exit(f"{output} already holds another split: {len(strangers)} pictures, such as {strangers[0]}, do not "
                 "belong to this one. Choose another --output-dir, or remove that folder.")
    placed = sum(place(source, target) for target, source in sources.items())

    # The folders are now as `flow_from_directory` wants them: a folder for each part, and in it one for each class.
    print(*(f"{len(list(folder.iterdir()))} in {folder}," for folder in folders), f"{placed} placed in this run")
    flow = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        output / "training", target_size=(150, 150), classes=CLASSES, class_mode="binary")
    draw_batch(next(iter(flow)), output / "pictures.png")
    plt.show()


def check_files(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the usable pictures in `folder`, and {file: reason} of those that are left out."""
    files = sorted(folder.iterdir())
    print(f"Opening {len(files)} files of {folder} ...")
    with ThreadPoolExecutor() as pool:
        reasons = list(pool.map(why_unusable, files))
    usable = [file.name for file, reason in zip(files, reasons) if not reason]
    if len(usable) < 2:
        raise OSError(f"{folder} holds {len(usable)} usable pictures: too few to be divided.")
    return usable, {str(file): reason for file, reason in zip(files, reasons) if reason}


def why_unusable(file: Path) -> str | None:
    """Return why `file` cannot be trained on, or None when it is a picture that can be decoded to its end."""
    if file.suffix.lower() not in (".jpg", ".jpeg"):
        return "not a JPEG by its name"
    try:
        with Image.open(file) as picture:
            picture.load()  # decodes every pixel: `open` alone reads only the header
    except Exception as error:  # Pillow raises many kinds
        return f"{type(error).__name__}: {error}" if file.stat().st_size else "empty"
    return None


def split_names(names: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide `names` at random, `fraction` of them for training; the same arguments always give the same split."""
    shuffled = random.Random(seed).sample(sorted(names), len(names))
    cut = min(max(round(fraction * len(names)), 1), len(names) - 1)  # each part gets at least one
    return shuffled[:cut], shuffled[cut:]


def place(source: Path, target: Path) -> bool:
    """Make `source` appear as `target`, as a hard link where the disk allows it; return False if it was there."""
    if target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)  # a second name for the same bytes: it takes no space
    except OSError:
        shutil.copy2(source, target)  # another disk, or one without links
    return True


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", type=float, default=0.9, help="share of each class for training (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=Path, help="folder that already holds Cat and Dog")
    parser.add_argument("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), help="(%(default)s)")
    arguments = parser.parse_args()
    if not 0 < arguments.split < 1:
        parser.error("--split must be between 0 and 1")
    return arguments


# The lesson ends here. What follows is the same, to the letter, in every lesson that needs it.
# --------------------------------------------------------------------------------------------------------------------


def download(url: str, sha256: str | None) -> Path:
    """Return the folder with the content of the zip file at `url`, downloaded and unpacked on the first run only."""
    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    folder = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "datasets", Path(url).stem)
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=folder.parent) as home:
                archive = tf.keras.utils.get_file(origin=url, file_hash=sha256, cache_dir=home)
                shutil.unpack_archive(archive, Path(home, "all"), "zip")
                content = Path(home, "all", folder.name)  # some archives hold a folder, some only its content
                (content if content.exists() else content.parent).rename(folder)  # it appears when it is complete
        except Exception as error:
            sys.exit(f"{url} could not be downloaded or unpacked ({error}). Try again, or name a copy with --data-dir.")
    return folder


def draw_batch(batch: tuple, file: Path) -> None:
    """Draw the first ten pictures of a batch (pictures, labels) as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(12, 5.4), layout="constrained", subplot_kw={"xticks": [], "yticks": []})
    for axis, picture, label in zip(axes.flat, *(np.asarray(part, np.float32) for part in batch)):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(CLASSES[int(label) if label.ndim == 0 else np.argmax(label)], fontsize=14)
    figure.savefig(file)


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except KeyboardInterrupt:
        sys.exit("Stopped.")
    except OSError as error:  # no such file, an unreadable picture, a full disk, a protected folder
        sys.exit(str(error))
