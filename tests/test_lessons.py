"""Every lesson, copied alone into an empty folder, runs on drawn data, leaves what it promises,
and has learned.
"""

import functools
import json
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from conftest import (
    ROOT,
    assert_one_sentence,
    copy_outputs,
    metrics_of,
    small_inception,
    small_text,
)
from PIL import Image

SMALL = ["--epochs", 4, "--batch-size", 8]
# script: (arguments, data folder, figures, the least that a number of metrics.json must be)
LESSONS = {
    "TF_HelloWorld.py": ([], None, ["loss_and_line.png"], {"prediction": 18.9}),
    "TF_fashion_mnist.py": (
        ["--epochs", 4, "--batch-size", 16],
        "fashion-mnist",
        ["pictures.png", "curves.png", "layers.png"],
        {"test_accuracy": 0.8, "dense_test_accuracy": 0.6},
    ),
    "TF_hand_writing_recognition.py": (
        ["--epochs", 4, "--batch-size", 16],
        "mnist",
        ["pictures.png", "curves.png", "mistakes.png"],
        {"test_accuracy": 0.8, "dense_test_accuracy": 0.6},
    ),
    "TF_Human_horse.py": (
        SMALL,
        "",
        ["pictures.png", "curves.png"],
        {"best_validation_accuracy": 0.8},
    ),
    "TF_HappyVsSad_Face.py": (
        [],
        "happy-or-sad",
        ["pictures.png", "curves.png"],
        {"training_accuracy": 0.999},
    ),
    "TF_Dogs_Cats.py": (
        SMALL,
        "cats_and_dogs_filtered",
        ["pictures.png", "training_validation_acc_loss_plot.png"],
        {"best_validation_accuracy": 0.8},
    ),
    "TF_Human_horse_Augmentation.py": (
        SMALL,
        "",
        ["pictures.png", "curves.png", "augmentations.png"],
        {"best_validation_accuracy": 0.75},
    ),
    "TF_Dogs_Cats_Transfer_Learning.py": (
        ["--epochs", 4, "--batch-size", 8, "--fine-tune", 1],
        "cats_and_dogs_filtered",
        ["pictures.png", "curves.png", "learning_curve.png", "confusion_matrix.png"],
        {"best_validation_accuracy": 0.8},
    ),
    "TF_RockPaperScissors.py": (
        SMALL,
        "",
        ["pictures.png", "curves.png", "confusion_matrix.png"],
        {"best_validation_accuracy": 0.6},
    ),
    "TF_sign_language.py": (
        ["--epochs", 4, "--batch-size", 16],
        "sign-language-mnist",
        ["pictures.png", "curves.png", "confusion_matrix.png"],
        {"test_accuracy": 0.3},
    ),
    "TF_Model_Evaluation.py": (
        ["--epochs", 3, "--batch-size", 32],
        "fashion-mnist",
        [
            "pictures.png",
            "model_evaluation1.png",
            "model_evaluation2.png",
            "certainty.png",
            "mistakes.png",
        ],
        {"test_accuracy": 0.7},
    ),
}
PREDICTS = [
    script for script in LESSONS if "--predict" in (ROOT / script).read_text(encoding="utf-8")
]


def check_figure(file):
    """A figure of a lesson is at least 600 pixels wide, 300 high, and not one colour."""
    with Image.open(file) as picture:
        assert picture.width >= 600 and picture.height >= 300, file
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 10, file


@pytest.mark.parametrize("script", LESSONS)
def test_lesson_learns_and_leaves_what_it_promises(script, trained):
    _, _, figures, floors = LESSONS[script]
    process = trained(script)
    assert process.code == 0 and "Warning" not in process.err, process.err
    for name in figures:
        check_figure(process.outputs / name)
    assert not [text for text in process.texts if "mathdefault" in text]  # as of a log axis
    metrics = metrics_of(process)
    assert metrics["seconds"] > 0 and metrics["seed"] == 1
    for name, floor in floors.items():
        assert metrics[name] >= floor, (name, metrics[name])
    history = np.genfromtxt(process.outputs / "history.csv", delimiter=",", names=True)
    assert history["loss"][1:].min() < history["loss"][0]
    model = tf.keras.models.load_model(process.outputs / "model.keras")
    assert model.name == script.removesuffix(".py")


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
    process = run(
        "Convolutions_basic.py", "--image", drawn / "rps" / "rock" / "rock01-000.png"
    )  # RGBA
    assert process.code == 0, process.err
    check_figure(process.outputs / "filters.png")


def test_saved_models_are_the_same_in_every_format(run):
    process = run("TF_Saving_Loading_Model.py")
    assert process.code == 0 and process.out.count("largest difference 0\n") == 5, process.err
    old = tf.keras.models.load_model(process.outputs / "model.h5").optimizer.variables
    new = tf.keras.models.load_model(process.outputs / "model.keras").optimizer.variables
    assert len(old) < len(new)
    for word in (
        "hidden: group",
        "dataset (1, 8) float32",
        "attribute model_config",
        "with_code.keras was refused",
        "Lambda",
    ):
        assert word in process.out, word
    check_figure(process.outputs / "loss.png")
    assert not [text for text in process.texts if "mathdefault" in text]


def test_happy_or_sad_stops_after_the_epoch_that_is_good_enough(trained):
    process = trained("TF_HappyVsSad_Face.py")
    measured = re.findall(r"accuracy on the same icons: ([\d.]+)%", process.out)
    assert len(measured) < 15 and measured[-1] == "100.0"
    assert all(float(number) < 99.9 for number in measured[:-1])
    assert "stopping here" in process.out


@pytest.mark.parametrize(
    "script, folder, names",
    [
        ("TF_Human_horse.py", "validation-horse-or-human", ("horses", "humans")),
        ("TF_RockPaperScissors.py", "rps-test-set", ("rock", "paper", "scissors")),
        (
            "TF_Dogs_Cats_Transfer_Learning.py",
            "cats_and_dogs_filtered/validation",
            ("cats", "dogs"),
        ),
    ],
)
def test_predict_agrees_with_what_the_model_scores(script, folder, names, trained, run, drawn):
    """The share of right answers of --predict is the best validation accuracy: same pixels, same
    scale.
    """
    finished = trained(script)
    files = {name: sorted((drawn / folder / name).iterdir()) for name in names}
    process = run(script, "--predict", *sum(files.values(), []), folder=finished.folder)
    assert process.code == 0, process.err
    truth = [name for name, group in files.items() for _ in group]
    right = np.mean(
        [f": {name} (" in line for name, line in zip(truth, process.out.splitlines(), strict=True)]
    )
    assert right == pytest.approx(
        metrics_of(finished)["best_validation_accuracy"], abs=0.07
    )  # bfloat16 may tip one


def test_digits_and_hands_of_ones_own(trained, run, load, drawn, tmp_path):
    digits = load("TF_hand_writing_recognition.py")
    _, (pictures, labels) = digits.load_mnist(None, drawn / "mnist")
    files = [tmp_path / f"{number}.png" for number in range(20)]
    for picture, file in zip(pictures, files):
        paper = Image.new(
            "L", (400, 300), 180
        )  # grey, and the digit is small and not in the middle
        paper.paste(
            Image.fromarray((180 - 0.6 * picture).astype("uint8")).resize((84, 84)), (70, 150)
        )
        paper.save(file)
    process = run(
        "TF_hand_writing_recognition.py",
        "--predict",
        *files,
        folder=trained("TF_hand_writing_recognition.py").folder,
    )
    answers = [line.split(": ")[1][0] for line in process.out.splitlines()]
    assert np.mean([answer == str(label) for answer, label in zip(answers, labels)]) >= 0.7, (
        process.out
    )
    process = run(
        "TF_sign_language.py", "--predict", *files[:2], folder=trained("TF_sign_language.py").folder
    )
    assert process.code == 0 and process.out.count("%)") == 2
    assert Image.open(process.outputs / "prediction.png").size == (2 * 224, 224)


def test_lesson_11_is_compared_with_lesson_5(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained("TF_Human_horse.py"), tmp_path)
    process = run(
        "TF_Human_horse_Augmentation.py",
        "--data-dir",
        drawn,
        "--epochs",
        1,
        folder=folder,
        text=small_text("TF_Human_horse_Augmentation.py"),
    )
    assert process.code == 0 and "lesson 5, not augmented, mean" in process.out, process.err


def test_augmented_dogs_and_cats_do_not_overwrite_the_others(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained("TF_Dogs_Cats.py"), tmp_path)
    before = (folder / "outputs" / "TF_Dogs_Cats" / "history.csv").read_bytes()
    process = run(
        "TF_Dogs_Cats.py",
        "--augment",
        "--data-dir",
        drawn / "cats_and_dogs_filtered",
        "--epochs",
        1,
        folder=folder,
        text=small_text("TF_Dogs_Cats.py"),
    )
    assert (
        process.code == 0
        and (folder / "outputs" / "TF_Dogs_Cats_augmented" / "model.keras").exists()
    ), process.err
    assert (folder / "outputs" / "TF_Dogs_Cats" / "history.csv").read_bytes() == before


@pytest.mark.parametrize(
    "script, count",
    [
        ("TF_Human_horse.py", 10),
        ("TF_HappyVsSad_Face.py", 6),
        ("TF_Dogs_Cats.py", 6),
        ("TF_Human_horse_Augmentation.py", 10),
        ("TF_RockPaperScissors.py", 8),
    ],
)
def test_what_happens_inside_a_network_and_where_it_looked(script, count, trained, run, drawn):
    model = trained(script).outputs / "model.keras"
    process = run(
        "TF_Dogs_Cats_Visualization.py",
        "--model",
        model,
        "--seed",
        1,
        "--data-dir",
        drawn / "cats_and_dogs_filtered",
    )
    assert process.code == 0, process.err
    for name in ("layers.png", "sparsity.png", "grad_cam.png"):
        check_figure(process.outputs / name)
    assert process.out.count("% zeros") == count
    answers = re.findall(r"^\w+ \(([\d.]+)%\)$", process.out, re.MULTILINE)
    assert len(answers) == 2 and float(answers[0]) >= float(answers[1])


def test_both_heat_maps_have_the_scale_of_the_key(load, tmp_path):
    lesson = load("TF_Dogs_Cats_Visualization.py")
    weak = np.full((4, 4), 0.5)
    weak[0] = 0.25  # nowhere 0, and nowhere the strongest
    picture = np.zeros((4, 4, 3), np.uint8)
    lesson.draw_heat(picture, {"cats": weak, "dogs": 4 * weak}, tmp_path / "heat.png")
    _, cats, dogs, _ = plt.gcf().axes
    assert [axis.images[-1].get_clim() for axis in (cats, dogs)] == [(0, 1), (0, 1)]
    assert cats.images[-1].get_array().max() == 0.25
    assert dogs.images[-1].get_array().max() == 1


def test_lesson_9_needs_a_single_chain_of_layers(run, drawn, tmp_path):
    layers = tf.keras.layers
    pictures = layers.Input((20, 20, 3))
    first = layers.Conv2D(4, 3)(pictures)
    second = layers.Conv2D(4, 3)(pictures)
    features = layers.Flatten()(layers.Add()([first, second]))
    model = tf.keras.Model(pictures, layers.Dense(2, activation="softmax")(features))
    model.save(tmp_path / "model.keras")
    (tmp_path / "classes.txt").write_text("cats\ndogs")
    process = run("TF_Dogs_Cats_Visualization.py", "--model", tmp_path / "model.keras",
                  "--data-dir", drawn / "cats_and_dogs_filtered")
    assert_one_sentence(process, "not a single chain of layers", "--model")


def test_a_dead_filter_does_not_divide_by_zero(load):
    lesson = load("TF_Dogs_Cats_Visualization.py")
    maps = np.zeros((5, 5, 16), np.float32)
    maps[..., 1] = np.eye(5)
    with np.errstate(all="raise"):
        strip = lesson.join_maps(maps)
    assert (strip[:, :5] == 0).all() and strip[0, 6] == 1 and np.isnan(strip[:, 5]).all()


def test_data_processing_feeds_lesson_8_and_refuses_another_split(run, drawn):
    script = "TF_DataProcessing_for_CNN_DogCatDataset.py"
    before = sorted((file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*"))
    process = run(script, "--data-dir", drawn / "PetImages", "--split", "0.75")
    assert process.code == 0, process.err
    for name in ("666.jpg: ", "11702.jpg: ", "Cat/Thumbs.db: ", "Dog/Thumbs.db: ", "77.jpg: "):
        assert name in process.out.replace("\\", "/"), name
    assert process.out.count("Left out:") == 5

    def layout() -> dict[str, set[str]]:
        return {
            part: {
                file.relative_to(process.outputs / part).as_posix()
                for file in (process.outputs / part).rglob("*.jpg")
            }
            for part in ("training", "testing")
        }

    first = layout()
    assert (
        len(first["training"]) == 24
        and len(first["testing"]) == 8
        and not first["training"] & first["testing"]
    )
    again = run(script, "--data-dir", drawn / "PetImages", "--split", "0.75", folder=process.folder)
    assert again.code == 0 and "0 placed in this run" in again.out
    for other in (["--split", "0.75", "--seed", 2], ["--split", "0.5"], ["--split", "0.9"]):
        refused = run(script, "--data-dir", drawn / "PetImages", *other, folder=process.folder)
        assert_one_sentence(refused, "another split", "--output-dir")
        assert layout() == first  # nothing was placed before it was refused
    assert before == sorted(
        (file, file.stat().st_size) for file in (drawn / "PetImages").rglob("*")
    )
    lesson_8 = run(
        "TF_Dogs_Cats.py", "--data-dir", process.outputs, "--epochs", 1, folder=process.folder
    )
    assert lesson_8.code == 0 and "Found 24 images" in lesson_8.out, lesson_8.err


def test_evaluation_draws_the_history_of_every_lesson_that_trains(trained, run):
    files = [trained(script).outputs / "history.csv" for script in LESSONS]
    process = run("TF_Model_Evaluation.py", "--history", *files)
    assert process.code == 0 and process.out.count("validation") >= len(LESSONS), process.err
    check_figure(process.outputs / "histories.png")


def test_evaluation_keeps_the_turn_of_the_validation_loss(trained, load, drawn):
    lesson, process = load("TF_Model_Evaluation.py"), trained("TF_Model_Evaluation.py")
    (x, y), _ = lesson.load_mnist(None, drawn / "fashion-mnist")
    for name in ("not_regularised", "regularised"):
        model = tf.keras.models.load_model(process.outputs / name / "model.keras")
        loss = model.evaluate(x * np.float32(1 / 255), y, verbose=0)[0]  # all are validation
        history = np.genfromtxt(process.outputs / name / "history.csv", delimiter=",", names=True)
        assert loss == pytest.approx(history["val_loss"].min(), rel=1e-3)


def blocks_of_the_notes(words):
    """The python blocks of the README with these words."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return [block for block in blocks if words in block]


@pytest.mark.parametrize("script", ["TF_Dogs_Cats_Transfer_Learning.py", "TF_Dogs_Cats.py"])
def test_the_program_of_the_notes_uses_a_saved_network(
    script, trained, drawn, monkeypatch, capsys, tmp_path
):
    (program,) = blocks_of_the_notes("# not in the script: a program of your own")
    (which_part,) = blocks_of_the_notes("# not in the script: which part decided?")
    process = trained(script)
    picture = next((drawn / "cats_and_dogs_filtered" / "validation" / "cats").iterdir())
    shutil.copytree(process.outputs, tmp_path / "outputs" / "network")
    shutil.copy(picture, tmp_path / "found_today.jpg")
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(program + which_part, variables)
    answer, probability = capsys.readouterr().out.split()
    model = variables["model"]
    expected = model.predict(variables["pictures"], verbose=0)[0]
    if script == "TF_Dogs_Cats.py":
        expected = [1 - expected[0], expected[0]]
    assert answer == ["cats", "dogs"][np.argmax(expected)]
    assert float(probability) == pytest.approx(max(expected), abs=1e-5)
    height = model.input_shape[1]
    places = len(range(0, height, height // 15)) ** 2
    assert variables["fall"].shape == (places,) and variables["fall"].max() > 0
    check_figure(tmp_path / "which_part.png")


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_the_file_for_the_phone_needs_only_what_a_phone_has(tmp_path, monkeypatch):
    (export,) = blocks_of_the_notes("# not in the script: a file for the phone")
    (open_network,) = blocks_of_the_notes("# not in the script: without TensorFlow")
    (ask,) = blocks_of_the_notes("# not in the script: was model.predict")
    layers = tf.keras.layers
    network = tf.keras.Sequential([
        layers.Input((8, 10, 3)),
        layers.Conv2D(4, 3, activation="relu", dtype="mixed_bfloat16"),  # no phone has this
        layers.Flatten(),
        layers.Dense(2, activation="softmax", dtype="float32"),
    ])
    folder = tmp_path / "outputs" / "network"
    folder.mkdir(parents=True)
    network.save(folder / "model.keras")
    monkeypatch.chdir(tmp_path)
    exec(export, {})
    builtin = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = functools.partial(
        tf.lite.Interpreter, experimental_op_resolver_type=builtin)  # as a phone's: no TensorFlow
    module = types.SimpleNamespace(Interpreter=interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    variables = {"pictures": np.random.default_rng(1).random((1, 8, 10, 3), np.float32)}
    exec(open_network + textwrap.dedent(ask), variables)
    expected = network.predict(variables["pictures"], verbose=0)
    assert variables["scores"] == pytest.approx(expected, abs=0.01)  # bfloat16 is coarse
    (details,) = variables["interpreter"].get_input_details()
    assert list(details["shape_signature"]) == [1, 8, 10, 3]  # LiteRT.js refuses -1, any number


BROWSER = """
const drawing = {
  drawImage: (photograph, ...place) => { drawing.drawn = [photograph, ...place]; },
  getImageData: (x, y, width, height) => (
    { data: Array.from({ length: 4 * width * height }, (_, index) => index) }),
};
const elements = {
  p: {},
  canvas: { getContext: () => drawing },
  input: { files: ["photograph"], disabled: true },
};
globalThis.document = { querySelector: (name) => elements[name] };
globalThis.createImageBitmap = async (file) => `upright ${file}`;
globalThis.fetch = async (name) => ({ text: async () => "cats\\r\\ndogs\\r\\nhorses" });
const given = [];
class Tensor {
  constructor(data, shape) { given.push({ data: [...data], shape }); }
  delete() {}
}
const loadLiteRt = async () => {};
const loadAndCompile = async (name) => ({
  getInputDetails: () => [{ shape: Int32Array.of(1, 2, 3, 3) }],
  run: async (batch) => [{ toTypedArray: () => Float32Array.from(SCORES), delete: () => {} }],
});
"""
ASK = """
await elements.input.onchange();
console.log(JSON.stringify({
  answer: elements.p.textContent, disabled: elements.input.disabled, drawn: drawing.drawn,
  size: [elements.canvas.width, elements.canvas.height], ...given[0],
}));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="the page is JavaScript")
@pytest.mark.parametrize(
    ["scores", "answer"], [([0.125, 0.25, 0.625], "horses: 63 %"), ([0.25], "cats: 75 %")]
)
def test_the_page_for_the_phone_asks_the_network(scores, answer, tmp_path):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (page,) = re.findall(r"```html\n(.*?)```", text, re.DOTALL)
    (script,) = re.findall(r'<script type="module">\nimport .*?\n(.*)</script>', page, re.DOTALL)
    program = tmp_path / "page.mjs"
    program.write_text(BROWSER.replace("SCORES", str(scores)) + script + ASK)
    process = subprocess.run(["node", program], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    seen = json.loads(process.stdout)
    pixels = [index / 255 for index in range(4 * 2 * 3) if index % 4 != 3]  # no opacity
    assert seen.pop("data") == pytest.approx(pixels)
    assert seen == {
        "answer": answer,
        "disabled": False,
        "drawn": ["upright photograph", 0, 0, 3, 2],
        "size": [3, 2],
        "shape": [1, 2, 3, 3],
    }


def test_the_class_weights_of_the_notes_fit_into_lesson_12(run, drawn, tmp_path, monkeypatch):
    (lines,) = blocks_of_the_notes("# not in the script: pictures of each class")
    text = small_text("TF_Dogs_Cats_Transfer_Learning.py")
    start = text.index("    history = head.fit(")
    end = text.index(".history\n", start) + len(".history\n")
    shutil.copytree(drawn / "cats_and_dogs_filtered", tmp_path / "data")
    for picture in sorted((tmp_path / "data" / "train" / "cats").iterdir())[4:]:
        picture.unlink()
    given = []
    fit = tf.keras.Sequential.fit
    monkeypatch.setattr(tf.keras.Sequential, "fit", lambda model, *arguments, **settings: (
        given.append(settings.get("class_weight")), fit(model, *arguments, **settings))[1])
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    process = run("TF_Dogs_Cats_Transfer_Learning.py", "--epochs", 1, "--data-dir",
                  tmp_path / "data", text=text[:start] + lines + text[end:])
    assert process.code == 0, process.err
    assert given[0] == pytest.approx({0: 20 / 8, 1: 20 / 32})


def test_fine_tuning_changes_the_last_layers_and_no_batch_normalization(load):
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    layers = tf.keras.layers
    names = ["first", "mixed6", "norm", "last"]
    kinds = [
        layers.Dense(2, name="first"),
        layers.Dense(2, name="mixed6"),
        layers.BatchNormalization(name="norm"),
        layers.Dense(2, name="last"),
    ]
    base = tf.keras.Sequential([layers.Input((2,)), *kinds])
    base.trainable = False
    lesson.unfreeze(base)
    assert [base.get_layer(name).trainable for name in names] == [False, False, False, True]


@pytest.mark.parametrize(
    "script, folder",
    [
        ("TF_Human_horse.py", "validation-horse-or-human/horses"),
        ("TF_Dogs_Cats.py", "validation/dogs"),
        ("TF_Human_horse_Augmentation.py", "horse-or-human/horses"),
    ],
)
def test_a_class_without_pictures_and_an_unreadable_one(script, folder, run, drawn, tmp_path):
    from shutil import copytree

    source = drawn if "horse" in script else drawn / "cats_and_dogs_filtered"
    copytree(source / folder.split("/")[0], tmp_path / folder.split("/")[0])
    for name in ("horse-or-human", "validation-horse-or-human", "train"):
        if (source / name).exists() and not (tmp_path / name).exists():
            (tmp_path / name).symlink_to(source / name)
    pictures = sorted((tmp_path / folder).iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:300])
    assert_one_sentence(
        run(script, "--data-dir", tmp_path), pictures[0].name, "cannot be read as a picture"
    )
    for picture in pictures:
        picture.unlink()
    assert_one_sentence(run(script, "--data-dir", tmp_path), "has no pictures of the class")


@pytest.mark.parametrize("script", [*PREDICTS, "TF_Dogs_Cats_Visualization.py"])
def test_no_model_yet(script, run, drawn):
    file = next((drawn / "rps" / "rock").iterdir())
    flag = "--image" if "Visualization" in script else "--predict"
    assert_one_sentence(run(script, flag, file), "model.keras", "first")


def test_a_file_that_is_no_picture(trained, run, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    process = run(
        "TF_Human_horse.py",
        "--predict",
        tmp_path / "note.jpg",
        folder=trained("TF_Human_horse.py").folder,
    )
    assert_one_sentence(process, "note.jpg", "cannot be read as a picture")
    assert_one_sentence(run("Convolutions_basic.py", "--image", tmp_path / "note.jpg"), "note.jpg")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("short row", "3," + ",".join(["7"] * 783), "line 3"),
        ("letter", "3,x" + ",7" * 783, "line 3"),
        ("256", "3,256" + ",7" * 783, "line 3"),
        ("minus", "3,-1" + ",7" * 783, "line 3"),
        ("label 9, the J", "9" + ",7" * 784, "line 3"),
        ("label 25", "25" + ",7" * 784, "line 3"),
    ],
)
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
    assert_one_sentence(
        run("TF_Dogs_Cats.py", *arguments, "--output-dir", tmp_path / "file"), "file"
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1_500_000, limits[1])
    )  # a file cannot grow larger, as on a full disk
    try:
        full = run("TF_Dogs_Cats.py", *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_sentence(full, "File too large")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(tf.keras.Sequential, "fit", interrupt)
    assert_one_sentence(run("TF_Dogs_Cats.py", *arguments), "Stopped.")


@pytest.mark.parametrize(
    "script, flags",
    [
        ("TF_Human_horse.py", ["--epochs", "0"]),
        ("TF_Human_horse.py", ["--batch-size", "-3"]),
        ("TF_Human_horse.py", ["--seed", "99999999999"]),
        ("TF_HelloWorld.py", ["--learning-rate", "-1"]),
        ("TF_Dogs_Cats_Transfer_Learning.py", ["--dropout", "1.5"]),
        ("TF_Saving_Loading_Model.py", ["--epochs", "1"]),
        ("TF_DataProcessing_for_CNN_DogCatDataset.py", ["--split", "1"]),
        ("Convolutions_basic.py", ["--filter", "1"]),
    ],
)
def test_a_number_out_of_range_is_an_error_of_the_flag_that_says_why(script, flags, run):
    process = run(script, *flags)
    assert process.code == 2 and flags[0] in process.err.splitlines()[-1], process.err


def test_an_error_in_the_learners_own_edit_keeps_its_traceback(run):
    text = (ROOT / "TF_HelloWorld.py").read_text().replace("layers.Dense(1)", "layers.Dens(1)")
    with pytest.raises(AttributeError, match="Dens"):
        run("TF_HelloWorld.py", text=text)
