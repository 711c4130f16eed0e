"""Train a lesson as it is and as the original course does, and say how much faster it is.

  python tests/benchmark.py TF_Dogs_Cats.py
  python tests/benchmark.py TF_Human_horse.py -- --data-dir my_folder --seed 2
  python tests/benchmark.py TF_RockPaperScissors.py --course-epochs 4

What stands after -- goes to the lesson. The course's way takes the pictures from the generator's
flow itself, which reads, decodes and changes them one by one in every epoch; it computes in 32
bits, with the course's batches, epochs and optimizer, and with TensorFlow's own defaults. Its
epochs take equally long: --course-epochs times the first ones. The pair is added to
tests/results.csv.

The seconds are those that Keras spends in `fit`, and in `predict` before it, in which lesson 12
computes its features. Reading the pictures does not count, in the lesson's way. (In the course's
way, each epoch reads them.)
"""

import argparse
import importlib.util
import sys
import tempfile
import time
from pathlib import Path

import record

ROOT = Path(__file__).parent.parent
ICONS = "TF_HappyVsSad_Face.py"
TRANSFER = "TF_Dogs_Cats_Transfer_Learning.py"
COURSE = {  # flags of the course's way, and its optimizer where that is another one
    "TF_fashion_mnist.py": (["--batch-size", "32"], None),
    "TF_hand_writing_recognition.py": (["--batch-size", "32"], None),
    "TF_Human_horse.py": (["--batch-size", "32", "--epochs", "15"], "rmsprop"),
    ICONS: (["--batch-size", "10"], "rmsprop"),
    "TF_Dogs_Cats.py": (["--batch-size", "20"], "rmsprop"),
    "TF_Human_horse_Augmentation.py": (["--batch-size", "32", "--epochs", "15"], "rmsprop"),
    TRANSFER: (["--batch-size", "20", "--epochs", "20"], None),
    "TF_RockPaperScissors.py": (["--batch-size", "126", "--epochs", "25"], "rmsprop"),
    "TF_sign_language.py": (["--batch-size", "32", "--epochs", "15"], "adam"),
}
AUGMENTATION = {  # of the course's lesson 12, which is that of lesson 11
    "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2,
    "zoom_range": 0.2, "horizontal_flip": True, "fill_mode": "nearest",
}


def load_lesson(script):
    """Import a lesson as a module: its main does not run."""
    spec = importlib.util.spec_from_file_location(Path(script).stem, ROOT / script)
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    return lesson


CALLS = []  # (name, seconds) of each call of Keras's fit and predict, in their order


def watch(name):
    """Let a method of Keras's models note its seconds in CALLS, from now on."""
    import tensorflow as tf

    method = getattr(tf.keras.Model, name)

    def timed(*inputs, **settings):
        start = time.perf_counter()
        result = method(*inputs, **settings)
        CALLS.append((name, time.perf_counter() - start))
        return result

    setattr(tf.keras.Model, name, timed)


def print_seconds(script):
    """Print the seconds of the training. In lesson 12 it ends with the first `fit`: that of its
    head. (Others follow, for a learning curve.)
    """
    first_fit = [name for name, _ in CALLS].index("fit")
    total = sum(seconds for _, seconds in CALLS[:first_fit + 1])
    if script != TRANSFER:
        total += sum(seconds for name, seconds in CALLS[first_fit + 1:] if name == "fit")
    print(f"training seconds: {total:.1f}")


def train_as_it_is(script, arguments):
    """Train a lesson as a learner does, and print the seconds of its training."""
    lesson = load_lesson(script)  # it sets what TensorFlow reads when it is imported
    watch("fit")
    watch("predict")
    sys.argv = [script, *arguments]
    lesson.main(lesson.parse_arguments())
    print_seconds(script)


def train_as_the_course_does(script, arguments):
    """Train a lesson with the flow in the place of InMemory, or of arrays, in 32 bits."""
    import tensorflow as tf

    tf.nn.conv2d(tf.zeros((1, 8, 8, 1)), tf.zeros((3, 3, 1, 1)), 1, "VALID")
    lesson = load_lesson(script)  # TensorFlow has started: what the lesson sets no longer counts
    watch("fit")
    flags, optimizer = COURSE[script]
    sys.argv = [script, *flags, *arguments]
    lesson.choose_precision = lambda: tf.keras.mixed_precision.set_global_policy("float32")
    compile_model = tf.keras.Model.compile

    def compile_plainly(model, **settings):
        settings.pop("steps_per_execution", None)
        if optimizer:
            settings["optimizer"] = optimizer
        compile_model(model, **settings)

    tf.keras.Model.compile = compile_plainly
    if hasattr(lesson, "InMemory"):
        lesson.InMemory = prepare_flow
        lesson.draw_curves = stop  # what follows it wants all pictures in memory
    if script == ICONS:
        fit_the_flow_itself(lesson)
    try:
        if script == TRANSFER:
            train_through_the_base(lesson)
        else:
            lesson.main(lesson.parse_arguments())
    except StopIteration:
        pass
    print_seconds(script)


def prepare_flow(flow):
    """Return a flow as it is, with pictures for the lesson that draws one."""
    flow.pictures = flow[0][0]
    flow.reset()
    return flow


def fit_the_flow_itself(lesson):
    """Give lesson 6's flow to `fit`, in the place of the arrays."""
    import tensorflow as tf

    flows = []
    find_files = lesson.ImageDataGenerator.flow_from_directory
    fit = tf.keras.Model.fit

    def keep_flow(generator, *arguments, **settings):
        size = lesson.IMAGE_SIZE
        flows.append(find_files(generator, *arguments, target_size=size, **settings))
        return flows[0]

    def fit_flow(model, icons, labels, batch_size, **settings):
        flows[0].batch_size = batch_size
        return fit(model, flows[0], **settings)

    lesson.ImageDataGenerator.flow_from_directory = keep_flow
    tf.keras.Model.fit = fit_flow


def stop(*_):
    raise StopIteration


def train_through_the_base(lesson):
    """Lesson 12 as in the course: `mixed7` flattened, and every picture through it every time."""
    import tensorflow as tf
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    arguments = lesson.parse_arguments()
    tf.keras.utils.set_random_seed(arguments.seed)
    folder = arguments.data_dir or lesson.download(lesson.URL) / "cats_and_dogs_filtered"
    flows = []
    for name, changes in [("train", AUGMENTATION), ("validation", {})]:
        generator = ImageDataGenerator(rescale=1 / 255, **changes)
        flows.append(generator.flow_from_directory(
            folder / name, target_size=lesson.IMAGE_SIZE, class_mode="binary",
            batch_size=arguments.batch_size))
    layers = tf.keras.layers
    pixels = layers.Input((*lesson.IMAGE_SIZE, 3))
    inception = tf.keras.applications.InceptionV3(
        include_top=False, weights=str(arguments.weights or "imagenet"),
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
    history = model.fit(flows[0], validation_data=flows[1], epochs=arguments.epochs,
                        callbacks=[save_curves]).history
    print(f"best validation accuracy: {max(history['val_accuracy']):.4f}")


def compare(script, arguments, course_epochs, **more):
    """Train both ways, print the seconds and the ratio, and record both runs."""
    seconds = {}
    for way in ["default", "course"]:
        flags = arguments
        if way == "course" and course_epochs:
            flags = [*arguments, "--epochs", course_epochs]
        with tempfile.TemporaryDirectory() as folder:
            numbers = record.train(script, way, flags, folder)
            row = record.record_run(script, way, flags, Path(folder), numbers, pair="1", **more)
        seconds[way] = record.seconds_of_row(row)
        print(f"{way:8} {seconds[way]:7.1f} s {numbers}", flush=True)
    print(f"{script} is {seconds['course'] / seconds['default']:.2f} times as fast as the course.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lesson", choices=record.LESSONS)
    parser.add_argument("--only", choices=["default", "course"], help="one way, and no record")
    parser.add_argument("--course-epochs", help="time only as many epochs of the course's way")
    parser.add_argument("--machine", default="", help="a few words on it, for results.csv")
    parser.add_argument("--data", default="complete", help="complete, a part, copies, ...")
    own, arguments = record.split_command_line()
    line = parser.parse_args(own)
    if line.only == "default":
        train_as_it_is(line.lesson, arguments)
    elif line.only == "course":
        train_as_the_course_does(line.lesson, arguments)
    else:
        compare(line.lesson, arguments, line.course_epochs, machine=line.machine, data=line.data)
