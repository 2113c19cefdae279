"""Builds the kernels of the operators as a library that needs no torch: ``python build_kernels.py``.

It is put beside its loader, ``python/dsct/any_torch``, where the extension does not fit the torch that runs. It is the
same crate without the feature "torch", hence without tch, C++ and libtorch: a minute, for all torches alike.
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent
_BUILT = {"win32": "dsct.dll", "darwin": "libdsct.dylib"}.get(sys.platform, "libdsct.so")


def build(sources: pathlib.Path = ROOT, target: pathlib.Path = ROOT / "target" / "kernels") -> pathlib.Path:
    """Builds the library from `sources`, with what cargo makes on the way in `target`; the path of the library."""
    command = ["cargo", "build", "--release", "--lib", "--no-default-features", "--quiet"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    subprocess.run(command, cwd=sources, env=environment, check=True)
    library = sources / "python" / "dsct" / "any_torch" / "_kernels.library"
    # Not written into: a process may have it loaded.
    library.unlink(missing_ok=True)
    shutil.copy2(target / "release" / _BUILT, library)
    return library


if __name__ == "__main__":
    print(build())
