"""Parts of the lessons, called as functions: the mathematics, the data that go into `fit`, the words about curves."""

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_inception
from PIL import Image

GENERATOR = tf.keras.preprocessing.image.ImageDataGenerator


def test_convolution_by_loops_by_numpy_and_by_tensorflow_agree(load):
    lesson = load("Convolutions_basic.py")
    pixels = np.random.default_rng(1).uniform(0, 255, (23, 31))
    for rows in lesson.FILTERS.values():
        kernel = np.array(rows, dtype=float)
        expected = lesson.convolve_by_definition(pixels, kernel)
        np.testing.assert_allclose(lesson.convolve(pixels, kernel), expected, atol=1e-9)
        by_tensorflow = tf.nn.conv2d(pixels[None, ..., None], kernel[..., None, None], strides=1, padding="VALID")
        np.testing.assert_allclose(by_tensorflow.numpy()[0, ..., 0], expected, atol=1e-9)


def test_max_pool_takes_the_largest_of_four_as_tensorflow_does(load):
    pixels = np.random.default_rng(2).uniform(0, 255, (7, 10))
    expected = tf.nn.max_pool2d(pixels[None, ..., None], 2, 2, "VALID").numpy()[0, ..., 0]
    np.testing.assert_allclose(load("Convolutions_basic.py").max_pool(pixels), expected, rtol=1e-6)  # float32 there


@pytest.mark.parametrize("kernel, weight", [([[1] * 3] * 3, 1 / 9), ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
                                            ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1), ([[2] * 3] * 3, 1 / 18)])
def test_a_filter_is_normalised_when_it_does_not_sum_to_0_or_1(kernel, weight, load):
    assert load("Convolutions_basic.py").normalising_weight(np.array(kernel)) == pytest.approx(weight)


def test_a_photograph_stands_upright_however_the_camera_was_held(load, tmp_path):
    pixels, exif = np.random.default_rng(3).integers(0, 256, (300, 300, 3), np.uint8), Image.Exif()
    exif[274] = 6  # orientation: to be turned by 90 degrees to the right
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "photograph.png", exif=exif)
    np.testing.assert_array_equal(load("TF_Human_horse.py").load_picture(tmp_path / "photograph.png"), pixels)


class Recorder:
    """Draws random numbers as a tf.random.Generator does, and keeps them."""

    def __init__(self):
        self.rng, self.drawn = tf.random.Generator.from_seed(1), []

    def uniform(self, shape, low, high):
        self.drawn.append(self.rng.uniform(shape, low, high))
        return self.drawn[-1]


@pytest.mark.parametrize("settings", [
    {"rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.1, "shear_range": 20.0,
     "zoom_range": [0.7, 1.1], "horizontal_flip": True, "vertical_flip": True},
    {"width_shift_range": 0.3}, {"height_shift_range": 4.0}, {"vertical_flip": True}, {"horizontal_flip": True},
    {"rotation_range": 90, "fill_mode": "constant", "cval": 30.0}], ids=lambda settings: "-".join(settings)[:40])
def test_augment_does_what_image_data_generator_does_with_the_same_numbers(settings, load):
    generator, rng, height, width = GENERATOR(rescale=1 / 255, **settings), Recorder(), 32, 32
    pictures = np.random.default_rng(1).uniform(0, 255, (12, height, width, 3)).astype("float32")
    made = load("TF_Human_horse_Augmentation.py").augment(pictures, rng, generator).numpy()
    numbers = iter(value.numpy() for value in rng.drawn)
    turn, shear, shift_x, shift_y = (next(numbers) for _ in range(4))
    zoom_x, flip_x = next(numbers), next(numbers) if generator.horizontal_flip else np.ones(12)
    zoom_y, flip_y = next(numbers), next(numbers) if generator.vertical_flip else np.ones(12)
    assert next(numbers, None) is None
    if generator.width_shift_range < 1:  # a share of the size; from 1 on, pixels
        shift_x = shift_x * width
    if generator.height_shift_range < 1:
        shift_y = shift_y * height
    limits = (generator.rotation_range, generator.shear_range, generator.width_shift_range * width)
    for values, limit in zip((turn, shear, shift_x), limits):
        assert np.abs(values).max() <= limit + 1e-6 and (limit == 0 or np.abs(values).max() > 0.4 * limit)
    for picture, result, *one in zip(pictures, made, turn, shear, shift_x, shift_y, zoom_x, zoom_y, flip_x, flip_y):
        expected = generator.apply_transform(picture, {  # its matrix works on (x, y): tx is what moves along the width
            "theta": one[0], "shear": one[1], "tx": one[2], "ty": one[3], "zx": one[4], "zy": one[5],
            "flip_horizontal": one[6] < 0, "flip_vertical": one[7] < 0})
        difference = np.abs(result * 255 - expected)  # of noise, the hardest picture: neighbours differ by up to 255
        if generator.fill_mode == "constant":  # within a pixel of the edge, SciPy does not mix picture and constant
            difference = np.sort(difference, axis=None)[:-difference.size // 5]
        assert difference.max() < 1
    assert np.abs(made * 255 - pictures).mean() > 20  # something was done


class Highest:
    """Always draws the highest number that it may."""

    def uniform(self, shape, low, high):
        return tf.fill(shape, tf.cast(high, tf.float32))


def test_augment_works_about_the_middle_of_pictures_that_are_not_square(load):
    """ImageDataGenerator itself takes the height for the width here, so it cannot be compared with."""
    augment, pictures = load("TF_Human_horse_Augmentation.py").augment, np.random.default_rng(1).random((2, 20, 31, 3))
    shifted = augment(pictures, Highest(), GENERATOR(rescale=1, width_shift_range=4.0)).numpy()
    np.testing.assert_allclose(shifted[:, :, :-4], pictures[:, :, 4:], atol=1e-5)
    shifted = augment(pictures, Highest(), GENERATOR(rescale=1, height_shift_range=0.2)).numpy()
    np.testing.assert_allclose(shifted[:, :-4], pictures[:, 4:], atol=1e-5)
    turned = augment(pictures, Highest(), GENERATOR(rescale=1, rotation_range=180)).numpy()
    np.testing.assert_allclose(turned, pictures[:, ::-1, ::-1], atol=1e-3)
    for name, expected in (("horizontal_flip", pictures[:, :, ::-1]), ("vertical_flip", pictures[:, ::-1])):
        made = augment(pictures, Recorder(), GENERATOR(rescale=1, **{name: True})).numpy()
        assert all(min(np.abs(one - before).max(), np.abs(one - after).max()) < 1e-5
                   for one, before, after in zip(made, pictures, expected))


def test_augment_draws_new_numbers_in_each_epoch_and_the_same_from_the_same_seed(load, drawn):
    lesson = load("TF_RockPaperScissors.py")

    def epochs() -> list[np.ndarray]:
        tf.keras.utils.set_random_seed(1)
        flow = GENERATOR(rescale=1 / 255, **lesson.AUGMENTATION).flow_from_directory(
            drawn / "rps", target_size=lesson.IMAGE_SIZE, classes=["rock"], batch_size=16, seed=5)
        data = lesson.keep_in_memory(flow, lesson.augment)
        return [next(iter(data))[0].numpy() for _ in range(2)]

    first, second = epochs()
    assert all(np.abs(first - picture).max(axis=(1, 2, 3)).min() > 0.01 for picture in second)  # no variant twice
    np.testing.assert_array_equal(first, epochs()[0])


@pytest.mark.parametrize("setting", [{"brightness_range": (0.5, 1.5)}, {"channel_shift_range": 20.0},
                                     {"samplewise_center": True}, {"preprocessing_function": np.negative}])
def test_what_augment_does_not_know_it_refuses(setting, load, drawn):
    for script, change in (("TF_Human_horse_Augmentation.py", "augment"), ("TF_Human_horse.py", None)):
        lesson = load(script)
        flow = GENERATOR(rescale=1 / 255, **setting).flow_from_directory(
            drawn / "horse-or-human", target_size=lesson.IMAGE_SIZE, classes=lesson.CLASSES, seed=1)
        with pytest.raises(SystemExit, match="train with --plain"):
            lesson.keep_in_memory(flow, change and getattr(lesson, change))


@pytest.mark.parametrize("script, folder, mode", [("TF_Human_horse.py", "horse-or-human", "binary"),
                                                  ("TF_RockPaperScissors.py", "rps", "categorical")])
def test_keep_in_memory_gives_the_flows_own_pictures_each_once_in_a_new_order(script, folder, mode, load, drawn):
    lesson = load(script)
    flow = GENERATOR(rescale=lesson.RESCALE).flow_from_directory(
        drawn / folder, target_size=lesson.IMAGE_SIZE, classes=lesson.CLASSES, class_mode=mode, batch_size=7, seed=1)
    data = lesson.keep_in_memory(flow)
    assert len(data) == len(flow) and data.options().autotune.enabled is False

    def rows(batches) -> list[bytes]:
        return [np.round(np.asarray(picture) * 255).astype(np.uint8).tobytes() + np.float32(label).tobytes()
                for pictures, labels in batches for picture, label in zip(pictures, np.asarray(labels))]

    first, second, expected = rows(data), rows(data), rows(flow[index] for index in range(len(flow)))
    assert sorted(first) == sorted(second) == sorted(expected) and len(set(first)) == len(first)
    assert first != second and first != sorted(first)


def test_transfer_learning_shows_each_picture_once_an_epoch_and_saves_base_and_head(trained, load, monkeypatch):
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    base = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Identity()])
    pictures = lesson.make_batches(np.arange(20, dtype="float32").reshape(-1, 1), np.arange(20), 6)
    training = lesson.extract_features(base, pictures)
    for _ in range(lesson.VARIANTS - 1):
        training = training.concatenate(lesson.extract_features(base, pictures))
    orders = []
    batches = iter(training.repeat())
    for _ in range(6):  # epochs of four steps
        answers, labels = zip(*(next(batches) for _ in range(4)))
        np.testing.assert_array_equal(np.concatenate(answers)[:, 0], np.concatenate(labels))
        orders.append(np.concatenate(labels).tolist())
    assert all(sorted(order) == list(range(20)) for order in orders) and len(set(map(tuple, orders))) == 6
    assert training.options().autotune.enabled is False

    whole = tf.keras.models.load_model(trained("TF_Dogs_Cats_Transfer_Learning.py").outputs / "model.keras")
    assert whole.input_shape == (None, 100, 100, 3) and [layer.name for layer in whole.layers] == ["base", "head"]
    tf.keras.utils.set_random_seed(1)
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    monkeypatch.setattr(lesson, "IMAGE_SIZE", (100, 100))  # as in the run
    untrained, _ = lesson.build_model("imagenet", 0.2)
    for before, after in zip(untrained.get_weights(), whole.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)  # frozen: the same as when the run, from the same seed, began


def test_transfer_learning_takes_the_whole_of_inception_up_to_mixed7(load):
    base, head = load("TF_Dogs_Cats_Transfer_Learning.py").build_model(None, 0.2)
    assert base.count_params() == 8_975_264 and not base.trainable_weights and base.output_shape == (None, 7, 7, 768)
    assert head.count_params() == 38_537_217 and len(head.trainable_weights) == 4
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 150, 150, 3)).astype("float32")
    scale = next(layer for layer in base.layers if isinstance(layer, tf.keras.layers.Rescaling))
    np.testing.assert_allclose(scale(pixels / 255),
                               tf.keras.applications.inception_v3.preprocess_input(pixels.copy()), atol=1e-5)


@pytest.mark.parametrize("count, fraction, training",
                         [(10, 0.9, 9), (11, 0.5, 6), (2, 0.99, 1), (2, 0.01, 1), (1000, 0.75, 750)])
def test_split_is_disjoint_complete_and_repeatable(count, fraction, training, load):
    split = load("TF_DataProcessing_for_CNN_DogCatDataset.py").split_names
    names = [f"{number}.jpg" for number in range(count)]
    first, second = split(names, fraction, 1)
    assert len(first) == training and sorted(first + second) == sorted(names)
    assert split(names[::-1], fraction, 1) == (first, second)  # the order in which they are found does not matter
    if count > 100:
        assert split(names, fraction, 2) != (first, second)


def test_files_are_copied_where_links_are_not_possible(load, tmp_path, monkeypatch):
    lesson = load("TF_DataProcessing_for_CNN_DogCatDataset.py")
    (tmp_path / "source.jpg").write_bytes(b"picture")
    monkeypatch.setattr(lesson.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    assert lesson.place(tmp_path / "source.jpg", tmp_path / "cats" / "target.jpg")
    assert (tmp_path / "cats" / "target.jpg").read_bytes() == b"picture"
    assert not lesson.place(tmp_path / "source.jpg", tmp_path / "cats" / "target.jpg")  # the second time it is there


def history(training, validation, val_loss, loss=None):
    return {"accuracy": training, "val_accuracy": validation, "val_loss": np.array(val_loss),
            "loss": np.array(loss or [1 - value for value in training])}


def test_lesson_8_says_what_its_curves_show(load):
    describe = load("TF_Dogs_Cats.py").describe_fit
    words = describe(history([0.6, 0.8, 0.99], [0.6, 0.75, 0.7], [0.7, 0.5, 1.2]))
    assert "best in epoch 2: 0.750" in words and "from 0.50 (epoch 2) to 1.20: overfitting" in words
    assert "no overfitting yet" in describe(history([0.6, 0.7], [0.6, 0.69], [0.7, 0.6]))
    assert "no overfitting yet" in describe(history([0.6, 0.9], [0.6, 0.7], [0.7, 0.6]))  # the loss still falls


def test_lesson_15_tells_underfitting_a_good_fit_and_overfitting(load):
    diagnose = load("TF_Model_Evaluation.py").diagnose
    falling, flat, rising = [1.0, 0.9, 0.8, 0.7, 0.6], [0.5, 0.31, 0.30, 0.30, 0.30], [0.5, 0.4, 0.6, 0.8, 1.0]
    assert "still falling, train longer" in diagnose(history(falling, falling, falling, falling))
    assert "a good fit" in diagnose(history(flat, flat, flat, flat))
    assert "overfitting, stop at epoch 2" in diagnose(history(falling, falling, rising, [0.5, 0.3, 0.2, 0.1, 0.05]))
    assert "no validation" in diagnose(history(falling, falling, [np.nan] * 5))


def test_precision_recall_and_f1(load):
    matrix = np.array([[8, 2, 0], [4, 6, 0], [0, 0, 0]])  # the third class neither occurs nor is predicted
    precision, recall, f1 = load("TF_Model_Evaluation.py").judge_classes(matrix)
    np.testing.assert_allclose(precision, [8 / 12, 6 / 8, 0])
    np.testing.assert_allclose(recall, [0.8, 0.6, 0])
    np.testing.assert_allclose(f1, [8 / 11, 2 / 3, 0])


@pytest.mark.parametrize("cpu, gpus, policy", [
    ("avx512_bf16", [], "mixed_bfloat16"), ("amx_bf16", [], "mixed_bfloat16"), ("avx2", [], "float32"),
    ("", [], "float32"), ("avx2", [(8, 0)], "mixed_bfloat16"), ("avx512_bf16", [(7, 5)], "float32")])
def test_bfloat16_only_where_the_machine_multiplies_it(cpu, gpus, policy, load, tmp_path, monkeypatch):
    lesson = load("TF_Human_horse.py")
    if cpu:
        (tmp_path / "cpuinfo").write_text(f"flags : fpu sse2 {cpu}\n")
    monkeypatch.setattr(lesson, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu})
    try:
        lesson.use_bfloat16_where_native()
        assert tf.keras.mixed_precision.global_policy().name == policy
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
