"""What happens on real machines: interruptions, wrong flags, models and pictures that are not what they should be."""

import argparse
import ast
import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, SCRIPTS, metrics_of, with_constants
from test_download import assert_clear_failure

SIGNED = {"--slope", "--intercept", "--filter"}  # numbers of any sign, with or without a point


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_out_of_range_are_errors_of_the_flag(script, load, capsys):
    lesson, numeric = load(script), {}
    for node in ast.walk(ast.parse((ROOT / script).read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "add":
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if keywords.get("type", "Path") != "Path":
                numeric[node.args[0].value] = int(keywords.get("nargs", 1))
    assert numeric
    for flag, count in numeric.items():
        values = ["nan", "inf", "1e99", "text", "", "99999999999999999999"]
        values += [] if flag in SIGNED else ["-1", "1.5"]
        values += [] if flag in SIGNED | {"--seed", "--dropout"} else ["0"]
        for value in values:
            line = [f"{flag}={value}"] if count == 1 else [flag, *["1"] * (count - 1), value]
            with pytest.raises(SystemExit) as caught:
                lesson.parse_arguments(line)
            assert caught.value.code == 2 and f"argument {flag}" in capsys.readouterr().err, (flag, value)
    with pytest.raises(SystemExit) as caught:
        lesson.parse_arguments(["--no-such-flag"])
    assert caught.value.code == 2


def test_a_wrong_flag_is_refused_before_tensorflow_is_loaded(run):
    start = time.perf_counter()
    process = run("TF_Human_horse.py", "--epochs", "0")
    assert process.returncode == 2 and "--epochs" in process.stderr and "at least 1" in process.stderr
    assert time.perf_counter() - start < 2


def start_arguments(script, drawn):
    folder = {"TF_Dogs_Cats.py": "cats_and_dogs_filtered", "TF_HappyVsSad_Face.py": "happy-or-sad"}[script]
    return ["--data-dir", drawn / folder]


def start_lesson(script, folder, drawn, environment, *flags):
    """Start a lesson in `folder` and leave it running; its lines come at once."""
    shutil.copy(ROOT / script, folder)
    command = [sys.executable, script, *map(str, start_arguments(script, drawn)), *map(str, flags)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=environment)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("script, how, way", [
    ("TF_Dogs_Cats.py", signal.SIGINT, []), ("TF_HappyVsSad_Face.py", signal.SIGTERM, ["--stop-at", 1]),
    ("TF_Dogs_Cats.py", signal.SIGKILL, ["--fast"])])
def test_an_interrupted_training_goes_on_after_the_last_epoch(script, how, way, run, drawn, environment, tmp_path):
    flags = ["--epochs", 8, "--batch-size", 8, *way]
    process = start_lesson(script, tmp_path, drawn, environment, *flags)
    outputs = tmp_path / "outputs" / script.removesuffix(".py")
    for line in process.stdout:
        if line.startswith("Epoch 4/"):
            break
    time.sleep(0.3)
    process.send_signal(how)
    words = "".join(process.communicate(timeout=60))
    if how != signal.SIGKILL:
        assert process.returncode == 1 and "Traceback" not in words, words
        assert "Stopped. The same command goes on" in words
    assert (outputs / "backup" / "training_metadata.json").exists()

    again = run(script, *start_arguments(script, drawn), *flags, folder=tmp_path)
    assert again.returncode == 0, again.words
    assert "Epoch 1/8" not in again.stdout and "Epoch 8/8" in again.stdout
    with open(outputs / "history.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["epoch"]) for row in rows] == list(range(8))
    metrics = metrics_of(again)
    assert metrics["epochs"] == 8 and metrics["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows))
    assert not (outputs / "backup").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_killed_in_the_first_epoch_then_started_with_other_flags(run, drawn, environment, tmp_path):
    process = start_lesson("TF_Dogs_Cats.py", tmp_path, drawn, environment, "--epochs", 2, "--batch-size", 1)
    for line in process.stdout:
        if line.startswith("Epoch 1/"):
            break
    process.kill()
    process.communicate()
    assert (tmp_path / "outputs" / "TF_Dogs_Cats" / "history.csv").read_text().count("\n") <= 1
    again = run("TF_Dogs_Cats.py", *start_arguments("TF_Dogs_Cats.py", drawn), "--epochs", 1, "--steps", 1,
                folder=tmp_path)
    assert again.returncode == 0 and "starting anew" in again.stdout and metrics_of(again)["epochs"] == 1, again.words


class Stopped(Exception):
    """What the tests below raise in the middle of a training."""


def train_tiny(lesson, folder, stop_in=None, when="begin", validation=True, **flags):
    """Let `train` of a lesson fit a network of three weights for four epochs; return the epochs seen, and the history.

    Stopped in epoch `stop_in`: at its "begin", or by Ctrl-C at its "end", just before the files are written.
    """
    import tensorflow as tf

    def stop(epoch, logs):
        if epoch == stop_in and when == "begin":
            raise Stopped
        if epoch == stop_in:
            signal.raise_signal(signal.SIGINT)

    def handler(*_):
        raise Stopped

    tf.keras.backend.clear_session()  # the same names of layers and optimizer every time, as in a new process
    model = tf.keras.Sequential([tf.keras.layers.Input((2,)), tf.keras.layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(1).normal(size=(40, 2))
    y = np.float32(x.sum(axis=1) > 0)
    data, seen, history = {"validation_data": (x, y)} if validation else {}, [], None
    watch = tf.keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    stopper = tf.keras.callbacks.LambdaCallback(**{f"on_epoch_{when}": stop})
    before = signal.signal(signal.SIGINT, handler)
    try:
        history = lesson.train(model, folder, argparse.Namespace(epochs=4, **flags), [watch, stopper], x=x, y=y, **data)
    except Stopped:
        pass
    finally:
        assert signal.signal(signal.SIGINT, before) is handler  # whoever had the signals has them again
    return seen, history


@pytest.mark.parametrize("validation", [True, False], ids=["validation", "no validation"])
def test_training_goes_on_with_and_without_validation(validation, load, tmp_path):
    import tensorflow as tf
    lesson = load("TF_Dogs_Cats.py")
    assert train_tiny(lesson, tmp_path, stop_in=2, validation=validation) == ([0, 1, 2], None)
    seen, history = train_tiny(lesson, tmp_path, validation=validation)
    assert seen == [2, 3] and history["epoch"] == [0, 1, 2, 3] and ("val_loss" in history) == validation
    assert lesson.read_history(tmp_path / "history.csv") == history
    saved = tf.keras.models.load_model(tmp_path / "model.keras")
    last = int(np.argmax(history["val_accuracy"])) if validation else 3  # the epoch that was kept
    assert int(saved.optimizer.iterations) == 2 * (last + 1)  # 40 pictures are two batches


def test_stopped_in_the_first_epoch_the_same_command_begins_again(load, tmp_path):
    lesson = load("TF_Dogs_Cats.py")
    assert train_tiny(lesson, tmp_path, stop_in=0) == ([0], None)
    seen, history = train_tiny(lesson, tmp_path)
    assert seen == history["epoch"] == [0, 1, 2, 3]


def test_ctrl_c_waits_until_the_files_of_the_epoch_are_whole(load, tmp_path):
    """A backup that is left half written is a valid file with half of the weights: no later start could load it."""
    lesson = load("TF_Dogs_Cats.py")
    assert train_tiny(lesson, tmp_path, stop_in=1, when="end") == ([0, 1], None)
    assert lesson.read_history(tmp_path / "history.csv")["epoch"] == [0, 1]
    seen, history = train_tiny(lesson, tmp_path)
    assert seen == [2, 3] and history["epoch"] == [0, 1, 2, 3]


def test_other_flags_start_anew_and_say_so(load, tmp_path, capsys):
    lesson = load("TF_Dogs_Cats.py")
    train_tiny(lesson, tmp_path, stop_in=2)
    assert "starting anew" not in capsys.readouterr().out
    seen, history = train_tiny(lesson, tmp_path, seed=2)
    assert seen == history["epoch"] == [0, 1, 2, 3] and "starting anew" in capsys.readouterr().out


STATE, WEIGHTS = "backup/training_metadata.json", "backup/latest.weights.h5"


@pytest.mark.parametrize("empty, missing, first", [
    ([STATE], [], 1), ([WEIGHTS], [], 1), ([STATE, f"{STATE}.bkp"], [], 0),  # killed while Keras wrote them
    ([], [STATE], 0), ([], [WEIGHTS], 0), ([], ["backup/settings.json"], 0),  # killed while Keras removed them
    (["model.keras"], [], 0),  # killed while the best epoch was written: no later one need be as good
])
def test_killed_while_files_were_written_or_removed(empty, missing, first, load, tmp_path):
    """Killed in the third epoch. It goes on behind the first, of which there is a spare copy, or starts anew."""
    lesson = load("TF_Dogs_Cats.py")
    train_tiny(lesson, tmp_path, stop_in=2)
    for name in empty:
        assert (tmp_path / name).stat().st_size
        (tmp_path / name).write_bytes(b"")
    for name in missing:
        (tmp_path / name).unlink()
    seen, history = train_tiny(lesson, tmp_path)
    assert seen == list(range(first, 4)) and history["epoch"] == [0, 1, 2, 3]


@pytest.mark.skipif(sys.platform == "win32", reason="it has no limit of this kind")
@pytest.mark.parametrize("script, size", [
    ("TF_HappyVsSad_Face.py", 3_000_000), ("Convolutions_basic.py", 1000), ("TF_HelloWorld.py", 1000),
    ("TF_DataProcessing_for_CNN_DogCatDataset.py", 1)])
def test_the_disk_is_full(script, size, run, drawn, environment, tmp_path):
    """A file may not grow beyond `size`: to the lesson this is a disk that is full. Once there is room, it works."""
    import resource
    data = {"TF_HappyVsSad_Face.py": ["--data-dir", drawn / "happy-or-sad", "--epochs", 1],
            "TF_DataProcessing_for_CNN_DogCatDataset.py": ["--data-dir", drawn / "PetImages"]}.get(script, [])
    run(script, "--help", folder=tmp_path)
    process = subprocess.run([sys.executable, script, *map(str, data)], cwd=tmp_path, capture_output=True, text=True,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
                             env=environment, timeout=300)
    process.words = process.stdout + process.stderr
    assert_clear_failure(process, "Is the disk full", "--output-dir")
    again = run(script, *data, folder=tmp_path)
    assert again.returncode == 0, again.words


@pytest.mark.skipif(sys.platform == "win32", reason="it has no such pipes")
@pytest.mark.parametrize("script", ["Convolutions_basic.py", "TF_HelloWorld.py", "TF_HappyVsSad_Face.py"])
def test_output_into_head_and_no_terminal(script, run, drawn, environment, tmp_path):
    run(script, "--help", folder=tmp_path)
    data = ["--data-dir", str(drawn / "happy-or-sad")] if "Happy" in script else []
    process = subprocess.Popen([sys.executable, script, *data], cwd=tmp_path, env=environment, text=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)  # no terminal at all
    assert process.stdout.readline()
    process.stdout.close()  # as `head -1` does
    assert not process.stderr.read() and process.wait(timeout=60) == 1


@pytest.mark.parametrize("home", [None, "/dev/null/nobody"], ids=["missing", "cannot be written"])
def test_home_is_missing_or_read_only(home, run, drawn, environment, tmp_path):
    changed = {name: value for name, value in environment.items()
               if name not in ("HOME", "KERAS_HOME", "MPLCONFIGDIR", "KAGGLEHUB_CACHE")}
    for script, arguments in (("TF_HappyVsSad_Face.py", ["--data-dir", drawn / "happy-or-sad", "--epochs", 1]),
                              ("Convolutions_basic.py", [])):
        shutil.copy(ROOT / script, tmp_path)
        process = subprocess.run([sys.executable, script, *map(str, arguments)], cwd=tmp_path, capture_output=True,
                                 text=True, timeout=300, env={**changed, **({"HOME": home} if home else {})})
        assert process.returncode == 0 and "Traceback" not in process.stderr, process.stderr


@pytest.mark.parametrize("way", [[], ["--fast"]], ids=["course", "fast"])
@pytest.mark.parametrize("script, folders, classes", [
    ("TF_Human_horse_Augmentation.py", ["horse-or-human", "validation-horse-or-human"], ["horses", "humans"]),
    ("TF_HappyVsSad_Face.py", ["."], ["happy", "sad"]),
    ("TF_RockPaperScissors.py", ["rps", "rps-test-set"], ["rock", "paper", "scissors"]),
])
def test_one_picture_a_class_and_classes_with_other_names(way, script, folders, classes, run, drawn, tmp_path):
    """One picture of each class is less than a batch: too little to learn, but a run like any other."""
    source = drawn / "happy-or-sad" if folders == ["."] else drawn
    for folder in folders:
        for name in classes:
            (tmp_path / folder / name).mkdir(parents=True)
            shutil.copy(next((source / folder / name).iterdir()), tmp_path / folder / name)
    process = run(script, "--data-dir", tmp_path, "--epochs", 2, *way)
    assert process.returncode == 0 and metrics_of(process)["pictures"] == len(folders) * len(classes), process.words
    (tmp_path / folders[-1] / classes[0]).rename(tmp_path / folders[-1] / "Other Name")
    process = run(script, "--data-dir", tmp_path, *way)
    assert_clear_failure(process, "No pictures in", os.sep + classes[0], "--data-dir", classes[-1])


@pytest.mark.parametrize("script, package", [
    ("TF_Human_horse_Augmentation.py", "scipy"), ("TF_HelloWorld.py", "tensorflow"), ("TF_Human_horse.py", "PIL"),
    ("TF_sign_language.py", "kagglehub")])
def test_a_package_that_is_not_installed(script, package, run, tmp_path):
    (tmp_path / f"{package}.py").write_text(f"raise ImportError(\"No module named '{package}'\")")
    process = run(script, env={"PYTHONPATH": str(tmp_path)})
    assert_clear_failure(process, f"No module named '{package}'", "python -m pip install",
                         {"PIL": "pillow"}.get(package, package))


@pytest.fixture(scope="module")
def trained(run, drawn):
    process = run("TF_HappyVsSad_Face.py", "--data-dir", drawn / "happy-or-sad", "--epochs", 1, "--steps", 1)
    assert process.returncode == 0, process.words
    return process


def test_bad_files_among_good_ones_are_named_and_the_good_ones_classified(trained, run, drawn, tmp_path):
    good = sorted((drawn / "happy-or-sad" / "happy").iterdir())[:2]
    (tmp_path / "text.jpg").write_text("no picture")
    files = [good[0], "missing.png", tmp_path, tmp_path / "text.jpg", good[1]]
    process = run("TF_HappyVsSad_Face.py", "--predict", *files, folder=trained.folder)
    assert process.returncode == 1 and "Traceback" not in process.words
    assert process.stdout.count("(happy ") == 2 and process.stderr.count("not readable as a picture") == 3


def test_models_that_are_missing_broken_or_of_another_lesson(trained, run, tmp_path):
    import tensorflow as tf
    picture = "any.png"
    assert_clear_failure(run("TF_Human_horse.py", "--predict", picture), "No model in", "train first")
    model = trained.outputs / "model.keras"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.keras").write_bytes(model.read_bytes())
    process = run("TF_Human_horse.py", "--output-dir", tmp_path / "other", "--predict", picture)
    assert_clear_failure(process, "'happy_or_sad'", "another lesson")
    (tmp_path / "edited").mkdir()
    shutil.copy(model, tmp_path / "edited")
    text = with_constants("TF_HappyVsSad_Face.py", IMAGE_SIZE=(100, 100))  # a learner's change, and no new training
    process = run("TF_HappyVsSad_Face.py", "--output-dir", tmp_path / "edited", "--predict", picture, text=text)
    assert_clear_failure(process, "other pictures or classes", "train again")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "model.keras").write_bytes(model.read_bytes()[:5000])
    process = run("TF_HappyVsSad_Face.py", "--output-dir", tmp_path / "cut", "--predict", picture)
    assert_clear_failure(process, "No model in")
    (tmp_path / "code").mkdir()
    tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Lambda(lambda x: x)]).save(
        tmp_path / "code" / "model.keras")
    process = run("TF_HappyVsSad_Face.py", "--output-dir", tmp_path / "code", "--predict", picture)
    assert_clear_failure(process, "No model in", "Lambda")
    process = run("TF_Dogs_Cats_Visualization.py", folder=tmp_path)
    assert_clear_failure(process, "run lesson 8 first")


def test_the_output_folder_is_a_file(run, drawn, tmp_path):
    (tmp_path / "file").write_text("")
    process = run("TF_HappyVsSad_Face.py", "--data-dir", drawn / "happy-or-sad", "--output-dir", tmp_path / "file")
    assert_clear_failure(process, "file", "--output-dir")
    assert "Epoch" not in process.stdout  # known before the training, not after


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - {"TF_Dogs_Cats_Visualization.py"}))
def test_every_lesson_looks_at_its_output_folder_first(script, load, tmp_path):
    """Before any data: the folder of the data is not there either. (Lesson 9 looks for lesson 8's model first.)"""
    (tmp_path / "file").write_text("")
    line = ["--output-dir", str(tmp_path / "file")]
    if "--data-dir" in (ROOT / script).read_text():
        line += ["--data-dir", str(tmp_path / "nowhere")]
    with pytest.raises(OSError, match="file"):  # what the last lines of each script make one sentence of
        load(script).main(load(script).parse_arguments(line))


def test_an_empty_data_folder_and_a_missing_class(run, drawn, tmp_path):
    assert_clear_failure(run("TF_Human_horse.py", "--data-dir", tmp_path), "No pictures in", "--data-dir")
    (tmp_path / "happy").symlink_to(drawn / "happy-or-sad" / "happy")
    assert_clear_failure(run("TF_HappyVsSad_Face.py", "--data-dir", tmp_path), "No pictures in", os.sep + "sad")


def test_folders_with_spaces_and_letters_of_all_kinds(run, drawn, tmp_path):
    folder = tmp_path / "müde Bücher 猫"
    folder.mkdir()
    (folder / "daten").symlink_to(drawn / "happy-or-sad")
    process = run("TF_HappyVsSad_Face.py", "--data-dir", folder / "daten", "--output-dir", folder / "aus gabe",
                  "--epochs", 1, env={"LC_ALL": "C"})
    assert process.returncode == 0 and (folder / "aus gabe" / "metrics.json").exists(), process.words


def test_a_backend_without_its_display(run):
    for backend in ("Agg", "TkAgg"):
        process = run("Convolutions_basic.py", env={"MPLBACKEND": backend})
        assert "Traceback" not in process.words and "UserWarning" not in process.stderr, process.words
        assert process.returncode == 0 and (process.outputs / "filters.png").exists()
