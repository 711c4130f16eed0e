"""Measure a lesson's --fast against the course's way: in turns, on the same data, with the same seed and epochs.

  python tests/benchmark.py TF_Dogs_Cats.py                                  # three pairs, seeds 1, 2 and 3
  python tests/benchmark.py TF_Human_horse.py --pairs 1 --json speed.json -- --data-dir my_folder --epochs 5

What stands behind -- goes to the lesson. Prints per run the seconds of the whole training after data loading, seconds
an epoch, training pictures a second, the accuracy, and the share of this machine's rate of matrix products, in the
precision of the run, that the training reaches; then the ratio of each pair and its median. Not part of the tests.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf

ROOT = Path(__file__).parent.parent
SHARES = {  # of the pictures in metrics.json: for training, for validation after each epoch
    "TF_fashion_mnist.py": (60000 / 70000, 0), "TF_hand_writing_recognition.py": (60000 / 70000, 0),
    "TF_Human_horse.py": (1027 / 1283, 256 / 1283), "TF_Human_horse_Augmentation.py": (1027 / 1283, 256 / 1283),
    "TF_HappyVsSad_Face.py": (1, 0), "TF_Dogs_Cats.py": (2 / 3, 1 / 3),
    "TF_Dogs_Cats_Transfer_Learning.py": (2 / 3, 1 / 3), "TF_RockPaperScissors.py": (2520 / 2892, 372 / 2892),
    "TF_sign_language.py": (0.9 * 27455 / 34627, 0.1 * 27455 / 34627),
}
FEATURE_PASSES = 4  # VARIANTS of lesson 12


def matrix_rates() -> dict[str, float]:
    """Return multiply-adds a second of a product of two 2048 x 2048 matrices in each precision: the best of ten."""
    rates = {}
    for name, dtype in (("float32", tf.float32), ("mixed_bfloat16", tf.bfloat16)):
        matrix, seconds = tf.cast(tf.random.uniform((2048, 2048)), dtype), []
        for _ in range(10):
            start = time.perf_counter()
            tf.linalg.matmul(matrix, matrix).numpy()
            seconds.append(time.perf_counter() - start)
        rates[name] = 2048**3 / min(seconds)
    return rates


def count_multiply_adds(model_file: Path) -> tuple[int, int]:
    """Return the multiply-adds of one picture's way forward through a saved network: frozen layers, learning layers."""
    counts = [0, 0]
    for layer in tf.keras.models.load_model(model_file, compile=False).layers:
        if hasattr(layer, "kernel"):
            shape = layer.output.shape  # [batch, features] or, of a convolution, [batch, height, width, features]
            counts[layer.trainable] += math.prod(layer.kernel.shape) * math.prod(shape[1:-1])
    return tuple(counts)


def run(script: str, folder: Path, arguments: list[str]) -> dict:
    """Run a lesson, its output into `folder`; return its metrics.json, with the multiply-adds of the whole training."""
    subprocess.run([sys.executable, ROOT / script, *arguments, "--output-dir", folder], check=True,
                   stdout=subprocess.DEVNULL, env={**os.environ, "MPLBACKEND": "Agg"})
    metrics = json.loads((folder / "metrics.json").read_text())
    frozen, learning = count_multiply_adds(folder / "model.keras")
    training, validation = (share * metrics["pictures"] for share in SHARES[script])
    passes = metrics["epochs"] * (training + validation)  # forward through what is frozen
    if frozen and metrics["arguments"]["fast"]:
        passes = FEATURE_PASSES * training + validation
    metrics["multiply_adds"] = frozen * passes + learning * metrics["epochs"] * (3 * training + validation)
    metrics["pictures_per_second"] = metrics["epochs"] * training / metrics["seconds"]
    return metrics


def main() -> None:
    line, extra = sys.argv[1:], []
    if "--" in line:
        line, extra = line[:line.index("--")], line[line.index("--") + 1:]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="+", choices=SHARES, metavar="LESSON", help=", ".join(SHARES))
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="runs of each kind (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add what was measured to this file")
    parser.add_argument("--output-dir", type=Path, metavar="DIR", help="keep each run's output in a folder here")
    arguments = parser.parse_args(line)
    outputs = arguments.output_dir or Path(tempfile.mkdtemp(prefix="benchmark-"))

    rates = matrix_rates()
    print("Matrix products: " + ", ".join(f"{name} {2 * rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items()))
    for script in arguments.lessons:
        print(f"\n{script}\nseed  way      epochs  seconds  s/epoch  pictures/s  accuracy  share of matrix rate")
        pairs = []
        for seed in range(1, arguments.pairs + 1):
            ways = [("course", []), ("fast", ["--fast"])]
            pair = {}
            for way, flag in ways if seed % 2 else reversed(ways):  # who comes first changes from pair to pair
                pair[way] = found = run(script, outputs / f"{Path(script).stem}_{way}_{seed}",
                                         [*extra, *flag, "--seed", str(seed)])
                found["share_of_matrix_rate"] = found["multiply_adds"] / found["seconds"] / rates[found["precision"]]
                best = next(found[name] for name in ("best_validation_accuracy", "test_accuracy", "accuracy")
                            if name in found)
                print(f"{seed:4}  {way:7}  {found['epochs']:6}  {found['seconds']:7.1f}  "
                      f"{found['seconds_per_epoch']:7.2f}  {found['pictures_per_second']:10.0f}  {best:8.4f}  "
                      f"{found['share_of_matrix_rate']:.0%}", flush=True)
            pairs.append(pair)
        ratios = [pair["course"]["seconds"] / pair["fast"]["seconds"] for pair in pairs]
        by_epoch = [pair["course"]["seconds_per_epoch"] / pair["fast"]["seconds_per_epoch"] for pair in pairs]
        print("Times as fast: " + ", ".join(f"{ratio:.2f}" for ratio in ratios) +
              f"; median {statistics.median(ratios):.2f}, by the epoch {statistics.median(by_epoch):.2f}", flush=True)
        if arguments.json:
            known = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
            known[script] = {"matrix_rates": rates, "median_ratio": statistics.median(ratios),
                             "median_ratio_per_epoch": statistics.median(by_epoch), "pairs": pairs}
            arguments.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
