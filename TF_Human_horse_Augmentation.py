"""Lesson 11: lesson 5 with image augmentation - does it help with horses and humans?

You learn to
  * show the network a new variant of each training picture every time: turned, shifted, zoomed, mirrored;
  * leave the validation pictures as they are: they are the measure;
  * compare honestly: everything but the generator is lesson 5's, and augmentation is no magic.

  python TF_Human_horse_Augmentation.py                            # train, draw sixteen variants of one picture
  python TF_Human_horse_Augmentation.py --fast                     # the same, sooner
  python TF_Human_horse_Augmentation.py --compare other/history.csv  # beside the curves of another run of lesson 5
  python TF_Human_horse_Augmentation.py --predict me.jpg           # classify your own picture with the saved model

Expect a best validation accuracy of about .86, no better than lesson 5's, eight minutes on a two-core CPU, and lesson
5's 160 MB to download once. 25 epochs, not lesson 5's 15: pictures that are never the same take longer to learn.
The pictures are Laurence Moroney's computer-drawn horses and humans: for training they stand in landscapes, for
validation before plain white, and that is nothing that turning and zooming could teach.
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

SERVERS = ["https://storage.googleapis.com/learning-datasets",
           "https://storage.googleapis.com/download.tensorflow.org/data"]
ARCHIVES = {  # name of the zip: (number of pictures, SHA-256)
    "horse-or-human": (1027, "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9"),
    "validation-horse-or-human": (256, "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0"),
}
LAYOUT = "horse-or-human and validation-horse-or-human, each with horses and humans"
CACHE = Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "datasets")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".tif", ".tiff")  # what ImageDataGenerator looks for
MODEL_NAME = "horse_or_human"  # as in lesson 5: the network is the same
CLASSES = ["horses", "humans"]  # label 0 and label 1
IMAGE_SIZE = (300, 300)
RESCALE = 1 / 255  # pixels 0..255 become 0..1, in training and in prediction alike
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


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=whole_number, default=25, metavar="N", help="passes over the pictures (%(default)s)")
    add("--batch-size", type=whole_number, default=32, metavar="N", help="pictures in one step (%(default)s)")
    add("--steps", type=whole_number, metavar="N", help="at most N batches an epoch, for a quick try")
    add("--fast", action="store_true", help="the same lesson in a fraction of the time")
    add("--seed", type=lambda text: whole_number(text, 0), default=1, metavar="N", help="start of chance (%(default)s)")
    add("--data-dir", type=Path, metavar="DIR", help=f"no download: the folder that holds {LAYOUT}")
    add("--compare", type=Path, default=Path("outputs", "TF_Human_horse", "history.csv"), metavar="FILE",
        help="lesson 5's, to compare with (%(default)s)")
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


def draw_variants(generator, file: Path, target: Path) -> None:
    """Draw the picture in `file`, and sixteen variants of it as the generator (pixels 0..1) makes them."""
    original = tf.keras.utils.img_to_array(tf.keras.utils.load_img(file, target_size=IMAGE_SIZE))
    variants = generator.flow(np.repeat(original[np.newaxis], 16, axis=0), batch_size=16, shuffle=False, seed=1)[0]
    figure, axes = plt.subplots(3, 6, figsize=(12, 6.4), layout="constrained")
    figure.suptitle("One picture, sixteen augmentations")
    for axis in axes.flat:
        axis.axis("off")
    axes[0, 0].imshow(original * RESCALE)
    axes[0, 0].set_title("original")
    for number, (axis, variant) in enumerate(zip(axes.flat[1:], variants), start=1):
        axis.imshow(variant)
        axis.set_title(f"variant {number}")
    figure.savefig(target, dpi=100)


def use_native_bfloat16() -> None:
    """Let Keras compute in bfloat16, half as long as float32, where this machine multiplies it natively."""
    gpus, cpu = tf.config.list_physical_devices("GPU"), Path("/proc/cpuinfo")
    if gpus:
        native = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    else:
        native = cpu.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu.read_text().split())
    if native:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")  # the weights themselves stay float32


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


def build_model() -> tf.keras.Model:
    """Return the network: pictures [batch, 300, 300, 3] of 0..1 in, the probability of a human [batch, 1] out."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((*IMAGE_SIZE, 3)),
        layers.Conv2D(16, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(512, activation="relu"),
        layers.Dense(1, activation="sigmoid", dtype="float32"),  # one number for two classes: 0 is a horse, 1 a human
    ], name=MODEL_NAME)
    model.compile(optimizer=tf.keras.optimizers.RMSprop(1e-3), loss="binary_crossentropy", metrics=["accuracy"])
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


def describe_gap(label: str, history: dict[str, list[float]]) -> None:
    """Print how far validation stays behind training, and what its loss came to; means of the last five epochs."""
    training, validation, loss = (np.mean(history[name][-5:]) for name in ("accuracy", "val_accuracy", "val_loss"))
    print(f"{label}: in the last five epochs training {training:.3f}, validation {validation:.3f}, a gap of "
          f"{training - validation:.3f}, validation loss {loss:.2f}. Best: {max(history['val_accuracy']):.3f}.")


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
    data = arguments.data_dir or download()
    pictures = sum(check_pictures(data / name) for name in ARCHIVES)

    flow = {"target_size": IMAGE_SIZE, "classes": CLASSES, "class_mode": "binary",
            "batch_size": arguments.batch_size, "seed": arguments.seed}
    generator = tf.keras.preprocessing.image.ImageDataGenerator(rescale=RESCALE, **AUGMENTATION)  # what differs
    training = generator.flow_from_directory(data / "horse-or-human", **flow)
    generator_without = tf.keras.preprocessing.image.ImageDataGenerator(rescale=RESCALE)
    validation = generator_without.flow_from_directory(data / "validation-horse-or-human", **flow)
    draw_variants(generator, Path(training.filepaths[0]), arguments.output_dir / "augmentations.png")
    if arguments.fast:  # the same pictures to the same network, sooner
        use_native_bfloat16()
        training, validation = feed_fast(training, augment), feed_fast(validation)

    model = build_model()
    model.summary()
    history = train(model, arguments.output_dir, arguments, x=training, validation_data=validation,
                    shuffle=not arguments.fast,  # a tf.data.Dataset shuffles itself
                    steps_per_epoch=arguments.steps and min(arguments.steps, len(training)),
                    validation_steps=arguments.steps and min(arguments.steps, len(validation)))
    draw_curves({"augmented": history}, arguments.output_dir / "curves.png")
    describe_gap("With augmentation", history)
    if arguments.compare.exists():
        lesson_5 = read_history(arguments.compare)
        describe_gap("Without (lesson 5)", lesson_5)
        draw_curves({"lesson 5": lesson_5, "augmented": history}, arguments.output_dir / "comparison.png")
    else:
        print(f"No {arguments.compare} to compare with: run lesson 5, TF_Human_horse.py, and then this one again.")
    report(model, history, arguments, pictures)
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
