"""The tests of the operators, and of what uses them alone, pass where the extension is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.any_torch.without_extension import run

FILES = (
    "tests/ops/test_deform_attn.py",
    "tests/ops/test_deform_attn_fused.py",
    "tests/ops/test_deform_attn_fused_arguments.py",
    "tests/ops/test_deform_attn_fused_extremes.py",
    "tests/ops/test_dropout.py",
    "tests/ops/test_ops.py",
    "tests/ops/test_random_input.py",
    "tests/ops/transforms",
    "tests/interop/test_attention.py",
    "tests/interop/test_calls.py",
)
#: Those of them that build a model.
OF_MODELS = 5


@pytest.mark.slow
def test_without_the_extension(package: Path) -> None:
    options = ["-q", "-p", "tests.any_torch.without_extension", "-p", "no:cacheprovider"]
    process = run(package, "-m", "pytest", *options, *FILES)
    assert process.returncode == 0, process.stdout[-8000:] + process.stderr
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", process.stdout)}
    assert counts["passed"] > 500
    assert counts["skipped"] == OF_MODELS
