"""The real download path, with a server on 127.0.0.1 in the place of the real ones."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from conftest import QuietHandler, drawn_archives, sha256_of, with_constants

QUICK = ["--epochs", 1, "--steps", 1, "--batch-size", 4]
HORSES = ("horse-or-human", "validation-horse-or-human")
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody answers


@pytest.fixture
def cache(tmp_path):
    """An empty cache of its own, as the environment variable that names it."""
    return {"KERAS_HOME": str(tmp_path / "keras")}


def horses(drawn, *servers, **changes):
    """Lesson 5, sent to `servers` for the drawn archives; `changes` replace an archive's (pictures, SHA-256)."""
    archives = {**drawn_archives(drawn, *HORSES), **changes}
    return with_constants("TF_Human_horse.py", SERVERS=list(servers), ARCHIVES=archives)


def assert_clear_failure(process, *words):
    """It ended with exit code 1 and one clear sentence on stderr that has `words`; no traceback."""
    assert process.returncode == 1, process.words
    assert "Traceback" not in process.words
    last = process.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, (word, last)


def test_first_run_downloads_with_a_progress_bar_and_second_run_needs_no_server(run, serve, drawn, cache):
    text = horses(drawn, serve(drawn / "archives"))
    first = run("TF_Human_horse.py", *QUICK, text=text, env=cache)
    assert first.returncode == 0, first.words
    assert first.stdout.count("Downloading data from") == 2 and "━" in first.stdout
    second = run("TF_Human_horse.py", *QUICK, text=horses(drawn, NOWHERE), env=cache)
    assert second.returncode == 0 and "Downloading" not in second.stdout, second.words
    left = sorted(path.name for path in (os.scandir(f"{cache['KERAS_HOME']}/datasets")))
    assert left == sorted(HORSES)  # no archive, no half-done folder


@pytest.mark.parametrize("script, names, inside", [
    ("TF_HappyVsSad_Face.py", ["happy-or-sad"], "happy-or-sad/happy"),
    ("TF_Dogs_Cats.py", ["cats_and_dogs_filtered"], "cats_and_dogs_filtered/train/cats"),
    ("TF_RockPaperScissors.py", ["rps", "rps-test-set"], "rps/rock"),
    ("TF_DataProcessing_for_CNN_DogCatDataset.py", ["kagglecatsanddogs_5340"], "kagglecatsanddogs_5340/PetImages/Cat"),
])
def test_every_archive_lands_where_its_lesson_looks(script, names, inside, load, serve, drawn, tmp_path, monkeypatch):
    lesson = load(script)
    monkeypatch.setattr(lesson, "CACHE", tmp_path)
    monkeypatch.setattr(lesson, "SERVERS", [serve(drawn / "archives")])
    monkeypatch.setattr(lesson, "ARCHIVES", drawn_archives(drawn, *names))
    assert lesson.download() == tmp_path
    assert any((tmp_path / inside).iterdir())
    monkeypatch.setattr(lesson, "ARCHIVES", {name: (99999, None) for name in names})
    with pytest.raises(SystemExit, match="pictures instead of 99999"):
        lesson.download()  # the number is looked at in every run


def test_fashion_is_downloaded_and_then_found(run, serve, drawn, cache):
    for address in (serve(drawn / "fashion-mnist"), NOWHERE):
        text = with_constants("TF_fashion_mnist.py", SERVERS=[address])
        process = run("TF_fashion_mnist.py", *QUICK, text=text, env=cache)
        assert process.returncode == 0, process.words
        assert process.stdout.count("Downloading data from") == (4 if address != NOWHERE else 0)


def test_digits_are_downloaded_and_then_found(run, serve, drawn, cache):
    digest = sha256_of(drawn / "mnist" / "mnist.npz")
    for address in (serve(drawn / "mnist"), NOWHERE):
        text = with_constants("TF_hand_writing_recognition.py", SERVERS=[address], SHA256=digest)
        process = run("TF_hand_writing_recognition.py", *QUICK, text=text, env=cache)
        assert process.returncode == 0, process.words
        assert process.stdout.count("Downloading data from") == (1 if address != NOWHERE else 0)


class FailingHandler(QuietHandler):
    """Answers everything with 500, Internal Server Error."""

    def do_GET(self):
        self.send_error(500)


@pytest.mark.parametrize("handler", [QuietHandler, FailingHandler], ids=["404", "500"])
def test_second_address_is_used_when_the_first_has_it_not(handler, load, serve, drawn, tmp_path, monkeypatch):
    lesson = load("TF_Human_horse.py")
    monkeypatch.setattr(lesson, "CACHE", tmp_path)
    monkeypatch.setattr(lesson, "ARCHIVES", drawn_archives(drawn, *HORSES))
    first = serve(drawn / "rps", handler)  # which has other files
    monkeypatch.setattr(lesson, "SERVERS", [first, first])
    with pytest.raises(SystemExit, match=f"(?s){first}/horse-or-human.zip.* nor {first}/horse-or-human.zip"):
        lesson.download()
    monkeypatch.setattr(lesson, "SERVERS", [first, serve(drawn / "archives")])
    lesson.download()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(HORSES)


def test_no_network_names_both_addresses_and_what_to_do(run, drawn, cache):
    text = horses(drawn, NOWHERE, "http://no-such-name.invalid")
    process = run("TF_Human_horse.py", text=text, env=cache)
    assert_clear_failure(process, f"{NOWHERE}/horse-or-human.zip", "no-such-name.invalid/horse", "--data-dir")


@pytest.mark.parametrize("script", ["TF_fashion_mnist.py", "TF_hand_writing_recognition.py"])
def test_no_network_for_single_files(script, run, cache):
    process = run(script, text=with_constants(script, SERVERS=[NOWHERE]), env=cache)
    assert_clear_failure(process, NOWHERE, "--data-dir")


def test_no_network_for_kaggle_and_imagenet(run, drawn, cache):
    closed = {**cache, "http_proxy": NOWHERE, "https_proxy": NOWHERE, "KAGGLEHUB_CACHE": cache["KERAS_HOME"]}
    assert_clear_failure(run("TF_sign_language.py", env=closed), "kaggle.com/datasets", "--data-dir")
    process = run("TF_Dogs_Cats_Transfer_Learning.py", "--data-dir", drawn / "cats_and_dogs_filtered", env=closed)
    assert_clear_failure(process, "InceptionV3", "--weights")


def test_wrong_hash_and_web_page_are_refused(load, serve, drawn, tmp_path, monkeypatch):
    lesson = load("TF_Human_horse.py")
    monkeypatch.setattr(lesson, "CACHE", tmp_path / "cache")
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "horse-or-human.zip").write_text("<html>Please log in</html>")
    right = drawn_archives(drawn, *HORSES)
    for folder, digest, word in ((drawn / "archives", "0" * 64, "hash"), (tmp_path / "page", None, "not a zip file")):
        monkeypatch.setattr(lesson, "SERVERS", [serve(folder)])
        monkeypatch.setattr(lesson, "ARCHIVES", {**right, "horse-or-human": (1, digest)})
        with pytest.raises(SystemExit, match=word):
            lesson.download()
        assert not any((tmp_path / "cache").iterdir())  # nothing that a next run would take for the data


def test_wrong_number_of_pictures_is_an_error_with_both_numbers(run, serve, drawn, cache):
    digest = drawn_archives(drawn, *HORSES)["horse-or-human"][1]
    text = horses(drawn, serve(drawn / "archives"), **{"horse-or-human": (1027, digest)})
    assert_clear_failure(run("TF_Human_horse.py", text=text, env=cache), "48 pictures instead of 1027")


class HalfHandler(QuietHandler):
    """Promises the whole file, sends its first half and closes."""

    def do_GET(self):
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:len(content) // 2])


class SlowHandler(HalfHandler):
    """Sends the first half of the file, and then nothing for a long time."""

    def do_GET(self):
        super().do_GET()
        self.wfile.flush()
        time.sleep(30)


def test_a_download_that_breaks_off_leaves_nothing(load, serve, drawn, tmp_path, monkeypatch):
    lesson = load("TF_HappyVsSad_Face.py")
    monkeypatch.setattr(lesson, "CACHE", tmp_path)
    monkeypatch.setattr(lesson, "ARCHIVES", {"happy-or-sad": (48, None)})
    monkeypatch.setattr(lesson, "SERVERS", [serve(drawn / "archives", HalfHandler)])
    with pytest.raises(SystemExit, match="Could not download"):
        lesson.download()
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(lesson, "SERVERS", [serve(drawn / "archives")])
    assert any((lesson.download() / "happy-or-sad" / "sad").iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_download_does_not_stop_the_next_run(run, environment, serve, drawn, cache, tmp_path):
    (tmp_path / "lesson").mkdir()
    (tmp_path / "lesson" / "TF_Human_horse.py").write_text(horses(drawn, serve(drawn / "archives", SlowHandler)))
    process = subprocess.Popen([sys.executable, "TF_Human_horse.py"], cwd=tmp_path / "lesson",
                               stdout=subprocess.DEVNULL, env={**environment, **cache})
    partial = tmp_path / "keras" / "datasets"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(partial.rglob("*.zip")):
        time.sleep(0.1)
    assert any(partial.rglob("*.zip"))
    process.send_signal(signal.SIGKILL)
    process.wait()
    again = run("TF_Human_horse.py", *QUICK, text=horses(drawn, serve(drawn / "archives")), env=cache)
    assert again.returncode == 0, again.words


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_killed_while_it_unpacks_does_not_stop_the_next(run, serve, drawn, cache):
    text, unpack = horses(drawn, serve(drawn / "archives")), 'shutil.unpack_archive(file, f"{home}/unpacked", "zip")\n'
    assert text.count(unpack) == 1
    half = "; next(Path(home).rglob('*.png')).unlink(); os.kill(os.getpid(), 9)\n"
    killed = text.replace(unpack, unpack.strip() + half)
    assert run("TF_Human_horse.py", *QUICK, text=killed, env=cache).returncode == -signal.SIGKILL
    again = run("TF_Human_horse.py", *QUICK, text=text, env=cache)
    assert again.returncode == 0, again.words


def test_an_archive_cannot_write_outside(load, serve, tmp_path, monkeypatch):
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "happy-or-sad.zip", "w") as archive:
        for name in ("../../../../evil.png", "/tmp/evil_absolute.png", "happy/1.png"):
            archive.writestr(name, "x")
        link = zipfile.ZipInfo("sad/link.png")
        link.external_attr = 0o120777 << 16  # a symbolic link
        archive.writestr(link, "/etc/passwd")
    lesson = load("TF_HappyVsSad_Face.py")
    monkeypatch.setattr(lesson, "CACHE", tmp_path / "a" / "b" / "c")
    monkeypatch.setattr(lesson, "SERVERS", [serve(tmp_path / "served")])
    monkeypatch.setattr(lesson, "ARCHIVES", {"happy-or-sad": (2, None)})
    lesson.download()
    assert not list(tmp_path.rglob("evil*")) and not os.path.exists("/tmp/evil_absolute.png")
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_two_runs_at_the_same_moment_share_an_empty_cache(environment, serve, drawn, cache, tmp_path):
    """The same lesson twice, and another one that needs the same archives."""
    address, archives, processes = serve(drawn / "archives"), drawn_archives(drawn, *HORSES), []
    scripts = {"one": "TF_Human_horse.py", "two": "TF_Human_horse.py", "three": "TF_Human_horse_Augmentation.py"}
    for name, script in scripts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / script).write_text(with_constants(script, SERVERS=[address], ARCHIVES=archives))
        processes.append(subprocess.Popen([sys.executable, script, *map(str, QUICK)], cwd=tmp_path / name,
                                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                          env={**environment, **cache}))
    for process in processes:
        words = process.communicate(timeout=300)[0]
        assert process.returncode == 0, words


def test_a_server_that_falls_silent_is_given_up(load, serve, drawn, tmp_path, monkeypatch):
    lesson = load("TF_HappyVsSad_Face.py")
    monkeypatch.setattr(lesson, "CACHE", tmp_path)
    monkeypatch.setattr(lesson, "SERVERS", [serve(drawn / "archives", SlowHandler)])
    limits = []
    monkeypatch.setattr(lesson.socket, "setdefaulttimeout", limits.append)
    import socket
    before = socket.getdefaulttimeout()
    socket._socket.setdefaulttimeout(1)  # the lesson's own limit is a minute: too long for a test
    try:
        with pytest.raises(SystemExit, match="timed out"):
            lesson.download()
    finally:
        socket._socket.setdefaulttimeout(before)
    assert limits == [60]


def test_the_cache_cannot_be_written(run, drawn, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    process = run("TF_Human_horse.py", text=horses(drawn, NOWHERE), env={"KERAS_HOME": str(tmp_path / "file")})
    assert_clear_failure(process, "file")


