"""A figure reads its image file once, and runs its model once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFile

import dsct
from dsct.visualize import draw_activations, draw_context, draw_people, draw_sampling, draw_subject_positions
from tests.visualize.traced_model import EVERYBODY, IMAGE, small_model

FIGURES: dict[str, Callable[[dsct.DSCT, Path], Any]] = {
    "activations": lambda model, path: draw_activations(model, path),
    "context": lambda model, path: draw_context(model, path, **EVERYBODY),
    "people": lambda model, path: draw_people(path, dsct.predict(IMAGE, model, **EVERYBODY)),
    "sampling": lambda model, path: draw_sampling(model, path, **EVERYBODY),
    "subject positions": lambda model, path: draw_subject_positions([model], path, **EVERYBODY),
}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that Pillow opens and those that it decodes, as it does."""
    names: list[str] = []
    open_file, load = Image.open, ImageFile.ImageFile.load

    def opened(file: Any, *args: Any, **options: Any) -> Any:
        names.append(f"open {Path(file).name}")
        return open_file(file, *args, **options)

    def loaded(image: ImageFile.ImageFile) -> Any:
        if image.tile:  # emptied by decoding
            names.append(f"decode {Path(image.filename).name}")
        return load(image)

    monkeypatch.setattr(Image, "open", opened)
    monkeypatch.setattr(ImageFile.ImageFile, "load", loaded)
    return names


@pytest.mark.parametrize("figure", FIGURES)
def test_the_image_is_decoded_once(figure: str, tmp_path: Path, decoded: list[str]) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "one.jpg")
    model, runs = small_model(), []
    model.backbone[0].register_forward_hook(lambda *_: runs.append(1))
    FIGURES[figure](model, tmp_path / "one.jpg")
    assert decoded == ["open one.jpg", "decode one.jpg"]
    assert len(runs) == 1


def test_many_models_share_one_image(tmp_path: Path, decoded: list[str]) -> None:
    Image.fromarray(IMAGE).save(tmp_path / "one.jpg")
    draw_subject_positions([small_model(), small_model()], tmp_path / "one.jpg")
    assert decoded == ["open one.jpg", "decode one.jpg"]
