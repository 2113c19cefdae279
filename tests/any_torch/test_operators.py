"""The tests of the operators, and of what uses them alone, pass where the extension is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.any_torch.without_extension import run

#: Files, and how many tests of each need a model.
FILES = {
    "ops/test_deform_attn.py": 0,
    "ops/test_deform_attn_fused.py": 0,
    "ops/test_deform_attn_fused_arguments.py": 0,
    "ops/test_deform_attn_fused_extremes.py": 0,
    "ops/test_dropout.py": 1,
    "ops/test_ops.py": 0,
    "ops/test_random_input.py": 0,
    "ops/transforms/test_compiled_autograd.py": 0,
    "ops/transforms/test_function_transforms.py": 3,
    "ops/transforms/test_vmap_over_shapes.py": 1,
    "interop/test_attention.py": 0,
    "interop/test_calls.py": 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_without_the_extension(package: Path, file: str) -> None:
    options = ["-q", "-p", "tests.any_torch.without_extension", "-p", "no:cacheprovider"]
    process = run(package, "-m", "pytest", *options, f"tests/{file}")
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", process.stdout)}
    assert counts["passed"] > 0
    assert counts.get("skipped", 0) == FILES[file]
