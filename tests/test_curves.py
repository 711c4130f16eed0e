"""What lessons 8 and 15 say about the curves of a run: one rule, and right for every shape."""

import inspect

import pytest

LESSON_8 = "TF_Dogs_Cats.py"
LESSON_15 = "TF_Model_Evaluation.py"
LEARNED = [0.7, 0.5, 0.4, 0.3, 0.2, 0.1]  # a training loss that falls to the end
NOTHING = [0.693, 0.694, 0.693, 0.692, 0.693, 0.692]  # two classes, and only guessing
SHAPES = {  # shape: (validation loss, training loss, what is said, what must not be said)
    "falling": ([0.8, 0.6, 0.5, 0.45, 0.4, 0.38], LEARNED, "epoch 6, 0.380. It may still fall",
                "overfitting"),
    "rising from the start": ([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], LEARNED,
                              "0.800 at best, while training loss fell to 0.100: overfitting, stop "
                              "at epoch 1.", "train longer"),
    "a turn": ([0.8, 0.6, 0.5, 0.6, 0.7, 0.8], LEARNED, "overfitting, stop at epoch 3.",
               "train longer"),
    "jumping, and coming back": ([0.8, 0.5, 0.9, 0.52, 0.95, 0.51], LEARNED,
                                 "0.510 at best, about the same: no clear overfitting", "stop at"),
    "flat": ([0.5, 0.41, 0.4, 0.41, 0.4, 0.42], LEARNED, "about the same: no clear overfitting",
             "stop at"),
    "two epochs": ([7.79, 2.08], [9.0, 3.0], "epoch 2, 2.080. It may still fall: train longer.",
                   "overfitting"),
    "two epochs, the second worse": ([0.5, 0.7], [0.7, 0.5], "It may still fall: train longer.",
                                     "overfitting"),
    "one epoch": ([0.7], [0.8], "epoch 1, 0.700. It may still fall: train longer.", "overfitting"),
    "nothing learned": (NOTHING, NOTHING, "hardly fell, from 0.693 to 0.692: underfitting",
                        "stop at"),
    "nothing learned, the last is lowest": (NOTHING[::-1], NOTHING, "underfitting", "stop at"),
    "one jump at the end": ([0.8, 0.5, 0.4, 0.41, 0.42, 1.5], LEARNED, "no clear overfitting",
                            "stop at"),
    "both losses rise": ([0.6, 0.4, 0.7, 0.9, 1.2, 1.5], [1.2, 0.4, 0.6, 0.8, 0.9, 1.0],
                         "training loss rose, too", "overfitting"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_words_fit_the_curves(shape, load):
    val_loss, loss, said, not_said = SHAPES[shape]
    words = load(LESSON_15).judge_curves({"loss": loss, "val_loss": val_loss})
    assert said in words and not_said not in words, words
    assert words.endswith(".") and "nan" not in words, words


def test_without_a_validation_set(load):
    words = load(LESSON_15).judge_curves({"loss": LEARNED, "accuracy": LEARNED})
    assert words == "There was no validation set: nobody can tell whether the network overfits."


def test_lessons_8_and_15_judge_by_the_same_rule(load):
    texts = [inspect.getsource(load(script).judge_curves) for script in [LESSON_8, LESSON_15]]
    assert texts[0] == texts[1]
