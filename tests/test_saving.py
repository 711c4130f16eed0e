"""Lesson 7: what it saves is what it had, and what happens when a file cannot be saved."""

import contextlib
import resource
import subprocess
import sys

import h5py
import pytest
import tensorflow as tf
from conftest import assert_one_sentence

SAVING = "TF_Saving_Loading_Model.py"
HOLD = """
import sys, h5py
with h5py.File(sys.argv[1], "w"):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_saved_models_are_the_same_in_every_format(run):
    process = run(SAVING)
    assert process.code == 0 and process.out.count("largest difference 0\n") == 5, process.err
    assert "Warning" not in process.err and (process.outputs / "loss.png").exists()
    assert "\nlargest difference: 0.0000\n" in process.out
    old = tf.keras.models.load_model(process.outputs / "model.h5").optimizer.variables
    new = tf.keras.models.load_model(process.outputs / "model.keras").optimizer.variables
    assert len(old) < len(new)  # without Adam's averages
    for words in ["hidden <HDF5 group", 'hidden/kernel <HDF5 dataset "kernel": shape (1, 8)',
                  "model.weights.h5, ", "attribute model_config", "with_code.keras was refused"]:
        assert words in process.out, words
    assert len(list((process.outputs / "checkpoints").iterdir())) == 20


def test_resuming_needs_an_epoch_before_and_one_after(run):
    process = run(SAVING, "--epochs", 1)
    assert process.code == 2 and "--epochs must be at least 2" in process.err


@contextlib.contextmanager
def a_file_that_cannot_grow(outputs):
    """No file may have more than 30,000 bytes: those of Keras do not, the SavedModel does.

    On a full disk, the same error comes from TensorFlow, and it is no OSError.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        yield "saved_model.pb"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def a_file_that_another_program_holds_open(outputs):
    outputs.mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, outputs / "model.h5"]
    program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert program.stdout.readline() == b"open\n"
        yield "unable to lock file"
    finally:
        program.communicate()
    with h5py.File(outputs / "model.h5"):
        pass  # it can be opened again, and nothing has been written over it


@contextlib.contextmanager
def a_file_that_is_written_by_half(outputs):
    """Another run has begun model.h5 anew: the architecture is there, but no weights yet."""
    load = tf.keras.models.load_model

    def load_too_early(file):
        if file.name == "model.h5":
            with h5py.File(file, "r+") as content:
                del content["model_weights"]
        return load(file)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.keras.models, "load_model", load_too_early)
        yield "model_weights"


@pytest.mark.parametrize("trouble", [
    a_file_that_cannot_grow, a_file_that_another_program_holds_open,
    a_file_that_is_written_by_half])
def test_a_file_that_cannot_be_saved_ends_in_one_sentence(trouble, run, tmp_path):
    outputs = tmp_path / "outputs" / "TF_Saving_Loading_Model"
    with trouble(outputs) as words:
        process = run(SAVING, "--epochs", 2, folder=tmp_path)
    assert_one_sentence(process, "cannot be saved or read", words, "disk full", "another run")
    assert "Traceback" not in process.err
