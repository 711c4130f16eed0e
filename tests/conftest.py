"""Shared by all tests: drawn data, a server on 127.0.0.1, and a way to run a lesson as a learner
would.
"""

import contextlib
import functools
import http.server
import importlib.util
import io
import json
import os
import re
import runpy
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = (
    "1"  # before TensorFlow is imported, as the lessons do by default
)
os.environ.update(
    MPLBACKEND="agg", PYTHONWARNINGS="ignore:FigureCanvasAgg"
)  # agg shows nothing, and warns of it
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-")  # an empty cache
os.environ["no_proxy"] = "127.0.0.1"

import matplotlib.pyplot as plt
import matplotlib.text
import pytest
import tensorflow as tf
from draw_data import draw_everything

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers


def pytest_collection_modifyitems(items):
    """Several machines: their processes start with the first test, and the tests that look at them
    come last.
    """
    items.sort(
        key=lambda item: item.path.name == "test_distribute.py" and item.name != "test_all_start"
    )


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder with all drawn datasets, read only by agreement."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_everything(folder, count=16)
    return folder


def run_script(script: str, *arguments, folder: Path, text: str | None = None) -> SimpleNamespace:
    """Run a lesson, copied alone into `folder`, or `text` in its place, as a learner would.

    Returns its exit code, what it printed, the texts in its figures, and its folders. It runs in
    this process: TensorFlow is imported already.
    """
    if text or not (folder / script).exists():
        (folder / script).write_text(
            text or (ROOT / script).read_text(encoding="utf-8"), encoding="utf-8"
        )
    out, err, code, old = io.StringIO(), io.StringIO(), 0, (os.getcwd(), sys.argv)
    os.chdir(folder)
    sys.argv = [script, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
        err.write(f"{stop.code}\n" if isinstance(stop.code, str) else "")
    finally:
        texts = []
        for number in plt.get_fignums():
            for text in plt.figure(number).findobj(matplotlib.text.Text):
                texts.append(text.get_text())
        os.chdir(old[0])
        sys.argv = old[1]
        tf.keras.mixed_precision.set_global_policy("float32")
        plt.close("all")
    return SimpleNamespace(
        code=code,
        out=out.getvalue(),
        err=err.getvalue(),
        texts=texts,
        folder=folder,
        outputs=folder / "outputs" / Path(script).stem,
    )


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """`run_script`, in an empty folder unless one is named."""
    return lambda script, *arguments, folder=None, text=None: run_script(
        script, *arguments, folder=folder or tmp_path_factory.mktemp("empty"), text=text
    )


@pytest.fixture(scope="session")
def load():
    """A function that imports a lesson, once, as a module: its functions can be called, its main
    does not run.
    """

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
    """A function that serves a folder on 127.0.0.1 with the given request handler, and returns its
    address.
    """
    servers = []

    def start(folder: Path, handler=QuietHandler) -> str:
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
        )
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache of its own, in the place of ~/.keras/datasets."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "datasets"


def metrics_of(process) -> dict:
    """What a finished lesson wrote into metrics.json."""
    return json.loads((process.outputs / "metrics.json").read_text())


def assert_one_sentence(process, *words: str) -> None:
    """It ended with exit code 1 and one clear sentence on stderr that has `words`."""
    assert process.code == 1, process.out + process.err
    last = process.err.strip().splitlines()[-1]
    for word in words:
        assert word in last, (word, last)


def small_inception(include_top, weights, input_tensor):
    """Stands in for InceptionV3: untrained and small, with its layers `mixed6` and `mixed8`."""
    maps = tf.keras.layers.Conv2D(64, 21, strides=21, activation="relu", name="mixed6")(
        input_tensor
    )
    maps = tf.keras.layers.Conv2D(256, 1, activation="relu", name="mixed8")(maps)
    return tf.keras.Model(input_tensor, maps)


def small_text(script: str) -> str:
    """The text of a lesson that trains on smaller pictures, for speed."""
    text = (ROOT / script).read_text(encoding="utf-8")
    return re.sub(
        r"^IMAGE_SIZE = \(\d+, \d+\)", "IMAGE_SIZE = (100, 100)", text, flags=re.MULTILINE
    )


@pytest.fixture(scope="session")
def trained(drawn, tmp_path_factory):
    """A function that runs a lesson on drawn data, once: the same code on smaller pictures; lesson
    8 as it is.
    """
    from test_lessons import LESSONS

    @functools.cache
    def run_once(script: str) -> SimpleNamespace:
        arguments, data, _, _ = LESSONS[script]
        source = [] if data is None else ["--data-dir", drawn / data]
        text = None if script == "TF_Dogs_Cats.py" else small_text(script)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tf.keras.applications, "InceptionV3", small_inception)
            return run_script(
                script, *arguments, *source, folder=tmp_path_factory.mktemp("empty"), text=text
            )

    return run_once


def copy_outputs(process, folder: Path) -> Path:
    """Copy what a run has left into another folder, so that a test may add to it."""
    shutil.copytree(process.folder, folder, dirs_exist_ok=True)
    return folder
