"""Lesson 10: from a raw archive to a clean split - 25,000 photographs, or your own.

You learn to open every file before you train on it, because some are empty, no pictures, or cut
off; to leave out copies, which would be in both halves; to divide the rest at random into training
and testing; and to lay out the folders as `flow_from_directory` expects them.

  python -m pip install "tensorflow==2.21.*" matplotlib "pillow>=10.3"
  python TF_DataProcessing_for_CNN_DogCatDataset.py              # 90% for training
  python TF_DataProcessing_for_CNN_DogCatDataset.py --split 0.8 --output-dir outputs/split_80
  python TF_Dogs_Cats.py --data-dir outputs/TF_DataProcessing_for_CNN_DogCatDataset
  python TF_DataProcessing_for_CNN_DogCatDataset.py --data-dir photos --output-dir outputs/mushrooms

The last command is for your own photographs: `photos` has a folder for each class, two or more, and
lessons 12 and 13 can train on the result.

Expect a few minutes, mostly to download 825 MB on the first run. The originals are never changed.
The photographs are part of the Asirra dataset (Microsoft Research, Petfinder.com).

In a notebook (Jupyter, Colab), write %run instead of python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow>=10.3"]
# ///

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
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

NAME = "TF_DataProcessing_for_CNN_DogCatDataset"  # of this lesson
URLS = [
    "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/"
    "kagglecatsanddogs_5340.zip",
]
SHA256 = "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"
PET_NAMES = {"Cat": "cats", "Dog": "dogs"}  # lesson 8 expects these; other names stay as they are
IMAGE_SIZE = (150, 150)  # height and width, for the figure


def main(arguments):
    output = arguments.output_dir
    set_up(arguments.seed)
    output.mkdir(parents=True, exist_ok=True)

    # 1. Find the files. Each folder is a class.
    data = arguments.data_dir or download(URLS, SHA256) / "PetImages"
    if not data.is_dir():
        sys.exit(f"There is no folder {data}. If it is an unfinished download, delete "
                 f"{data.parent}, and run the lesson again.")
    files = {}
    for name in list_classes(data):
        files[name] = list_files(data / name)

    # 2. Check them: open every file, and decode it to its end, because `open` alone reads only the
    #    header. A copy of another picture is left out, too: it would be learned by heart in
    #    training, and then be counted as recognised in testing.
    usable, left_out = check_files(files)
    for file, reason in left_out.items():
        print(f"Left out: {file}: {reason}")

    # 3. Divide each class separately, so that both parts have the same mixture.
    new_names = PET_NAMES if set(files) == set(PET_NAMES) else {}
    sources = {}  # the new place of each picture: its original
    for name, pictures in usable.items():
        if len(pictures) < 2:
            sys.exit(f"{data / name} has {len(pictures)} pictures that can be used: too few to be "
                     "divided.")
        training, testing = split_files(pictures, arguments.split, arguments.seed)
        for part, chosen in [("training", training), ("testing", testing)]:
            folder = output / part / new_names.get(name, name)
            for file in chosen:
                sources[folder / file.relative_to(data / name)] = file

    # 4. Place them, but nothing as long as the folders hold another split: or else pictures would
    #    end up in both parts.
    strangers = []
    for part in ["training", "testing"]:
        for file in find_pictures(output / part):
            if file not in sources:
                strangers.append(file)
    if strangers:
        sys.exit(f"{output} already holds another split: {len(strangers)} pictures, such as "
                 f"{strangers[0]}, do not belong to this one. Choose another --output-dir, or "
                 "remove that folder.")
    place_files(sources)

    # 5. Look at the result: it is as `flow_from_directory` expects it.
    classes = list_classes(output / "training")
    for part in ["training", "testing"]:
        for name in classes:
            folder = output / part / name
            print(f"{len(find_pictures(folder))} pictures in {folder}")
    draw_some(output / "training", classes, output / "pictures.png")
    plt.show()


def check_files(files):
    """Return the usable pictures of each class, and why others are left out, {file: reason}.

    files: {class: its files}. The first of several files with the same bytes is used.
    """
    usable = {}
    left_out = {}
    first_of = {}  # the hash of a file's bytes: the first file that has it
    for name, all_of_class in files.items():
        usable[name] = []
        print(f"Checking {len(all_of_class)} files of the class {name}")
        progress = tf.keras.utils.Progbar(len(all_of_class), unit_name="file")
        with ThreadPoolExecutor() as pool:
            for file, result in zip(all_of_class, pool.map(check_file, all_of_class)):
                reason, fingerprint = result
                progress.add(1)
                if not reason and fingerprint in first_of:
                    reason = f"the same as {first_of[fingerprint]}"
                if reason:
                    left_out[file] = reason
                else:
                    first_of[fingerprint] = file
                    usable[name].append(file)
    return usable, left_out


def check_file(file):
    """Return why a file cannot be trained on, or None if it can, and the hash of its bytes."""
    if not is_picture(file):
        return "its name does not end like that of a picture that Keras reads", None
    try:
        open_picture(file)
        return None, hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return str(error).removeprefix(f"{file} "), None


def split_files(files, fraction, seed):
    """Divide `files` at random: return the `fraction` for training, and the rest for testing.

    The same files, fraction and seed always give the same split. Each part gets at least one.
    """
    shuffled = random.Random(seed).sample(sorted(files), len(files))
    cut = round(fraction * len(files))
    cut = min(max(cut, 1), len(files) - 1)
    return shuffled[:cut], shuffled[cut:]


def place_files(sources):
    """Place every picture, {new place: original}, where it is not there already."""
    placed = 0
    print(f"Placing {len(sources)} pictures")
    progress = tf.keras.utils.Progbar(len(sources), unit_name="picture")
    for target, source in sources.items():
        progress.add(1)
        if not target.exists() or target.stat().st_size != source.stat().st_size:
            place(source, target)
            placed += 1
    print(f"{placed} placed in this run, {len(sources) - placed} were there already.")


def place(source, target):
    """Make `source` appear as `target`: as a link where the disk allows it, or else as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)  # a second name for the same bytes: takes no space
    except OSError:  # another disk, or one without links
        unfinished = target.with_name(f".{target.name}")  # hidden until it is complete
        shutil.copy2(source, unfinished)
        unfinished.replace(target)


def draw_some(folder, classes, file):
    """Draw ten random pictures of a folder, with their classes."""
    chosen = np.random.permutation(find_pictures(folder))[:10]
    pictures = []
    labels = []
    for picture in chosen:
        name = picture.relative_to(folder).parts[0]  # the folder of its class
        pictures.append(load_picture(picture, (*IMAGE_SIZE, 3)) / 255)
        labels.append(classes.index(name))
    draw_batch(pictures, labels, classes, file)
    print(f"Ten of them are in {file}.")


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


def download(urls, sha256=None):
    """Return the folder with the content of a zip file, downloaded and unpacked on the first run.

    The addresses in `urls` are tried in turn. `sha256` is the file's hash, if it is known.
    """
    cache = find_cache()
    folder = cache / Path(urls[0]).stem
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    errors = []
    for url in urls:
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            content = Path(temporary, "content")
            try:
                archive = tf.keras.utils.get_file(
                    origin=url, file_hash=sha256, cache_dir=temporary)
                print(f"Unpacking {Path(archive).name} ...")
                shutil.unpack_archive(archive, content, "zip")
            except Exception as error:
                errors.append(f"{url} ({error})")
                continue
            if (content / folder.name).exists():  # some archives hold the folder, some its content
                content = content / folder.name
            try:
                content.rename(folder)  # complete, or not there at all
            except OSError:
                if not folder.is_dir():  # no other run at the same time was faster
                    raise
            return folder
    sys.exit(f"Nothing could be downloaded from {' or '.join(errors)}. Try again, or name your own "
             "copy of the pictures with --data-dir.")


def find_cache():
    """Return the folder in which Keras, too, keeps the datasets that it downloads."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"], "datasets")
    try:
        return Path.home() / ".keras" / "datasets"
    except RuntimeError:  # in a container, a user may have no home
        return Path(tempfile.gettempdir(), ".keras", "datasets")


def list_classes(folder):
    """Return the names of the folders in `folder`, in alphabetical order: each is a class."""
    classes = []
    for entry in sorted(folder.glob("*")):
        if entry.is_dir() and not is_hidden(entry.name):
            classes.append(entry.name)
            if not entry.name.isprintable():  # bytes that are no letters, from an old zip file
                sys.exit(f"The name of the folder {ascii(str(entry))} cannot be read. Rename it.")
    if len(classes) < 2:
        sys.exit(f"{folder} needs a folder with pictures for each of two or more classes. If it is "
                 "an unfinished download, delete it, and run the lesson again.")
    return classes


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


# Drawing


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5)
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label in zip(axes.flat, pictures, labels):
        if np.ndim(label) == 1:  # [0, 1, 0] stands for label 1
            label = np.argmax(label)
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        axis.set_title(classes[int(label)])
    figure.savefig(file)


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


def split_share(text):
    """Return `text` as a number between 0 and 1; anything else is an error of the flag."""
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return number


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False)
    parser.add_argument("--split", type=split_share, default=0.9,
                        help="share of each class for training (%(default)s)")
    parser.add_argument("--seed", type=positive, default=1, help="random seed (%(default)s)")
    parser.add_argument("--data-dir", type=path,
                        help="your own folder, with a folder of pictures for each class")
    parser.add_argument("--output-dir", type=path, default=Path("outputs", NAME),
                        help="for training and testing (%(default)s)")
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
