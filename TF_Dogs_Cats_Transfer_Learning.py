"""Lesson 12: transfer learning - a network that has already learned to see, for your own classes.

A new network overfits on 2,000 photographs: that of lesson 8 is wrong about one new one in four.
But InceptionV3 has learned from ImageNet, 1.3 million photographs of a thousand classes. Its first
layers find edges and textures, which every photograph has. Its last ones only fit those classes.

You learn to cut off its last layers; to freeze the others, which keep what they have learned; to
train a small new head for your own classes; what dropout does; how few photographs are enough; and
how a network can tell that a picture shows none of its classes.

  python -m pip install "tensorflow==2.21.*" matplotlib pillow
  python TF_Dogs_Cats_Transfer_Learning.py                        # the cats and dogs of lesson 8
  python TF_Dogs_Cats_Transfer_Learning.py --predict my_pet.jpg   # classify your own photograph
  python TF_Dogs_Cats_Transfer_Learning.py --dropout 0 --output-dir outputs/no_dropout
  python TF_Dogs_Cats_Transfer_Learning.py --fine-tune 3 --output-dir outputs/fine_tuned

For your own classes, any number of them, put the photographs of each into a folder with its name,
such as trees/oak and trees/maple. Every fifth is kept for validation. To check and divide them with
care, run lesson 10, TF_DataProcessing_for_CNN_DogCatDataset.py, first.

  python TF_Dogs_Cats_Transfer_Learning.py --data-dir trees --output-dir outputs/leaves
  python TF_Dogs_Cats_Transfer_Learning.py --output-dir outputs/leaves --predict a_leaf.jpg

Expect it to be right about 97 of 100 validation pictures (and about 92, if it learns from ten of
each class), after two minutes on a two-core CPU. ImageNet has many cats and dogs: expect less of
classes that it does not know. The first run downloads 157 MB: photographs of the Asirra dataset
(Microsoft Research, Petfinder.com), and the weights of InceptionV3 (Google).

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib", "pillow"]
# ///

import argparse
import os
import socket
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps
from tensorflow.keras import layers

Image.MAX_IMAGE_PIXELS = 250_000_000  # or else Pillow warns of a phone's largest photographs
URL = "https://download.mlcc.google.com/mledu-datasets/cats_and_dogs_filtered.zip"
IMAGE_SIZE = (150, 150)  # height and width in pixels
VARIANTS = 1  # augmented variants of each training picture, beside the picture itself


def build_augmentation():
    """Return layers that change a batch of pictures at random, so that it is harder to memorise."""
    return tf.keras.Sequential([
        layers.RandomFlip("horizontal"),  # mirror half of them
        layers.RandomRotation(40 / 360, fill_mode="nearest"),  # by up to 40 degrees to either side
        layers.RandomTranslation(0.2, 0.2, fill_mode="nearest"),  # by up to a fifth
        layers.RandomZoom(0.2, 0.2, fill_mode="nearest"),  # show from 0.8 to 1.2 times as much
    ])


def build_base(weights):
    """Return the frozen part: pictures [batch, 150, 150, 3], 0 to 255, in, features out.

    The features are 1280 numbers for each picture, [batch, 1280].
    """
    pictures = layers.Input((*IMAGE_SIZE, 3))
    scaled = layers.Rescaling(2 / 255, offset=-1)(pictures)  # -1 to 1, as InceptionV3 was trained
    try:
        inception = tf.keras.applications.InceptionV3(
            include_top=False,  # without the layer that tells ImageNet's thousand classes apart
            weights=weights,
            input_tensor=scaled,
        )
    except Exception as error:
        sys.exit(f"{error}\nTry again, or name your own copy of the weights with --weights.")
    # The last of its blocks mixed0 to mixed10 fit ImageNet's own classes: stop at mixed8.
    maps = inception.get_layer("mixed8").output  # 1280 maps of 3x3: where is which pattern?
    features = layers.GlobalAveragePooling2D()(maps)  # the mean of each map: is it there at all?
    base = tf.keras.Model(pictures, features, name="base")
    base.trainable = False  # frozen: training cannot change its weights
    return base


def build_head(class_count, dropout):
    """Return the new part, ready to train: features [batch, 1280] in, probabilities out."""
    head = tf.keras.Sequential([
        layers.Dense(1024, activation="relu"),  # combines what InceptionV3 has found
        layers.Dropout(dropout),  # zeroes some of the 1024 in each step: it is harder to memorise
        layers.Dense(class_count, activation="softmax"),  # a probability for each of your classes
    ], name="head")
    head.compile(
        loss="sparse_categorical_crossentropy",  # for labels 0, 1, 2, ...
        optimizer=tf.keras.optimizers.Adam(learning_rate=3e-4),  # how far each step goes
        metrics=["accuracy"],
    )
    return head


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    tf.keras.mixed_precision.set_global_policy("float32")  # whatever ran before in this notebook
    socket.setdefaulttimeout(60)  # a download fails after 60 seconds without an answer

    # 1. Read the photographs. The names of the folders are the classes, and the labels are their
    #    numbers: 0, 1, 2, ...
    folder = arguments.data_dir or download(URL) / "cats_and_dogs_filtered"
    classes, training, validation = read_photographs(folder)
    pictures, labels, _ = training
    validation_pictures, validation_labels, validation_files = validation
    ten = np.random.permutation(len(labels))[:10]
    draw_batch(pictures[ten] / 255, labels[ten], classes, output / "pictures.png")
    augmentation = build_augmentation()
    variants = augmentation(pictures[[0] * 10], training=True)  # ten of the first picture
    draw_batch(variants / 255, labels[[0] * 10], classes, output / "augmentations.png")

    # 2. Take a network that has learned to see, without its last layers, and freeze it. Put a new
    #    head on it, for our classes. See what becomes of ten pictures on their way through both.
    base = build_base(str(arguments.weights or "imagenet"))
    head = build_head(len(classes), arguments.dropout)
    ten_features = base(pictures[ten])
    print(f"Ten pictures:    {pictures[ten].shape}")
    print(f"their features:  {ten_features.shape}")
    print(f"probabilities:   {head(ten_features).shape}")

    # 3. Compute the features of every picture, and of VARIANTS augmented variants of each, once:
    #    the frozen base would find the same in each epoch. That is many times faster. The price:
    #    the same variants in each epoch, not new ones.
    known = extract_features(base, pictures)
    features = [known]
    for _ in range(VARIANTS):
        features.append(extract_features(base, pictures, augmentation))
    features = np.concatenate(features)
    validation_features = extract_features(base, validation_pictures)
    validation_data = (validation_features, validation_labels)

    # 4. Measure the new head, and train it. Stop when ten epochs have brought no gain, and take the
    #    best weights. As the validation pictures choose them, their accuracy is a little too high.
    before = head.evaluate(*validation_data, verbose=0, return_dict=True)
    stop_early = tf.keras.callbacks.EarlyStopping(
        monitor="val_accuracy", mode="max", patience=10, restore_best_weights=True)
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    history = head.fit(features, np.tile(labels, 1 + VARIANTS), validation_data=validation_data,
                       batch_size=arguments.batch_size, epochs=arguments.epochs,
                       callbacks=[stop_early, save_curves]).history
    print(f"accuracy before training: {before['accuracy']:.4f}")
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")

    # 5. Put both parts together, and save one network: pictures in, probabilities out.
    model = tf.keras.Sequential([base, head])
    model.summary()  # only the weights of the head are trainable
    model.save(output / "model.keras")
    (output / "classes.txt").write_text("\n".join(classes), encoding="utf-8")

    # 6. A network always names one of its classes, also for a shoe, and often with confidence. But
    #    the features of a shoe differ from those of all training pictures. Keep these, and the
    #    similarity that 95 of 100 validation pictures have at least.
    similarity = compare(validation_features, known)
    limit = np.quantile(find_fifth(similarity), 0.05)
    np.savez(output / "known.npz", features=known, limit=limit)

    # 7. Look behind the accuracy. Which class is taken for which? What are the surest mistakes, and
    #    are some only wrong labels? Are there copies of training pictures among the validation
    #    pictures, which make it too high? Would more pictures help?
    probabilities = head.predict(validation_features, verbose=0)
    predicted = np.argmax(probabilities, axis=1)
    draw_confusion_matrix(validation_labels, predicted, classes, output / "confusion_matrix.png")
    for row in draw_mistakes(validation_pictures, validation_labels, probabilities, classes,
                             output / "mistakes.png"):
        print(f"{validation_files[row]} is taken for {classes[predicted[row]]}")
    draw_copies(similarity, training, validation, output / "copies.png")
    draw_learning_curve(known, labels, validation_data, arguments.dropout,
                        output / "learning_curve.png")

    # 8. Fine-tune, if asked to: let training change the last layers of the base, too, a little. It
    #    is an experiment, in a file of its own: --predict goes on asking the network of step 5.
    fine_tuning = {}
    if arguments.fine_tune > 0:
        fine_tuning = fine_tune(
            base, head, augmentation, training, validation, arguments.fine_tune)
        model.save(output / "fine_tuned.keras")
        print(f"validation accuracy, fine-tuned: {fine_tuning['val_accuracy'][-1]:.4f}")
    draw_stages(before, history, fine_tuning, output / "curves.png")
    print(f"The results are in {output}.")
    plt.show()


def extract_features(base, pictures, augmentation=None):
    """Return what `base` finds in the pictures [n, 150, 150, 3]: features [n, 1280]."""
    batches = tf.data.Dataset.from_tensor_slices(pictures).batch(32)
    if augmentation is not None:
        batches = batches.map(lambda batch: augmentation(batch, training=True))
    return base.predict(batches.prefetch(2))


def compare(features, known):
    """Return the cosine between the features of each picture and each of `known`: [n, known]."""
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    return features @ known.T


def find_fifth(similarity):
    """Return the similarity to the fifth most similar training picture: one alone may be chance."""
    return np.sort(similarity, axis=1)[:, -5:][:, 0]


def fine_tune(base, head, augmentation, training, validation, epochs):
    """Train the last layers of the base, too, and return the history.

    Only after the head has learned: its first, large mistakes would have spoiled the base. And
    BatchNormalization stays frozen: it holds averages over all of ImageNet.
    """
    base.trainable = True
    last_frozen = base.layers.index(base.get_layer("mixed6"))
    for number, layer in enumerate(base.layers):
        is_normalization = isinstance(layer, layers.BatchNormalization)
        layer.trainable = number > last_frozen and not is_normalization
    model = tf.keras.Sequential([augmentation, base, head])  # new variants in each epoch
    model.compile(  # needed after each change of `trainable`
        loss="sparse_categorical_crossentropy",
        optimizer=tf.keras.optimizers.Adam(1e-5),  # large steps would destroy what was learned
        metrics=["accuracy"],
    )
    return model.fit(training[0], training[1], validation_data=validation[:2], batch_size=32,
                     epochs=epochs).history


def draw_copies(similarity, training, validation, file):
    """Print validation pictures that are nearly the same as a training picture, and draw five."""
    shown = []
    for row in np.flatnonzero(similarity.max(axis=1) > 0.94):  # different scenes reach 0.92
        twin = similarity[row].argmax()
        print(f"{validation[2][row]} is nearly the same as {training[2][twin]}")
        shown.append(validation[0][row] / 255)
        shown.append(training[0][twin] / 255)
    if shown:
        draw_batch(shown, [0, 1] * len(shown), ["validation", "training"], file)


def draw_learning_curve(features, labels, validation_data, dropout, file):
    """Draw the validation accuracy of heads that have learned from 3, 10, 30, ... of each class."""
    smallest_class = np.bincount(labels).min()
    counts = [count for count in [3, 10, 30, 100, 300, 1000] if count <= smallest_class]
    accuracies = []
    for count in counts:
        rows = []
        for label in np.unique(labels):
            rows.extend(np.random.choice(np.flatnonzero(labels == label), count, replace=False))
        head = build_head(int(labels.max()) + 1, dropout)
        epochs = max(5, 2000 // len(rows))  # fewer pictures, more often
        head.fit(features[rows], labels[rows], batch_size=20, epochs=epochs, verbose=0)
        accuracies.append(head.evaluate(*validation_data, verbose=0, return_dict=True)["accuracy"])
        print(f"{count:5} training pictures of each class: {accuracies[-1]:.3f}")
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    axis.plot(range(len(counts)), accuracies, "o-")
    axis.set_xticks(range(len(counts)), counts)
    axis.set(title="How many pictures does it take?", xlabel="training pictures of each class",
             ylabel="validation accuracy")
    figure.savefig(file)


def draw_stages(before, history, fine_tuning, file):
    """Draw accuracy and loss by epoch: before the training, of the head, and of fine-tuning."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        training = history[metric] + fine_tuning.get(metric, [])
        validation = history[f"val_{metric}"] + fine_tuning.get(f"val_{metric}", [])
        axis.plot(range(1, len(training) + 1), training, ".--", label="training")
        validation = [before[metric]] + validation
        axis.plot(range(len(validation)), validation, ".-", label="validation")
        if fine_tuning:
            axis.axvline(len(history["loss"]) + 0.5, color="grey", label="fine-tuning begins")
        axis.set(title=metric.capitalize(), xlabel="epoch (0: before the training)")
    axes[0].legend()
    figure.savefig(file)


def predict(files, folder):
    """Print the class of each picture, its probability, and whether it is something else."""
    if not (folder / "model.keras").exists():
        sys.exit(f"There is no network in {folder} yet: train first.")
    base, head = tf.keras.models.load_model(folder / "model.keras").layers
    classes = (folder / "classes.txt").read_text(encoding="utf-8").splitlines()
    saved = np.load(folder / "known.npz")
    known = saved["features"]
    unread = 0
    for file in files:
        try:
            picture = load_picture(file).resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST)
        except OSError as error:
            print(error)
            unread += 1
            continue
        features = base.predict(np.float32([picture]), verbose=0)  # a batch of one picture
        probabilities = head.predict(features, verbose=0)[0]
        answer = f"{classes[np.argmax(probabilities)]} ({np.max(probabilities):.1%})"
        if find_fifth(compare(features, known))[0] < saved["limit"]:
            answer += ", but it looks like none of the training pictures"
        print(f"{file}: {answer}")
    sys.exit(min(unread, 1))


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def read_photographs(folder):
    """Return the classes, and pictures, labels and files for training and for validation.

    `folder` holds train and validation (or val), or training and testing, each with a folder for
    every class; or only a folder for every class: then every fifth picture is for validation.
    """
    for first, second in [("train", "validation"), ("training", "testing"), ("train", "val")]:
        if (folder / first).is_dir() and (folder / second).is_dir():
            classes = list_classes(folder / first)
            if classes.keys() != list_classes(folder / second).keys():
                sys.exit(f"{folder}: {first} and {second} need folders of the same names.")
            return list(classes), read_folder(folder / first), read_folder(folder / second)
    pictures, labels, files = read_folder(folder)
    kept = np.arange(len(labels)) % 5 == 0
    training = (pictures[~kept], labels[~kept], files[~kept])
    validation = (pictures[kept], labels[kept], files[kept])
    return list(list_classes(folder)), training, validation


def read_folder(folder):
    """Return all pictures as bytes [n, height, width, 3], their labels [n], and their files [n]."""
    files = []
    labels = []
    skipped = set()
    for label, class_folder in enumerate(list_classes(folder).values()):
        for file in sorted(class_folder.rglob("[!.]*.*")):
            if file.suffix.lower() in [".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"]:
                files.append(file)
                labels.append(label)
            else:
                skipped.add(file.suffix)
        if label not in labels:
            sys.exit(f"There are no pictures in {class_folder}.")
    if skipped:
        print(f"Not used: {', '.join(sorted(skipped))}. Save such pictures as JPEG or PNG.")
    print(f"Reading {len(files)} pictures from {folder}")
    progress = tf.keras.utils.Progbar(len(files), unit_name="picture")
    pictures = np.empty((len(files), *IMAGE_SIZE, 3), np.uint8)
    with ThreadPoolExecutor() as pool:
        for row, picture in enumerate(pool.map(load_picture, files)):
            pictures[row] = picture.resize(IMAGE_SIZE[::-1], Image.Resampling.NEAREST)
            progress.add(1)
    return pictures, np.array(labels), np.array(files)


def load_picture(file):
    """Return a picture in RGB, upright, and on white if it is transparent."""
    try:
        picture = Image.open(file)
        picture.draft("RGB", (1200, 1200))  # decodes a huge JPEG smaller, not below 1,200 pixels
        ImageOps.exif_transpose(picture, in_place=True)
        if picture.mode.startswith("I"):  # 16 bits, 0 to 65,535
            picture = picture.convert("I").point(lambda value: value / 257).convert("L")
        if picture.has_transparency_data:
            paper = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(paper, picture.convert("RGBA"))
        return picture.convert("RGB")
    except Exception as error:  # Pillow raises many kinds
        raise OSError(f"{file} cannot be read as a picture ({error}). Lesson 10 finds all such "
                      "files in a folder.") from error


def list_classes(folder):
    """Return {class: its folder} for each folder in `folder`, in alphabetical order."""
    classes = {}
    for entry in folder.glob("*"):
        if entry.is_dir() and not entry.name.startswith((".", "__")):
            name = unicodedata.normalize("NFC", entry.name)  # "café" has two encodings
            classes[name] = entry
    if len(classes) < 2:
        sys.exit(f"{folder} needs a folder with pictures for each of two or more classes.")
    return dict(sorted(classes.items()))


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, picture, label in zip(axes.flat, pictures, labels):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)  # the map is for grey pictures only
        axis.set_title(classes[int(label)])
    figure.savefig(file)


def draw_mistakes(pictures, labels, probabilities, classes, file):
    """Draw the ten pictures that the network is most surely wrong about, and return their rows.

    pictures: [n, height, width], or with an axis for 1 or 3 channels. probabilities: [n, classes].
    """
    predicted = np.argmax(probabilities, axis=1)
    confidence = np.max(probabilities, axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong])][:10]
    figure, axes = plt.subplots(2, 5, figsize=(10, 6), layout="constrained")
    figure.suptitle(f"{len(wrong):,} of {len(labels):,} are misclassified. The surest of them:")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, row in zip(axes.flat, surest):
        axis.imshow(pictures[row], cmap="gray")  # the map is for grey pictures only
        axis.set_title(f"{classes[labels[row]]}, taken\nfor {classes[predicted[row]]}\n"
                       f"({confidence[row]:.1%})")
    figure.savefig(file)
    return surest


def draw_confusion_matrix(labels, predicted, classes, file):
    """Draw how many pictures of each class (a row) are taken for which (a column)."""
    matrix = tf.math.confusion_matrix(labels, predicted, len(classes)).numpy()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(7.5, 6.5), layout="constrained")
    figure.colorbar(axis.imshow(shares, cmap="Blues", vmin=0, vmax=1), label="share of the class")
    if len(classes) <= 30:  # more would not be legible
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, count, ha="center", va="center", color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=60)
        axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="predicted class", ylabel="true class")
    figure.savefig(file)


def download(url, sha256=None):
    """Return the folder with the content of a zip file. It is kept in ~/.keras/datasets."""
    try:
        folder = Path(tf.keras.utils.get_file(origin=url, file_hash=sha256, extract=True))
    except Exception as error:
        sys.exit(f"{error}\nTry again, or name your own copy of the pictures with --data-dir.")
    if not folder.exists():
        sys.exit(f"{folder}_archive is not complete. Delete it, and try again.")
    return folder


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40, help="at most (40): it stops early")
    parser.add_argument("--batch-size", type=int, default=100, help="features in each step (100)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--dropout", type=float, default=0.2, help="share of zeroed outputs (0.2)")
    parser.add_argument("--fine-tune", type=int, default=0, metavar="N", help="for N epochs (0)")
    parser.add_argument("--predict", nargs="+", metavar="FILE", help="only classify these pictures")
    parser.add_argument("--data-dir", type=Path, help="your own folder, as above")
    parser.add_argument("--weights", type=Path, help="your own copy, inception_v3_..._notop.h5")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_Dogs_Cats_Transfer_Learning"))
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.batch_size) < 1 or not 0 <= arguments.dropout < 1:
        parser.error("--epochs and --batch-size must be at least 1, --dropout from 0 to below 1")
    return arguments


if __name__ == "__main__":
    arguments = parse_arguments()
    try:
        if arguments.predict:
            predict(arguments.predict, arguments.output_dir)
        else:
            main(arguments)
    except (OSError, KeyboardInterrupt) as error:  # such as a file that is no picture
        sys.exit(str(error) or "Stopped.")
