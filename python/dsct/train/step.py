"""One optimizer step: mixed precision, accumulation over micro-batches, clipping, moving average of the weights."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch.optim.swa_utils import AveragedModel

from dsct.data.collate import Batch
from dsct.metrics.inference import Outputs
from dsct.train.config import TrainConfig
from dsct.train.optimizer import build_optimizer, build_scheduler


class Criterion(Protocol):
    """What training asks of a loss: named terms, each divided by `num_boxes` if given, and their weighted sum."""

    def __call__(
        self, outputs: Outputs, targets: list[dict[str, Any]], /, **num_boxes: float
    ) -> dict[str, torch.Tensor]: ...

    def total(self, losses: dict[str, torch.Tensor], /) -> torch.Tensor: ...


class OptimizerStep:
    """Holds everything that a step changes.

    Args:
        model: on its device, in training mode when called.
        criterion: the loss.
        config: the recipe.
        steps_per_epoch: for the schedule.
        device: where batches go.

    Attributes:
        optimizer: over :func:`dsct.train.parameter_groups`.
        scheduler: stepped after every optimizer step.
        scaler: scales the loss under float16, does nothing otherwise.
        average: the moving average of the model, or None.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        criterion: Criterion,
        config: TrainConfig,
        steps_per_epoch: int,
        device: torch.device,
    ) -> None:
        self.model = model
        self.criterion = criterion
        self.config = config
        self.device = device
        self.optimizer = build_optimizer(model, config)
        self.scheduler = build_scheduler(self.optimizer, config, steps_per_epoch)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.average = average_of(model, config.ema) if config.ema else None

    def __call__(self, parts: Sequence[Batch]) -> dict[str, float]:
        """Forward, backward and update for one batch, given as micro-batches.

        Returns:
            ``loss`` and its unweighted terms, of the whole batch.

        Raises:
            FloatingPointError: a prediction, loss or gradient is not finite; nothing has been updated. Under float16
                a gradient that overflows is no error: the step is left out and the loss scale lowered.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        boxes = sum(len(target["boxes"]) for part in parts for target in part.targets)
        for part in parts:
            share = {"num_boxes": float(boxes)} if len(parts) > 1 else {}
            terms, total = self._forward(part.to(self.device), share)
            for name, term in {"loss": total, **terms}.items():
                losses[name] = losses.get(name, 0.0) + term.item()
            if not math.isfinite(losses["loss"]):
                raise FloatingPointError(f"the loss is {losses['loss']} with the images {_names([part])}")
            self.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
        self._update(parts)
        return losses

    def _forward(self, batch: Batch, share: dict[str, float]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        with autocast(self.device, self.config.precision):
            outputs = self.model(batch.images, batch.mask)
        # Here, not in the criterion, because only here the images have names.
        if not all(bool(outputs[name].isfinite().all()) for name in ("pred_logits", "pred_boxes")):
            raise FloatingPointError(f"the model's predictions are not finite with the images {_names([batch])}")
        terms = self.criterion(outputs, batch.targets, **share)
        return terms, self.criterion.total(terms)

    def _update(self, parts: Sequence[Batch]) -> None:
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or math.inf)
        finite = bool(torch.isfinite(norm))
        if not finite and not self.scaler.is_enabled():
            raise FloatingPointError(f"the gradient norm is {norm.item()} with the images {_names(parts)}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if finite:
            self.scheduler.step()
            if self.average is not None:
                self.average.update_parameters(self.model)

    @property
    def averaged(self) -> torch.nn.Module:
        """The model to validate and keep: the moving average where there is one."""
        return self.model if self.average is None else self.average.module

    def state_dict(self) -> dict[str, Any]:
        """Optimizer, schedule, loss scale and average; the model is not in it."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which the model runs in `precision`; none for float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


def average_of(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's parameters; the first steps, far from the end, are forgotten faster.

    Args:
        model: is copied.
        decay: of each step once many have been done, such as 0.9998; after n steps at most (1 + n) / (10 + n).
    """

    def average(averaged: Any, current: Any, steps: torch.Tensor | int) -> None:
        done = int(steps)
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + done) / (10 + done)))

    averaged_model = AveragedModel(model, multi_avg_fn=average)
    averaged_model.module.requires_grad_(False)
    return averaged_model


def _names(parts: Sequence[Batch]) -> list[Any]:
    return [target.get("image_id") for part in parts for target in part.targets]
