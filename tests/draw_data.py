"""Draw tiny stand-ins for the lessons' datasets, in the layout and formats of the real ones.

The pictures are simple shapes that a network learns in seconds; nothing learned from them is worth
anything. The folder then holds, as the servers and archives of the real sets do:

  horse-or-human/ validation-horse-or-human/   lessons 5 and 11    RGBA PNG, 300x300
  happy-or-sad/                                lesson 6            RGBA PNG, 150x150
  cats_and_dogs_filtered/                      lessons 8, 9 and 12 JPEG of mixed sizes
  PetImages/                                   lesson 10           JPEG, with broken files
  rps/ rps-test-set/                           lesson 13           RGBA PNG, 300x300
  fashion-mnist/ mnist/                        lessons 2, 15 and 4 idx .gz files
  sign-language-mnist/                         lesson 14           CSV
  archives/                                    the zip files that the lessons download
"""

import gzip
import shutil
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIKLMNOPQRSTUVWXY"  # no J, no Z
COLOURS = [(200, 60, 40), (40, 90, 210), (40, 160, 60), (220, 180, 40)]


def draw_shape(
    kind: int, size: tuple[int, int], random: np.random.Generator, transparent: bool
) -> Image.Image:
    """Return an RGB or RGBA picture of `size` (width, height) with shape and colour of class
    `kind` (0 to 3).
    """
    width, height = size
    background = tuple(int(value) for value in random.integers(190, 245, 3))
    picture = Image.new("RGBA", size, (*background, 255))
    draw = ImageDraw.Draw(picture)
    centre_x, centre_y = (random.uniform(0.42, 0.58, 2) * size).tolist()
    radius = min(size) * random.uniform(0.28, 0.36)
    colour = tuple(
        int(np.clip(value + random.integers(-25, 26), 0, 255)) for value in COLOURS[kind]
    )
    box = [centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius]
    if kind == 0:
        draw.ellipse(box, fill=colour)
    elif kind == 1:
        draw.rectangle(box, fill=colour)
    elif kind == 2:
        draw.polygon([(centre_x, box[1]), (box[2], box[3]), (box[0], box[3])], fill=colour)
    else:
        draw.line(box, fill=colour, width=int(radius / 2))
    return picture if transparent else picture.convert("RGB")


def draw_glyph(text: str, random: np.random.Generator) -> np.ndarray:
    """Return a grey picture [28, 28] of 0..255, white on black, of `text` a little moved and
    turned.
    """
    picture = Image.new("L", (28, 28))
    font = ImageFont.load_default(size=22)
    ImageDraw.Draw(picture).text((14, 14), text, fill=255, font=font, anchor="mm")
    shift = random.integers(-2, 3, 2)
    return np.asarray(
        picture.rotate(random.uniform(-8, 8), translate=(int(shift[0]), int(shift[1])))
    )


def draw_folder(
    folder: Path, names: dict[str, str], count: int, size: tuple[int, int] | None, seed: int
) -> None:
    """Draw `count` pictures of each class into `folder`.

    names: {class folder: pattern of the file names, with {} for the number}; the ending is the
    format: .png for
    RGBA, .jpg for RGB. size: (width, height), or None for mixed ones.
    """
    random = np.random.default_rng(seed)
    for kind, (name, pattern) in enumerate(names.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            mixed = size or tuple(int(side) for side in random.integers(120, 400, 2))
            draw_shape(kind, mixed, random, pattern.endswith(".png")).save(
                folder / name / pattern.format(number)
            )


def write_idx(file: Path, array: np.ndarray) -> None:
    """Write an array of bytes in the idx format, compressed."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    file.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0))


def draw_glyphs(texts: str, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` pictures [count, 28, 28] of 0..255, of the `texts` in turn, and the index of
    each [count].
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % len(texts))
    return np.stack([draw_glyph(texts[label], random) for label in labels]), labels.astype(np.uint8)


def draw_mnist(folder: Path, training: int, test: int, seed: int) -> None:
    """Draw digits as the four idx .gz files of MNIST and Fashion-MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    x_train, y_train = draw_glyphs("0123456789", training, seed)
    x_test, y_test = draw_glyphs("0123456789", test, seed + 1)
    for name, array in (
        ("train-images-idx3", x_train),
        ("train-labels-idx1", y_train),
        ("t10k-images-idx3", x_test),
        ("t10k-labels-idx1", y_test),
    ):
        write_idx(folder / f"{name}-ubyte.gz", array)


def draw_signs(folder: Path, training: int, test: int, seed: int) -> None:
    """Draw letters as the two CSV files of Sign Language MNIST; its labels skip 9, the J."""
    folder.mkdir(parents=True, exist_ok=True)
    header = "label," + ",".join(f"pixel{number}" for number in range(1, 785))
    for name, count, start in (
        ("sign_mnist_train.csv", training, seed),
        ("sign_mnist_test.csv", test, seed + 1),
    ):
        pictures, indices = draw_glyphs(LETTERS, count, start)
        labels = np.array([ord(LETTERS[index]) - ord("A") for index in indices])
        table = np.column_stack([labels, pictures.reshape(count, -1)])
        np.savetxt(folder / name, table, fmt="%d", delimiter=",", header=header, comments="")


def draw_everything(folder: Path, count: int = 24) -> None:
    """Draw every dataset into `folder`, with `count` pictures a class for training and half of
    them for validation.
    """
    half = max(count // 2, 1)
    square = (300, 300)
    draw_folder(
        folder / "horse-or-human",
        {"horses": "horse01-{}.png", "humans": "human01-{:02}.png"},
        count,
        square,
        1,
    )
    draw_folder(
        folder / "validation-horse-or-human",
        {"horses": "horse1-{:03}.png", "humans": "valhuman01-{:02}.png"},
        half,
        square,
        2,
    )
    draw_folder(
        folder / "happy-or-sad",
        {"happy": "happy1-{:02}.png", "sad": "sad1-{:02}.png"},
        count,
        (150, 150),
        3,
    )
    hands = ("rock", "paper", "scissors")
    draw_folder(folder / "rps", {name: name + "01-{:03}.png" for name in hands}, count, square, 4)
    draw_folder(
        folder / "rps-test-set",
        {name: f"test{name}" + "01-{:02}.png" for name in hands},
        half,
        square,
        5,
    )
    pets = {"cats": "cat.{}.jpg", "dogs": "dog.{}.jpg"}
    draw_folder(folder / "cats_and_dogs_filtered" / "train", pets, count, None, 6)
    draw_folder(folder / "cats_and_dogs_filtered" / "validation", pets, half, None, 7)
    (folder / "cats_and_dogs_filtered" / "vectorize.py").write_text(
        "# comes with the archive, no picture\n"
    )
    draw_folder(folder / "PetImages", {"Cat": "{}.jpg", "Dog": "{}.jpg"}, count, None, 8)
    for name in ("Cat/666.jpg", "Dog/11702.jpg"):
        (folder / "PetImages" / name).touch()
    for name in ("Cat", "Dog"):
        (folder / "PetImages" / name / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0 no picture")
    whole = (folder / "PetImages" / "Cat" / "1.jpg").read_bytes()
    (folder / "PetImages" / "Dog" / "77.jpg").write_bytes(whole[: len(whole) // 2])  # ends half-way
    draw_mnist(folder / "fashion-mnist", 30 * count, 10 * count, 9)
    draw_mnist(folder / "mnist", 30 * count, 10 * count, 11)
    draw_signs(folder / "sign-language-mnist", 30 * count, 10 * count, 13)
    # Some of the real archives hold the folder, some only what is in it.
    for name, root in (
        ("horse-or-human", "horse-or-human"),
        ("validation-horse-or-human", "validation-horse-or-human"),
        ("happy-or-sad", "happy-or-sad"),
    ):
        shutil.make_archive(str(folder / "archives" / name), "zip", folder / root)
    for name, root in (
        ("rps", "rps"),
        ("rps-test-set", "rps-test-set"),
        ("cats_and_dogs_filtered", "cats_and_dogs_filtered"),
        ("kagglecatsanddogs_5340", "PetImages"),
    ):
        shutil.make_archive(str(folder / "archives" / name), "zip", folder, root)
