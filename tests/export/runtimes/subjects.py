"""What every runtime gets, a model and inputs in a folder, and how far its answer is from the native model's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

import dsct
from dsct.data import SyntheticDataset
from dsct.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from dsct.export import save_exported_program, to_onnx
from dsct.prediction.shipped_weights import SHIPPED_WEIGHTS
from tests.comparison import padded_images, randomise

Size = tuple[int, int, int]


def shipped() -> dsct.DSCT:
    """The small weights that come with dsct."""
    return dsct.load_model(SHIPPED_WEIGHTS)


def resnet50() -> dsct.DSCT:
    """The size of the paper's model; the weights are random, and far enough from equal that mistakes show."""
    torch.manual_seed(0)
    model = dsct.DSCT(dsct.DSCTConfig.paper_emotic(backbone="resnet50")).eval()
    for part, scale in ((model.transformer, 0.02), (model.class_embed_dsct, 0.2), (model.bbox_embed_dsct, 0.1)):
        randomise(part, scale)
    return model


#: Models, and the inputs of each (batch, height, width); the first is measured, and is the one of fixed sizes.
MODELS: dict[str, tuple[Callable[[], dsct.DSCT], Sequence[Size]]] = {
    "shipped": (shipped, ((2, 192, 256), (1, 130, 101), (3, 96, 160))),
    "resnet50": (resnet50, ((1, 480, 640), (2, 200, 301))),
}


def write_inputs(model: dsct.DSCT, sizes: Sequence[Size], folder: Path) -> None:
    """As ``programs/case.py`` describes; beside them the float64 model's answer, ``NAME.npz``."""
    lines = []
    kind = next(model.parameters()).dtype
    for number, size in enumerate(sizes):
        images, mask = scenes("test", size), padded_images(*size)[1]
        images.numpy().tofile(folder / f"{number}.images")
        mask.numpy().astype(np.uint8).tofile(folder / f"{number}.mask")
        lines.append(f"{number} {size[0]} {size[1]} {size[2]}\n")
        with torch.no_grad():
            output = model.double()(images.double(), mask)
        answer = {name: output[f"pred_{name}"].numpy() for name in ("logits", "boxes")}
        np.savez(folder / f"{number}.npz", **answer)
    model.to(kind)
    np.save(folder / "calibration.npy", scenes("train", (16, *sizes[0][1:])).numpy())
    (folder / "inputs.txt").write_text("".join(lines))


def scenes(split: str, size: Size) -> torch.Tensor:
    """Synthetic scenes (B, 3, H, W), normalised: the upper left of squares."""
    batch, height, width = size
    drawn = SyntheticDataset(split, batch, image_size=(max(height, width),) * 2)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    images = torch.stack([torch.as_tensor(drawn[index][0]) for index in range(batch)])
    return (images[..., :height, :width] / 255 - mean) / std


def write_files(model: dsct.DSCT, sizes: Sequence[Size], folder: Path) -> None:
    """Weights, and for free and fixed sizes the ONNX file and the program of standard operators."""
    dsct.save_model(model, folder / "model.safetensors")
    for form, size in (("free", None), ("fixed", sizes[0])):
        to_onnx(model, folder / f"{form}.onnx", size=size)
        save_exported_program(model, folder / f"{form}.pt2", standard_operators=True, size=size)


def differences(folder: Path, out: Path) -> tuple[float, float]:
    """The largest of probabilities and of box coordinates (in [0, 1]), over the inputs that were answered."""
    found: list[tuple[float, float]] = []
    for path in out.glob("*.logits"):
        expected = np.load(folder / f"{path.stem}.npz")
        logits, boxes = (
            np.fromfile(path.with_suffix(f".{name}"), dtype=np.float32).reshape(expected[name].shape)
            for name in ("logits", "boxes")
        )
        scores = np.abs(_sigmoid(logits) - _sigmoid(expected["logits"])).max()
        found.append((float(scores), float(np.abs(boxes - expected["boxes"]).max())))
    if not found:
        raise ValueError(f"differences: {out} must hold an answer, got none")
    scores, boxes = np.max(found, axis=0)  # NaN stays NaN
    return float(scores), float(boxes)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))
