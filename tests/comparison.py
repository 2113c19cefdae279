"""One model beside another: the same random weights and inputs, compared outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dsct import DSCTConfig

Shapes = list[tuple[int, int]]


def randomise(module: nn.Module, scale: float = 0.2) -> None:
    """Give every parameter a random value: zeros and symmetries of the initialisation hide mistakes."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(scale * torch.randn_like(parameter))


def small(**overrides: Any) -> DSCTConfig:
    """The smallest configuration in which every part still does something; no dropout."""
    sizes: dict[str, Any] = {
        "backbone": "tiny", "train_backbone": "all", "num_classes": 5, "multi_label": False, "num_subject_queries": 3,
        "num_context_queries": 9, "hidden_dim": 32, "nheads": 4, "enc_layers": 1, "dec_layers": 2,
        "dim_feedforward": 24, "dropout": 0.0, "num_feature_levels": 4, "enc_n_points": 2, "dec_n_points": 3,
        "k_spatial": 4, "k_semantic": 3,
    }  # fmt: skip
    return DSCTConfig(**{**sizes, **overrides})


def padded_images(
    batch: int = 2, height: int = 64, width: int = 96, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W), and a mask (B, H, W) that pads every image but the first, by no whole number of cells."""
    images = torch.randn(batch, 3, height, width, dtype=torch.float64).to(dtype)
    mask = torch.zeros(batch, height, width, dtype=torch.bool)
    mask[1:, height * 5 // 7 :] = True
    mask[1:, :, width * 4 // 5 :] = True
    return images, mask


def assert_same(ours: Any, reference: Any, tolerance: float = 1e-10) -> None:
    """Tensors alike, None where None, in nested lists, tuples and mappings."""
    if isinstance(reference, Mapping):
        assert ours.keys() == reference.keys()
        ours, reference = list(ours.values()), [reference[name] for name in ours]
    if isinstance(reference, (list, tuple)):
        assert len(ours) == len(reference)
        for mine, other in zip(ours, reference, strict=True):
            assert_same(mine, other, tolerance)
    elif reference is None:
        assert ours is None
    else:
        torch.testing.assert_close(ours, reference, rtol=tolerance, atol=tolerance)


def tensors_of(output: Any) -> Iterable[Tensor]:
    """All tensors in nested lists and mappings."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors_of(value)
    elif isinstance(output, (list, tuple)):
        for value in output:
            yield from tensors_of(value)


def backward(output: Any, seed: int = 1) -> None:
    """Back-propagate the same random weighting of all elements of all tensors."""
    generator = torch.Generator().manual_seed(seed)
    total = [
        (t * torch.randn(t.shape, dtype=torch.float64, generator=generator).to(t)).sum() for t in tensors_of(output)
    ]
    torch.stack(total).sum().backward()


def gradients(module: nn.Module) -> dict[str, Tensor | None]:
    """Gradients by parameter name."""
    return {name: parameter.grad for name, parameter in module.named_parameters()}
