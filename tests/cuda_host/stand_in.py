"""The stand-in for the CUDA driver (``fake_driver.cpp``), and processes that meet it.

Compiled kernels and host libraries are shared by all of them; what a process has loaded is not.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

from tests.cuda_host.library import COMPILER, HERE, KERNEL_TEXT, ROOT, Compiler

# M, D, L, P of every scenario.
SIZES = (2, 16, 2, 2)
FLOAT64 = 3


def fnv1a(text: str) -> int:
    """The hash of specialisation.rs."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def manifest() -> str:
    """A line "hash defines" for every specialisation of SIZES."""
    lines = []
    for dtype, reference, low_points, split in product(range(4), (0, 2, 4), (False, True), (1, 2, 4, 8, 16, 32)):
        points = dtype if dtype == FLOAT64 or (low_points and reference) else 0
        numbers = dict(zip("MDLP", SIZES, strict=True))
        sizes = [("DTYPE", dtype), ("POINTS_DTYPE", points), ("REFERENCE", reference), ("D", numbers["D"]),
                 ("M", numbers["M"]), ("L", numbers["L"]), ("P", numbers["P"]), ("SPLIT", split)]  # fmt: skip
        defines = " ".join(f"-DDSCT_{name}={size}" for name, size in sizes)
        lines.append(f"{fnv1a(defines)} {defines} -DDSCT_HASH={fnv1a(defines)}u")
    return "\n".join(dict.fromkeys(lines)) + "\n"


class StandIn:
    """Builds the stand-in; host builds of the kernels are made when a module is first loaded."""

    def __init__(self, compiler: Compiler, directory: Path) -> None:
        compiler.run(["-shared", str(HERE / "fake_driver.cpp"), "-o", str(directory / "libcuda.so.1")])
        text = directory / "kernels.cu"
        text.write_text(KERNEL_TEXT, encoding="utf-8")
        (directory / "manifest").write_text(manifest(), encoding="utf-8")
        build = [str(COMPILER), "-std=c++17", "-O1", "-w", "-fPIC", "-shared", f"-I{HERE}",
                 f'-DDSCT_KERNEL_TEXT="{text}"', str(HERE / "host_library.cpp"), str(compiler.runtime)]  # fmt: skip
        self.environment = {
            "LD_LIBRARY_PATH": str(directory),
            "DSCT_FAKE_MANIFEST": str(directory / "manifest"),
            "DSCT_FAKE_KERNELS": str(directory),
            "DSCT_FAKE_BUILD": shlex.join(build),
            "DSCT_KERNEL_CACHE": str(directory / "cache"),
            "PYTHONPATH": os.pathsep.join([str(ROOT / "python"), str(ROOT / "tests"), *sys.path]),
        }
        self.servers: dict[str, subprocess.Popen[str]] = {}

    def server(self, library_path: str) -> subprocess.Popen[str]:
        """One per value of LD_LIBRARY_PATH, which counts when a process starts."""
        if library_path not in self.servers:
            self.servers[library_path] = subprocess.Popen(
                [sys.executable, str(HERE / "scenarios.py")],
                env=os.environ | self.environment | {"LD_LIBRARY_PATH": library_path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self.servers[library_path]

    def run(self, scenario: str, *arguments: str, **environment: str) -> list[str]:
        """Lines that a scenario of ``scenarios.py`` prints in a process of its own; its failure is one here."""
        server = self.server(environment.get("LD_LIBRARY_PATH", self.environment["LD_LIBRARY_PATH"]))
        assert server.stdin is not None
        assert server.stdout is not None
        print(json.dumps([scenario, arguments, environment]), file=server.stdin, flush=True)
        status, output = json.loads(server.stdout.readline())
        assert status == 0, output
        return str(output).splitlines()

    def close(self) -> None:
        """Ends the processes that fork."""
        for server in self.servers.values():
            server.communicate()
