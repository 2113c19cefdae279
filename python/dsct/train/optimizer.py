"""Parameter groups, optimizer and learning-rate schedule (paper, §4.1, App. C; the factors are the released code's)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from dsct.train.config import TrainConfig

LINEAR_PROJ = ("reference_points", "sampling_offsets")


def parameter_groups(model: torch.nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Splits the trainable parameters by learning rate.

    Args:
        model: has its backbone as ``backbone``, layers that place points as ``reference_points``, ``sampling_offsets``.
        config: contains the learning rate and the two factors.

    Returns:
        Groups ``main``, ``linear_proj`` and ``backbone`` with ``params``, ``lr`` and ``name``, without the empty ones.

    Raises:
        ValueError: no parameter is trainable.

    Example:
        >>> model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
        >>> [group["name"] for group in parameter_groups(model, TrainConfig())]
        ['main', 'backbone']
    """
    factors = {"main": 1.0, "linear_proj": config.lr_linear_proj_mult, "backbone": config.lr_backbone_mult}
    members: dict[str, list[torch.nn.Parameter]] = {name: [] for name in factors}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            members[_group_of(name)].append(parameter)
    groups = [
        {"name": name, "params": members[name], "lr": config.base_lr * factor}
        for name, factor in factors.items()
        if members[name]
    ]
    if not groups:
        raise ValueError("model must have at least one parameter with requires_grad, got none")
    return groups


def build_optimizer(model: torch.nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW, or Adam, over :func:`parameter_groups`.

    Example:
        >>> model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
        >>> len(build_optimizer(model, TrainConfig()).param_groups)
        2
    """
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(parameter_groups(model, config), lr=config.base_lr, weight_decay=config.weight_decay)


def build_scheduler(optimizer: torch.optim.Optimizer, config: TrainConfig, steps_per_epoch: int) -> LambdaLR:
    """The schedule of :func:`lr_factor`, to be stepped after every optimizer step.

    Example:
        >>> model = torch.nn.ModuleDict({"backbone": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 1)})
        >>> optimizer = build_optimizer(model, TrainConfig(lr=0.1))
        >>> build_scheduler(optimizer, TrainConfig(lr=0.1), steps_per_epoch=10).get_last_lr()[0] <= 0.1
        True
    """
    return LambdaLR(optimizer, lr_factor(config, steps_per_epoch))


def lr_factor(config: TrainConfig, steps_per_epoch: int) -> Callable[[int], float]:
    """Factor on every learning rate, by number of optimizer steps done.

    Args:
        config: contains the schedule.
        steps_per_epoch: at least 1.

    Returns:
        A function from steps done to a factor in [0, 1].
    """

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
        if config.schedule == "step":
            return warmup * (0.1 if step >= config.lr_drop * steps_per_epoch else 1.0)
        done = min(1.0, step / (config.epochs * steps_per_epoch))
        return warmup * 0.5 * (1.0 + math.cos(math.pi * done))

    return factor


def _group_of(name: str) -> str:
    if name.startswith("backbone."):
        return "backbone"
    return "linear_proj" if any(part in LINEAR_PROJ for part in name.split(".")) else "main"
