"""Before anything is timed: both sides compute the same."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


class Disagreement(AssertionError):
    """Both sides were to compute the same and did not; their times would say nothing."""


def distance(ours: Tensor, peer: Tensor) -> float:
    """Norm of the difference over the norm of the peer's."""
    difference = torch.linalg.vector_norm(ours.detach().double() - peer.detach().double())
    return (difference / torch.linalg.vector_norm(peer.detach().double()).clamp(min=1e-30)).item()


def require(what: str, ours: Iterable[Tensor], peer: Iterable[Tensor], tolerances: Iterable[float]) -> None:
    """Tensor by tensor, within its tolerance of `distance`.

    Raises:
        Disagreement: by how much, and in which of the tensors.
    """
    for index, (mine, other, tolerance) in enumerate(zip(ours, peer, tolerances, strict=True)):
        if mine.shape != other.shape:
            raise Disagreement(f"{what}, tensor {index}: {tuple(mine.shape)} is not {tuple(other.shape)}")
        found = distance(mine, other)
        if not found <= tolerance:
            raise Disagreement(f"{what}, tensor {index}: differs by {found:.2g}, more than {tolerance:.2g}")
