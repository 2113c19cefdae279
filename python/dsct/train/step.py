"""One optimizer step: mixed precision, accumulation over micro-batches, clipping, moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch.optim.swa_utils import AveragedModel

from dsct.data.collate import Batch
from dsct.metrics.inference import Outputs
from dsct.modules.precision import autocast
from dsct.train.config import TrainConfig
from dsct.train.optimizer import build_optimizer, build_scheduler
from dsct.train.processes.distributed import Processes
from dsct.train.processes.parallel_model import full_tensor, gradient_sync, wrap
from dsct.train.processes.sharded_state import load_model_state, load_optimizer_state, model_state, optimizer_state

if TYPE_CHECKING:
    from dsct.modules import DSCT


class Criterion(Protocol):
    """What training needs from a loss: named terms, divided by `num_boxes`, and their weighted sum."""

    def __call__(
        self, outputs: Outputs, targets: list[dict[str, Any]], /, *, num_boxes: float
    ) -> dict[str, torch.Tensor]: ...

    def total(self, losses: dict[str, torch.Tensor], /) -> torch.Tensor: ...


class OptimizerStep:
    """Holds everything that a step changes, the model included, in one process or in several.

    Args:
        model: on its device.
        criterion: the loss.
        config: the recipe.
        steps_per_epoch: for the schedule.
        processes: the processes that train together, each on its part of a batch.
        fsdp: shard the model across the processes instead of copying it to each.

    Attributes:
        module: the model as it was given.
        model: what runs: the model, or its wrapper in several processes.
        optimizer: over :func:`dsct.train.parameter_groups`.
        scheduler: stepped after every optimizer step.
        scaler: scales the loss under float16, does nothing otherwise.
        average: the moving average of the model, or None.

    Raises:
        ValueError: the recipe is not compatible with a sharded model.
    """

    def __init__(
        self,
        model: DSCT,
        criterion: Criterion,
        config: TrainConfig,
        steps_per_epoch: int,
        processes: Processes | None = None,
        fsdp: bool = False,
    ) -> None:
        processes = processes or Processes()
        if fsdp and config.precision == "float16":
            raise ValueError("fsdp goes with precision float32 or bfloat16, got float16: its loss scale is not shared")
        self.criterion = criterion
        self.config = config
        self.processes = processes
        self.average = average_of(model, config.ema) if config.ema else None
        if self.average is not None and fsdp:
            self.average.module = wrap(self.average.module, processes, fsdp)
        self.module = model
        self.model = wrap(model, processes, fsdp)
        self.optimizer = build_optimizer(model, config)
        self.scheduler = build_scheduler(self.optimizer, config, steps_per_epoch)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=config.precision == "float16")

    def __call__(self, parts: Sequence[Batch], counted: int | None = None) -> dict[str, float]:
        """Forward, backward and update for one batch. All processes call it, with the same number of parts.

        Args:
            parts: this process's micro-batches of the batch, at least one.
            counted: how many of them count; the others are computed only because other processes wait for it. None:
                all.

        Returns:
            ``loss`` and its unweighted terms, of the whole batch of all processes.

        Raises:
            FloatingPointError: a prediction, loss or gradient is not finite; nothing has been updated. Under float16
                a gradient that overflows is not an error: the step is skipped and the loss scale lowered.
        """
        counted = len(parts) if counted is None else counted
        world = self.processes.world_size
        people = sum(len(target["boxes"]) for part in parts[:counted] for target in part.targets)
        share = max(self.processes.sum({"people": people})["people"], 1.0) / world
        losses: dict[str, float] = {}
        problem = None
        self.optimizer.zero_grad(set_to_none=True)
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1
            with gradient_sync(self.model, is_last):
                total, terms, found = self._forward(part.to(self.processes.device), share)
                problem = problem or found
                if is_last:
                    self._agree(problem)
                self.scaler.scale(total * float(number < counted)).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items() if number < counted else ():
                losses[name] = losses.get(name, 0.0) + term / world
        self._update(parts)
        return self.processes.sum(losses)

    def _forward(self, batch: Batch, share: float) -> tuple[torch.Tensor, dict[str, float], str | None]:
        """Total loss, all losses as numbers, and what is wrong with them; in that case the total is meaningless."""
        with autocast(self.processes.device, self.config.precision):
            outputs = self.model(batch.images, batch.mask)
        # Here, not in the criterion, because only here do the images have names.
        if not all(bool(outputs[name].isfinite().all()) for name in ("pred_logits", "pred_boxes")):
            nothing = outputs["pred_logits"].sum() + outputs["pred_boxes"].sum()
            return nothing, {}, f"the model's predictions are not finite with the images {_names([batch])}"
        terms = self.criterion(outputs, batch.targets, num_boxes=share)
        total = self.criterion.total(terms)
        numbers = {name: term.item() for name, term in {"loss": total, **terms}.items()}
        problem = None
        if not math.isfinite(numbers["loss"]):
            problem = f"the loss is {numbers['loss']} with the images {_names([batch])}"
        return total, numbers, problem

    def _agree(self, problem: str | None) -> None:
        """Raises in every process if something is wrong in one of them."""
        with self.processes.fail_together():
            if problem is not None:
                raise FloatingPointError(problem)

    def _update(self, parts: Sequence[Batch]) -> None:
        self.scaler.unscale_(self.optimizer)
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        norm = full_tensor(torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or math.inf))
        finite = bool(torch.isfinite(norm))
        if not finite and not self.scaler.is_enabled():
            # Gradients are those of all processes, so all of them are here; each names its own images.
            raise FloatingPointError(f"the gradient norm is {norm.item()} with the images {_names(parts)}")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if finite:
            self.scheduler.step()
            if self.average is not None:
                self.average.update_parameters(self.module)

    @property
    def averaged(self) -> DSCT:
        """The model to validate and save: the moving average if there is one."""
        return self.module if self.average is None else cast("DSCT", self.average.module)

    def state_dict(self) -> dict[str, Any]:
        """Model, optimizer, schedule, loss scale and average, with full tensors. All processes call it."""
        return {
            "model": model_state(self.model),
            "optimizer": optimizer_state(self.optimizer),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else model_state(self.average.module),
            "averaged_steps": 0 if self.average is None else int(self.average.n_averaged),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`. All processes call it with the same state."""
        load_model_state(self.model, state["model"])
        load_optimizer_state(self.optimizer, state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            load_model_state(self.average.module, state["average"])
            self.average.n_averaged.fill_(state["averaged_steps"])


def average_of(model: torch.nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's parameters; early steps are forgotten faster.

    Args:
        model: it is copied.
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
