"""Input projection: levels from the backbone's maps and beyond them, equal to the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dsct.modules.input_projection import InputProjection
from tests.comparison import assert_same, backward, gradients, randomise, small
from tests.reference.dsct import DSCT as ReferenceDSCT


class Maps(nn.Module):
    """Stands for a backbone, of which the reference's projection reads the channels."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.num_channels = list(channels)


def features(channels: tuple[int, ...]) -> list[Tensor]:
    """Maps at strides 8, 16, … of an image of 72 × 88 pixels, sizes rounded up."""
    sizes = [(-(-72 // 2**i), -(-88 // 2**i)) for i in range(3, 3 + len(channels))]
    generator = torch.Generator().manual_seed(2)
    return [
        torch.randn(2, c, *size, dtype=torch.float64, generator=generator).requires_grad_()
        for c, size in zip(channels, sizes, strict=True)
    ]


@pytest.mark.parametrize("channels", [(6, 10, 14), (5,), (7, 9), (4, 6, 8, 10)], ids=str)
@pytest.mark.parametrize("levels", [1, 2, 3, 4, 5, 6])
def test_equals_the_reference(levels: int, channels: tuple[int, ...]) -> None:
    config = small(num_feature_levels=levels, enc_layers=0, dec_layers=1)
    ours, reference = InputProjection(channels, config).double(), ReferenceDSCT(config, Maps(channels)).double()
    randomise(ours)
    reference.input_proj.load_state_dict(ours.state_dict(), strict=True)
    results = []
    for module, project in ((ours, ours), (reference.input_proj, reference.project)):
        given = features(channels)
        maps = project(given)
        backward(maps)
        results.append((maps, [m.grad for m in given], gradients(module)))
    assert_same(*results, tolerance=1e-9)
    assert len(results[0][0]) == levels
    finest, coarsest = results[0][0][0], results[0][0][-1]
    assert finest.shape[2:] == features(channels)[max(0, len(channels) - levels)].shape[2:]
    if levels > len(channels):
        assert coarsest.shape[2] == -(-features(channels)[-1].shape[2] // 2 ** (levels - len(channels)))


def test_names_and_kernels() -> None:
    projection = InputProjection((6, 10, 14), small(num_feature_levels=5))
    shapes = {name: tuple(tensor.shape) for name, tensor in projection.state_dict().items() if tensor.dim() == 4}
    assert shapes == {
        "0.0.weight": (32, 6, 1, 1),
        "1.0.weight": (32, 10, 1, 1),
        "2.0.weight": (32, 14, 1, 1),
        "3.0.weight": (32, 14, 3, 3),
        "4.0.weight": (32, 32, 3, 3),
    }


def test_initialisation() -> None:
    for name, parameter in InputProjection((6, 10, 14), small(hidden_dim=64)).named_parameters():
        if parameter.dim() == 4:
            fan_in, fan_out = parameter[0].numel(), parameter[:, 0].numel()
            bound = (6 / (fan_in + fan_out)) ** 0.5
            assert bound * 0.9 < parameter.abs().max().item() <= bound, "Xavier, uniform"
        else:
            expected = 1.0 if name.endswith(".1.weight") else 0.0
            assert torch.equal(parameter, torch.full_like(parameter, expected))


@pytest.mark.parametrize(
    "channels", [(), (14,), (6, 10), (10, 6, 14), (6, 10, 14, 14)], ids=["none", "one", "two", "order", "four"]
)
def test_other_maps_than_announced_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"features must be maps \(B, C, H, W\) of \(6, 10, 14\) channels"):
        InputProjection((6, 10, 14), small()).double()(features(channels))


def test_an_empty_batch() -> None:
    maps = InputProjection((6, 10, 14), small())([m[:0].float() for m in features((6, 10, 14))])
    assert [tuple(m.shape) for m in maps] == [(0, 32, 9, 11), (0, 32, 5, 6), (0, 32, 3, 3), (0, 32, 2, 2)]
