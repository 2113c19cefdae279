"""The fields of ``--set`` in the help of a command, from the docstrings of the configurations."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from typing import Any

from dsct.config import DSCTConfig
from dsct.train import TrainConfig

WIDTH = 78


def fields_help() -> str:
    """All fields with default and meaning, as paragraphs of a docstring whose lines are kept."""
    return "\n\n".join(
        [
            "Fields of --set and --config; the defaults are those of the preset official_emotic for the recipe and "
            "paper_emotic for the model, other presets change some.",
            _listed("Recipe:", TrainConfig),
            _listed("Model, matching and loss:", DSCTConfig),
        ]
    )


def describe_fields(config: type[Any]) -> dict[str, str]:
    """What the docstring says about each field, its first sentence."""
    text = inspect.getdoc(config) or ""
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: _sentence(meaning) for name, meaning in found}


def _listed(title: str, config: type[Any]) -> str:
    meanings = describe_fields(config)
    lines = []
    for field in dataclasses.fields(config):
        entry = f"- {field.name}={_text(field.default)}: {meanings[field.name]}"
        lines += textwrap.wrap(entry, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    # Click keeps the lines of a paragraph that begins so.
    return f"{title}\n\n\b\n" + "\n".join(lines)


def _sentence(meaning: str) -> str:
    plain = re.sub(r":\w+:`~?\.?([\w.]+)`", r"\1", " ".join(meaning.split())).replace("`", "")
    return re.split(r"(?<!Fig)(?<!Eq)\.\s", plain, maxsplit=1)[0].rstrip(".")


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)
