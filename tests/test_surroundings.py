"""What surrounds a run: full disks, inherited settings, tables of other programs, terminals."""

import errno
import gzip
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, SCRIPTS, assert_one_sentence, metrics_of
from draw_data import draw_folder, write_idx
from PIL import Image

ONCE = ["--epochs", 1]
LESSON_1 = "TF_HelloWorld.py"
LESSON_3 = "Convolutions_basic.py"
LESSON_4 = "TF_hand_writing_recognition.py"
LESSON_6 = "TF_HappyVsSad_Face.py"
LESSON_8 = "TF_Dogs_Cats.py"
LESSON_10 = "TF_DataProcessing_for_CNN_DogCatDataset.py"
LESSON_11 = "TF_Human_horse_Augmentation.py"
LESSON_12 = "TF_Dogs_Cats_Transfer_Learning.py"
LESSON_13 = "TF_RockPaperScissors.py"
LESSON_14 = "TF_sign_language.py"
LESSON_15 = "TF_Model_Evaluation.py"


def small(script, old="", new=""):
    """Return the text of a lesson with pictures of 100x100, and `new` in the place of `old`."""
    text = (ROOT / script).read_text(encoding="utf-8")
    assert old in text
    text = text.replace(old, new)
    return re.sub(r"^IMAGE_SIZE = .*$", "IMAGE_SIZE = (100, 100)", text, flags=re.MULTILINE)


def small_base(include_top, weights, input_tensor):
    """Return a network with the layers of InceptionV3 that lesson 12 asks for, untrained."""
    convolution = tf.keras.layers.Conv2D(8, 25, strides=25, name="mixed6")
    maps = convolution(input_tensor)
    maps = tf.keras.layers.Conv2D(16, 1, activation="relu", name="mixed8")(maps)
    return tf.keras.Model(input_tensor, maps)


def draw_classes(folder, names, count=2, ending="jpg"):
    """Draw `count` pictures of each class into `folder`, and return it."""
    patterns = {}
    for name in names:
        patterns[name] = "picture{}." + ending
    draw_folder(folder, patterns, count, (100, 100), seed=1)
    return folder


def draw_split(folder, names):
    """Draw two pictures of each class for training, and two for validation; return the folder."""
    draw_classes(folder / "train", names)
    draw_classes(folder / "validation", names)
    return folder


def pictures_in(folder):
    """Return the pictures in a folder that a lesson would train on, as {path in it: bytes}."""
    contents = {}
    for file in folder.rglob("*.jpg"):
        if not file.name.startswith("."):
            contents[file.relative_to(folder).as_posix()] = file.read_bytes()
    return contents


START = """
import runpy, sys
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(script, *arguments, folder, text=None, before="", **environment):
    """Run a lesson in a process of its own, after the lines of code in `before`.

    environment: what is set there; None stands for what is not set.
    """
    (folder / script).write_text(text or small(script), encoding="utf-8")
    (folder / "matplotlibrc").write_text("backend: agg")  # no window, whatever MPLBACKEND was
    variables = {**os.environ, **environment}
    for name, value in environment.items():
        if value is None:
            variables.pop(name, None)
    command = [sys.executable, "-c", before + START, script, *map(str, arguments)]
    process = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True,
                             errors="replace")
    return SimpleNamespace(code=process.returncode, out=process.stdout, err=process.stderr,
                           outputs=folder / "outputs" / Path(script).stem)


# E. Half-written counts as done.


def refuse(*_):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.parametrize("failure, word", [
    (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
    (KeyboardInterrupt(), "Stopped."),
])
def test_a_copy_that_ends_halfway_is_no_picture(failure, word, run, tmp_path, monkeypatch):
    arguments = ["--data-dir", draw_classes(tmp_path / "photos", ["ants", "bees"], count=4)]
    originals = pictures_in(tmp_path / "photos")
    copied = []

    def copy_two_and_a_half(source, target):
        content = Path(source).read_bytes()
        if len(copied) == 2:
            Path(target).write_bytes(content[:len(content) // 2])
            raise failure
        Path(target).write_bytes(content)
        copied.append(target)

    monkeypatch.setattr(os, "link", refuse)
    with pytest.MonkeyPatch.context() as full_disk:
        full_disk.setattr(shutil, "copy2", copy_two_and_a_half)
        stopped = run(LESSON_10, *arguments, folder=tmp_path)
    assert_one_sentence(stopped, word)
    placed = pictures_in(stopped.outputs)
    assert len(placed) == 2 and set(placed.values()) < set(originals.values())
    again = run(LESSON_10, *arguments, folder=tmp_path)
    assert again.code == 0 and "6 placed in this run, 2 were there" in again.out, again.err
    assert sorted(pictures_in(again.outputs).values()) == sorted(originals.values())
    assert not list(again.outputs.rglob(".*"))


ARCHIVES = [  # lesson, the folders of its downloads, a class in the first
    (LESSON_6, ["happy-or-sad"], "happy"),
    (LESSON_8, ["cats_and_dogs_filtered"], "train/cats"),
    (LESSON_11, ["horse-or-human", "validation-horse-or-human"], "horses"),
    (LESSON_10, ["kagglecatsanddogs_5340"], "PetImages/Cat"),
    (LESSON_12, ["cats_and_dogs_filtered"], "train/cats"),
    (LESSON_13, ["rps", "rps-test-set"], "rock"),
]


@pytest.mark.parametrize("state", ["empty", "nested", "a file"])
@pytest.mark.parametrize("script, names, inside", ARCHIVES)
def test_what_is_in_the_way_of_a_download_is_to_be_deleted(script, names, inside, state, run,
                                                           cache):
    wrong = cache / names[0]
    for name in names:
        (cache / name).mkdir(parents=True)
    if state == "a file":
        wrong.rmdir()
        wrong.touch()
    if state == "nested":
        draw_classes(wrong / names[0], [inside])
    assert_one_sentence(run(script), str(wrong), "delete")


def test_of_two_first_runs_the_slower_uses_what_the_faster_has_unpacked(load, serve, drawn, cache,
                                                                       monkeypatch):
    unpack = shutil.unpack_archive
    folder = cache / "happy-or-sad"

    def unpack_later(archive, content, kind):
        unpack(archive, folder, kind)
        (folder / "of the faster run").touch()
        unpack(archive, content, kind)

    monkeypatch.setattr(shutil, "unpack_archive", unpack_later)
    address = serve(drawn / "archives")
    assert load(LESSON_6).download([f"{address}/happy-or-sad.zip"]) == folder
    assert (folder / "of the faster run").exists()
    assert list(cache.iterdir()) == [folder]


def test_a_disk_that_fills_up_while_unpacking_leaves_nothing(load, serve, drawn, cache,
                                                            monkeypatch):
    def unpack_half(archive, content, kind):
        (content / "rock").mkdir(parents=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "unpack_archive", unpack_half)
    address = serve(drawn / "archives")
    with pytest.raises(SystemExit, match="No space left"):
        load(LESSON_13).download([f"{address}/rps.zip"])
    assert not list(cache.iterdir())


# F. Inherited state decides.

HOMELESS = """
import pwd
def nobody(number):
    raise KeyError(number)
pwd.getpwuid = nobody
"""
WITHOUT_JUPYTER = """
import sys
sys.modules["matplotlib_inline"] = None
"""
SETTINGS = {"backend": "jax", "floatx": "float16", "image_data_format": "channels_first"}


def test_a_cell_of_a_notebook_starts_a_lesson_for_a_user_without_home(drawn, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(SETTINGS))
    keras_2 = tmp_path / "tf_keras" / "api" / "_v2" / "keras" / "__init__.py"
    keras_2.parent.mkdir(parents=True)
    keras_2.write_text("raise SystemExit('This is Keras 2.')")
    (tmp_path / "tf_keras" / "__init__.py").touch()
    process = start(LESSON_6, *ONCE, "--data-dir", drawn / "happy-or-sad", folder=tmp_path,
                    before=HOMELESS + WITHOUT_JUPYTER, HOME=None, KERAS_HOME=str(tmp_path),
                    MPLBACKEND="module://matplotlib_inline.backend_inline",
                    KERAS_BACKEND="jax", TF_USE_LEGACY_KERAS="1")
    assert process.code == 0, process.err
    assert (process.outputs / "curves.png").exists()


def test_a_figure_needs_no_notebook(tmp_path):
    process = start(LESSON_3, folder=tmp_path, MPLBACKEND="module://ipympl.backend_nbagg")
    assert process.code == 0, process.err
    assert (process.outputs / "filters.png").exists()


def test_without_home_the_cache_is_in_keras_home_or_among_temporary_files(load, monkeypatch):
    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("KERAS_HOME", "of_keras")
    for script in [LESSON_6, "TF_Dogs_Cats_Visualization.py"]:
        assert load(script).find_cache() == Path("of_keras", "datasets")
    monkeypatch.delenv("KERAS_HOME")
    for script in [LESSON_6, "TF_Dogs_Cats_Visualization.py"]:
        assert load(script).find_cache() == Path(tempfile.gettempdir(), ".keras", "datasets")


@pytest.fixture
def other_settings():
    """Settings of Keras that a file or an earlier program has made, in this process."""
    tf.keras.config.set_image_data_format("channels_first")
    tf.keras.config.set_floatx("float64")
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    yield
    tf.keras.config.set_image_data_format("channels_last")
    tf.keras.config.set_floatx("float32")
    tf.keras.mixed_precision.set_global_policy("float32")


def test_lesson_1_predicts_the_same_after_any_other_program(run, other_settings):
    after_others = metrics_of(run(LESSON_1, "--epochs", 50))["prediction"]
    tf.keras.config.set_floatx("float32")
    alone = metrics_of(run(LESSON_1, "--epochs", 50))["prediction"]
    assert after_others == alone != round(alone, 1)


def test_a_convolution_has_its_channels_last_after_any_other_program(run, drawn, other_settings):
    process = run(LESSON_6, *ONCE, "--data-dir", drawn / "happy-or-sad", text=small(LESSON_6))
    assert process.code == 0, process.err
    model = tf.keras.models.load_model(process.outputs / "model.keras")
    assert model.input_shape == (None, 100, 100, 3)
    assert model.weights[0].dtype == "float32"


@pytest.mark.parametrize("version", ["2.15.1", "2.9.0", "1.15.5"])
def test_an_older_tensorflow_is_named(version, run, monkeypatch):
    monkeypatch.setattr(tf, "__version__", version)
    for script in [LESSON_1, LESSON_10]:
        assert_one_sentence(run(script), "TensorFlow 2.21", version, "pip install")


@pytest.mark.parametrize("version", ["2.22.0rc0", "3.0.0"])
def test_a_newer_tensorflow_is_not_refused(version, load, monkeypatch):
    monkeypatch.setattr(tf, "__version__", version)
    load(LESSON_1).set_up(seed=1)


# G. Not a number.


INFINITE = "float('inf')"  # 1e6 may end in numbers that are none, infinity surely does


def run_after_an_earlier_run(run, script, data, text, batch_size, folder):
    """Run a lesson that cannot succeed where an earlier run has saved its network.

    Returns the run, and what is now in the place of the earlier network.
    """
    model = folder / "outputs" / Path(script).stem / "model.keras"
    model.parent.mkdir(parents=True)
    model.write_text("of an earlier run")
    process = run(script, "--data-dir", data, "--epochs", 2, "--batch-size", batch_size,
                  folder=folder, text=text)
    return process, model.read_bytes()


@pytest.mark.parametrize("script, data, old, new", [
    (LESSON_4, "mnist", '"adam"', f"tf.keras.optimizers.Adam({INFINITE})"),
    (LESSON_6, "happy-or-sad", "learning_rate=1e-3", f"learning_rate={INFINITE}"),
    (LESSON_8, "cats_and_dogs_filtered", "learning_rate=1e-3", f"learning_rate={INFINITE}"),
    (LESSON_12, "cats_and_dogs_filtered", "LEARNING_RATE = 3e-4", f"LEARNING_RATE = {INFINITE}"),
    (LESSON_13, "", "CosineDecay(1e-3", f"CosineDecay({INFINITE}"),
    (LESSON_14, "sign-language-mnist", "learning_rate=2e-3", f"learning_rate={INFINITE}"),
    (LESSON_15, "fashion-mnist", '"adam"', f"tf.keras.optimizers.Adam({INFINITE})"),
], ids=["4", "6", "8", "12", "13", "14", "15"])
def test_steps_that_are_too_large(script, data, old, new, run, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_base)
    text = small(script, old, new)
    process, model = run_after_an_earlier_run(run, script, drawn / data, text, 8, tmp_path)
    assert_one_sentence(process, "no longer a number", "smaller learning rate")
    assert model == b"of an earlier run"


def test_one_neuron_with_steps_that_are_too_large(run):
    good = run(LESSON_1, *ONCE, "--learning-rate", 0.01)
    model = (good.outputs / "model.keras").read_bytes()
    process = run(LESSON_1, "--learning-rate", 0.2, folder=good.folder)
    assert_one_sentence(process, "no longer a number", "smaller learning rate")
    assert (good.outputs / "model.keras").read_bytes() == model


def test_a_network_that_is_no_longer_a_number_is_not_saved(run):
    text = small("TF_Saving_Loading_Model.py", "learning_rate=0.05", "learning_rate=1e30")
    process = run("TF_Saving_Loading_Model.py", text=text)
    assert_one_sentence(process, "no longer a number", "smaller learning rate")


# H. Lost at the last step.


def test_an_output_folder_with_dollar_signs(run, drawn, tmp_path):
    output = tmp_path / "a$b_$c"
    trained = run(LESSON_6, *ONCE, "--data-dir", drawn / "happy-or-sad", "--output-dir", output,
                  text=small(LESSON_6))
    assert trained.code == 0 and (output / "metrics.json").exists(), trained.err
    compared = run(LESSON_15, "--history", output / "history.csv", "--output-dir", output)
    assert compared.code == 0 and (output / "histories.png").exists(), compared.err


@pytest.mark.parametrize("script", [LESSON_12, LESSON_13])
def test_classes_with_dollar_signs(script, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_base)
    data = draw_split(tmp_path / "data", ["a$b_$c", "$x_{y", "100%"])
    process = run(script, *ONCE, "--data-dir", data, text=small(script))
    assert process.code == 0 and metrics_of(process) and "Traceback" not in process.err, process.err
    assert (process.outputs / "curves.png").exists()
    assert (process.outputs / "classes.txt").read_text().splitlines() == ["$x_{y", "100%", "a$b_$c"]


HISTORY = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,0.7,0.5,0.69\n1,0.6,0.6,0.55,0.65\n"
SPOILED = {
    "empty": b"",
    "header": HISTORY.splitlines()[0].encode(),
    "semicolons": HISTORY.replace(",", ";").encode(),
    "decimal commas": HISTORY.replace(",", ";").replace(".", ",").encode("utf-8-sig"),
    "Unicode text": HISTORY.replace(",", "\t").encode("utf-16"),
    "cut": HISTORY[:-12].encode(),
    "a column too many": HISTORY.replace("0.65", "0.65,remark").encode(),
    "a page": b"<html>Please log in</html>",
}


@pytest.mark.parametrize("state", SPOILED)
def test_curves_that_cannot_be_read_are_left_out(state, load, tmp_path, capsys):
    file = tmp_path / "history.csv"
    file.write_bytes(SPOILED[state])
    assert load(LESSON_11).read_history(file) is None
    assert f"{file} cannot be read" in capsys.readouterr().out


def test_curves_that_a_spreadsheet_has_not_changed_are_read(load, tmp_path):
    file = tmp_path / "history.csv"
    file.write_bytes(HISTORY.replace("\n", "\r\n").encode("utf-8-sig"))
    history = load(LESSON_11).read_history(file)
    assert history["loss"] == [0.7, 0.6] and history["val_accuracy"] == [0.5, 0.55]


LOSS_ALONE = b"epoch,loss\n0,0.7\n1,0.6\n"  # the learner has deleted the metric


@pytest.mark.parametrize("script, flags, other, content, figure", [
    (LESSON_11, [], "TF_Human_horse", SPOILED["decimal commas"], "curves.png"),
    (LESSON_12, [], "TF_Dogs_Cats", SPOILED["cut"], "curves.png"),
    (LESSON_8, ["--augment"], "TF_Dogs_Cats", SPOILED["empty"],
     "training_validation_acc_loss_plot.png"),
    (LESSON_11, [], "TF_Human_horse", LOSS_ALONE, "curves.png"),
    (LESSON_12, [], "TF_Dogs_Cats", LOSS_ALONE, "curves.png"),
], ids=["11", "12", "8", "11, loss alone", "12, loss alone"])
def test_a_comparison_never_costs_a_lesson_its_own_results(script, flags, other, content, figure,
                                                           run, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_base)
    compared = tmp_path / "outputs" / other / "history.csv"
    compared.parent.mkdir(parents=True)
    compared.write_bytes(content)
    classes = ["horses", "humans"] if script == LESSON_11 else ["cats", "dogs"]
    data = draw_split(tmp_path / "data", classes)
    output = tmp_path / "own"
    process = run(script, *ONCE, *flags, "--data-dir", data, "--output-dir", output,
                  folder=tmp_path, text=small(script))
    assert (output / "metrics.json").exists() and (output / figure).exists(), process.err
    assert process.code == 0 and "history.csv" in process.out and "left out" in process.out


def write_histories(folder, **contents):
    """Write each of `contents` into a folder of its name, as history.csv, and return the files."""
    files = []
    for name, content in contents.items():
        (folder / name).mkdir()
        files.append(folder / name / "history.csv")
        files[-1].write_bytes(content)
    return files


def test_lesson_15_draws_the_curves_that_it_can_read(run, tmp_path):
    files = write_histories(tmp_path, spoiled=SPOILED["semicolons"], whole=HISTORY.encode())
    process = run(LESSON_15, "--history", *files)
    assert process.code == 0 and f"{files[0]} cannot be read" in process.out, process.err
    assert f"{files[1]}: validation loss is lowest in epoch 2" in process.out
    assert (process.outputs / "histories.png").exists()


def test_lesson_15_with_nothing_that_it_can_read(run, tmp_path):
    files = write_histories(tmp_path, one=SPOILED["empty"], other=SPOILED["a page"])
    process = run(LESSON_15, "--history", *files)
    assert_one_sentence(process, "None of these files can be read")


def test_lesson_15_draws_a_run_without_accuracy(run, tmp_path):
    files = write_histories(tmp_path, run=b"epoch,loss,val_loss\n0,0.7,0.8\n1,0.6,0.7\n")
    process = run(LESSON_15, "--history", *files)
    assert process.code == 0 and (process.outputs / "histories.png").exists(), process.err


# I. Tables.

HEADER = "label," + ",".join(f"pixel{number}" for number in range(1, 785))
ROW = "3" + ",7" * 784


def write_signs(folder, text, encoding="utf-8"):
    """Write `text` as both tables of lesson 14, and return the first."""
    for name in ["sign_mnist_train.csv", "sign_mnist_test.csv"]:
        (folder / name).write_bytes(text.encode(encoding))
    return folder / "sign_mnist_train.csv"


@pytest.mark.parametrize("end", ["\n\n", "\n\n\n\n", "\n" + "," * 784 + "\n", "\r\n\r\n"])
def test_empty_lines_are_skipped(end, load, tmp_path):
    pictures, labels = load(LESSON_14).read_csv(write_signs(tmp_path, f"{HEADER}\n{ROW}{end}"))
    assert pictures.shape == (1, 28, 28, 1) and (pictures == 7).all() and labels.tolist() == [3]


@pytest.mark.parametrize("text, encoding, words", [
    (f"{HEADER}\n{ROW}\n", "utf-16", "UTF-8"),
    (f"{HEADER}\n{ROW}\n", "utf-16-le", "line 1"),
    (f'{HEADER}\n{ROW}\n"{ROW}\n{ROW}\n', "utf-8", "line 3"),
    (f'{HEADER}\n{ROW}\n3"{ROW}\n', "utf-8", "line 3"),
    (f"{HEADER}\n{ROW}\n{ROW}\n".replace(",", ";"), "utf-8", "line 1"),
    (f"{HEADER}\n{ROW}\n" + "5,2.5" + ",7" * 783, "utf-8", "line 3"),
    (f"{HEADER}\n", "utf-8", "no rows"),
    ("", "utf-8", "no rows"),
    ("<html>Please log in</html>\n<html>\n", "utf-8", "line 1"),
], ids=["UTF-16", "UTF-16 without mark", "quote", "quote within", "semicolons", "half a pixel",
        "header", "empty", "page"])
def test_a_wrong_table_is_one_sentence(text, encoding, words, run, tmp_path):
    file = write_signs(tmp_path, text, encoding)
    assert_one_sentence(run(LESSON_14, "--data-dir", tmp_path), str(file), words)


def test_fewer_than_ten_rows(run, tmp_path):
    file = write_signs(tmp_path, "\n".join([HEADER] + 9 * [ROW]))
    assert_one_sentence(run(LESSON_14, "--data-dir", tmp_path), str(file), "9 pictures", "ten")


def write_mnist(folder, pictures, labels):
    """Write the four files of MNIST, with as many pictures, and with these labels."""
    for part in ["train", "t10k"]:
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", np.zeros((pictures, 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.array(labels))


@pytest.mark.parametrize("script", ["TF_fashion_mnist.py", LESSON_4, LESSON_15])
def test_more_labels_than_pictures(script, run, tmp_path):
    write_mnist(tmp_path, pictures=20, labels=range(21))
    process = run(script, "--data-dir", tmp_path)
    assert_one_sentence(process, str(tmp_path), "20 pictures, but 21 labels")


def test_pictures_that_end_halfway(run, tmp_path):
    write_mnist(tmp_path, pictures=20, labels=20 * [3])
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:-100]))
    assert_one_sentence(run(LESSON_4, "--data-dir", tmp_path), "cannot be loaded", "--data-dir")


def test_letters_in_the_place_of_digits(run, tmp_path):
    write_mnist(tmp_path, pictures=26, labels=range(1, 27))  # EMNIST has files of the same names
    assert_one_sentence(run(LESSON_4, "--data-dir", tmp_path), "label", "--data-dir")


# J. Terminals.

STRANGE = os.fsdecode(b"caf\xe9")  # as an old zip file names it: in Latin-1, not in UTF-8


@pytest.fixture
def strange_names(tmp_path):
    """Skip the test where the system has no names that are not UTF-8."""
    try:
        (tmp_path / STRANGE).touch()
        (tmp_path / STRANGE).unlink()
    except OSError:
        pytest.skip("every file name of this system is UTF-8")


def test_names_that_a_terminal_cannot_show(strange_names, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["Bären", "$eals"], count=3)
    (photos / "Bären" / f"{STRANGE}.jpg").write_text("no picture")
    process = start(LESSON_10, "--data-dir", photos, folder=tmp_path, before=HOMELESS, HOME=None,
                    KERAS_HOME=None, PYTHONIOENCODING="ascii")
    assert process.code == 0, process.err
    assert r"B\xe4ren" in process.out and r"caf\udce9.jpg" in process.out
    assert (process.outputs / "pictures.png").exists()


def test_a_picture_whose_name_a_terminal_cannot_show(strange_names, tmp_path):
    name = f"{STRANGE} 日.png"
    Image.linear_gradient("L").save(tmp_path / name)
    process = start(LESSON_3, "--image", name, folder=tmp_path, PYTHONIOENCODING="ascii")
    assert process.code == 0, process.err
    assert ascii(name)[1:-1] in process.out


@pytest.mark.parametrize("script", [LESSON_12, LESSON_13])
def test_a_class_whose_name_is_not_utf_8(script, strange_names, run, tmp_path, monkeypatch):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_base)
    data = draw_split(tmp_path / "data", [STRANGE, "tea"])
    process = run(script, *ONCE, "--data-dir", data, text=small(script))
    assert_one_sentence(process, "Rename it", "\\udce9")


# K. Words and small things.


@pytest.mark.parametrize("before, after, stops", [(1.0, 0.95, False), (0.9, 1.0, True)])
def test_lesson_6_measures_after_the_epoch(before, after, stops, load):
    class Model:
        stop_training = False

        def evaluate(self, batches, **_):
            return {"accuracy": after}

    callback = load(LESSON_6).StopWhenLearned([], 0.999)
    callback.set_model(Model())
    callback.on_epoch_end(0, {"accuracy": before})
    assert callback.model.stop_training is stops


def test_the_saved_network_knows_as_many_icons_as_it_says(run, load, drawn):
    process = run(LESSON_6, "--epochs", 2, "--data-dir", drawn / "happy-or-sad",
                  text=small(LESSON_6))
    model = tf.keras.models.load_model(process.outputs / "model.keras")
    icons = []
    labels = []
    for label, name in enumerate(["happy", "sad"]):
        for file in (drawn / "happy-or-sad" / name).iterdir():
            icons.append(load(LESSON_6).load_picture(file, (100, 100, 3)))
            labels.append(label)
    probabilities = model.predict(np.array(icons) / np.float32(255), verbose=0)
    right = np.round(probabilities[:, 0]) == labels
    said = re.findall(r"accuracy on the same icons: ([\d.]+)%", process.out)
    assert float(said[-1]) == pytest.approx(100 * np.mean(right), abs=0.1)
    assert metrics_of(process)["training_accuracy"] == pytest.approx(np.mean(right))


@pytest.mark.parametrize("flag", [["--output-dir", "~/results"], ["--output-dir=~/results"]])
def test_a_tilde_is_the_home_folder(flag, load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [LESSON_1, *flag])
    assert load(LESSON_1).parse_arguments().output_dir == tmp_path / "results"


def test_a_tilde_before_pictures(run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    Image.linear_gradient("L").save(tmp_path / "ramp.png")
    process = run(LESSON_3, "--image=~/ramp.png")
    assert process.code == 0 and f"{tmp_path / 'ramp.png'} is an array" in process.out


def test_the_home_folder_of_nobody(run):
    process = run(LESSON_3, "--image", "~nobody of this name/ramp.png")
    assert_one_sentence(process, "There is no file ~nobody of this name")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_flag_is_never_guessed(script, load, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--output", "elsewhere"])
    with pytest.raises(SystemExit) as stop:
        load(script).parse_arguments()
    assert stop.value.code == 2 and "--output" in capsys.readouterr().err


@pytest.mark.parametrize("script, flag", [(LESSON_8, "--ep"), (LESSON_12, "--fine")])
def test_a_part_of_a_flag_is_refused(script, flag, run):
    process = run(script, flag, 1)
    assert process.code == 2 and flag in process.err


@pytest.mark.parametrize("ending", ["png", "BMP", "tif"])
def test_lesson_10_needs_no_jpeg(ending, run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"], count=3, ending=ending)
    process = run(LESSON_10, "--data-dir", photos)
    assert process.code == 0 and "Left out" not in process.out, process.err
    assert len(list(process.outputs.glob(f"*/*/*.{ending}"))) == 6


def test_lesson_10_says_why_no_picture_can_be_used(run, tmp_path):
    photos = draw_classes(tmp_path / "photos", ["ants", "bees"], ending="webp")
    process = run(LESSON_10, "--data-dir", photos)
    assert_one_sentence(process, "0 pictures")
    assert process.out.count("does not end like that of a picture") == 4
