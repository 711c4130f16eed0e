"""Lesson 10: clean data - from any pile of pictures to folders that you can trust.

Some files are empty, cut off, or no pictures at all. Some are copies, which would be learned in
training and then be counted as recognised in testing. And some do not show a program what they show
you: a phone's photograph lies on its side, transparent paper turns black, 16 bits turn white.

You learn to decode every file before you train on it; to convert what a program would get wrong; to
leave out copies; and to divide the rest at random into training and testing. All other lessons, and
other programs, can read the result.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow
  python TF_DataProcessing_for_CNN_DogCatDataset.py   # 25,000 photographs, 90% for training
  python TF_Dogs_Cats.py --data-dir outputs/TF_DataProcessing_for_CNN_DogCatDataset

For pictures of your own, put those of each class into a folder with its name, such as photos/oak
and photos/maple. For an iPhone's HEIC files, run python -m pip install pillow-heif before.

  python TF_DataProcessing_for_CNN_DogCatDataset.py --data-dir photos --output-dir outputs/trees
  python TF_Dogs_Cats_Transfer_Learning.py --data-dir outputs/trees

An experiment: run the first command again, and it finds nothing to do. Run it with --seed 2, and it
refuses: some of the pictures that are there for training would now be for testing.

Expect a download of 825 MB, and about two minutes. The originals stay as they are. With archive and
copies, they take 2.5 GB. They are part of the Asirra dataset (Microsoft Research, Petfinder.com).

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow"]
# ///

import argparse
import contextlib
import hashlib
import io
import os
import random
import socket
import sys
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import ExifTags, Image, ImageOps

with contextlib.suppress(ImportError):  # without it, Pillow opens no HEIC files
    import pillow_heif
    pillow_heif.register_heif_opener()

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
warnings.filterwarnings("ignore", module="PIL")  # of headers that it can read only in part
URL = ("https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
       "kagglecatsanddogs_5340.zip")
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
PET_NAMES = {"Cat": "cats", "Dog": "dogs"}  # lesson 8 expects these; other names stay as they are
SPLIT_NAMES = ["train", "training", "val", "valid", "validation", "test", "testing"]
SYSTEM_NAMES = ["thumbs.db", "desktop.ini", "__macosx"]  # and all that begin with a dot
PHOTOGRAPHS = ["JPEG", "MPO", "WEBP", "AVIF", "HEIF"]  # become JPEG; MPO is a kind of JPEG
IMAGE_SIZE = (150, 150)  # height and width, for the figure


@dataclass
class Found:
    """A file of the pile, and what becomes of it."""

    file: Path
    class_name: str
    outcome: str = "copied"  # or "converted", or "left out"
    reason: str = ""  # why it is converted or left out
    detail: str = ""  # such as the file that it is a copy of
    suffix: str = ""  # the ending of the new file's name

    def leave_out(self, reason, detail=""):
        self.outcome = "left out"
        self.reason = reason
        self.detail = detail


def main(arguments):
    output = arguments.output_dir
    socket.setdefaulttimeout(60)  # seconds without an answer end a download

    # 1. Find the files. Each folder is a class.
    data = arguments.data_dir or download(URL, SHA256) / "PetImages"
    classes = find_classes(data, output)
    found = find_files(data)

    # 2. Decode every file to its end: opening it reads only its header. Where a program would see
    #    something else than you do, note why. Of files with the same bytes, keep the first.
    usable = check_files(found, classes)
    print_report(found)

    # 3. Divide each class separately, so that both parts have the same mixture.
    new_names = PET_NAMES if classes == list(PET_NAMES) else {}
    plan = {}  # {place of a new file: what was found}
    for name, pictures in usable.items():
        if len(pictures) < 2:
            sys.exit(f"The class {name} needs two or more pictures that can be used, for training "
                     f"and for testing. It has {len(pictures)}.")
        training, testing = split_files(pictures, arguments.split, arguments.seed)
        folder = new_names.get(name, name)
        for part, chosen in [("training", training), ("testing", testing)]:
            for file_name in chosen:
                plan[f"{part}/{folder}/{file_name}"] = pictures[file_name]

    # 4. Write the new files, but none if the folder holds another split: some pictures would then
    #    be in both parts.
    missing = find_missing(plan, output)
    write_files(missing, output)
    print(f"{len(missing)} files written, {len(plan) - len(missing)} were there already.")

    # 5. Look at the result: each part has a folder for each class, as Keras expects it.
    draw_some(plan, output, arguments.seed)
    for part in ["training", "testing"]:
        count = sum(place.startswith(part) for place in plan)
        print(f"pictures for {part}: {count}")
    print(f"The results are in {output}.")
    plt.show()


def find_classes(data, output):
    """Return the names of the folders in `data`, in alphabetical order: each is a class.

    End if they are no classes, or if new files would come among the originals.
    """
    if not data.is_dir():
        sys.exit(f"There is no folder {data}.")
    original = data.resolve()
    result = output.resolve()
    if original.is_relative_to(result) or result.is_relative_to(original):
        sys.exit(f"Of {data} and {output}, one is inside the other: originals and results would be "
                 "mixed up. Choose another --output-dir.")
    classes = set()
    for folder in sorted(data.glob("*/")):
        if folder.name.lower() in SPLIT_NAMES and any(folder.glob("[!.]*/")):
            sys.exit(f"{data} is divided already: {folder.name} has folders inside. Train on it "
                     f'with python TF_Dogs_Cats_Transfer_Learning.py --data-dir "{data}", which '
                     "looks for train and validation, or training and testing.")
        if not is_system_path(Path(folder.name)):
            classes.add(normalize("NFC", folder.name))  # an "é" has two encodings: take one of them
    if len(classes) < 2:
        sys.exit(f"{data} needs a folder with pictures for each of two or more classes. It has "
                 f"{len(classes)}.")
    return sorted(classes)


def is_system_path(path):
    """Return whether a file, or a folder that it is in, is hidden, or for the system alone."""
    return any(name.startswith(".") or name.lower() in SYSTEM_NAMES for name in path.parts)


def find_files(data):
    """Return all files in `data` and in its folders, in the same order on every machine."""
    found = []
    visited = set()
    for folder, subfolders, names in os.walk(data, followlinks=True):
        folder = Path(folder)
        path = folder.relative_to(data)
        class_name = normalize("NFC", path.parts[0]) if path.parts else "(none)"
        if folder.resolve() in visited:  # a link leads here; some lead round in a circle
            found.append(Found(folder, class_name, "left out", "same folder as another"))
            subfolders.clear()  # os.walk enters those that are in this list
            continue
        visited.add(folder.resolve())
        subfolders.sort()
        for name in sorted(names):
            entry = Found(folder / name, class_name)
            if is_system_path(path / name):
                entry.leave_out("hidden, or the system's")
            elif folder == data:
                entry.leave_out("in no folder of a class")
            found.append(entry)
    return found


def check_files(found, classes):
    """Say what becomes of each file. Return the usable ones, {class: {new name: Found}}."""
    usable = {name: {} for name in classes}
    taken = {name: set() for name in classes}
    first_of = {}  # {hash of a file's bytes: the first file that has it}
    print(f"Checking {len(found)} files")
    progress = tf.keras.utils.Progbar(len(found), unit_name="file")
    for entry in found:  # one at a time: a large photograph needs much memory
        progress.add(1)
        if entry.outcome != "left out":
            check_file(entry)
        if entry.outcome == "left out":
            continue
        fingerprint = hashlib.sha256(entry.file.read_bytes()).hexdigest()
        if fingerprint in first_of:
            entry.leave_out("exact copy", f"of {first_of[fingerprint]}")
            continue
        first_of[fingerprint] = entry.file
        new_name = choose_name(entry, taken[entry.class_name])
        usable[entry.class_name][new_name] = entry
    return usable


def check_file(entry):
    """Decode a file to its end, and find out whether it must be left out or converted."""
    try:
        picture = Image.open(entry.file)
    except Exception:  # Pillow raises many kinds
        entry.leave_out("no picture that Pillow can open")
        if entry.file.suffix.lower() in [".heic", ".heif"]:
            entry.detail = "(first run python -m pip install pillow-heif)"
        return
    if picture.mode == "F":  # nobody knows which number is white
        entry.leave_out("floating-point numbers")
        return
    try:
        entry.reason = find_reason(picture)
        if entry.reason:
            entry.outcome = "converted"
            convert(picture)
        else:
            picture.draft("RGB", IMAGE_SIZE)  # a JPEG is decoded to its end, but at a smaller size
            picture.load()
    except Exception as error:
        entry.leave_out("cut off or damaged", f"({error})")
    suffixes = [".jpg", ".jpeg"] if picture.format in PHOTOGRAPHS else [".png"]
    entry.suffix = entry.file.suffix
    if entry.suffix.lower() not in suffixes:
        entry.suffix = suffixes[0]


def find_reason(picture):
    """Return why a picture must be converted, or "" if every program shows what you see."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # Pillow raises many kinds
        return "damaged header"
    if orientation != 1:  # the number says how the camera was held: 1 is upright
        return "turned upright"
    if picture.mode.startswith("I"):
        return "more than 8 bits"
    if picture.has_transparency_data:
        return "transparent, laid on white"
    if picture.mode not in ["L", "RGB"]:  # L is grey
        return f"mode {picture.mode}, now RGB"
    if picture.format not in ["JPEG", "MPO", "PNG"]:
        return f"format {picture.format}"
    return ""


def convert(picture):
    """Return any picture as RGB with 8 bits for each colour, upright, and on white paper."""
    picture.load()
    with contextlib.suppress(Exception):  # a damaged header
        ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith("I"):  # 16 bits, 0 to 65,535
        picture = picture.convert("I").point(lambda value: value / 257).convert("L")
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return picture.convert("RGB")


def choose_name(entry, taken):
    """Return a name that no other new file of its class has, and add it to those `taken`."""
    stem = normalize("NFC", entry.file.stem)
    new_name = stem + entry.suffix
    number = 2
    while new_name.lower() in taken:  # such as a.jpg, from a.webp, beside A.JPG
        new_name = f"{stem}_{number}{entry.suffix}"
        number += 1
    taken.add(new_name.lower())
    return new_name


def print_report(found):
    """Name each file that is left out, and count what becomes of the files of each class."""
    counts = Counter()
    for entry in found:
        counts[entry.class_name, "all files", ""] += 1
        counts[entry.class_name, entry.outcome, entry.reason] += 1
        if entry.outcome == "left out":
            print(f"Left out: {entry.file}: {entry.reason} {entry.detail}")
    print(f"{'class':20} {'':10} {'files':>6}  why")
    for (class_name, outcome, reason), count in sorted(counts.items()):
        print(f"{class_name:20} {outcome:10} {count:6}  {reason}")


def split_files(names, share, seed):
    """Divide `names` at random: return the `share` for training, and the rest for testing.

    The same names, share and seed always give the same split. Each part gets at least one.
    """
    shuffled = random.Random(seed).sample(sorted(names), len(names))
    cut = round(share * len(names))
    cut = min(max(cut, 1), len(names) - 1)
    training = shuffled[:cut]
    testing = shuffled[cut:]
    assert set(training).isdisjoint(testing)  # or else you would test what was learned by heart
    assert set(training).union(testing) == set(names)
    return training, testing


def find_missing(plan, output):
    """Return what is still missing of the plan. End if the folder holds anything else."""
    missing = dict(plan)
    others = []
    print(f"Looking for earlier results in {output}")
    for file in sorted([*output.glob("training/**/*"), *output.glob("testing/**/*")]):
        path = file.relative_to(output)
        if file.is_dir() or is_system_path(path):
            continue
        place = normalize("NFC", path.as_posix())
        if place in plan and file.read_bytes() == make_content(plan[place]):
            missing.pop(place, None)
        else:
            others.append(file)
    if others:
        sys.exit(f"{output} already holds another split: {len(others)} files, such as {others[0]}, "
                 "are not what this run would write. Choose another --output-dir, or remove that "
                 "folder.")
    return missing


def make_content(entry):
    """Return the bytes of a new file: those of the original, or of the converted picture."""
    if entry.outcome == "copied":
        return entry.file.read_bytes()
    content = io.BytesIO()
    picture = convert(Image.open(entry.file))
    if entry.suffix == ".png":
        picture.save(content, "PNG", icc_profile=None)  # the profile of CMYK would be wrong now
    else:
        picture.save(content, "JPEG", quality=95, subsampling=0)  # no difference that one can see
    return content.getvalue()


def write_files(missing, output):
    """Write the new files. A link would take no space, but an edit would reach the original."""
    print(f"Writing {len(missing)} files")
    progress = tf.keras.utils.Progbar(len(missing), unit_name="file")
    for place, entry in missing.items():
        target = output / place
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.part")
        unfinished.write_bytes(make_content(entry))
        unfinished.replace(target)  # complete, or not there at all
        progress.add(1)


def draw_some(plan, output, seed):
    """Draw ten pictures of the result, as Keras reads them, with their classes."""
    pictures = []
    names = []
    for place in random.Random(seed).sample(sorted(plan), min(10, len(plan))):
        picture = tf.keras.utils.load_img(output / place, target_size=IMAGE_SIZE)
        pictures.append(np.asarray(picture) / 255)
        names.append(Path(place).parent.name)
    draw_batch(pictures, range(len(names)), names, output / "pictures.png")


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, picture, label in zip(axes.flat, pictures, labels):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)  # the map is for grey pictures only
        axis.set_title(classes[int(label)])
    figure.savefig(file)


def download(url, sha256=None):
    """Return the folder with the content of a zip file. It is kept in ~/.keras/datasets."""
    try:
        folder = Path(tf.keras.utils.get_file(origin=url, file_hash=sha256, extract=True))
    except Exception as error:
        sys.exit(f"{error}\nTry again, or name your own copy of the pictures with --data-dir.")
    if not folder.exists():
        sys.exit(f"{folder}_archive is not complete. Delete it, and try again.")
    return folder


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", type=float, default=0.9, help="share for training (0.9)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--data-dir", type=Path, help="your own folder, as above")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_DataProcessing_for_CNN_DogCatDataset"))
    arguments = parser.parse_args()
    if not 0 < arguments.split < 1:
        parser.error("--split must be between 0 and 1")
    return arguments


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (OSError, KeyboardInterrupt) as error:  # such as a full disk
        sys.exit(str(error) or "Stopped.")
