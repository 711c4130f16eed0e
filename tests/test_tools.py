"""The tools that lessons share: what they make of a picture, and of a flow of pictures."""

import ast
import math
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from draw_data import draw_folder, draw_shape
from PIL import Image
from tensorflow.keras.preprocessing.image import ImageDataGenerator

HORSES = "TF_Human_horse.py"
AUGMENTED = "TF_Human_horse_Augmentation.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
HANDS = "TF_RockPaperScissors.py"
RAMP = np.tile(np.arange(256, dtype=np.uint16), (200, 1))  # from black, on the left, to white
NOISE = np.random.default_rng(1).integers(0, 256, (300, 240, 3), np.uint8)
TURN_RIGHT = 6  # the Exif orientation of a picture that is to be turned to the right


# load_picture: what a picture becomes.


@pytest.fixture
def read(load):
    """A function that reads a file as lesson 11 does, in the size [height, width]."""
    lesson = load(AUGMENTED)

    def read_file(file, height, width):
        picture = lesson.load_picture(file).resize((width, height), Image.Resampling.NEAREST)
        assert picture.mode == "RGB"
        return np.asarray(picture)

    return read_file


def test_a_picture_is_read_as_it_is(read, tmp_path):
    Image.fromarray(NOISE).save(tmp_path / "noise.png")
    np.testing.assert_array_equal(read(tmp_path / "noise.png", 300, 240), NOISE)


def test_a_picture_gets_the_size_that_the_flow_gives_it(read, tmp_path):
    picture = draw_shape(0, (400, 300), np.random.default_rng(1), False)
    picture.save(tmp_path / "photograph.jpg")
    flow = ImageDataGenerator().flow_from_directory(
        tmp_path, classes=["."], target_size=(150, 100), batch_size=1)
    pixels = read(tmp_path / "photograph.jpg", 150, 100)
    np.testing.assert_array_equal(pixels, flow[0][0][0])


@pytest.mark.parametrize("name", ["camera.jpg", "camera.png", "scan.tif"])
def test_a_photograph_stands_upright_however_the_camera_was_held(name, read, tmp_path):
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    upright = np.uint8(np.stack([RAMP] * 3, axis=-1))
    Image.fromarray(np.rot90(upright)).save(tmp_path / name, exif=exif)
    pixels = read(tmp_path / name, 200, 256)
    assert np.abs(pixels.astype(int) - upright).max() <= 3  # JPEG is not exact


@pytest.mark.parametrize("name", ["grey.png", "grey.tif"])
def test_sixteen_bits_become_eight(name, read, tmp_path):
    """Pillow alone would turn nearly all of them white."""
    Image.fromarray(RAMP * 257).save(tmp_path / name)
    pixels = read(tmp_path / name, 200, 256)
    np.testing.assert_array_equal(pixels, np.stack([RAMP] * 3, axis=-1))


def save_stroke(kind, file):
    """Save a dark stroke on transparent paper; under the transparency, the paper is black."""
    ink = np.zeros((60, 50), np.uint8)
    ink[10:50, 20:30] = 255
    alpha = Image.fromarray(ink)
    black = Image.new("L", alpha.size)
    palette = Image.new("P", alpha.size)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.paste(1, mask=alpha)
    if kind == "colour with alpha":
        Image.merge("RGBA", [black, black, black, alpha]).save(file)
    elif kind == "grey with alpha":
        Image.merge("LA", [black, alpha]).save(file)
    elif kind == "palette with a transparent colour":
        palette.save(file, transparency=0)
    elif kind == "palette with alpha":
        palette.save(file, transparency=bytes([0, 255]))
    elif kind == "a transparent colour":
        Image.fromarray(np.stack([ink // 25] * 3, axis=-1)).save(file, transparency=(0, 0, 0))
    return ink


@pytest.mark.parametrize("kind", [
    "colour with alpha", "grey with alpha", "palette with a transparent colour",
    "palette with alpha", "a transparent colour"])
def test_transparent_paper_is_white(kind, read, tmp_path):
    ink = save_stroke(kind, tmp_path / "icon.png")
    pixels = read(tmp_path / "icon.png", 60, 50)
    assert pixels[ink == 0].min() == 255 and pixels[ink > 0].max() < 20


def test_opaque_pixels_do_not_change(read, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (90, 80, 4), np.uint8)
    pixels[::2, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    result = read(tmp_path / "half.png", 90, 80)
    np.testing.assert_array_equal(result[::2], pixels[::2, :, :3])


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK"])
def test_a_picture_of_any_other_mode(mode, read, tmp_path):
    red_or_black = Image.new("RGB", (50, 60), "red").convert(mode)
    red_or_black.paste(0 if mode != "CMYK" else (0, 0, 0, 255), (0, 0, 25, 60))
    red_or_black.save(tmp_path / "picture.tif")
    expected = np.asarray(red_or_black.convert("RGB"))
    np.testing.assert_array_equal(read(tmp_path / "picture.tif", 60, 50), expected)


HUGE = r"""
import re, sys, warnings
from pathlib import Path
import numpy as np
from PIL import Image, ImageOps
warnings.simplefilter("error")
{source}
Image.new("RGB", (9, 9)).resize((5, 5)).convert("RGBA")
def read_peak():
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
before = read_peak()
pixels = load_picture(sys.argv[1])
grown = read_peak() - before
assert pixels.size < (2800, 2300)
assert abs(np.asarray(pixels).mean(axis=(0, 1)) - (0, 128, 128)).max() < 5
print(grown // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it says how much memory")
def test_a_photograph_of_99_megapixels_needs_little_memory(tmp_path):
    """And nobody speaks of an attack, as Pillow does from 89 megapixels on."""
    file = tmp_path / "huge.jpg"
    draw = f"from PIL import Image; Image.new('RGB', (11000, 9000), 'teal').save({str(file)!r})"
    subprocess.run([sys.executable, "-c", draw], check=True)
    text = (ROOT / AUGMENTED).read_text(encoding="utf-8")
    parts = []
    for node in ast.parse(text).body:
        source = ast.get_source_segment(text, node)
        if source.startswith(("Image.MAX_IMAGE_PIXELS", "def load_picture")):
            parts.append(source)
    program = HUGE.format(source="\n".join(parts))
    process = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True)
    assert process.returncode == 0 and not process.stderr, process.stderr
    assert int(process.stdout) < 200  # megabytes; all its pixels would take 400


def save_broken(name, file):
    """Save a file that is no picture, or only the beginning of one."""
    Image.fromarray(NOISE).save(file.with_name("whole.png"))
    Image.fromarray(NOISE).save(file.with_name("whole.jpg"))
    png = file.with_name("whole.png").read_bytes()
    jpg = file.with_name("whole.jpg").read_bytes()
    content = {
        "half.png": png[:len(png) // 2],
        "half.jpg": jpg[:len(jpg) // 2],
        "chunk.png": png.replace(b"IDAT", b"\xc9DAT"),
        "empty.png": b"",
        "page.jpg": b"<!doctype html><title>Not found</title>",
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
    }
    if name in content:
        file.write_bytes(content[name])


@pytest.mark.parametrize("name", [
    "half.png", "half.jpg", "chunk.png", "empty.png", "page.jpg", "phone.heic", "missing.jpg"])
def test_what_cannot_be_read_is_named_with_what_to_do(name, read, tmp_path):
    save_broken(name, tmp_path / name)
    with pytest.raises(OSError) as caught:
        read(tmp_path / name, 60, 50)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name} cannot be read") and "\n" not in message
    assert "Lesson 10" in message


# augment: what the generator does, but faster.


def make_generator(settings):
    return ImageDataGenerator(rescale=1 / 255, **settings)


def compare(load, generator, pictures):
    """The difference between augment and the generator with the same random numbers, 0 to 255."""
    changes = [generator.get_random_transform(picture.shape) for picture in pictures]
    made = load(AUGMENTED).augment(pictures, changes, generator)
    expected = []
    for picture, change in zip(pictures, changes):
        changed = generator.apply_transform(np.float32(picture), change)
        expected.append(generator.standardize(changed))
    assert np.abs(np.array(expected) - pictures / 255).mean() > 0.05  # something has happened
    return 255 * np.abs(np.asarray(made) - np.array(expected))


@pytest.mark.parametrize("settings", [
    {"rotation_range": 40},
    {"width_shift_range": 0.3, "height_shift_range": 0.1},
    {"height_shift_range": [3, 4]},
    {"shear_range": 20.0},
    {"zoom_range": [0.7, 1.1]},
    {"horizontal_flip": True},
    {"vertical_flip": True},
    {"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.1,
     "shear_range": 20.0, "zoom_range": [0.7, 1.1], "horizontal_flip": True,
     "vertical_flip": True},
], ids=lambda settings: "-".join(settings)[:50])
def test_augment_moves_pixels_as_the_generator_does(settings, load):
    np.random.seed(1)
    pictures = np.random.randint(0, 256, (12, 32, 32, 3), np.uint8)
    difference = compare(load, make_generator(settings), pictures)
    assert difference.max() < 0.1  # of 255; neighbours in this noise differ by up to 255


@pytest.mark.parametrize("settings", [
    {"width_shift_range": 0.3}, {"height_shift_range": 0.3}, {"horizontal_flip": True},
    {"vertical_flip": True}])
def test_augment_moves_pictures_that_are_not_square(settings, load):
    np.random.seed(1)
    pictures = np.random.randint(0, 256, (12, 24, 40, 3), np.uint8)
    assert compare(load, make_generator(settings), pictures).max() < 0.1


NOTHING = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1, "flip_horizontal": False,
           "flip_vertical": False, "channel_shift_intensity": None, "brightness": None}


@pytest.mark.parametrize("change", [{"theta": 180}, {"zx": -1, "zy": -1}])
def test_augment_works_about_the_middle_of_pictures_that_are_not_square(change, load):
    """The generator takes the height for the width here: there is nothing to compare with."""
    pictures = np.random.default_rng(1).integers(0, 256, (2, 20, 31, 3), np.uint8)
    changes = [{**NOTHING, **change}] * 2
    made = load(AUGMENTED).augment(pictures, changes, ImageDataGenerator(rotation_range=1))
    np.testing.assert_allclose(made, pictures[:, ::-1, ::-1], atol=0.1)


@pytest.mark.parametrize("fill_mode, share", [("reflect", 1), ("constant", 0.9), ("wrap", 0.8)])
def test_augment_fills_what_it_uncovers_as_the_generator_does(fill_mode, share, load):
    """With "constant" except for a seam, where both mix old and new differently; with "wrap" only
    where nothing is uncovered, as the generator's is one pixel off.
    """
    np.random.seed(1)
    pictures = np.random.randint(0, 256, (12, 32, 32, 3), np.uint8)
    generator = make_generator({"rotation_range": 30, "fill_mode": fill_mode, "cval": 128.0})
    difference = compare(load, generator, pictures)
    assert np.mean(difference.max(axis=-1) < 0.1) >= share


def test_augment_fills_with_the_constant_of_the_generator(load):
    pictures = np.full((1, 20, 20, 3), 200, np.uint8)
    generator = make_generator({"rotation_range": 1, "fill_mode": "constant", "cval": 51.0})
    made = load(AUGMENTED).augment(pictures, [{**NOTHING, "ty": 10}], generator)
    found = np.unique(np.round(255 * np.asarray(made)))
    assert {51, 200} <= set(found) and len(found) <= 3


@pytest.mark.parametrize("settings, limit", [
    ({"brightness_range": (0.5, 1.5)}, 0.1),
    ({"channel_shift_range": 90.0}, 0.1),
    ({"brightness_range": (0.5, 1.5), "rotation_range": 90}, 30),  # it rotates first: at edges
], ids=["brightness", "channels", "brightness and rotation"])
def test_augment_changes_colours_as_the_generator_does(settings, limit, load):
    np.random.seed(1)
    pictures = []
    for kind in range(4):
        picture = draw_shape(kind, (40, 40), np.random.default_rng(kind), False)
        pictures.append(np.asarray(picture))
    difference = compare(load, make_generator(settings), np.array(pictures))
    assert difference.max() < limit and difference.mean() < 0.3  # of 255


def test_width_shift_range_moves_pictures_up_and_down(load):
    """Keras 3 has the two names mixed up, and the lessons say so: this test fails if it no longer
    has.
    """
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[20, 20] = 255
    for name, axis in [("width_shift_range", 0), ("height_shift_range", 1)]:
        generator = make_generator({name: [9], "fill_mode": "constant"})  # nine pixels
        change = generator.get_random_transform(picture.shape)
        by_keras = generator.apply_transform(np.float32(picture), change)
        by_lesson = np.asarray(load(AUGMENTED).augment([picture], [change], generator))[0]
        for pixels in [by_keras, by_lesson]:
            place = np.unravel_index(pixels[..., 0].argmax(), (40, 40))
            assert abs(place[axis] - 20) == 9 and place[1 - axis] == 20, name


# InMemory: the flow, read once.


def draw_colors(folder, count, size=(30, 20)):
    """Draw pictures of one colour each, in two classes, and return the colours with their labels.

    However such a picture is moved, it stays what it is: so it can be found again.
    """
    random = np.random.default_rng(1)
    found = set()
    for label, name in enumerate(["cats", "dogs"]):
        (folder / name).mkdir()
        for number in range(count):
            color = tuple(random.integers(0, 256, 3).tolist())
            Image.new("RGB", size, color).save(folder / name / f"{number}.png")
            found.add((color, label))
    return found


def make_data(lesson, folder, size=(20, 30), **settings):
    """An InMemory over the pictures in `folder`, in batches of 7."""
    mode = settings.pop("class_mode", "binary")
    flow = ImageDataGenerator(rescale=1 / 255, **settings).flow_from_directory(
        folder, target_size=size, class_mode=mode, batch_size=7)
    return lesson.InMemory(flow)


def read_epoch(data):
    """All pictures and labels of an epoch, one by one, in their order."""
    found = []
    for number in range(len(data)):
        pictures, labels = data[number]
        found.extend(zip(np.asarray(pictures), labels))
    return found


CHANGES = {"rotation_range": 40, "width_shift_range": 0.2, "zoom_range": 0.2,
           "horizontal_flip": True}


@pytest.mark.parametrize("script, settings", [(HORSES, {}), (AUGMENTED, {}), (AUGMENTED, CHANGES)],
                         ids=["5", "11", "11 augmented"])
def test_an_epoch_has_each_picture_once_in_another_order(script, settings, load, tmp_path):
    expected = draw_colors(tmp_path, 15)
    data = make_data(load(script), tmp_path, **settings)
    assert len(data) == math.ceil(30 / 7)
    orders = []
    for _ in range(2):
        order = []
        for picture, label in read_epoch(data):
            color = tuple(np.round(255 * picture[10, 15]).astype(int).tolist())
            order.append((color, int(label)))
        assert len(order) == 30 and set(order) == expected
        orders.append(order)
        data.on_epoch_end()
    assert orders[0] != orders[1]


def test_labels_of_three_classes_are_categorical(load, drawn):
    data = make_data(load(HANDS), drawn / "rps", class_mode="categorical")
    labels = np.array([label for _, label in read_epoch(data)])
    assert labels.shape == (48, 3) and labels.sum(axis=0).tolist() == [16, 16, 16]
    assert set(labels.flat) == {0, 1}


@pytest.mark.parametrize("script", [HORSES, AUGMENTED])
def test_validation_pictures_are_those_of_their_files(script, load, drawn):
    """Also though a flow shuffles by default."""
    lesson = load(script)
    data = make_data(lesson, drawn / "rps-test-set")
    files = np.array(data.flow.filepaths)[data.order]
    for file, (picture, _) in zip(files, read_epoch(data), strict=True):
        expected = lesson.load_picture(file).resize((30, 20), Image.Resampling.NEAREST)
        np.testing.assert_allclose(picture, np.asarray(expected) / 255, atol=1e-6)


def test_each_epoch_changes_the_pictures_anew_and_a_seed_is_a_seed(load, drawn):
    lesson = load(AUGMENTED)

    def read_two_epochs():
        tf.keras.utils.set_random_seed(1)
        data = make_data(lesson, drawn / "rps", **CHANGES)
        epochs = []
        for _ in range(2):
            epochs.append([picture for picture, _ in read_epoch(data)])
            data.on_epoch_end()
        return np.array(epochs)

    first, second = read_two_epochs()
    for picture in second[:10]:
        assert np.abs(first - picture).max(axis=(1, 2, 3)).min() > 0.01  # in no form in the first
    np.testing.assert_array_equal([first, second], read_two_epochs())


def test_fit_reads_each_picture_once_in_every_epoch(load, tmp_path):
    """Its threads prepare batches ahead, and must not mix two epochs."""
    expected = draw_colors(tmp_path, 15)
    data = make_data(load(AUGMENTED), tmp_path, **CHANGES)
    means = {round(sum(color) / 765, 5) for color, _ in expected}
    seen = []

    class Note(tf.keras.layers.Layer):
        def call(self, pictures):
            def note(batch):
                seen.extend(np.round(batch.mean(axis=(1, 2, 3)), 5).tolist())
                return np.float32(0)

            zero = tf.numpy_function(note, [pictures], tf.float32)
            return tf.reduce_mean(pictures, axis=[1, 2, 3])[:, tf.newaxis] + 0 * zero

        def compute_output_shape(self, shape):
            return shape[0], 1

    model = tf.keras.Sequential([tf.keras.layers.Input((20, 30, 3)), Note(),
                                 tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile(loss="binary_crossentropy", optimizer="sgd", run_eagerly=True)
    model.fit(data, epochs=3, verbose=0)
    epochs = [seen[start:start + 30] for start in range(0, 90, 30)]
    assert len(seen) == 90 and epochs[0] != epochs[1] != epochs[2]
    for epoch in epochs:
        for mean in means:
            assert np.isclose(epoch, mean, atol=2e-3).any()


def test_lesson_12_reads_the_same_pixels_as_the_others(load, monkeypatch, tmp_path):
    draw_folder(tmp_path, {"cats": "{}.jpg", "dogs": "{}.png"}, 3, (60, 45), seed=1)
    monkeypatch.setattr(load(TRANSFER), "IMAGE_SIZE", (30, 30))
    pictures, labels, files = load(TRANSFER).read_photographs(tmp_path)[1]
    for picture, label, file in zip(pictures, labels, files, strict=True):
        expected = load(AUGMENTED).load_picture(file).resize((30, 30), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(picture, np.asarray(expected))
        assert file.parent.name == ["cats", "dogs"][label]


# Figures, and the curves of an earlier run.

HISTORY = {"accuracy": [0.5, 0.7, 0.9], "loss": [0.7, 0.5, 0.2],
           "val_accuracy": [0.5, 0.8, 0.6], "val_loss": [0.7, 0.6, 0.9]}


def test_curves_are_dashed_solid_and_starred(load, tmp_path):
    load(AUGMENTED).draw_curves({"a run": HISTORY}, tmp_path / "curves.png")
    for axis, metric in zip(plt.gcf().axes, ["accuracy", "loss"]):
        training, validation = axis.lines
        assert training.get_linestyle() == "--" and validation.get_linestyle() == "-"
        assert training.get_label() == "a run: training"
        assert training.get_ydata().tolist() == HISTORY[metric]
        assert validation.get_ydata().tolist() == HISTORY[f"val_{metric}"]
        assert validation.get_marker() == "*" and validation.get_markevery() == [1]


def test_the_star_follows_what_is_monitored(load, tmp_path):
    history = {**HISTORY, "val_loss": [0.6, 0.7, 0.9]}
    for monitor, epoch in [([], 2), (["val_loss", np.argmin], 1)]:
        load(AUGMENTED).draw_curves({"": history}, tmp_path / "curves.png", *monitor)
        assert plt.gcf().axes[0].lines[-1].get_markevery() == [epoch - 1]


def test_curves_of_a_run_without_validation(load, tmp_path):
    history = {"accuracy": [0.5, 0.7], "loss": [0.7, 0.5]}
    load(AUGMENTED).draw_curves({"happy or sad": history}, tmp_path / "curves.png")
    assert [len(axis.lines) for axis in plt.gcf().axes] == [1, 1]


def test_the_curves_of_an_earlier_run_are_read(load, tmp_path):
    file = tmp_path / "history.csv"
    assert load(AUGMENTED).read_history(file) is None
    logger = tf.keras.callbacks.CSVLogger(file)
    logger.set_model(tf.keras.Sequential())
    logger.on_train_begin()
    assert load(AUGMENTED).read_history(file) is None  # stopped in its first epoch
    for epoch in range(3):
        logger.on_epoch_end(epoch, {name: values[epoch] for name, values in HISTORY.items()})
    logger.on_train_end()
    history = load(AUGMENTED).read_history(file)
    assert {name: history[name].tolist() for name in HISTORY} == HISTORY


@pytest.mark.parametrize("count", [3, 300])
def test_a_confusion_matrix_of_any_number_of_classes(count, load, tmp_path):
    """Its size does not grow, and its numbers are legible, or not there."""
    labels = np.arange(count).repeat(2)[:-2]  # the last class has no pictures
    predicted = labels.copy()
    predicted[0] = 1  # one of the two pictures of class 0
    names = [f"class {number}" for number in range(count)]
    file = tmp_path / "matrix.png"
    with np.errstate(all="raise"):
        load(TRANSFER).draw_confusion_matrix(labels, predicted, names, file)
    axis = plt.gcf().axes[0]
    shares = axis.images[0].get_array()
    assert shares[0, :3].tolist() == [0.5, 0.5, 0] and shares[1, 1] == 1 and shares[-1].max() == 0
    numbers = [text.get_text() for text in axis.texts]
    assert numbers == (["1", "1", "0", "0", "2", "0", "0", "0", "0"] if count == 3 else [])
    with Image.open(file) as picture:
        assert picture.width <= 1000 and picture.height <= 900


def test_the_surest_mistakes_come_first(load, tmp_path):
    labels = np.array([0, 0, 1, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.99, 0.01], [0.3, 0.7]])
    pictures = np.zeros((5, 8, 8, 3), np.uint8)
    load(TRANSFER).draw_mistakes(pictures, labels, probabilities, ["cats", "dogs"],
                                 tmp_path / "mistakes.png")
    figure = plt.gcf()
    assert "3 of 5" in figure.get_suptitle()
    titles = [axis.get_title() for axis in figure.axes]
    assert [re.search(r"[\d.]+%", title)[0] for title in titles if title] == [
        "99.0%", "80.0%", "60.0%"]
    assert titles[0].startswith("dogs, taken\nfor cats")
