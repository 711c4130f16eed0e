"""Every lesson, copied alone into an empty folder, runs on drawn data, leaves what it promises, and has learned."""

import csv
import json

import numpy as np
import pytest
from conftest import metrics_of
from PIL import Image

COMMON = {"lesson", "epochs", "seconds", "seconds_per_epoch", "seed", "arguments", "device", "precision", "pictures",
          "tensorflow", "keras"}

# script: (arguments, data folder, figures, floor of each figure in metrics.json)
LESSONS = {
    "TF_HelloWorld.py": ([], None, ["loss_and_line.png"], {"prediction": 18.9}),
    "TF_fashion_mnist.py": (["--epochs", 4], "fashion-mnist", ["curves.png", "layers.png"],
                            {"accuracy": 0.8, "test_accuracy": 0.8, "dense_test_accuracy": 0.7}),
    "TF_hand_writing_recognition.py": (["--epochs", 4], "mnist", ["curves.png", "mistakes.png"],
                                       {"accuracy": 0.8, "test_accuracy": 0.8, "dense_test_accuracy": 0.7}),
    "TF_Human_horse.py": (["--epochs", 4, "--batch-size", 8], "", ["curves.png"],
                          {"accuracy": 0.7, "best_validation_accuracy": 0.8}),
    "TF_HappyVsSad_Face.py": ([], "happy-or-sad", ["curves.png"], {"accuracy": 0.999}),
    "TF_Saving_Loading_Model.py": ([], None, ["losses.png"], {}),
    "TF_Dogs_Cats.py": (["--epochs", 4, "--batch-size", 8], "cats_and_dogs_filtered",
                        ["training_validation_acc_loss_plot.png"], {"accuracy": 0.7, "best_validation_accuracy": 0.8}),
    "TF_Human_horse_Augmentation.py": (["--epochs", 4, "--batch-size", 8], "", ["curves.png", "augmentations.png"],
                                       {"best_validation_accuracy": 0.75}),
    "TF_RockPaperScissors.py": (["--epochs", 5, "--batch-size", 9, "--steps", 50], "",  # more steps than batches
                                ["curves.png", "confusion_matrix.png"],
                                {"best_validation_accuracy": 0.6}),
    "TF_sign_language.py": (["--epochs", 6], "sign-language-mnist",
                            ["curves.png", "confusion_matrix.png", "letters.png"], {"test_accuracy": 0.3}),
    "TF_Model_Evaluation.py": (["--epochs", 6], "fashion-mnist", ["model_evaluation1.png", "model_evaluation2.png"],
                               {"test_accuracy": 0.7}),
}


def check_figure(file):
    """A figure of a lesson is at least 600 pixels wide, 300 high, and not one colour."""
    with Image.open(file) as picture:
        assert picture.width >= 600 and picture.height >= 300, file
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, file


@pytest.fixture(scope="module")
def lesson(run, drawn):
    """A function that runs a lesson of LESSONS once and returns the finished process."""
    finished = {}

    def run_once(script):
        if script not in finished:
            arguments, data, _, _ = LESSONS[script]
            source = [] if data is None else ["--data-dir", drawn / data]
            finished[script] = run(script, *arguments, *source)
        return finished[script]

    return run_once


@pytest.mark.parametrize("script", LESSONS)
def test_lesson_learns_and_leaves_what_it_promises(script, lesson):
    _, _, figures, floors = LESSONS[script]
    process = lesson(script)
    assert process.returncode == 0, process.words
    assert "Traceback" not in process.words and "Warning" not in process.stderr, process.stderr
    assert str(process.outputs.relative_to(process.folder)) in process.stdout.splitlines()[-1]
    for name in figures:
        check_figure(process.outputs / name)
    metrics = metrics_of(process)
    assert metrics.keys() >= COMMON and metrics["lesson"] == script.removesuffix(".py")
    assert metrics["seconds"] > 0 and metrics["precision"] == "float32"  # without --fast on any machine
    for name, floor in floors.items():
        assert metrics[name] >= floor, (name, metrics[name])
    with open(process.outputs / "history.csv", newline="") as lines:
        losses = [float(row["loss"]) for row in csv.DictReader(lines)]
    assert losses[-1] < losses[0]
    assert (process.outputs / "model.keras").is_file() and not (process.outputs / "backup").exists()


FAST = {  # script: (arguments, data folder, floor of each figure in metrics.json)
    "TF_fashion_mnist.py": (["--epochs", 5, "--batch-size", 32], "fashion-mnist", {"test_accuracy": 0.8}),
    "TF_hand_writing_recognition.py": (["--epochs", 5, "--batch-size", 32], "mnist", {"test_accuracy": 0.8}),
    "TF_Human_horse.py": (["--epochs", 4, "--batch-size", 8], "", {"best_validation_accuracy": 0.8}),
    "TF_HappyVsSad_Face.py": ([], "happy-or-sad", {"accuracy": 0.999}),
    "TF_Dogs_Cats.py": (["--epochs", 4, "--batch-size", 8], "cats_and_dogs_filtered",
                        {"best_validation_accuracy": 0.8}),
    "TF_Human_horse_Augmentation.py": (["--epochs", 5, "--batch-size", 8], "", {"best_validation_accuracy": 0.75}),
    "TF_RockPaperScissors.py": (["--epochs", 5, "--batch-size", 9, "--steps", 50], "",
                                {"best_validation_accuracy": 0.6}),
    "TF_sign_language.py": (["--epochs", 8, "--batch-size", 32], "sign-language-mnist", {"test_accuracy": 0.3}),
}


@pytest.fixture(scope="module")
def fast(run, drawn):
    """A function that runs a lesson of FAST once, with --fast, and returns the finished process."""
    finished = {}

    def run_once(script):
        if script not in finished:
            arguments, data, _ = FAST[script]
            finished[script] = run(script, "--fast", *arguments, "--data-dir", drawn / data)
        return finished[script]

    return run_once


@pytest.mark.parametrize("script", FAST)
def test_fast_learns_too(script, fast, lesson, load):
    process = fast(script)
    assert process.returncode == 0, process.words
    assert "Traceback" not in process.words and "Warning" not in process.stderr, process.stderr
    metrics = metrics_of(process)
    for name, floor in FAST[script][2].items():
        assert metrics[name] >= floor, (name, metrics[name])
    load(script).use_native_bfloat16()
    import tensorflow as tf
    here = tf.keras.mixed_precision.global_policy().name
    tf.keras.mixed_precision.set_global_policy("float32")
    assert metrics["precision"] == here and f"in {here}; figures" in process.stdout
    assert metrics.keys() == metrics_of(lesson(script)).keys()
    for name in LESSONS[script][2]:
        check_figure(process.outputs / name)


def test_a_fast_model_predicts_as_it_was_scored_and_shows_its_inside(fast, run, drawn):
    trained = fast("TF_Dogs_Cats.py")
    files = {name: sorted((drawn / "cats_and_dogs_filtered" / "validation" / name).iterdir())
             for name in ("cats", "dogs")}
    process = run("TF_Dogs_Cats.py", "--predict", *sum(files.values(), []), folder=trained.folder)
    truth = [name for name, group in files.items() for _ in group]
    right = np.mean([f": {name} (" in line for name, line in zip(truth, process.stdout.splitlines())])
    assert right == pytest.approx(metrics_of(trained)["best_validation_accuracy"], abs=0.05), process.words
    process = run("TF_Dogs_Cats_Visualization.py", "--data-dir", drawn / "cats_and_dogs_filtered",
                  folder=trained.folder)
    assert process.returncode == 0, process.words
    check_figure(process.outputs / "dog_intermediate representation.png")


def test_a_bfloat16_model_predicts_on_a_machine_without_it(run, load, drawn, tmp_path):
    """Once as with AVX-512 but no bfloat16, once as without AVX-512, where TensorFlow leaves oneDNN's kernels alone."""
    import tensorflow as tf
    lesson = load("TF_Human_horse.py")
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        lesson.build_model().save(tmp_path / "model.keras")
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    file, shares = next((drawn / "horse-or-human" / "horses").iterdir()), []
    for machine in ({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}, {"TF_ENABLE_ONEDNN_OPTS": "0"}, {}):
        process = run("TF_Human_horse.py", "--output-dir", tmp_path, "--predict", file, env=machine)
        assert process.returncode == 0, process.words
        shares.append(float(process.stdout.rpartition("%")[0].rpartition(" ")[2]))
    assert np.ptp(shares) < 2, shares  # percent


def test_hello_world_finds_the_rule_it_was_given(run):
    process = run("TF_HelloWorld.py", "--slope", "-3", "--intercept", "7")
    metrics = metrics_of(process)
    assert metrics["weight"] == pytest.approx(-3, abs=0.05) and metrics["bias"] == pytest.approx(7, abs=0.1)
    assert metrics["seconds"] < 5


def test_convolutions_need_no_tensorflow_and_no_network(run):
    process = run("Convolutions_basic.py", "--filter", -1, 0, 1, -2, 0, 2, -1, 0, 1)
    assert process.returncode == 0 and not process.stderr, process.stderr
    metrics = metrics_of(process)
    assert metrics["filters"]["your own filter"] == metrics["filters"]["vertical edges"]
    assert metrics["filters"]["blur"]["weight"] == pytest.approx(1 / 9)
    for name in ("filters.png", "pooled.png"):
        check_figure(process.outputs / name)


def test_convolutions_on_a_picture_of_ones_own(run, drawn):
    file = drawn / "rps" / "rock" / "rock01-000.png"  # RGBA
    process = run("Convolutions_basic.py", "--image", file)
    assert process.returncode == 0 and metrics_of(process)["size"] == [300, 300]


def test_happy_or_sad_stops_by_its_callback(lesson):
    process = lesson("TF_HappyVsSad_Face.py")
    metrics = metrics_of(process)
    assert metrics["stopped_by_callback"] and metrics["epochs"] < 15
    assert "the callback stops here" in process.stdout


def test_happy_or_sad_says_when_it_did_not_get_there(run, drawn):
    process = run("TF_HappyVsSad_Face.py", "--data-dir", drawn / "happy-or-sad", "--epochs", 1, "--steps", 1)
    assert process.returncode == 0 and "give it more --epochs" in process.stdout
    assert not metrics_of(process)["stopped_by_callback"]


def test_saved_models_are_the_same_in_every_format(lesson):
    process = lesson("TF_Saving_Loading_Model.py")
    differences = metrics_of(process)["differences"]
    assert len(differences) == 4 and set(differences.values()) == {0.0}
    for word in ("hidden", "kernel: (1, 8) float32", "model_config", "optimizer_weights", "Safe mode refuses it"):
        assert word in process.stdout


@pytest.mark.parametrize("script, folder, names", [
    ("TF_Human_horse.py", "validation-horse-or-human", ("horses", "humans")),
    ("TF_Dogs_Cats.py", "cats_and_dogs_filtered/validation", ("cats", "dogs")),
    ("TF_RockPaperScissors.py", "rps-test-set", ("rock", "paper", "scissors")),
])
def test_predict_agrees_with_what_the_model_scores(script, folder, names, lesson, run, load, drawn):
    """The share of right answers of --predict is the best validation accuracy: same pixels, same scale."""
    trained = lesson(script)
    files = {name: sorted((drawn / folder / name).iterdir()) for name in names}
    process = run(script, "--predict", *sum(files.values(), []), folder=trained.folder)
    assert process.returncode == 0, process.words
    lines = process.stdout.splitlines()[-sum(map(len, files.values())):]
    truth = [name for name, group in files.items() for _ in group]
    right = np.mean([f": {name} (" in line for name, line in zip(truth, lines)])
    assert right == pytest.approx(metrics_of(trained)["best_validation_accuracy"], abs=1e-6)
    assert all(all(name in line for name in names) and line.count("%") == len(names) for line in lines)


def test_predict_reads_rgba_and_grey_files(lesson, run, drawn, tmp_path):
    trained = lesson("TF_Human_horse.py")
    file = next((drawn / "horse-or-human" / "horses").iterdir())
    with Image.open(file) as picture:
        assert picture.mode == "RGBA"
        picture.convert("RGB").save(tmp_path / "rgb.png")
        picture.convert("L").save(tmp_path / "grey.png")
    process = run("TF_Human_horse.py", "--predict", file, tmp_path / "rgb.png", tmp_path / "grey.png",
                  folder=trained.folder)
    rgba, rgb, grey = (line.split("(")[1] for line in process.stdout.splitlines())
    assert rgba == rgb and "%" in grey and process.returncode == 0


def test_digits_can_be_predicted_dark_on_white(lesson, run, load, drawn, tmp_path):
    trained = lesson("TF_hand_writing_recognition.py")
    digits = load("TF_hand_writing_recognition.py")
    pictures = digits.read_idx(drawn / "mnist" / "t10k-images-idx3-ubyte.gz", 3)
    labels = digits.read_idx(drawn / "mnist" / "t10k-labels-idx1-ubyte.gz", 1)
    for number in range(10):
        Image.fromarray(255 - pictures[number]).resize((140, 140)).save(tmp_path / f"{number}.png")
    process = run("TF_hand_writing_recognition.py", "--predict", *(tmp_path / f"{number}.png" for number in range(10)),
                  folder=trained.folder)
    answers = [line.split(": ")[1][0] for line in process.stdout.splitlines()]
    assert sum(answer == str(label) for answer, label in zip(answers, labels)) >= 7, process.stdout


def test_a_hand_can_be_predicted_and_is_shown(lesson, run, drawn):
    trained = lesson("TF_sign_language.py")
    process = run("TF_sign_language.py", "--predict", drawn / "rps" / "rock" / "rock01-000.png", folder=trained.folder)
    assert process.returncode == 0, process.words
    check_figure(process.outputs / "prediction.png")


def test_horses_augmented_are_compared_with_lesson_5(lesson, run, drawn):
    lesson_5 = lesson("TF_Human_horse.py")
    process = run("TF_Human_horse_Augmentation.py", "--data-dir", drawn, "--epochs", 2, "--steps", 2,
                  folder=lesson_5.folder)  # finds outputs/TF_Human_horse by itself
    assert process.returncode == 0, process.words
    assert "Without (lesson 5)" in process.stdout
    check_figure(process.outputs / "comparison.png")


def test_dogs_and_cats_augmented(run, drawn):
    process = run("TF_Dogs_Cats.py", "--augment", "--data-dir", drawn / "cats_and_dogs_filtered",
                  "--epochs", 1, "--steps", 2)
    assert process.returncode == 0 and metrics_of(process)["epochs"] == 1
    assert "Validation accuracy was best in epoch 1 of 1" in process.stdout


def test_what_happens_inside_the_network_of_lesson_8(lesson, run, drawn):
    trained = lesson("TF_Dogs_Cats.py")
    process = run("TF_Dogs_Cats_Visualization.py", "--data-dir", drawn / "cats_and_dogs_filtered",
                  folder=trained.folder)
    assert process.returncode == 0, process.words
    check_figure(process.outputs / "dog_intermediate representation.png")
    check_figure(process.outputs / "sparsity.png")
    metrics = metrics_of(process)
    assert len(metrics["share_of_zeros"]) == 6 and all(0 <= share < 1 for share in metrics["share_of_zeros"].values())


@pytest.mark.parametrize("script", ["TF_Human_horse.py", "TF_RockPaperScissors.py", "TF_fashion_mnist.py"])
def test_what_happens_inside_other_networks(script, lesson, run, drawn):
    model = lesson(script).outputs / "model.keras"
    picture = drawn / "rps" / "rock" / "rock01-000.png"
    process = run("TF_Dogs_Cats_Visualization.py", "--model", model, "--image", picture)
    assert process.returncode == 0, process.words
    check_figure(process.outputs / "dog_intermediate representation.png")


def test_data_processing_names_what_it_leaves_out_and_feeds_lesson_8(run, drawn):
    before = sorted((file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*"))
    process = run("TF_DataProcessing_for_CNN_DogCatDataset.py", "--data-dir", drawn / "PetImages", "--split", "0.75")
    assert process.returncode == 0, process.words
    metrics = metrics_of(process)
    assert metrics["counts"] == {"training/cats": 18, "testing/cats": 6, "training/dogs": 18, "testing/dogs": 6}
    left_out = [file.replace("\\", "/") for file in metrics["left_out"]]
    for name in ("Cat/666.jpg", "Dog/11702.jpg", "Cat/Thumbs.db", "Dog/Thumbs.db", "Dog/77.jpg"):
        assert any(file.endswith(name) for file in left_out) and name.split("/")[1] in process.stdout
    assert len(left_out) == 5
    check_figure(process.outputs / "batch.png")
    parts = {part: {file.relative_to(process.outputs / part) for file in (process.outputs / part).rglob("*.jpg")}
             for part in ("training", "testing")}
    assert not parts["training"] & parts["testing"] and len(parts["training"] | parts["testing"]) == 48

    again = run("TF_DataProcessing_for_CNN_DogCatDataset.py", "--data-dir", drawn / "PetImages", "--split", "0.75",
                folder=process.folder)
    assert again.returncode == 0 and metrics_of(again)["placed"] == 0
    assert metrics_of(again)["counts"] == metrics["counts"]
    other = run("TF_DataProcessing_for_CNN_DogCatDataset.py", "--data-dir", drawn / "PetImages", "--seed", "2",
                folder=process.folder)
    assert other.returncode == 1 and "choose another --output-dir" in other.stderr and "Traceback" not in other.stderr
    assert before == sorted((file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*"))

    trained = run("TF_Dogs_Cats.py", "--data-dir", process.outputs, "--epochs", 1, "--steps", 1, folder=process.folder)
    assert trained.returncode == 0 and metrics_of(trained)["pictures"] == 48, trained.words


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """Random weights in the layout of the ImageNet file: enough to run lesson 12, not to judge it."""
    import tensorflow as tf
    tf.keras.utils.set_random_seed(1)
    file = tmp_path_factory.mktemp("weights") / "inception.weights.h5"
    tf.keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(150, 150, 3)).save_weights(file)
    return file


def test_transfer_learning_keeps_the_frozen_weights(run, load, drawn, inception_weights):
    process = run("TF_Dogs_Cats_Transfer_Learning.py", "--data-dir", drawn / "cats_and_dogs_filtered", "--weights",
                  inception_weights, "--epochs", 2, "--steps", 2, "--batch-size", 8, timeout=600)
    assert process.returncode == 0, process.words
    metrics = metrics_of(process)
    assert metrics["trainable_weights"] == 38_537_217 and metrics["frozen_weights"] == 8_975_264
    check_figure(process.outputs / "curves.png")
    import tensorflow as tf
    trained = tf.keras.models.load_model(process.outputs / "model.keras")
    original = tf.keras.applications.InceptionV3(include_top=False, weights=str(inception_weights),
                                                 input_shape=(150, 150, 3))
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.BatchNormalization)
    before = [layer for layer in original.layers if isinstance(layer, kinds)]
    after = [layer for layer in trained.layers if isinstance(layer, kinds)]
    assert len(after) == 140 and len(trained.trainable_weights) == 4  # two dense layers, kernel and bias each
    for old, new in zip(before, after):
        for a, b in zip(old.get_weights(), new.get_weights()):
            np.testing.assert_array_equal(a, b)


def test_fast_transfer_learning_trains_the_same_network(run, drawn, inception_weights):
    arguments = ["--data-dir", drawn / "cats_and_dogs_filtered", "--weights", inception_weights]
    process = run("TF_Dogs_Cats_Transfer_Learning.py", "--fast", *arguments, "--epochs", 3, "--steps", 2,
                  "--batch-size", 8, timeout=600)
    assert process.returncode == 0, process.words
    assert "features of 4 variants" in process.stdout and "Warning" not in process.stderr
    metrics = metrics_of(process)
    assert metrics["precision"] == "float32" and metrics["trainable_weights"] == 38_537_217
    import tensorflow as tf
    trained = tf.keras.models.load_model(process.outputs / "model.keras")
    assert trained.input_shape == (None, 150, 150, 3) and trained.output_shape == (None, 1)
    original = tf.keras.applications.InceptionV3(include_top=False, weights=str(inception_weights),
                                                 input_shape=(150, 150, 3))
    np.testing.assert_array_equal(trained.layers[2].get_weights()[0], original.layers[1].get_weights()[0])
    files = sorted((drawn / "cats_and_dogs_filtered" / "validation").rglob("*.jpg"))
    process = run("TF_Dogs_Cats_Transfer_Learning.py", "--predict", *files[:2], folder=process.folder)
    assert process.returncode == 0 and process.stdout.count("%") == 4 and not process.stderr, process.words


def test_evaluation_draws_the_history_of_every_lesson_that_trains(lesson, run):
    files = [lesson(script).outputs / "history.csv" for script in LESSONS]
    process = run("TF_Model_Evaluation.py", "--history", *files)
    assert process.returncode == 0, process.words
    check_figure(process.outputs / "histories.png")
    for script in LESSONS:
        assert script.removesuffix(".py") in process.stdout


def test_evaluation_judges_the_test_set(lesson):
    metrics = metrics_of(lesson("TF_Model_Evaluation.py"))
    matrix = np.array(metrics["confusion_matrix"])
    assert matrix.shape == (10, 10) and matrix.sum() == 240
    assert matrix.trace() / matrix.sum() == pytest.approx(metrics["test_accuracy"])
    assert metrics["better"] in ("plain", "regularised")


def test_metrics_are_plain_json(lesson):
    for script in LESSONS:
        text = (lesson(script).outputs / "metrics.json").read_text()
        assert "NaN" not in text and json.loads(text)["arguments"]["seed"] == 1
