"""The fifteen scripts as a set: standalone, the same thing written the same way, and in step with
the README.
"""

import ast
import csv
import io
import json
import re
import shlex
import subprocess
import sys
import textwrap
import tokenize
import tomllib
from urllib.parse import unquote

import numpy as np
import pytest
import record
import tensorflow as tf
from conftest import ROOT, SCRIPTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = {script: (ROOT / script).read_text(encoding="utf-8") for script in SCRIPTS}
RULER = (
    "# The lesson ends here. "
    "What follows is tools, which need not be read to understand it. Those that"
)
OWN = {
    "main",
    "parse_arguments",
    "build_model",  # each lesson has its own
    "build_dense_model",
    "build_convolutional_model",
}
PACKAGES = {"PIL": "pillow"}  # import name: package name, where they differ
SECTIONS = {
    match[1]: match[2]
    for match in re.finditer(
        r"^## \d+\. [^\n]*`(\w+\.py)`\n(.*?)(?=^#{1,2} |\Z)", README, re.MULTILINE | re.DOTALL
    )
}


def imports_of(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def functions_of(source: str) -> dict[str, tuple[int, str]]:
    """{name: (line, text)} of the functions of a script."""
    return {
        node.name: (node.lineno, ast.get_source_segment(source, node))
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }


def test_there_are_fifteen_and_none_imports_another():
    assert len(SCRIPTS) == 15
    ours = {path.stem for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    for script, source in SOURCES.items():
        assert not imports_of(source) & ours and "keras.src" not in source, script


PACKED = (
    ast.IfExp,
    ast.Lambda,
    ast.GeneratorExp,
    ast.ListComp,
    ast.DictComp,
    ast.SetComp,
    ast.NamedExpr,
    ast.Starred,
)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def is_packed(node: ast.AST) -> bool:
    """Two things in one: a comprehension, a lambda, unrelated values in one assignment, ..."""
    if isinstance(node, ast.Assign):
        together = isinstance(node.value, ast.Tuple | ast.GeneratorExp)
        return isinstance(node.targets[0], ast.Tuple) and together
    return isinstance(node, PACKED)


def measure(source: str, first: int, last: int) -> tuple[float, float]:
    """Syntax nodes a line of code, and packed constructs per hundred, from line first to last.

    Comments, docstrings and tables of constants do not count.
    """
    tree = ast.parse(source)
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines |= set(range(token.start[0], token.end[0] + 1))
    tables = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper():
            tables |= {id(inner) for inner in ast.walk(node)}
    count = sum(first <= line < last for line in lines)
    nodes = [
        node
        for node in ast.walk(tree)
        if first <= getattr(node, "lineno", 0) < last and id(node) not in tables
    ]
    return len(nodes) / count, 100 * sum(map(is_packed, nodes)) / count


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_plainly_written_and_the_lesson_stands_first(script):
    source = SOURCES[script]
    lines = source.splitlines()
    assert lines.count(RULER) == 1 and max(map(len, lines)) <= 100
    ruler = lines.index(RULER) + 1
    nodes, packed = measure(source, 1, ruler)
    assert nodes <= 6.5 and packed <= 4, (nodes, packed)
    nodes, packed = measure(source, ruler, len(lines) + 1)
    assert nodes <= 8.5 and packed <= 8, (nodes, packed)
    names = list(functions_of(source))
    assert names.index("main") < names.index("parse_arguments") == len(names) - 1
    main = functions_of(source)["main"][1]
    if "build_" in source:
        assert ".fit(" in main and ".compile(" in main
    steps = [int(number) for number in re.findall(r"^    # (\d+)\. ", main, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 3


def test_below_the_ruler_all_is_the_same_and_above_it_nothing_is():
    below, above, classes = {}, {}, {}
    for script, source in SOURCES.items():
        ruler = source.splitlines().index(RULER) + 1
        for name, (line, text) in functions_of(source).items():
            if name in OWN:
                continue
            if line > ruler:
                first, expected = below.setdefault(name, (script, text))
                assert text == expected, f"{name} differs in {first} and {script}"
            else:
                assert name not in above, f"{name} is above the ruler in {above[name]} and {script}"
                above[name] = script
        entry = source[source.index('\nif __name__ == "__main__":') :]
        assert classes.setdefault("entry", entry) == entry, script
        for node in ast.parse(source).body:  # a callback of two lessons is the same in both
            if isinstance(node, ast.ClassDef):
                text = ast.get_source_segment(source, node)
                assert classes.setdefault(node.name, text) == text, f"{node.name} differs"
    assert not below.keys() & above.keys() and {"augment", "download"} <= below.keys()


def test_lessons_5_and_11_have_the_same_network_and_augmentation_is_the_same(load):
    descriptions = []
    for script in ("TF_Human_horse.py", "TF_Human_horse_Augmentation.py"):
        model = load(script).build_model()
        descriptions.append(
            [
                (type(layer).__name__, layer.output.shape, layer.count_params())
                for layer in model.layers
            ]
        )
    assert descriptions[0] == descriptions[1]
    for script in (
        "TF_Dogs_Cats.py",
        "TF_Dogs_Cats_Transfer_Learning.py",
        "TF_RockPaperScissors.py",
    ):
        assert (
            load(script).AUGMENTATION
            == load("TF_Human_horse_Augmentation.py").AUGMENTATION
            == {
                "rotation_range": 40,
                "width_shift_range": 0.2,
                "height_shift_range": 0.2,
                "shear_range": 0.2,
                "zoom_range": 0.2,
                "horizontal_flip": True,
                "fill_mode": "nearest",
            }
        )


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_block_and_pip_line_list_what_the_file_imports(script):
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", SOURCES[script], re.MULTILINE)[1]
    listed = tomllib.loads("".join(line[2:] for line in block.splitlines(keepends=True)))[
        "dependencies"
    ]
    needed = {
        PACKAGES.get(name, name)
        for name in imports_of(SOURCES[script]) - set(sys.stdlib_module_names)
    }
    if "ImageDataGenerator" in SOURCES[script]:
        needed |= {"scipy", "pillow"}  # Keras imports both when it turns or opens a picture
    names = {re.match(r"[\w-]+", package)[0] for package in listed}
    assert names | {"numpy"} >= needed and names <= needed | {
        "pillow"
    }  # numpy comes with TensorFlow and matplotlib
    pip = re.search(r"^  python -m pip install (.*)$", SOURCES[script], re.MULTILINE)[1]
    assert shlex.split(pip) == listed
    required = (ROOT / "requirements.txt").read_text()
    assert all(re.search(rf"^{name}\b", required, re.MULTILINE) for name in names)


def parse(script: str, arguments: list[str], monkeypatch, load):
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    return load(script).parse_arguments()


COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for text in (README, *(ast.get_docstring(ast.parse(source)) for source in SOURCES.values()))
        for line in re.findall(r"(?:^\s*|`)(python (?:TF_|Conv)\w+\.py[^`\n]*)", text, re.MULTILINE)
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_printed_command_parses(command, monkeypatch, load):
    _, script, *arguments = shlex.split(command)
    parse(script, arguments, monkeypatch, load)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_docstring(script, capsys, monkeypatch, load):
    with pytest.raises(SystemExit):
        parse(script, ["--help"], monkeypatch, load)
    docstring = ast.get_docstring(ast.parse(SOURCES[script]))
    assert re.match(r"Lesson \d+: ", docstring) and docstring in capsys.readouterr().out


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_line_of_a_python_block_stands_in_the_script_of_its_section(script):
    number = re.match(r"Lesson (\d+)", ast.get_docstring(ast.parse(SOURCES[script])))[1]
    assert re.search(rf"^## {number}\. .*`{script}`$", README, re.MULTILINE)
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", SECTIONS[script], re.DOTALL)
        if "image_dataset_from_directory" not in block and "# not in the script" not in block
    ]
    assert blocks
    lines = [line.strip() for line in SOURCES[script].splitlines()]
    for block in blocks:
        for line in block.splitlines():
            assert line.strip() in [*lines, "..."], line
        for statement in re.split(r"^ *\.\.\.\n", block, flags=re.MULTILINE):
            ast.parse(textwrap.dedent(statement))  # whole: no bracket is left open


def test_todays_lines_give_the_same_pictures_as_the_generator(drawn, monkeypatch):
    block = next(
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "image_dataset_from_directory" in block
    )
    monkeypatch.chdir(drawn)
    names = {"tf": tf}
    exec(block, names)
    found = sum(len(labels) for _, labels in names["training"])
    pictures, labels = next(iter(names["training"]))
    assert not np.array_equal(
        labels, next(iter(names["training"]))[1]
    )  # another order in the next epoch
    assert found == 32 and pictures.shape == (32, 300, 300, 3) and labels.shape == (32, 1)
    assert pictures.numpy().min() >= 0 and 0.5 < pictures.numpy().max() <= 1


def test_readme_says_what_was_recorded():
    rows = list(csv.DictReader((ROOT / "tests" / "results.csv").open(newline="")))
    assert record.render(README, rows) == README, "run python tests/record.py"
    assert (
        set(re.findall(r"<!-- (\w+\.py) -->", README)) <= record.LESSONS.keys()
        and "<!-- table -->" in README
    )
    changed = [{**row, "value": "0.1234"} for row in rows]
    assert ".123 (.123 to .123) in" in record.render(README, changed)


def test_a_run_is_recorded_once(tmp_path):
    rows = []
    (tmp_path / "history.csv").write_text("epoch,loss\n0,0.25\n1,0.125\n")
    for seed, accuracy in ((2, 0.5), (1, 0.6), (2, 0.7)):
        metrics = {"seed": seed, "best_validation_accuracy": accuracy, "seconds": 3}
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        record.add_row(rows, record.describe_run("TF_Dogs_Cats.py", tmp_path, "default"))
    assert [(row["seed"], row["value"], row["epochs"]) for row in rows] == [
        ("1", "0.6000", "2"),
        ("2", "0.7000", "2"),
    ]
    words = record.describe(rows, "TF_Dogs_Cats.py")
    assert "accuracy .650 (.600 to .700) in 2 epochs, 2 seeds" in words


def test_pictures_and_links_of_the_readme():
    pictures = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", README)
    assert {unquote(path) for _, path in pictures} == {
        f"img/{file.name}" for file in (ROOT / "img").iterdir()
    }
    assert all(
        len(words) > 40 and path.endswith(".png") for words, path in pictures
    )  # the words say what one sees
    assert all(file.stat().st_size < 400_000 for file in (ROOT / "img").iterdir())
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_ci_runs_the_readme_command_as_written():
    command = next(
        line
        for line in README.splitlines()
        if line.startswith("python3 -m venv") and "pytest" in line
    )
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_ruff_finds_nothing():
    process = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout
