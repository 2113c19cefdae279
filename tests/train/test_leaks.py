"""Steps and predictions hold on to nothing: references and resident memory are after many what they were after few."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import dsct
from tests.comparison import padded_images, randomise, small

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def resident_memory() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def growth(step: Callable[[], object], count: int, warm_up: int, parts: int = 4) -> float:
    """MB that `count` calls added, after some that fill caches.

    What is held on to adds as much in every part of the calls. So the least of the parts counts: the allocator may take
    a block for itself at any time, in a process in which other tests ran.
    """
    for _ in range(warm_up):
        step()
    gc.collect()
    sizes = [resident_memory()]
    for _ in range(parts):
        for _ in range(count // parts):
            step()
        gc.collect()
        sizes.append(resident_memory())
    return parts * min(after - before for before, after in pairwise(sizes)) / 1e6


@pytest.fixture
def model() -> dsct.DSCT:
    model = dsct.DSCT(small(dropout=0.1))
    randomise(model, 0.1)
    return model


@pytest.mark.slow
def test_a_thousand_steps_hold_on_to_nothing(model: dsct.DSCT) -> None:
    criterion = dsct.SetCriterion(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    images, mask = padded_images(dtype=torch.float32)
    targets = [{"labels": torch.tensor([1, 4]), "boxes": torch.rand(2, 4) / 2}] * 2

    def step() -> None:
        optimizer.zero_grad()
        criterion.total(criterion(model(images, mask), targets)).backward()
        optimizer.step()

    step()
    references = [parameter._use_count() for parameter in model.parameters()]
    found = growth(step, 1000, warm_up=100)
    print(f"{found:.1f} MB after 1000 steps")
    assert [parameter._use_count() for parameter in model.parameters()] == references, (
        "a native clone outlives its call"
    )
    assert found < 10  # one float32 copy of the parameters in each step would be 1,500 MB


def test_errors_and_predictions_hold_on_to_nothing(model: dsct.DSCT) -> None:
    model.eval()
    images, mask = padded_images(dtype=torch.float32)
    post_process = dsct.PostProcess(model.config, nms_iou=0.5)

    def step() -> None:
        with torch.no_grad():
            post_process(model(images, mask), torch.tensor([[64, 96]] * 2))
        with pytest.raises(ValueError, match="spatial_shapes"):
            dsct.ops.ms_deform_attn(
                torch.zeros(1, 50_000, 1, 1), [(1, 1)], None, torch.zeros(1, 1, 1, 1, 1, 2), torch.zeros(1, 1, 1, 1, 1)
            )

    assert growth(step, 200, warm_up=50) < 10  # the refused tensors are 40 MB
