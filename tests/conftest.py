"""Shared by all tests: drawn data, a server on 127.0.0.1, and a way to run a lesson as a learner
would.
"""

import contextlib
import fcntl
import functools
import http.server
import importlib.util
import io
import os
import pickle
import re
import runpy
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # before TensorFlow is imported, as the lessons do
os.environ["MPLBACKEND"] = "agg"
os.environ["PYTHONWARNINGS"] = "ignore:FigureCanvasAgg"  # agg shows nothing, and warns of it
os.environ["KERAS_HOME"] = tempfile.mkdtemp(prefix="keras-")  # an empty cache
os.environ["no_proxy"] = "127.0.0.1"
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes, two cores: a thread in each is enough
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

# TensorFlow is imported where it is used: the process that hands out the tests does without.
import matplotlib.pyplot as plt
import matplotlib.text
import pytest
from draw_data import draw_everything
from record import read_numbers

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(path.name for path in ROOT.glob("*.py"))
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers
SMALL = ["--epochs", 4, "--batch-size", 8]
LESSONS = {  # lessons that train: the arguments, and the drawn data
    "TF_HelloWorld.py": ([], None),
    "TF_fashion_mnist.py": (["--epochs", 3, "--batch-size", 16], "fashion-mnist"),
    "TF_hand_writing_recognition.py": (["--epochs", 3, "--batch-size", 16], "mnist"),
    "TF_Human_horse.py": (SMALL, ""),
    "TF_HappyVsSad_Face.py": ([], "happy-or-sad"),
    "TF_Dogs_Cats.py": (SMALL, "cats_and_dogs_filtered"),
    "TF_Human_horse_Augmentation.py": (SMALL, ""),
    "TF_Dogs_Cats_Transfer_Learning.py": ([*SMALL, "--fine-tune", 1], "cats_and_dogs_filtered"),
    "TF_RockPaperScissors.py": (SMALL, ""),
    "TF_sign_language.py": (["--epochs", 4, "--batch-size", 16], "sign-language-mnist"),
    "TF_Model_Evaluation.py": (["--epochs", 3, "--batch-size", 32], "fashion-mnist"),
}


def make_once(tmp_path_factory, name: str, make):
    """What `make` returns for a folder; the first process of the tests makes it for all others."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for a process that is making it
        made = shared / f"{name}.pickle"
        if not made.exists():
            (shared / name).mkdir()
            made.write_bytes(pickle.dumps(make(shared / name)))
    return pickle.loads(made.read_bytes())


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """A folder with all drawn datasets, read only by agreement."""
    def draw(folder):
        draw_everything(folder, count=16)
        return folder

    return make_once(tmp_path_factory, "drawn", draw)


def run_script(script: str, *arguments, folder: Path, text: str | None = None) -> SimpleNamespace:
    """Run a lesson, copied alone into `folder`, or `text` in its place, as a learner would.

    Returns its exit code, what it printed, the message it ended with, the texts in its figures, and
    its folders. It runs in this process: TensorFlow is imported already.
    """
    import tensorflow as tf

    if text or not (folder / script).exists():
        text = text or (ROOT / script).read_text(encoding="utf-8")
        (folder / script).write_text(text, encoding="utf-8")
    out = io.StringIO()
    err = io.StringIO()
    code = 0
    message = ""
    before = (os.getcwd(), sys.argv)
    os.chdir(folder)
    sys.argv = [script, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        if isinstance(stop.code, str):
            code = 1
            message = stop.code
        else:
            code = stop.code or 0
    finally:
        texts = []
        for number in plt.get_fignums():
            for text in plt.figure(number).findobj(matplotlib.text.Text):
                texts.append(text.get_text())
        plt.close("all")
        os.chdir(before[0])
        sys.argv = before[1]
        tf.keras.mixed_precision.set_global_policy("float32")
        socket.setdefaulttimeout(None)
    outputs = folder / "outputs" / Path(script).stem
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue() + message,
                           message=message, texts=texts, folder=folder, outputs=outputs)


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """`run_script`, in an empty folder unless one is named."""
    def run_anywhere(script, *arguments, folder=None, text=None):
        folder = folder or tmp_path_factory.mktemp("empty")
        return run_script(script, *arguments, folder=folder, text=text)

    return run_anywhere


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
        handler = functools.partial(handler, directory=str(folder))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.block_on_close = False
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
    import tensorflow as tf

    (tmp_path / "keras").mkdir()
    get_file = functools.partial(tf.keras.utils.get_file, cache_dir=tmp_path / "keras")
    monkeypatch.setattr(tf.keras.utils, "get_file", get_file)
    return tmp_path / "keras" / "datasets"


def numbers_of(process) -> dict[str, float]:
    """The numbers that a finished lesson has printed: "test accuracy: 0.9" is test_accuracy."""
    return read_numbers(process.out)


def assert_one_sentence(process, *words: str) -> None:
    """It ended with exit code 1 and a message of at most two lines that has `words`."""
    assert process.code == 1, process.out + process.err
    assert process.message.count("\n") <= 1, process.message
    for word in words:
        assert word in process.message, (word, process.message)


def small_inception(include_top, weights, input_tensor):
    """Stands in for InceptionV3: untrained and small, with its layers `mixed6` and `mixed8`."""
    import tensorflow as tf

    layers = tf.keras.layers
    first = layers.Conv2D(64, 21, strides=21, activation="relu", name="mixed6")
    second = layers.Conv2D(256, 1, activation="relu", name="mixed8")
    normalization = layers.BatchNormalization(name="normalization")
    return tf.keras.Model(input_tensor, second(normalization(first(input_tensor))))


def small_text(script: str) -> str:
    """The text of a lesson that trains on smaller pictures, for speed; and lesson 12 draws
    its learning curve in fewer epochs.
    """
    text = (ROOT / script).read_text(encoding="utf-8")
    text = text.replace("2000 // len(rows)", "60 // len(rows)")
    side = 64 if script == "TF_RockPaperScissors.py" else 100  # lessons 5 and 11: at least 94
    small = f"IMAGE_SIZE = ({side}, {side})"
    return re.sub(r"^IMAGE_SIZE = \(\d+, \d+\)", small, text, flags=re.MULTILINE)


@pytest.fixture(scope="session")
def trained(drawn, tmp_path_factory):
    """A function that runs a lesson on drawn data, once: the same code on smaller pictures. Tests
    add nothing to what it leaves.
    """

    import tensorflow as tf

    def run_once(script: str) -> SimpleNamespace:
        arguments, data = LESSONS[script]
        if data is not None:
            arguments = [*arguments, "--data-dir", drawn / data]

        def train(folder):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tf.keras.applications, "InceptionV3", small_inception)
                return run_script(script, *arguments, folder=folder, text=small_text(script))

        return make_once(tmp_path_factory, script, train)

    return run_once


def copy_outputs(process, folder: Path) -> Path:
    """Copy what a run has left into another folder, so that a test may add to it."""
    shutil.copytree(process.folder, folder, dirs_exist_ok=True)
    return folder
