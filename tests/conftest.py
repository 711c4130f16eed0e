"""Shared by all tests: drawn data, a server on 127.0.0.1, and a way to run a lesson as a learner would."""

import contextlib
import functools
import http.server
import importlib.util
import io
import json
import multiprocessing
import os
import re
import runpy
import shutil
import sys
import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # before TensorFlow is imported, as the lessons do by default
os.environ.update(MPLBACKEND="agg", PYTHONWARNINGS="ignore:FigureCanvasAgg")  # agg shows nothing, and warns of it
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-")  # an empty cache
os.environ["no_proxy"] = "127.0.0.1"

import pytest
import tensorflow as tf
from draw_data import draw_everything

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers


def pytest_collection_modifyitems(items):
    """Several machines: their processes start with the first test, and the tests that look at them come last."""
    items.sort(key=lambda item: item.path.name == "test_distribute.py" and item.name != "test_all_start")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder with all drawn datasets, read only by agreement."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_everything(folder, count=16)
    return folder


def run_script(script: str, *arguments, folder: Path, text: str | None = None) -> SimpleNamespace:
    """Run a lesson, copied alone into `folder`, or `text` in its place, from its first line to its last.

    Returns its exit code, what it printed, and its folders. It runs in this process: TensorFlow is imported already.
    """
    if text or not (folder / script).exists():
        (folder / script).write_text(text or (ROOT / script).read_text(encoding="utf-8"), encoding="utf-8")
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
        os.chdir(old[0])
        sys.argv = old[1]
        tf.keras.mixed_precision.set_global_policy("float32")
        sys.modules["matplotlib.pyplot"].close("all")
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue(), folder=folder,
                           outputs=folder / "outputs" / Path(script).stem)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """`run_script`, in an empty folder unless one is named."""
    return lambda script, *arguments, folder=None, text=None: run_script(
        script, *arguments, folder=folder or tmp_path_factory.mktemp("empty"), text=text)


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


def small_inception(include_top, input_tensor, weights):
    """Stands in for InceptionV3: untrained and small, with a layer `mixed7` that answers with maps of 7x7x768."""
    maps = tf.keras.layers.Conv2D(768, 21, strides=21, activation="relu", name="mixed7")(input_tensor)
    return tf.keras.Model(input_tensor, tf.keras.layers.GlobalAveragePooling2D()(maps))


def train_lesson(script: str, flags: list[str], folder: Path, drawn: Path) -> SimpleNamespace:
    """Run a lesson on drawn data: the same code on smaller pictures, for speed; lesson 8 as it is."""
    from test_lessons import LESSONS
    arguments, data, _, _ = LESSONS[script]
    source = [] if data is None else ["--data-dir", drawn / data]
    short = ["--epochs", 3] if flags and "--epochs" in arguments else []  # --plain is slow
    text = (ROOT / script).read_text(encoding="utf-8")
    if flags or script != "TF_Dogs_Cats.py":
        text = re.sub(r"^IMAGE_SIZE = \(\d+, \d+\)", "IMAGE_SIZE = (100, 100)", text, flags=re.MULTILINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.keras.applications, "InceptionV3", small_inception)
        return run_script(script, *flags, *arguments, *short, *source, folder=folder, text=text)


@pytest.fixture(scope="session")
def trained(drawn, tmp_path_factory):
    """A function that runs a lesson once; those with --plain run in a second process, while other tests go on."""
    from test_lessons import PLAIN

    @functools.cache
    def run_once(script: str, *flags: str):
        return plain[script].result() if flags else train_lesson(script, [], tmp_path_factory.mktemp("empty"), drawn)

    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        plain = {script: pool.submit(train_lesson, script, ["--plain"], tmp_path_factory.mktemp("empty"), drawn)
                 for script in PLAIN}
        yield run_once
        pool.shutdown(cancel_futures=True)


def copy_outputs(process, folder: Path) -> Path:
    """Copy what a run has left into another folder, so that a test may add to it."""
    shutil.copytree(process.folder, folder, dirs_exist_ok=True)
    return folder
