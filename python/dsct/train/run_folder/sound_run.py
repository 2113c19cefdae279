"""Whether ``config.json`` of a run says what a trainer wrote: it may have been edited."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dsct.config import DSCTConfig
from dsct.train.config import TrainConfig

#: What a field is in words, and whether a value is that.
Kind = tuple[str, Callable[[Any], bool]]

MOST = 2**31 - 1
TEXT: Kind = ("text", lambda value: isinstance(value, str))
FLAG: Kind = ("true or false", lambda value: isinstance(value, bool))
COUNT: Kind = (f"a whole number from 0 to {MOST}", lambda value: type(value) is int and 0 <= value <= MOST)
SHARE: Kind = ("a number from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1)
OBJECT: Kind = ("an object", lambda value: isinstance(value, dict))


def or_none(kind: Kind) -> Kind:
    """The same, or null."""
    return f"{kind[0]} or null", lambda value: value is None or kind[1](value)


def list_of(kind: Kind, length: int | None = None) -> Kind:
    """A list of values of a kind, all of them or so many."""

    def fits(value: Any) -> bool:
        return isinstance(value, list) and length in (None, len(value)) and all(map(kind[1], value))

    return f"a list of {'' if length is None else f'{length} times '}{kind[0]}", fits


def require_fields(about: Any, kinds: Mapping[str, Kind], where: str, missing: bool = False) -> None:
    """Refuses what fields cannot be.

    Args:
        about: an object with the fields.
        kinds: what they must be, by name.
        where: the file, and the place in it, for messages.
        missing: whether fields may be missing.

    Raises:
        ValueError: a field is missing or something else; the message names it.
    """
    if not isinstance(about, dict):
        raise ValueError(f"{where} must be an object, got {_text(about)}")
    for name, (what, fits) in kinds.items():
        if name not in about:
            if not missing:
                raise ValueError(f"{where}.{name} is missing")
        elif not fits(about[name]):
            raise ValueError(f"{where}.{name} must be {what}, got {_text(about[name])}")


def require_sound_run(saved: Mapping[str, Any], path: Path) -> None:
    """Compares the content of ``config.json`` with what a trainer writes there.

    Raises:
        ValueError: a field is something else; the message names the file and the field.
    """
    for name, kind in (("model", DSCTConfig), ("train", TrainConfig)):
        require_fields(saved, {name: OBJECT}, f"{path}: run")
        try:
            kind.from_json(json.dumps(saved[name]))
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"{path}: {name}: {_short(' '.join(str(error).split()))}") from error
    data = saved["data"]
    of_splits = {"class_names": or_none(list_of(TEXT)), "images": OBJECT, "fingerprints": OBJECT}
    require_fields(data, {}, f"{path}: data")
    require_fields(data, of_splits, f"{path}: data", missing=not {"images", "fingerprints"} & data.keys())
    for name, kind_of_split in (("images", COUNT), ("fingerprints", or_none(TEXT))):
        if name in data:
            require_fields(data[name], dict.fromkeys(("train", "val"), kind_of_split), f"{path}: data.{name}")
    started = {"preset": or_none(TEXT), "weights": or_none(TEXT), "allow_partial": FLAG, "fsdp": FLAG}
    require_fields(saved.get("started_with", {}), started, f"{path}: started_with", missing=True)


def _text(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number that is too large"
    return _short(json.dumps(value))


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:197]}..."
