"""The fifteen scripts as a set: standalone, plainly written, the same thing written the same way,
and in step with the README.
"""

import ast
import collections
import csv
import io
import re
import shlex
import subprocess
import sys
import textwrap
import tokenize
import tomllib
from urllib.parse import unquote

import pytest
import record
from conftest import ROOT, SCRIPTS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SOURCES = {script: (ROOT / script).read_text(encoding="utf-8") for script in SCRIPTS}
RULER = "# The lesson ends here. What follows are tools, the same in every lesson that needs them."
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
PACKAGES = {"PIL": "pillow"}  # import name: package name, where they differ
OPTIONAL = {"pillow_heif"}  # lesson 10 uses it if it is there
SECTION = r"^## \d+\. [^\n]*`(\w+\.py)`\n(.*?)(?=^#{1,2} |\Z)"
SECTIONS = dict(re.findall(SECTION, README, re.MULTILINE | re.DOTALL))


def imports_of(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def definitions_of(source: str) -> dict[str, tuple[int, str]]:
    """{name: (line, text)} of the functions and classes of a script."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = (node.lineno, ast.get_source_segment(source, node))
    return found


def test_there_are_fifteen_and_none_imports_another():
    assert len(SCRIPTS) == 15
    ours = {path.stem for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    for script, source in SOURCES.items():
        assert not imports_of(source) & ours and "keras.src" not in source, script


# Plainly written, and the lesson outweighs its tools.

PACKED = (ast.IfExp, ast.Lambda, ast.GeneratorExp, ast.ListComp, ast.DictComp, ast.SetComp,
          ast.NamedExpr, ast.Starred)
NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENDMARKER, tokenize.ENCODING}


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
    nodes = []
    for node in ast.walk(tree):
        if first <= getattr(node, "lineno", 0) < last and id(node) not in tables:
            nodes.append(node)
    return len(nodes) / count, 100 * sum(map(is_packed, nodes)) / count


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_plainly_written(script):
    lines = SOURCES[script].splitlines()
    assert lines.count(RULER) == 1 and max(map(len, lines)) <= 100
    ruler = lines.index(RULER) + 1
    nodes, packed = measure(SOURCES[script], 1, ruler)
    assert nodes <= 7.2 and packed <= 4, (nodes, packed)
    nodes, packed = measure(SOURCES[script], ruler, len(lines) + 1)
    assert nodes <= 8.5 and packed <= 5, (nodes, packed)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_lesson_outweighs_its_tools(script):
    lines = SOURCES[script].splitlines()
    assert len(lines) <= (480 if script == TRANSFER else 440)
    assert len(lines) - lines.index(RULER) <= 200


def test_all_scripts_together_are_short():
    assert sum(len(source.splitlines()) for source in SOURCES.values()) <= 4800


@pytest.mark.parametrize("script", SCRIPTS)
def test_main_tells_the_lesson_in_steps(script):
    definitions = definitions_of(SOURCES[script])
    names = list(definitions)
    assert names.index("main") < names.index("parse_arguments") == len(names) - 1
    assert definitions["main"][0] < SOURCES[script].splitlines().index(RULER)
    main = definitions["main"][1]
    steps = [int(number) for number in re.findall(r"^    # (\d+)\. ", main, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) >= 3
    if any(name.startswith("build_") for name in names):
        assert ".fit(" in main


VARIANTS = {  # tools of which there may be more than one text, {lessons: those that share one}
    "InMemory": [["TF_Human_horse.py"]],
    "predict": [[TRANSFER], ["TF_RockPaperScissors.py"], ["TF_hand_writing_recognition.py"],
                ["TF_sign_language.py"]],
}


EVERYWHERE = {"InMemory", "predict", "augment", "to_matrix", "judge_curves"}  # also above the ruler


def test_a_tool_has_one_text_wherever_it_stands():
    texts = collections.defaultdict(lambda: collections.defaultdict(set))
    for script, source in SOURCES.items():
        ruler = source.splitlines().index(RULER) + 1
        for name, (line, text) in definitions_of(source).items():
            if line > ruler or name in EVERYWHERE:
                texts[name][text].add(script)
    assert {"load_picture", "draw_curves", "download"} | EVERYWHERE <= texts.keys()
    del texts["parse_arguments"]
    for name, found in texts.items():
        groups = list(found.values())
        for group in VARIANTS.get(name, []):
            if set(group) in groups:
                groups.remove(set(group))
        assert len(groups) <= 1, f"{name} has several texts: {groups}"


def test_lessons_5_and_11_have_the_same_network(load):
    descriptions = []
    for script in ["TF_Human_horse.py", "TF_Human_horse_Augmentation.py"]:
        layers = []
        for layer in load(script).build_model().layers:
            layers.append((type(layer).__name__, layer.output.shape, layer.count_params()))
        descriptions.append(layers)
    assert descriptions[0] == descriptions[1]


def changes_of(script: str) -> dict:
    """The settings of the generator that changes pictures in a script."""
    for node in ast.walk(ast.parse(SOURCES[script])):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ImageDataGenerator":
            settings = {setting.arg: setting.value for setting in node.keywords}
            settings.pop("rescale", None)
            if settings:
                return {name: ast.literal_eval(value) for name, value in settings.items()}
    return {}


def test_pictures_are_augmented_as_in_the_course():
    for script in ["TF_Human_horse_Augmentation.py", "TF_Dogs_Cats.py", "TF_RockPaperScissors.py"]:
        assert changes_of(script) == {
            "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2,
            "shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True,
            "fill_mode": "nearest"}, script
    hands = changes_of("TF_sign_language.py")
    assert hands and "horizontal_flip" not in hands  # a mirrored hand is another sign


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_that_opens_pictures_of_ones_own_takes_large_ones(script):
    if "Image.open(" in SOURCES[script]:
        assert re.search(r"^Image.MAX_IMAGE_PIXELS = 250_000_000", SOURCES[script], re.MULTILINE)
    if "get_file(" in SOURCES[script] or "kagglehub" in SOURCES[script]:
        assert "    socket.setdefaulttimeout(60)" in SOURCES[script]


# What a script says of itself.


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_block_and_pip_line_list_what_the_file_imports(script):
    block = re.search(r"^# /// script\n((?:#.*\n)+?)# ///$", SOURCES[script], re.MULTILINE)[1]
    block = tomllib.loads(re.sub("^# ", "", block, flags=re.MULTILINE))
    listed = block["dependencies"]
    needed = set()
    for name in imports_of(SOURCES[script]) - set(sys.stdlib_module_names) - OPTIONAL:
        needed.add(PACKAGES.get(name, name))
    if "ImageDataGenerator" in SOURCES[script]:
        needed |= {"scipy", "pillow"}  # Keras imports both when it turns or opens a picture
    names = {re.match(r"[\w-]+", package)[0] for package in listed}
    assert names | {"numpy"} >= needed and names <= needed | {"pillow"}  # others bring numpy
    pip = re.search(r"^  python -m pip install (.*)$", SOURCES[script], re.MULTILINE)[1]
    assert shlex.split(pip) == listed
    required = (ROOT / "requirements.txt").read_text()
    assert all(re.search(rf"^{name}\b", required, re.MULTILINE) for name in names)


def parse(script: str, arguments: list[str], monkeypatch, load):
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    return load(script).parse_arguments()


def find_commands() -> list[str]:
    """All commands that start a lesson, in the README and in the docstrings."""
    commands = set()
    docstrings = [ast.get_docstring(ast.parse(source)) for source in SOURCES.values()]
    for text in [README, *docstrings]:
        pattern = r"(?:^\s*|`)(?:python|%run) ((?:TF_|Conv)\w+\.py[^`\n]*)"
        for line in re.findall(pattern, text, re.MULTILINE):
            commands.add(line.split("#")[0].strip())
    return sorted(commands)


@pytest.mark.parametrize("command", find_commands())
def test_every_printed_command_parses(command, monkeypatch, load):
    script, *arguments = shlex.split(command)
    parse(script, arguments, monkeypatch, load)


def test_the_notes_give_each_lesson_its_own_folder_for_tries():
    owners = collections.defaultdict(set)
    for command in find_commands():
        for folder in re.findall(r"--output-dir[ =]([\w/.-]+)", command):
            owners[folder].add(command.split()[0])
    assert len(owners) >= 5
    assert not {folder: names for folder, names in owners.items() if len(names) > 1}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_the_docstring(script, capsys, monkeypatch, load):
    with pytest.raises(SystemExit):
        parse(script, ["--help"], monkeypatch, load)
    docstring = ast.get_docstring(ast.parse(SOURCES[script]))
    assert re.match(r"Lesson \d+: ", docstring) and docstring in capsys.readouterr().out
    assert docstring.endswith(
        "In a notebook (Jupyter, Colab), write %pip for python -m pip, and %run for python.")


# The README.


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_line_of_a_python_block_stands_in_the_script_of_its_section(script):
    number = re.match(r"Lesson (\d+)", ast.get_docstring(ast.parse(SOURCES[script])))[1]
    assert re.search(rf"^## {number}\. .*`{script}`$", README, re.MULTILINE)
    blocks = re.findall(r"```python\n(.*?)```", SECTIONS[script], re.DOTALL)
    blocks = [block for block in blocks if "# not in the script" not in block]
    assert blocks
    lines = [line.strip() for line in SOURCES[script].splitlines()]
    for block in blocks:
        for line in block.splitlines():
            assert line.strip() in [*lines, "..."], line
        for statement in re.split(r"^ *\.\.\.\n", block, flags=re.MULTILINE):
            ast.parse(textwrap.dedent(statement))  # whole: no bracket is left open


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_steps_of_a_section_are_those_of_main(script):
    """Both are numbered, so that a reader finds one beside the other."""
    main = definitions_of(SOURCES[script])["main"][1]
    steps = re.findall(r"^    # (\d+)\. ", main, re.MULTILINE)
    told = []
    for start in re.findall(r"^\*\*(\d+\.(?: and \d+\.)?)", SECTIONS[script], re.MULTILINE):
        told.extend(re.findall(r"\d+", start))
    assert told == steps


def test_readme_says_what_was_recorded():
    rows = list(csv.DictReader((ROOT / "tests" / "results.csv").open(newline="")))
    assert record.render(README, rows) == README, "run python tests/record.py"
    named = set(re.findall(r"<!-- (\w+\.py) -->", README))
    assert named <= record.LESSONS.keys() and "<!-- table -->" in README
    changed = [{**row, "value": "0.1234"} for row in rows]
    assert "accuracy .123 in" in record.render(README, changed)


PRINTED = """
Epoch 1/2
accuracy: 0.9000 - loss: 0.1
Validation loss is lowest in epoch 2: 0.4
best validation accuracy: {accuracy}
The results are in outputs/TF_Dogs_Cats.
training seconds: {seconds}
"""


def add_run(rows, folder, way, seed, accuracy, seconds, epochs=2, **more):
    (folder / "history.csv").write_text("epoch,loss\n" + epochs * "0,0.25\n")
    numbers = record.read_numbers(PRINTED.format(accuracy=accuracy, seconds=seconds))
    arguments = [] if seed == 1 else ["--seed", str(seed)]
    row = record.describe_run("TF_RockPaperScissors.py", way, arguments, folder, numbers, **more)
    record.add_row(rows, row)


def test_a_run_is_recorded_once(tmp_path):
    rows = []
    for seed, accuracy in [(2, 0.5), (1, 0.6), (2, 0.7)]:
        add_run(rows, tmp_path, "default", seed, accuracy, 3)
    found = [(row["seed"], row["value"], row["epochs"]) for row in rows]
    assert found == [("1", "0.6000", "2"), ("2", "0.7000", "2")]
    words = record.describe(rows, "TF_RockPaperScissors.py")
    assert "accuracy .650 (.600 to .700) in 2 epochs, 2 seeds" in words


def test_a_few_epochs_of_the_course_stand_for_all(tmp_path):
    rows = []
    add_run(rows, tmp_path, "default", 1, 0.9, 10, epochs=12, pair="1")
    add_run(rows, tmp_path, "course", 1, 0.6, 8, epochs=4, pair="1")
    assert record.ratio(rows, "TF_RockPaperScissors.py") == "5.0"  # 25 epochs take 50 s


def test_pictures_and_links_of_the_readme():
    pictures = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", README)
    files = list((ROOT / "img").iterdir())
    assert {unquote(path) for _, path in pictures} == {f"img/{file.name}" for file in files}
    for words, path in pictures:
        assert len(words) > 40 and path.endswith(".png"), path  # the words say what one sees
    assert all(file.stat().st_size < 400_000 for file in files)
    anchors = set()
    for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE):
        anchors.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_ci_runs_the_readme_command_as_written():
    lines = README.splitlines()
    command = next(
        line for line in lines if line.startswith("python3 -m venv") and "pytest" in line)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_ruff_finds_nothing():
    process = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout
