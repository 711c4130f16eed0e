"""Lessons in one kernel of a notebook, one after the other, as a learner runs them with %run."""

import re

import nbformat
import pytest
from conftest import small_text
from nbclient import NotebookClient

SIXTEEN_BITS = """
import tensorflow as tf
tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
"""
NAMES = {
    "lesson 1": "TF_HelloWorld.py",
    "lesson 8": "TF_Dogs_Cats.py",
    "lesson 1 again": "TF_HelloWorld.py",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def cells(folder, tmp_path_factory, drawn):
    """The cells of a notebook that has been run to its end, by name."""
    for name in set(NAMES.values()):
        (folder / name).write_text(small_text(name), encoding="utf-8")
    data = f"--data-dir '{drawn / 'cats_and_dogs_filtered'}' --epochs 1"
    sources = {
        "lesson 1": "%run TF_HelloWorld.py",
        "lesson 8": f"%run TF_Dogs_Cats.py {data}",
        "no such folder": "%run TF_Dogs_Cats.py --data-dir nowhere",
        "no such flag": "%run TF_Dogs_Cats.py --epochs 0",
        "16 bits": SIXTEEN_BITS,
        "lesson 1 again": "%run TF_HelloWorld.py",
    }
    notebook = nbformat.v4.new_notebook()
    for source in sources.values():
        notebook.cells.append(nbformat.v4.new_code_cell(source))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True,
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


@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_ends_well_with_its_figures_below_the_cell(name, folder, cells):
    text = text_of(cells[name])
    output = f"outputs/{NAMES[name].removesuffix('.py')}"
    assert f"The results are in {output}." in text, text
    for part in cells[name].outputs:
        assert part.output_type != "error" and part.get("name") != "stderr", text
    saved = len(list((folder / output).glob("*.png")))
    assert count_figures(cells[name]) == saved > 0


def test_lesson_1_computes_with_32_bits_whatever_ran_before_it(cells):
    predictions = []
    for name in ["lesson 1", "lesson 1 again"]:
        predictions.append(re.search(r"prediction: ([\d.]+)", text_of(cells[name]))[1])
    assert predictions[0] == predictions[1] != "19.0000"


@pytest.mark.parametrize("name, words", [
    ("no such folder", "nowhere needs a folder named train"),
    ("no such flag", "--epochs"),
])
def test_an_error_ends_in_its_sentence(name, words, cells):
    text = text_of(cells[name])
    assert words in text and "Traceback" not in text, text
    assert not count_figures(cells[name])
