"""Images of different sizes as one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dsct.data.records import Target


class Batch(NamedTuple):
    """The input of one training or evaluation step.

    Attributes:
        images: (B, 3, H, W) float, zero where padded; H and W are the largest of the batch.
        mask: (B, H, W) bool, True where padded; ``None`` if no image is padded.
        targets: B targets.

    Example:
        >>> batch = Batch(torch.zeros(1, 3, 4, 4), None, [{"labels": torch.tensor([2])}])
        >>> batch.to("cpu").targets[0]["labels"]
        tensor([2])
    """

    images: torch.Tensor
    mask: torch.Tensor | None
    targets: list[Target]

    def to(self, device: torch.device | str) -> Batch:
        """The batch with every tensor on `device`."""
        targets = [
            {key: value.to(device) if isinstance(value, torch.Tensor) else value for key, value in target.items()}
            for target in self.targets
        ]
        mask = None if self.mask is None else self.mask.to(device)
        return Batch(self.images.to(device), mask, targets)


def collate(samples: Sequence[tuple[torch.Tensor, Target]]) -> Batch:
    """Pads every image at the right and bottom to the largest height and width.

    Args:
        samples: (image (3, H_i, W_i), target) pairs, at least one.

    Returns:
        The batch.

    Raises:
        ValueError: there is no sample, or an image is not (3, H, W).

    Example:
        >>> batch = collate([(torch.ones(3, 2, 4), {}), (torch.ones(3, 3, 2), {})])
        >>> tuple(batch.images.shape), batch.mask[0, 2].tolist()
        ((2, 3, 3, 4), [True, True, True, True])
    """
    if not samples:
        raise ValueError("samples must hold at least one (image, target) pair, got none")
    tensors = [image for image, _ in samples]
    targets = [target for _, target in samples]
    for image in tensors:
        if image.ndim != 3 or image.shape[0] != 3:
            raise ValueError(f"samples must hold images of shape (3, H, W), got {tuple(image.shape)}")
    height = max(image.shape[1] for image in tensors)
    width = max(image.shape[2] for image in tensors)
    if all(image.shape[1:] == (height, width) for image in tensors):
        return Batch(torch.stack(tensors), None, targets)

    images = tensors[0].new_zeros(len(tensors), 3, height, width)
    mask = torch.ones(len(tensors), height, width, dtype=torch.bool)
    for i, image in enumerate(tensors):
        images[i, :, : image.shape[1], : image.shape[2]] = image
        mask[i, : image.shape[1], : image.shape[2]] = False
    return Batch(images, mask, targets)
