"""Record runs in img/results.json, and write what they measured into the README.

  python tests/make_results.py                                            # the README anew, from what is recorded
  python tests/make_results.py outputs/TF_Dogs_Cats --data "complete"     # record this run before; again: replaces it
  python tests/make_results.py --speed speed.json                         # record what tests/benchmark.py has kept

No figure of a run is typed into the README: each stands between two markers, `<!-- results: NAME -->` and
`<!-- end -->`, and what stands there is written by the function of that NAME below. A test compares.
"""

import argparse
import csv
import json
import re
import statistics
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS, README = ROOT / "img" / "results.json", ROOT / "README.md"
IGNORED = {"seed", "data_dir", "output_dir", "predict", "weights", "compare", "image", "model", "history"}


DEFAULTS = {"fast": False, "augment": False, "course_scale": False, "dropout": 0.2}


def settings(run: dict) -> dict:
    """What tells a run from another run of the same lesson, beside its seed: flags that change the training."""
    return {"fast": False} | {name: value for name, value in run["arguments"].items() if name not in IGNORED}


def record(folder: Path, data: str, runs: list[dict]) -> None:
    """Add the run in `folder` to `runs`: its metrics.json and history.csv; it replaces an earlier one of its kind."""
    run = json.loads((folder / "metrics.json").read_text()) | {"data": data}
    for name in IGNORED - {"seed"}:
        run["arguments"].pop(name, None)  # paths of one machine
    if (folder / "history.csv").exists() and run["lesson"] not in ("TF_HelloWorld", "TF_Saving_Loading_Model"):
        with open(folder / "history.csv", newline="") as lines:
            rows = list(csv.DictReader(lines))
        run["history"] = {name: [round(float(row[name]), 4) for row in rows] for name in rows[0]}
    same = [old for old in runs if (old["lesson"], old.get("seed"), settings(old)) ==
            (run["lesson"], run.get("seed"), settings(run))]
    for old in same:
        runs.remove(old)
    runs.append(run)
    runs.sort(key=lambda run: (run["lesson"], json.dumps(settings(run), sort_keys=True), run.get("seed", 0)))


class Results:
    """What img/results.json holds, and the words for it."""

    def __init__(self, content: dict):
        self.content, self.runs = content, content["runs"]

    def find(self, lesson: str, **chosen) -> list[dict]:
        """The runs of a lesson, ordered by seed, whose arguments are as chosen; what is not named is at its default."""
        found = [run for run in self.runs if run["lesson"] == lesson and
                 all(run["arguments"].get(name, DEFAULTS.get(name)) == value
                     for name, value in (DEFAULTS | chosen).items())]
        if lesson == "TF_Dogs_Cats_Transfer_Learning" and "epochs" not in chosen:
            found = [run for run in found if run["arguments"]["epochs"] == 20]
        assert found, (lesson, chosen)
        return sorted(found, key=lambda run: run.get("seed", 0))

    def values(self, lesson: str, name: str, **chosen) -> list[float]:
        return [run[name] for run in self.find(lesson, **chosen)]

    def accuracy(self, lesson: str, name: str = "best_validation_accuracy", **chosen) -> str:
        return spread(self.values(lesson, name, **chosen))

    def minutes(self, lesson: str, **chosen) -> str:
        return duration(self.find(lesson, **chosen)[0]["seconds"])

    def last_five(self, lesson: str, name: str, **chosen) -> list[float]:
        return [statistics.mean(run["history"][name][-5:]) if "history" in run else run["last_five_epochs"][name]
                for run in self.find(lesson, **chosen)]


def number(value: float) -> str:
    """A share as the notes write it: .876, and 1.000."""
    return f"{value:.3f}".removeprefix("0")


def spread(values: list[float]) -> str:
    """One value alone; of several the mean, the smallest and the largest."""
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.mean(values))} ({number(min(values))} to {number(max(values))}, {len(values)} seeds)"


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds >= 600 else f"{seconds / 60:.1f} min"


def times(results: Results, script: str) -> str:
    """How many times as fast --fast was in the runs that took turns; with their epochs, where they were shortened."""
    speed, usual = results.content["speed"][script], results.find(script)[0]["arguments"]["epochs"]
    epochs = max(pair["course"]["epochs"] for pair in speed["pairs"])
    shortened = f" in turns of {epochs} epochs" if epochs < usual and script in SHORTENED else ""
    return f"{speed['median_ratio']:.1f} times as fast{shortened}"


SHORTENED = ("TF_RockPaperScissors",)


TITLES = {  # script: (lesson, what is measured, its name in metrics.json, what the course's notebook had)
    "TF_fashion_mnist": ("2. Clothes", "test", "test_accuracy", ".909"),
    "TF_hand_writing_recognition": ("4. Digits", "test", "test_accuracy", ".987"),
    "TF_Human_horse": ("5. Horses or humans ¹", "best validation", "best_validation_accuracy", ".86, at 150x150"),
    "TF_HappyVsSad_Face": ("6. Happy or sad", "training", "accuracy", "above .999"),
    "TF_Dogs_Cats": ("8. Dogs and cats", "best validation", "best_validation_accuracy", ".70 to .75"),
    "TF_Human_horse_Augmentation": ("11. Horses, augmented ¹", "best validation", "best_validation_accuracy", "-"),
    "TF_Dogs_Cats_Transfer_Learning": ("12. Transfer learning ²", "best validation", "best_validation_accuracy",
                                       ".94 to .967"),
    "TF_RockPaperScissors": ("13. Rock, paper, scissors ¹", "best validation", "best_validation_accuracy", ".954"),
    "TF_sign_language": ("14. Sign language ³", "test", "test_accuracy", "-"),
}


def table(results: Results) -> str:
    """The accuracy and time of every lesson that has two ways to train, and of lesson 15."""
    heads = ["lesson", "accuracy", "the course's way", "`--fast`", "in the course", "epochs", "s an epoch", "`--fast`",
             "ratio"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for script, (title, what, name, course) in TITLES.items():
        epochs = sorted(set(results.values(script, "epochs")))
        epochs = " to ".join(map(str, epochs[::max(len(epochs) - 1, 1)]))
        lines.append("| " + " | ".join([
            title, what, results.accuracy(script, name), results.accuracy(script, name, fast=True), course,
            epochs, *(f"{value:.2g}" for value in pace(results, script)),
            f"{results.content['speed'][script]['median_ratio']:.1f}"]) + " |")
    lines.append("| 15. Evaluation | test | " + " | ".join([
        results.accuracy("TF_Model_Evaluation", "test_accuracy"), "-", "-",
        str(results.find("TF_Model_Evaluation")[0]["epochs"]),
        f"{results.find('TF_Model_Evaluation')[0]['seconds_per_epoch']:.2g}", "-", "-"])
        + " |")
    return "\n".join(lines) + f"\n\nMachine: {results.content['machine']}."


def pace(results: Results, script: str) -> list[float]:
    """Seconds an epoch of the first pair that took turns: the course's way, --fast."""
    pair = results.content["speed"][script]["pairs"][0]
    return [pair[way]["seconds"] / pair[way]["epochs"] for way in ("course", "fast")]


def both_ways(results: Results, script: str, what: str, name: str = "best_validation_accuracy") -> str:
    return (f"{what} {results.accuracy(script, name)} in {results.minutes(script)}; with `--fast` "
            f"{results.accuracy(script, name, fast=True)} in {results.minutes(script, fast=True)} "
            f"({times(results, script)}).")


def hello(results: Results) -> str:
    run = results.find("TF_HelloWorld")[0]
    return (f"For x = 10 it says {run['prediction']:.3f}, where the rule says {run['truth']:.0f}: weight "
            f"{run['weight']:.4f} instead of 2, bias {run['bias']:.4f} instead of -1, after {run['epochs']} steps in "
            f"{duration(run['seconds'])}.")


def fashion(results: Results) -> str:
    dense = results.accuracy("TF_fashion_mnist", "dense_test_accuracy")
    return (f"Test accuracy without convolutions {dense}. " +
            both_ways(results, "TF_fashion_mnist", "With them", "test_accuracy"))


def convolutions(results: Results) -> str:
    return f"Nine filters in {duration(results.find('Convolutions_basic')[0]['seconds'])}."


def digits(results: Results) -> str:
    runs = results.find("TF_hand_writing_recognition")
    dense = sorted({run["dense_epochs"] for run in runs})
    convolutional = sorted({run["epochs"] for run in runs})
    return (f"The dense network stops after {' or '.join(map(str, dense))} epochs, test accuracy "
            f"{results.accuracy('TF_hand_writing_recognition', 'dense_test_accuracy')}; the convolutional one after "
            f"{' or '.join(map(str, convolutional))}. " +
            both_ways(results, "TF_hand_writing_recognition", "Its test accuracy:", "test_accuracy"))


def horses(results: Results) -> str:
    training, validation = (number(statistics.mean(results.last_five("TF_Human_horse", name)))
                            for name in ("accuracy", "val_accuracy"))
    return (both_ways(results, "TF_Human_horse", "Best validation accuracy") +
            f" Over the last five epochs the course's way has {training} in training and {validation} in validation.")


def happy(results: Results) -> str:
    epochs = sorted({run["epochs"] for run in results.find("TF_HappyVsSad_Face")})
    return (f"The callback stops it after {' or '.join(map(str, epochs))} epochs, "
            f"{results.minutes('TF_HappyVsSad_Face')}; with `--fast` "
            f"{results.minutes('TF_HappyVsSad_Face', fast=True)}.")


def saving(results: Results) -> str:
    run = results.find("TF_Saving_Loading_Model")[0]
    largest = max(run["differences"].values())
    return f"{len(run['differences'])} ways of saving, and a difference of {largest:g} after each of them."


def dogs(results: Results) -> str:
    run = results.find("TF_Dogs_Cats")[0]
    history, lowest = run["history"], min(run["history"]["val_loss"])
    best = history["val_accuracy"].index(max(history["val_accuracy"])) + 1
    augmented = results.find("TF_Dogs_Cats", augment=True)
    gaps = [item["accuracy"] - item["validation_accuracy"] for item in augmented]
    return (f"{both_ways(results, 'TF_Dogs_Cats', 'Best validation accuracy')} In the run of the figure it is best in "
            f"epoch {best} ({number(max(history['val_accuracy']))}); at the end training is at "
            f"{number(run['accuracy'])}, validation at {number(run['validation_accuracy'])}, and the validation loss "
            f"has risen from {lowest:.2f} to {history['val_loss'][-1]:.2f}. With `--augment`, after "
            f"{augmented[0]['epochs']} epochs: best {results.accuracy('TF_Dogs_Cats', augment=True)} in "
            f"{results.minutes('TF_Dogs_Cats', augment=True)}, with `--fast` "
            f"{results.accuracy('TF_Dogs_Cats', augment=True, fast=True)} in "
            f"{results.minutes('TF_Dogs_Cats', augment=True, fast=True)}; at the end the training accuracy minus "
            f"the validation accuracy is {statistics.mean(gaps):+.3f} ({min(gaps):+.3f} to {max(gaps):+.3f}).")


def inside(results: Results) -> str:
    run = results.find("TF_Dogs_Cats_Visualization")[0]
    shares, dead = list(run["share_of_zeros"].items()), run["dead_filters"]
    return (f"In the figure {', '.join(f'{share:.0%}' for _, share in shares)} of the answers are zero, layer by "
            f"layer; {', '.join(str(dead[name]) for name, _ in shares)} filters are dead for this picture.")


def splitting(results: Results) -> str:
    run = results.find("TF_DataProcessing_for_CNN_DogCatDataset")[0]
    return (f"On {run['pictures']} of the photographs it took {duration(run['seconds'])}, named "
            f"{len(run['left_out'])} unusable files, and laid out "
            f"{', '.join(f'{count} {name}' for name, count in run['counts'].items())}.")


def augmented_horses(results: Results) -> str:
    lines = ["| | best validation accuracy | training, last 5 epochs | validation, last 5 epochs | gap |",
             "|---|---|---|---|---|"]
    for label, script in (("lesson 5", "TF_Human_horse"), ("augmented", "TF_Human_horse_Augmentation")):
        training, validation = (results.last_five(script, name) for name in ("accuracy", "val_accuracy"))
        gap = number(statistics.mean(training) - statistics.mean(validation))
        lines.append(f"| {label} | {results.accuracy(script)} | {spread(training)} | {spread(validation)} | {gap} |")
    return (both_ways(results, "TF_Human_horse_Augmentation", "Best validation accuracy") + "\n\n" + "\n".join(lines))


def transfer(results: Results) -> str:
    script = "TF_Dogs_Cats_Transfer_Learning"
    first = number(results.find(script)[0]["history"]["val_accuracy"][0])
    lesson_8 = results.accuracy("TF_Dogs_Cats")
    return (f"{both_ways(results, script, 'Best validation accuracy')} After the first epoch it is {first}; lesson 8, "
            f"which starts from nothing, has {lesson_8} at its best.")


def dropout(results: Results) -> str:
    script = "TF_Dogs_Cats_Transfer_Learning"
    with_it = results.find(script)[0]["history"]["loss"][:5]
    without = results.find(script, dropout=0.0, epochs=5)[0]["history"]["loss"]
    return (f"Training loss of the first five epochs with dropout: {', '.join(map(number, with_it))}; without: "
            f"{', '.join(map(number, without))}.")


def course_scale(results: Results) -> str:
    script = "TF_Dogs_Cats_Transfer_Learning"
    ours = results.find(script)[0]["history"]["val_accuracy"][:5]
    course = results.find(script, course_scale=True, epochs=5)[0]["history"]["val_accuracy"]
    best, mean = ([number(measure(values)) for values in (course, ours)] for measure in (max, statistics.mean))
    return (f"Over five epochs, one run each, the best validation accuracy is {best[0]} with it (mean {mean[0]}) and "
            f"{best[1]} without (mean {mean[1]}).")


def hands(results: Results) -> str:
    run = results.find("TF_RockPaperScissors")[0]
    matrix = run["confusion_matrix"]
    wrong = sum(map(sum, matrix)) - sum(matrix[index][index] for index in range(3))
    return (f"{both_ways(results, 'TF_RockPaperScissors', 'Best accuracy on the test hands')} In the run of the figure "
            f"{wrong} of {sum(map(sum, matrix))} hands are wrong at the best epoch, and the accuracy after the last "
            f"one is {number(run['validation_accuracy'])}.")


def signs(results: Results) -> str:
    runs = results.find("TF_sign_language")
    return (f"{both_ways(results, 'TF_sign_language', 'Test accuracy', 'test_accuracy')} With the scaling forgotten "
            f"in the evaluation: {results.accuracy('TF_sign_language', 'unscaled_test_accuracy')}. "
            f"Data: {runs[0]['data']}.")


def evaluation(results: Results) -> str:
    runs = results.find("TF_Model_Evaluation")
    regularised = sum(run["better"] == "regularised" for run in runs)
    return (f"Test accuracy {results.accuracy('TF_Model_Evaluation', 'test_accuracy')} in "
            f"{results.minutes('TF_Model_Evaluation')} for the better of the two: the regularised one in {regularised} "
            f"of {len(runs)} runs.")


def rates(results: Results) -> str:
    words = []
    for script, (title, *_) in TITLES.items():
        course, fast = (statistics.median(pair[way]["share_of_matrix_rate"]
                                          for pair in results.content["speed"][script]["pairs"])
                        for way in ("course", "fast"))
        words.append(f"lesson {title.split('.')[0]} {fast:.0%} (the course's way {course:.0%})")
    return (f"With `--fast`, training reaches this share of the rate of matrix products in its precision: "
            f"{', '.join(words)}.")


def memory(results: Results) -> str:
    lines = ["| lesson | to download | memory at most | with `--fast` | output |", "|---|---|---|---|---|"]
    for script, needs in results.content["needs"].items():
        memory, fast = (f"{needs[name] / 1e9:.1f} GB" if name in needs else "-" for name in ("memory", "fast_memory"))
        output = f"{needs['output'] / 1e6:.1f} MB" if "output" in needs else "links"
        lines.append(f"| {script}.py | {needs['download']} | {memory} | {fast} | {output} |")
    return "\n".join(lines)


BLOCKS = {function.__name__: function for function in (
    table, hello, fashion, convolutions, digits, horses, happy, saving, dogs, inside, splitting, augmented_horses,
    transfer, dropout, course_scale, hands, signs, evaluation, rates, memory)}


def render(text: str, results: Results) -> str:
    """Return the README's `text` with every block between markers written anew."""
    def write(match: re.Match) -> str:
        return f"<!-- results: {match[1]} -->\n{BLOCKS[match[1]](results)}\n<!-- end -->"

    return re.sub(r"<!-- results: (\w+) -->\n.*?<!-- end -->", write, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER", help="output folders of runs to record")
    parser.add_argument("--data", default="complete", help="what the runs had for data (%(default)s)")
    parser.add_argument("--speed", type=Path, metavar="FILE", help="what tests/benchmark.py --json has written")
    arguments = parser.parse_args()
    content = json.loads(RESULTS.read_text())
    for folder in arguments.folders:
        record(folder, arguments.data, content["runs"])
    if arguments.speed:
        for script, measured in json.loads(arguments.speed.read_text()).items():
            content.setdefault("speed", {})[Path(script).stem] = {
                "median_ratio": round(measured["median_ratio"], 3), "matrix_rates": measured["matrix_rates"],
                "pairs": [{way: {name: run[name] for name in ("seed", "epochs", "seconds", "pictures_per_second",
                                                              "share_of_matrix_rate")} for way, run in pair.items()}
                          for pair in measured["pairs"]]}
    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    README.write_text(render(README.read_text(encoding="utf-8"), Results(content)), encoding="utf-8")


if __name__ == "__main__":
    main()
