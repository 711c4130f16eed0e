"""The real download path, with a server on 127.0.0.1 in the place of the real ones."""

import collections
import shutil
import time
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import (
    NOWHERE,
    SCRIPTS,
    QuietHandler,
    assert_one_sentence,
    small_text,
)

ICONS = "TF_HappyVsSad_Face.py"
HANDS = "TF_RockPaperScissors.py"
SPLIT = "TF_DataProcessing_for_CNN_DogCatDataset.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
ONCE = ["--epochs", 1]
SERVER = "https://storage.googleapis.com/learning-datasets"
HASHES = {  # of the archives of which it is known
    "horse-or-human.zip": "e2e6f70d3d549c5dd10a57165e55af253ee66ad750403f95c0fb76bb943633a9",
    "validation-horse-or-human.zip":
        "ae5fff2f4f5554791f05358108e2e05d9801b191f1896ea101402f0e7f6c32c0",
    "rps.zip": "c2403444395842ad04c53612bad54b574443eae17a0723117a2ff87b9d72194f",
    "rps-test-set.zip": "c27ab9fa43ce40b2e453de711365b477f4424586edf0388116674fd320f07503",
    "kagglecatsanddogs_5340.zip":
        "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
}


def from_server(address: str) -> str:
    """The text of lesson 6, which then downloads from `address`."""
    text = small_text(ICONS)
    assert text.count(SERVER) == 1
    return text.replace(SERVER, address)


def test_the_first_run_downloads_and_the_second_needs_no_server(load, serve, drawn, cache, capsys):
    download = load(ICONS).download
    folder = download(f"{serve(drawn / 'archives')}/happy-or-sad.zip")
    assert any((folder / "happy").iterdir())
    assert "Downloading data from" in capsys.readouterr().out
    assert download(f"{NOWHERE}/happy-or-sad.zip") == folder
    assert "Downloading" not in capsys.readouterr().out


@pytest.mark.parametrize("script, flags", [
    ("TF_Human_horse_Augmentation.py", ["--look"]), (HANDS, ["--look"]), ("TF_Dogs_Cats.py", ONCE),
    (SPLIT, [])])
def test_a_lesson_finds_its_pictures_in_what_it_has_downloaded(script, flags, run, serve, drawn,
                                                               cache, monkeypatch):
    """Some archives hold a folder, some only what is in it."""
    address = serve(drawn / "archives")
    get_file = tf.keras.utils.get_file
    names = []

    def get_drawn_file(origin, file_hash=None, **settings):
        names.append(Path(origin).name)
        assert file_hash == HASHES.get(names[-1])
        return get_file(origin=f"{address}/{names[-1]}", **settings)

    monkeypatch.setattr(tf.keras.utils, "get_file", get_drawn_file)
    process = run(script, *flags, text=small_text(script))
    assert process.code == 0 and names, process.err
    assert (process.outputs / "model.keras").exists() is (flags == ONCE)  # --look does not train


def test_all_lessons_know_the_same_addresses(load):
    found = collections.defaultdict(set)
    for script in SCRIPTS:
        for name, url in vars(load(script)).items():
            if isinstance(url, str) and url.endswith(".zip"):
                sha256 = getattr(load(script), name.replace("URL", "SHA256"), None)
                assert sha256 == HASHES.get(Path(url).name), script
                found[Path(url).name].add(url)
    assert set(found) == {*HASHES, "happy-or-sad.zip", "cats_and_dogs_filtered.zip"}
    assert all(len(urls) == 1 for urls in found.values())


def test_no_network(run, cache):
    process = run(ICONS, text=from_server(NOWHERE))
    assert_one_sentence(process, f"{NOWHERE}/happy-or-sad.zip", "refused", "--data-dir")


def test_an_archive_that_is_not_the_expected_one(load, serve, drawn, cache):
    with pytest.raises(SystemExit) as stop:
        load(HANDS).download(f"{serve(drawn / 'archives')}/rps.zip", "0" * 64)
    assert "hash" in str(stop.value) and "--data-dir" in str(stop.value)


@pytest.mark.filterwarnings("ignore:Could not extract archive")
@pytest.mark.parametrize("content", ["half", "page"])
def test_an_archive_without_a_hash_that_is_not_complete(content, load, serve, drawn, cache,
                                                        tmp_path):
    """As after a run that was killed, or behind a page that asks for a password."""
    served = tmp_path / "served"
    served.mkdir()
    whole = (drawn / "archives" / "happy-or-sad.zip").read_bytes()
    broken = {"half": whole[:len(whole) // 2], "page": b"<html>Please log in</html>"}
    (served / "happy-or-sad.zip").write_bytes(broken[content])
    with pytest.raises(SystemExit) as stop:
        load(ICONS).download(f"{serve(served)}/happy-or-sad.zip")
    file, words = str(stop.value).split(" is ", 1)
    assert words == "not complete. Delete it, and try again."
    Path(file).unlink()  # as told
    shutil.copy(drawn / "archives" / "happy-or-sad.zip", served)
    folder = load(ICONS).download(f"{serve(served)}/happy-or-sad.zip")
    assert any((folder / "happy").iterdir())


class HalfHandler(QuietHandler):
    """Promises the whole file, sends its first half and closes."""

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:len(content) // 2])


class SilentHandler(HalfHandler):
    """Sends the first half of the file, and then nothing for a long time."""

    def do_GET(self):
        super().do_GET()
        self.wfile.flush()
        time.sleep(20)


@pytest.mark.parametrize("handler", [HalfHandler, SilentHandler])
def test_a_download_that_is_cut_and_a_server_that_falls_silent(handler, run, load, serve, drawn,
                                                               cache):
    text = from_server(serve(drawn / "archives", handler))
    timeout = "socket.setdefaulttimeout(60)"
    assert timeout in text  # the lesson's own limit is a minute: too long for a test
    text = text.replace(timeout, "socket.setdefaulttimeout(1)")
    assert_one_sentence(run(ICONS, text=text), "--data-dir")
    folder = load(ICONS).download(f"{serve(drawn / 'archives')}/happy-or-sad.zip")
    assert any((folder / "happy").iterdir())  # nothing is left that it takes for the archive


@pytest.mark.parametrize(
    "script", ["TF_fashion_mnist.py", "TF_hand_writing_recognition.py", "TF_Model_Evaluation.py"]
)
def test_mnist_cannot_be_had(script, run, tmp_path, monkeypatch):
    def fail():
        raise OSError("URL fetch failure")

    for name in ["mnist", "fashion_mnist"]:
        monkeypatch.setattr(getattr(tf.keras.datasets, name), "load_data", fail)
    assert_one_sentence(run(script), "URL fetch failure", "--data-dir")
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"cut")
    assert_one_sentence(run(script, "--data-dir", tmp_path), "cannot be loaded", "--data-dir")


def test_kaggle_and_imagenet_cannot_be_reached(run, load, monkeypatch, cache, tmp_path):
    for name in ["http_proxy", "https_proxy"]:
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    assert_one_sentence(run("TF_sign_language.py"), "kaggle.com/datasets", "--data-dir")
    for weights in ["imagenet", str(tmp_path / "missing.h5")]:
        with pytest.raises(SystemExit, match="--weights"):
            load(TRANSFER).build_base(weights)
