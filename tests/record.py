"""Keep the recorded runs in tests/results.csv, and write what README.md says of them between its markers.

  python tests/record.py add TF_Dogs_Cats.py outputs/TF_Dogs_Cats       # add a run; without arguments: write anew
  python tests/record.py add TF_Dogs_Cats.py FOLDER --pair 1 --short    # one of two in turns, only for their ratio
"""

import argparse
import csv
import json
import re
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parent.parent
COLUMNS = ["script", "way", "seed", "epochs", "kind", "value", "seconds", "pair", "machine", "data"]
KINDS = ("test_accuracy", "best_validation_accuracy", "training_accuracy", "prediction", "largest_difference")
LESSONS = {  # script: title, megabytes to download, and what the course's own notebooks printed
    "TF_HelloWorld.py": ("1 Hello, world", 0, "18.98"), "TF_fashion_mnist.py": ("2 Clothes", 31, ".909"),
    "TF_hand_writing_recognition.py": ("4 Digits", 11, ".987"),
    "TF_Human_horse.py": ("5 Horses or humans ¹", 161, ".86, at 150x150"),
    "TF_HappyVsSad_Face.py": ("6 Happy or sad", 3, "above .999"),
    "TF_Saving_Loading_Model.py": ("7 Saving and loading", 0, "-"),
    "TF_Dogs_Cats.py": ("8 Dogs and cats", 69, ".70 to .75"),
    "TF_Human_horse_Augmentation.py": ("11 Horses, augmented ¹", 161, "-"),
    "TF_Dogs_Cats_Transfer_Learning.py": ("12 Transfer learning ²", 157, ".94 to .967"),
    "TF_RockPaperScissors.py": ("13 Rock, paper, scissors ¹", 230, ".954"),
    "TF_sign_language.py": ("14 Sign language ³", 63, "-"), "TF_Model_Evaluation.py": ("15 Evaluation", 31, "-"),
}


def spread(values: list[float]) -> str:
    """Return the mean of values, with the smallest and the largest where there are several."""
    number = [f"{value:.3f}".removeprefix("0") for value in (mean(values), min(values), max(values))]
    return number[0] + (f" ({number[1]} to {number[2]}, {len(values)} seeds)" if len(values) > 1 else "")


def span(rows: list[dict]) -> str:
    return " to ".join(dict.fromkeys(str(limit(int(row["epochs"]) for row in rows)) for limit in (min, max)))


def select(rows, script, way, kinds=KINDS) -> list[dict]:
    return [row for row in rows if row["script"] == script and row["way"] == way and row["kind"] in kinds]


def pairs(rows: list[dict], script: str) -> tuple[str, str]:
    """Return seconds an epoch by default, and the ratio to --plain, of the pairs that ran in turns."""
    found = {}
    for row in rows:
        if row["script"] == script and row["pair"]:
            found.setdefault(row["pair"], {})[row["way"]] = float(row["seconds"]) / int(row["epochs"])
    whole = [pair for pair in found.values() if len(pair) == 2]
    return (f"{mean(pair['default'] for pair in whole):.1f}",
            f"{mean(pair['plain'] / pair['default'] for pair in whole):.1f}") if whole else ("-", "-")


def describe(rows: list[dict], script: str) -> str:
    """Return the Expect line of a lesson: all of one pattern."""
    sentences = []
    for way, words in (("default", ""), ("augment", "With `--augment`: "), ("plain", "With `--plain`: ")):
        if found := select(rows, script, way):
            kind, values = found[0]["kind"].replace("_", " "), [float(row["value"]) for row in found]
            sentences.append(f"{words}{kind} {spread(values)} in {span(found)} epochs.")
    seconds, ratio = pairs(rows, script)
    if ratio != "-":
        sentences.append(f"An epoch takes {seconds} s, and {ratio} times as long with `--plain`.")
    return "*Expect:* " + (" ".join(text[0].upper() + text[1:] for text in sentences) or "not recorded yet.")


def table(rows: list[dict]) -> str:
    """Return the table of results, a row for each lesson that trains."""
    lines = ["|lesson|measure|by default|in the course|epochs|s per epoch|`--plain`|memory|disk|", "|---" * 9 + "|"]
    for script, (title, megabytes, course) in LESSONS.items():
        if not (default := select(rows, script, "default")):
            continue
        memory, disk = (next((row["value"] for row in select(rows, script, "default", [kind])), 0)
                        for kind in ("memory_gb", "output_mb"))
        seconds, ratio = pairs(rows, script)
        lines.append("| " + " | ".join([
            title, default[0]["kind"].replace("_accuracy", "").replace("_", " "),
            spread([float(row["value"]) for row in default]), course, span(default), seconds,
            ratio if ratio == "-" else f"{ratio} times", f"{memory} GB" if memory else "-",
            f"{megabytes + int(disk)} MB"]) + " |")
    return "\n".join(lines) + f"\n\nMachine: {'; '.join(sorted({row['machine'] for row in rows}))}."


def render(readme: str, rows: list[dict]) -> str:
    def write(match: re.Match) -> str:
        return f"<!-- {match[1]} -->\n{table(rows) if match[1] == 'table' else describe(rows, match[1])}\n<!-- end -->"
    return re.sub(r"<!-- (table|\w+\.py) -->\n.*?<!-- end -->", write, readme, flags=re.DOTALL)


def add(rows: list[dict], line: argparse.Namespace) -> None:
    """Add the run in `line.folder` to rows, in the place of the same run recorded before."""
    metrics = json.loads((line.folder / "metrics.json").read_text())
    kind = "" if line.short else next(name for name in KINDS if name in metrics)
    way = "plain" if metrics.get("plain") else "augment" if metrics.get("augment") else "default"
    epochs = len((line.folder / "history.csv").read_text().splitlines()) - 1
    row = {"script": line.script, "way": way, "seed": str(metrics["seed"]), "epochs": str(epochs), "kind": kind,
           "value": f"{metrics[kind]:.4f}" if kind else "", "seconds": f"{metrics['seconds']:.1f}",
           "pair": line.pair, "machine": line.machine, "data": line.data}
    key = ("script", "way", "seed", "kind", "pair")
    rows[:] = [old for old in rows if any(old[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda row: [*LESSONS].index(row["script"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=["add"])
    parser.add_argument("script", nargs="?")
    parser.add_argument("folder", nargs="?", type=Path)
    for flag, default in (("--pair", ""), ("--data", "complete"), ("--machine", "2 cores")):
        parser.add_argument(flag, default=default)
    parser.add_argument("--short", action="store_true", help="too few epochs for its accuracy to count")
    line, file = parser.parse_args(), ROOT / "tests" / "results.csv"
    rows = list(csv.DictReader(file.open(newline=""))) if file.exists() else []
    if line.action:
        add(rows, line)
        with file.open("w", newline="") as target:
            csv.writer(target, lineterminator="\n").writerows([COLUMNS, *(map(row.get, COLUMNS) for row in rows)])
    (ROOT / "README.md").write_text(render((ROOT / "README.md").read_text(encoding="utf-8"), rows), encoding="utf-8")
