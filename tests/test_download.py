"""The real download path, with a server on 127.0.0.1 in the place of the real ones."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import NOWHERE, ROOT, QuietHandler, assert_one_sentence

SCRIPT = "TF_HappyVsSad_Face.py"
ONCE = ["--epochs", 1]


def from_server(address: str, sha256: str | None = None) -> str:
    """The source of lesson 6, which then downloads from `address` and expects `sha256`."""
    text = (ROOT / SCRIPT).read_text(encoding="utf-8")
    server = "https://storage.googleapis.com/learning-datasets"
    assert server in text and "download(URLS)" in text
    return text.replace(server, address).replace("download(URLS)", f"download(URLS, {sha256!r})")


def archives(drawn: Path, *names: str) -> dict[str, str]:
    return {
        name: hashlib.sha256((drawn / "archives" / f"{name}.zip").read_bytes()).hexdigest()
        for name in names
    }


def test_first_run_downloads_and_the_second_needs_no_server(run, serve, drawn, cache):
    address = serve(drawn / "archives")
    first = run(SCRIPT, *ONCE, text=from_server(address))
    assert first.code == 0 and "Downloading data from" in first.out, first.err
    assert "train for more --epochs" in first.out  # it did not get there in one
    second = run(SCRIPT, *ONCE, text=from_server(NOWHERE))
    assert second.code == 0 and "Downloading" not in second.out, second.err
    assert [path.name for path in cache.iterdir()] == [
        "happy-or-sad"
    ]  # no archive, no unfinished folder


@pytest.mark.parametrize(
    "script, names, inside",
    [
        ("TF_Human_horse.py", ["horse-or-human", "validation-horse-or-human"], "horses"),
        ("TF_Dogs_Cats.py", ["cats_and_dogs_filtered"], "train/cats"),
        ("TF_RockPaperScissors.py", ["rps"], "rock"),
        ("TF_DataProcessing_for_CNN_DogCatDataset.py", ["kagglecatsanddogs_5340"], "PetImages/Cat"),
    ],
)
def test_every_archive_is_unpacked_to_what_its_lesson_reads(
    script, names, inside, load, serve, drawn, cache
):
    address = serve(drawn / "archives")
    for name, sha256 in archives(drawn, *names).items():
        folder = load(script).download([f"{address}/{name}.zip"], sha256)
        assert folder == cache / name and any((folder / inside).iterdir())


def test_no_network_wrong_hash_and_a_page_instead_of_a_zip(run, serve, drawn, cache, tmp_path):
    no_network = run(SCRIPT, text=from_server(NOWHERE))
    assert_one_sentence(no_network, f"{NOWHERE}/happy-or-sad.zip", "refused", "--data-dir")
    wrong_hash = run(SCRIPT, text=from_server(serve(drawn / "archives"), "0" * 64))
    assert_one_sentence(wrong_hash, "hash", "--data-dir")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "happy-or-sad.zip").write_text("<html>Please log in</html>")
    assert_one_sentence(
        run(SCRIPT, text=from_server(serve(tmp_path / "page"))), "not a zip file", "--data-dir"
    )
    assert not any(cache.iterdir())  # nothing that the next run would take for the data
    clean = run(SCRIPT, *ONCE, text=from_server(serve(drawn / "archives")))
    assert clean.code == 0, clean.err


def test_the_second_address_is_used_where_the_first_does_not_answer(load, serve, drawn, cache):
    urls = [f"{NOWHERE}/happy-or-sad.zip", f"{serve(drawn / 'archives')}/happy-or-sad.zip"]
    assert any(load(SCRIPT).download(urls).iterdir())


class HalfHandler(QuietHandler):
    """Promises the whole file, sends its first half and closes."""

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])


class SilentHandler(HalfHandler):
    """Sends the first half of the file, and then nothing for a long time."""

    def do_GET(self):
        super().do_GET()
        self.wfile.flush()
        time.sleep(20)


def test_a_download_that_is_cut_and_a_server_that_falls_silent(load, serve, drawn, cache):
    lesson = load(SCRIPT)
    with pytest.raises(SystemExit, match="could be downloaded"):
        lesson.download([f"{serve(drawn / 'archives', HalfHandler)}/happy-or-sad.zip"])
    lesson.set_up(seed=1)
    assert lesson.socket.getdefaulttimeout() == 60
    lesson.socket.setdefaulttimeout(1)  # the lesson's own limit is a minute: too long for a test
    try:
        with pytest.raises(SystemExit, match="timed out"):
            lesson.download([f"{serve(drawn / 'archives', SilentHandler)}/happy-or-sad.zip"])
    finally:
        lesson.socket.setdefaulttimeout(None)
    assert not any(cache.iterdir())
    assert any(lesson.download([f"{serve(drawn / 'archives')}/happy-or-sad.zip"]).iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_download_does_not_stop_the_next_run(run, serve, drawn, cache, tmp_path):
    script = tmp_path / SCRIPT
    script.write_text(from_server(serve(drawn / "archives", SilentHandler)))
    process = subprocess.Popen(
        [sys.executable, script], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(cache.rglob("*.zip")):
        time.sleep(0.1)
    assert any(cache.rglob("*.zip"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    again = run(SCRIPT, *ONCE, text=from_server(serve(drawn / "archives")))
    assert again.code == 0, again.err


def test_a_folder_that_cannot_be_written(run, cache):
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("not a folder")
    assert_one_sentence(run(SCRIPT), str(cache.parent))


@pytest.mark.parametrize(
    "script", ["TF_fashion_mnist.py", "TF_hand_writing_recognition.py", "TF_Model_Evaluation.py"]
)
def test_mnist_cannot_be_loaded(script, run, drawn, tmp_path, monkeypatch):
    def fail():
        raise OSError("URL fetch failure")

    for name in ("mnist", "fashion_mnist"):
        monkeypatch.setattr(getattr(tf.keras.datasets, name), "load_data", fail)
    assert_one_sentence(run(script), "URL fetch failure", "--data-dir")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"cut")
    assert_one_sentence(run(script, "--data-dir", tmp_path), "cannot be loaded", "--data-dir")


def test_kaggle_and_imagenet_cannot_be_reached(run, drawn, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert_one_sentence(run("TF_sign_language.py"), "kaggle.com/datasets", "--data-dir")
    process = run(
        "TF_Dogs_Cats_Transfer_Learning.py", "--data-dir", drawn / "cats_and_dogs_filtered"
    )
    assert_one_sentence(process, "InceptionV3", "--weights")
