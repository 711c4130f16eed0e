"""Lesson 10, and strange files: a pile with all of them becomes folders that every loader reads."""

import shutil
import struct
import unicodedata
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import assert_one_sentence, small_inception, small_text
from PIL import Image, features

LESSON_10 = "TF_DataProcessing_for_CNN_DogCatDataset.py"
TURNED_BY = {  # Exif orientation: how a camera that is held like this stores an upright picture
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
JUNK_HEADER = b"Exif\0\0" + b"no tags at all" * 9
NEGATIVE_RESOLUTION = (  # beside orientation 6: a header that Pillow reads, but cannot write back
    b"Exif\0\0II*\0" + struct.pack("<L", 8) + struct.pack("<HHHLL", 2, 274, 3, 1, 6)
    + struct.pack("<HHLLL", 282, 10, 1, 38, 0) + struct.pack("<ll", -1, 1))


class Pile:
    """A folder with two classes, and what a person sees in each of its files."""

    def __init__(self, folder):
        self.folder = folder
        self.seen = {}  # {name of a file without its ending: pixels [height, width, 3]}
        self.copied = set()  # those that need no conversion
        self.left_out = {}  # {name of a file: a word of the reason}
        self.random = np.random.default_rng(1)
        (folder / "cats").mkdir(parents=True)
        (folder / "dogs").mkdir()

    def draw(self, grey=False):
        """Four areas of random colours: it looks different from every side."""
        colors = self.random.integers(0, 256, (2, 2, 1 if grey else 3), np.uint8)
        return np.broadcast_to(np.kron(colors, np.ones((32, 48, 1), np.uint8)), (64, 96, 3))

    def add(self, name, picture, pixels, copied=False, **options):
        """Save a picture in which a person sees these pixels."""
        stem = Path(name).stem
        assert stem not in self.seen
        self.seen[stem] = np.broadcast_to(np.asarray(pixels), (64, 96, 3))
        if copied:
            self.copied.add(stem)
        picture.save(self.folder / "cats" / name, **options)

    def add_colors(self, name, mode="RGB", **options):
        pixels = self.draw()
        self.add(name, Image.fromarray(pixels).convert(mode), pixels, **options)

    def add_grey(self, name, scale, number_type, **options):
        """Save grey numbers; where a person sees white, the number is 255 * `scale`."""
        pixels = self.draw(grey=True)
        numbers = (pixels[..., 0].astype(float) * scale).astype(number_type)
        self.add(name, Image.fromarray(numbers), pixels, **options)


def make_exif(orientation):
    exif = Image.Exif()
    exif[274] = orientation
    return exif


def add_plain_files(pile):
    pile.add_colors("colors.jpg", copied=True)
    pile.add_colors("progressive.jpeg", copied=True, progressive=True)
    pile.add_colors("upright.JPG", copied=True, exif=make_exif(1))
    pile.add_colors("junk header.jpg", copied=True, exif=JUNK_HEADER)
    pile.add_colors("colors png.png", copied=True)
    pile.add_colors("two pictures.jpg", copied=True, format="MPO", save_all=True,
                    append_images=[Image.new("RGB", (96, 64))])
    pile.add_grey("grey.jpg", 1, np.uint8, copied=True)
    pile.add_grey("grey png.PNG", 1, np.uint8, copied=True)
    # Their names do not say what they are.
    pile.add_colors("jpeg.png", copied=True, format="JPEG")
    pile.add_colors("png.jpg", copied=True, format="PNG")
    pile.add_colors("junk header png.png", exif=JUNK_HEADER)
    pile.add_colors("old.jfif", copied=True, format="JPEG")
    pile.add_colors("no ending", copied=True, format="PNG")


def add_turned_pictures(pile):
    for orientation, method in TURNED_BY.items():
        pixels = pile.draw()
        stored = Image.fromarray(pixels).transpose(method)
        pile.add(f"turned {orientation}.jpg", stored, pixels, exif=make_exif(orientation))
    for name in ["turned.png", "turned tiff.tif", "turned webp.webp", "odd header.jpg"]:
        pixels = pile.draw()
        stored = Image.fromarray(pixels).transpose(TURNED_BY[6])
        exif = NEGATIVE_RESOLUTION if name == "odd header.jpg" else make_exif(6)
        pile.add(name, stored, pixels, exif=exif)
    pixels = pile.draw(grey=True)
    stored = Image.fromarray(np.rot90(pixels[..., 0]).astype(np.uint16) * 257)
    pile.add("turned 16 bits.png", stored, pixels, exif=make_exif(6))


def hide_left_half(pixels, white=255):
    """What a person sees when the left half is transparent: white paper."""
    seen = pixels.copy()
    seen[:, :48] = white
    return seen


def add_transparent_pictures(pile):
    """The left half is transparent, and what is stored there is not to be seen."""
    alpha = np.full((64, 96, 1), 255, np.uint8)
    alpha[:, :48] = 0
    for name in ["transparent.png", "transparent tiff.tif", "transparent webp.webp"]:
        pixels = pile.draw()
        options = {"lossless": True} if name.endswith("webp") else {}
        pile.add(name, Image.fromarray(np.dstack([pixels, alpha])), hide_left_half(pixels),
                 **options)
    pixels = pile.draw(grey=True)
    pile.add("grey with alpha.png", Image.fromarray(np.dstack([pixels[..., :1], alpha])),
             hide_left_half(pixels))
    pixels = pile.draw()
    half = np.full((64, 96, 1), 128, np.uint8)
    pile.add("half transparent.png", Image.fromarray(np.dstack([pixels, half])),
             np.uint8(pixels * (128 / 255) + 127))
    # One color stands for transparent paper: (1, 2, 3), grey 0, or the first of a palette.
    pixels = hide_left_half(pile.draw(), white=(1, 2, 3))
    pile.add("clear color.png", Image.fromarray(pixels), hide_left_half(pixels),
             transparency=(1, 2, 3))
    pixels = hide_left_half(pile.draw(grey=True) | 1, white=0)
    pile.add("clear.png", Image.fromarray(pixels[..., 0]), hide_left_half(pixels), transparency=0)
    for name, transparency in [("clear gif.gif", 0), ("clear palette.png", 0),
                               ("palette with alpha.png", bytes([0, 255]))]:
        picture = Image.new("P", (96, 64), 1)
        picture.putpalette([9, 9, 9, *pile.draw()[0, 0]])
        picture.paste(0, (0, 0, 48, 64))
        seen = hide_left_half(np.asarray(picture.convert("RGB")))
        pile.add(name, picture, seen, transparency=transparency)


def add_other_numbers(pile):
    pile.add_grey("16 bits.png", 256.5, np.uint16)
    pile.add_grey("16 bits tiff.tif", 256.5, np.uint16)
    pile.add_grey("big endian.tif", 256.5, ">u2")
    pile.add_grey("16 bits pgm.pgm", 256.5, np.uint16)
    pile.add_grey("32 bits.tif", 256.5, np.int32)
    pixels = pile.draw()
    pile.seen["48 bits"] = pixels
    pile.copied.add("48 bits")
    content = tf.io.encode_png(pixels.astype(np.uint16) * 257)
    (pile.folder / "cats" / "48 bits.png").write_bytes(content.numpy())
    pixels = pile.draw(grey=True) // 128 * 255
    pile.add("black and white.png", Image.fromarray(pixels).convert("1"), pixels)
    pixels = pile.draw(grey=True) // 128 * 255
    pile.add("fax.tif", Image.fromarray(pixels).convert("1"), pixels, compression="group4")


def add_other_colors(pile):
    pile.add_colors("cmyk.jpg", "CMYK")
    pile.add_colors("cmyk tiff.tif", "CMYK")
    pile.add_colors("lab.tif", "LAB")
    pile.add_colors("ycbcr.tif", "YCbCr", compression="jpeg", quality=100)
    for name in ["palette.png", "palette bmp.bmp"]:
        pixels = pile.draw()
        pile.add(name, Image.fromarray(pixels).quantize(4), pixels)
    pile.add_colors("rgbx.tif", "RGBX")


def add_other_formats(pile):
    pile.add_colors("web.webp", quality=100)
    pile.add_colors("lossless.webp", lossless=True)
    pile.add_colors("bitmap.bmp")
    pile.add_colors("pixels.ppm")
    pile.add_colors("targa.tga")
    pile.add_colors("qoi.qoi")
    pile.add_colors("webp in truth.jpg", format="WEBP", lossless=True)
    if features.check("avif"):
        pile.add_colors("next.avif", quality=100, subsampling="4:4:4")
    others = [Image.new("RGB", (96, 64), color) for color in ["red", "lime"]]
    for name in ["animation.gif", "pages.tif", "film.webp"]:
        lossless = {"lossless": True} if name == "film.webp" else {}
        pile.add_colors(name, save_all=True, append_images=others, **lossless)


def add_files_to_leave_out(pile):
    cats = pile.folder / "cats"
    dogs = pile.folder / "dogs"

    def write(folder, name, content, reason):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        pile.left_out[name] = reason

    noise = Image.fromarray(pile.random.integers(0, 256, (90, 120, 3), np.uint8))
    for name in ["cut.jpg", "cut progressive.jpg", "cut.png", "cut.gif", "cut.webp", "cut.tif",
                 "cut.bmp"]:
        noise.save(cats / name, **({"progressive": True} if "progressive" in name else {}))
        content = (cats / name).read_bytes()
        reason = "no picture" if name == "cut.webp" else "cut off"
        write(cats, name, content[:len(content) // 2], reason)
    for name, white in [("floats to 1.tif", 1), ("floats to 255.tif", 255)]:
        Image.new("F", (96, 64), white).save(cats / name)
        write(cats, name, (cats / name).read_bytes(), "floating-point numbers")
    write(cats, "empty.jpg", b"", "no picture")
    write(dogs, "empty too.png", b"", "no picture")
    write(dogs, "page.jpg", b"<!doctype html><title>Not found</title>", "no picture")
    write(dogs, "notes.txt", b"Rex, in June", "no picture")
    write(dogs, "phone.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "pillow-heif")
    copy = (cats / "colors.jpg").read_bytes()
    write(cats, "the same.jpg", copy, f"exact copy of {cats / 'colors.jpg'}")
    write(dogs, "a dog.png", copy, f"exact copy of {cats / 'colors.jpg'}")
    for name in [".hidden.jpg", "._colors.jpg", "Thumbs.db", "desktop.ini",
                 ".ipynb_checkpoints/checkpoint.jpg", "__MACOSX/mac.jpg"]:
        write(dogs, name, copy, "hidden")
    write(pile.folder, "loose.jpg", copy, "in no folder of a class")
    write(pile.folder, ".DS_Store", copy, "hidden")


@pytest.fixture(scope="module")
def sorted_pile(run, tmp_path_factory):
    """A pile with every kind of strange file, and what the lesson has made of it."""
    folder = tmp_path_factory.mktemp("pile")
    pile = Pile(folder / "photos")
    add_plain_files(pile)
    add_turned_pictures(pile)
    add_transparent_pictures(pile)
    add_other_numbers(pile)
    add_other_colors(pile)
    add_other_formats(pile)
    for number in range(3):
        pixels = pile.draw()
        Image.fromarray(pixels).save(pile.folder / "dogs" / f"dog {number}.jpg")
        pile.seen[f"dog {number}"] = pixels
        pile.copied.add(f"dog {number}")
    add_files_to_leave_out(pile)
    before = read_all(pile.folder)
    process = run(LESSON_10, "--data-dir", pile.folder, "--split", 0.8, folder=folder)
    return SimpleNamespace(pile=pile, before=before, process=process)


def read_all(folder):
    """The content of every file in a folder, {path in it: bytes}."""
    contents = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            contents[file.relative_to(folder).as_posix()] = file.read_bytes()
    return contents


def list_results(output):
    """The new files of both parts, {name without ending: file}."""
    results = {}
    for part in ["training", "testing"]:
        for file in sorted((output / part).rglob("*")):
            if file.is_file():
                assert file.stem not in results  # the parts are disjoint
                results[file.stem] = file
    return results


def test_every_usable_picture_is_in_one_of_the_parts(sorted_pile):
    assert sorted_pile.process.code == 0, sorted_pile.process.err
    results = list_results(sorted_pile.process.outputs)
    assert set(results) == set(sorted_pile.pile.seen)
    training = list((sorted_pile.process.outputs / "training" / "cats").iterdir())
    cats = len(results) - 3
    assert len(training) == round(0.8 * cats)
    assert f"pictures for training: {len(training) + 2}" in sorted_pile.process.out


def test_plain_pillow_and_keras_show_what_a_person_sees(sorted_pile):
    for stem, file in list_results(sorted_pile.process.outputs).items():
        seen = sorted_pile.pile.seen[stem].astype(float)
        with Image.open(file) as picture:
            assert picture.mode in ["L", "RGB"], file
            formats = ["PNG"] if file.suffix.lower() == ".png" else ["JPEG", "MPO"]
            assert picture.format in formats, file
            pillow = np.asarray(picture.convert("RGB"))
        keras = np.asarray(tf.keras.utils.load_img(file))
        tensorflow = tf.io.decode_image(file.read_bytes(), channels=3).numpy()
        for pixels in [pillow, keras, tensorflow]:
            assert pixels.shape == seen.shape, file
            assert np.abs(pixels - seen).mean() < 3, file


def test_the_rest_is_copied_byte_for_byte(sorted_pile):
    results = list_results(sorted_pile.process.outputs)
    copied = set()
    for original, content in sorted_pile.before.items():
        stem = Path(original).stem
        if stem in sorted_pile.pile.copied:
            copied.add(stem)
            assert results[stem].read_bytes() == content
    assert copied == sorted_pile.pile.copied


def test_every_file_that_is_left_out_is_named_with_the_reason(sorted_pile):
    lines = [line for line in sorted_pile.process.out.splitlines() if line.startswith("Left out:")]
    assert len(lines) == len(sorted_pile.pile.left_out)
    for name, reason in sorted_pile.pile.left_out.items():
        assert any(f"{name}: " in line and reason in line for line in lines), (name, reason)


def test_the_table_counts_what_became_of_the_files(sorted_pile):
    lines = [" ".join(line.split()) for line in sorted_pile.process.out.splitlines()]
    cats = len(list((sorted_pile.pile.folder / "cats").iterdir()))
    assert f"cats all files {cats}" in lines
    assert "dogs copied 3" in lines
    assert "cats converted 12 turned upright" in lines
    assert "cats left out 1 exact copy" in lines and "dogs left out 1 exact copy" in lines


def test_from_the_pile_to_an_answer(sorted_pile, run, monkeypatch, tmp_path):
    script = "TF_Dogs_Cats_Transfer_Learning.py"
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    data = sorted_pile.process.outputs
    process = run(script, "--data-dir", data, "--epochs", 1, folder=tmp_path,
                  text=small_text(script))
    assert process.code == 0, process.err
    files = [str(file) for file in list_results(data).values()][::4]
    answers = run(script, "--predict", *files, folder=tmp_path)
    assert answers.code == 0, answers.err
    for file in files:
        assert f"{file}: cats (" in answers.out or f"{file}: dogs (" in answers.out, file


def test_the_originals_are_untouched(sorted_pile):
    assert read_all(sorted_pile.pile.folder) == sorted_pile.before


def test_the_figure_shows_ten_pictures_with_their_classes(sorted_pile):
    assert sum(text in ["cats", "dogs"] for text in sorted_pile.process.texts) == 10
    assert (sorted_pile.process.outputs / "pictures.png").exists()


# Folders.


def draw_classes(folder, names, count=4):
    """Draw `count` different pictures of each class, and return their folder."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            color = (zlib.crc32(name.encode()) % 150, 40 * number, 99)
            Image.new("RGB", (30, 20), color).save(folder / name / f"{name} {number}.png")
    return folder


def test_linked_folders_are_followed_and_circles_end(run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"])
    elsewhere = draw_classes(tmp_path / "elsewhere", ["wasps", "more bees"])
    (photos / "wasps").symlink_to(elsewhere / "wasps")  # a class
    (photos / "bees" / "more").symlink_to(elsewhere / "more bees")  # a part of one
    (photos / "ants" / "one.png").symlink_to(elsewhere / "wasps" / "wasps 0.png")  # a file
    (photos / "ants" / "circle").symlink_to(photos)
    (elsewhere / "wasps" / "round").symlink_to(elsewhere / "wasps")
    (elsewhere / "wasps" / "and round").symlink_to(elsewhere / "wasps")
    (photos / "bees" / "to ants").symlink_to(photos / "ants")
    (photos / "ants" / "nowhere.png").symlink_to(tmp_path / "nowhere.png")
    process = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert process.code == 0, process.err
    results = list_results(process.outputs)
    counts = {name: len(list(process.outputs.glob(f"*/{name}/*"))) for name in
              ["ants", "bees", "wasps"]}
    assert counts == {"ants": 5, "bees": 8, "wasps": 3} and len(results) == 16
    assert not any(file.is_symlink() for file in results.values())
    for name in ["ants/circle: same folder", "bees/to ants: same folder", "nowhere.png: no picture",
                 "wasps 0.png: exact copy"]:
        assert name in process.out


def test_a_class_in_two_encodings_is_one(run, tmp_path):
    composed = unicodedata.normalize("NFC", "café")
    decomposed = unicodedata.normalize("NFD", "café")
    draw_classes(tmp_path / "photos", [composed, decomposed, "thé"], count=2)
    if len(list((tmp_path / "photos").iterdir())) == 2:
        pytest.skip("this system knows one of the encodings only")
    process = run(LESSON_10, "--data-dir", tmp_path / "photos", "--split", 0.5, folder=tmp_path)
    assert process.code == 0, process.err
    for part in ["training", "testing"]:
        folders = sorted(folder.name for folder in (process.outputs / part).iterdir())
        assert folders == [composed, "thé"]
    names = sorted(file.name for file in process.outputs.glob(f"*/{composed}/*"))
    assert names == [f"{composed} {end}.png" for end in ["0", "0_2", "1", "1_2"]]


def test_files_with_the_same_stem_do_not_collide(run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"])
    colors = {}
    for number, name in enumerate(["a.png", "a.webp", "a.gif", "a.jpg", "A.bmp", "b/a.png"]):
        file = photos / "ants" / name
        file.parent.mkdir(exist_ok=True)
        color = (200, 40 * number, 0)
        Image.new("RGB", (30, 20), color).save(file, quality=100)
        colors[color] = name
    process = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert process.code == 0, process.err
    files = list(process.outputs.glob("*/ants/*"))
    assert len({file.name.lower() for file in files}) == len(files) == 4 + len(colors)
    found = []
    for file in files:
        with Image.open(file) as picture:
            red, green, blue = picture.getpixel((5, 5))
        if red > 150:
            found.append((200, 40 * round(green / 40), 0))
    assert sorted(found) == sorted(colors)


@pytest.mark.parametrize("parts", [["train", "validation"], ["training", "testing"],
                                   ["Train", "valid", "test"]])
def test_a_folder_that_is_divided_is_refused_with_the_command_that_fits(parts, run, tmp_path):
    for part in parts:
        draw_classes(tmp_path / "photos" / part, ["ants", "bees"])
    process = run(LESSON_10, "--data-dir", tmp_path / "photos", folder=tmp_path)
    command = f'TF_Dogs_Cats_Transfer_Learning.py --data-dir "{tmp_path / "photos"}"'
    assert_one_sentence(process, "divided already", command)
    assert not process.outputs.exists()


def test_a_class_may_be_called_train_if_it_holds_pictures(run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["train", "bus"])
    (photos / "train" / ".thumbnails").mkdir()
    process = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert process.code == 0, process.err


@pytest.mark.parametrize("data, output", [("photos", "photos/result"), ("result/photos", "result"),
                                          ("photos", "photos"), ("photos", "link/result")])
def test_originals_and_results_are_not_mixed_up(data, output, run, tmp_path):
    draw_classes(tmp_path / data, ["ants", "bees"])
    (tmp_path / "link").symlink_to(tmp_path / data)
    before = read_all(tmp_path)
    process = run(LESSON_10, "--data-dir", tmp_path / data, "--output-dir", tmp_path / output)
    assert_one_sentence(process, "inside the other", "--output-dir")
    assert read_all(tmp_path) == before and not (tmp_path / "photos" / "result").exists()


def test_what_cannot_be_divided_is_one_sentence(run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["ants"])
    assert_one_sentence(run(LESSON_10, "--data-dir", tmp_path / "none"), "There is no folder")
    assert_one_sentence(run(LESSON_10, "--data-dir", photos), "two or more classes", "It has 1")
    draw_classes(photos, ["bees"], count=1)
    process = run(LESSON_10, "--data-dir", photos)
    assert_one_sentence(process, "class bees needs two", "It has 1")
    (photos / "aphids").mkdir()
    assert_one_sentence(run(LESSON_10, "--data-dir", photos), "class aphids needs two", "It has 0")


# One split, again and again.


@pytest.fixture(scope="module")
def first_run(run, tmp_path_factory):
    """A folder with photos, divided once."""
    folder = tmp_path_factory.mktemp("divided")
    photos = draw_classes(folder / "photos", ["ants", "bees"])
    Image.new("CMYK", (30, 20)).save(photos / "ants" / "print.jpg")
    process = run(LESSON_10, "--data-dir", photos, "--split", 0.5, folder=folder)
    assert process.code == 0, process.err
    assert "9 files written, 0 were there already" in process.out
    return process


@pytest.fixture
def divided(first_run, tmp_path):
    """A copy of it, which a test may change."""
    shutil.copytree(first_run.folder, tmp_path, dirs_exist_ok=True)
    outputs = tmp_path / first_run.outputs.relative_to(first_run.folder)
    return SimpleNamespace(folder=tmp_path, outputs=outputs)


def test_the_same_split_again_writes_nothing(divided, run):
    photos = divided.folder / "photos"
    for junk in [".DS_Store", "Thumbs.db", ".ipynb_checkpoints/ants 0-checkpoint.png"]:
        file = divided.outputs / "training" / "ants" / junk
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"no picture")
    times = {file: file.stat().st_mtime_ns for file in divided.outputs.glob("t*/*/*.*")}
    again = run(LESSON_10, "--data-dir", photos, "--split", 0.5, folder=divided.folder)
    assert again.code == 0 and "0 files written, 9 were there already" in again.out
    assert times == {file: file.stat().st_mtime_ns for file in divided.outputs.glob("t*/*/*.*")}


@pytest.mark.parametrize("other", [["--split", 0.75], ["--split", 0.5, "--seed", 2]])
def test_another_split_is_refused_whole(other, divided, run):
    before = read_all(divided.outputs)
    process = run(LESSON_10, "--data-dir", divided.folder / "photos", *other,
                  folder=divided.folder)
    assert_one_sentence(process, "another split", "--output-dir")
    assert read_all(divided.outputs) == before


def test_other_pictures_with_the_same_names_are_refused(divided, run):
    photos = divided.folder / "photos"
    Image.new("RGB", (30, 20), "red").save(photos / "ants" / "ants 0.png")
    before = read_all(divided.outputs)
    process = run(LESSON_10, "--data-dir", photos, "--split", 0.5, folder=divided.folder)
    assert_one_sentence(process, "another split", "ants 0.png", "--output-dir")
    assert read_all(divided.outputs) == before


def test_an_edit_of_a_copy_does_not_reach_the_original(divided):
    before = read_all(divided.folder / "photos")
    for file in list_results(divided.outputs).values():
        with open(file, "r+b") as copy:
            copy.write(b"edited")
    assert read_all(divided.folder / "photos") == before


@pytest.mark.parametrize("failure, words", [(OSError(28, "No space left on device"), "No space"),
                                            (KeyboardInterrupt(), "Stopped.")])
def test_a_file_that_is_written_by_half_is_not_in_the_result(failure, words, run, tmp_path,
                                                             monkeypatch):
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"])
    write_bytes = Path.write_bytes
    written = []

    def write_two_and_a_half(file, content):
        if len(written) == 2:
            write_bytes(file, content[:len(content) // 2])
            raise failure
        written.append(file)
        return write_bytes(file, content)

    with pytest.MonkeyPatch.context() as full_disk:
        full_disk.setattr(Path, "write_bytes", write_two_and_a_half)
        process = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert_one_sentence(process, words)
    assert len(list(process.outputs.glob("*/*/*.png"))) == 2
    again = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert again.code == 0 and "6 files written, 2 were there already" in again.out
    assert not list(again.outputs.rglob("*.part"))


@pytest.mark.parametrize("count, share, training", [(10, 0.9, 9), (11, 0.5, 6), (2, 0.99, 1),
                                                    (2, 0.01, 1), (1000, 0.75, 750)])
def test_a_split_is_disjoint_complete_and_repeatable(count, share, training, load):
    split = load(LESSON_10).split_files
    names = [f"{number}.jpg" for number in range(count)]
    first, second = split(names, share, 1)
    assert len(first) == training and sorted(first + second) == sorted(names)
    assert split(names[::-1], share, 1) == (first, second)
    if count > 100:
        assert split(names, share, 2) != (first, second)


# Large photographs, pets and flags.


def test_large_photographs_are_no_attack(run, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 89_478_485)  # as it is before a lesson starts
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"])
    Image.new("L", (11000, 9000), 120).save(photos / "ants" / "large.jpg")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        process = run(LESSON_10, "--data-dir", photos, folder=tmp_path)
    assert process.code == 0, process.err
    for text in [process.out, process.err, *[str(warning.message) for warning in caught]]:
        assert "attack" not in text
    new_file = list_results(process.outputs)["large"]
    assert new_file.read_bytes() == (photos / "ants" / "large.jpg").read_bytes()


def test_lesson_8_finds_the_pets(run, tmp_path):
    pets = draw_classes(tmp_path / "PetImages", ["Cat", "Dog"])
    (pets / "Cat" / "666.jpg").touch()
    process = run(LESSON_10, "--data-dir", pets, "--split", 0.75, folder=tmp_path)
    assert process.code == 0, process.err
    for part, count in [("training", 6), ("testing", 2)]:
        flow = tf.keras.preprocessing.image.ImageDataGenerator().flow_from_directory(
            process.outputs / part, classes=["cats", "dogs"])
        assert flow.n == count and f"pictures for {part}: {count}" in process.out


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "nan", "half"])
def test_a_share_out_of_range_is_an_error_of_the_flag(share, run):
    process = run(LESSON_10, "--split", share)
    assert process.code == 2 and "--split" in process.err.splitlines()[-1]
