"""What --fast does differently: the warp, the feeding, the precision, the features; and that every lesson has it."""

import argparse
import os

import numpy as np
import pytest
from conftest import ROOT, SCRIPTS

AUGMENTED = ["TF_Dogs_Cats.py", "TF_Human_horse_Augmentation.py", "TF_Dogs_Cats_Transfer_Learning.py",
             "TF_RockPaperScissors.py", "TF_sign_language.py"]


@pytest.mark.parametrize("script, shape", [("TF_Human_horse_Augmentation.py", (120, 120, 3)),
                                           ("TF_sign_language.py", (28, 28, 1))])
def test_the_warp_is_that_of_image_data_generator(script, shape, load):
    """Both get the same random parameters, drawn by ImageDataGenerator itself, and make the same pictures of them."""
    import tensorflow as tf
    lesson = load(script)
    generator = tf.keras.preprocessing.image.ImageDataGenerator(**{**lesson.AUGMENTATION, "shear_range": 20})  # visible
    pictures = np.random.default_rng(1).uniform(0, 255, (40, *shape)).astype("float32")
    np.random.seed(1)
    drawn = [generator.get_random_transform(shape) for _ in pictures]
    expected = np.stack([generator.apply_transform(picture, numbers) for picture, numbers in zip(pictures, drawn)])
    names = ("theta", "shear", "zx", "zy", "tx", "ty")
    one = {name: np.float32([numbers[name] for numbers in drawn]) for name in names}
    mirror = np.float32([-1 if numbers["flip_horizontal"] else 1 for numbers in drawn])
    assert len(set(mirror)) == 1 + lesson.AUGMENTATION.get("horizontal_flip", False)
    made = lesson.warp(pictures, np.deg2rad(one["theta"]), np.deg2rad(one["shear"]), mirror * one["zx"], one["zy"],
                       one["tx"], one["ty"]).numpy()
    difference = np.abs(made - expected)  # of noise, the hardest picture there is: neighbours differ by up to 255
    assert difference.max() < 1, difference.max()
    assert np.abs(pictures - expected).mean() > 20  # something was done


@pytest.mark.parametrize("script", AUGMENTED)
def test_augment_keeps_to_the_ranges(script, load, monkeypatch):
    import tensorflow as tf
    lesson = load(script)
    seen = {}
    monkeypatch.setattr(lesson, "warp", lambda pictures, **numbers: seen.update(numbers))
    lesson.augment(tf.zeros((5000, 40, 20, 1)))
    settings = lesson.AUGMENTATION
    limits = {"turn": np.deg2rad(settings["rotation_range"]), "shear": np.deg2rad(settings.get("shear_range", 0)),
              "shift_x": 40 * settings["height_shift_range"], "shift_y": 20 * settings["width_shift_range"],
              "zoom_y": settings["zoom_range"], "zoom_x": settings["zoom_range"]}
    for name, limit in limits.items():
        numbers = np.abs(seen[name]) - 1 if "zoom" in name else seen[name].numpy()
        assert np.abs(numbers).max() <= limit + 1e-6, name
        assert np.std(numbers) == pytest.approx(limit / 3**0.5, rel=0.05), name
    mirrored = np.mean(seen["zoom_x"] < 0)
    assert mirrored == pytest.approx(0.5, abs=0.05) if settings.get("horizontal_flip") else mirrored == 0


@pytest.mark.parametrize("free", [2**40, 1000], ids=["in memory", "too little memory"])
@pytest.mark.parametrize("script, folder, mode", [("TF_Human_horse.py", "horse-or-human", "binary"),
                                                  ("TF_RockPaperScissors.py", "rps", "categorical")])
def test_fast_feeds_the_same_pictures(script, folder, mode, free, load, drawn, monkeypatch, capsys):
    import tensorflow as tf
    lesson = load(script)
    monkeypatch.setattr(lesson, "free_memory", lambda: free)
    flow = tf.keras.preprocessing.image.ImageDataGenerator(rescale=lesson.RESCALE).flow_from_directory(
        drawn / folder, target_size=lesson.IMAGE_SIZE, classes=lesson.CLASSES, class_mode=mode, batch_size=7)
    capsys.readouterr()
    fast = lesson.feed_fast(flow)
    assert ("decoded again in every epoch" in capsys.readouterr().out) == (free == 1000)
    assert len(fast) == len(flow)

    def in_order(batches) -> list[bytes]:
        pairs = [(np.asarray(pictures), np.asarray(labels)) for pictures, labels in batches]
        assert pairs[0][0].dtype == np.float32 and pairs[0][0].max() <= 1
        rows = [np.round(picture * 255).astype(np.uint8).tobytes() + np.float32(label).tobytes()
                for pictures, labels in pairs for picture, label in zip(pictures, labels)]
        assert rows != sorted(rows)
        return sorted(rows)

    expected = in_order(flow[index] for index in range(len(flow)))
    first, second = (list(fast.as_numpy_iterator()) for _ in range(2))
    assert in_order(first) == in_order(second) == expected
    assert any((one[0] != other[0]).any() for one, other in zip(first, second) if one[0].shape == other[0].shape)


def test_no_epoch_waits_for_the_tuning_thread_of_tf_data(load):
    """Every Dataset of --fast goes through `ahead`, and what is derived from it keeps the options."""
    import tensorflow as tf
    data = load("TF_Human_horse.py").ahead(tf.data.Dataset.range(5))
    assert list(data.as_numpy_iterator()) == [0, 1, 2, 3, 4] and len(data) == 5
    assert data.options().autotune.enabled is False and data.take(2).options().autotune.enabled is False
    for script in SCRIPTS:
        source = (ROOT / script).read_text()
        if "def ahead(" in source:
            assert source.count("prefetch(") == 1 and source.count("ahead(") > 1 and "AUTOTUNE" not in source, script
        else:
            assert '"--fast"' not in source, script


def test_features_that_do_not_fit_in_memory_are_computed_in_every_epoch(load, drawn, monkeypatch, capsys, tmp_path):
    import tensorflow as tf
    lesson = load("TF_Dogs_Cats_Transfer_Learning.py")
    monkeypatch.setattr(lesson, "free_memory", lambda: 1000)
    monkeypatch.setattr(lesson, "train", lambda model, folder, arguments, **data: data)
    flow = tf.keras.preprocessing.image.ImageDataGenerator().flow_from_directory(
        drawn / "cats_and_dogs_filtered" / "train", target_size=lesson.IMAGE_SIZE, classes=lesson.CLASSES,
        class_mode="binary", batch_size=7)
    model = tf.keras.Sequential([tf.keras.layers.Input((*lesson.IMAGE_SIZE, 3)),
                                 tf.keras.layers.MaxPooling2D(50, name="mixed7")])
    data = lesson.train_fast(model, flow, flow, argparse.Namespace(steps=None, output_dir=tmp_path))
    assert "they are computed again in every epoch" in capsys.readouterr().out
    pictures, _ = next(iter(data["x"]))  # not features
    assert pictures.shape == (7, *lesson.IMAGE_SIZE, 3) and len(data["x"]) == len(flow)


def test_free_memory_is_that_of_this_machine(load):
    free = load("TF_Human_horse.py").free_memory()
    assert 2**26 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


FLAGS = "flags : fpu sse2 avx512f {}\n"


@pytest.mark.parametrize("flag, policy", [("avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"),
                                          ("avx2", "float32"), (None, "float32")])
def test_bfloat16_only_where_the_machine_multiplies_it(flag, policy, load, tmp_path, monkeypatch):
    import tensorflow as tf
    lesson = load("TF_Human_horse.py")
    if flag:
        (tmp_path / "cpuinfo").write_text(FLAGS.format(flag))
    monkeypatch.setattr(lesson, "Path", lambda _: tmp_path / "cpuinfo")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [])
    try:
        lesson.use_native_bfloat16()
        assert tf.keras.mixed_precision.global_policy().name == policy
        assert lesson.build_model().layers[-1].compute_dtype == "float32"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


@pytest.mark.parametrize("capability, policy", [((8, 0), "mixed_bfloat16"), ((7, 5), "float32"), (None, "float32")])
def test_bfloat16_only_on_gpus_that_multiply_it(capability, policy, load, monkeypatch):
    import tensorflow as tf
    details = {"compute_capability": capability} if capability else {}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: ["a GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    try:
        load("TF_Human_horse.py").use_native_bfloat16()
        assert tf.keras.mixed_precision.global_policy().name == policy
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
