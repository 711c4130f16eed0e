"""Lesson 10: from a raw archive to a clean split - 25,000 photographs of dogs and cats.

You learn to
  * open every file before you train on it: some of the archive's are empty, some are no pictures, some end half-way;
  * divide at random, each class by itself, into training and testing, and prove that no picture is in both;
  * lay the folders out as `flow_from_directory` wants them, without a second copy of the data.

  python TF_DataProcessing_for_CNN_DogCatDataset.py              # 90 % for training
  python TF_DataProcessing_for_CNN_DogCatDataset.py --split 0.8
  python TF_Dogs_Cats.py --data-dir outputs/TF_DataProcessing_for_CNN_DogCatDataset   # lesson 8 on the full set

Expect some minutes, mostly to download 825 MB once. Nothing is ever deleted or changed in the originals, and a second
run changes nothing. The photographs are a part of the Asirra set (Microsoft Research, Petfinder.com).
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow>=2.21,<2.22", "matplotlib>=3.9,<4", "pillow>=10.3,<14"]
# ///

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SERVERS = ["https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F"]
ARCHIVES = {  # name of the zip: (number of files .jpg, SHA-256)
    "kagglecatsanddogs_5340": (25000, "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9"),
}
LAYOUT = "Cat and Dog"
SUFFIXES = (".jpg", ".jpeg")
CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
CLASSES = {"Cat": "cats", "Dog": "dogs"}  # folder in the archive: folder of the class
IMAGE_SIZE = (150, 150)


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def fraction(text: str) -> float:
    """Return `text` as a number between 0 and 1, both excluded; anything else is an argparse error."""
    if not 0 < float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return float(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--split", type=fraction, default=0.9, metavar="SHARE", help="share of each class for training (%(default)s)")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help=f"no download: the folder that holds {LAYOUT}")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
    return parser.parse_args(line)


if __name__ == "__main__":
    arguments = parse_arguments()  # before the slow imports: --help and a wrong flag answer at once
    sys.stdout.reconfigure(line_buffering=True)  # a line is seen at once, also through a pipe or in a log
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("\nStopped. The same command goes on where it stopped."))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
standard_error = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow's greeting goes there, whatever the log level
try:
    import matplotlib.pyplot as plt
    import tensorflow as tf
    from PIL import Image
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow matplotlib pillow")
finally:
    os.dup2(standard_error, 2)


def download() -> Path:
    """Return the folder with the unpacked ARCHIVES, each of them downloaded and checked on the first run only.

    A folder gets its name when it is whole: a run that was killed in between leaves nothing to repair.
    """
    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    for name, (pictures, sha256) in ARCHIVES.items():
        failures = []
        for address in [f"{server}/{name}.zip" for server in SERVERS]:
            if (CACHE / name).exists():
                break
            try:
                CACHE.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=CACHE, prefix="download-", ignore_cleanup_errors=True) as home:
                    file = tf.keras.utils.get_file(origin=address, file_hash=sha256, cache_dir=home)
                    shutil.unpack_archive(file, f"{home}/unpacked", "zip")
                    content = Path(home, "unpacked", name)  # some archives hold the folder, some what is in it
                    (content if content.exists() else content.parent).rename(CACHE / name)
            except Exception as error:
                failures.append(f"{address} ({str(error).rpartition(' -- ')[2]})")  # Keras puts the address before it
        if not (CACHE / name).exists():
            sys.exit(f"Could not download {' nor '.join(failures)}. Check the network and start again, or fetch it "
                     f"elsewhere, unpack it, and name with --data-dir the folder that holds {LAYOUT}.")
        found = sum(file.suffix.lower() in SUFFIXES for file in (CACHE / name).rglob("*"))
        if found != pictures:
            sys.exit(f"{CACHE / name} holds {found} pictures instead of {pictures}: remove it and start again.")
    return CACHE


def why_unusable(file: Path) -> str | None:
    """Return why `file` cannot be trained on, or None when it is a picture that decodes to the end."""
    if file.suffix.lower() not in SUFFIXES:
        return "not named as a JPEG"
    if not file.is_file() or file.stat().st_size == 0:
        return "no file, or an empty one"
    try:
        with Image.open(file) as picture:
            picture.load()  # decodes every pixel: `open` alone reads the header
    except Exception as error:  # Pillow raises many kinds
        return f"{type(error).__name__}: {error}"
    return None


def check_files(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the usable pictures in `folder`, and {name: reason} of what is left out; 0..9 before 10."""
    files = sorted(folder.iterdir(), key=lambda file: (len(file.name), file.name)) if folder.is_dir() else []
    usable, left_out = [], {}
    warnings.simplefilter("ignore")  # odd EXIF data does no harm
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes outside Python's lock: all cores work
        for number, (file, reason) in enumerate(zip(files, threads.map(why_unusable, files)), start=1):
            if reason:
                left_out[str(file)] = reason
            else:
                usable.append(file.name)
            if number == len(files) or number % 500 == 0:
                print(f"\r{folder.name}: {number} of {len(files)} files checked", end="", flush=True)
    print()
    if len(usable) < 2:
        sys.exit(f"{folder} holds {len(usable)} usable pictures: --data-dir names the folder that holds {LAYOUT}.")
    return usable, left_out


def split_names(names: list[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide `names` at random into training and testing; the same names and seed give the same split.

    Training gets `share` of them, rounded to the nearest whole number, but each part at least one.
    """
    shuffled = random.Random(seed).sample(sorted(names), len(names))
    cut = min(max(round(share * len(names)), 1), len(names) - 1)
    training, testing = shuffled[:cut], shuffled[cut:]
    assert not set(training) & set(testing) and set(training) | set(testing) == set(names)  # disjoint and complete
    return training, testing


def place(source: Path, target: Path) -> bool:
    """Make `source` appear as `target`, by a hard link where the disk allows it; return False when it was there."""
    if target.exists():
        return False
    try:
        os.link(source, target)  # a second name for the same bytes: takes no space
    except OSError:
        shutil.copy2(source, f"{target}.part")  # named .jpg only when it is whole
        os.replace(f"{target}.part", target)
    return True


def draw_batch(folder: Path, seed: int, file: Path) -> None:
    """Draw one batch as ImageDataGenerator makes it of `folder`: the proof that the folders feed it."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=1 / 255)
    flow = generator.flow_from_directory(folder, target_size=IMAGE_SIZE, batch_size=12, class_mode="binary", seed=seed)
    pictures, labels = flow[0]
    figure, axes = plt.subplots(2, 6, figsize=(12, 4.6), layout="constrained")
    figure.suptitle(f"One batch of the generator: {pictures.shape}, pixels {pictures.min():.1f}..{pictures.max():.1f}")
    for axis in axes.flat:
        axis.axis("off")
    for axis, picture, label in zip(axes.flat, pictures, labels):
        axis.imshow(picture)
        axis.set_title(f"{label:.0f}: {list(CLASSES.values())[int(label)]}")
    figure.savefig(file, dpi=100)


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    start = time.perf_counter()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    data = arguments.data_dir or download() / "kagglecatsanddogs_5340" / "PetImages"
    counts, left_out, placed = {}, {}, 0
    for source, name in CLASSES.items():
        usable, unusable = check_files(data / source)
        left_out |= unusable
        parts = dict(zip(("training", "testing"), split_names(usable, arguments.split, arguments.seed)))
        for part, names in parts.items():
            folder = arguments.output_dir / part / name
            folder.mkdir(parents=True, exist_ok=True)
            if strangers := {file.name for file in folder.glob("*.jpg")} - set(names):
                sys.exit(f"{folder} already holds {len(strangers)} pictures that do not belong to this split, such as "
                         f"{min(strangers)}: choose another --output-dir, or remove that folder.")
            placed += sum(place(data / source / file, folder / file) for file in names)
            counts[f"{part}/{name}"] = len(names)

    for file, reason in left_out.items():
        print(f"left out: {file} ({reason})")
    print(", ".join(f"{folder} {count}" for folder, count in counts.items()) + f"; {placed} placed in this run")
    draw_batch(arguments.output_dir / "training", arguments.seed, arguments.output_dir / "batch.png")
    metrics = {"lesson": Path(__file__).stem, "counts": counts, "left_out": left_out, "placed": placed,
               "pictures": sum(counts.values()), "seconds": time.perf_counter() - start, "seed": arguments.seed,
               "arguments": vars(arguments), "tensorflow": tf.__version__, "keras": tf.keras.__version__}
    (arguments.output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2, default=str) + "\n")
    print(f"{len(left_out)} files left out, nothing deleted; {metrics['seconds']:.0f} s. Lesson 8 trains on it:\n"
          f"  python TF_Dogs_Cats.py --data-dir '{arguments.output_dir}'")
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
