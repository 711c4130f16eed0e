"""What happens on real machines: interruptions, wrong flags, models and pictures that are not what they should be."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SCRIPTS, metrics_of
from test_download import assert_clear_failure


@pytest.mark.parametrize("script", SCRIPTS)
def test_numbers_out_of_range_are_errors_of_the_flag(script, load, capsys):
    lesson = load(script)
    with pytest.raises(SystemExit):
        lesson.parse_arguments(["--help"])
    text = capsys.readouterr().out
    numeric = {"--epochs", "--batch-size", "--steps", "--seed", "--slope", "--intercept", "--stop-at", "--dropout",
               "--split", "--filters"} & set(text.replace(",", " ").split())
    for flag in numeric:
        for value in ("-1", "1.5", "nan", "1e99", "text", "", "99999999999999999999"):
            if (flag, value) in {("--slope", "1.5"), ("--slope", "-1"), ("--intercept", "1.5"), ("--intercept", "-1")}:
                continue
            with pytest.raises(SystemExit) as caught:
                lesson.parse_arguments([f"{flag}={value}"])
            assert caught.value.code == 2, (flag, value)
        if flag not in ("--seed", "--slope", "--intercept", "--dropout"):
            with pytest.raises(SystemExit):
                lesson.parse_arguments([flag, "0"])
    with pytest.raises(SystemExit) as caught:
        lesson.parse_arguments(["--no-such-flag"])
    assert caught.value.code == 2


def test_a_wrong_flag_is_refused_before_tensorflow_is_loaded(run):
    start = time.perf_counter()
    process = run("TF_Human_horse.py", "--epochs", "0")
    assert process.returncode == 2 and "--epochs" in process.stderr and "at least 1" in process.stderr
    assert time.perf_counter() - start < 2


def start_lesson_8(folder, drawn, environment, *flags):
    command = [sys.executable, "TF_Dogs_Cats.py", "--data-dir", str(drawn / "cats_and_dogs_filtered"), *flags]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={**environment, "PYTHONUNBUFFERED": "1"})


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("how, way", [(signal.SIGINT, []), (signal.SIGTERM, []), (signal.SIGKILL, ["--fast"])])
def test_an_interrupted_training_goes_on_after_the_last_epoch(how, way, run, drawn, environment, tmp_path):
    flags = ["--epochs", "8", "--batch-size", "8", *way]
    run("TF_Dogs_Cats.py", "--help", folder=tmp_path)  # copies the script
    process = start_lesson_8(tmp_path, drawn, environment, *flags)
    outputs = tmp_path / "outputs" / "TF_Dogs_Cats"
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

    again = run("TF_Dogs_Cats.py", *start_arguments(drawn), *flags, folder=tmp_path)
    assert again.returncode == 0, again.words
    assert "Epoch 1/8" not in again.stdout and "Epoch 8/8" in again.stdout
    with open(outputs / "history.csv", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["epoch"]) for row in rows] == list(range(8))
    metrics = metrics_of(again)
    assert metrics["epochs"] == 8 and metrics["seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows))
    assert not (outputs / "backup").exists()


def start_arguments(drawn):
    return ["--data-dir", drawn / "cats_and_dogs_filtered"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_changed_flags_start_anew_and_say_so(run, drawn, environment, tmp_path):
    run("TF_Dogs_Cats.py", "--help", folder=tmp_path)
    process = start_lesson_8(tmp_path, drawn, environment, "--epochs", "8", "--batch-size", "8")
    for line in process.stdout:
        if line.startswith("Epoch 3/"):
            break
    process.kill()
    process.communicate()
    again = run("TF_Dogs_Cats.py", *start_arguments(drawn), "--epochs", 1, "--steps", 1, folder=tmp_path)
    assert again.returncode == 0 and "starting anew" in again.stdout and metrics_of(again)["epochs"] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_killed_in_the_first_epoch(run, drawn, environment, tmp_path):
    run("TF_Dogs_Cats.py", "--help", folder=tmp_path)
    process = start_lesson_8(tmp_path, drawn, environment, "--epochs", "2", "--batch-size", "1")
    for line in process.stdout:
        if line.startswith("Epoch 1/"):
            break
    process.kill()
    process.communicate()
    assert (tmp_path / "outputs" / "TF_Dogs_Cats" / "history.csv").read_text().count("\n") <= 1
    again = run("TF_Dogs_Cats.py", *start_arguments(drawn), "--epochs", 2, "--batch-size", 1, folder=tmp_path)
    assert again.returncode == 0 and metrics_of(again)["epochs"] == 2, again.words


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_killed_while_the_backup_was_written(run, drawn, environment, tmp_path):
    """Killed in the third epoch, and files of the backup are empty, as they are for a moment while Keras writes them,
    or missing, as while it removes them.

    With the spare copy of the first epoch the training goes on behind it; without, it starts anew.
    """
    (tmp_path / "killed").mkdir()
    run("TF_Dogs_Cats.py", "--help", folder=tmp_path / "killed")
    flags = ["--epochs", "3", "--batch-size", "4"]
    process = start_lesson_8(tmp_path / "killed", drawn, environment, *flags)
    for line in process.stdout:
        if line.startswith("Epoch 3/"):
            break
    process.kill()
    process.communicate()

    state, weights = "training_metadata.json", "latest.weights.h5"
    cases = [([state], [], 2), ([weights], [], 2), ([state, f"{state}.bkp"], [], 1),
             ([], [state], 1), ([], [weights], 1), ([], ["settings.json"], 1)]
    for number, (empty, missing, first) in enumerate(cases):
        folder = shutil.copytree(tmp_path / "killed", tmp_path / str(number))
        for name in [*empty, *missing]:
            file = folder / "outputs" / "TF_Dogs_Cats" / "backup" / name
            assert file.stat().st_size
            file.unlink() if name in missing else file.write_bytes(b"")
        again = run("TF_Dogs_Cats.py", *start_arguments(drawn), *flags, folder=folder)
        assert again.returncode == 0, again.words
        assert re.findall(r"^Epoch (\d)/3", again.stdout, re.MULTILINE) == list("123"[first - 1:])
        with open(folder / "outputs" / "TF_Dogs_Cats" / "history.csv", newline="") as lines:
            assert [float(row["epoch"]) for row in csv.DictReader(lines)] == [0, 1, 2]
        assert metrics_of(again)["epochs"] == 3
        shutil.rmtree(folder)  # 150 MB


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
