"""Train a lesson by default and with --plain, one after the other, and print how much faster the default is.

  python tests/benchmark.py TF_Dogs_Cats.py
  python tests/benchmark.py TF_Human_horse.py -- --data-dir my_folder --epochs 3 --seed 2

What stands after -- goes to the lesson. For both ways it prints the seconds of the whole training, the accuracy, and
the share of this machine's rate of float32 matrix products that the training reaches; then the ratio.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="1")
import tensorflow as tf

ROOT = Path(__file__).parent.parent
ROWS = {"TF_fashion_mnist.py": 60_000, "TF_hand_writing_recognition.py": 60_000, "TF_sign_language.py": 24_710}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}  # as a learner's


def matrix_rate() -> float:
    """Return the multiply-adds a second of a product of two 2048 x 2048 float32 matrices: the best of ten."""
    matrix, seconds = tf.random.uniform((2048, 2048)), []
    for _ in range(10):
        start = time.perf_counter()
        tf.linalg.matmul(matrix, matrix).numpy()
        seconds.append(time.perf_counter() - start)
    return 2048**3 / min(seconds)


def multiply_adds(model) -> tuple[int, int]:
    """Return the multiply-adds of one picture's way forward through a network: its frozen and its learning layers."""
    frozen = learning = 0
    for layer in model.layers:
        if hasattr(layer, "layers"):
            inner = multiply_adds(layer)
            frozen, learning = frozen + inner[0], learning + inner[1]
        elif hasattr(layer, "kernel"):
            count = math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
            frozen, learning = (frozen, learning + count) if layer.trainable else (frozen + count, learning)
    return frozen, learning


def train(script: str, arguments: list[str]) -> tuple[float, float, float]:
    """Run a lesson; return the seconds of its training, its accuracy, and its multiply-adds a second."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run([sys.executable, ROOT / script, *arguments, "--output-dir", folder], check=True,
                                 stdout=subprocess.PIPE, text=True, env={**ENVIRONMENT, "MPLBACKEND": "agg"})
        metrics = json.loads(Path(folder, "metrics.json").read_text())
        epochs = len(Path(folder, "history.csv").read_text().splitlines()) - 1
        frozen, learning = multiply_adds(tf.keras.models.load_model(Path(folder, "model.keras"), compile=False))
    found = [int(number) for number in re.findall(r"Found (\d+) images", process.stdout)] or [ROWS[script]]
    training, validation = found[0], sum(found[1:])
    passes = 4 * training + validation if "--plain" not in arguments else epochs * (training + validation)
    total = frozen * passes + learning * epochs * (3 * training + validation)  # backward costs twice as much as forward
    accuracy = metrics.get("test_accuracy", metrics.get("best_validation_accuracy", metrics.get("training_accuracy")))
    return metrics["seconds"], accuracy, total / metrics["seconds"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", help="the file name of a script with --plain")
    parser.add_argument("arguments", nargs="*", help="for the lesson, after --")
    line, rate, runs = parser.parse_args(), matrix_rate(), []
    for way in ([], ["--plain"]):
        runs.append(train(line.lesson, [*line.arguments, *way]))
        print(f"{' '.join(way) or 'default':8} {runs[-1][0]:7.1f} s, accuracy {runs[-1][1]:.4f}, "
              f"{runs[-1][2] / rate:.0%} of the matrix rate", flush=True)
    print(f"The default is {runs[1][0] / runs[0][0]:.2f} times as fast.")
