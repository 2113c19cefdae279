"""The model compiled ahead by Inductor, for processes that cannot wait for a compiler."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from dsct.complete_files import replaced_when_complete
from dsct.export.arguments import Size, require_destination, require_model
from dsct.export.exported_program import metadata, recording, to_exported_program

if TYPE_CHECKING:
    from dsct.modules import DSCT

SERIALIZATION_ID = ".data/serialization_id"
"""In torch's archives: 40 decimal digits, otherwise random."""


def to_aot_inductor(model: DSCT, path: str | os.PathLike[str], *, mask: bool = True, size: Size | None = None) -> None:
    """Compiles the model for the kind of device that it is on; this needs minutes and a C++ compiler.

    ``torch._inductor.aoti_load_package(path)`` returns a function of images and mask; its ``get_metadata()`` contains
    the class names. A package calls ``torch.ops.dsct``, so it runs in Python after ``import dsct``, on machines
    like the one that compiled it and under the same torch. Builds of one model by one torch and one compiler are equal
    to the byte if Inductor's cache is in the same folder (``TORCHINDUCTOR_CACHE_DIR``), which the compiler writes
    into the machine code.

    Args:
        model: as in :func:`dsct.export.to_exported_program`.
        path: the file, ending in ``.pt2``; missing folders are created.
        mask: whether the function takes a padding mask.
        size: as in :func:`dsct.export.to_exported_program`.

    Raises:
        TypeError: `model` is not a :class:`dsct.DSCT`, `mask` no bool, or `path` no path.
        ValueError: `path` does not end in ``.pt2``, or as :func:`dsct.export.to_exported_program`.
        OSError: the file cannot be written, which is found out before the export as far as possible.

    Example:
        >>> import dsct, pathlib, tempfile, torch
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "model.pt2"
        >>> to_aot_inductor(dsct.DSCT(dsct.DSCTConfig.tiny()), file, mask=False)  # doctest: +SKIP
        >>> compiled = torch._inductor.aoti_load_package(str(file))  # doctest: +SKIP
        >>> compiled(torch.rand(1, 3, 96, 128))[0].shape  # doctest: +SKIP
        torch.Size([1, 8, 7])
    """
    require_model(model, "to_aot_inductor", mask=mask)
    require_destination(path, ".pt2", "to_aot_inductor")
    from torch._inductor import aoti_compile_and_package  # imports a compiler

    program = to_exported_program(model, mask=mask, size=size)
    with replaced_when_complete(path) as partial:
        # Through memory: torch reports a full disk as an internal error without the reason.
        package = io.BytesIO()
        with recording():
            aoti_compile_and_package(
                program, package_path=package, inductor_configs={"aot_inductor.metadata": metadata(model)}
            )
        _write_reproducibly(package, partial)


def _write_reproducibly(package: io.BytesIO, path: Path) -> None:
    """The same package with what differs from build to build replaced: the folder inside, the sources, a random number.

    The folder is called after the temporary file, and the sources, which nobody reads again, list the compiler's calls.
    """
    digest = hashlib.sha256()
    with zipfile.ZipFile(package) as source, zipfile.ZipFile(path, "w") as target:
        contents = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
        for name in sorted(contents):
            if name.endswith(".cpp") or name == SERIALIZATION_ID:
                continue
            target.writestr(zipfile.ZipInfo(f"model/{name}"), contents[name])
            digest.update(contents[name])
        number = int.from_bytes(digest.digest()[:16], "big")
        target.writestr(zipfile.ZipInfo(f"model/{SERIALIZATION_ID}"), f"{number:040d}")
