"""Parts of lessons 1, 2, 3, 9 and 15: the mathematics, and what is said about it."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from conftest import LESSONS, ROOT, assert_one_sentence
from PIL import Image

LINE = "TF_HelloWorld.py"
CLOTHES = "TF_fashion_mnist.py"
FILTERS = "Convolutions_basic.py"
PETS = "TF_Dogs_Cats.py"
LOOK_INSIDE = "TF_Dogs_Cats_Visualization.py"
EVALUATION = "TF_Model_Evaluation.py"


# Lesson 1: a neuron.


def test_another_rule_is_learned_too(run):
    process = run(LINE, "--slope", -3, "--intercept", 7)
    assert process.code == 0 and re.search(r"^prediction: -22\.9", process.out, re.MULTILINE)


def test_steps_that_overshoot_end_in_one_sentence(run):
    process = run(LINE, "--learning-rate", 0.2)
    assert_one_sentence(process, "no longer a number", "smaller --learning-rate")
    assert not (process.outputs / "model.keras").exists()


# Lesson 2: a callback that stops.


def test_both_networks_stop_at_the_threshold(run, drawn):
    text = (ROOT / CLOTHES).read_text(encoding="utf-8").replace("STOP_AT = 0.95", "STOP_AT = 0.0")
    process = run(CLOTHES, "--data-dir", drawn / "fashion-mnist", "--epochs", 3, text=text)
    assert process.code == 0
    assert process.out.count("The accuracy of epoch 1 is above 0.0%: stopping.") == 2


# Lesson 3: convolution and pooling.


def test_convolution_by_loops_by_numpy_and_by_tensorflow_agree(load):
    lesson = load(FILTERS)
    pixels = np.random.default_rng(1).uniform(0, 255, (23, 31))
    for rows in lesson.FILTERS.values():
        kernel = np.array(rows, dtype=float)
        expected = lesson.convolve_by_definition(pixels, kernel)
        np.testing.assert_allclose(lesson.convolve(pixels, kernel), expected, atol=1e-9)
        by_tensorflow = tf.nn.conv2d(pixels[None, ..., None], kernel[..., None, None], strides=1,
                                     padding="VALID")
        np.testing.assert_allclose(by_tensorflow.numpy()[0, ..., 0], expected, atol=1e-9)


@pytest.mark.parametrize("shape", [(8, 10), (7, 10), (8, 11), (9, 9)])
def test_pooling_by_loops_by_numpy_and_by_tensorflow_agree(shape, load):
    lesson = load(FILTERS)
    pixels = np.random.default_rng(2).uniform(0, 255, shape)
    expected = tf.nn.max_pool2d(pixels[None, ..., None], 2, 2, "VALID").numpy()[0, ..., 0]
    for pool in [lesson.max_pool_by_definition, lesson.max_pool]:
        np.testing.assert_allclose(pool(pixels), expected, rtol=1e-6)  # there in 32 bits


@pytest.mark.parametrize("kernel, factor", [
    ([[1, 1, 1], [1, 1, 1], [1, 1, 1]], 1 / 9),
    ([[2, 2, 2], [2, 2, 2], [2, 2, 2]], 1 / 18),
    ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
    ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
])
def test_a_filter_is_normalised_when_it_does_not_sum_to_0_or_1(kernel, factor, load):
    assert load(FILTERS).find_factor(np.array(kernel)) == pytest.approx(factor)


def test_a_filter_of_ones_own_and_a_picture_of_ones_own(run, drawn):
    file = drawn / "rps" / "rock" / "rock01-000.png"  # RGBA
    process = run(FILTERS, "--image", file, "--filter", -1, 0, 1, -2, 0, 2, -1, 0, 1)
    assert process.code == 0, process.err
    lines = {line[:22].strip(): line[22:] for line in process.out.splitlines()}
    assert lines["your own filter"] == lines["vertical edges"]
    assert "factor 0.111" in lines["blur"] and "your own filter" in process.texts


@pytest.mark.parametrize("script", [FILTERS, LOOK_INSIDE])
def test_what_is_no_picture_is_named(script, trained, run, tmp_path):
    arguments = []
    if script == LOOK_INSIDE:
        arguments = ["--model", trained(PETS).outputs / "model.keras", "--classes", "cat", "dog"]
    (tmp_path / "note.jpg").write_text("a note")
    for name in ["note.jpg", "nothing.jpg", "."]:
        process = run(script, *arguments, "--image", tmp_path / name)
        assert_one_sentence(process, str(tmp_path / name), "cannot be read as a picture")


# Lesson 9: where did it look?


def build_network(units: int, activation: str):
    """A network whose only filter passes red on."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((20, 20, 3)),
        layers.Conv2D(1, 3, activation="relu", padding="same"),
        layers.Flatten(),
        layers.Dense(units, activation=activation),
    ])
    kernel = np.zeros((3, 3, 3, 1))
    kernel[1, 1, 0] = 1
    model.layers[0].set_weights([kernel, np.zeros(1)])
    weights = np.zeros((400, units))
    weights[:, -1] = 5  # red is for the last class
    model.layers[2].set_weights([weights, np.zeros(units)])
    return model


@pytest.mark.parametrize("units, activation", [(1, "sigmoid"), (3, "softmax")])
def test_grad_cam_finds_what_decides(units, activation, load):
    """The heat must lie on the red half, although the probability is 1.0, without a gradient."""
    lesson = load(LOOK_INSIDE)
    model = build_network(units, activation)
    picture = np.zeros((1, 20, 20, 3), np.float32)
    picture[:, :, :10, 0] = 1
    picture[:, :, 10:, 2] = 1
    assert model.predict(picture, verbose=0)[0, -1] == 1
    last = max(units, 2) - 1
    heat = lesson.grad_cam(model, picture, last)
    assert heat.shape == (20, 20) and heat.max() == pytest.approx(5)  # a weight of 5, a map of 1
    assert heat[:, :9].min() > 4.5 and heat[:, 11:].max() < 0.5
    assert lesson.grad_cam(model, picture, 0).max() == 0  # nothing is for label 0


def test_both_heat_maps_have_the_scale_of_the_key(load, tmp_path):
    lesson = load(LOOK_INSIDE)
    weak = np.full((4, 4), 0.5)
    weak[0] = 0.25  # nowhere 0, and nowhere the strongest
    picture = np.zeros((4, 4, 3), np.uint8)
    lesson.draw_heat(picture, {"cats": weak, "dogs": 4 * weak}, tmp_path / "heat.png")
    _, cats, dogs, _ = plt.gcf().axes
    assert [axis.images[-1].get_clim() for axis in (cats, dogs)] == [(0, 1), (0, 1)]
    assert cats.images[-1].get_array().max() == 0.25
    assert dogs.images[-1].get_array().max() == 1
    plt.close("all")


def test_a_dead_filter_does_not_divide_by_zero(load):
    maps = np.zeros((5, 5, 16), np.float32)
    maps[..., 1] = np.eye(5)
    with np.errstate(all="raise"):
        strip = load(LOOK_INSIDE).join_maps(maps)
    assert (strip[:, :5] == 0).all() and strip[0, 6] == 1 and np.isnan(strip[:, 5]).all()


@pytest.mark.parametrize("script, classes, layers", [
    ("TF_Human_horse.py", ["horses", "humans"], 10),
    ("TF_HappyVsSad_Face.py", ["happy", "sad"], 6),
    (PETS, ["cats", "dogs"], 6),
    ("TF_Human_horse_Augmentation.py", ["horses", "humans"], 10),
    ("TF_RockPaperScissors.py", [], 8),  # classes.txt has them
])
def test_what_happens_inside_a_network(script, classes, layers, trained, run, drawn):
    names = []
    if classes:
        names = ["--classes", *classes]
    process = run(LOOK_INSIDE, "--model", trained(script).outputs / "model.keras", *names,
                  "--seed", 1, "--data-dir", drawn / "cats_and_dogs_filtered")
    assert process.code == 0, process.err
    for name in ["layers.png", "sparsity.png", "grad_cam.png"]:
        with Image.open(process.outputs / name) as figure:
            assert figure.width == 1000 and 200 < figure.height < 1500
    assert process.out.count("% zeros") == layers
    answers = re.findall(r"^(\w+) \(([\d.]+)%\)$", process.out, re.MULTILINE)
    assert len(answers) == 2 and float(answers[0][1]) >= float(answers[1][1])
    assert {name for name, _ in answers} <= set(classes or ["rock", "paper", "scissors"])


def test_lesson_9_after_lesson_8_and_before(trained, run, drawn, tmp_path):
    assert_one_sentence(run(LOOK_INSIDE), "Run lesson 8, TF_Dogs_Cats.py, first.")
    pictures = drawn / "cats_and_dogs_filtered" / "validation"
    process = run(LOOK_INSIDE, "--data-dir", pictures, folder=trained(PETS).folder)
    assert process.code == 0 and re.search(r"^cats \(", process.out, re.MULTILINE), process.err
    process = run(LOOK_INSIDE, "--data-dir", tmp_path, folder=trained(PETS).folder)
    assert_one_sentence(process, str(tmp_path), "--image")


def test_lesson_9_does_not_guess_the_names_of_classes(trained, run, drawn):
    model = trained(PETS).outputs / "model.keras"  # not in the place of lesson 8's
    arguments = ["--model", model, "--data-dir", drawn / "rps"]
    assert_one_sentence(run(LOOK_INSIDE, *arguments), "has 2 classes", "--classes")
    process = run(LOOK_INSIDE, *arguments, "--classes", "cat", "dog", "bird")
    assert_one_sentence(process, "has 2 classes", "--classes")


def test_lesson_9_needs_a_single_chain_of_layers(run, tmp_path):
    layers = tf.keras.layers
    pictures = layers.Input((20, 20, 3))
    both = layers.Add()([layers.Conv2D(4, 3)(pictures), layers.Conv2D(4, 3)(pictures)])
    answers = layers.Dense(2, activation="softmax")(layers.Flatten()(both))
    tf.keras.Model(pictures, answers).save(tmp_path / "branches.keras")
    chain = [layers.Input((20, 20, 3)), layers.Flatten(), layers.Dense(2)]
    tf.keras.Sequential(chain).save(tmp_path / "dense.keras")
    grey = [layers.Input((20, 20, 1)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    tf.keras.Sequential(grey).save(tmp_path / "grey.keras")
    for name in ["branches.keras", "dense.keras", "grey.keras"]:
        process = run(LOOK_INSIDE, "--model", tmp_path / name)
        assert_one_sentence(process, name, "no chain of layers", "--model")


# Lesson 15: behind the accuracy.


def test_the_interval_of_an_accuracy_is_wilsons(load):
    """The example of 81 of 263 in Newcombe (1998), method 3: .2553 to .3662."""
    low, high = load(EVALUATION).find_interval(81 / 263, 263)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_precision_recall_and_f1(load):
    labels = np.repeat([0, 1], 10)
    predicted = np.array([0] * 8 + [1] * 2 + [0] * 4 + [1] * 6)
    expected = [(8 / 12, 0.8, 8 / 11), (6 / 8, 0.6, 2 / 3), (0, 0, 0)]  # no picture has label 2
    for label, numbers in enumerate(expected):
        judged = load(EVALUATION).judge_class(labels == label, predicted == label)
        assert judged == pytest.approx(numbers)


def test_confidence_and_what_it_is_worth(load, tmp_path, capsys):
    """A network that is right exactly as often as it says, and the half of which it is surest."""
    confidence = np.repeat([0.95, 0.55], 100)
    is_right = np.array([True] * 95 + [False] * 5 + [True] * 55 + [False] * 45)
    load(EVALUATION).draw_certainty(confidence, is_right, tmp_path / "certainty.png")
    calibration, abstention = plt.gcf().axes
    x, y = calibration.lines[1].get_data()
    np.testing.assert_allclose(x, y)
    assert abstention.lines[0].get_ydata()[-1] == pytest.approx(0.75)
    assert "95.0% of these are right" in capsys.readouterr().out
    plt.close("all")


def test_each_network_is_kept_at_the_turn_of_its_validation_loss(trained, load, drawn):
    lesson = load(EVALUATION)
    process = trained(EVALUATION)
    dataset = tf.keras.datasets.fashion_mnist
    (x, y), _ = lesson.load_mnist(dataset, drawn / "fashion-mnist")
    lowest = []
    for name in ["not_regularised", "regularised"]:
        model = tf.keras.models.load_model(process.outputs / name / "model.keras")
        loss = model.evaluate(x * np.float32(1 / 255), y, verbose=0)[0]  # all are validation
        history = np.genfromtxt(process.outputs / name / "history.csv", delimiter=",", names=True)
        assert loss == pytest.approx(history["val_loss"].min(), rel=1e-3)
        lowest.append(history["val_loss"].min())
    kept = np.genfromtxt(process.outputs / "history.csv", delimiter=",", names=True)
    assert kept["val_loss"].min() == min(lowest)


def test_the_curves_of_every_lesson_that_trains(trained, run, tmp_path):
    files = [trained(script).outputs / "history.csv" for script in LESSONS if script != LINE]
    process = run(EVALUATION, "--history", *files)
    assert process.code == 0, process.out + process.err
    assert process.out.count("history.csv: ") == len(files)
    assert process.out.count("There was no validation set") == 3  # lessons 2, 4 and 6
    assert (process.outputs / "histories.png").exists()


@pytest.mark.parametrize("content", [None, "", "epoch,loss\n0,3\n"])
def test_curves_that_cannot_be_read(content, run, tmp_path):
    file = tmp_path / "history.csv"
    if content is not None:
        file.write_text(content)
    assert_one_sentence(run(EVALUATION, "--history", file), str(file), "train that lesson")
