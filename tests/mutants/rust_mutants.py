"""The mutants of the Rust core, as cargo-mutants finds them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.mutants.covering import Covering
from tests.mutants.mutant import Mutant, Place

#: Needs a GPU to run.
LEFT_OUT = ("src/ops/deform_attn_cuda",)

#: Folders and files of `src`, and the tests that reach them through the extension.
TESTS = {
    "src/average_precision.rs": ("tests/metrics/",),
    "src/boxes.rs": ("tests/criterion/", "tests/metrics/", "tests/prediction/"),
    "src/checkpoint.rs": ("tests/prediction/test_standalone.py", "tests/checkpoint/"),
    "src/config.rs": ("tests/model/", "tests/prediction/test_standalone.py"),
    "src/criterion": ("tests/criterion/",),
    "src/model": ("tests/model/", "tests/prediction/test_standalone.py"),
    "src/ops": ("tests/ops/", "tests/model/"),
    "src/params.rs": ("tests/prediction/test_standalone.py", "tests/model/"),
    "src/photo.rs": ("tests/prediction/test_standalone.py",),
    "src/post_process": ("tests/model/", "tests/metrics/", "tests/prediction/"),
    "src/python": ("tests/ops/", "tests/criterion/", "tests/metrics/", "tests/model/",
                   "tests/prediction/test_standalone.py"),
    "src": ("tests/criterion/", "tests/metrics/", "tests/ops/", "tests/model/"),
}  # fmt: skip


def mutants(root: Path) -> Iterator[Mutant]:
    """All mutants of the core that run on a CPU."""
    listed = subprocess.run(
        ["cargo", "mutants", "--list", "--json"], cwd=root, capture_output=True, text=True, check=True
    )
    for found in json.loads(listed.stdout):
        if not found["file"].startswith(LEFT_OUT):
            start, end = (Place(found["span"][at]["line"], found["span"][at]["column"] - 1) for at in ("start", "end"))
            yield Mutant(found["file"], start, end, found["replacement"])


def mutated(mutant: Mutant, source: str) -> str:
    """The file with the change."""
    lines = source.splitlines(keepends=True)
    before = "".join(lines[: mutant.start.line - 1]) + lines[mutant.start.line - 1][: mutant.start.column]
    after = lines[mutant.end.line - 1][mutant.end.column :] + "".join(lines[mutant.end.line :])
    return f"{before}{mutant.change}{after}"


def tests(covering: Covering, file: str) -> list[str]:
    """The tests that reach a file of the core, fast ones first."""
    room = next(room for room in sorted(TESTS, key=len, reverse=True) if file.startswith(room))
    return sorted(covering.below(*TESTS[room]), key=lambda name: covering.seconds[name])


class Builds:
    """Compiles the core of a copy of the project, and of that only what changed.

    Args:
        tree: the copy.
        target: for what is compiled; what the project has compiled is copied there.
        compiled: of the project.
    """

    UNVIABLE = "does not compile"
    #: Small parts, of which few change with a mutant; dependencies stay as they are compiled.
    PARTS = "\n[profile.release.package.dsct]\ncodegen-units = 64\n"

    def __init__(self, tree: Path, target: Path, compiled: Path) -> None:
        self.tree, self.target = tree, target
        if (compiled / "release").is_dir() and not target.is_dir():
            # With their times, by which cargo tells what is new.
            shutil.copytree(compiled / "release", target / "release", symlinks=True)
        with (tree / "Cargo.toml").open("a") as manifest:
            manifest.write(self.PARTS)
        # The link that the project was compiled with, not what it leads to.
        self.environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "CARGO_INCREMENTAL": "1"}
        self.environment.setdefault("LIBTORCH", str(compiled.parent / ".venv/libtorch"))

    def extension(self) -> str | None:
        """Builds the extension and puts it in its place; what is wrong, if it does not compile."""
        if self._cargo("build", "--release", "--features", "python", "--lib"):
            return self.UNVIABLE
        place = next((self.tree / "python/dsct").glob("_dsct*.so"))
        place.unlink()
        shutil.copy2(self.target / "release/libdsct.so", place)
        return None

    def rust_tests(self) -> str | None:
        """Runs the tests of the core itself; which failed, if one did."""
        return "a Rust test" if self._cargo("test", "--release", "--quiet", "--lib", "--tests") else None

    def _cargo(self, *arguments: str) -> int:
        run = subprocess.run(
            ["cargo", *arguments], cwd=self.tree, env=self.environment, capture_output=True, check=False
        )
        return run.returncode
