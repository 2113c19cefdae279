"""``--config``: fields of model and recipe from a file, also from the ``config.json`` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from dsct.cli.settings import Preset, Settings, read_field
from dsct.json_text import read_json

#: Fields that the data of a run determined: data of another run bring their own.
OF_DATA = ("num_classes", "multi_label", "class_names")


class ConfigFile(NamedTuple):
    """What a file says.

    Attributes:
        settings: fields of model and recipe.
        data: the description of the data, if it is the ``config.json`` of a run.
        preset: the name of the preset, if it says one.
    """

    settings: Settings
    data: dict[str, Any] | None
    preset: str | None


def read_config_file(path: Path) -> ConfigFile:
    """Reads a JSON or YAML file.

    It contains fields as ``--set`` takes them, flat or divided into ``model`` and ``train``; ``preset`` may name one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is malformed or has an unknown field; the message names it.
        ImportError: it is YAML and PyYAML is missing.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--config must name a file, there is none at {path}")
    content = _parsed(path)
    if not isinstance(content, dict):
        raise ValueError(f"--config {path} must hold fields and values, got {type(content).__name__}")
    of_run = "data" in content and "model" in content
    parts: dict[str, Any] = {name: content.get(name) or {} for name in ("model", "train")}
    for name, part in parts.items():
        if not isinstance(part, dict):
            raise ValueError(f"--config {path}: {name} must hold fields and values, got {type(part).__name__}")
    preset = _preset(path, content, of_run)
    about_run = ("model", "train", "data", "started_with", "processes", "versions") if of_run else ("model", "train")
    flat = {key: value for key, value in content.items() if key not in (*about_run, "preset")}
    settings = Settings()
    for key, value in {**parts["model"], **parts["train"], **flat}.items():
        if of_run and key in OF_DATA:
            continue
        read_field(settings, key, value, f"--config {path}:")
    return ConfigFile(settings, content["data"] if of_run else None, preset)


def _preset(path: Path, content: dict[str, Any], of_run: bool) -> str | None:
    """The preset that a file names, or with which its run was started."""
    preset = content.get("preset")
    if of_run:
        data, started = content["data"], content.get("started_with") or {}
        if not (isinstance(data, dict) and isinstance(data.get("name"), str) and isinstance(started, dict)):
            raise ValueError(
                f"--config {path}: data and started_with must be those of a run, got {data!r}, {started!r}"
            )
        preset = preset or started.get("preset")
    if preset is not None and preset not in list(Preset):
        raise ValueError(f"--config {path}: preset must be one of {', '.join(Preset)}, got {preset!r}")
    return preset


def _parsed(path: Path) -> Any:
    if path.suffix.lower() not in (".yaml", ".yml"):
        try:
            return read_json(path)
        except ValueError as error:
            raise ValueError(f"--config {error}; YAML files end in .yaml or .yml") from error
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ImportError(
            "--config needs the extra yaml for YAML: pip install 'dsct[yaml]'; JSON needs none"
        ) from error
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"--config {path} is no YAML file: {' '.join(str(error).split())}") from error
