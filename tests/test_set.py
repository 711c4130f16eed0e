"""The fifteen scripts as a set: standalone, the same thing written the same way, and in step with the README."""

import ast
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from urllib.parse import unquote

import make_results
import pytest
from conftest import ROOT, SCRIPTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
DIFFERENT = {"main", "parse_arguments", "build_model"}  # the lesson's own
PACKAGES = {"PIL": "pillow"}  # import name: package name, where they differ
SOURCES = {script: (ROOT / script).read_text(encoding="utf-8") for script in SCRIPTS}


def requirements() -> dict[str, str]:
    """{package: its line of requirements.txt without the comment}"""
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    return {re.match(r"[\w-]+", line)[0]: line for line in lines if line}


def imports_of(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def test_there_are_fifteen():
    assert len(SCRIPTS) == 15


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_imports_another(script):
    ours = {path.stem for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    assert not imports_of(SOURCES[script]) & ours
    assert "keras.src" not in SOURCES[script]


def test_functions_of_the_same_name_are_identical():
    texts = {}
    for script, source in SOURCES.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in DIFFERENT:
                first, text = texts.setdefault(node.name, (script, ast.get_source_segment(source, node)))
                assert ast.get_source_segment(source, node) == text, f"{node.name} differs in {first} and {script}"
    assert "train" in texts and "download" in texts


def test_lessons_5_and_11_have_the_same_network():
    networks = [next(ast.get_source_segment(SOURCES[script], node) for node in ast.parse(SOURCES[script]).body
                     if isinstance(node, ast.FunctionDef) and node.name == "build_model")
                for script in ("TF_Human_horse.py", "TF_Human_horse_Augmentation.py")]
    assert networks[0] == networks[1]
    defaults = [re.search(r'"--batch-size".*default=(\d+)', SOURCES[script])[1]
                for script in ("TF_Human_horse.py", "TF_Human_horse_Augmentation.py")]
    assert defaults[0] == defaults[1] == "32"


def test_augmentation_is_written_the_same_way():
    settings = set()
    for script, source in SOURCES.items():
        for node in ast.parse(source).body:
            name = getattr(node.targets[0], "id", "") if isinstance(node, ast.Assign) else ""
            if name == "AUGMENTATION" and script != "TF_sign_language.py":  # whose own differ, and say why
                settings.add(ast.get_source_segment(source, node))
    assert len(settings) == 1
    assert ast.literal_eval(settings.pop().split("=", 1)[1].strip()) == {
        "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2,
        "zoom_range": 0.2, "horizontal_flip": True, "fill_mode": "nearest"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_block_lists_what_the_file_imports(script):
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", SOURCES[script], re.MULTILINE)[1]
    metadata = tomllib.loads("".join(line[2:] for line in block.splitlines(keepends=True)))
    needed = {PACKAGES.get(name, name) for name in imports_of(SOURCES[script]) - set(sys.stdlib_module_names)}
    if "rotation_range" in SOURCES[script]:
        needed.add("scipy")  # Keras imports it when it turns a picture
    allowed = requirements()
    assert sorted(metadata["dependencies"]) == sorted(allowed[name] for name in needed)
    assert metadata["requires-python"] == ">=3.11,<3.14"


def test_every_requirement_is_used():
    used = set().union(*(imports_of(source) for source in SOURCES.values())) | {"scipy"}
    assert set(requirements()) == {PACKAGES.get(name, name) for name in used - set(sys.stdlib_module_names)}


def test_flags_shared_by_name_mean_the_same():
    kinds = {}
    for script, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "add":
                name = node.args[0].value
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                kind = {key: keywords.get(key) for key in ("metavar", "nargs", "action")}
                first, expected = kinds.setdefault(name, (script, kind))
                assert kind == expected, f"{name} differs in {first} and {script}"
    assert {"--epochs", "--batch-size", "--seed", "--steps", "--data-dir", "--output-dir", "--predict"} <= set(kinds)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_docstring_and_comes_at_once(script, environment):
    seconds = []
    for _ in range(3):  # the machine may be busy: the quickest of three counts
        start = time.perf_counter()
        process = subprocess.run([sys.executable, ROOT / script, "--help"], capture_output=True, text=True,
                                 env=environment)
        seconds.append(time.perf_counter() - start)
        if seconds[-1] < 1:
            break
    assert process.returncode == 0 and not process.stderr
    docstring = ast.get_docstring(ast.parse(SOURCES[script]))
    assert re.match(r"Lesson \d+: ", docstring) and docstring.splitlines()[0] in process.stdout
    assert docstring in process.stdout and min(seconds) < 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_has_its_section(script):
    number = re.match(r"Lesson (\d+)", ast.get_docstring(ast.parse(SOURCES[script])))[1]
    assert re.search(rf"^## {number}\. .*`{re.escape(script)}`$", README, re.MULTILINE)


COMMANDS = sorted({line.split("#")[0].strip()
                   for text in (README, *(ast.get_docstring(ast.parse(source)) for source in SOURCES.values()))
                   for line in re.findall(r"^\s*(python \w+\.py.*)$", text, re.MULTILINE)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_printed_command_parses(command, load):
    _, script, *arguments = shlex.split(command)
    load(script).parse_arguments(arguments)


def test_readme_says_what_was_recorded():
    """Every figure of a run stands between markers, and is what img/results.json holds."""
    results = make_results.Results(json.loads(make_results.RESULTS.read_text()))
    assert make_results.render(README, results) == README, "run python tests/make_results.py"
    assert set(re.findall(r"<!-- results: (\w+) -->", README)) == make_results.BLOCKS.keys()
    changed = json.loads(make_results.RESULTS.read_text())
    for run in changed["runs"]:
        if "best_validation_accuracy" in run:
            run["best_validation_accuracy"] -= 0.1
    assert make_results.render(README, make_results.Results(changed)) != README


def test_a_run_is_recorded_once(tmp_path):
    """Recording the same run again replaces it; another seed stands beside it; paths of the machine stay out."""
    runs = []
    for seed, accuracy in ((2, 0.5), (1, 0.6), (2, 0.7)):
        (tmp_path / "metrics.json").write_text(json.dumps({
            "lesson": "TF_Dogs_Cats", "seed": seed, "accuracy": accuracy,
            "arguments": {"seed": seed, "epochs": 3, "data_dir": "/somewhere"}}))
        (tmp_path / "history.csv").write_text("epoch,loss\n0,0.25\n1,0.125\n")
        make_results.record(tmp_path, "drawn", runs)
    assert [(run["seed"], run["accuracy"]) for run in runs] == [(1, 0.6), (2, 0.7)]
    assert runs[0]["history"] == {"epoch": [0.0, 1.0], "loss": [0.25, 0.125]}
    assert runs[0]["data"] == "drawn" and "data_dir" not in runs[0]["arguments"]
    assert make_results.spread([0.25, 0.5]) == ".375 (.250 to .500, 2 seeds)" and make_results.spread([1.0]) == "1.000"


def test_pictures_and_links_of_the_readme():
    pictures = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", README)
    assert {unquote(path) for _, path in pictures} == {f"img/{file.name}" for file in (ROOT / "img").glob("*.png")}
    assert all(len(words) > 20 for words, _ in pictures)  # the alternative text says what one would see
    assert all(file.stat().st_size < 300_000 for file in (ROOT / "img").iterdir())
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
               for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_ci_runs_the_readme_command_as_written():
    command = next(line for line in README.splitlines() if line.startswith("python3 -m venv") and "pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_ruff_finds_nothing():
    process = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
