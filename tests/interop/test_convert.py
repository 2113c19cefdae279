"""A detector that is converted to what differs from it, or cannot be converted: a sentence says what."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import dsct
from dsct.interop import deformable_detr, transformers
from tests.interop.hugging_face_detector import hugging_face_detector


@pytest.fixture(scope="module")
def detector() -> Any:
    return hugging_face_detector()


@pytest.mark.parametrize(
    ("field", "theirs", "mine"),
    [("nheads", 4, 8), ("enc_n_points", 2, 4), ("enc_layers", 2, 3), ("dim_feedforward", 40, 24),
     ("num_context_queries", 12, 20)],
)  # fmt: skip
def test_what_is_asked_for_otherwise_than_the_detector_has_it(
    detector: Any, field: str, theirs: int, mine: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = f"{field} is {theirs} in the detector and {mine} in the model, as given"
    options: dict[str, Any] = {field: mine}
    for convert in (transformers.convert, deformable_detr.convert):
        assert getattr(convert(detector, 3, 7, **options).config, field) == mine
        assert sentence in capsys.readouterr().out
    with pytest.warns(UserWarning, match=sentence) as found:
        transformers.convert(detector, 3, 7, verbose=False, **options)
    assert len(found) == 1


def test_what_is_given_as_it_is_gives_no_warning(detector: Any, recwarn: pytest.WarningsRecorder) -> None:
    transformers.convert(detector, 3, 7, verbose=False, nheads=4, enc_layers=2)
    assert not recwarn.list


def test_modules_tell_heads_and_points_without_a_configuration(recwarn: pytest.WarningsRecorder) -> None:
    detector = hugging_face_detector()
    del detector.config
    config = deformable_detr.convert(detector, 3, 7, verbose=False).config
    assert (config.nheads, config.enc_n_points, config.dec_n_points) == (4, 2, 4)
    assert not recwarn.list


def test_two_backbones_of_one_name_and_what_differs() -> None:
    detector = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=0))
    body: Any = detector.get_submodule("backbone.0.body")
    body.conv1.weight = nn.Parameter(torch.zeros(16, 4, 7, 7))
    said = r"has another tiny \(conv1\.weight is \(16, 4, .*\), the model's \(16, 3, .*\)\), .* allow_partial=True"
    with pytest.raises(ValueError, match=said):
        deformable_detr.convert(detector, 3, 7)
    model = deformable_detr.convert(detector, 3, 7, allow_partial=True, verbose=False)
    assert torch.equal(model.transformer.level_embed, detector.transformer.level_embed)
    body.conv1.weight, body.layer1.more = nn.Parameter(torch.zeros(16, 3, 7, 7)), nn.Linear(1, 1)
    with pytest.raises(ValueError, match=r"has another tiny \(.*with layer1\.more\.weight, which the model has not"):
        deformable_detr.convert(detector, 3, 7)


@pytest.mark.parametrize("convert", [transformers.convert, deformable_detr.convert])
@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        ("x", {}, r"convert: model must be a torch\.nn\.Module, got str"),
        (None, {"num_classes": "7"}, r"num_classes must be .*'7'"),
        (None, {"num_subject_queries": 3.5}, r"num_subject_queries must be .*3\.5"),
        (None, {"class_names": "joy"}, "convert: class_names must be a list of names or None, got str"),
        (None, {"class_names": 3}, "convert: class_names must be a list of names or None, got int"),
    ],
)
def test_an_argument_of_another_type_is_named(
    detector: Any, convert: Any, model: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=said):  # a configuration raises the latter
        convert(model or detector, **{"num_subject_queries": 4, "num_classes": 7, **changes})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a.jpg",), r"accelerate: pixel_values must be a torch\.Tensor or None, got str"),
        (([[1.0]],), r"accelerate: pixel_values must be a torch\.Tensor or None, got list"),
    ],
)
def test_accelerate_names_what_is_no_tensor(detector: Any, arguments: Any, said: str) -> None:
    with pytest.raises(TypeError, match=said):
        transformers.accelerate(detector, *arguments)
