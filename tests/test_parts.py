"""Parts of the lessons, called as functions: the mathematics, the data that go into `fit`, the
words about curves.
"""

import numpy as np
import pytest
import tensorflow as tf
from conftest import small_inception
from PIL import Image
from tensorflow.keras.preprocessing.image import ImageDataGenerator


def test_convolution_by_loops_by_numpy_and_by_tensorflow_agree(load):
    lesson = load("Convolutions_basic.py")
    pixels = np.random.default_rng(1).uniform(0, 255, (23, 31))
    for rows in lesson.FILTERS.values():
        kernel = np.array(rows, dtype=float)
        expected = lesson.convolve_by_definition(pixels, kernel)
        np.testing.assert_allclose(lesson.convolve(pixels, kernel), expected, atol=1e-9)
        by_tensorflow = tf.nn.conv2d(
            pixels[None, ..., None], kernel[..., None, None], strides=1, padding="VALID"
        )
        np.testing.assert_allclose(by_tensorflow.numpy()[0, ..., 0], expected, atol=1e-9)


def test_max_pool_takes_the_largest_of_four_as_tensorflow_does(load):
    pixels = np.random.default_rng(2).uniform(0, 255, (7, 10))
    expected = tf.nn.max_pool2d(pixels[None, ..., None], 2, 2, "VALID").numpy()[0, ..., 0]
    np.testing.assert_allclose(
        load("Convolutions_basic.py").max_pool(pixels), expected, rtol=1e-6
    )  # float32 there


@pytest.mark.parametrize(
    "kernel, weight",
    [
        ([[1] * 3] * 3, 1 / 9),
        ([[0, 0, 0], [0, 1, 0], [0, 0, 0]], 1),
        ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], 1),
        ([[2] * 3] * 3, 1 / 18),
    ],
)
def test_a_filter_is_normalised_when_it_does_not_sum_to_0_or_1(kernel, weight, load):
    assert load("Convolutions_basic.py").normalising_weight(np.array(kernel)) == pytest.approx(
        weight
    )


def test_a_photograph_stands_upright_however_the_camera_was_held(load, tmp_path):
    pixels, exif = np.random.default_rng(3).integers(0, 256, (300, 300, 3), np.uint8), Image.Exif()
    exif[274] = 6  # orientation: to be turned by 90 degrees to the right
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "photograph.png", exif=exif)
    np.testing.assert_array_equal(
        load("TF_Human_horse.py").load_picture(tmp_path / "photograph.png", pixels.shape), pixels
    )


def apply_maps(lesson, generator, pictures):
    """What `augment` makes of pictures, and the changes that the generator has drawn for them."""
    changes = []
    draw = generator.get_random_transform

    def record(shape):
        changes.append(draw(shape))
        return changes[-1]

    generator.get_random_transform = record
    made = lesson.augment(tf.constant(pictures), generator).numpy()
    generator.get_random_transform = draw
    return made, changes


@pytest.mark.parametrize(
    "settings",
    [
        {
            "rotation_range": 40,
            "width_shift_range": 0.2,
            "height_shift_range": 0.1,
            "shear_range": 20.0,
            "zoom_range": [0.7, 1.1],
            "horizontal_flip": True,
            "vertical_flip": True,
        },
        {"width_shift_range": 0.3},
        {"height_shift_range": [3, 4]},
        {"vertical_flip": True},
        {"horizontal_flip": True},
        {"zoom_range": 0.3, "fill_mode": "reflect"},
        {"rotation_range": 30, "fill_mode": "wrap"},
        {"rotation_range": 90, "fill_mode": "constant", "cval": 30.0},
    ],
    ids=lambda settings: "-".join(settings)[:40],
)
@pytest.mark.parametrize("rescale", [1 / 255, None])
def test_augment_does_what_the_generator_does_with_the_same_numbers(settings, rescale, load):
    generator = ImageDataGenerator(rescale=rescale, **settings)
    pictures = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3), np.uint8)
    made, changes = apply_maps(load("TF_Human_horse_Augmentation.py"), generator, pictures)
    made = made / (rescale or 1)
    for picture, result, change in zip(pictures, made, changes, strict=True):
        expected = generator.apply_transform(picture.astype("float32"), change)
        difference = np.abs(result - expected)
        if settings.get("fill_mode") in ("constant", "wrap", "reflect"):
            difference = np.sort(difference, axis=None)[: -difference.size // 5]  # but at the edges
        assert difference.max() < 1  # of noise: neighbours differ by up to 255
    assert np.abs(made - pictures).mean() > 20


def fix(change):
    """A generator that always draws the given change."""
    generator = ImageDataGenerator(rotation_range=1)
    nothing = {
        "theta": 0,
        "tx": 0,
        "ty": 0,
        "shear": 0,
        "zx": 1,
        "zy": 1,
        "flip_horizontal": 0,
        "flip_vertical": 0,
    }
    generator.get_random_transform = lambda shape: {**nothing, **change}
    return generator


def test_augment_works_about_the_middle_of_pictures_that_are_not_square(load):
    """The generator itself takes the height for the width here: there is nothing to compare with.
    """
    augment = load("TF_Human_horse_Augmentation.py").augment
    pictures = np.random.default_rng(1).integers(0, 256, (2, 20, 31, 3), np.uint8)
    for change, expected in [
        ({"theta": 180}, pictures[:, ::-1, ::-1]),
        ({"flip_horizontal": 1}, pictures[:, :, ::-1]),
        ({"flip_vertical": 1}, pictures[:, ::-1]),
        ({"zx": -1, "zy": -1}, pictures[:, ::-1, ::-1]),
    ]:
        made = augment(tf.constant(pictures), fix(change)).numpy()
        np.testing.assert_allclose(made, expected, atol=0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {"brightness_range": (0.5, 1.5)},
        {"channel_shift_range": 20.0},
        {"samplewise_center": True},
        {"preprocessing_function": np.negative, "horizontal_flip": True},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_what_a_map_cannot_do_the_generator_does_itself(settings, load):
    pictures = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), np.uint8)
    generator = ImageDataGenerator(rescale=1 / 255, **settings)
    np.random.seed(7)
    expected = []
    for picture in pictures.astype("float32"):
        expected.append(generator.standardize(generator.random_transform(picture)))
    np.random.seed(7)
    made = load("TF_Dogs_Cats.py").augment(tf.constant(pictures), generator).numpy()
    np.testing.assert_allclose(made, np.array(expected), atol=1e-5)


def test_augment_draws_new_numbers_in_each_epoch_and_the_same_from_the_same_seed(load, drawn):
    lesson = load("TF_RockPaperScissors.py")

    def epochs() -> list[np.ndarray]:
        tf.keras.utils.set_random_seed(1)
        flow = ImageDataGenerator(rescale=1 / 255, **lesson.AUGMENTATION).flow_from_directory(
            drawn / "rps",
            target_size=(60, 60),
            classes=["rock", "paper"],
            batch_size=32,
            class_mode="sparse",
        )
        data = lesson.keep_in_memory(flow)
        return [next(iter(data))[0].numpy() for _ in range(2)]

    first, second = epochs()
    assert all(np.abs(first - picture).max(axis=(1, 2, 3)).min() > 0.01 for picture in second)
    np.testing.assert_array_equal(first, epochs()[0])


def contents(batches) -> list[bytes]:
    """Pictures and labels, one by one, as bytes that can be compared."""
    found = []
    for pictures, labels in batches:
        for picture, label in zip(np.asarray(pictures), np.asarray(labels)):
            scaled = np.round(picture * 255).astype(np.uint8)
            found.append(scaled.tobytes() + np.float32(label).tobytes())
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {"class_mode": "binary"},
        {"class_mode": "categorical"},
        {"class_mode": "sparse"},
        {"class_mode": "binary", "color_mode": "grayscale", "interpolation": "bilinear"},
        {"class_mode": "binary", "interpolation": "lanczos"},
        {"class_mode": "binary", "subset": "training"},
    ],
    ids=str,
)
def test_keep_in_memory_gives_the_flows_own_pictures_each_once(settings, load, drawn):
    lesson = load("TF_Dogs_Cats.py")
    flow = ImageDataGenerator(rescale=1 / 255, validation_split=0.25).flow_from_directory(
        drawn / "cats_and_dogs_filtered" / "train", target_size=(40, 50), batch_size=7, **settings
    )
    data = lesson.keep_in_memory(flow)
    assert len(data) == len(flow) and data.options().autotune.enabled is False
    first = contents(data)
    second = contents(data)
    expected = contents(flow[index] for index in range(len(flow)))
    assert sorted(first) == sorted(second) == sorted(expected) and len(set(first)) == flow.n
    assert first != second and first != sorted(first)


def test_a_flow_that_keeps_the_aspect_ratio_is_cropped(load, drawn):
    flow = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        drawn / "rps", target_size=(40, 80), batch_size=48, shuffle=False, keep_aspect_ratio=True)
    expected = flow[0][0]
    made = next(iter(load("TF_RockPaperScissors.py").keep_in_memory(flow)))[0].numpy()
    stretched = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        drawn / "rps", target_size=(40, 80), batch_size=48, shuffle=False)[0][0]
    assert np.abs(made - expected).mean() < 0.1 * np.abs(stretched - expected).mean()


def test_a_flow_that_is_not_shuffled_keeps_its_order(load, drawn):
    flow = ImageDataGenerator(rescale=1 / 255).flow_from_directory(
        drawn / "rps", target_size=(40, 40), batch_size=7, shuffle=False
    )
    data = load("TF_RockPaperScissors.py").keep_in_memory(flow)
    assert contents(data) == contents(flow[index] for index in range(len(flow)))


def test_features_are_computed_once_for_each_variant_and_stay_with_their_labels(load):
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    base = tf.keras.Sequential([tf.keras.layers.Input((1,)), tf.keras.layers.Identity()])
    numbers = np.arange(20, dtype="float32").reshape(-1, 1)
    batches = tf.data.Dataset.from_tensor_slices((numbers, np.arange(20))).shuffle(20).batch(6)
    features, labels = lesson.extract_features(base, batches, passes=2)
    np.testing.assert_array_equal(features[:, 0], labels)
    assert sorted(labels[:20]) == sorted(labels[20:]) == list(range(20))


def test_a_learning_curve_takes_the_same_number_of_each_class(load):
    labels = np.repeat([0, 1, 2], [50, 20, 30])
    rows = load("TF_Dogs_Cats_Transfer_Learning.py").choose_rows(labels, 10, seed=1)
    assert np.bincount(labels[rows]).tolist() == [10, 10, 10] and len(set(rows)) == 30


def test_training_a_head_leaves_the_frozen_base_as_it_was(trained, load, monkeypatch):
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    monkeypatch.setattr(tf.keras.applications, "InceptionV3", small_inception)
    tf.keras.utils.set_random_seed(1)
    base = lesson.build_base("imagenet")
    before = base.get_weights()
    head = lesson.build_head(base.output_shape[1], 2, 0.2)
    model = tf.keras.Sequential([base, head])
    model.compile(loss="sparse_categorical_crossentropy", optimizer="adam")
    model.fit(np.random.default_rng(1).random((4, 150, 150, 3)), np.array([0, 1, 0, 1]), verbose=0)
    for old, new in zip(before, base.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(model.trainable_weights) == 4


def test_the_base_is_inception_up_to_mixed8_and_scales_as_in_its_training(load):
    base = load("TF_Dogs_Cats_Transfer_Learning.py").build_base(None)
    assert base.get_layer("mixed8").output.shape == (None, 3, 3, 1280)
    assert base.output_shape == (None, 1280) and not base.trainable_weights
    pixels = np.random.default_rng(1).uniform(0, 255, (1, 150, 150, 3)).astype("float32")
    scale = next(layer for layer in base.layers if isinstance(layer, tf.keras.layers.Rescaling))
    expected = tf.keras.applications.inception_v3.preprocess_input(pixels.copy())
    np.testing.assert_allclose(scale(pixels / 255), expected, atol=1e-5)


def test_grad_cam_finds_what_decides(load):
    """A network whose only filter passes red on: the heat must lie on the red half."""
    lesson = load("TF_Dogs_Cats_Visualization.py")
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((20, 20, 3)),
            layers.Conv2D(1, 3, activation="relu", padding="same"),
            layers.Flatten(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    kernel = np.zeros((3, 3, 3, 1))
    kernel[1, 1, 0] = 1
    model.layers[0].set_weights([kernel, np.zeros(1)])
    model.layers[2].set_weights([np.full((400, 1), 5.0), np.zeros(1)])  # probability: 1.0
    picture = np.zeros((1, 20, 20, 3), np.float32)
    picture[:, :, :10, 0] = 1
    picture[:, :, 10:, 2] = 1
    assert model.predict(picture, verbose=0)[0, 0] == 1
    heat = lesson.grad_cam(model, picture, 1)
    assert heat.shape == (20, 20) and heat.max() == pytest.approx(5)  # a weight of 5, a map of 1
    assert heat[:, :9].min() > 4.5 and heat[:, 11:].max() < 0.5
    assert lesson.grad_cam(model, picture, 0).max() == 0  # what is for label 1 is against label 0


@pytest.mark.parametrize(
    "count, fraction, training",
    [(10, 0.9, 9), (11, 0.5, 6), (2, 0.99, 1), (2, 0.01, 1), (1000, 0.75, 750)],
)
def test_split_is_disjoint_complete_and_repeatable(count, fraction, training, load):
    split = load("TF_DataProcessing_for_CNN_DogCatDataset.py").split_files
    names = [f"{number}.jpg" for number in range(count)]
    first, second = split(names, fraction, 1)
    assert len(first) == training and sorted(first + second) == sorted(names)
    assert split(names[::-1], fraction, 1) == (
        first,
        second,
    )  # the order in which they are found does not matter
    if count > 100:
        assert split(names, fraction, 2) != (first, second)


def test_files_are_copied_where_links_are_not_possible(load, tmp_path, monkeypatch):
    lesson = load("TF_DataProcessing_for_CNN_DogCatDataset.py")
    (tmp_path / "source.jpg").write_bytes(b"picture")
    monkeypatch.setattr(
        lesson.os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here"))
    )
    lesson.place(tmp_path / "source.jpg", tmp_path / "cats" / "target.jpg")
    assert (tmp_path / "cats" / "target.jpg").read_bytes() == b"picture"
    assert [file.name for file in (tmp_path / "cats").iterdir()] == ["target.jpg"]


def history(training, validation, val_loss, loss=None):
    return {
        "accuracy": training,
        "val_accuracy": validation,
        "val_loss": val_loss,
        "loss": loss or [1 - value for value in training],
    }


def test_lesson_8_says_what_its_curves_show(load):
    describe = load("TF_Dogs_Cats.py").describe
    words = describe(history([0.6, 0.8, 0.99], [0.6, 0.75, 0.7], [0.7, 0.5, 1.2]))
    assert "best in epoch 2: 0.750" in words and "after epoch 2: overfitting" in words
    assert "no clear overfitting" in describe(history([0.6, 0.9], [0.6, 0.7], [0.7, 0.6]))


def test_lesson_15_tells_underfitting_a_good_fit_and_overfitting(load):
    diagnose = load("TF_Model_Evaluation.py").diagnose
    falling, flat = [1.0, 0.9, 0.8, 0.7, 0.6], [0.5, 0.31, 0.30, 0.30, 0.30]
    rising = [0.5, 0.4, 0.6, 0.8, 1.0]
    assert "still falls, train longer" in diagnose(history(falling, falling, falling, falling))
    assert "good fit" in diagnose(history(flat, flat, flat, flat))
    low = [0.5, 0.3, 0.2, 0.1, 0.05]
    assert "overfitting, stop at epoch 2" in diagnose(history(falling, falling, rising, low))
    steep, lower = [0.6, 0.5, 0.4, 0.3], [0.55, 0.45, 0.35, 0.25]
    assert "still falls, train longer" in diagnose(history(steep, steep, steep, lower))
    assert "overfitting" in diagnose(history(flat, flat, flat, low))  # far above training loss
    assert "no validation" in diagnose({"loss": falling})


def test_the_interval_of_an_accuracy_is_wilsons(load):
    """The example of 81 of 263 in Newcombe (1998), method 3: .2553 to .3662."""
    low, high = load("TF_Model_Evaluation.py").accuracy_interval(81 / 263, 263)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_precision_recall_and_f1(load):
    matrix = np.array(
        [[8, 2, 0], [4, 6, 0], [0, 0, 0]]
    )  # the third class neither occurs nor is predicted
    precision, recall, f1 = load("TF_Model_Evaluation.py").judge_classes(matrix)
    np.testing.assert_allclose(precision, [8 / 12, 6 / 8, 0])
    np.testing.assert_allclose(recall, [0.8, 0.6, 0])
    np.testing.assert_allclose(f1, [8 / 11, 2 / 3, 0])


@pytest.mark.parametrize(
    "cpu, gpus, policy",
    [
        ("avx512_bf16", [], "mixed_bfloat16"),
        ("amx_bf16", [], "mixed_bfloat16"),
        ("avx2", [], "float32"),
        ("", [], "float32"),
        ("avx2", [(8, 0)], "mixed_bfloat16"),
        ("avx512_bf16", [(7, 5)], "float32"),
    ],
)
def test_bfloat16_only_where_the_machine_multiplies_it(
    cpu, gpus, policy, load, tmp_path, monkeypatch
):
    lesson = load("TF_Human_horse.py")
    if cpu:
        (tmp_path / "cpuinfo").write_text(f"flags : fpu sse2 {cpu}\n")
    monkeypatch.setattr(lesson, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: gpus)
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": gpu}
    )
    try:
        lesson.set_up(seed=1)
        assert tf.keras.mixed_precision.global_policy().name == "float32"
        lesson.choose_precision()
        assert tf.keras.mixed_precision.global_policy().name == policy
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
