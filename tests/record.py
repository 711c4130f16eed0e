"""Run lessons, keep their results in tests/results.csv, and write them into README.md.

  python tests/record.py TF_Dogs_Cats.py -- --seed 2     # run a lesson, and add its result
  python tests/record.py                                 # only write README.md anew

What stands after -- goes to the lesson. Results are the numbers that a lesson prints at its end,
such as "test accuracy: 0.9012"; seconds are those of its training, as tests/benchmark.py measures
them, which adds its pairs to the same table. While other programs run, --busy records no seconds.
"""

import argparse
import csv
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tests" / "results.csv"
COLUMNS = ["script", "way", "seed", "epochs", "measure", "value", "seconds", "memory_gb",
           "output_mb", "pair", "machine", "data"]
MEASURES = ["test_accuracy", "best_validation_accuracy", "training_accuracy", "prediction",
            "largest_difference"]  # the first of these that a lesson has is its result
WHOLE_TRAINING = {  # epochs of trainings of which only the first ones were timed
    ("TF_Human_horse.py", "course"): 15,
    ("TF_Dogs_Cats.py", "course"): 15,
    ("TF_Human_horse_Augmentation.py", "course"): 15,
    ("TF_Dogs_Cats_Transfer_Learning.py", "course"): 20,
    ("TF_RockPaperScissors.py", "course"): 25,
}
LESSONS = {  # script: title, megabytes to download, and what the course's own notebooks printed
    "TF_HelloWorld.py": ("1 Hello, world", 0, "18.98"),
    "TF_fashion_mnist.py": ("2 Clothes", 31, ".909"),
    "TF_hand_writing_recognition.py": ("4 Digits", 11, ".987"),
    "TF_Human_horse.py": ("5 Horses or humans ¹", 161, ".86, at 150x150"),
    "TF_HappyVsSad_Face.py": ("6 Happy or sad", 3, "above .999"),
    "TF_Saving_Loading_Model.py": ("7 Saving and loading", 0, "-"),
    "TF_Dogs_Cats.py": ("8 Dogs and cats", 69, ".70 to .75"),
    "TF_Human_horse_Augmentation.py": ("11 Horses, augmented ¹", 161, "-"),
    "TF_Dogs_Cats_Transfer_Learning.py": ("12 Transfer learning ²", 157, ".94 to .967"),
    "TF_RockPaperScissors.py": ("13 Rock, paper, scissors ¹", 230, ".954"),
    "TF_sign_language.py": ("14 Sign language ³", 63, "-"),
    "TF_Model_Evaluation.py": ("15 Evaluation", 31, "-"),
}


def read_table():
    """Return the recorded runs, a dict of texts for each."""
    with TABLE.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def write_table(rows):
    rows.sort(key=lambda row: (list(LESSONS).index(row["script"]), row["way"], row["seed"]))
    with TABLE.open("w", newline="", encoding="utf-8") as target:
        writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_numbers(text):
    """Return the numbers that a lesson has printed: "test accuracy: 0.9" is test_accuracy."""
    numbers = {}
    for name, value in re.findall(r"^([a-z][^:\n]*): (-?\d+(?:\.\d+)?)$", text, re.MULTILINE):
        numbers[re.sub(r"\W+", "_", name)] = float(value)
    return numbers


def train(script, way, arguments, folder):
    """Train a lesson in a process of its own, and return the numbers that it has printed.

    It leaves its results in `folder`. way: "default", or "course" for the course's way.
    """
    environment = {**os.environ, "MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)  # the lesson's choice, not that of this shell
    command = [sys.executable, ROOT / "tests" / "benchmark.py", script, "--only", way,
               "--", *arguments, "--output-dir", folder]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                             encoding="utf-8", env=environment)
    return read_numbers(process.stdout)


def describe_run(script, way, arguments, folder, numbers, **more):
    """Return the row of a run that has printed these numbers and left its results in `folder`."""
    measure = next(name for name in MEASURES if name in numbers)
    epochs = len((folder / "history.csv").read_text().splitlines()) - 1
    seed = "1"
    if "--seed" in arguments:
        seed = arguments[arguments.index("--seed") + 1]
    row = dict.fromkeys(COLUMNS, "")
    row.update(script=script, way=way, seed=seed, epochs=str(epochs), measure=measure,
               value=f"{numbers[measure]:.4f}", seconds=f"{numbers['training_seconds']:.1f}")
    row.update(more)
    return row


def add_row(rows, row):
    """Add a row in the place of the same run recorded before."""
    key = ("script", "way", "seed", "pair")
    rows[:] = [old for old in rows if any(old[name] != row[name] for name in key)]
    rows.append(row)


def record_run(*run, **more):
    """Add a run to the table, write it into README.md, and return its row."""
    rows = read_table()
    row = describe_run(*run, **more)
    add_row(rows, row)
    write_table(rows)
    write_readme(rows)
    return row


def run_lesson(script, arguments, **more):
    """Run a lesson, and add its result, with the memory and the disk that it took."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        numbers = train(script, "default", arguments, folder)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        way = "augment" if "--augment" in arguments else "default"
        record_run(script, way, arguments, folder, numbers, memory_gb=f"{memory:.1f}",
                   output_mb=f"{size:.0f}", **more)


def select(rows, script, way):
    """Return the runs of a lesson that count for its result: not those of a pair."""
    return [row for row in rows
            if row["script"] == script and row["way"] == way and not row["pair"]]


def short(value):
    if value > 1:  # no accuracy
        return f"{value:.2f}"
    return f"{value:.3f}".removeprefix("0")


def spread(values):
    """Return the mean of the values, with the smallest and the largest where they differ."""
    if short(min(values)) == short(max(values)):
        return short(values[0])
    return f"{short(mean(values))} ({short(min(values))} to {short(max(values))})"


def count_runs(found):
    """Return how many runs there are, as words for the table."""
    return f", {len(found)} runs" if len(found) > 1 else ", 1 run"


def span(numbers, unit=""):
    low, high = min(numbers), max(numbers)
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def seconds_of_row(row):
    """Return the seconds of a training; of a whole one, where only its first epochs were timed."""
    timed = int(row["epochs"])
    whole = WHOLE_TRAINING.get((row["script"], row["way"]), timed)
    return float(row["seconds"]) * whole / timed


def seconds_of_pair(rows, script):
    """Return the seconds of the two trainings that are compared, {way: seconds}."""
    seconds = {}
    for row in rows:
        if row["script"] == script and row["pair"]:
            seconds[row["way"]] = seconds_of_row(row)
    return seconds


def ratio(rows, script):
    """Return how many times as long the course's way took, in the pair that ran in turns."""
    seconds = seconds_of_pair(rows, script)
    if len(seconds) < 2:
        return "-"
    return f"{seconds['course'] / seconds['default']:.1f}"


def duration(rows, script):
    """Return the seconds of a training, alone on the machine: that of the pair, or those timed."""
    pair = seconds_of_pair(rows, script)
    timed = [float(row["seconds"]) for row in select(rows, script, "default") if row["seconds"]]
    if "default" in pair:
        timed = [pair["default"]]
    return span([round(number) for number in timed], " s") if timed else "-"


def summary(found):
    """Return in words the result of some runs."""
    values = [float(row["value"]) for row in found]
    epochs = span([int(row["epochs"]) for row in found])
    seeds = f", {len(found)} seeds" if len(found) > 1 else ""
    measure = found[0]["measure"].replace("_", " ")
    return f"{measure} {spread(values)} in {epochs} epochs{seeds}."


def describe(rows, script):
    """Return the Expect line of a lesson: all of one pattern."""
    default = select(rows, script, "default")
    if not default:
        return "*Expect:* not recorded yet."
    text = f"*Expect:* {summary(default).capitalize()}"
    if duration(rows, script) != "-":
        text += f" The training took {duration(rows, script)}."
    if default[0]["data"] == "a part":
        text += " It was measured on a part of the data."
    augmented = select(rows, script, "augment")
    if augmented:
        text += f" With `--augment`: {summary(augmented)}"
    return text


def table(rows):
    """Return the table of results, a row for each lesson that trains."""
    heads = ["lesson", "measure", "result", "published", "epochs", "training", "course's way",
             "memory", "disk"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for script, (title, megabytes, course) in LESSONS.items():
        found = select(rows, script, "default")
        if not found:
            continue
        times = ratio(rows, script)
        memory = max(row["memory_gb"] for row in found)
        disk = max(int(row["output_mb"] or 0) for row in found)
        cells = [
            title,
            found[0]["measure"].replace("_accuracy", "").replace("_", " "),
            spread([float(row["value"]) for row in found]) + count_runs(found),
            course,
            span([int(row["epochs"]) for row in found]),
            duration(rows, script),
            times if times == "-" else f"{times} times as long",
            f"{memory} GB" if memory else "-",
            f"{megabytes + disk} MB",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    machines = sorted({row["machine"] for row in rows if row["machine"]})
    return "\n".join(lines) + f"\n\nMachines: {'; '.join(machines)}."


def render(readme, rows):
    """Return the README with what lies between its markers written anew."""
    def write(match):
        name = match[1]
        text = table(rows) if name == "table" else describe(rows, name)
        return f"<!-- {name} -->\n{text}\n<!-- end -->"

    pattern = r"<!-- (table|\w+\.py) -->\n.*?<!-- end -->"
    return re.sub(pattern, write, readme, flags=re.DOTALL)


def split_command_line():
    """Return the arguments before and after --."""
    if "--" not in sys.argv:
        return sys.argv[1:], []
    place = sys.argv.index("--")
    return sys.argv[1:place], sys.argv[place + 1:]


def write_readme(rows):
    file = ROOT / "README.md"
    file.write_text(render(file.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("script", nargs="?", choices=LESSONS)
    parser.add_argument("--machine", default="", help="a few words on it")
    parser.add_argument("--data", default="complete", help="complete, a part, copies, ...")
    parser.add_argument("--busy", action="store_true", help="do not record seconds")
    own, arguments = split_command_line()
    line = parser.parse_args(own)
    if not line.script:
        write_readme(read_table())
    elif line.busy:
        run_lesson(line.script, arguments, machine=line.machine, data=line.data, seconds="")
    else:
        run_lesson(line.script, arguments, machine=line.machine, data=line.data)
