"""Lessons 4 and 14: digits and hands of one's own, and tables as people have them."""

import zipfile

import numpy as np
import pytest
from conftest import assert_one_sentence
from PIL import Image, ImageDraw

DIGITS = "TF_hand_writing_recognition.py"
SIGNS = "TF_sign_language.py"
WIDTH = 400
HEIGHT = 300


def draw_page(strokes=((200, 80, 200, 220),), paper=210):
    """A sheet of paper with dark strokes, each from (x, y) to (x, y): like a 1."""
    page = Image.new("L", (WIDTH, HEIGHT), paper)
    for stroke in strokes:
        ImageDraw.Draw(page).line(stroke, fill=40, width=14)
    return page


def put_on_desk(page):
    desk = Image.new("L", (2 * WIDTH, 2 * HEIGHT), 35)
    desk.paste(page, (WIDTH // 2, HEIGHT // 2))
    return desk


def put_on_wood(page):
    """A desk with a grain that is dark and light, all round the paper."""
    random = np.random.default_rng(1)
    grain = Image.fromarray(np.uint8(random.integers(40, 100, (HEIGHT // 4, WIDTH // 4))))
    desk = grain.resize((2 * WIDTH, 2 * HEIGHT), Image.Resampling.BILINEAR)
    desk.paste(page, (WIDTH // 2, HEIGHT // 2))
    return desk


def darken_half(page):
    pixels = np.asarray(page, float)
    pixels[:, WIDTH // 3:] *= 0.55
    return Image.fromarray(np.uint8(pixels))


def draw_squares(page):
    lined = page.copy()
    for place in range(0, WIDTH, 20):
        ImageDraw.Draw(lined).line((place, 0, place, HEIGHT), fill=170)
        ImageDraw.Draw(lined).line((0, place, WIDTH, place), fill=170)
    return Image.fromarray(np.minimum(np.asarray(lined), np.asarray(page)))


def make_transparent(page):
    ink = Image.fromarray(255 - np.asarray(page.point(lambda value: 255 if value > 100 else 0)))
    return Image.merge("LA", [Image.new("L", page.size), ink])


PAGES = {
    "plain": draw_page(),
    "on a dark desk": put_on_desk(draw_page()),
    "on wood": put_on_wood(draw_page()),
    "half in a shadow": darken_half(draw_page()),
    "on squared paper": draw_squares(draw_page()),
    "transparent": make_transparent(draw_page()),
    "in a corner": draw_page([(60, 40, 60, 180)]),
}


@pytest.mark.parametrize("kind", PAGES)
def test_a_stroke_is_read_as_a_stroke(kind, load, tmp_path):
    PAGES[kind].save(tmp_path / "one.png")
    digit = load(DIGITS).load_digit(tmp_path / "one.png")
    assert digit.shape == (28, 28)
    rows, columns = np.nonzero(digit > 128)
    assert 16 <= np.ptp(rows) + 1 <= 22 and np.ptp(columns) + 1 <= 5  # upright, and nothing else
    assert abs(rows.mean() - 13.5) < 1 and abs(columns.mean() - 13.5) < 1


def test_a_turned_photograph_is_upright(load, tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # to be turned to the right
    draw_page().rotate(90, expand=True).save(tmp_path / "one.jpg", exif=exif, quality=95)
    rows, columns = np.nonzero(load(DIGITS).load_digit(tmp_path / "one.jpg") > 128)
    assert np.ptp(rows) > 3 * np.ptp(columns)


@pytest.mark.parametrize("page, words", [
    (draw_page([]), "empty page"),
    (draw_page([(120, 80, 120, 220), (280, 80, 280, 220)]), "more than one digit"),
    (draw_page([(90, 80, 90, 220), (200, 80, 200, 220), (310, 80, 310, 220)]), "more than one"),
    (put_on_desk(draw_page([])), "empty page"),
])
def test_what_is_no_digit_is_said(page, words, load, tmp_path):
    page.save(tmp_path / "page.png")
    with pytest.raises(OSError, match=words):
        load(DIGITS).load_digit(tmp_path / "page.png")


@pytest.mark.parametrize("script", [DIGITS, SIGNS])
def test_a_broken_file_does_not_end_the_work(script, trained, run, tmp_path):
    draw_page().save(tmp_path / "good.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    files = [tmp_path / name for name in ["good.png", "broken.png", "missing.png", "good.png"]]
    process = run(script, "--predict", *files, folder=trained(script).folder)
    assert process.code == 1 and process.out.count("%)") == 2, process.out + process.err
    assert "broken.png cannot be" in process.out and "missing.png" in process.out
    with Image.open(process.outputs / "prediction.png") as seen:
        assert seen.size == (2 * 8 * 28, 8 * 28)  # two of 28x28, eight times as large


# Tables


GOOD = "3" + ",7" * 784


def write_table(folder, header, rows=(GOOD,) * 12, name="sign_mnist_train.csv"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize("header", [
    "",  # an empty line
    ",label,pixel1",  # an index column
    "label;pixel1;pixel2",
    "Label,pixel1",
    "pixel1,pixel2,label",
    "3,107,118",  # none at all
])
def test_a_header_is_shown_as_it_begins(header, run, tmp_path):
    write_table(tmp_path, header)
    write_table(tmp_path, header, name="sign_mnist_test.csv")
    process = run(SIGNS, "--data-dir", tmp_path)
    assert_one_sentence(process, "line 1", header[:9], "label,pixel1,pixel2")


@pytest.mark.parametrize("row, words", [
    ("3" + ",7" * 783, "784 columns"),
    ("3" + ",7" * 785, "786 columns"),
    ("3,256" + ",7" * 783, "0 to 255"),
    ("3,-1" + ",7" * 783, "0 to 255"),
    ("3,7.5" + ",7" * 783, "0 to 255"),
    ("3,," + "7," * 782 + "7", "0 to 255"),
    ("9" + ",7" * 784, "label is ['9']"),
    ("25" + ",7" * 784, "label is ['25']"),
])
def test_a_wrong_row_is_named_with_its_line(row, words, run, tmp_path):
    write_table(tmp_path, "label,pixel1", [GOOD, row, GOOD])
    assert_one_sentence(run(SIGNS, "--data-dir", tmp_path), "sign_mnist_train.csv, line 3", words)


def test_a_good_table_is_read(load, tmp_path):
    write_table(tmp_path, "\ufefflabel,pixel1", [GOOD, GOOD])
    pictures, labels = load(SIGNS).read_csv(tmp_path / "sign_mnist_train.csv")
    assert pictures.shape == (2, 28, 28, 1) and (pictures == 7).all() and labels.tolist() == [3, 3]


def test_the_tables_are_found_as_kaggle_lays_them(load, tmp_path):
    for name in ["sign_mnist_train", "sign_mnist_test"]:
        write_table(tmp_path / name, "label,pixel1", name=f"{name}.csv")
        (tmp_path / f"{name}.csv").mkdir()  # a folder of the same name
    with zipfile.ZipFile(tmp_path / "amer_sign2.zip", "w"):
        pass
    found = load(SIGNS).find_file(tmp_path, "sign_mnist_test.csv")
    assert found == tmp_path / "sign_mnist_test" / "sign_mnist_test.csv"


@pytest.mark.parametrize("count, words", [(0, "only 0"), (9, "only 9")])
def test_missing_or_few_rows(count, words, run, tmp_path):
    for name in ["sign_mnist_train.csv", "sign_mnist_test.csv"]:
        write_table(tmp_path, "label,pixel1", [GOOD] * count, name)
    assert_one_sentence(run(SIGNS, "--data-dir", tmp_path), words)


def test_a_missing_table(run, tmp_path):
    assert_one_sentence(run(SIGNS, "--data-dir", tmp_path), "no file sign_mnist_train.csv")
