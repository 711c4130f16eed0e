"""Every lesson, copied alone into an empty folder, runs on drawn data, leaves what it promises, and has learned."""

import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, assert_one_sentence, copy_outputs, metrics_of
from PIL import Image

SMALL = ["--epochs", 4, "--batch-size", 8]
# script: (arguments, data folder, figures, the least that a number of metrics.json must be)
LESSONS = {
    "TF_HelloWorld.py": ([], None, ["loss_and_line.png"], {"prediction": 18.9}),
    "TF_fashion_mnist.py": (["--epochs", 4, "--batch-size", 16], "fashion-mnist", ["curves.png", "layers.png"],
                            {"test_accuracy": 0.8, "dense_test_accuracy": 0.6}),
    "TF_hand_writing_recognition.py": (["--epochs", 4, "--batch-size", 16], "mnist", ["curves.png", "mistakes.png"],
                                       {"test_accuracy": 0.8, "dense_test_accuracy": 0.6}),
    "TF_Human_horse.py": (SMALL, "", ["curves.png"], {"best_validation_accuracy": 0.8}),
    "TF_HappyVsSad_Face.py": ([], "happy-or-sad", ["curves.png"], {"training_accuracy": 0.999}),
    "TF_Dogs_Cats.py": (SMALL, "cats_and_dogs_filtered", ["training_validation_acc_loss_plot.png"],
                        {"best_validation_accuracy": 0.8}),
    "TF_Human_horse_Augmentation.py": (SMALL, "", ["curves.png", "augmentations.png"],
                                       {"best_validation_accuracy": 0.75}),
    "TF_Dogs_Cats_Transfer_Learning.py": (SMALL, "cats_and_dogs_filtered", ["curves.png"],
                                          {"best_validation_accuracy": 0.8}),
    "TF_RockPaperScissors.py": (SMALL, "", ["curves.png", "confusion_matrix.png"], {"best_validation_accuracy": 0.6}),
    "TF_sign_language.py": (["--epochs", 4, "--batch-size", 16], "sign-language-mnist",
                            ["curves.png", "confusion_matrix.png"], {"test_accuracy": 0.3}),
    "TF_Model_Evaluation.py": (["--epochs", 3, "--batch-size", 32], "fashion-mnist",
                               ["model_evaluation1.png", "model_evaluation2.png"], {"test_accuracy": 0.7}),
}
WITHOUT_PLAIN = ("TF_HelloWorld.py", "TF_Model_Evaluation.py")
PLAIN = [script for script in LESSONS if script not in WITHOUT_PLAIN]


def check_figure(file):
    """A figure of a lesson is at least 600 pixels wide, 300 high, and not one colour."""
    with Image.open(file) as picture:
        assert picture.width >= 600 and picture.height >= 300, file
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, file


@pytest.mark.parametrize("script, flags", [(script, []) for script in LESSONS] + [(s, ["--plain"]) for s in PLAIN])
def test_lesson_learns_and_leaves_what_it_promises(script, flags, trained):
    _, _, figures, floors = LESSONS[script]
    process = trained(script, *flags)
    assert process.code == 0 and "Warning" not in process.err, process.err
    for name in [*figures, *([] if script == "TF_HelloWorld.py" else ["pictures.png"])]:
        check_figure(process.outputs / name)
    metrics = metrics_of(process)
    assert metrics["seconds"] > 0 and metrics["seed"] == 1 and metrics.get("plain", False) == bool(flags)
    for name, floor in floors.items():  # with --plain a part of it, after fewer epochs
        assert metrics[name] >= (0.7 * floor if flags else floor), (name, metrics[name])
    history = np.genfromtxt(process.outputs / "history.csv", delimiter=",", names=True)
    assert history["loss"][1:].min() < history["loss"][0]
    assert tf.keras.models.load_model(process.outputs / "model.keras").count_params() > 0


def test_convolutions_need_no_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise SystemExit('lesson 3 does not import it')")
    numbers = ["-1", "0", "1", "-2", "0", "2", "-1", "0", "1"]
    command = [sys.executable, ROOT / "Convolutions_basic.py", "--filter", *numbers]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert process.returncode == 0 and not process.stderr, process.stderr
    lines = {line[:22].strip(): line[22:] for line in process.stdout.splitlines()}
    assert lines["your own filter"] == lines["vertical edges"] and "weight 0.111" in lines["blur"]
    for name in ("filters.png", "pooled.png"):
        check_figure(tmp_path / "outputs" / "Convolutions_basic" / name)


def test_convolutions_on_a_picture_of_ones_own(run, drawn):
    process = run("Convolutions_basic.py", "--image", drawn / "rps" / "rock" / "rock01-000.png")  # RGBA
    assert process.code == 0, process.err
    check_figure(process.outputs / "filters.png")


def test_saved_models_are_the_same_in_every_format(run, monkeypatch):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)  # it would be for all tests
    process = run("TF_Saving_Loading_Model.py")
    assert process.code == 0 and process.out.count("largest difference 0\n") == 4, process.out + process.err
    old = tf.keras.models.load_model(process.outputs / "model.h5").optimizer.variables
    assert len(old) < len(tf.keras.models.load_model(process.outputs / "model.keras").optimizer.variables)
    for word in ("hidden: group", "dataset (1, 8) float32", "attribute model_config", "optimizer", "Lambda"):
        assert word in process.out, word


def test_happy_or_sad_stops_by_its_callback(trained):
    history = np.genfromtxt(trained("TF_HappyVsSad_Face.py").outputs / "history.csv", delimiter=",", names=True)
    assert len(history) < 15 and history["accuracy"][-1] > 0.999 and (history["accuracy"][:-1] <= 0.999).all()
    assert "stopping here" in trained("TF_HappyVsSad_Face.py").out


@pytest.mark.parametrize("script, folder, names", [
    ("TF_Human_horse.py", "validation-horse-or-human", ("horses", "humans")),
    ("TF_RockPaperScissors.py", "rps-test-set", ("rock", "paper", "scissors")),
    ("TF_Dogs_Cats_Transfer_Learning.py", "cats_and_dogs_filtered/validation", ("cats", "dogs")),
])
def test_predict_agrees_with_what_the_model_scores(script, folder, names, trained, run, drawn):
    """The share of right answers of --predict is the best validation accuracy: same pixels, same scale."""
    finished = trained(script)
    files = {name: sorted((drawn / folder / name).iterdir()) for name in names}
    process = run(script, "--predict", *sum(files.values(), []), folder=finished.folder)
    assert process.code == 0, process.err
    truth = [name for name, group in files.items() for _ in group]
    right = np.mean([f": {name} (" in line for name, line in zip(truth, process.out.splitlines(), strict=True)])
    assert right == pytest.approx(metrics_of(finished)["best_validation_accuracy"], abs=0.07)  # bfloat16 may tip one


def test_digits_and_hands_of_ones_own(trained, run, load, drawn, tmp_path):
    digits = load("TF_hand_writing_recognition.py")
    _, (pictures, labels) = digits.load_mnist(None, drawn / "mnist")
    files = [tmp_path / f"{number}.png" for number in range(20)]
    for picture, file in zip(pictures, files):
        paper = Image.new("L", (400, 300), 180)  # grey, and the digit is small and not in the middle
        paper.paste(Image.fromarray((180 - 0.6 * picture).astype("uint8")).resize((84, 84)), (70, 150))
        paper.save(file)
    process = run("TF_hand_writing_recognition.py", "--predict", *files,
                  folder=trained("TF_hand_writing_recognition.py").folder)
    answers = [line.split(": ")[1][0] for line in process.out.splitlines()]
    assert np.mean([answer == str(label) for answer, label in zip(answers, labels)]) >= 0.7, process.out
    process = run("TF_sign_language.py", "--predict", *files[:2], folder=trained("TF_sign_language.py").folder)
    assert process.code == 0 and process.out.count("% sure") == 2
    assert Image.open(process.outputs / "prediction.png").size == (2 * 224, 224)


def test_lesson_11_is_compared_with_lesson_5(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained("TF_Human_horse.py"), tmp_path)
    small = (trained("TF_Human_horse_Augmentation.py").folder / "TF_Human_horse_Augmentation.py").read_text()
    process = run("TF_Human_horse_Augmentation.py", "--data-dir", drawn, "--epochs", 1, folder=folder, text=small)
    assert process.code == 0 and "lesson 5, last five epochs" in process.out, process.err


def test_augmented_dogs_and_cats_do_not_overwrite_the_others(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained("TF_Dogs_Cats.py"), tmp_path)
    before = (folder / "outputs" / "TF_Dogs_Cats" / "history.csv").read_bytes()
    small = (ROOT / "TF_Dogs_Cats.py").read_text(encoding="utf-8").replace("(150, 150)", "(100, 100)")
    process = run("TF_Dogs_Cats.py", "--augment", "--data-dir", drawn / "cats_and_dogs_filtered", "--epochs", 1,
                  folder=folder, text=small)
    assert process.code == 0 and (folder / "outputs" / "TF_Dogs_Cats_augmented" / "model.keras").exists(), process.err
    assert (folder / "outputs" / "TF_Dogs_Cats" / "history.csv").read_bytes() == before


@pytest.mark.parametrize("script", ["TF_Dogs_Cats.py", "TF_Human_horse.py"])
def test_what_happens_inside_a_network(script, trained, run, drawn):
    model = trained(script).outputs / "model.keras"
    process = run("TF_Dogs_Cats_Visualization.py", "--model", model, "--data-dir", drawn / "cats_and_dogs_filtered")
    assert process.code == 0, process.err
    check_figure(process.outputs / "dog_intermediate representation.png")
    check_figure(process.outputs / "sparsity.png")
    assert process.out.count("% zeros") == (6 if script == "TF_Dogs_Cats.py" else 10)


def test_a_dead_filter_does_not_divide_by_zero(load, tmp_path):
    answers = {"layer": np.stack([np.zeros((5, 5)), np.ones((5, 5)), np.eye(5)], axis=-1)}
    with np.errstate(all="raise"):
        load("TF_Dogs_Cats_Visualization.py").draw_representations(np.zeros((9, 9, 3)), answers, tmp_path / "dead.png")
    check_figure(tmp_path / "dead.png")


def test_data_processing_feeds_lesson_8_and_refuses_another_split(run, drawn):
    script = "TF_DataProcessing_for_CNN_DogCatDataset.py"
    before = sorted((file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*"))
    process = run(script, "--data-dir", drawn / "PetImages", "--split", "0.75")
    assert process.code == 0, process.err
    for name in ("666.jpg (empty)", "11702.jpg (empty)", "Cat/Thumbs.db (not", "Dog/Thumbs.db (not", "77.jpg (OSError"):
        assert name in process.out.replace("\\", "/"), name
    assert process.out.count("left out:") == 5

    def layout() -> dict[str, set[str]]:
        return {part: {file.relative_to(process.outputs / part).as_posix()
                       for file in (process.outputs / part).rglob("*.jpg")} for part in ("training", "testing")}

    first = layout()
    assert len(first["training"]) == 24 and len(first["testing"]) == 8 and not first["training"] & first["testing"]
    again = run(script, "--data-dir", drawn / "PetImages", "--split", "0.75", folder=process.folder)
    assert again.code == 0 and "0 placed in this run" in again.out
    for other in (["--split", "0.75", "--seed", 2], ["--split", "0.5"], ["--split", "0.9"]):
        refused = run(script, "--data-dir", drawn / "PetImages", *other, folder=process.folder)
        assert_one_sentence(refused, "another split", "--output-dir")
        assert layout() == first  # nothing was placed before it was refused
    assert before == sorted((file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*"))
    lesson_8 = run("TF_Dogs_Cats.py", "--data-dir", process.outputs, "--epochs", 1, folder=process.folder)
    assert lesson_8.code == 0 and "Found 24 images" in lesson_8.out, lesson_8.err


def test_evaluation_draws_the_history_of_every_lesson_that_trains(trained, run):
    files = [trained(script).outputs / "history.csv" for script in LESSONS]
    process = run("TF_Model_Evaluation.py", "--history", *files)
    assert process.code == 0 and process.out.count("validation") >= len(LESSONS), process.err
    check_figure(process.outputs / "histories.png")


def test_evaluation_keeps_the_turn_of_the_validation_loss(trained, load, drawn):
    lesson, process = load("TF_Model_Evaluation.py"), trained("TF_Model_Evaluation.py")
    (x, y), _ = lesson.load_mnist(None, drawn / "fashion-mnist")
    for name in ("unregularised", "regularised"):
        model = tf.keras.models.load_model(process.outputs / name / "model.keras")
        loss = model.evaluate(x * np.float32(lesson.RESCALE), y, verbose=0)[0]  # all drawn pictures are validation
        history = np.genfromtxt(process.outputs / name / "history.csv", delimiter=",", names=True)
        assert loss == pytest.approx(history["val_loss"].min(), rel=1e-3)


@pytest.mark.parametrize("script, folder", [
    ("TF_Human_horse.py", "validation-horse-or-human/horses"), ("TF_Dogs_Cats.py", "validation/dogs"),
    ("TF_Human_horse_Augmentation.py", "horse-or-human/horses")])
def test_a_class_without_pictures_and_an_unreadable_one(script, folder, run, drawn, tmp_path):
    from shutil import copytree
    source = drawn if "horse" in script else drawn / "cats_and_dogs_filtered"
    copytree(source / folder.split("/")[0], tmp_path / folder.split("/")[0])
    for name in ("horse-or-human", "validation-horse-or-human", "train"):
        if (source / name).exists() and not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(source / name)
    pictures = sorted((tmp_path / folder).iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:300])
    assert_one_sentence(run(script, "--data-dir", tmp_path), pictures[0].name, "cannot be read as a picture")
    for picture in pictures:
        picture.unlink()
    assert_one_sentence(run(script, "--data-dir", tmp_path), "needs pictures in each of its folders")


@pytest.mark.parametrize("script", [*PLAIN[1:], "TF_Dogs_Cats_Visualization.py"])  # lesson 2 does not predict
def test_no_model_yet(script, run, drawn):
    file = next((drawn / "rps" / "rock").iterdir())
    flag = "--image" if "Visualization" in script else "--predict"
    assert_one_sentence(run(script, flag, file), "model.keras", "first")


def test_a_file_that_is_no_picture(trained, run, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    process = run("TF_Human_horse.py", "--predict", tmp_path / "note.jpg", folder=trained("TF_Human_horse.py").folder)
    assert_one_sentence(process, "note.jpg", "cannot be read as a picture")
    assert_one_sentence(run("Convolutions_basic.py", "--image", tmp_path / "note.jpg"), "note.jpg")


@pytest.mark.parametrize("name, content, words", [
    ("short row", "3," + ",".join(["7"] * 783), "line 3"), ("letter", "3,x" + ",7" * 783, "line 3"),
    ("256", "3,256" + ",7" * 783, "line 3"), ("minus", "3,-1" + ",7" * 783, "line 3"),
    ("label 9, the J", "9" + ",7" * 784, "line 3"), ("label 25", "25" + ",7" * 784, "line 3")])
def test_a_wrong_row_is_named_with_its_line(name, content, words, load, tmp_path):
    good = "3" + ",7" * 784
    (tmp_path / "signs.csv").write_text(f"label,pixels\n{good}\n{content}\n{good}\n")
    with pytest.raises(OSError, match=f"signs.csv, {words}"):
        load("TF_sign_language.py").read_csv(tmp_path / "signs.csv")
    (tmp_path / "signs.csv").write_text(f"label,pixels\n{good}\n{good}\n")
    pictures, labels = load("TF_sign_language.py").read_csv(tmp_path / "signs.csv")
    assert pictures.shape == (2, 28, 28, 1) and (pictures == 7).all() and labels.tolist() == [3, 3]


def test_a_full_disk_a_protected_folder_and_ctrl_c(run, drawn, tmp_path, monkeypatch):
    arguments = ["--data-dir", drawn / "cats_and_dogs_filtered", "--epochs", 1]
    (tmp_path / "file").write_text("not a folder")
    assert_one_sentence(run("TF_Dogs_Cats.py", *arguments, "--output-dir", tmp_path / "file"), "file")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, limits[1]))  # a file cannot grow larger, as on a full disk
    try:
        full = run("TF_Dogs_Cats.py", *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_sentence(full, "File too large")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.keras.Sequential, "fit", interrupt)
    assert_one_sentence(run("TF_Dogs_Cats.py", *arguments), "Stopped.")


@pytest.mark.parametrize("script, flags", [
    ("TF_Human_horse.py", ["--epochs", "0"]), ("TF_Human_horse.py", ["--batch-size", "-3"]),
    ("TF_Human_horse.py", ["--seed", "99999999999"]), ("TF_Human_horse.py", ["--epoch-s", "1"]),
    ("TF_Dogs_Cats_Transfer_Learning.py", ["--dropout", "1.5"]), ("TF_Saving_Loading_Model.py", ["--epochs", "1"]),
    ("TF_DataProcessing_for_CNN_DogCatDataset.py", ["--split", "1"]), ("Convolutions_basic.py", ["--filter", "1"])])
def test_a_number_out_of_range_is_an_error_of_the_flag(script, flags, run):
    assert run(script, *flags).code == 2


def test_an_error_in_the_learners_own_edit_keeps_its_traceback(run):
    text = (ROOT / "TF_HelloWorld.py").read_text().replace("layers.Dense(1)", "layers.Dens(1)")
    with pytest.raises(AttributeError, match="Dens"):
        run("TF_HelloWorld.py", text=text)
