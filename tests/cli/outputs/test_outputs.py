"""What a command writes is there whole or not at all, and an error is one sentence that names the file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import dsct
from dsct.cli import app
from dsct.cli.evaluation.numbers import as_json
from dsct.data import SyntheticDataset
from dsct.prediction.video import VideoWriter
from tests.cli.outputs.bad_places import full_disk, read_only
from tests.data.dataset_files import save_scenes, write_coco_json
from tests.prediction.drawn_video import drawn
from tests.visualize.test_evaluation import evaluation
from tests.visualize.traced_model import small_model

MODEL = "--weights model.safetensors --device cpu"
EVAL = f"eval synthetic {MODEL} --size 4 --image-size 64x48 --resamples 0 --split val"
#: Command and ending of the file that it writes to OUT.
FILES = {
    "predict json": (f"predict data/images {MODEL} --out OUT", ".json"),
    "predict jsonl": (f"predict data/images {MODEL} --out OUT", ".jsonl"),
    "predict csv": (f"predict data/images {MODEL} --out OUT", ".csv"),
    "predict video": (f"predict clip.mp4 {MODEL} --out OUT", ".json"),
    "data convert": ("data convert data OUT --images none --split val", ".json"),
    "data check": ("data check data --name coco --split val --json OUT", ".json"),
    "data check sheet": ("data check data --name coco --split val --sheet-images 1 --sheet OUT", ".png"),
    "convert": ("convert model.safetensors OUT", ".safetensors"),
    "convert released": ("convert model.safetensors OUT", ".pth"),
    "eval json": (f"{EVAL} --json OUT", ".json"),
    "eval people": (f"{EVAL} --people OUT", ".csv"),
    "eval people parquet": (f"{EVAL} --people OUT", ".parquet"),
    "figure png": ("figure curves run --out OUT", ".png"),
    "figure svg": ("figure confusion evaluation.json --out OUT", ".svg"),
    "figure pdf": ("figure classes evaluation.json --out OUT", ".pdf"),
    "figure of images": (f"figure people data/images/val/val_00.png {MODEL} --out OUT", ".pdf"),
    "figure sheet": (f"figure sheet data/images/val/val_00.png {MODEL} --out OUT", ".svg"),
}
#: Command, and a file in the folder OUT that it writes.
FOLDERS = {
    "predict annotate": (f"predict data/images {MODEL} --quiet --annotate OUT", "001_val_00.png"),
    "predict annotate video": (f"predict clip.mp4 {MODEL} --quiet --annotate OUT", "001_clip.mp4"),
    "data convert link": ("data convert data OUT --images link --split val", "val.json"),
    "data convert copy": ("data convert data OUT --images copy --split val", "images/val/val/val_00.png"),
    "eval out": (f"{EVAL} --out OUT", "people.csv"),
}  # fmt: skip
#: These take long, and write as the others do.
SLOW = {
    "export onnx": ("export model.safetensors OUT --size 1x65x65", ".onnx"),
    "export pt2": ("export model.safetensors OUT --size 1x65x65", ".pt2"),
    "overfit": ("overfit synthetic --device cpu --images 1 --steps 1 --short-side 48 --page OUT", ".png"),
}
#: An older file is the results so far, or must be allowed to be replaced.
REPLACED = {
    **{name: one for name, one in FILES.items() if not name.startswith(("predict", "data convert"))},
    "data convert force": ("data convert data OUT --images none --split val --force", ".json"),
}
LONGEST = 255  # bytes of a name


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a data set, a video, a run and an evaluation."""
    root = tmp_path_factory.mktemp("inputs")
    scenes = SyntheticDataset("val", 2, image_size=(64, 48))
    dsct.save_model(small_model(class_names=scenes.class_names, multi_label=False), root / "model.safetensors")
    records = save_scenes(scenes, root / "data" / "images", lambda index, _: f"val/val_{index:02d}.png")
    write_coco_json(root / "data" / "val.json", records, scenes.class_names)
    with VideoWriter(root / "clip.mp4") as writer:
        for number, image in enumerate(drawn(3)):
            writer.write(number / 5, image)
    (root / "run").mkdir()
    (root / "run" / "log.csv").write_text("epoch,train_loss,val_loss,is_best\n1,3.0,3.5,1\n2,2.0,2.5,1\n")
    (root / "evaluation.json").write_text(json.dumps(as_json(evaluation(False), {})))
    return root


@pytest.fixture(autouse=True)
def in_inputs(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(inputs)


def run(command: str, out: Path) -> Result:
    words = [str(out) if word == "OUT" else word for word in command.split()]
    return CliRunner().invoke(app, words, env={"COLUMNS": "200"})


def assert_written(command: str, out: Path) -> None:
    result = run(command, out)
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert out.exists()
    assert not left_over(out.parent)


def assert_one_sentence(result: Result, why: str, file: Path) -> None:
    """The last line, and the only one about an error."""
    assert result.exit_code == 1, result.output + repr(result.exception)
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], result.stderr
    assert "Traceback" not in result.output
    assert why in lines[-1]
    assert lines[-1].count(str(file)) == 1, lines[-1]
    assert ".partial" not in lines[-1]


def left_over(folder: Path) -> list[Path]:
    """Temporary files, all of which have hidden names."""
    return [path for path in folder.rglob("*") if path.name.startswith((".", "tmp")) or path.suffix == ".partial"]


def each(commands: dict[str, tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("command", "name"), commands.values(), ids=commands)


SLOWLY = [pytest.param(*one, id=name, marks=pytest.mark.slow) for name, one in SLOW.items()]


@pytest.mark.parametrize(
    ("command", "ending"), [*(pytest.param(*one, id=name) for name, one in FILES.items()), *SLOWLY]
)
def test_a_full_disk_is_named_and_nothing_is_left(command: str, ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{ending}"
    with full_disk(room=16):
        result = run(command, out)
    assert_one_sentence(result, "File too large", out)
    assert not list(tmp_path.iterdir())


@each(FOLDERS)
def test_a_disk_that_is_full_for_a_file_of_a_folder(command: str, name: str, tmp_path: Path) -> None:
    """Files before it are whole."""
    out = tmp_path / "out"
    with full_disk(room=16):
        result = run(command, out)
    assert_one_sentence(result, "File too large", out / name)
    assert not (out / name).exists()
    assert not left_over(tmp_path)


@each(REPLACED)
def test_a_full_disk_leaves_the_older_file(command: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{name}"
    out.write_text("old")
    with full_disk(room=16):
        result = run(command, out)
    assert_one_sentence(result, "File too large", out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


@each({name: one for name, one in FILES.items() if name != "data convert"})
def test_a_device_is_written_to_and_stays(command: str, name: str, tmp_path: Path) -> None:
    """A device that is always full, behind a link."""
    out = tmp_path / f"out{name}"
    out.symlink_to("/dev/full")
    result = run(command, out)
    assert_one_sentence(result, "No space left on device", out)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert out.is_symlink()
    assert list(tmp_path.iterdir()) == [out]


@each(FILES)
def test_a_folder_in_place_of_the_file(command: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / f"out{name}"
    out.mkdir()
    result = run(f"{command} --force" if "data convert" in command else command, out)
    assert_one_sentence(result, "Is a directory", out)
    assert list(tmp_path.rglob("*")) == [out]


@each(FOLDERS)
def test_a_file_in_place_of_the_folder(command: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    result = run(f"{command} --force" if "data convert" in command else command, out)
    assert_one_sentence(result, "File exists", out)
    assert out.read_text() == "a file"
    assert list(tmp_path.iterdir()) == [out]


@each(FILES | {name: (command, "") for name, (command, _) in FOLDERS.items()})
def test_a_file_in_place_of_the_parent_folder(command: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    out = tmp_path / "file" / f"out{name}"
    result = run(command, out)
    assert_one_sentence(result, "", out)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["a file"]


@each(FILES | {name: (command, "") for name, (command, _) in FOLDERS.items()})
def test_a_folder_that_may_only_be_read(command: str, name: str, tmp_path: Path) -> None:
    out = tmp_path / "folder" / f"out{name}"
    out.parent.mkdir()
    with read_only(out.parent):
        result = run(command, out)
    assert_one_sentence(result, "Permission denied", out)
    assert not list(out.parent.iterdir())


@each(FILES | {name: (command, "") for name, (command, _) in FOLDERS.items()})
def test_names_of_any_length_and_missing_folders(command: str, name: str, tmp_path: Path) -> None:
    """255 bytes are what file systems take, here of characters of three bytes."""
    euros, others = divmod(LONGEST - len(name), 3)
    stem = "x" * others + "\N{EURO SIGN}" * euros
    assert len(os.fsencode(stem + name)) == LONGEST
    assert_written(command, tmp_path / "a" / "b" / f"{stem}{name}")
    too_long = tmp_path / f"{stem}x{name}"
    assert_one_sentence(run(command, too_long), "File name too long", too_long)
    assert not [path for path in tmp_path.iterdir() if path.name != "a"]


@pytest.mark.parametrize("letter", ["x", "\N{EURO SIGN}"], ids=["ascii", "three bytes"])
@pytest.mark.parametrize("source", ["data/images/val/val_00.png", "clip.mp4"], ids=["image", "video"])
def test_the_annotated_copy_of_a_file_of_the_longest_name(source: str, letter: str, tmp_path: Path) -> None:
    """Its number makes the name longer than the file system takes; it is cut between two characters."""
    ending = Path(source).suffix
    count, rest = divmod(LONGEST - len(ending), len(letter.encode()))
    name = "y" * rest + letter * count + ending
    assert len(os.fsencode(name)) == LONGEST
    (tmp_path / name).symlink_to(Path(source).resolve())
    result = run(f"predict {tmp_path / name} {MODEL} --quiet --annotate OUT", tmp_path / "out")
    assert result.exit_code == 0, result.output + repr(result.exception)
    (copy,) = (tmp_path / "out").iterdir()
    assert copy.name.startswith("001_" + "y" * rest + letter)
    assert (copy.suffix, set(copy.stem[4 + rest :])) == (ending, {letter})
    assert LONGEST - len(letter.encode()) < len(os.fsencode(copy.name)) <= LONGEST


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    (tmp_path / "elsewhere").mkdir()
    out.symlink_to(tmp_path / "elsewhere" / "real.json")
    assert_written(FILES["data check"][0], out)
    assert out.is_symlink()
    assert json.loads((tmp_path / "elsewhere" / "real.json").read_text())["ok"]
    assert not left_over(tmp_path)


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv"])
def test_predictions_before_the_disk_was_full_are_kept(ending: str, tmp_path: Path) -> None:
    """In a file that can be read."""
    command, out, whole = (
        FILES["predict csv"][0] + " --score-threshold 0",
        tmp_path / f"a{ending}",
        tmp_path / f"b{ending}",
    )
    assert_written(command, whole)
    with full_disk(room=whole.stat().st_size - 1):
        result = run(command, out)
    assert_one_sentence(result, "File too large", out)
    first, second = (list(_images(path)) for path in (out, whole))
    assert first == second[: len(first)]
    assert set(first) == {"data/images/val/val_00.png"}
    assert set(second) == {"data/images/val/val_00.png", "data/images/val/val_01.png"}
    assert not left_over(tmp_path)


def _images(path: Path) -> list[str]:
    text = path.read_text()
    if path.suffix == ".csv":
        return [line.split(",")[0] for line in text.splitlines()[1:]]
    return [
        one["image"] for one in (json.loads(text) if path.suffix == ".json" else map(json.loads, text.splitlines()))
    ]


def test_one_bad_place_leaves_no_file_in_the_good_one(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").mkdir()
    result = run(f"{FILES['predict json'][0]} --out {tmp_path / 'bad.csv'}", tmp_path / "good.json")
    assert_one_sentence(result, "Is a directory", tmp_path / "bad.csv")
    assert list(tmp_path.iterdir()) == [tmp_path / "bad.csv"]


def test_an_image_that_cannot_be_copied_leaves_the_older_one(inputs: Path, tmp_path: Path) -> None:
    command, _ = FOLDERS["data convert copy"]
    image = tmp_path / "out" / "images" / "val" / "val" / "val_00.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"old")
    with full_disk(room=16):
        result = run(f"{command} --force", tmp_path / "out")
    assert_one_sentence(result, "val_00.png cannot be copied: File too large", image)
    assert image.read_bytes() == b"old"
    assert not left_over(tmp_path)
    assert_written(f"{command} --force", tmp_path / "out")
    assert image.read_bytes() == (inputs / "data" / "images" / "val" / "val_00.png").read_bytes()


def test_a_folder_without_annotations_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run(f"data convert {tmp_path / 'empty'} OUT --name emotic", tmp_path / "out")
    assert_one_sentence(result, "source must have annotations of emotic, there are none in", tmp_path / "empty")
    assert not (tmp_path / "out").exists()
