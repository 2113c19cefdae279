"""How the weight with which context flows into people is divided between the spatial and the semantic set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch

from dsct.data.records import Dataset
from dsct.modules.evaluating import evaluation_view
from dsct.modules.precision import Precision, autocast
from dsct.prediction.look import require_trace

if TYPE_CHECKING:
    from dsct.modules import DSCT

#: Images that are looked at: the weights hardly differ from image to image, and each costs one more forward pass.
IMAGES = 4
COLUMNS = ("weight_spatial", "weight_semantic")


def divides_weight(model: torch.nn.Module) -> bool:
    """Whether one softmax divides the weight between both sets, so that their shares say something."""
    config = cast("DSCT", model).config
    fuses = config.num_context_queries > 0 and config.fusion_layers != ()
    chooses_both = len(config.selection) == 2 and min(config.k_spatial, config.k_semantic) > 0
    if not fuses or not chooses_both or config.aggregation != "union":
        return False
    try:
        require_trace(cast("DSCT", model))
    except TypeError:
        return False
    return True


@torch.no_grad()
def context_share(
    model: torch.nn.Module,
    data: Dataset,
    indices: Sequence[int],
    device: torch.device,
    precision: Precision = "float32",
) -> dict[str, float]:
    """Sums over images of the share of each set, as means over subject queries and the layers that fuse.

    Args:
        model: one for which :func:`divides_weight` is true, on `device`.
        data: images ready for the model.
        indices: of images; the first few are looked at.
        device: where to compute.
        precision: of the forward pass.

    Returns:
        ``weight_spatial``, ``weight_semantic``, which sum to the number ``images``.

    Example:
        >>> import dsct
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> data = SyntheticDataset("val", 2, image_size=(64, 48), transforms=dsct.data.evaluation_transform(None))
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny(reweighting="equal", k_spatial=6, k_semantic=2))
        >>> context_share(model, data, [0, 1], torch.device("cpu"))
        {'weight_spatial': 1.5, 'weight_semantic': 0.5, 'images': 2.0}
    """
    sums = {**dict.fromkeys(COLUMNS, 0.0), "images": 0.0}
    view = evaluation_view(model)
    for index in indices[:IMAGES]:
        # Alone, so that nothing is padded.
        image = data[index][0].to(device)
        with autocast(device, precision):
            _, trace = view(image[None], None, return_trace=True)
        layers = [layer for layer in trace if layer["context_weights"] is not None]
        for layer in layers:
            first = layer["spatial_indices"].shape[-1]
            parts = layer["context_weights"].double().tensor_split([first], dim=-1)
            for name, part in zip(COLUMNS, parts, strict=True):
                sums[name] += part.sum(dim=-1).mean().item() / len(layers)
        sums["images"] += 1
    return sums
