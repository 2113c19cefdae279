"""Options that several figures share, in groups: a command takes a group as one argument."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from dsct.cli.device import DeviceOption, choose_device
from dsct.cli.errors import one_line_errors
from dsct.complete_files import require_writable
from dsct.prediction.options import Options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dsct.config import DSCTConfig
    from dsct.prediction.shipped_weights import AnyModel


def figure_command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes a command of a function: arguments that are dataclasses become one option per field.

    A user's errors end in one line, as in every command.
    """
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return", None)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters = [one for name, kind in hints.items() for one in _parameters(name, kind, function)]
    ordered = sorted(parameters, key=lambda one: one.default is not one.empty)  # stable

    @one_line_errors
    @functools.wraps(function)
    def command(**options: Any) -> None:
        made: dict[str, Any] = {
            name: kind(**{field.name: options.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        function(**made, **options)

    command.__signature__ = inspect.Signature(ordered)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in ordered}
    return command


def _parameters(name: str, kind: Any, function: Callable[..., None]) -> list[inspect.Parameter]:
    is_group = is_dataclass(kind)
    described: Any = kind if is_group else function
    source = inspect.signature(described).parameters
    hints = get_type_hints(kind, include_extras=True) if is_group else {name: kind}
    return [
        inspect.Parameter(one, inspect.Parameter.KEYWORD_ONLY, default=source[one].default, annotation=hint)
        for one, hint in hints.items()
        if one in source
    ]


@dataclass
class Out:
    """Where a figure goes."""

    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write: .png, .svg or .pdf; by default NAME.png.")
    ] = None
    dpi: Annotated[float, typer.Option(help="Dots per inch; in .svg and .pdf, of the images.")] = 200.0

    def __post_init__(self) -> None:
        from dsct.visualize.drawing.saving import require_format

        if self.out is not None:  # before anything is computed
            require_format(self.out)
            require_writable(self.out)
        if not self.dpi > 0:
            raise ValueError(f"--dpi must be above 0, got {self.dpi:g}")

    def path(self, name: str) -> Path:
        """The file of the figure `name`."""
        return self.out or Path(f"{name}.png")

    def save(self, figure: Figure, name: str) -> None:
        """Writes the figure `name` and says where it is."""
        from dsct.visualize.drawing.saving import save_figure

        save_figure(figure, self.path(name), self.dpi)
        self.say(name)

    def say(self, name: str) -> None:
        """Says where the figure `name` is."""
        typer.echo(f"figure: {self.path(name)}")


@dataclass
class Predicting:
    """How a model predicts."""

    threshold: Annotated[
        float | None, typer.Option(help="Several emotions per person: report those above this probability.")
    ] = None
    score_threshold: Annotated[float | None, typer.Option(help="Leave out people with a lower person score.")] = None
    nms_iou: Annotated[float, typer.Option(help="Of two people that overlap by more, keep the better one.")] = 0.5
    short_side: Annotated[int | None, typer.Option(min=1, help="Pixels of the resized short side.")] = None
    long_side: Annotated[int | None, typer.Option(min=1, help="Most pixels of the long side.")] = None
    device: DeviceOption = "auto"

    def options(self) -> Options:
        """As `dsct.Predictor` takes them."""
        return {
            "threshold": self.threshold,
            "score_threshold": self.score_threshold,
            "nms_iou": self.nms_iou,
            "short_side": self.short_side,
            "long_side": self.long_side,
            "device": choose_device(self.device),
        }

    def model(self, weights: Path | None) -> tuple[AnyModel, DSCTConfig]:
        """What figures take as a model, loaded, and its configuration; None remains None, which figures remark on."""
        from dsct.prediction.predictor import Predictor

        loaded = Predictor(weights, **self.options()).model
        return (None if weights is None else loaded), loaded.config


WeightsOption = Annotated[Path | None, typer.Option(help="Weights; by default those that come with dsct.")]
NamedWeightsOption = Annotated[
    list[str] | None,
    typer.Option("--weights", metavar="[NAME=]FILE", help="Weights and what to call them; repeat for several."),
]


def named_paths(texts: list[str], option: str) -> dict[str, Path]:
    """``["early=a.safetensors", "b.safetensors"]`` -> paths by name; without a name it is that of the file.

    Raises:
        ValueError: two have one name, or a part is missing.
    """
    paths: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        name, path = (name, path) if equals else (Path(text).stem, text)
        if not name or not path:
            raise ValueError(f"{option} must be FILE or NAME=FILE, got {text!r}")
        if name in paths:
            raise ValueError(f"{option} must give each a name of its own, NAME=FILE; {name!r} stands twice")
        paths[name] = Path(path)
    return paths
