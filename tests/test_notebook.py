"""Lessons in one kernel of a notebook, one after the other, as a learner runs them with %run."""

import re
import shutil

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

SMALL_BASE = """
import tensorflow as tf

def small_base(include_top, weights, input_tensor):
    maps = tf.keras.layers.Conv2D(8, 25, strides=25, name="mixed6")(input_tensor)
    maps = tf.keras.layers.Conv2D(16, 1, activation="relu", name="mixed8")(maps)
    return tf.keras.Model(input_tensor, maps)

tf.keras.applications.InceptionV3 = small_base
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory, drawn):
    """The cells of a notebook that has been run to its end, by name."""
    folder = tmp_path_factory.mktemp("notebook")
    names = ["TF_HelloWorld.py", "TF_Dogs_Cats.py", "TF_Dogs_Cats_Transfer_Learning.py"]
    for name in names:
        shutil.copy(ROOT / name, folder)
    data = f"--data-dir '{drawn / 'cats_and_dogs_filtered'}' --epochs 1"
    sources = {
        "lesson 1": "%run TF_HelloWorld.py",
        "lesson 8": f"%run TF_Dogs_Cats.py {data}",
        "small base": SMALL_BASE,
        "lesson 12": f"%run TF_Dogs_Cats_Transfer_Learning.py {data}",
        "no such folder": "%run TF_Dogs_Cats.py --data-dir nowhere",
        "no such flag": "%run TF_Dogs_Cats.py --epochs 0",
        "too fast": "%run TF_HelloWorld.py --learning-rate 0.2 --output-dir outputs/too_fast",
        "16 bits": "tf.keras.mixed_precision.set_global_policy('mixed_bfloat16')",
        "lesson 1 again": "%run TF_HelloWorld.py",
    }
    notebook = nbformat.v4.new_notebook()
    for source in sources.values():
        notebook.cells.append(nbformat.v4.new_code_cell(source))
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True,
                            resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MPLBACKEND")  # the kernel's own choice is what a learner has
        for name in ["IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR",
                     "JUPYTER_RUNTIME_DIR"]:
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        client.execute()
    return dict(zip(sources, notebook.cells))


def count_figures(cell):
    """Return how many pictures are below a cell."""
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def text_of(cell):
    """Return all text below a cell, errors included."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts.extend(output.get("traceback", []))
    return "".join(parts)


@pytest.mark.parametrize("name, count", [
    ("lesson 1", 1), ("lesson 8", 2), ("lesson 12", 4), ("lesson 1 again", 1)])
def test_the_figures_appear_below_their_cell(name, count, cells):
    assert count_figures(cells[name]) == count, text_of(cells[name])


@pytest.mark.parametrize("name", ["lesson 1", "lesson 8", "lesson 12", "lesson 1 again"])
def test_a_lesson_ends_well(name, cells):
    text = text_of(cells[name])
    assert "All results are in outputs" in text, text
    for output in cells[name].outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", text


def test_lesson_1_computes_with_32_bits_whatever_ran_before_it(cells):
    predictions = []
    for name in ["lesson 1", "lesson 1 again"]:
        predictions.append(re.search(r"prediction: ([\d.]+)", text_of(cells[name]))[1])
    assert predictions[0] == predictions[1] != "19.0000"


@pytest.mark.parametrize("name, words", [
    ("no such folder", "nowhere needs two folders"),
    ("no such flag", "0 is not a whole number"),
    ("too fast", "smaller learning rate"),
])
def test_an_error_ends_in_its_sentence(name, words, cells):
    text = text_of(cells[name])
    assert words in text and "Traceback" not in text, text
    assert not count_figures(cells[name])
