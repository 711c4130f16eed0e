"""The section of the README on several devices and machines: its lines and its program, on drawn
data.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import ROOT, small_text

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("# When one device is not enough")[1].split("\n# ")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
PROGRAM = next(block for block in BLOCKS if "MultiWorkerMirroredStrategy()" in block)
PETS = "TF_Dogs_Cats.py"


def continue_training(program: str) -> str:
    """The program, which goes on for 900 epochs when it has ended: then a worker can be killed."""
    assert program.count("5, 40  #") == 1
    loop = re.search(r"^for epoch in range\(EPOCHS\):\n(?:    .*\n)+", program, re.MULTILINE)[0]
    more = loop.replace("range(EPOCHS)", "range(EPOCHS, 900)")
    return program.replace("5, 40  #", "2, 6  #") + "\n" + more


def start_two(folder: Path, data: Path) -> list[subprocess.Popen]:
    """Start the program as two workers on 127.0.0.1; each prints into a file of its own."""
    folder.mkdir()
    (folder / PETS).write_text(small_text(PETS), encoding="utf-8")
    (folder / "several_machines.py").write_text(continue_training(PROGRAM), encoding="utf-8")
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "PYTHONUNBUFFERED": "1"}
        with open(folder / f"{index}.txt", "w") as out:  # is read while it runs
            processes.append(subprocess.Popen(
                [sys.executable, "several_machines.py", data], cwd=folder, stdout=out,
                stderr=subprocess.STDOUT, env=environment))
    return processes


def start_on_two_devices(folder: Path, data: Path) -> subprocess.Popen:
    """Start lesson 8 as the README says, on two logical CPUs in the place of two GPUs."""
    text = small_text(PETS)
    scope = next(block for block in BLOCKS if "MirroredStrategy().scope()" in block)
    first, second = scope.splitlines()
    start = text.index(second.strip())
    end = text.index("    )\n", start) + len("    )\n")
    inside = textwrap.indent("    " + text[start:end], "    ")  # build_model and compile
    text = text[:start].rstrip(" ") + first + "\n" + inside + text[end:]
    two = (
        "tf.config.set_logical_device_configuration(tf.config.list_physical_devices('CPU')[0], "
        "[tf.config.LogicalDeviceConfiguration()] * 2)\n"
    )
    text = text.replace("import tensorflow as tf\n", f"import tensorflow as tf\n{two}", 1)
    text = text.replace("MirroredStrategy()", "MirroredStrategy(['CPU:0', 'CPU:1'])")
    folder.mkdir()
    (folder / PETS).write_text(text, encoding="utf-8")
    flags = ["--epochs", "1", "--batch-size", "8", "--data-dir", data]
    return subprocess.Popen(
        [sys.executable, PETS, *flags], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def started(drawn, tmp_path_factory):
    """Two workers, and two devices, at the same time."""
    folder = tmp_path_factory.mktemp("several")
    data = drawn / "cats_and_dogs_filtered"
    devices = start_on_two_devices(folder / "devices", data)
    workers = start_two(folder / "workers", data)
    yield folder, workers, devices
    for process in [*workers, devices]:
        process.kill()


def read_epochs(file: Path) -> list[str]:
    """The lines of the epochs that a worker has printed so far."""
    return [line for line in file.read_text().splitlines() if line.startswith("epoch")]


def test_two_workers_train_the_same_network_and_the_chief_saves_it(started, run, drawn):
    """Also where a last batch is smaller: 32 pictures in batches of 6."""
    folder, workers, _ = started
    printed = [folder / "workers" / "0.txt", folder / "workers" / "1.txt"]
    end = time.monotonic() + 300
    while min(len(read_epochs(file)) for file in printed) < 3:
        assert time.monotonic() < end
        assert [process.poll() for process in workers] == [None, None], printed[0].read_text()
        time.sleep(0.1)
    first, second = [read_epochs(file)[:2] for file in printed]
    assert first == second and first[0] != first[1]  # the same losses, to the last digit
    outputs = folder / "workers" / "outputs" / "several_machines"
    assert [path.name for path in outputs.iterdir()] == ["model.keras"]
    picture = next((drawn / "cats_and_dogs_filtered" / "validation" / "cats").iterdir())
    predicted = run(PETS, "--predict", picture, "--output-dir", outputs, text=small_text(PETS))
    assert predicted.code == 0 and "%)" in predicted.out, predicted.err


def test_when_a_worker_is_killed_the_other_ends_too(started):
    folder, (chief, worker), _ = started
    worker.send_signal(signal.SIGKILL)
    assert chief.wait(timeout=120) != 0  # instead of waiting for ever
    assert "Collective ops is aborted" in (folder / "workers" / "0.txt").read_text()


def test_lesson_8_trains_on_two_devices(started):
    folder, _, process = started
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "best validation accuracy" in printed, printed
    assert (folder / "devices" / "outputs" / "TF_Dogs_Cats" / "model.keras").exists()
