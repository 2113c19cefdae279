"""Dependencies point one way: Python surface -> bindings -> model, criterion -> operators -> kernels."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
RUST = {path: path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.rs")}


def users_of(word: str) -> set[str]:
    return {str(path.relative_to(ROOT / "src").parent) for path, text in RUST.items() if word in text}


def test_only_the_bindings_know_python() -> None:
    assert RUST
    assert users_of("pyo3") == {"python"}


def test_model_and_criterion_do_not_know_each_other() -> None:
    assert users_of("crate::criterion") <= {"python", "criterion", "."}
    assert users_of("crate::model") <= {"python", "model", "."}


def test_no_drawers() -> None:
    sources = [*RUST, *(ROOT / "python").rglob("*.py"), *(ROOT / "cuda").rglob("*.*")]
    assert not [path for path in sources if path.stem in {"utils", "misc", "common", "helpers"}]


def test_each_block_of_the_model_has_its_test() -> None:
    blocks = {path.stem for path in RUST if path.parent.name == "model"}
    blocks |= {path.stem for path in (ROOT / "python/dsct/modules").glob("*.py")}
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert blocks - tests == {"mod", "__init__", "layers"}, "layers are tested inside the blocks"
