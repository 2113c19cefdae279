"""The shape of the project: dependencies point one way, and every folder has its tests."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python/dsct"
RUST = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.rs")}

#: Rooms of the package (folders, and files at its top) from the ground up; each uses only what stands on lower floors.
FLOORS = (
    ("_import_guard", "any_torch", "complete_files", "json_text", "output_streams"),
    ("config", "ops", "runtime", "sound_values"),
    ("criterion", "data", "modules", "post_process"),
    ("checkpoint", "metrics"),
    ("interop", "prediction"),
    ("export", "visualize"),
    ("annotate", "demo", "predict", "shipped_weights", "train", "video"),
    ("__init__",),
    ("cli",),
    ("__main__",),
)
#: Wanted: `People.plot` draws itself.
UPWARD = {("prediction/people.py", "visualize")}
#: Folders of the product whose tests are called otherwise: a word of the paper, and what is tested through all others.
TESTED_IN = {"modules": "model", "post_process": "prediction", "python": None, "cuda": "cuda_host"}
DRAWERS = {"utils", "misc", "common", "helpers"}


def imports(path: Path, package: Path) -> Iterator[str]:
    """Names of modules that a file imports, wherever in it; `from dsct import x` is an import of the package's face."""
    folder = ("dsct", *path.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else ()
            module = ".".join(filter(None, (*above, node.module)))
            yield module
            # A module may be what is imported from a folder, as in `from dsct.metrics import assignment`.
            if module.startswith("dsct."):
                yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (name.value for name in node.args[:1] if isinstance(name, ast.Constant))


def room_of(module: str) -> str | None:
    """The room that a name of a module leads to; None outside the package and for its native part."""
    first, _, rest = module.partition(".")
    room = rest.partition(".")[0] or "__init__"
    return room if first == "dsct" and room != "_dsct" else None


def wrong_imports(package: Path) -> list[str]:
    """What is imported against the order of `FLOORS`, as "file -> room"."""
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    wrong = set()
    for path in package.rglob("*.py"):
        file = path.relative_to(package)
        own = file.parts[0].removesuffix(".py")
        for room in filter(None, map(room_of, imports(path, package))):
            if room != own and floor[room] >= floor[own] and (str(file), room) not in UPWARD:
                wrong.add(f"{file} -> {room}")
    return sorted(wrong)


def test_python_imports_point_down() -> None:
    assert not wrong_imports(PACKAGE)


def test_every_room_stands_on_one_floor() -> None:
    rooms = {
        path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert sorted(room for rooms in FLOORS for room in rooms) == sorted(rooms)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data/coco.py", "from dsct.visualize.drawing.panel import Panel"),
        ("modules/dsct.py", "from dsct import DSCT"),
        ("checkpoint/native.py", "def load():\n    import dsct"),
        ("metrics/results.py", "if TYPE_CHECKING:\n    from dsct.checkpoint import save_model"),
        ("visualize/people.py", "import dsct.train.engine"),
        ("metrics/tables.py", "from .. import train"),
        ("data/coco.py", "from ..visualize.drawing.panel import Panel"),
        ("modules/heads.py", "def later():\n    return import_module('dsct.prediction')"),
    ],
)
def test_a_wrong_import_would_be_seen(file: str, line: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir()
    (tmp_path / file).write_text(line)
    assert [found.split(" -> ")[0] for found in wrong_imports(tmp_path)] == [file]


def test_no_circle_of_files() -> None:
    """Inside a room too, at load and at call time, and for types."""
    files = {
        ".".join(("dsct", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in PACKAGE.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    graph = {
        name: {one for one in imports(path, PACKAGE) if one in modules and one != name}
        for name, path in modules.items()
        if path.name != "__init__.py"  # hands names on
    }
    graph["dsct.prediction.people"] -= {"dsct.visualize"}
    assert list(graphlib.TopologicalSorter(graph).static_order())


def users_of(word: str) -> set[str]:
    return {str(path.relative_to(ROOT / "src").parent) for path, text in RUST.items() if word in text}


def test_only_the_bindings_know_python() -> None:
    assert RUST
    assert users_of("pyo3") == {"python"}


def test_model_and_criterion_do_not_know_each_other() -> None:
    assert users_of("crate::criterion") <= {"python", "criterion", "."}
    assert users_of("crate::model") <= {"python", "model", "."}


def test_operators_know_neither_model_nor_criterion() -> None:
    for word in ("crate::model", "crate::criterion", "crate::post_process", "crate::python"):
        assert not [folder for folder in users_of(word) if folder.startswith("ops")], word


def test_each_folder_has_its_tests() -> None:
    folders = {path.parent.relative_to(PACKAGE).parts[0] for path in PACKAGE.glob("*/*.py")}
    folders |= {path.name for path in (ROOT / "src").iterdir() if path.is_dir()} | {"cuda"}
    wanted = {TESTED_IN.get(folder, folder) for folder in folders} - {None}
    assert {folder for folder in wanted if not any((ROOT / "tests" / str(folder)).glob("*.py"))} == set()


def test_each_block_of_the_model_has_its_test() -> None:
    blocks = {path.stem for path in RUST if path.parent.name == "model"}
    blocks |= {path.stem for path in (PACKAGE / "modules").glob("*.py")}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests/model").glob("test_*.py")}
    assert blocks - tests == {"mod", "__init__", "layers", "evaluating", "precision"}, (
        "no blocks, and tested inside them"
    )


def test_no_drawers_and_no_crowds() -> None:
    sources = [*RUST, *PACKAGE.rglob("*.py"), *(path for path in (ROOT / "cuda").rglob("*") if path.is_file())]
    tests = [path for kind in ("py", "rs", "cpp", "hpp") for path in (ROOT / "tests").rglob(f"*.{kind}")]
    assert not [path for path in (*sources, *tests) if path.stem in DRAWERS]
    folders = [path.parent for path in (*sources, *tests) if path.name != "__init__.py"]
    crowds = {
        str(folder.relative_to(ROOT)): folders.count(folder) for folder in set(folders) if folders.count(folder) > 16
    }
    assert not crowds
