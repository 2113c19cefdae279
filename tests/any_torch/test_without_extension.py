"""What is there without the extension, and what all else says."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.any_torch.without_extension import ROOT, run
from tests.cuda_host.library import COMPILER, Compiler
from tests.cuda_host.stand_in import StandIn

SENTENCE = "this dsct was installed without its extension, so that only dsct.ops and the attention of dsct.interop work"


def test_operators_and_the_exchange_of_attention_are_there(package: Path) -> None:
    process = run(
        package,
        "-c",
        """
import torch, dsct, dsct.interop
from dsct.interop.attention import accelerate_attention
from dsct.interop.transformers import accelerate

out = dsct.ops.ms_deform_attn(
    torch.ones(1, 6, 1, 1), [(2, 3)], [0], torch.full((1, 1, 1, 1, 1, 2), 0.5), torch.ones(1, 1, 1, 1, 1)
)
print(out.item(), accelerate_attention(torch.nn.Linear(1, 1)), dsct.__file__)
""",
    )
    assert process.stdout == f"1.0 {{}} {package / 'dsct/__init__.py'}\n", process.stderr


@pytest.mark.parametrize(
    "code",
    [
        "from dsct import DSCT",
        "import dsct; dsct.info()",
        "import dsct; dsct.interop.deformable_detr",
        "from dsct.modules import MSDeformAttn",
        "import dsct.config",
        "import dsct.prediction.predictor",
        "import dsct.train",
    ],
)
def test_all_else_says_in_one_sentence_what_is_missing(package: Path, code: str) -> None:
    process = run(package, "-c", code)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].startswith(f"ImportError: {SENTENCE}: build it")


def test_names_that_exist_nowhere_are_no_part_of_the_extension(package: Path) -> None:
    process = run(package, "-c", "import dsct; dsct.nothing")
    assert process.stderr.splitlines()[-1] == "AttributeError: module 'dsct' has no attribute 'nothing'"


def test_without_kernels_the_import_fails_with_the_same_sentence(tmp_path: Path) -> None:
    package, kernels = tmp_path / "dsct", ROOT / "python/dsct/any_torch"
    (package / "any_torch").mkdir(parents=True)
    for path in (*kernels.parent.glob("*.py"), *kernels.glob("*.py")):
        (package / path.relative_to(kernels.parent)).symlink_to(path)
    process = run(tmp_path, "-c", "import dsct")
    assert process.stderr.splitlines()[-1].startswith(f"ImportError: {SENTENCE}")


def test_the_library_is_linked_to_no_torch() -> None:
    library = (ROOT / "python/dsct/any_torch/_kernels.library").read_bytes()
    assert not [name for name in (b"libtorch", b"libc10", b"libstdc++", b"libpython") if name in library]


# ---------------------------------------------------------------- CUDA, over a stand-in for the driver


@pytest.fixture(scope="module")
def stand_in(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    made = StandIn(Compiler(tmp_path_factory.mktemp("cuda_host")), tmp_path_factory.mktemp("stand_in"))
    made.environment["PYTHONPATH"] = os.pathsep.join([str(package), made.environment["PYTHONPATH"]])
    yield made
    made.close()


@pytest.mark.skipif(sys.platform != "linux" or COMPILER is None, reason="needs Linux and g++")
@pytest.mark.skipif(torch.cuda.is_available(), reason="a driver is there")
@pytest.mark.parametrize(
    ("scenario", "environment"),
    [
        ("results float32 0", {}),
        ("results bfloat16 2", {}),
        ("results float64 4", {}),
        ("misaligned", {}),
        ("mixed_dtypes", {}),
        ("unsupported", {}),
        ("composite", {"DSCT_CUDA_KERNELS": "off"}),
    ],
)
def test_results_on_cuda_are_those_of_the_cpu(stand_in: StandIn, scenario: str, environment: dict[str, str]) -> None:
    stand_in.run(*scenario.split(), DSCT_FAKE_MULTIPROCESSORS="132", **environment)
