"""The options of a prediction: written once, taken by everything that predicts, listed where they are taken."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import dsct
from dsct import visualize
from dsct.prediction.options import DEFAULTS, Options, completed

TAKE_OPTIONS: list[Callable[..., Any]] = [
    dsct.Predictor,
    dsct.predict,
    dsct.predict_stream,
    dsct.video.predict_frames,
    visualize.trace_subjects,
    visualize.draw_activations,
    visualize.draw_context,
    visualize.draw_sampling,
    visualize.draw_subject_positions,
]


def test_every_option_has_a_default() -> None:
    assert list(DEFAULTS) == list(Options.__annotations__)


@pytest.mark.parametrize("function", TAKE_OPTIONS)
def test_the_signature_lists_every_option_with_its_default(function: Callable[..., Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in DEFAULTS} == DEFAULTS
    assert all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values())


def test_what_is_given_stands_before_the_defaults() -> None:
    assert completed({"nms_iou": None, "short_side": 96}) == {**DEFAULTS, "nms_iou": None, "short_side": 96}


def test_rejects_what_is_no_option() -> None:
    expected = "predict: options must be among threshold, .*, batch_size, got treshold"
    with pytest.raises(TypeError, match=expected):
        dsct.predict("absent.jpg", treshold=0.5)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", "4"), ("batch_size", 2.5), ("batch_size", None), ("short_side", 96.5), ("long_side", "400"),
     ("nms_iou", "0.5"), ("nms_iou", [0.5]), ("score_threshold", "0.5")],
)  # fmt: skip
def test_an_option_of_another_type_is_named_before_anything_runs(name: str, value: Any) -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny())
    with pytest.raises(TypeError, match=f"predict: {name} must be a .*number, got {re.escape(repr(value))}"):
        dsct.Predictor(model, **{name: value})


def test_a_score_threshold_that_no_score_passes_is_refused() -> None:
    with pytest.raises(ValueError, match="score_threshold must be a number, got nan"):
        dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=float("nan"))
