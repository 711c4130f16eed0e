"""Every lesson, copied alone into an empty folder, runs on drawn data, leaves what it promises,
and has learned; what a learner does wrong ends in one sentence.
"""

import re
import resource
import shutil
import unicodedata

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    LESSONS,
    ROOT,
    SCRIPTS,
    assert_one_sentence,
    copy_outputs,
    numbers_of,
    small_inception,
    small_text,
)
from draw_data import draw_folder
from PIL import Image

LINE = "TF_HelloWorld.py"
FILTERS = "Convolutions_basic.py"
HORSES = "TF_Human_horse.py"
ICONS = "TF_HappyVsSad_Face.py"
PETS = "TF_Dogs_Cats.py"
SPLIT = "TF_DataProcessing_for_CNN_DogCatDataset.py"
AUGMENTED = "TF_Human_horse_Augmentation.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
HANDS = "TF_RockPaperScissors.py"
PROMISES = {  # script: figures, and the least that a printed number must be
    LINE: (["loss_and_line.png"], {"prediction": 18.9}),
    "TF_fashion_mnist.py": (
        ["pictures.png", "curves.png", "layers.png"],
        {"test_accuracy": 0.8, "dense_test_accuracy": 0.6},
    ),
    "TF_hand_writing_recognition.py": (
        ["pictures.png", "curves.png", "mistakes.png"],
        {"test_accuracy": 0.8, "dense_test_accuracy": 0.6},
    ),
    HORSES: (["pictures.png", "curves.png", "mistakes.png"], {"best_validation_accuracy": 0.8}),
    ICONS: (["pictures.png", "curves.png"], {"training_accuracy": 0.999}),
    PETS: (
        ["pictures.png", "training_validation_acc_loss_plot.png"],
        {"best_validation_accuracy": 0.8},
    ),
    AUGMENTED: (
        ["curves.png", "augmentations.png"],
        {"best_validation_accuracy": 0.75},
    ),
    TRANSFER: (
        ["pictures.png", "augmentations.png", "curves.png", "learning_curve.png", "mistakes.png",
         "confusion_matrix.png"],
        {"best_validation_accuracy": 0.8},
    ),
    HANDS: (
        ["pictures.png", "curves.png", "confusion_matrix.png"],
        {"best_validation_accuracy": 0.6},
    ),
    "TF_sign_language.py": (
        ["pictures.png", "curves.png", "confusion_matrix.png"],
        {"test_accuracy": 0.3},
    ),
    "TF_Model_Evaluation.py": (
        ["model_evaluation1.png", "model_evaluation2.png", "certainty.png", "mistakes.png"],
        {"test_accuracy": 0.7},
    ),
}
TEXTS = {script: (ROOT / script).read_text(encoding="utf-8") for script in SCRIPTS}
PREDICTS = [script for script, text in TEXTS.items() if "--predict" in text]
TAKES_DATA = [script for script, text in TEXTS.items()
              if "--data-dir" in text and "Visualization" not in script]  # it asks for a network


def check_figure(file):
    """A figure of a lesson is legible, no larger than a page, and not one colour."""
    with Image.open(file) as picture:
        assert 600 <= picture.width <= 2000 and 200 <= picture.height <= 1500, file
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, file


@pytest.mark.parametrize("script", LESSONS)
def test_a_lesson_learns_and_leaves_what_it_promises(script, trained):
    figures, least = PROMISES[script]
    process = trained(script)
    assert process.code == 0 and "Warning" not in process.err, process.err
    for name in figures:
        check_figure(process.outputs / name)
    assert not [text for text in process.texts if "mathdefault" in text]  # as of a log axis
    numbers = numbers_of(process)
    for name, floor in least.items():
        assert numbers[name] >= floor, (name, numbers)
    history = np.genfromtxt(process.outputs / "history.csv", delimiter=",", names=True)
    assert history["loss"][1:].min() < history["loss"][0]
    tf.keras.models.load_model(process.outputs / "model.keras")
    place = process.outputs.relative_to(process.folder)
    assert process.out.splitlines()[-1] == f"The results are in {place}."


def test_a_lesson_without_data_runs(run):
    process = run(FILTERS)
    assert process.code == 0 and "Warning" not in process.err, process.err
    figures = list(process.outputs.glob("*.png"))
    assert len(figures) == 2
    for file in figures:
        check_figure(file)


def test_the_best_epoch_is_saved(trained, drawn):
    process = trained(PETS)
    model = tf.keras.models.load_model(process.outputs / "model.keras")
    pictures = []
    labels = []
    for label, name in enumerate(["cats", "dogs"]):
        for file in (drawn / "cats_and_dogs_filtered" / "validation" / name).iterdir():
            with Image.open(file) as picture:
                resized = picture.resize((100, 100), Image.Resampling.NEAREST)
            pictures.append(np.float32(resized) / 255)
            labels.append(label)
    right = np.round(model.predict(np.array(pictures), verbose=0)[:, 0]) == labels
    best = numbers_of(process)["best_validation_accuracy"]
    assert np.mean(right) == pytest.approx(best, abs=0.07)  # 16-bit numbers may tip one of 16


def test_lesson_6_stops_after_the_epoch_that_is_good_enough(trained):
    process = trained(ICONS)
    measured = re.findall(r"accuracy on the same icons: ([\d.]+)%", process.out)
    assert len(measured) < 15 and measured[-1] == "100.0"
    assert all(float(number) < 99.9 for number in measured[:-1])
    assert "stopping here" in process.out


def test_lesson_6_says_that_it_did_not_get_there(run, drawn):
    process = run(ICONS, "--epochs", 1, "--data-dir", drawn / "happy-or-sad",
                  text=small_text(ICONS))
    assert process.code == 0 and "more --epochs" in process.out, process.out


# Its own pictures.


@pytest.mark.parametrize("script, folder, names", [
    (HORSES, "validation-horse-or-human", ["horses", "humans"]),
    (HANDS, "rps-test-set", ["rock", "paper", "scissors"]),
    (TRANSFER, "cats_and_dogs_filtered/validation", ["cats", "dogs"]),
])
def test_predict_agrees_with_what_the_network_scores(script, folder, names, trained, run, drawn):
    """The share of right answers is the best validation accuracy: same pixels, same scale."""
    finished = trained(script)
    files = []
    truth = []
    for name in names:
        for file in sorted((drawn / folder / name).iterdir()):
            files.append(file)
            truth.append(f": {name} (")
    process = run(script, "--predict", *files, folder=finished.folder)
    assert process.code == 0, process.err
    lines = process.out.splitlines()
    right = [answer in line for answer, line in zip(truth, lines, strict=True)]
    best = numbers_of(finished)["best_validation_accuracy"]
    assert np.mean(right) == pytest.approx(best, abs=0.07)  # 16-bit numbers may tip one


@pytest.mark.parametrize("script", [HORSES, HANDS, TRANSFER])
def test_predict_goes_on_after_a_file_that_it_cannot_read(script, trained, run, drawn, tmp_path):
    good = next((drawn / "rps" / "rock").iterdir())
    bad = tmp_path / "note.jpg"
    bad.write_text("no picture")
    missing = tmp_path / "missing.jpg"
    process = run(script, "--predict", bad, missing, good, folder=trained(script).folder)
    lines = process.out.splitlines()
    assert process.code == 1 and len(lines) == 3
    assert f"{bad} cannot be read" in lines[0] and "Lesson 10" in lines[0]
    assert str(missing) in lines[1] and "Save it" not in lines[1]
    assert re.search(rf"^{re.escape(str(good))}: \w+ \(\d+\.\d%\)", lines[2])


@pytest.mark.parametrize("script", PREDICTS)
def test_predict_before_training(script, run, drawn):
    file = next((drawn / "rps" / "rock").iterdir())
    assert_one_sentence(run(script, "--predict", file), "There is no network in outputs", "train")


# Its own data.


@pytest.mark.parametrize("script", TAKES_DATA)
def test_a_folder_that_is_not_there(script, run, tmp_path):
    process = run(script, "--data-dir", tmp_path / "nowhere")
    assert_one_sentence(process, "nowhere")


def copy_data(source, target, *names):
    for name in names:
        shutil.copytree(source / name, target / name)


@pytest.fixture
def own_data(drawn, tmp_path):
    """A folder with copies of the data of lessons 5, 6, 8, 11, 12 and 13, to be spoiled."""
    copy_data(drawn, tmp_path, "horse-or-human", "validation-horse-or-human", "rps", "rps-test-set")
    copy_data(drawn / "cats_and_dogs_filtered", tmp_path, "train", "validation")
    copy_data(drawn / "happy-or-sad", tmp_path, "happy", "sad")
    return tmp_path


SPOILED = [
    (HORSES, "validation-horse-or-human/horses"),
    (ICONS, "sad"),
    (PETS, "validation/dogs"),
    (AUGMENTED, "horse-or-human/humans"),
    (TRANSFER, "train/cats"),
    (HANDS, "rps-test-set/scissors"),
]


@pytest.mark.parametrize("script, folder", SPOILED)
def test_a_class_without_pictures(script, folder, run, own_data):
    for picture in (own_data / folder).iterdir():
        picture.unlink()
    name = folder.split("/")[-1]
    assert_one_sentence(run(script, "--data-dir", own_data), name, "pictures")


@pytest.mark.parametrize("script, folder", SPOILED)
def test_a_picture_that_cannot_be_read(script, folder, run, own_data):
    picture = sorted((own_data / folder).iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:300])
    process = run(script, "--data-dir", own_data)
    assert_one_sentence(process, f"{picture} cannot be read", "Lesson 10")


MUSHROOMS = {name: "picture {}.jpg" for name in ["Röhrling", "boletus", "fly agaric"]}


@pytest.mark.parametrize("script", [TRANSFER, HANDS])
def test_own_classes_as_lesson_10_leaves_them(script, run, tmp_path, monkeypatch):
    """A network for own classes knows their names, and uses them; one comes in two encodings, as
    from a Mac.
    """
    draw_folder(tmp_path / "photos", MUSHROOMS, 4, (120, 90), seed=1)
    split = run(SPLIT, "--data-dir", tmp_path / "photos", "--split", 0.5, folder=tmp_path)
    assert split.code == 0, split.err
    composed = split.outputs / "testing" / "Röhrling"
    composed.rename(composed.with_name(unicodedata.normalize("NFD", composed.name)))
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    process = run(script, "--data-dir", split.outputs, "--epochs", 1, "--batch-size", 8,
                  folder=tmp_path, text=small_text(script))
    assert process.code == 0, process.err
    classes = list(MUSHROOMS)
    assert (process.outputs / "classes.txt").read_text(encoding="utf-8").splitlines() == classes
    model = tf.keras.models.load_model(process.outputs / "model.keras")
    assert model.output_shape == (None, 3)
    question = next((tmp_path / "photos" / "boletus").iterdir())
    answer = run(script, "--predict", question, folder=tmp_path)
    assert answer.code == 0, answer.err
    assert re.search(rf"^{re.escape(str(question))}: ({'|'.join(classes)}) \(", answer.out)


def test_lesson_12_keeps_every_fifth_picture_where_nothing_is_divided(load, tmp_path):
    draw_folder(tmp_path, MUSHROOMS, 10, (60, 45), seed=1)
    classes, training, validation = load(TRANSFER).read_photographs(tmp_path)
    assert list(classes) == list(MUSHROOMS)
    assert np.bincount(training[1]).tolist() == [8, 8, 8]
    assert np.bincount(validation[1]).tolist() == [2, 2, 2]
    assert not set(training[2]) & set(validation[2])


def test_folders_that_are_no_classes(run, drawn, tmp_path):
    (tmp_path / "photos" / "rock").mkdir(parents=True)
    process = run(TRANSFER, "--data-dir", tmp_path / "photos")
    assert_one_sentence(process, "two or more classes")
    copy_data(drawn, tmp_path, "rps", "rps-test-set")
    (tmp_path / "rps-test-set" / "rock").rename(tmp_path / "rps-test-set" / "stone")
    assert_one_sentence(run(HANDS, "--data-dir", tmp_path), "rps-test-set", "the same names")


# Lessons that read what another has left.


def test_lesson_11_is_compared_with_lesson_5(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained(HORSES), tmp_path)
    process = run(AUGMENTED, "--data-dir", drawn, "--epochs", 1, folder=folder,
                  text=small_text(AUGMENTED))
    assert process.code == 0, process.err
    assert "lesson 5, not augmented, mean" in process.out and "augmented, mean" in process.out
    assert {"augmented: validation", "lesson 5, not augmented: validation"} <= set(process.texts)


def test_lesson_11_only_looks(run, drawn):
    process = run(AUGMENTED, "--look", "--data-dir", drawn)
    assert process.code == 0, process.err
    assert [file.name for file in process.outputs.iterdir()] == ["augmentations.png"]


def test_lesson_8_augmented_is_drawn_beside_the_run_that_it_leaves_alone(trained, run, drawn,
                                                                         tmp_path):
    folder = copy_outputs(trained(PETS), tmp_path)
    before = {file: file.read_bytes() for file in (folder / "outputs").rglob("*.*")}
    process = run(PETS, "--augment", "--data-dir", drawn / "cats_and_dogs_filtered", "--epochs", 1,
                  folder=folder, text=small_text(PETS))
    assert process.code == 0, process.err
    assert (folder / "outputs" / "TF_Dogs_Cats_augmented" / "model.keras").exists()
    assert {"augmented: validation", "not augmented: validation"} <= set(process.texts)
    assert before == {file: file.read_bytes() for file in before}


# Lesson 12, part by part.


def test_the_base_is_inception_and_scales_as_in_its_training(load):
    base = load(TRANSFER).build_base(None)
    assert base.get_layer("mixed8").output.shape == (None, 3, 3, 1280)
    assert base.output_shape == (None, 1280) and not base.trainable_weights
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 150, 150, 3)).astype("float32")
    scale = next(layer for layer in base.layers if isinstance(layer, tf.keras.layers.Rescaling))
    expected = tf.keras.applications.inception_v3.preprocess_input(pixels.copy())
    np.testing.assert_allclose(scale(pixels), expected, atol=1e-5)


def test_features_stay_in_the_order_of_the_pictures(load):
    lesson = load(TRANSFER)
    base = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Identity()])
    numbers = np.arange(70, dtype="float32").reshape(-1, 1)
    np.testing.assert_array_equal(lesson.extract_features(base, numbers), numbers)

    def augmentation(batch, training):
        assert training
        return batch + 1

    changed = lesson.extract_features(base, numbers, augmentation)
    np.testing.assert_array_equal(changed, numbers + 1)


def test_fine_tuning_changes_the_last_layers_alone(trained):
    """And neither the first layers nor a BatchNormalization, which holds averages of ImageNet."""
    outputs = trained(TRANSFER).outputs
    before = tf.keras.models.load_model(outputs / "model.keras").get_layer("base")
    after = tf.keras.models.load_model(outputs / "fine_tuned.keras").get_layer("base")
    for name, changes in [("mixed6", False), ("normalization", False), ("mixed8", True)]:
        pairs = zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights())
        same = [np.array_equal(first, second) for first, second in pairs]
        assert all(same) is not changes, name


def test_what_looks_like_none_of_the_training_pictures(load, trained, run, tmp_path):
    """The limit lets 95 of 100 validation pictures pass; far from all others is something else."""
    process = trained(TRANSFER)
    copy_outputs(process, tmp_path)
    file = process.outputs / "known.npz"
    with np.load(file) as saved:
        features = saved["features"]
        assert 0 < saved["limit"] < 1
    picture = tmp_path / "picture.png"
    Image.new("RGB", (100, 100), "teal").save(picture)
    sentence = "it looks like none of the training pictures"
    for limit, expected in [(-1.0, False), (1.1, True)]:
        place = tmp_path / "outputs" / process.outputs.name / "known.npz"
        np.savez(place, features=features, limit=limit)
        answer = run(TRANSFER, "--predict", picture, folder=tmp_path)
        assert (sentence in answer.out) is expected, answer.out


# Runs that do not come to their end.


def stop_in_epoch(number, monkeypatch, callback):
    """Press Ctrl-C when the epoch of this number, 1 for the first, begins."""
    def press(_, epoch, logs=None):
        if epoch == number - 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(getattr(tf.keras.callbacks, callback), "on_epoch_begin", press)


@pytest.mark.parametrize("script, data, callback", [
    (HORSES, "", "ModelCheckpoint"),
    (ICONS, "happy-or-sad", "TerminateOnNaN"),
    (TRANSFER, "cats_and_dogs_filtered", "EarlyStopping"),
])
def test_ctrl_c_before_anything_is_saved(script, data, callback, run, drawn, monkeypatch):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    stop_in_epoch(1, monkeypatch, callback)
    process = run(script, "--data-dir", drawn / data, text=small_text(script))
    assert_one_sentence(process, "Stopped.")
    assert not (process.outputs / "model.keras").exists()


def test_a_second_run_that_is_stopped_says_what_it_has_replaced(trained, run, drawn, tmp_path,
                                                                monkeypatch):
    folder = copy_outputs(trained(PETS), tmp_path)
    model = folder / "outputs" / trained(PETS).outputs.name / "model.keras"
    earlier = model.read_bytes()
    data = drawn / "cats_and_dogs_filtered"
    arguments = ["--data-dir", data, "--epochs", 3, "--batch-size", 8]
    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch(1, patch, "ModelCheckpoint")
        process = run(PETS, *arguments, folder=folder)
    curves = model.with_name("history.csv")
    place = model.parent.relative_to(folder)
    words = f"Stopped. The best epoch, if any, is in {place}."
    assert_one_sentence(process, words)
    assert model.read_bytes() == earlier and not curves.read_text()  # no epoch of this run
    stop_in_epoch(2, monkeypatch, "ModelCheckpoint")
    process = run(PETS, *arguments, folder=folder)
    assert_one_sentence(process, words)
    assert model.read_bytes() != earlier and len(curves.read_text().splitlines()) == 2


@pytest.mark.parametrize("script", [LINE, FILTERS, "TF_Dogs_Cats_Visualization.py", SPLIT])
def test_ctrl_c_in_any_other_lesson(script, trained, run, drawn, tmp_path, monkeypatch):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(plt, "subplots", press)
    monkeypatch.setattr(plt, "figure", press)
    copy_outputs(trained(PETS), tmp_path)
    arguments = []
    if script == SPLIT:
        arguments = ["--data-dir", drawn / "PetImages"]
    if "Visualization" in script:
        arguments = ["--data-dir", drawn / "cats_and_dogs_filtered"]
    process = run(script, *arguments, folder=tmp_path)
    assert_one_sentence(process, "Stopped.")


def test_a_full_disk_and_a_file_in_the_place_of_the_folder(run, drawn, tmp_path):
    arguments = ["--data-dir", drawn / "cats_and_dogs_filtered", "--epochs", 1]
    (tmp_path / "file").touch()
    process = run(PETS, *arguments, "--output-dir", tmp_path / "file")
    assert_one_sentence(process, str(tmp_path / "file"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, limits[1]))  # files cannot grow larger
    try:
        process = run(PETS, *arguments, text=small_text(PETS))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_sentence(process, "File too large")


def test_steps_that_are_too_large(run, drawn, trained, tmp_path):
    """A loss that is no number ends the training, and leaves the network of an earlier run."""
    folder = copy_outputs(trained(PETS), tmp_path)
    model = folder / "outputs" / "TF_Dogs_Cats" / "model.keras"
    before = model.read_bytes()
    text = small_text(PETS)
    assert "learning_rate=1e-3" in text
    text = text.replace("learning_rate=1e-3", "learning_rate=float('inf')")
    with pytest.raises(RuntimeError, match="NaN"):
        run(PETS, "--data-dir", drawn / "cats_and_dogs_filtered", "--batch-size", 8, folder=folder,
            text=text)
    assert model.read_bytes() == before


@pytest.mark.parametrize("script, data, old, new, error", [
    (LINE, None, "layers.Dense(1)", "layers.Dens(1)", AttributeError),
    (AUGMENTED, "", "layers.Dense(512,", "layers.Dense(-512,", ValueError),
])
def test_an_error_in_the_learners_own_edit_keeps_its_traceback(script, data, old, new, error, run,
                                                               drawn):
    text = small_text(script)
    assert old in text
    arguments = []
    if data is not None:
        arguments = ["--data-dir", drawn / data]
    with pytest.raises(error):
        run(script, *arguments, text=text.replace(old, new))


@pytest.mark.parametrize("script, flags", [
    (HORSES, ["--epochs", "0"]),
    (HANDS, ["--batch-size", "-3"]),
    (PETS, ["--epochs", "many"]),
    (TRANSFER, ["--dropout", "1.5"]),
    (LINE, ["--learning-rate", "-1"]),
    (SPLIT, ["--split", "1"]),
    (FILTERS, ["--filter", "1"]),
])
def test_a_number_out_of_range_is_an_error_of_the_flag(script, flags, run):
    process = run(script, *flags)
    assert process.code == 2 and flags[0] in process.err.splitlines()[-1], process.err
    assert not process.outputs.exists()
