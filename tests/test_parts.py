"""Parts of the lessons, called as functions."""

import argparse

import numpy as np
import pytest
from draw_data import write_idx
from PIL import Image


def test_convolution_by_loops_by_numpy_and_by_tensorflow_agree(load):
    import tensorflow as tf
    lesson = load("Convolutions_basic.py")
    pixels = np.random.default_rng(1).uniform(0, 255, (23, 31))
    for rows in lesson.FILTERS.values():
        kernel = np.array(rows, dtype=float)
        expected = lesson.convolve_by_definition(pixels, kernel)
        np.testing.assert_allclose(lesson.convolve(pixels, kernel), expected, atol=1e-9)
        by_tensorflow = tf.nn.conv2d(pixels[None, ..., None], kernel[..., None, None], strides=1, padding="VALID")
        np.testing.assert_allclose(by_tensorflow.numpy()[0, ..., 0], expected, atol=1e-9)


def test_max_pool_takes_the_largest_of_four_as_tensorflow_does(load):
    import tensorflow as tf
    pixels = np.random.default_rng(2).uniform(0, 255, (7, 10))
    expected = tf.nn.max_pool2d(pixels[None, ..., None], 2, 2, "VALID").numpy()[0, ..., 0]
    np.testing.assert_allclose(load("Convolutions_basic.py").max_pool(pixels), expected, rtol=1e-6)  # float32 there


@pytest.mark.parametrize("kernel, weight", [([[1] * 3] * 3, 1 / 9), ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
                                            ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1), ([[2] * 3] * 3, 1 / 18)])
def test_a_filter_is_normalised_when_it_does_not_sum_to_0_or_1(kernel, weight, load):
    assert load("Convolutions_basic.py").normalising_weight(np.array(kernel)) == pytest.approx(weight)


@pytest.mark.parametrize("count, share, training",
                         [(10, 0.9, 9), (11, 0.5, 6), (2, 0.99, 1), (2, 0.01, 1), (1000, 0.75, 750)])
def test_split_is_disjoint_complete_and_repeatable(count, share, training, load):
    split = load("TF_DataProcessing_for_CNN_DogCatDataset.py").split_names
    names = [f"{number}.jpg" for number in range(count)]
    first, second = split(names, share, 1)
    assert len(first) == training and sorted(first + second) == sorted(names)
    assert split(names[::-1], share, 1) == (first, second)  # the order in which they are found does not matter
    if count > 100:
        assert split(names, share, 2) != (first, second)


def test_files_are_copied_where_links_are_not_possible(load, tmp_path, monkeypatch):
    lesson = load("TF_DataProcessing_for_CNN_DogCatDataset.py")
    (tmp_path / "source.jpg").write_bytes(b"picture")
    monkeypatch.setattr(lesson.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    assert lesson.place(tmp_path / "source.jpg", tmp_path / "target.jpg")
    assert (tmp_path / "target.jpg").read_bytes() == b"picture"
    assert not lesson.place(tmp_path / "source.jpg", tmp_path / "target.jpg")  # the second time it is there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.jpg", "target.jpg"]


def history(training, validation, val_loss, loss=None):
    return {"epoch": list(range(len(training))), "accuracy": training, "val_accuracy": validation, "val_loss": val_loss,
            "loss": loss or [1 - value for value in training]}


def test_lesson_8_says_what_its_curves_show(load):
    describe = load("TF_Dogs_Cats.py").describe_fit
    words = describe(history([0.6, 0.8, 0.99], [0.6, 0.75, 0.7], [0.7, 0.5, 1.2]))
    assert "best in epoch 2 of 3: 0.750" in words and "gap of 0.290" in words and "Overfitting since epoch 3" in words
    assert "No overfitting" in describe(history([0.6, 0.7], [0.6, 0.69], [0.7, 0.6]))
    assert "still falls" in describe(history([0.6, 0.9], [0.6, 0.7], [0.7, 0.6]))


def test_lesson_15_tells_underfitting_a_good_fit_and_overfitting(load):
    diagnose = load("TF_Model_Evaluation.py").diagnose
    falling = [1.0, 0.9, 0.8, 0.7, 0.6]
    assert diagnose(history(falling, falling, falling, falling)).startswith("underfitting")
    flat = [0.5, 0.31, 0.30, 0.30, 0.30]
    assert diagnose(history(flat, flat, flat, flat)).startswith("a good fit")
    rising = [0.5, 0.4, 0.6, 0.8, 1.0]
    assert diagnose(history(falling, falling, rising, [0.5, 0.3, 0.2, 0.1, 0.05])).startswith("overfitting")
    assert diagnose({"epoch": [0], "loss": [1.0]}).startswith("no validation")


def test_precision_recall_and_f1(load):
    matrix = np.array([[8, 2, 0], [4, 6, 0], [0, 0, 0]])  # the third class neither occurs nor is predicted
    precision, recall, f1 = load("TF_Model_Evaluation.py").judge_classes(matrix)
    np.testing.assert_allclose(precision, [8 / 12, 6 / 8, 0])
    np.testing.assert_allclose(recall, [0.8, 0.6, 0])
    np.testing.assert_allclose(f1, [8 / 11, 2 / 3, 0])


def test_history_counts_a_repeated_epoch_once(load, tmp_path):
    (tmp_path / "history.csv").write_text("epoch,accuracy,loss,val_loss\n0,0.5,1.0,NA\n1,0.6,0.9,NA\n1,0.7,0.8,NA\n")
    assert load("TF_Human_horse.py").read_history(tmp_path / "history.csv") == {
        "epoch": [0, 1], "accuracy": [0.5, 0.7], "loss": [1.0, 0.8]}


def test_transfer_learning_scales_as_inception_was_trained(load, tmp_path):
    """The Rescaling layer makes of 0..1 what `preprocess_input` makes of 0..255; not for the course's scale."""
    import tensorflow as tf
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    weights = tmp_path / "w.weights.h5"
    tf.keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(150, 150, 3)).save_weights(weights)
    settings = {"weights": weights, "dropout": 0.0}
    model = lesson.build_model(argparse.Namespace(**settings, course_scale=False))
    scale = next(layer for layer in model.layers if isinstance(layer, tf.keras.layers.Rescaling))
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 150, 150, 3)).astype("float32")
    np.testing.assert_allclose(scale(pixels * lesson.RESCALE),
                               tf.keras.applications.inception_v3.preprocess_input(pixels.copy()), atol=1e-5)
    course = lesson.build_model(argparse.Namespace(**settings, course_scale=True))
    assert not any(isinstance(layer, tf.keras.layers.Rescaling) for layer in course.layers)


HEADER = "label," + ",".join(f"pixel{number}" for number in range(1, 785))
ROW = "3," + ",".join(["7"] * 784)


@pytest.mark.parametrize("name, content, words", [
    ("short row", f"{HEADER}\n{ROW}\n{ROW[:-2]}\n", "line 3: 784 columns instead of 785"),
    ("letter", f"{HEADER}\n{ROW}\n{ROW[:-1]}x\n", "line 3: 'x' is no pixel"),
    ("256", f"{HEADER}\n{ROW[:-1]}256\n", "line 2: '256' is no pixel"),
    ("minus", f"{HEADER}\n{ROW[:-1]}-1\n", "line 2: '-1' is no pixel"),
    ("label 9", f"{HEADER}\n9{ROW[1:]}\n", "line 2: unknown label '9'"),
    ("label 25", f"{HEADER}\n{ROW}\n25{ROW[1:]}\n", "line 3: unknown label '25'"),
    ("no header", f"{ROW}\n{ROW}\n", "does not begin with the header"),
    ("empty", "", "does not begin with the header"),
    ("header alone", f"{HEADER}\n", "no rows below its header"),
])
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_csv_faults_are_named_with_their_line(name, content, words, load, tmp_path):
    (tmp_path / "signs.csv").write_text(content)
    with pytest.raises(SystemExit, match=words):
        load("TF_sign_language.py").read_csv(tmp_path / "signs.csv")


def test_csv_is_read_with_any_line_ends_and_missing_files_are_named(load, tmp_path):
    lesson = load("TF_sign_language.py")
    (tmp_path / "signs.csv").write_bytes(f"{HEADER}\r\n{ROW}\r\n".encode())
    pictures, labels = lesson.read_csv(tmp_path / "signs.csv")
    assert pictures.shape == (1, 28, 28, 1) and pictures.dtype == np.uint8 and (pictures == 7).all() and labels == [3]
    with pytest.raises(SystemExit, match="missing.csv cannot be read"):
        lesson.read_csv(tmp_path / "missing.csv")


def test_idx_faults_are_named(load, drawn, tmp_path):
    lesson = load("TF_fashion_mnist.py")
    good = drawn / "mnist" / "train-images-idx3-ubyte.gz"
    assert lesson.read_idx(good, 3).shape[1:] == (28, 28)
    (tmp_path / "cut.gz").write_bytes(good.read_bytes()[:1000])
    (tmp_path / "page.gz").write_text("<html>")
    write_idx(tmp_path / "labels.gz", np.arange(5))
    for name in ("cut.gz", "page.gz", "labels.gz", "missing.gz"):
        with pytest.raises(SystemExit, match=f"{name} is not a whole idx file"):
            lesson.read_idx(tmp_path / name, 3)
    with pytest.raises(SystemExit, match="do not belong together"):
        lesson.check_data(np.zeros((3, 28, 28), np.uint8), np.zeros(4, np.uint8))
    with pytest.raises(SystemExit, match="label 10"):
        lesson.check_data(np.zeros((1, 28, 28), np.uint8), np.array([10]))


def test_a_damaged_mnist_npz_is_named(load, drawn, tmp_path):
    (tmp_path / "mnist.npz").write_bytes((drawn / "mnist" / "mnist.npz").read_bytes()[:5000])
    with pytest.raises(SystemExit, match="not the whole MNIST file"):
        load("TF_hand_writing_recognition.py").load_digits(tmp_path)


def test_pictures_that_cannot_be_decoded_are_all_named(load, tmp_path):
    lesson = load("TF_Human_horse.py")
    for name in lesson.CLASSES:
        (tmp_path / name / "a folder.jpg").mkdir(parents=True)
        (tmp_path / name / "Thumbs.db").write_bytes(b"x")
        Image.effect_noise((300, 300), 50).save(tmp_path / name / "good.jpg")
        Image.new("CMYK", (40, 40)).save(tmp_path / name / "cmyk.jpg")
        Image.fromarray(np.zeros((40, 40), np.uint16)).save(tmp_path / name / "grey16.png")
        Image.new("RGB", (1, 1)).save(tmp_path / name / "one.png")
        Image.new("RGB", (12000, 10)).save(tmp_path / name / "wide.png")
    assert lesson.check_pictures(tmp_path) == 10
    whole = (tmp_path / "horses" / "good.jpg").read_bytes()
    (tmp_path / "horses" / "cut.jpg").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "humans" / "empty.png").touch()
    (tmp_path / "humans" / "text.jpg").write_text("no picture")
    with pytest.raises(SystemExit) as caught:
        lesson.check_pictures(tmp_path)
    assert all(name in str(caught.value) for name in ("3 files", "cut.jpg", "empty.png", "text.jpg"))
    with pytest.raises(SystemExit, match="No pictures in .*nothing"):
        lesson.check_pictures(tmp_path / "nothing")
