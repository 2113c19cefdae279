"""Configurations from the command line: a preset, changed by ``--set key=value``."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dsct.config import DSCTConfig
from dsct.train import TrainConfig

SET_HELP = "Change one field of the model's or the training configuration, as in --set lr=1e-3 --set k_spatial=20."


class Preset(str, Enum):
    """Named configurations of model and recipe."""

    tiny = "tiny"
    paper_emotic = "paper_emotic"
    paper_caer_s = "paper_caer_s"
    official_emotic = "official_emotic"
    official_caer_s = "official_caer_s"


@dataclass(frozen=True)
class Settings:
    """What ``--set`` changes.

    Attributes:
        model: fields of ``DSCTConfig``.
        train: fields of ``TrainConfig``.
    """

    model: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)


def parse_settings(settings: Sequence[str]) -> Settings:
    """Sorts ``key=value`` texts into model and training fields, with values of the fields' types.

    Args:
        settings: such as ``"lr=1e-3"``, ``"fusion_layers=none"``, ``"selection=spatial,semantic"``, ``"selection="``
            (empty), ``"multi_label=true"``.

    Returns:
        The fields to change.

    Raises:
        ValueError: a text has no ``=``, an unknown key or a value of another type.
    """
    model_types, train_types = _field_types(DSCTConfig), _field_types(TrainConfig)
    parsed = Settings()
    for setting in settings:
        key, separator, text = setting.partition("=")
        key = key.strip()
        if not separator:
            raise ValueError(f"--set must be key=value, got {setting!r}")
        if key in model_types:
            parsed.model[key] = _parse(key, text.strip(), model_types[key])
        elif key in train_types:
            parsed.train[key] = _parse(key, text.strip(), train_types[key])
        else:
            close = difflib.get_close_matches(key, [*model_types, *train_types], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ValueError(f"--set knows no field {key!r}{hint}")
    return parsed


def _field_types(config: type) -> dict[str, Any]:
    types_by_name = typing.get_type_hints(config)
    return {field.name: types_by_name[field.name] for field in dataclasses.fields(config)}


def _parse(key: str, text: str, kind: Any) -> Any:
    """The value of a text as `kind`: bool, int, float, str, a tuple of these, or one of them or None.

    Click's parameter types read other values: for a bool also 1, yes and on; none reads tuples of any length.
    """
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if text.lower() == "none":
            return None
        (kind,) = (option for option in typing.get_args(kind) if option is not type(None))
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        return tuple(_parse(key, part.strip(" ()'\""), element) for part in text.split(",") if part.strip(" ()"))
    try:
        return _READERS[kind](text)
    except ValueError:
        raise ValueError(f"--set {key} must be {_NOUNS[kind]}, got {text!r}") from None


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


_NOUNS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
_READERS: dict[Any, Callable[[str], Any]] = {str: str, bool: _bool, int: int, float: _finite}
