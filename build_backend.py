"""PEP 517 backend: maturin, for the torch of the environment that is installed into.

Pip builds in an isolated environment that hides that torch. So this asks the interpreter itself, past the isolation,
and hands the answer to the native build in the environment variable LIBTORCH. Where there is no torch that the sources
are built for, the newest one is a requirement of the build. A wheel requires a torch under which it loads, and its
version says which these are (0.1.0+torch2.13to2.15): it is built from a copy of the sources that says so.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

import maturin
from maturin import *  # noqa: F403  (the hooks that are not overridden below)

from build_kernels import build as build_kernels
from build_torch import ROOT, copy_sources, installed, minor, newest, version_of


def _find_torch() -> pathlib.Path:
    """The folder of the torch to build for, which LIBTORCH names afterwards."""
    if "LIBTORCH" not in os.environ:
        found = installed("-I") or installed()
        if found is None:
            raise SystemExit(f"a build of dsct needs torch: run `pip install torch=={newest()}` first.")
        os.environ["LIBTORCH"] = str(found)
    return pathlib.Path(os.environ["LIBTORCH"])


@contextlib.contextmanager
def _sources_of_a_wheel() -> Iterator[None]:
    """Works in a copy of the sources that names the torch, as maturin reads them from the working directory."""
    version = version_of(_find_torch())
    work, before = ROOT / "target" / f"torch{minor(version)}", pathlib.Path.cwd()
    copy_sources(version, work / "sources")
    os.environ.setdefault("CARGO_TARGET_DIR", str(work / "build"))
    os.chdir(work / "sources")
    try:
        yield
    finally:
        os.chdir(before)


def _requirements(of_maturin: list[str]) -> list[str]:
    has_torch = "LIBTORCH" in os.environ or installed("-I") is not None
    return of_maturin if has_torch else [*of_maturin, f"torch=={newest()}"]


def get_requires_for_build_wheel(config_settings=None):  # type: ignore[no-untyped-def]
    return _requirements(maturin.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_editable(config_settings=None):  # type: ignore[no-untyped-def]
    return _requirements(maturin.get_requires_for_build_editable(config_settings))


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):  # type: ignore[no-untyped-def]
    folder = os.path.abspath(metadata_directory)
    with _sources_of_a_wheel():
        return maturin.prepare_metadata_for_build_wheel(folder, config_settings)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]
    folder = os.path.abspath(wheel_directory)
    with _sources_of_a_wheel():
        build_kernels(pathlib.Path.cwd(), pathlib.Path(os.environ["CARGO_TARGET_DIR"]) / "kernels")
        return maturin.build_wheel(folder, config_settings, metadata_directory)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):  # type: ignore[no-untyped-def]
    version_of(_find_torch())
    build_kernels()
    return maturin.build_editable(wheel_directory, config_settings, metadata_directory)
