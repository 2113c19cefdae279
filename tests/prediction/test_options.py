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


@pytest.mark.parametrize("value", ["a", "0.5", ["a"], [None], {}, object()])
def test_a_threshold_that_is_no_number_is_named(value: Any) -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny(multi_label=True))
    with pytest.raises((TypeError, ValueError), match=r"(predict|PostProcess): threshold must be"):
        dsct.Predictor(model, threshold=value)
    with pytest.raises((TypeError, ValueError), match="PostProcess: threshold must be"):
        dsct.PostProcess(model.config, threshold=value)


def test_a_threshold_is_refused_where_one_class_is_reported() -> None:
    """Without it, 0.1 and 0.99 gave the same."""
    with pytest.raises(ValueError, match="threshold is for models with several emotions per person"):
        dsct.predict("absent.jpg", dsct.DSCT(dsct.DSCTConfig.tiny()), threshold=0.1)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nms_iou", float("nan"), r"nms_iou must be in \[0, 1\], got nan"),
        ("nms_iou", -1, r"nms_iou must be in \[0, 1\], got -1"),
        ("nms_iou", 2, r"nms_iou must be in \[0, 1\], got 2"),
        ("long_side", float("nan"), "long_side must be at least 1 pixel, got nan"),
        ("device", "meta", "predict: device must be a device that computes, got 'meta'"),
        ("device", "gpu", "predict: device must be a device of this machine, got 'gpu'"),
        ("device", "cuda:77", "predict: device must be a device of this machine, got 'cuda:77'"),
        ("device", 3.5, "predict: device must be a device of this machine, got '3.5'"),
    ],
)
def test_an_option_out_of_range_is_named_in_one_line(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), **{name: value})
    assert "\n" not in str(raised.value)


def test_a_score_threshold_that_no_score_passes_is_refused() -> None:
    with pytest.raises(ValueError, match="score_threshold must be a number, got nan"):
        dsct.Predictor(dsct.DSCT(dsct.DSCTConfig.tiny()), score_threshold=float("nan"))
