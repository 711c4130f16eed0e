"""Lesson 12: transfer learning - dogs and cats with a network that has already learned to see.

You learn to
  * take InceptionV3, trained on 1.3 million photographs of ImageNet, without its last layers, and freeze what it knows;
  * set a new head on its layer `mixed7`: its 1000 classes become your two;
  * give it the pixels as it was trained with them, -1..1, and see what the wrong scale costs (--course-scale);
  * use dropout, and turn it off to debug (--dropout 0).

  python TF_Dogs_Cats_Transfer_Learning.py                          # train the head, compare with lesson 8
  python TF_Dogs_Cats_Transfer_Learning.py --fast                   # the same, sooner
  python TF_Dogs_Cats_Transfer_Learning.py --dropout 0 --epochs 5   # does the loss fall evenly now?
  python TF_Dogs_Cats_Transfer_Learning.py --predict my_pet.jpg     # classify your own photograph

Expect a validation accuracy of .93 to .97 from the first epoch on, twelve minutes on a two-core CPU, and 160 MB
to download once. The photographs are a part of the Asirra set (Microsoft Research, Petfinder.com).
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "tensorflow>=2.21,<2.22",
#   "numpy>=1.26,<3",
#   "matplotlib>=3.9,<4",
#   "pillow>=10.3,<14",
#   "scipy>=1.13,<2",
# ]
# ///

import argparse
import csv
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import zipfile
from pathlib import Path

SERVERS = ["https://storage.googleapis.com/mledu-datasets"]
ARCHIVES = {"cats_and_dogs_filtered": (3000, None)}  # name of the zip: (number of pictures, SHA-256: none is published)
LAYOUT = "train and validation (or lesson 10's training and testing), each with cats and dogs"
CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff")  # what ImageDataGenerator looks for
MODEL_NAME = "cat_or_dog_inception"
CLASSES = ["cats", "dogs"]  # label 0 and label 1
IMAGE_SIZE = (150, 150)
RESCALE = 1 / 255  # pixels 0..255 become 0..1, in training and in prediction alike
VARIANTS = 4  # of each training picture, with --fast
AUGMENTATION = {  # what ImageDataGenerator may do to a training picture, at random, each time it is shown
    "rotation_range": 40,  # degrees to either side
    "width_shift_range": 0.2, "height_shift_range": 0.2,  # share of the width and height
    "shear_range": 0.2,  # degrees: next to nothing in this API, kept from the course
    "zoom_range": 0.2,  # 0.8 to 1.2 times the size
    "horizontal_flip": True,
    "fill_mode": "nearest",  # pixels from beyond the edge repeat the nearest one
}


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def rate(text: str) -> float:
    """Return `text` as a number from 0 up to, but not including, 1; anything else is an argparse error."""
    if not 0 <= float(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to below 1")
    return float(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=whole_number, default=20, metavar="N", help="passes over the pictures (%(default)s)")
    add("--batch-size", type=whole_number, metavar="N", help="pictures in one step (20; 100 with --fast)")
    add("--steps", type=whole_number, metavar="N", help="at most N batches an epoch, for a quick try")
    add("--dropout", type=rate, default=0.2, metavar="RATE", help="share of the head turned off (%(default)s); 0: none")
    add("--weights", type=Path, metavar="FILE", help="ImageNet weights without the top, if you have them: no download")
    add("--course-scale", action="store_true", help="pixels 0..1, as in the course, instead of -1..1")
    add("--compare", type=Path, default=Path("outputs", "TF_Dogs_Cats", "history.csv"), metavar="FILE",
        help="lesson 8's, to compare with (%(default)s)")
    add("--fast", action="store_true", help="the same lesson in a fraction of the time")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help=f"no download: the folder that holds {LAYOUT}")
    add("--output-dir", type=Path, default=Path("outputs", Path(__file__).stem), metavar="DIR", help="(%(default)s)")
    add("--predict", type=Path, nargs="+", metavar="FILE", help="no training: classify pictures with the saved model")
    return parser.parse_args(line)


if __name__ == "__main__":
    arguments = parse_arguments()  # before the slow imports: --help and a wrong flag answer at once
    sys.stdout.reconfigure(line_buffering=True)  # a line is seen at once, also through a pipe or in a log
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("\nStopped. The same command goes on after the last finished epoch."))

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
standard_error = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # TensorFlow's greeting goes there, whatever the log level
try:
    import matplotlib.pyplot as plt
    import numpy as np
    import scipy.ndimage  # noqa: F401 - with it ImageDataGenerator turns and zooms pictures
    import tensorflow as tf
    from PIL import Image
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow numpy matplotlib pillow scipy")
finally:
    os.dup2(standard_error, 2)


def download() -> Path:
    """Return the folder with the unpacked ARCHIVES, each of them downloaded and checked on the first run only.

    A folder gets its name when it is whole: a run that was killed in between leaves nothing to repair.
    """
    socket.setdefaulttimeout(60)  # seconds: a server that falls silent is an error, not an endless wait
    for name, (pictures, sha256) in ARCHIVES.items():
        failures = []
        for address in [f"{server}/{name}.zip" for server in SERVERS]:
            if (CACHE / name).exists():
                break
            try:
                CACHE.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=CACHE, prefix="download-", ignore_cleanup_errors=True) as home:
                    file = tf.keras.utils.get_file(origin=address, file_hash=sha256, cache_dir=home)
                    shutil.unpack_archive(file, f"{home}/unpacked", "zip")
                    content = Path(home, "unpacked", name)  # some archives hold the folder, some what is in it
                    (content if content.exists() else content.parent).rename(CACHE / name)
            except Exception as error:
                failures.append(f"{address} ({str(error).rpartition(' -- ')[2]})")  # Keras puts the address before it
        if not (CACHE / name).exists():
            sys.exit(f"Could not download {' nor '.join(failures)}. Check the network and start again, or fetch it "
                     f"elsewhere, unpack it, and name with --data-dir the folder that holds {LAYOUT}.")
        found = sum(file.suffix.lower() in SUFFIXES for file in (CACHE / name).rglob("*"))
        if found != pictures:
            sys.exit(f"{CACHE / name} holds {found} pictures instead of {pictures}: remove it and start again.")
    return CACHE


def check_pictures(folder: Path) -> int:
    """Return the number of pictures of CLASSES in `folder`; exit when a class is missing or a file is broken."""
    files, broken = [], []
    for name in CLASSES:
        found = [file for file in (folder / name).rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not found:
            sys.exit(f"No pictures in {folder / name}: --data-dir names the folder that holds {LAYOUT}.")
        files += sorted(found)
    for file in files:
        try:
            with Image.open(file) as picture:
                picture.draft("RGB", (1, 1))  # decodes a JPEG at an eighth of its size: quick, and finds faults as well
                picture.load()
        except Exception:  # Pillow raises many kinds
            broken.append(str(file))
    if broken:
        sys.exit(f"{len(broken)} files cannot be decoded, remove or replace them: {', '.join(broken[:9])}.")
    return len(files)


def free_memory() -> int:
    """Return how many bytes of memory are free, where the system tells (Linux), and 4 GiB elsewhere."""
    numbers = Path("/proc/meminfo")
    lines = numbers.read_text().splitlines() if numbers.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 4 * 2**30)


def ahead(data: tf.data.Dataset) -> tf.data.Dataset:
    """Return `data` with two batches always made in advance, while the network computes."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread looks in ever more rarely, and the end of every epoch waits for it
    return data.prefetch(2).with_options(options)


def feed_fast(flow, change=None) -> tf.data.Dataset:
    """Return the pictures and labels of an ImageDataGenerator's `flow`, in its batches, each decoded only once.

    They stay in memory as bytes 0..255 and leave as 0..1, [batch, height, width, 3], after `change` if there is one.
    """
    labels = tf.one_hot(flow.labels, len(CLASSES)) if flow.class_mode == "categorical" else np.float32(flow.labels)
    files, count = tf.data.Dataset.from_tensor_slices((flow.filepaths, labels)), len(flow.filepaths)

    def read(file: bytes) -> np.ndarray:
        return np.asarray(tf.keras.utils.load_img(file.decode(), target_size=IMAGE_SIZE))  # the pixels that flow gets

    def decode(file, label):
        return tf.ensure_shape(tf.numpy_function(read, [file], tf.uint8), (*IMAGE_SIZE, 3)), label

    if count * 3 * IMAGE_SIZE[0] * IMAGE_SIZE[1] > free_memory() / 2:
        print(f"{count} pictures would fill more than half of the free memory: they are decoded again in every epoch.")
        data = files.shuffle(count).map(decode, os.cpu_count())
    else:
        data = files.map(decode, os.cpu_count()).cache().shuffle(count)
    data = data.batch(flow.batch_size)
    if change:
        data = data.map(lambda pictures, labels: (change(pictures), labels))
    return ahead(data.map(lambda pictures, labels: (tf.cast(pictures, tf.float32) * RESCALE, labels)))


def warp(pictures, turn, shear, zoom_x, zoom_y, shift_x, shift_y) -> tf.Tensor:
    """Warp pictures [n, height, width, channels] as ImageDataGenerator would, all in one call; float32 out.

    Each picture has its own numbers [n]: angles in radians, shifts in pixels, and zooms, which mirror when below zero.
    The matrix is that of turn x shift x shear x zoom about the picture's middle, multiplied out.
    """
    height, width = pictures.shape[1:3]
    x, y = (width - 1) / 2, (height - 1) / 2
    a, b = zoom_x * tf.cos(turn), -zoom_y * tf.sin(turn + shear)
    c, d = zoom_x * tf.sin(turn), zoom_y * tf.cos(turn + shear)
    right = x - a * x - b * y + tf.cos(turn) * shift_x - tf.sin(turn) * shift_y
    down = y - c * x - d * y + tf.sin(turn) * shift_x + tf.cos(turn) * shift_y
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(pictures, tf.float32), transforms=tf.stack([a, b, right, c, d, down, zero, zero], axis=1),
        output_shape=(height, width), fill_value=0.0, interpolation="BILINEAR", fill_mode="NEAREST")


def augment(pictures: tf.Tensor) -> tf.Tensor:
    """Return a random variant of each picture [n, height, width, channels], within the ranges of AUGMENTATION."""
    def chance(name: str) -> tf.Tensor:
        limit = AUGMENTATION.get(name, 0)
        return tf.random.uniform([tf.shape(pictures)[0]], -limit, limit)

    mirror = tf.sign(chance("horizontal_flip")) if AUGMENTATION.get("horizontal_flip") else 1
    return warp(pictures, turn=chance("rotation_range") * np.pi / 180, shear=chance("shear_range") * np.pi / 180,
                zoom_x=mirror * (1 + chance("zoom_range")), zoom_y=1 + chance("zoom_range"),
                shift_x=chance("height_shift_range") * pictures.shape[1],
                shift_y=chance("width_shift_range") * pictures.shape[2])


def build_model(arguments: argparse.Namespace) -> tf.keras.Model:
    """Return the network: pictures [batch, 150, 150, 3] of 0..1 in, the probability of a dog [batch, 1] out."""
    layers = tf.keras.layers
    inputs = layers.Input((*IMAGE_SIZE, 3))
    # inception_v3.preprocess_input makes -1..1 of pixels 0..255; here it is a layer, so that nobody can forget it.
    scaled = inputs if arguments.course_scale else layers.Rescaling(2, offset=-1)(inputs)
    try:
        inception = tf.keras.applications.InceptionV3(
            include_top=False, input_tensor=scaled, weights=str(arguments.weights or "imagenet"))
    except Exception as error:
        sys.exit(f"No InceptionV3 weights ({str(error).splitlines()[0]}). Check the network and start again, or name "
                 "the file inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5 with --weights.")
    inception.trainable = False  # what it learned from ImageNet stays as it is; only the head below learns
    features = inception.get_layer("mixed7").output  # [batch, 7, 7, 768]: deep enough to be general, not yet ImageNet's
    head = layers.Flatten()(features)  # 37,632 numbers: the next layer alone has 38.5 million weights
    head = layers.Dense(1024, activation="relu")(head)
    head = layers.Dropout(arguments.dropout)(head)
    head = layers.Dense(1, activation="sigmoid")(head)  # two classes instead of ImageNet's thousand
    model = tf.keras.Model(inputs, head, name=MODEL_NAME)
    model.compile(optimizer=tf.keras.optimizers.RMSprop(1e-4), loss="binary_crossentropy", metrics=["accuracy"])
    return model


def read_history(file: Path) -> dict[str, list[float]]:
    """Return the columns of a history.csv, one entry an epoch: where an epoch was repeated its last row counts."""
    with open(file, newline="") as lines:
        rows = list({row["epoch"]: row for row in csv.DictReader(lines)}.values())
    return {name: [float(row[name]) for row in rows] for name in rows[0] if rows[0][name] != "NA"}


def train(model: tf.keras.Model, folder: Path, arguments: argparse.Namespace, callbacks=(), **data) -> dict:
    """Fit `model` to `data` (the arguments of `fit`); return the history, a list per column and an entry an epoch.

    Leaves history.csv and model.keras (the best epoch where there is validation) in `folder`. After an interruption
    the same command goes on behind the last finished epoch; with other settings it starts anew.
    """
    log, best, backup, starts = folder / "history.csv", folder / "model.keras", folder / "backup", []
    note, state, weights = (backup / name for name in ("settings.json", "training_metadata.json", "latest.weights.h5"))
    settings, earlier = json.dumps([vars(arguments), model.to_json()], default=str), Path(f"{state}.bkp")
    if state.exists() and not state.read_text() and earlier.exists():
        earlier.replace(state)  # killed just when Keras wrote it: the copy it keeps counts
    resume = (all(file.exists() for file in (log, note, state, weights)) and state.read_text()
              and note.read_text() == settings and zipfile.is_zipfile(best))
    if not resume:
        if note.exists():
            print("The run that was interrupted had other settings or no finished epoch: starting anew.")
        shutil.rmtree(backup, ignore_errors=True)
        log.unlink(missing_ok=True)
        backup.mkdir(parents=True)
        note.write_text(settings)
    keep_best = {"monitor": "val_accuracy", "mode": "max", "save_best_only": True,
                 "initial_value_threshold": max(read_history(log).get("val_accuracy", [0])) if resume else None}
    stop, waiting = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}, []

    def end_epoch(epoch, logs):
        logs.update(seconds=time.perf_counter() - starts[-1])
        for number in stop:  # the next callbacks write files: Ctrl-C has to wait until they are whole
            signal.signal(number, lambda number, frame: waiting.append(number))

    def let_stop(epoch, logs):
        for number, handler in stop.items():
            signal.signal(number, handler)
        for number in waiting:
            signal.raise_signal(number)

    model.fit(**data, epochs=arguments.epochs, verbose=1 if sys.stdout.isatty() else 2, callbacks=[
        tf.keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter()), on_epoch_end=end_epoch),
        *callbacks,
        tf.keras.callbacks.ModelCheckpoint(best, **(keep_best if "validation_data" in data else {})),
        tf.keras.callbacks.CSVLogger(log, append=True),
        tf.keras.callbacks.BackupAndRestore(backup, double_checkpoint=True),  # everything else is on disk by now
        tf.keras.callbacks.LambdaCallback(on_epoch_end=let_stop),
    ])
    history = read_history(log)
    with open(log, "w", newline="") as lines:
        csv.writer(lines).writerows([history, *zip(*history.values())])
    return history


def compute_features(frozen: tf.keras.Model, data: tf.data.Dataset, passes: int) -> tf.data.Dataset:
    """Return features [7, 7, 768], as float16, and label of every picture in `passes` passes over `data`."""
    features, labels = [], []
    for pictures, answers in data.repeat(passes):
        features.append(frozen.predict_on_batch(pictures).astype(np.float16))
        labels.append(answers)
    return tf.data.Dataset.from_tensor_slices((np.concatenate(features), np.concatenate(labels)))


def train_fast(model: tf.keras.Model, training, validation, arguments: argparse.Namespace) -> dict:
    """Train as `train` does, on the pictures of two flows, but ask the frozen layers once: they will not change.

    The head learns from the features of VARIANTS variants of each picture; an epoch takes one for each, at random.
    """
    start, count = time.perf_counter(), len(training.filepaths)
    data, validation_data = (feed.take(arguments.steps or -1)
                             for feed in (feed_fast(training, augment), feed_fast(validation)))
    features = model.get_layer("mixed7").output
    passes = min(VARIANTS, int(free_memory() / 2 / (count * 4 * np.prod(features.shape[1:]))))  # float16, and a copy
    if not passes:
        print("The features would fill more than half of the free memory: they are computed again in every epoch.")
        return train(model, arguments.output_dir, arguments, x=data, validation_data=validation_data, shuffle=False)

    print(f"Computing the features of {passes} variants of each picture ...")
    frozen = tf.keras.Model(model.inputs, features)
    head = tf.keras.Sequential([tf.keras.layers.Input(features.shape[1:]), *model.layers[-4:]])  # Flatten and onwards
    head.compile_from_config(model.get_compile_config())
    data, validation_data = compute_features(frozen, data, passes), compute_features(frozen, validation_data, 1)
    data = ahead(data.shuffle(len(data)).take(len(data) // passes).batch(arguments.batch_size))
    seconds = time.perf_counter() - start
    history = train(head, arguments.output_dir, arguments, x=data, shuffle=False,
                    validation_data=ahead(validation_data.batch(arguments.batch_size)))
    history["seconds"][0] += seconds
    best = tf.keras.models.load_model(arguments.output_dir / "model.keras")
    head.set_weights(best.get_weights())  # the layers are the model's own
    model.optimizer = best.optimizer  # and what it remembers of the last steps
    model.save(arguments.output_dir / "model.keras")
    return history


def draw_curves(histories: dict[str, dict[str, list[float]]], file: Path) -> None:
    """Draw accuracy and loss of each run over the epochs: training dashed, validation solid, a star at its best."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, name in zip(axes, ("accuracy", "loss")):
        for number, (label, history) in enumerate(histories.items()):
            if name not in history:
                continue
            epochs, look = np.arange(1, len(history[name]) + 1), {"color": f"C{number}", "markersize": 4}
            axis.plot(epochs, history[name], ".--", label=f"{label}: training", **look)
            if f"val_{name}" in history:
                best = np.argmax(history["val_accuracy"])
                axis.plot(epochs, history[f"val_{name}"], "o-", label=f"{label}: validation, best in epoch {best + 1}",
                          **look)
                axis.plot(best + 1, history[f"val_{name}"][best], "*", **{**look, "markersize": 16})
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.savefig(file, dpi=100)


def predict(arguments: argparse.Namespace) -> None:
    """Print class and probabilities of each file of --predict; exit with 1 at the end when one is no picture."""
    file, failures = arguments.output_dir / "model.keras", 0
    try:
        model = tf.keras.models.load_model(file)  # in safe mode: a file that brings its own code is refused
    except Exception as error:
        sys.exit(f"No model in {file}, train first or name its folder with --output-dir ({str(error).splitlines()[0]})")
    if (model.name != MODEL_NAME or model.input_shape[1:3] != IMAGE_SIZE
            or model.output_shape[1] not in (1, len(CLASSES))):
        sys.exit(f"{file} holds {model.name!r} for other pictures or classes, as of another lesson: train again, or "
                 "name another folder with --output-dir.")
    for file in arguments.predict:
        try:
            picture = tf.keras.utils.img_to_array(tf.keras.utils.load_img(file, target_size=IMAGE_SIZE))  # as RGB
        except Exception as error:
            print(f"{file}: not readable as a picture ({error})", file=sys.stderr)
            failures += 1
            continue
        scores = model.predict(picture[np.newaxis] * RESCALE, verbose=0)[0]
        scores = [1 - scores[0], scores[0]] if len(scores) == 1 else scores
        shares = ", ".join(f"{name} {score:.1%}" for name, score in zip(CLASSES, scores))
        print(f"{file}: {CLASSES[np.argmax(scores)]} ({shares})")
    sys.exit(1 if failures else 0)


def report(model: tf.keras.Model, history: dict, arguments: argparse.Namespace, pictures: int, **facts) -> None:
    """Write metrics.json and print what matters of it; `facts` are those of this lesson alone."""
    gpus, seconds, epochs = tf.config.list_physical_devices("GPU"), sum(history["seconds"]), len(history["epoch"])
    device = gpus[0].name if gpus else f"CPU, {os.cpu_count()} cores"
    best = {"best_validation_accuracy": max(history["val_accuracy"])} if "val_accuracy" in history else {}
    facts = {"lesson": Path(__file__).stem, "accuracy": history["accuracy"][-1], **best, **facts}
    (arguments.output_dir / "metrics.json").write_text(json.dumps({
        **facts, "epochs": epochs, "seconds": seconds, "seconds_per_epoch": seconds / epochs, "seed": arguments.seed,
        "arguments": vars(arguments), "device": device, "precision": model.dtype_policy.name, "pictures": pictures,
        "tensorflow": tf.__version__, "keras": tf.keras.__version__}, indent=2, default=str) + "\n")
    print(", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in facts.items() if "accuracy" in name))
    print(f"{epochs} epochs in {seconds:.0f} s on {device}, in {model.dtype_policy.name}; "
          f"figures, model and numbers are in {arguments.output_dir}")


def show_figures() -> None:
    """Open a window for the figures where there is a screen, and a person before it."""
    if plt.gcf().canvas.required_interactive_framework and sys.stdout.isatty():
        plt.show()


def main(arguments: argparse.Namespace) -> None:
    if arguments.predict:
        predict(arguments)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    arguments.batch_size = arguments.batch_size or (100 if arguments.fast else 20)
    data = arguments.data_dir or download() / "cats_and_dogs_filtered"
    names = ("training", "testing") if (data / "training").exists() else ("train", "validation")
    pictures = sum(check_pictures(data / name) for name in names)

    flow = {"target_size": IMAGE_SIZE, "classes": CLASSES, "class_mode": "binary",
            "batch_size": arguments.batch_size, "seed": arguments.seed}
    generator = tf.keras.preprocessing.image.ImageDataGenerator
    training = generator(rescale=RESCALE, **AUGMENTATION).flow_from_directory(data / names[0], **flow)
    validation = generator(rescale=RESCALE).flow_from_directory(data / names[1], **flow)  # never augmented

    model = build_model(arguments)
    learning, frozen = (sum(int(np.prod(weight.shape)) for weight in weights)
                        for weights in (model.trainable_weights, model.non_trainable_weights))
    print(f"{learning:,} weights learn (the head), {frozen:,} are frozen (InceptionV3 up to mixed7).")
    if arguments.fast:
        history = train_fast(model, training, validation, arguments)
    else:
        history = train(model, arguments.output_dir, arguments, x=training, validation_data=validation,
                        steps_per_epoch=arguments.steps and min(arguments.steps, len(training)),
                        validation_steps=arguments.steps and min(arguments.steps, len(validation)))
    draw_curves({"transfer learning": history}, arguments.output_dir / "curves.png")
    if arguments.compare.exists():
        lesson_8 = read_history(arguments.compare)
        print(f"Best validation accuracy {max(history['val_accuracy']):.3f}; lesson 8, which starts from nothing, has "
              f"{max(lesson_8['val_accuracy']):.3f}.")
        draw_curves({"lesson 8": lesson_8, "transfer learning": history}, arguments.output_dir / "comparison.png")
    else:
        print(f"No {arguments.compare} to compare with: run lesson 8, TF_Dogs_Cats.py, and then this one again.")
    report(model, history, arguments, pictures, validation_accuracy=history["val_accuracy"][-1],
           trainable_weights=learning, frozen_weights=frozen)
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
