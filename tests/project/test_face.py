"""What ``import dsct`` alone brings: every name that a reader of the documentation may write after it."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import dsct

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "notebooks").glob("*.ipynb"),
]
NAME = re.compile(r"\bdsct((?:\.[A-Za-z_]\w*)+)")


def alone(program: str) -> str:
    """What a program prints in a process of its own."""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def named_submodules() -> set[str]:
    """First words after ``dsct.`` in README, documentation and tutorials that are files or folders of the package."""
    words = {name[1:].partition(".")[0] for page in PAGES for name in NAME.findall(page.read_text(encoding="utf-8"))}
    package = Path(dsct.__file__).parent
    return {word for word in words if (package / word).is_dir() or (package / f"{word}.py").is_file()}


def test_every_submodule_that_is_named_is_an_attribute() -> None:
    names = {"train", "metrics", "export", "annotate", "visualize", "demo", "video", "interop", "data", "ops"}
    names |= named_submodules()
    program = f"import dsct\nfor name in {sorted(names)}:\n    print(getattr(dsct, name).__name__)"
    assert alone(program).split() == [f"dsct.{name}" for name in sorted(names)]


def named_files() -> set[str]:
    """Every file of the package that is named with its folders, as in ``dsct.prediction.people.People``."""
    package, found = Path(dsct.__file__).parent, set()
    for name in {name for page in PAGES for name in NAME.findall(page.read_text(encoding="utf-8"))}:
        words = name[1:].split(".")
        for count in range(2, len(words) + 1):
            if package.joinpath(*words[:count]).with_suffix(".py").is_file():
                found.add(".".join(words[:count]))
    return found


def test_every_file_that_is_named_is_an_attribute() -> None:
    """Each in a process that has used no other; what takes long to import they share."""
    program = (
        "import os, matplotlib.figure, torchvision, dsct\n"
        f"for name in {sorted(named_files())}:\n"
        "    if os.fork() == 0:\n"
        "        eval('dsct.' + name)\n"
        "        os._exit(0)\n"
        "    print(name * (os.wait()[1] == 0))"
    )
    assert alone(program).split() == sorted(named_files())


def test_they_load_on_demand_and_are_listed() -> None:
    """Torchvision takes as long to import as torch; the others bring figures, tables, servers and compilers."""
    heavy = {"torchvision", "matplotlib", "sklearn", "scipy", "pandas", "starlette", "onnx", "av", "typer", "rich"}
    late = {"data", "train", "metrics", "export", "visualize", "demo"}
    program = (
        "import sys, dsct\n"
        f"print(sorted({heavy} & set(sys.modules)), {late} <= set(dir(dsct)))\n"
        f"print(sorted(name for name in {late} if f'dsct.{{name}}' in sys.modules))"
    )
    assert alone(program).splitlines() == ["[] True", "[]"]


@pytest.mark.parametrize("name", ["info", "warmup"])
def test_a_function_is_no_module(name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"No module named 'dsct.{name}'"):
        __import__(f"dsct.{name}")
    assert isinstance(getattr(dsct, name), FunctionType)


@pytest.mark.parametrize(
    "first", ["import dsct.predict as p, dsct", "import dsct; dsct.predict; import dsct.predict as p"]
)
def test_predict_is_one_object_whichever_way_it_comes(first: str) -> None:
    program = (
        f"{first}\n"
        "import inspect, numpy as np\n"
        "from dsct.predict import predict, predict_stream\n"
        "image, model = np.zeros((64, 96, 3), dtype=np.uint8), dsct.DSCT(dsct.DSCTConfig.tiny())\n"
        "sizes = [call(image, model, short_side=64).image_size for call in (dsct.predict, p, p.predict, predict)]\n"
        "print(p is dsct.predict, p.predict_stream is dsct.predict_stream is predict_stream, callable(p), set(sizes))\n"
        "print(inspect.signature(p) == inspect.signature(predict))"
    )
    assert alone(program).splitlines() == ["True True True {(96, 64)}", "True"]


def test_predict_goes_to_other_processes() -> None:
    """As a function does: `multiprocessing` pickles what it calls."""
    assert pickle.loads(pickle.dumps(dsct.predict)) is copy.deepcopy(dsct.predict) is dsct.predict


def test_threads_load_the_face_together() -> None:
    program = (
        "import threading, dsct\n"
        "found = []\n"
        "names = ['predict', 'Predictor', 'People', 'visualize', 'train', 'metrics', 'predict_stream', 'data']\n"
        "start = threading.Barrier(len(names))\n"
        "def load(name):\n"
        "    start.wait()\n"
        "    found.append(getattr(dsct, name))\n"
        "threads = [threading.Thread(target=load, args=(name,)) for name in names]\n"
        "[thread.start() for thread in threads]\n"
        "[thread.join() for thread in threads]\n"
        "print(len(found))"
    )
    assert alone(program) == "8\n"


@pytest.mark.parametrize("name", ["video", "annotate", "predict", "shipped_weights"])
def test_public_modules_keep_their_import_paths(name: str) -> None:
    assert alone(f"import dsct.{name} as module; print(bool(module.__all__), module.__name__)") == f"True dsct.{name}\n"


def test_people_are_where_they_were() -> None:
    assert alone("import dsct; print(dsct.people.People is dsct.People)") == "True\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'dsct' has no attribute 'trian'"):
        dsct.trian  # noqa: B018
