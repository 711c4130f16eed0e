"""Lesson 14: twenty-four letters of the sign language - pictures that come as a table of numbers.

You learn to
  * get a data set from Kaggle, and read 83 MB of CSV in seconds, checking what you read;
  * augment pictures in memory with `flow`, without the mirror: a mirrored hand is another sign, or none;
  * scale the pixels everywhere, also in the evaluation: a forgotten 1/255 costs the course's notebook .27 of accuracy;
  * read a confusion matrix of many classes: which letters look alike?

  python TF_sign_language.py                           # train, draw, evaluate once
  python TF_sign_language.py --fast                    # the same, sooner
  python TF_sign_language.py --data-dir my_folder      # sign_mnist_train.csv and sign_mnist_test.csv are there already
  python TF_sign_language.py --predict my_hand.jpg     # your own hand, and what the network sees of it

On a fifth of the set, which is easier than the whole, it got .999 or more of the test hands right after half a minute
on a two-core CPU; the whole has five times as many. J and Z are movements, so no picture shows them. Sign Language
MNIST: "tecperson" on Kaggle, CC0.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "tensorflow>=2.21,<2.22",
#   "numpy>=1.26,<3",
#   "matplotlib>=3.9,<4",
#   "pillow>=10.3,<14",
#   "scipy>=1.13,<2",
#   "kagglehub>=1.0,<2",
# ]
# ///

import argparse
import csv
import json
import os
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

DATASET = "datamunge/sign-language-mnist/versions/1"  # public: kagglehub needs no login for it
PAGE = "https://www.kaggle.com/datasets/datamunge/sign-language-mnist"
FILES = ["sign_mnist_train.csv", "sign_mnist_test.csv"]
LAYOUT = " and ".join(FILES)
MODEL_NAME = "sign_language"
CLASSES = list("ABCDEFGHIJKLMNOPQRSTUVWXY")  # labels 0 to 24; 9, the J, never occurs, nor does the Z
RESCALE = 1 / 255  # pixels 0..255 become 0..1, in training, evaluation and prediction alike
AUGMENTATION = {  # gentler than lesson 11's: a sign is told by its angle too, and 28x28 pixels have no room to spare
    "rotation_range": 10,  # degrees to either side
    "width_shift_range": 0.1, "height_shift_range": 0.1,  # share of the width and height
    "zoom_range": 0.1,  # 0.9 to 1.1 times the size
    "fill_mode": "nearest",  # pixels from beyond the edge repeat the nearest one; and no horizontal_flip: see above
}


def whole_number(text: str, least: int = 1) -> int:
    """Return `text` as an integer of at least `least`; anything else is an argparse error."""
    if not (text.isascii() and text.isdigit() and least <= int(text[:20]) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return int(text)


def parse_arguments(line: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--epochs", type=whole_number, default=15, metavar="N", help="passes over the pictures (%(default)s)")
    add("--batch-size", type=whole_number, metavar="N", help="pictures in one step (32; 128 with --fast)")
    add("--steps", type=whole_number, metavar="N", help="at most N batches an epoch, for a quick try")
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
    from PIL import Image, ImageOps
except ImportError as error:
    sys.exit(f"{error}. Install what the lesson needs: python -m pip install tensorflow numpy matplotlib pillow scipy")
finally:
    os.dup2(standard_error, 2)


def download_from_kaggle() -> Path:
    """Return the folder with the two CSV files, downloaded on the first run into kagglehub's own cache."""
    try:
        import kagglehub
        return next(Path(kagglehub.dataset_download(DATASET)).rglob(FILES[0])).parent
    except Exception as error:
        advice = "python -m pip install kagglehub, or" if isinstance(error, ImportError) else "Check the network, or"
        sys.exit(f"Kaggle's {DATASET} could not be fetched ({error}). {advice} download it from {PAGE}, unpack it, and "
                 f"pass the folder that holds {LAYOUT} as --data-dir.")


def read_csv(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures [n, 28, 28, 1] of 0..255 and labels [n] from rows `label,pixel1,...,pixel784` below a header.

    Exits naming the line when a row has another number of columns, a pixel outside 0..255, or an unknown label.
    """
    known = [label for label in range(len(CLASSES)) if label != CLASSES.index("J")]
    try:
        with open(file, encoding="utf-8") as lines:
            if not lines.readline().startswith("label,"):
                sys.exit(f"{file} does not begin with the header label,pixel1,...: is it the right file?")
            table = np.loadtxt(lines, delimiter=",", dtype=np.int16, ndmin=2)  # in C: seconds, not half a minute
        if table.shape[1:] == (785,) and table.min() >= 0 and table.max() <= 255 and np.isin(table[:, 0], known).all():
            return table[:, 1:].reshape(-1, 28, 28, 1).astype(np.uint8), table[:, 0]
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{file} cannot be read ({error}): --data-dir names the folder that holds {LAYOUT}.")
    except ValueError:
        pass  # loadtxt says what is wrong, but not in which line of the file
    with open(file, encoding="utf-8") as lines:
        for number, row in enumerate(csv.reader(lines), start=1):
            values = [int(cell) if cell.strip().isdecimal() else -1 for cell in row]
            if len(row) != 785 and row:
                sys.exit(f"{file}, line {number}: {len(row)} columns instead of 785, a label and 784 pixels.")
            if number > 1 and row and values[0] not in known:
                sys.exit(f"{file}, line {number}: unknown label {row[0]!r}; known are 0 to 24, without 9 (J).")
            if number > 1 and (wrong := [cell for cell, value in zip(row, values) if not 0 <= value <= 255]):
                sys.exit(f"{file}, line {number}: {wrong[0]!r} is no pixel of 0 to 255.")
    sys.exit(f"{file} has no rows below its header.")


def draw_letters(pictures: np.ndarray, labels: np.ndarray, file: Path) -> None:
    """Draw the first picture [28, 28, 1] of each letter."""
    figure, axes = plt.subplots(3, 8, figsize=(12, 5.4), layout="constrained")
    figure.suptitle("One hand for each letter (J and Z are movements)")
    for axis in axes.flat:
        axis.axis("off")
    for axis, label in zip(axes.flat, np.unique(labels)):
        axis.imshow(pictures[np.argmax(labels == label), ..., 0], cmap="gray", vmin=0, vmax=255)
        axis.set_title(CLASSES[label])
    figure.savefig(file, dpi=100)


def use_native_bfloat16() -> None:
    """Let Keras compute in bfloat16, half as long as float32, where this machine multiplies it natively."""
    gpus, cpu = tf.config.list_physical_devices("GPU"), Path("/proc/cpuinfo")
    if gpus:
        native = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0)) >= (8, 0)
    else:
        native = cpu.exists() and not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu.read_text().split())
    if native:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")  # the weights themselves stay float32


def ahead(data: tf.data.Dataset) -> tf.data.Dataset:
    """Return `data` with two batches always made in advance, while the network computes."""
    options = tf.data.Options()
    options.autotune.enabled = False  # its thread looks in ever more rarely, and the end of every epoch waits for it
    return data.prefetch(2).with_options(options)


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
    """Return the network: pictures [batch, 28, 28, 1] of 0..1 in, a probability for each label [batch, 25] out."""
    layers = tf.keras.layers
    model = tf.keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(len(CLASSES), activation="softmax", dtype="float32"),  # 25: labels run to 24, without 9
    ], name=MODEL_NAME)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
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


def draw_confusion_matrix(matrix: np.ndarray, classes: list[str], file: Path) -> None:
    """Draw counts [true class, predicted class] as a table, coloured by the share of the true class."""
    size = 5.2 + 0.3 * len(classes)
    figure, axis = plt.subplots(figsize=(size, size), layout="constrained")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            axis.text(column, row, count, ha="center", va="center", color="wk"[int(shares[row, column] < 0.5)])
    axis.set(title="Confusion matrix", xlabel="predicted class", ylabel="true class", xticks=range(len(classes)),
             yticks=range(len(classes)), xticklabels=classes, yticklabels=classes)
    figure.savefig(file, dpi=100)


def predict_hands(arguments: argparse.Namespace) -> None:
    """Print the likeliest letters for each file of --predict, and draw what the network sees; exit 1 on a bad file."""
    file, seen = arguments.output_dir / "model.keras", {}
    try:
        model = tf.keras.models.load_model(file)  # in safe mode: a file that brings its own code is refused
    except Exception as error:
        sys.exit(f"No model in {file}, train first or name its folder with --output-dir ({str(error).splitlines()[0]})")
    if model.name != MODEL_NAME:
        sys.exit(f"{file} holds {model.name!r}, the model of another lesson: name another folder with --output-dir.")
    for file in arguments.predict:
        try:
            with Image.open(file) as picture:  # grey, the square in its middle, 28x28: all that the network knows
                seen[file] = picture.convert("RGB"), np.asarray(ImageOps.fit(picture.convert("L"), (28, 28)))
        except Exception as error:
            print(f"{file}: not readable as a picture ({error})", file=sys.stderr)
    rows = max(len(seen), 1)
    figure, axes = plt.subplots(rows, 2, figsize=(7, 3.4 * rows), layout="constrained", squeeze=False)
    for (left, right), (file, (original, pixels)) in zip(axes, seen.items()):
        scores = model.predict(pixels[np.newaxis, ..., np.newaxis] * RESCALE, verbose=0)[0]
        likeliest = ", ".join(f"{CLASSES[label]} {scores[label]:.1%}" for label in np.argsort(scores)[:-4:-1])
        print(f"{file}: {CLASSES[np.argmax(scores)]} ({likeliest})")
        left.imshow(original)
        left.set_title(file.name)
        right.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        right.set_title(f"what it sees: {likeliest}", fontsize=9)
    if seen:
        figure.savefig(arguments.output_dir / "prediction.png", dpi=100)
        print(f"{arguments.output_dir / 'prediction.png'} shows what the network saw.")
        show_figures()
    sys.exit(0 if len(seen) == len(set(arguments.predict)) else 1)


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
        predict_hands(arguments)
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    arguments.batch_size = arguments.batch_size or (128 if arguments.fast else 32)
    data = arguments.data_dir or download_from_kaggle()
    (pictures, labels), (test_pictures, test_labels) = (read_csv(data / name) for name in FILES)
    draw_letters(pictures, labels, arguments.output_dir / "letters.png")

    # A tenth of the training rows chooses the best epoch, so that the test rows are used for no decision at all.
    order = np.random.default_rng(arguments.seed).permutation(len(labels))
    held_out, rest = order[:max(len(order) // 10, 1)], order[max(len(order) // 10, 1):]
    generator = tf.keras.preprocessing.image.ImageDataGenerator
    flow = {"batch_size": arguments.batch_size, "seed": arguments.seed}
    training = generator(rescale=RESCALE, **AUGMENTATION).flow(pictures[rest], labels[rest], **flow)
    validation = generator(rescale=RESCALE).flow(pictures[held_out], labels[held_out], **flow)
    if arguments.fast:  # the same pictures to the same network, sooner
        use_native_bfloat16()
        training, validation = (tf.data.Dataset.from_tensor_slices((pictures[rows], labels[rows]))
                                for rows in (rest, held_out))
        training = ahead(training.shuffle(len(rest)).batch(arguments.batch_size).map(
            lambda hands, letters: (augment(hands) * RESCALE, letters)))
        validation = ahead(validation.batch(arguments.batch_size).map(
            lambda hands, letters: (tf.cast(hands, tf.float32) * RESCALE, letters)))

    model = build_model()
    if arguments.fast:
        model.optimizer.learning_rate = 1e-3 * (arguments.batch_size / 32) ** 0.5  # fewer steps, longer in proportion
        model.steps_per_execution = 10  # so many steps in a row stay inside TensorFlow
    model.summary()
    history = train(model, arguments.output_dir, arguments, x=training, validation_data=validation,
                    shuffle=not arguments.fast,  # a tf.data.Dataset shuffles itself
                    steps_per_epoch=arguments.steps and min(arguments.steps, len(training)),
                    validation_steps=arguments.steps and min(arguments.steps, len(validation)))
    draw_curves({"sign language": history}, arguments.output_dir / "curves.png")

    best = tf.keras.models.load_model(arguments.output_dir / "model.keras")  # of the best epoch, not of the last one
    predicted = best.predict(test_pictures * np.float32(RESCALE), verbose=0).argmax(axis=1)
    unscaled = best.predict(test_pictures.astype("float32"), verbose=0).argmax(axis=1)  # the course's slip: its cost
    letters = [label for label, name in enumerate(CLASSES) if name != "J"]
    matrix = tf.math.confusion_matrix(test_labels, predicted, len(CLASSES)).numpy()[np.ix_(letters, letters)]
    draw_confusion_matrix(matrix, [CLASSES[label] for label in letters], arguments.output_dir / "confusion_matrix.png")
    print(f"\nHad the evaluation forgotten the scaling: {np.mean(unscaled == test_labels):.4f}")
    report(model, history, arguments, len(labels) + len(test_labels),
           test_accuracy=float(np.mean(predicted == test_labels)),
           unscaled_test_accuracy=float(np.mean(unscaled == test_labels)), confusion_matrix=matrix.tolist())
    show_figures()


if __name__ == "__main__":
    try:
        main(arguments)
    except BrokenPipeError:
        os._exit(1)  # whoever read the output has gone, as `head` does
    except OSError as error:
        sys.exit(f"{error}. Is the disk full, or the folder protected? --output-dir and KERAS_HOME name others.")
