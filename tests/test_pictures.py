"""Pictures as people have them: read, refused or left out, and from folders to a classifier."""

import ast
import functools
import re
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, SCRIPTS, assert_one_sentence, small_inception, small_text
from draw_data import draw_folder, draw_shape
from PIL import Image
from tensorflow.keras.preprocessing.image import ImageDataGenerator

LINE = "TF_HelloWorld.py"
CLOTHES = "TF_fashion_mnist.py"
FILTERS = "Convolutions_basic.py"
DIGITS = "TF_hand_writing_recognition.py"
HORSES = "TF_Human_horse.py"
ICONS = "TF_HappyVsSad_Face.py"
PETS = "TF_Dogs_Cats.py"
LOOK_INSIDE = "TF_Dogs_Cats_Visualization.py"
SPLIT = "TF_DataProcessing_for_CNN_DogCatDataset.py"
AUGMENTED = "TF_Human_horse_Augmentation.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
HANDS = "TF_RockPaperScissors.py"
LETTERS = "TF_sign_language.py"
RAMP = np.tile(np.arange(256, dtype=np.uint16), (256, 1))  # from black, on the left, to white
TURN_RIGHT = 6  # the Exif orientation of a picture that is to be turned to the right


def make_flow(folder, classes=("cats", "dogs")):
    """A flow over small pictures, in the order of the files."""
    return ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        folder, classes=list(classes), target_size=(32, 32), class_mode="binary", shuffle=False
    )


def draw_pets(folder, count=1):
    """Draw `count` cats and as many dogs into two folders, and return the folder of both."""
    draw_folder(folder, {"cats": "cat.{}.jpg", "dogs": "dog.{}.jpg"}, count, (60, 50), seed=1)
    return folder


def message_of(function, *arguments):
    """The sentence with which a function ends the lesson, or refuses a picture."""
    with pytest.raises((SystemExit, OSError)) as stop:
        function(*arguments)
    return str(stop.value)


@functools.cache
def functions_of(script):
    """The source text of each function of a script."""
    source = (ROOT / script).read_text(encoding="utf-8")
    functions = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = ast.get_source_segment(source, node)
    return functions


# A. Nothing in a picture is silently destroyed.


@pytest.mark.parametrize("name", ["grey16.png", "grey16.tif", "grey16.pgm"])
def test_sixteen_bits_become_eight(name, load, tmp_path):
    Image.fromarray(RAMP * 257).save(tmp_path / name)
    pixels = np.asarray(load(PETS).open_picture(tmp_path / name))
    np.testing.assert_array_equal(pixels, np.stack([RAMP] * 3, axis=-1))


def test_ten_bits_become_eight(load, tmp_path):
    numbers = np.arange(1024, dtype=">u2")
    (tmp_path / "grey10.pgm").write_bytes(b"P5 1024 1 1023\n" + numbers.tobytes())
    pixels = np.asarray(load(PETS).open_picture(tmp_path / "grey10.pgm"), dtype=float)
    np.testing.assert_allclose(pixels[0, :, 0], np.arange(1024) * 255 / 1023, atol=1)


def test_sixteen_bits_are_turned_upright(load, tmp_path):
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    Image.fromarray(np.rot90(RAMP * 257)).save(tmp_path / "turned.png", exif=exif)
    pixels = np.asarray(load(PETS).open_picture(tmp_path / "turned.png"))
    np.testing.assert_array_equal(pixels[..., 0], RAMP)


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB"])
def test_a_tiff_file_is_turned_upright(mode, load, tmp_path):
    exif = Image.Exif()
    exif[274] = TURN_RIGHT
    stored = np.rot90(RAMP[:40])
    picture = Image.fromarray(np.uint8(stored)).convert(mode)
    if mode == "I;16":
        picture = Image.fromarray(stored * 257)
    picture.save(tmp_path / "scan.tif", exif=exif)
    pixels = np.asarray(load(PETS).open_picture(tmp_path / "scan.tif"))
    np.testing.assert_array_equal(pixels[..., 0], RAMP[:40])


@pytest.mark.parametrize("numbers", [np.float32(RAMP) / 255, np.int32(RAMP) * 1000])
def test_numbers_without_a_known_white_are_refused(numbers, load, tmp_path):
    Image.fromarray(numbers).save(tmp_path / "numbers.tif")
    assert "numbers.tif" in message_of(load(PETS).open_picture, tmp_path / "numbers.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_a_picture_of_any_mode_becomes_rgb(mode, load, tmp_path):
    Image.new(mode, (9, 7)).save(tmp_path / "picture.tif")
    picture = load(PETS).open_picture(tmp_path / "picture.tif")
    assert picture.mode == "RGB" and picture.size == (9, 7)


def draw_stroke():
    """A stroke of 255 on 0."""
    ink = np.zeros((300, 300), np.uint8)
    ink[60:240, 140:160] = 255
    return ink


def save_ink(kind, file):
    """Save a dark stroke on transparent paper; under the transparency, the paper is black."""
    ink = draw_stroke()
    alpha = Image.fromarray(ink)
    black = Image.new("L", alpha.size)
    palette = Image.new("P", alpha.size)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.paste(1, mask=alpha)
    if kind == "grey with alpha":
        Image.merge("LA", [black, alpha]).save(file)
    elif kind == "colour with alpha":
        Image.merge("RGBA", [black, black, black, alpha]).save(file)
    elif kind == "palette with a transparent colour":
        palette.save(file, transparency=0)
    elif kind == "palette with alpha":
        palette.save(file, transparency=bytes([0, 254]))
    elif kind == "a transparent colour":
        Image.fromarray(np.stack([ink // 25] * 3, axis=-1)).save(file, transparency=(0, 0, 0))
    elif kind == "a transparent grey":
        Image.fromarray(ink // 25).save(file, transparency=0)
    elif kind == "a transparent grey of 16 bits":
        Image.fromarray(np.uint16(ink) * 10).save(file, transparency=0)
    return file


INKS = [
    "grey with alpha",
    "colour with alpha",
    "palette with a transparent colour",
    "palette with alpha",
    "a transparent colour",
    "a transparent grey",
    "a transparent grey of 16 bits",
]


@pytest.mark.parametrize("kind", INKS)
def test_transparent_paper_is_white(kind, load, tmp_path):
    pixels = np.asarray(load(PETS).open_picture(save_ink(kind, tmp_path / "ink.png")))
    assert pixels[draw_stroke() == 0].min() == 255 and pixels[draw_stroke() > 0].max() < 20


def test_a_grey_of_eight_bits_in_sixteen_stays_beside_transparent_paper(load, tmp_path):
    ink = np.uint16(draw_stroke()) // 255 * 200
    Image.fromarray(ink).save(tmp_path / "ink.png", transparency=0)
    pixels = np.asarray(load(PETS).open_picture(tmp_path / "ink.png"))
    assert (pixels[ink == 0] == 255).all() and (pixels[ink > 0] == 200).all()


def test_opaque_pixels_do_not_change(load, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (90, 80, 4), np.uint8)
    pixels[::2, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    result = np.asarray(load(PETS).open_picture(tmp_path / "half.png"))
    np.testing.assert_array_equal(result[::2], pixels[::2, :, :3])


def test_opaque_sets_with_an_alpha_channel_do_not_change(load, drawn):
    for folder in ["horse-or-human/horses", "happy-or-sad/sad", "rps/paper"]:
        file = next((drawn / folder).iterdir())
        with Image.open(file) as picture:
            pixels = np.asarray(picture)
        assert pixels.shape[2] == 4
        result = load(HANDS).load_picture(file, (*pixels.shape[:2], 3))
        np.testing.assert_array_equal(result, pixels[..., :3])


def test_training_sees_the_same_transparency_as_prediction(load, tmp_path):
    for name in ["happy", "sad"]:
        (tmp_path / name).mkdir()
        save_ink("grey with alpha", tmp_path / name / "icon.png")
    training = load(ICONS).keep_in_memory(make_flow(tmp_path, ["happy", "sad"]))
    pictures, _ = next(iter(training))
    predicted = load(ICONS).load_picture(tmp_path / "sad" / "icon.png", (32, 32, 3)) / 255
    np.testing.assert_allclose(pictures[1], predicted, atol=1e-6)
    assert predicted.max() == 1 and predicted.min() == 0


def test_a_transparent_digit_is_read_as_one_on_white_paper(load, tmp_path):
    load_digit = load(DIGITS).load_digit
    Image.fromarray(255 - draw_stroke()).save(tmp_path / "white.png")
    on_white = load_digit(tmp_path / "white.png", (28, 28, 1))
    transparent = load_digit(save_ink("grey with alpha", tmp_path / "ink.png"), (28, 28, 1))
    np.testing.assert_array_equal(transparent, on_white)


@pytest.mark.parametrize("colour", [(255, 255), (120, 255), (0, 255), (0, 0)])
def test_a_page_without_a_digit_is_an_error(colour, load, tmp_path):
    Image.new("LA", (300, 200), colour).save(tmp_path / "page.png")
    message = message_of(load(DIGITS).load_digit, tmp_path / "page.png", (28, 28, 1))
    assert "page.png" in message and "empty page" in message


# B. There is one loader, and one sentence about what it cannot read.


NOISE = np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)


def save_broken_chunk(file, part):
    """Save NOISE as a PNG file whose second chunk of pixels has a wrong name or checksum."""
    Image.fromarray(NOISE).save(file)
    content = bytearray(file.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    length = int.from_bytes(content[second - 4 : second], "big")
    wrong = {"name": second, "checksum": second + 4 + length}[part]
    content[wrong] ^= 0x80
    file.write_bytes(content)


def write_exif(orientation):
    """Exif data with an orientation and a negative resolution, which Pillow cannot write back."""
    header = b"II*\0" + struct.pack("<L", 8)
    entries = struct.pack("<HHHLL", 2, 274, 3, 1, orientation)
    entries += struct.pack("<HHLLL", 282, 10, 1, 38, 0)
    return b"Exif\0\0" + header + entries + struct.pack("<ll", -1, 1)


EXIFS = {"exif.jpg": write_exif(TURN_RIGHT), "junk.jpg": b"Exif\0\0" + b"no tags at all" * 9}
BROKEN = ["chunk.png", "huge.png", "half.jpg", "empty.png", "page.jpg", "phone.heic", "floats.tif"]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A folder with pictures that cannot be read (BROKEN), and with some that are only unusual."""
    folder = tmp_path_factory.mktemp("odd")
    photograph = Image.fromarray(np.uint8(RAMP)).resize((60, 40))
    save_broken_chunk(folder / "chunk.png", "name")
    save_broken_chunk(folder / "checksum.png", "checksum")
    Image.new("1", (14000, 13000)).save(folder / "huge.png")
    photograph.save(folder / "half.jpg")
    content = (folder / "half.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(content[: len(content) * 2 // 3])
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    Image.new("F", (60, 40)).save(folder / "floats.tif")
    for name, exif in EXIFS.items():
        photograph.save(folder / name, exif=exif)
    Image.new("L", (3000, 4)).save(folder / "thin.png")
    Image.fromarray(RAMP * 257).save(folder / "grey16.PNG")
    photograph.save(folder / "new.webp")
    photograph.save(folder / "old.jfif", "JPEG")
    photograph.save(folder / "._copy.jpg")
    (folder / "album.jpg").mkdir()
    return folder


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_named_with_what_to_do(name, load, odd):
    message = message_of(load(PETS).open_picture, odd / name)
    assert name in message and "Save it as JPEG or PNG" in message
    assert "<" not in message and "\n" not in message


def test_a_picture_that_is_too_large_shall_be_made_smaller(load, odd):
    message = message_of(load(PETS).open_picture, odd / "huge.png")
    assert "too many pixels" in message and "smaller" in message and "attack" not in message


def test_a_wrong_checksum_is_no_reason_to_lose_a_picture(load, odd):
    np.testing.assert_array_equal(load(PETS).open_picture(odd / "checksum.png"), NOISE)


@pytest.mark.parametrize("name", ["album.jpg", "missing.jpg"])
def test_a_folder_or_nothing_in_the_place_of_a_picture_is_named(name, load, odd):
    assert name in message_of(load(PETS).open_picture, odd / name)


@pytest.mark.parametrize("name", EXIFS)
def test_an_exif_header_that_cannot_be_read_means_no_rotation(name, load, odd):
    with Image.open(odd / name) as picture:
        expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(load(PETS).open_picture(odd / name), expected)


@pytest.mark.parametrize("name", ["chunk.png", "huge.png"])
@pytest.mark.parametrize(
    "script, flag, network",
    [
        (FILTERS, "--image", None),
        (DIGITS, "--predict", DIGITS),
        (LOOK_INSIDE, "--image", ICONS),
        (LETTERS, "--predict", LETTERS),
    ],
)
def test_every_lesson_says_it_in_one_sentence(script, flag, network, name, run, saved, odd):
    arguments = []
    if script == LOOK_INSIDE:
        arguments = ["--model", saved(network) / "model.keras"]
    elif network:
        arguments = ["--output-dir", saved(network)]
    assert_one_sentence(run(script, *arguments, flag, odd / name), name, "JPEG or PNG")


def test_a_picture_too_thin_for_a_filter_is_one_sentence(run, odd):
    assert_one_sentence(run(FILTERS, "--image", odd / "thin.png"), "thin.png", "too few")


def test_a_picture_too_thin_for_a_digit_is_one_sentence(load, odd):
    assert "thin.png" in message_of(load(DIGITS).load_digit, odd / "thin.png", (28, 28, 1))


def test_a_thin_picture_becomes_a_square_elsewhere(load, odd):
    assert load(PETS).load_picture(odd / "thin.png", (32, 32, 3)).shape == (32, 32, 3)
    assert load(LETTERS).load_hand(odd / "thin.png", (28, 28, 1)).shape == (28, 28, 1)


def test_lesson_10_accepts_what_lesson_8_reads_and_nothing_else(load, odd, tmp_path):
    draw_pets(tmp_path)
    shutil.copytree(odd, tmp_path / "cats", dirs_exist_ok=True)
    read = set()
    for file in load(PETS).select_pictures(make_flow(tmp_path))[0]:
        try:
            load(PETS).load_picture(file, (32, 32, 3))
            read.add(Path(file))
        except OSError:
            continue
    accepted = set()
    for name in ["cats", "dogs"]:
        for file in load(SPLIT).list_files(tmp_path / name):
            if load(SPLIT).check_file(file)[0] is None:
                accepted.add(file)
    names = {file.name for file in accepted}
    readable = {"thin.png", "checksum.png", "grey16.PNG", *EXIFS}
    assert names == {"cat.0.jpg", "dog.0.jpg"} | readable
    assert accepted == read


def test_lesson_10_places_what_a_link_points_to(load, tmp_path):
    draw_pets(tmp_path / "photos")
    link = tmp_path / "link.jpg"
    link.symlink_to(Path("photos", "cats", "cat.0.jpg"))
    load(SPLIT).place(link, tmp_path / "split" / "training" / "link.jpg")
    content = (tmp_path / "photos" / "cats" / "cat.0.jpg").read_bytes()
    assert (tmp_path / "split" / "training" / "link.jpg").read_bytes() == content


@pytest.mark.parametrize("name", ["open_picture", "is_picture", "is_hidden", "find_pictures"])
def test_one_text_of_what_reads_and_finds_pictures(name):
    texts = []
    for script in SCRIPTS:
        texts.append(functions_of(script).get(name))
    texts = [text for text in texts if text]
    assert len(texts) >= 8 and len(set(texts)) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_nothing_else_opens_pictures_or_lists_endings(script):
    source = (ROOT / script).read_text(encoding="utf-8")
    for name in ["open_picture", "is_picture"]:
        source = source.replace(functions_of(script).get(name, "no such function"), "")
    for word in ["Image.open", "load_img", "imread", "decode_", '".jpg"', '".png"', '"*.jpg"']:
        assert word not in source, word


# C. A saved network belongs to its lesson.


@pytest.fixture(scope="module")
def saved(load, tmp_path_factory):
    """A function that saves an untrained network as a lesson does, and returns its folder."""

    @functools.cache
    def save(script):
        lesson = load(script)
        classes = getattr(lesson, "CLASSES", ["paper", "rock", "scissors"])
        if script == HANDS:
            model = lesson.build_model(len(classes))
        elif script == TRANSFER:
            base = tf.keras.layers.GlobalAveragePooling2D()
            head = lesson.build_head(3, len(classes), dropout=0)
            pictures = tf.keras.layers.Input((150, 150, 3))
            model = tf.keras.Sequential([pictures, base, head], name=lesson.NAME)
        elif script in [DIGITS, CLOTHES]:
            model = lesson.build_convolutional_model()
        else:
            model = lesson.build_model()
        folder = tmp_path_factory.mktemp(lesson.NAME)
        model.save(folder / "model.keras")
        if hasattr(lesson, "save_classes"):
            lesson.save_classes(folder, classes)
        return folder

    return save


@pytest.mark.parametrize("script", [DIGITS, ICONS, PETS, TRANSFER, HANDS, LETTERS])
def test_a_lesson_takes_its_own_network(script, load, saved):
    expected = getattr(load(script), "CLASSES", None)
    load(script).predict([], saved(script), None, expected)  # refuses any other network


@pytest.mark.parametrize(
    "script, other",
    [
        (PETS, HANDS),
        (PETS, ICONS),
        (DIGITS, LETTERS),
        (HANDS, TRANSFER),
        (DIGITS, CLOTHES),
        (ICONS, LINE),
    ],
)
def test_the_network_of_another_lesson_is_named(script, other, load, saved):
    message = message_of(load(script).predict, [], saved(other), None)
    assert Path(other).stem in message and "--output-dir" in message


def test_the_network_of_another_lesson_ends_in_one_sentence(run, saved, drawn):
    file = next((drawn / "rps" / "rock").iterdir())
    process = run(PETS, "--output-dir", saved(HANDS), "--predict", file)
    assert_one_sentence(process, "TF_RockPaperScissors", "TF_Dogs_Cats")


def test_names_of_another_number_of_classes_are_refused(load, saved, tmp_path):
    shutil.copytree(saved(HANDS), tmp_path, dirs_exist_ok=True)
    (tmp_path / "classes.txt").write_text("cats\ndogs")
    assert "classes.txt" in message_of(load(HANDS).predict, [], tmp_path, None)


def test_names_of_other_classes_are_refused(load, saved, tmp_path):
    shutil.copytree(saved(PETS), tmp_path, dirs_exist_ok=True)
    (tmp_path / "classes.txt").write_text("horses\nhumans")
    message = message_of(load(PETS).predict, [], tmp_path, None, ["cats", "dogs"])
    assert "horses, humans" in message and "cats, dogs" in message


def test_names_of_another_network_are_refused_by_lesson_9(run, saved, drawn, tmp_path):
    shutil.copytree(saved(HANDS), tmp_path, dirs_exist_ok=True)
    (tmp_path / "classes.txt").write_text("cats\ndogs")
    file = next((drawn / "rps" / "rock").iterdir())
    process = run(LOOK_INSIDE, "--model", tmp_path / "model.keras", "--image", file)
    assert_one_sentence(process, "classes.txt")


def pretend_to_train(model, callbacks, epochs):
    """Do nothing in each epoch but what the callbacks do, such as to save the network."""
    numbers = {"accuracy": 1.0, "loss": 0.0, "val_accuracy": 1.0, "val_loss": 0.0}
    model.optimizer.build(model.trainable_variables)
    history = tf.keras.callbacks.History()
    together = tf.keras.callbacks.CallbackList([history, *callbacks], model=model)
    together.on_train_begin()
    for epoch in range(epochs):
        together.on_epoch_begin(epoch)
        together.on_epoch_end(epoch, numbers)
    return history


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_training_that_is_stopped_leaves_names_and_network_of_one_run(
    epochs, run, load, drawn, saved, tmp_path, monkeypatch
):
    shutil.copytree(saved(HANDS), tmp_path / "mine")
    for part in ["train", "validation"]:
        for name in ["ant", "bee", "cow"]:
            (tmp_path / "data" / part / name).mkdir(parents=True)
            shutil.copy(drawn / "rps" / "rock" / "rock01-000.png", tmp_path / "data" / part / name)

    def stop(model, *_, callbacks, **__):
        pretend_to_train(model, callbacks, epochs)
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.keras.Sequential, "fit", stop)
    arguments = ["--data-dir", tmp_path / "data", "--output-dir", tmp_path / "mine"]
    assert_one_sentence(run(HANDS, *arguments, text=small_text(HANDS)), "Stopped.")
    model = load(HANDS).load_network(tmp_path / "mine" / "model.keras")
    classes = load(HANDS).read_classes(tmp_path / "mine", model)
    assert classes == (["ant", "bee", "cow"] if epochs else ["paper", "rock", "scissors"])
    assert model.input_shape[1] == (100 if epochs else 150)


def test_the_notes_give_each_lesson_its_own_folder_for_tries():
    notes = (ROOT / "README.md").read_text(encoding="utf-8")
    for script in SCRIPTS:
        notes += f"\n## `{script}`\n" + ast.get_docstring(ast.parse((ROOT / script).read_bytes()))
    owners = {}
    for section in notes.split("\n## "):
        title = re.search(r"`(\w+\.py)`", section.split("\n")[0])
        for line in section.split("\n"):
            command = re.search(r"python (\w+\.py)", line) or title
            for folder in re.findall(r"--output-dir[ =]([\w/.-]+)", line):
                if command:
                    owners.setdefault(folder, set()).add(command[1])
    assert len(owners) >= 5
    assert not {folder: names for folder, names in owners.items() if len(names) > 1}


# D. Junk and strays among the pictures.


def test_endings_of_pictures_are_those_that_flows_read(load, tmp_path):
    flow = make_flow(draw_pets(tmp_path))
    listed = re.findall(r'"\.(\w+)"', functions_of(PETS)["is_picture"])
    assert sorted(listed) == sorted(flow.white_list_formats)
    for ending in flow.white_list_formats:
        assert load(PETS).is_picture(Path(f"photograph.{ending.upper()}"))
    for name in ["photograph.webp", "photograph.jfif", "photograph.gif", "jpg", "note.txt"]:
        assert not load(PETS).is_picture(Path(name))


@pytest.mark.parametrize(
    "junk",
    [
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "._cat.0.jpg",
        ".ipynb_checkpoints/cat.0-checkpoint.jpg",
        "__MACOSX/cats/._cat.0.jpg",
        "album.jpg/.hidden.png",
    ],
)
def test_junk_is_not_trained_on(junk, load, tmp_path):
    draw_pets(tmp_path)
    file = tmp_path / "cats" / junk
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "cats" / "cat.0.jpg", file)
    files, labels = load(PETS).select_pictures(make_flow(tmp_path))
    assert [Path(file).name for file in files] == ["cat.0.jpg", "dog.0.jpg"]
    assert list(labels) == [0, 1]


def test_pictures_in_folders_of_a_class_are_trained_on(load, tmp_path):
    draw_pets(tmp_path)
    (tmp_path / "cats" / "summer.jpg").mkdir()
    shutil.copy(tmp_path / "cats" / "cat.0.jpg", tmp_path / "cats" / "summer.jpg" / "1.JPG")
    files, labels = load(PETS).select_pictures(make_flow(tmp_path))
    assert len(files) == 3 and list(labels) == [0, 0, 1]


def test_what_is_skipped_is_counted_and_named(load, tmp_path, capsys):
    draw_pets(tmp_path)
    for name in ["1.webp", "2.webp", "3.jfif"]:
        (tmp_path / "cats" / name).touch()
    load(HORSES).select_pictures(make_flow(tmp_path))
    line = [line for line in capsys.readouterr().out.splitlines() if "cats: " in line]
    assert len(line) == 1 and "3 files" in line[0] and ".jfif, .webp" in line[0]


def test_a_class_of_which_all_is_skipped_ends_the_lesson(load, tmp_path):
    draw_pets(tmp_path)
    file = tmp_path / "cats" / "cat.0.jpg"
    file.rename(tmp_path / "cats" / "cat.0.webp")
    assert "class cats" in message_of(load(PETS).select_pictures, make_flow(tmp_path))


def test_a_folder_that_is_not_one_of_the_classes_is_named(load, tmp_path, capsys):
    draw_pets(tmp_path)
    for name in ["birds", ".ipynb_checkpoints", "__MACOSX"]:
        shutil.copytree(tmp_path / "cats", tmp_path / name)
    load(ICONS).select_pictures(make_flow(tmp_path))
    out = capsys.readouterr().out
    assert "folder birds" in out and "checkpoints" not in out and "MACOSX" not in out


@pytest.mark.parametrize("script", [SPLIT, TRANSFER, HANDS])
def test_hidden_folders_are_no_classes(script, load, tmp_path):
    draw_pets(tmp_path)
    for name in [".ipynb_checkpoints", "__MACOSX"]:
        shutil.copytree(tmp_path / "cats", tmp_path / name)
    (tmp_path / "desktop.ini").touch()
    assert load(script).list_classes(tmp_path) == ["cats", "dogs"]


def test_lesson_9_never_draws_junk(load, tmp_path):
    draw_pets(tmp_path)
    for name in ["._cat.0.jpg", "__MACOSX/cat.0.jpg", ".ipynb_checkpoints/cat.0.jpg", "x.webp"]:
        (tmp_path / "cats" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "cats" / name).touch()
    for seed in range(1, 21):
        file = load(LOOK_INSIDE).choose_photograph(tmp_path, seed)
        assert file.name in ["cat.0.jpg", "dog.0.jpg"]


@pytest.mark.parametrize("junk", [".DS_Store", "desktop.ini", "Thumbs.db", "._cat.0.jpg"])
def test_lesson_10_does_not_refuse_its_own_folder_for_junk(junk, run, tmp_path):
    draw_pets(tmp_path / "photos", count=2)
    arguments = ["--data-dir", tmp_path / "photos", "--output-dir", tmp_path / "split"]
    for part in ["training", "testing"]:
        (tmp_path / "split" / part / "cats").mkdir(parents=True)
        (tmp_path / "split" / part / "cats" / junk).write_bytes(b"\0\5\26\7 no picture")
    process = run(SPLIT, *arguments)
    assert process.code == 0, process.err
    assert (tmp_path / "split" / "pictures.png").exists()


def test_lesson_11_shows_horses_of_every_format(run, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    for part in ["horse-or-human", "validation-horse-or-human"]:
        names = {"horses": "horse{}.bmp", "humans": "human{}.ppm"}
        draw_folder(tmp_path / part, names, 2, (100, 100), seed=1)
    monkeypatch.setattr(tf.keras.Sequential, "fit", stop)
    process = run(AUGMENTED, "--data-dir", tmp_path, text=small_text(AUGMENTED))
    assert_one_sentence(process, "Stopped.")
    assert (process.outputs / "augmentations.png").exists()


def test_junk_among_the_validation_pictures_does_not_end_lesson_13(run, tmp_path, monkeypatch):
    def train(model, *_, callbacks, **__):
        return pretend_to_train(model, callbacks, epochs=1)

    names = {"paper": "paper{}.png", "rock": "rock{}.png", "scissors": "scissors{}.png"}
    for part in ["rps", "rps-test-set"]:
        draw_folder(tmp_path / part, names, 2, (100, 100), seed=1)
        shutil.copy(tmp_path / part / "rock" / "rock0.png", tmp_path / part / "rock" / "._rock.png")
    monkeypatch.setattr(tf.keras.Sequential, "fit", train)
    process = run(HANDS, "--data-dir", tmp_path, text=small_text(HANDS))
    assert process.code == 0, process.err
    assert (process.outputs / "confusion_matrix.png").exists()


# From folders to a classifier, end to end.


MUSHROOMS = ["Röhrling", "boletus", "fly agaric"]


def draw_mushrooms(folder):
    """Draw four pictures of each class, in four formats; besides, a copy, a broken file, junk."""
    random = np.random.default_rng(1)
    for kind, name in enumerate(MUSHROOMS):
        (folder / name).mkdir(parents=True)
        draw_shape(kind, (120, 90), random, False).save(folder / name / "first.jpg")
        draw_shape(kind, (90, 120), random, False).save(folder / name / "second.BMP")
        cut_out = Image.new("RGBA", (100, 100))
        cut_out.paste(draw_shape(kind, (50, 50), random, True), (20, 20))
        cut_out.save(folder / name / "cut out.png")
        grey = np.asarray(draw_shape(kind, (80, 80), random, False).convert("L"), np.uint16)
        Image.fromarray(grey * 257).save(folder / name / "sixteen bits.png")
    content = (folder / "boletus" / "first.jpg").read_bytes()
    (folder / "boletus" / "first (copy).jpg").write_bytes(content)
    (folder / "Röhrling" / "broken.jpg").write_bytes(content[: len(content) // 2])
    for place in [folder, folder / "boletus"]:
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")


@pytest.fixture(scope="module")
def journey(run, tmp_path_factory):
    """The three commands, in a folder with a space in its name, and then a prediction of each."""
    folder = tmp_path_factory.mktemp("my pictures")
    draw_mushrooms(folder / "photos")
    clean = folder / "clean split"
    split = run(SPLIT, "--data-dir", folder / "photos", "--split", 0.5, "--output-dir", clean)
    for name in MUSHROOMS:
        for file in sorted((clean / "training" / name).iterdir()):
            shutil.copy(file, file.with_name(f"._{file.name}"))
    questions = []
    for name in MUSHROOMS:
        questions.append(folder / "photos" / name / "cut out.png")
    trained = {}
    predicted = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.keras.applications, "InceptionV3", small_inception)
        for script in [TRANSFER, HANDS]:
            output = ["--output-dir", folder / f"results of {script}"]
            arguments = ["--data-dir", clean, "--epochs", 2, "--batch-size", 4]
            trained[script] = run(script, *arguments, *output, text=small_text(script))
            predicted[script] = run(script, "--predict", *questions, *output)
    return SimpleNamespace(
        folder=folder,
        clean=clean,
        split=split,
        questions=questions,
        trained=trained,
        predicted=predicted,
    )


def test_lesson_10_divides_every_class(journey):
    assert journey.split.code == 0, journey.split.err
    for part in ["training", "testing"]:
        assert sorted(path.name for path in (journey.clean / part).iterdir()) == MUSHROOMS
        for name in MUSHROOMS:
            files = [path.name for path in (journey.clean / part / name).iterdir()]
            assert len([name for name in files if not name.startswith(".")]) == 2


def test_lesson_10_names_the_copy_and_the_broken_file(journey):
    lines = [line for line in journey.split.out.splitlines() if line.startswith("Left out: ")]
    assert len(lines) == 2
    assert "broken.jpg" in lines[0] and "cannot be read as a picture" in lines[0]
    assert "first" in lines[1] and "the same as" in lines[1]


@pytest.mark.parametrize("script", [TRANSFER, HANDS])
def test_own_classes_are_trained(script, journey):
    process = journey.trained[script]
    assert process.code == 0, process.err
    assert "Reading 6 pictures" in process.out and "best validation accuracy" in process.out
    model = tf.keras.models.load_model(journey.folder / f"results of {script}" / "model.keras")
    assert model.name == Path(script).stem and model.output_shape[1] == len(MUSHROOMS)


@pytest.mark.parametrize("script", [TRANSFER, HANDS])
def test_own_classes_are_predicted_by_name(script, journey):
    assert journey.predicted[script].code == 0, journey.predicted[script].err
    names = "|".join(MUSHROOMS)
    for file in journey.questions:
        answer = rf"^{re.escape(str(file))}: ({names}) \(\d+\.\d%\)$"
        assert re.search(answer, journey.predicted[script].out, re.MULTILINE), file


def test_hidden_copies_do_not_count_in_the_learning_curve(journey):
    assert "training pictures of each class" not in journey.trained[TRANSFER].out


def test_the_same_files_with_another_seed_are_refused(run, journey):
    arguments = ["--data-dir", journey.folder / "photos", "--split", 0.5, "--seed", 2]
    before = sorted(journey.clean.rglob("*"))
    process = run(SPLIT, *arguments, "--output-dir", journey.clean)
    assert_one_sentence(process, "another split", "--output-dir")
    assert sorted(journey.clean.rglob("*")) == before
