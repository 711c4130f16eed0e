"""Train a lesson as it is and as the original course does, in turns, and say how much faster it is.

  python tests/benchmark.py TF_Dogs_Cats.py
  python tests/benchmark.py TF_Human_horse.py -- --data-dir my_folder --seed 2

What stands after -- goes to the lesson. The course's way takes the pictures from the generator's
flow itself, which reads, decodes and changes them one by one in every epoch; it computes in 32
bits, with the course's batches, epochs and optimizer, and with TensorFlow's own defaults. Both
trainings run to their end. The pair is added to tests/results.csv.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

ROOT = Path(__file__).parent.parent
COURSE = {  # flags of the course's way, and its optimizer where that is another one
    "TF_fashion_mnist.py": (["--batch-size", "32"], None),
    "TF_hand_writing_recognition.py": (["--batch-size", "32"], None),
    "TF_Human_horse.py": ([], None),
    "TF_HappyVsSad_Face.py": ([], None),
    "TF_Dogs_Cats.py": (["--batch-size", "20"], None),
    "TF_Human_horse_Augmentation.py": ([], None),
    "TF_Dogs_Cats_Transfer_Learning.py": (["--batch-size", "20", "--epochs", "20"], None),
    "TF_RockPaperScissors.py": (["--epochs", "25"], "rmsprop"),
    "TF_sign_language.py": (["--batch-size", "32", "--epochs", "15"], "adam"),
}


def load_lesson(script):
    """Import a lesson after TensorFlow, so that what the lesson sets no longer counts."""
    import tensorflow as tf

    tf.nn.conv2d(tf.zeros((1, 8, 8, 1)), tf.zeros((3, 3, 1, 1)), 1, "VALID")
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    return lesson


def run_as_the_course_does(script, arguments):
    """Run a lesson's main with the flow in the place of the batches in memory, in 32 bits."""
    import tensorflow as tf

    lesson = load_lesson(script)
    flags, optimizer = COURSE[script]
    sys.argv = [script, *flags, *arguments]
    compile_model = tf.keras.Sequential.compile

    def compile_plainly(model, **settings):
        settings.pop("steps_per_execution", None)
        if optimizer:
            settings["optimizer"] = optimizer
        compile_model(model, **settings)

    tf.keras.Sequential.compile = compile_plainly
    lesson.keep_in_memory = lambda flow: flow
    lesson.make_batches = lambda pictures, labels, flow: flow
    lesson.multiplies_bfloat16 = lambda: False
    lesson.draw_curves = lambda *_: sys.exit()  # what follows would iterate over endless flows
    if script == "TF_Dogs_Cats_Transfer_Learning.py":
        train_through_the_base(lesson)
    else:
        lesson.main(lesson.parse_arguments())


def train_through_the_base(lesson):
    """Lesson 12 as in the course: `mixed7` flattened, and every picture through it every time."""
    import tensorflow as tf

    arguments = lesson.parse_arguments()
    lesson.set_up(arguments.seed)
    folders = lesson.find_folders(arguments.data_dir or lesson.download(lesson.URLS))
    flows = []
    for folder, changes in zip(folders, (lesson.AUGMENTATION, {})):
        generator = lesson.ImageDataGenerator(rescale=lesson.RESCALE, **changes)
        flows.append(generator.flow_from_directory(
            folder, target_size=lesson.IMAGE_SIZE, class_mode="binary",
            batch_size=arguments.batch_size))
    layers = tf.keras.layers
    pixels = layers.Input((*lesson.IMAGE_SIZE, 3))
    inception = tf.keras.applications.InceptionV3(
        include_top=False, weights=str(arguments.weights),
        input_tensor=layers.Rescaling(2, offset=-1)(pixels))
    inception.trainable = False
    output = layers.Flatten()(inception.get_layer("mixed7").output)
    output = layers.Dense(1024, activation="relu")(output)
    output = layers.Dropout(0.2)(output)
    output = layers.Dense(1, activation="sigmoid")(output)
    model = tf.keras.Model(pixels, output)
    model.compile(loss="binary_crossentropy", metrics=["accuracy"],
                  optimizer=tf.keras.optimizers.RMSprop(learning_rate=1e-4))
    save_curves = tf.keras.callbacks.CSVLogger(arguments.output_dir / "history.csv")
    start = time.perf_counter()
    history = model.fit(flows[0], validation_data=flows[1], epochs=arguments.epochs,
                        callbacks=[save_curves]).history
    lesson.save_metrics(arguments.output_dir, arguments, time.perf_counter() - start,
                        best_validation_accuracy=max(history["val_accuracy"]))


def measure(command, folder):
    """Run a training that leaves its results in `folder`; return its metrics."""
    environment = {**os.environ, "MPLBACKEND": "agg", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    subprocess.run([sys.executable, *command, "--output-dir", folder], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return json.loads(Path(folder, "metrics.json").read_text())


def compare(script, arguments, add):
    """Train both ways in turns, print the seconds and the ratio, and add both runs."""
    ways = {"default": [ROOT / script], "course": [__file__, "--course", script, "--"]}
    seconds = {}
    for way, command in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            metrics = measure([*command, *arguments], folder)
            seconds[way] = metrics["seconds"]
            accuracies = {name: round(value, 4) for name, value in metrics.items()
                          if name.endswith("accuracy")}
            print(f"{way:8} {seconds[way]:7.1f} s {accuracies}", flush=True)
            add(way, Path(folder))
    print(f"{script} is {seconds['course'] / seconds['default']:.2f} times as fast as the course.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", choices=COURSE)
    parser.add_argument("--course", action="store_true", help="only train as the course does")
    parser.add_argument("--machine", default="", help="a few words on it, for results.csv")
    own, arguments = record.split_command_line()
    line = parser.parse_args(own)
    if line.course:
        run_as_the_course_does(line.lesson, arguments)
    else:
        compare(line.lesson, arguments,
                lambda way, folder: record.add_run(line.lesson, folder, way, pair="1",
                                                   machine=line.machine))
