"""Shared by all tests: drawn data, a server on 127.0.0.1, and a way to run a lesson as a learner would."""

import ast
import functools
import hashlib
import http.server
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from draw_data import draw_everything

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder with all drawn data sets, read only by agreement."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_everything(folder)
    return folder


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """An environment with an empty home, no display and one shared matplotlib cache."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SYSTEMROOT", "TMPDIR", "LANG")}
    return {**kept, "HOME": str(home), "KERAS_HOME": str(home / "keras"), "MPLCONFIGDIR": str(home / "matplotlib"),
            "KAGGLEHUB_CACHE": str(home / "kaggle"), "no_proxy": "127.0.0.1"}


@pytest.fixture(scope="session")
def run(environment, tmp_path_factory):
    """A function that copies a script alone into an empty folder and runs it there; returns the finished process.

    run(script, *arguments, folder=existing folder to run in, text=changed source, env=more variables)
    """
    def run_script(script: str, *arguments, folder: Path | None = None, text: str | None = None, env=None, timeout=300):
        folder = folder or tmp_path_factory.mktemp("empty")
        if text is None:
            shutil.copy(ROOT / script, folder)
        else:
            (folder / script).write_text(text)
        process = subprocess.run([sys.executable, script, *map(str, arguments)], cwd=folder, timeout=timeout, text=True,
                                 stdin=subprocess.DEVNULL, capture_output=True, env={**environment, **(env or {})})
        process.folder, process.outputs = folder, folder / "outputs" / Path(script).stem
        process.words = process.stdout + process.stderr
        return process

    return run_script


@pytest.fixture(scope="session")
def load():
    """A function that imports a lesson, once, as a module: its functions can be called, its main does not run."""
    @functools.cache
    def load_module(script: str):
        spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_module


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """A function that serves a folder on 127.0.0.1 with the given request handler, and returns its address."""
    servers = []

    def start(folder: Path, handler=QuietHandler) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def metrics_of(process) -> dict:
    """What a finished lesson wrote into metrics.json."""
    return json.loads((process.outputs / "metrics.json").read_text())


def with_constants(script: str, **constants) -> str:
    """The source of a lesson with some of its top-level constants replaced, to send it to a server of ours."""
    lines = (ROOT / script).read_text().split("\n")
    for node in reversed(ast.parse("\n".join(lines)).body):
        if isinstance(node, ast.Assign) and node.targets[0].id in constants:
            name = node.targets[0].id
            lines[node.lineno - 1:node.end_lineno] = [f"{name} = {constants.pop(name)!r}"]
    assert not constants, f"{script} has no {constants}"
    return "\n".join(lines)


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def drawn_archives(drawn: Path, *names: str) -> dict[str, tuple[int, str]]:
    """ARCHIVES of a lesson, for the drawn zip files: {name: (number of pictures, SHA-256)}."""
    suffixes = (".jpg", ".png")
    found = {}
    for name in names:
        with zipfile.ZipFile(drawn / "archives" / f"{name}.zip") as archive:
            pictures = sum(entry.endswith(suffixes) for entry in archive.namelist())
            found[name] = pictures, sha256_of(Path(archive.filename))
    return found
