"""Configurations from the command line: a preset, changed by ``--set key=value``."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from enum import Enum
from typing import Any

from dsct.config import DSCTConfig
from dsct.train import TrainConfig

SET_HELP = "Change one field of the model's or the training configuration, as in --set lr=1e-3 --set k_spatial=20."


class Preset(str, Enum):
    """Named configurations of model and recipe alike."""

    tiny = "tiny"
    paper_emotic = "paper_emotic"
    paper_caer_s = "paper_caer_s"
    official_emotic = "official_emotic"
    official_caer_s = "official_caer_s"


def parse_settings(settings: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sorts ``key=value`` texts into model and training fields, with values of the fields' types.

    Args:
        settings: such as ``"lr=1e-3"``, ``"fusion_layers=none"``, ``"selection=spatial,semantic"``, ``"selection="``
            (empty), ``"multi_label=true"``.

    Returns:
        Fields of ``DSCTConfig`` and fields of ``TrainConfig``.

    Raises:
        ValueError: no ``=``, an unknown key or a value of another type.
    """
    model_types, train_types = typing.get_type_hints(DSCTConfig), typing.get_type_hints(TrainConfig)
    model_fields = {field.name: model_types[field.name] for field in dataclasses.fields(DSCTConfig)}
    train_fields = {field.name: train_types[field.name] for field in dataclasses.fields(TrainConfig)}
    model: dict[str, Any] = {}
    train: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        key = key.strip()
        if not separator:
            raise ValueError(f"--set must be key=value, got {setting!r}")
        if key in model_fields:
            model[key] = _parse(key, text.strip(), model_fields[key])
        elif key in train_fields:
            train[key] = _parse(key, text.strip(), train_fields[key])
        else:
            close = difflib.get_close_matches(key, [*model_fields, *train_fields], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"--set knows no field {key!r}{hint}")
    return model, train


def _parse(key: str, text: str, kind: Any) -> Any:
    """The value of a text as `kind`: bool, int, float, str, a tuple of these, or one of them or None."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if text.lower() == "none":
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        return tuple(_parse(key, part.strip(" ()'\""), element) for part in text.split(",") if part.strip(" ()"))
    if kind is str:
        return text
    if kind is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in (int, float):
        try:
            return kind(ast.literal_eval(text)) if kind is float else _whole(ast.literal_eval(text))
        except (ValueError, SyntaxError, TypeError):
            pass
    raise ValueError(f"--set {key} must be a {kind.__name__}, got {text!r}")


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError
    return value
