"""The notes, README.md: their length, and every block of code in them that is part of no script."""

import functools
import json
import re
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, copy_outputs, numbers_of, small_inception, small_text
from PIL import Image

NOTES = (ROOT / "README.md").read_text(encoding="utf-8")
LESSONS = re.findall(r"^## \d+\. .*?(?=^#{1,2} |\Z)", NOTES, re.MULTILINE | re.DOTALL)
SEVERAL = "# When one device is not enough"
LINE = "TF_HelloWorld.py"
HORSES = "TF_Human_horse.py"
PETS = "TF_Dogs_Cats.py"
AUGMENTED = "TF_Human_horse_Augmentation.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
HANDS = "TF_RockPaperScissors.py"
JUDGE = "TF_Model_Evaluation.py"
SAVING = "TF_Saving_Loading_Model.py"
BLOCKS = [  # words of every block of Python that is part of no script, and is run below
    "the usual call",
    "look into an .h5 file",
    "was 1e-3",
    "a matrix for your own test folder",
    "pictures of each class",
    "a program of your own",
    "which part decided?",
    "without Keras",
    "a file for the phone",
    "without TensorFlow",
    "was model.predict(...)",
    "momentum=0.9",
    "height and width",
    "go on with the network of lesson 8",
    "go on with the head of lesson 12",
    "today's way",
]


def find_block(words):
    """The block of Python with these words behind "# not in the script"."""
    (block,) = [text for text in find_blocks() if words in find_comment(text)]
    return block


def find_blocks():
    """All blocks of Python that are part of no script, and not of the section on many devices."""
    text = NOTES
    for lesson in LESSONS:
        part = re.sub(r"```python\n((?!.*# not in the script)[^`]|`(?!``))*?```", "", lesson)
        text = text.replace(lesson, part)
    text = re.sub(rf"^{SEVERAL}\n.*?(?=^# [A-Z])", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def find_comment(block):
    return "".join(line for line in block.splitlines() if "# not in the script" in line)


def count_words(text):
    return len(text.split())


def find_paragraphs():
    """Each paragraph, item of a list, row of a table and summary of the notes, without code."""
    text = re.sub(r"^```.*?^```$", "\n", NOTES, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(\||\* |<|#|!\[)", r"\n\1", text, flags=re.MULTILINE)
    return re.split(r"\n\s*\n", text)


def test_notes_are_short():
    assert count_words(NOTES.split("## 1. ")[0]) <= 1100
    assert len(LESSONS) == 15 and sum(map(count_words, LESSONS)) <= 10_130
    longest = max(find_paragraphs(), key=count_words)
    assert count_words(longest) <= 150, longest


def test_every_block_is_tested():
    for block in find_blocks():
        found = [words for words in BLOCKS if words in find_comment(block)]
        assert len(found) == 1, block
    assert len(find_blocks()) == len(BLOCKS)


def draw_photograph(kind, file):
    """Draw a picture whose upper left corner is what a person sees there: red, or white paper."""
    pixels = np.full((300, 400, 3), 90, np.uint8)
    pixels[:150, :200] = [220, 40, 40]
    picture = Image.fromarray(pixels)
    settings = {"format": "JPEG"}
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was held on its side
        settings["exif"] = exif
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    if kind == "transparent":
        opacity = np.full((300, 400), 255, np.uint8)
        opacity[:150, :200] = 0
        picture.putalpha(Image.fromarray(opacity))
        settings = {"format": "PNG"}
    if kind == "large":
        picture = picture.resize((4000, 3000), Image.Resampling.NEAREST)
    picture.save(file, **settings)


@pytest.fixture
def network(trained, tmp_path, monkeypatch):
    """A function that puts a trained network, and a photograph, where the notes have them."""
    def place(script, kind="large"):
        shutil.copytree(trained(script).outputs, tmp_path / "outputs" / "network")
        draw_photograph(kind, tmp_path / "found_today.jpg")
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return place


@pytest.mark.parametrize("kind", ["large", "turned", "transparent"])
def test_the_program_of_your_own_sees_what_predict_sees(kind, network, run, load, monkeypatch,
                                                        capsys):
    folder = network(TRANSFER, kind)
    variables = {}
    exec(find_block("a program of your own"), variables)
    answer, probability = capsys.readouterr().out.split()
    (picture,) = variables["pictures"]
    corner = picture[3, 3]
    expected = [255, 255, 255] if kind == "transparent" else [220, 40, 40]
    assert corner == pytest.approx(expected, abs=8)  # JPEG changes colours a little
    height, width, _ = picture.shape
    seen = load(TRANSFER).load_picture(folder / "found_today.jpg")
    seen = seen.resize((width, height), Image.Resampling.NEAREST)
    assert (np.asarray(seen) == picture).all()
    process = run(TRANSFER, "--output-dir", folder / "outputs" / "network", "--predict",
                  folder / "found_today.jpg", text=small_text(TRANSFER))
    assert f"{answer} ({float(probability):.1%})" in process.out, process.out + process.err


def test_the_program_of_your_own_with_a_network_of_lesson_8(network, run, capsys):
    folder = network(PETS)
    program = find_block("a program of your own")
    assert "want `pictures / 255`" in NOTES
    program = program.replace("model.predict(pictures,", "model.predict(pictures / 255,")
    (classes,) = re.findall(r"`(classes = \[.*?\])`", NOTES)
    program = re.sub(r"with open.*\n.*\n", f"{classes}\n", program)
    (both,) = re.findall(r"`(scores = np\.array.*?)` before", NOTES)
    program = program.replace("print(", f"{both}\nprint(")
    exec(program, {})
    answer, probability = capsys.readouterr().out.split()
    process = run(PETS, "--output-dir", folder / "outputs" / "network", "--predict",
                  folder / "found_today.jpg", text=small_text(PETS))
    assert f"{answer} ({float(probability):.1%})" in process.out, process.out + process.err


def test_which_part_decided_and_a_program_without_keras(network):
    folder = network(TRANSFER)
    variables = {}
    exec(find_block("a program of your own"), variables)
    exec(find_block("which part decided?"), variables)
    height = variables["height"]
    places = len(range(0, height, height // 15)) ** 2
    assert variables["fall"].shape == (places,) and np.ptp(variables["fall"]) > 0
    with Image.open(folder / "which_part.png") as figure:
        assert len(figure.convert("RGB").getcolors(1 << 24)) > 10
    plt.close("all")
    exec(find_block("without Keras"), variables)
    answer = variables["loaded"].serve(variables["pictures"]).numpy()[0]
    assert answer == pytest.approx(variables["scores"], abs=1e-5)


def test_the_matrix_for_a_test_folder(network, trained, drawn, load, monkeypatch, capsys):
    folder = network(TRANSFER)
    (folder / "test").symlink_to(drawn / "cats_and_dogs_filtered" / "validation")
    for script in [TRANSFER, JUDGE]:
        monkeypatch.setitem(sys.modules, Path(script).stem, load(script))
    monkeypatch.setattr(load(TRANSFER), "IMAGE_SIZE", (100, 100))
    variables = {}
    exec(find_block("a matrix for your own test folder"), variables)
    printed = capsys.readouterr().out
    accuracy = numbers_of(trained(TRANSFER))["best_validation_accuracy"]
    assert f"accuracy {accuracy:.3f}, with 95% confidence " in printed
    assert variables["low"] <= accuracy <= variables["high"]
    recalls = re.findall(r"^(\w+): recall ([\d.]+), taken for", printed, re.MULTILINE)
    assert [name for name, _ in recalls] == ["cats", "dogs"]
    assert np.mean([float(recall) for _, recall in recalls]) == pytest.approx(accuracy, abs=1e-3)


def test_a_look_into_an_h5_file(load, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "outputs" / Path(SAVING).stem
    folder.mkdir(parents=True)
    load(SAVING).build_model().save(folder / "model.h5")
    monkeypatch.chdir(tmp_path)
    exec(find_block("look into an .h5 file"), {})
    printed = capsys.readouterr().out
    assert '"class_name": "Sequential"' in printed
    assert 'hidden/kernel <HDF5 dataset "kernel": shape (1, 8)' in printed


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
def test_the_file_for_the_phone_needs_only_what_a_phone_has(tmp_path, monkeypatch):
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
    exec(find_block("a file for the phone"), {})
    builtin = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = functools.partial(
        tf.lite.Interpreter, experimental_op_resolver_type=builtin)  # as a phone's: no TensorFlow
    module = types.SimpleNamespace(Interpreter=interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", types.ModuleType("ai_edge_litert"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", module)
    variables = {"pictures": np.random.default_rng(1).random((1, 8, 10, 3), np.float32)}
    exec(find_block("without TensorFlow"), variables)
    exec(find_block("was model.predict(...)"), variables)
    expected = network.predict(variables["pictures"], verbose=0)[0]
    assert variables["scores"] == pytest.approx(expected, abs=0.01)  # bfloat16 is coarse
    (details,) = variables["interpreter"].get_input_details()
    assert list(details["shape_signature"]) == [1, 8, 10, 3]  # LiteRT.js refuses -1, any number


BROWSER = """
const drawing = {
  drawn: [],
  fillRect: (...place) => { drawing.drawn.push([drawing.fillStyle, ...place]); },
  drawImage: (photograph, ...place) => { drawing.drawn.push([photograph, ...place]); },
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
@pytest.mark.parametrize("scale, scores, answer", [
    ("1", [0.125, 0.25, 0.625], "horses: 63 %"),
    ("1 / 255", [0.25], "cats: 75 %"),
])
def test_the_page_for_the_phone_asks_the_network(scale, scores, answer, tmp_path):
    (page,) = re.findall(r"```html\n(.*?)```", NOTES, re.DOTALL)
    (script,) = re.findall(r'<script type="module">\nimport .*?\n(.*)</script>', page, re.DOTALL)
    assert "const SCALE = 1;" in script
    script = script.replace("SCALE = 1;", f"SCALE = {scale};")
    program = tmp_path / "page.mjs"
    program.write_text(BROWSER.replace("SCORES", str(scores)) + script + ASK)
    process = subprocess.run(["node", program], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    seen = json.loads(process.stdout)
    bytes_seen = [index for index in range(4 * 2 * 3) if index % 4 != 3]  # no opacity
    assert seen.pop("data") == pytest.approx(np.array(bytes_seen) * eval(scale))
    assert seen == {
        "answer": answer,
        "disabled": False,
        "drawn": [["white", 0, 0, 3, 2], ["upright photograph", 0, 0, 3, 2]],
        "size": [3, 2],
        "shape": [1, 2, 3, 3],
    }


def replace_statement(text, first_line, new):
    """Put `new` in the place of the statement that begins with this line."""
    start = text.index(first_line)
    indent = re.search(r" *$", text[:start])[0]
    end = re.compile(rf"^(?!{indent}[ )]).*$", re.MULTILINE)  # the next line that is not inside
    after = end.search(text, text.index("\n", start) + 1).start()
    return text[:start - len(indent)] + new + text[after:]


def test_lesson_12_with_class_weights_goes_on_with_an_earlier_head(trained, run, drawn, tmp_path,
                                                                   monkeypatch):
    text = small_text(TRANSFER)
    text = replace_statement(text, "history = head.fit(", find_block("pictures of each class"))
    text = replace_statement(text, "head = build_head(len(",
                             find_block("go on with the head of lesson 12"))
    shutil.copytree(trained(TRANSFER).outputs, tmp_path / "outputs" / "network")
    shutil.copytree(drawn / "cats_and_dogs_filtered", tmp_path / "data")
    for picture in sorted((tmp_path / "data" / "train" / "cats").iterdir())[4:]:
        picture.unlink()
    given = []
    fit = tf.keras.Sequential.fit

    def watch(model, *arguments, **settings):
        given.append(settings.get("class_weight"))
        return fit(model, *arguments, **settings)

    monkeypatch.setattr(tf.keras.Sequential, "fit", watch)
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    process = run(TRANSFER, "--epochs", 1, "--data-dir", tmp_path / "data", folder=tmp_path,
                  text=text)
    assert process.code == 0, process.err
    assert given[0] == pytest.approx({0: 20 / 8, 1: 20 / 32})
    before = re.search(r"accuracy before training: ([\d.]+)", process.out)
    assert float(before[1]) >= 0.8  # it has learned already


def test_lesson_8_goes_on_with_an_earlier_network(trained, run, drawn, tmp_path):
    folder = copy_outputs(trained(PETS), tmp_path)
    text = small_text(PETS)
    text = replace_statement(text, "model.compile(", "")
    text = replace_statement(text, "model = build_model()",
                             find_block("go on with the network of lesson 8"))
    process = run(PETS, "--epochs", 1, "--data-dir", drawn / "cats_and_dogs_filtered",
                  "--output-dir", tmp_path / "more", folder=folder, text=text)
    assert process.code == 0, process.err
    first, later = [np.genfromtxt(file / "history.csv", delimiter=",", names=True)
                    for file in (trained(PETS).outputs, tmp_path / "more")]
    assert later["loss"] < first["loss"][0]


def test_another_picture_size_and_another_optimizer(run, drawn, tmp_path):
    text = (ROOT / PETS).read_text(encoding="utf-8")
    old = "optimizer=tf.keras.optimizers.RMSprop(learning_rate=1e-3),"
    for words in ("was 1e-3", "momentum=0.9"):
        line = find_block(words).strip()
        assert text.count(old) == 1 and line.startswith("optimizer=tf.keras.optimizers.")
        changed = text.replace(old, line)
        compile(changed, PETS, "exec")
    changed = re.sub(r"^IMAGE_SIZE = .*\n", find_block("height and width"), changed,
                     flags=re.MULTILINE)
    process = run(PETS, "--epochs", 1, "--data-dir", drawn / "cats_and_dogs_filtered",
                  folder=tmp_path, text=changed)
    assert process.code == 0, process.err
    model = tf.keras.models.load_model(tmp_path / "outputs" / "TF_Dogs_Cats" / "model.keras")
    assert model.input_shape == (None, 96, 128, 3) and model.optimizer.momentum == 0.9


def test_the_shapes_and_the_smallest_pictures(load, monkeypatch):
    lesson = load(HORSES)
    monkeypatch.setattr(lesson, "IMAGE_SIZE", (96, 128))
    table = NOTES[NOTES.index("| the picture | 96 x 128 x 3 |"):].split("\n\n")[0]
    named = [tuple(map(int, shape)) for shape in re.findall(r"(\d+) x (\d+) x (\d+)", table)]
    shapes = [layer.output.shape[1:] for layer in lesson.build_model().layers]
    assert named == [(96, 128, 3), *shapes[:10]] and shapes[10] == (128,)
    for script, least, arguments in ((HORSES, 94, []), (PETS, 22, []), (HANDS, 46, [3])):
        lesson = load(script)
        monkeypatch.setattr(lesson, "IMAGE_SIZE", (least, least))
        lesson.build_model(*arguments)
        monkeypatch.setattr(lesson, "IMAGE_SIZE", (least - 1, least - 1))
        with pytest.raises(ValueError, match="would be zero or negative"):
            lesson.build_model(*arguments)


def test_todays_keras_gives_lesson_11s_pictures(drawn, load, tmp_path, monkeypatch):
    program = find_block("today's way")
    assert program.count("(300, 300)") == 1 and program.count("epochs=15") == 1
    program = program.replace("(300, 300)", "(100, 100)").replace("epochs=15", "epochs=1")
    downloads = tmp_path / ".keras" / "datasets"
    downloads.mkdir(parents=True)
    for name in ("horse-or-human", "validation-horse-or-human"):
        (downloads / f"{name}.zip").symlink_to(drawn / name)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setitem(sys.modules, Path(AUGMENTED).stem, load(AUGMENTED))
    monkeypatch.setattr(load(AUGMENTED), "IMAGE_SIZE", (100, 100))
    variables = {}
    exec(program, variables)
    first = next(iter(variables["training"]))
    second = next(iter(variables["training"]))
    assert first[0].shape == (32, 100, 100, 3) and first[1].shape == (32, 1)
    assert not np.array_equal(first[1], second[1])  # another order in the next epoch
    model = variables["model"]
    small = first[0][:4]
    answers = [model.predict(small, verbose=0) for _ in range(2)]
    assert np.array_equal(*answers)  # nothing is random in use
    assert not np.array_equal(model(small, training=True), model(small, training=True))


def test_the_usual_call_of_lesson_1_takes_the_same_steps(load):
    lesson = load(LINE)
    x = np.array(lesson.X, dtype="float32").reshape(-1, 1)
    y = 2 * x - 1
    points = tf.data.Dataset.from_tensors((x, y)).repeat()
    learned = []
    for call in (textwrap.dedent(find_block("the usual call")),
                 "model.fit(points, epochs=500, steps_per_epoch=1, shuffle=False)"):
        tf.keras.utils.set_random_seed(1)
        model = lesson.build_model()
        model.compile(loss="mean_squared_error", optimizer=tf.keras.optimizers.SGD(0.01))
        assert call.count("epochs=500") == 1
        exec(call.replace("epochs=500", "epochs=20, verbose=0"), locals())
        learned.append(model.get_weights())
    assert learned[0][0] == pytest.approx(learned[1][0], abs=1e-6)
    assert learned[0][1] == pytest.approx(learned[1][1], abs=1e-6)


def test_the_loop_of_several_machines_stands_in_their_program():
    section = NOTES.split(SEVERAL)[1].split("\n# ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (program,) = [block for block in blocks if "MultiWorkerMirroredStrategy()" in block]
    (loop,) = [block for block in blocks if block.startswith("    with tf.GradientTape()")]
    assert loop in program
