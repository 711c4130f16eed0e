"""Hundreds of classes: what took minutes is saved first, and a figure does not grow."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import run_script, small_inception, small_text
from PIL import Image

TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
HANDS = "TF_RockPaperScissors.py"


@pytest.mark.parametrize("script", [TRANSFER, HANDS])
def test_a_matrix_is_as_large_for_many_classes_as_for_two(script, load, tmp_path):
    sizes = []
    for count in [2, 525]:
        names = [f"class {number}" for number in range(count)]
        labels = np.arange(count)
        load(script).draw_confusion_matrix(labels, labels, names, tmp_path / "matrix.png")
        with Image.open(tmp_path / "matrix.png") as picture:
            sizes.append(picture.size)
    assert sizes[0] == sizes[1] and max(sizes[1]) <= 1000


@pytest.mark.parametrize("script, data", [(TRANSFER, "cats_and_dogs_filtered"), (HANDS, "")])
def test_a_figure_that_fails_does_not_cost_the_network(script, data, drawn, monkeypatch, tmp_path):
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    matrix = "    matrix = tf.math.confusion_matrix("
    text = small_text(script).replace(matrix, f"    raise MemoryError\n{matrix}")
    with pytest.raises(MemoryError):
        run_script(script, "--data-dir", drawn / data, "--epochs", 1, folder=tmp_path, text=text)
    folder = tmp_path / "outputs" / script.removesuffix(".py")
    assert len(tf.keras.models.load_model(folder / "model.keras").layers) > 1
    assert (folder / "classes.txt").exists()
