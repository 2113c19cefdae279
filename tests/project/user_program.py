"""What a user of the package writes: a model, predictions, training, the operator, other people's models, errors.

``test_user_program.py`` runs it, and ``mypy --strict`` over it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import dsct
from dsct.config import DSCTConfig
from dsct.data import SyntheticDataset, Target, collate, evaluation_transform
from dsct.interop.attention import accelerate_attention
from dsct.interop.deformable_detr import convert
from dsct.metrics import Evaluation, Evaluator, evaluate
from dsct.prediction.options import Options
from dsct.train import TrainConfig, Trainer, TrainResult


def scenes(split: str) -> SyntheticDataset:
    return SyntheticDataset(split, 2, image_size=(64, 48), transforms=evaluation_transform(None))


def own_training_loop(model: dsct.DSCT, steps: int) -> list[float]:
    criterion = dsct.SetCriterion(model.config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    loader: DataLoader[tuple[Any, Target]] = DataLoader(scenes("train"), batch_size=2, collate_fn=collate)
    history: list[float] = []
    model.train()
    for _ in range(steps):
        for images, mask, targets in loader:
            losses = criterion(model(images, mask), targets)
            total = criterion.total(losses)
            optimizer.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]  # of torch
            optimizer.step()
            history.append(total.item())
    return history


def packaged_training(model: dsct.DSCT, run_dir: Path) -> TrainResult:
    trainer = Trainer(
        model,
        dsct.SetCriterion(model.config),
        dsct.PostProcess(model.config),
        scenes("train"),
        scenes("val"),
        TrainConfig(epochs=1),
        run_dir,
        visible=False,
    )
    return trainer.fit()


def evaluated(model: dsct.DSCT) -> Evaluation:
    evaluator = Evaluator(model.config.names, multi_label=model.config.multi_label)
    return evaluate(model, scenes("val"), dsct.PostProcess(model.config, nms_iou=0.5), evaluator)


def predictions(model: dsct.DSCT, file: Path) -> list[str]:
    people: dsct.People = dsct.predict(np.zeros((48, 64, 3), dtype=np.uint8), model)
    several: list[dsct.People] = dsct.predict([np.zeros((48, 64, 3), dtype=np.uint8)] * 2, file)
    lines = [f"{person.box[0]:.0f} {person.score:.2f} {', '.join(person.labels)}" for person in people]
    return [*lines, *(f"{len(found)} in {found.image_size}" for found in several)]


def one_predictor(model: dsct.DSCT, options: Options) -> list[tuple[int, int]]:
    predictor = dsct.Predictor(model, **options)
    people: dsct.People = predictor(np.zeros((48, 64, 3), dtype=np.uint8))
    points = [subject.layers[-1].sampling_points for subject in predictor.look(np.zeros((48, 64), np.uint8)).subjects]
    assert len(points) == len(people) == len(people.queries)
    images = (np.zeros((48, width, 3), dtype=np.uint8) for width in (48, 64))
    return [people.image_size for people in predictor.stream(images)]


class Attention(nn.Module):
    """A layer of one's own around the operator."""

    def forward(self, value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return dsct.ops.ms_deform_attn(value, shapes, None, locations, weights)


def operator() -> tuple[Tensor, Tensor]:
    value = torch.randn(1, 24, 2, 8, requires_grad=True)
    out: Tensor = Attention()(value, torch.tensor([[4, 6]]), torch.rand(1, 3, 2, 1, 4, 2), torch.rand(1, 3, 2, 1, 4))
    (gradient,) = torch.autograd.grad(out.sum(), [value])
    module = dsct.MSDeformAttn(d_model=16, n_levels=1, n_heads=2, n_points=4)
    query = module(torch.randn(1, 3, 16), torch.rand(1, 3, 1, 2), torch.randn(1, 24, 16), [(4, 6)], None, None)
    assert isinstance(query, Tensor)
    return gradient, query


def other_models(detector: nn.Module) -> dsct.DSCT:
    replaced: dict[str, str] = accelerate_attention(nn.Sequential(nn.Linear(1, 1)))
    assert not replaced
    return convert(detector, 4, 7, multi_label=False, nheads=4, verbose=False)


def refused() -> list[str]:
    messages: list[str] = []
    try:
        DSCTConfig(hidden_dim=30, nheads=8)
    except ValueError as error:
        messages.append(str(error))
    try:
        dsct.ops.ms_deform_attn(
            torch.rand(1, 4, 1, 1), [(3, 3)], None, torch.rand(1, 1, 1, 1, 1, 2), torch.rand(1, 1, 1, 1, 1)
        )
    except ValueError as error:
        messages.append(str(error))
    try:
        dsct.load_model("no such file.safetensors")
    except FileNotFoundError as error:
        messages.append(str(error))
    return messages


def main(folder: Path) -> None:
    torch.manual_seed(0)
    config = DSCTConfig.tiny(num_context_queries=4, k_spatial=2, k_semantic=2)
    model = dsct.DSCT(config)
    matched: list[tuple[Tensor, Tensor]]
    images, mask, targets = collate([scenes("train")[0]])
    outputs = model(images, mask)
    matched = dsct.HungarianMatcher(config)(outputs, targets)
    print(f"{len(matched[0][0])} people are matched")
    print(f"{len(own_training_loop(model, 2))} losses")
    print(f"best epoch {packaged_training(model, folder / 'run').best_epoch}")
    print(f"{evaluated(model).num_people} people evaluated")
    dsct.save_model(model, folder / "model.safetensors")
    report = dsct.load_pretrained(dsct.DSCT(config), folder / "model.safetensors", verbose=False)
    print(f"{len(report.missing)} parameters are missing")
    print(*predictions(model.eval(), folder / "model.safetensors"), sep="\n")
    print(one_predictor(model, {"short_side": 48, "nms_iou": None}))
    print(*(tuple(tensor.shape) for tensor in operator()))
    print(type(other_models(dsct.DSCT(DSCTConfig.tiny(num_subject_queries=0)))).__name__)
    print(*refused(), sep="\n")
    state: dict[str, Tensor] = model.state_dict()
    print(f"{sum(tensor.numel() for tensor in state.values())} numbers")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
