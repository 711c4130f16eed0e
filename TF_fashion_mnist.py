"""Lesson 2: Fashion-MNIST - ten kinds of clothes, first without and then with convolutions.

Nobody could write down the rule for "pullover", but a network can find it in 60,000 examples.

You learn to build a network of two layers that tells ten classes apart; to write a callback, your
own code that Keras calls after each epoch, to stop the training at a threshold; to put convolutions
before these layers, and to gain three percentage points; and to look at what they find.

  python -m pip install "tensorflow==2.21.*" matplotlib
  python TF_fashion_mnist.py

Then set STOP_AT to 0.85: after which epoch does each network stop?

Expect the dense network to be right about 87 of 100 new pictures, and the convolutional one about
90, after one to four minutes on a two-core CPU. The first run downloads 31 MB. Fashion-MNIST:
Zalando Research, MIT licence.

In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.
"""
# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["tensorflow==2.21.*", "matplotlib"]
# ///

import argparse
import gzip
import os
import socket
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"  # Keras can also compute with JAX or PyTorch
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # hides most of TensorFlow's log
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # use fast convolutions

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
           "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]  # labels 0 to 9
STOP_AT = 0.95  # the training accuracy above which the callback stops; try 0.85
DRAWN_CLASS = "Ankle boot"  # whose pictures the last figure shows; try "Bag"
RESCALE = 1 / 255  # turns bytes, 0 to 255, into 0 to 1: networks learn badly from large numbers


class StopAtAccuracy(tf.keras.callbacks.Callback):
    """Stops the training after the first epoch whose training accuracy is above STOP_AT."""

    def on_epoch_end(self, epoch, logs=None):
        # Keras calls this after each epoch. `logs` has the numbers that the progress bar shows:
        # the accuracy is a mean over the steps of the epoch, in which the network has improved.
        if logs["accuracy"] > STOP_AT:
            print(f"\nThe accuracy of epoch {epoch + 1} is above {STOP_AT:.1%}: stopping.")
            self.model.stop_training = True


def build_dense_model():
    """Return a network of two layers: pictures [batch, 28, 28, 1] in, ten probabilities out."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Flatten(),  # 784 pixels in one row, as a dense layer needs them
        layers.Dense(128, activation="relu"),  # 128 neurons, each of which weighs all the pixels
        layers.Dense(10, activation="softmax", dtype="float32"),  # 10 probabilities, in 32 bits
    ])


def build_convolutional_model():
    """Return the same network behind two convolutions, which find patterns for it to weigh."""
    return tf.keras.Sequential([
        layers.Input((28, 28, 1)),  # height, width, and one channel: grey
        layers.Conv2D(64, 3, activation="relu"),  # 26x26x64: 64 filters of 3x3 pixels find edges
        layers.MaxPooling2D(2),  # 13x13x64: keeps the largest of each 2x2 block
        layers.Conv2D(64, 3, activation="relu"),  # 11x11x64: combinations of edges, such as a heel
        layers.MaxPooling2D(2),  # 5x5x64
        layers.Flatten(),  # 1,600 numbers in one row
        layers.Dense(128, activation="relu"),  # weighs what was found where
        layers.Dense(10, activation="softmax", dtype="float32"),  # 10 probabilities, in 32 bits
    ])


def main(arguments):
    output = arguments.output_dir
    output.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(arguments.seed)
    socket.setdefaulttimeout(60)  # seconds without an answer end a download
    choose_precision()  # 16-bit numbers where the machine is made for them, else 32

    # 1. Load the pictures, and look at some: x has the pixels, y the labels. The test pictures are
    #    for the end: the networks never learn from them. All pixels are scaled alike, and get a
    #    fourth axis, for the channels: [60000, 28, 28] becomes [60000, 28, 28, 1].
    training, test = load_mnist(tf.keras.datasets.fashion_mnist, arguments.data_dir)
    x, y = training
    x_test, y_test = test
    x = x[..., np.newaxis] * np.float32(RESCALE)
    x_test = x_test[..., np.newaxis] * np.float32(RESCALE)
    print(f"Training pictures {x.shape} with labels {y.shape}, test pictures {x_test.shape}.")
    draw_batch(x[:10], y[:10], CLASSES, output / "pictures.png")

    # 2. Build a network of two dense layers, and say how it learns.
    dense = build_dense_model()
    dense.compile(
        loss="sparse_categorical_crossentropy",  # large if the true class gets a low probability
        optimizer="adam",  # moves each weight in the direction in which the loss falls
        metrics=["accuracy"],  # the share of pictures whose most probable class is the true one
    )
    dense.summary()

    # 3. Train it, a batch of pictures at a time. A callback stops it as soon as it is good enough:
    #    nobody knows beforehand how many epochs that takes.
    stop_at_accuracy = StopAtAccuracy()
    stop_on_nan = tf.keras.callbacks.TerminateOnNaN(raise_error=True)  # nan: not a number
    dense_history = dense.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
                              callbacks=[stop_at_accuracy, stop_on_nan]).history

    # 4. Train the same network behind two convolutions, in the same way: only then does the
    #    comparison show what the convolutions add.
    convolutional = build_convolutional_model()
    convolutional.compile(loss="sparse_categorical_crossentropy", optimizer="adam",
                          metrics=["accuracy"])
    convolutional.summary()
    save_curves = tf.keras.callbacks.CSVLogger(output / "history.csv")
    history = convolutional.fit(x, y, batch_size=arguments.batch_size, epochs=arguments.epochs,
                                callbacks=[stop_at_accuracy, save_curves, stop_on_nan]).history
    convolutional.save(output / "model.keras")

    # 5. Compare both on the test pictures, and look at what the convolutions have found.
    dense_scores = dense.evaluate(x_test, y_test, verbose=0, return_dict=True)
    scores = convolutional.evaluate(x_test, y_test, verbose=0, return_dict=True)
    print(f"dense test accuracy: {dense_scores['accuracy']:.4f}")
    print(f"test accuracy: {scores['accuracy']:.4f}")
    draw_curves({"dense": dense_history, "convolutional": history}, output / "curves.png")
    pictures = x_test[y_test == CLASSES.index(DRAWN_CLASS)]
    draw_layers(convolutional, pictures[:3], output / "layers.png")
    print(f"The results are in {output}.")
    plt.show()


def draw_layers(model, pictures, file):
    """Draw three pictures [3, 28, 28, 1], and what a filter of each convolution makes of them.

    It is the filter whose output varies most; the pooling behind it shows the same one.
    """
    titles = ["picture", "first convolution", "its pooling", "second convolution", "its pooling"]
    figure, axes = plt.subplots(3, 5, figsize=(10, 6.5), layout="constrained")
    maps = pictures
    best = 0  # a picture has only one channel
    for number, title in enumerate(titles):
        if number > 0:
            layer = model.layers[number - 1]  # the Input is no layer in this list
            maps = np.float32(layer(maps))  # what leaves a layer goes into the next one
        if "convolution" in title:
            best = np.argmax(maps.std(axis=(0, 1, 2)))
        axes[0, number].set_title(f"{title}\n{maps.shape[1]}x{maps.shape[2]}")
        for row in range(3):
            axes[row, number].imshow(maps[row, ..., best], cmap="gray")
            axes[row, number].axis("off")
    figure.savefig(file)


# The lesson ends here. What follows are tools, the same in every lesson that needs them.


def load_mnist(dataset, data_dir):
    """Return pictures [n, 28, 28] (bytes) and labels [n], for training and for the test.

    They come from the four idx .gz files in `data_dir`, or else from Keras: `dataset` is a module
    such as tf.keras.datasets.mnist, which downloads its pictures on the first run.
    """
    try:
        if data_dir is None:
            return dataset.load_data()
        parts = []
        for name in ["train", "t10k"]:
            pictures = gzip.decompress((data_dir / f"{name}-images-idx3-ubyte.gz").read_bytes())
            labels = gzip.decompress((data_dir / f"{name}-labels-idx1-ubyte.gz").read_bytes())
            pictures = np.frombuffer(pictures, np.uint8, offset=16)  # behind a header of 16 bytes
            labels = np.frombuffer(labels, np.uint8, offset=8)
            parts.append((pictures.reshape(-1, 28, 28), labels))
        return parts
    except Exception as error:
        sys.exit(f"The pictures cannot be loaded ({error}). Delete what is incomplete in "
                 "~/.keras/datasets and try again, or name a folder with the four idx .gz files "
                 "with --data-dir.")


def draw_batch(pictures, labels, classes, file):
    """Draw ten pictures, 0 to 1, as the network gets them, with their classes."""
    figure, axes = plt.subplots(2, 5, figsize=(10, 4.5), layout="constrained")
    plt.setp(axes, frame_on=False, xticks=[], yticks=[])
    for axis, picture, label in zip(axes.flat, pictures, labels):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1)  # the map is for grey pictures only
        axis.set_title(classes[int(label)])
    figure.savefig(file)


def draw_curves(histories, file, monitor="val_accuracy", find_best=np.argmax):
    """Draw accuracy and loss by epoch, for each {name: history}: training dashed.

    A star marks the saved epoch, where `find_best` finds the best value of `monitor`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    for axis, metric in zip(axes, ["accuracy", "loss"]):
        for name, history in histories.items():
            epochs = range(1, len(history["loss"]) + 1)
            [line] = axis.plot(epochs, history[metric], ".--", label=f"{name}: training")
            if f"val_{metric}" in history:
                best = find_best(history[monitor])
                axis.plot(epochs, history[f"val_{metric}"], "*-", markevery=[best], markersize=15,
                          color=line.get_color(), label=f"{name}: validation")
        axis.set(title=metric.capitalize(), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(handles=axes[1].lines, loc="outside lower center", ncols=2)
    figure.savefig(file)


def choose_precision():
    """Let the layers compute in 16 bits (bfloat16) where the GPU, or the CPU, is made for it."""
    cpu = Path("/proc/cpuinfo")  # on Linux
    fast = cpu.exists() and "bf16" in cpu.read_text()
    for gpu in tf.config.list_physical_devices("GPU"):
        details = tf.config.experimental.get_device_details(gpu)
        fast = details.get("compute_capability", (0, 0)) >= (8, 0)
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16" if fast else "float32")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="passes over the pictures (5)")
    parser.add_argument("--batch-size", type=int, default=128, help="pictures in each step (128)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (1)")
    parser.add_argument("--data-dir", type=Path, help="folder with the four idx .gz files")
    parser.add_argument("--output-dir", type=Path, help="folder for the results (%(default)s)",
                        default=Path("outputs", "TF_fashion_mnist"))
    arguments = parser.parse_args()
    if min(arguments.epochs, arguments.batch_size) < 1:
        parser.error("--epochs and --batch-size must be at least 1")
    return arguments


if __name__ == "__main__":
    try:
        main(parse_arguments())
    except (OSError, KeyboardInterrupt) as error:  # such as a full disk
        sys.exit(str(error) or "Stopped.")
