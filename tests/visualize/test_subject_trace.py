"""Where the model looked for each person: the people of `predict`, pixels of the original image, any decoder."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import dsct
from dsct.data.image_io import load_image
from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import evaluation_transform
from dsct.prediction.look import LayerLook, heaviest
from dsct.prediction.shipped_weights import SHIPPED_WEIGHTS
from dsct.visualize import trace_subjects

CONFIG = dsct.DSCTConfig.tiny()
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def drawn(index: int, width: int = 320, height: int = 240) -> Pixels:
    image, _ = SyntheticDataset("test", 40, image_size=(width, height))[index]
    return np.ascontiguousarray(np.moveaxis(image.numpy(), 0, -1))


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def untrained(**fields: Any) -> dsct.DSCT:
    """Small, with sampling points that depend on the query."""
    model = dsct.DSCT(dsct.DSCTConfig.tiny(**fields))
    for layer in model.transformer.decoder.layers:
        for projection in (layer.cross_attn.sampling_offsets, layer.cross_attn.attention_weights):
            nn.init.normal_(projection.weight, std=0.5)
    return model


OPTIONS: list[dict[str, Any]] = [
    {},
    {"nms_iou": None},
    {"score_threshold": 0.0, "nms_iou": None},
    {"score_threshold": 0.0, "nms_iou": 0.01},
    {"score_threshold": 1.0},
    {"short_side": 64, "long_side": 80},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(320, 240), (97, 61), (40, 150)])
def test_people_are_those_of_predict_in_the_same_order(shape: tuple[int, int], options: dict[str, Any]) -> None:
    image = np.asarray(load_image(drawn(3)).resize(shape))
    people = dsct.predict(image, **options)
    assert [subject.person for subject in trace_subjects(image, **options)] == list(people)


def test_people_of_a_multi_label_model() -> None:
    model = untrained(num_classes=26, class_names=None, multi_label=True, num_subject_queries=5)
    options = {"score_threshold": 0.0, "nms_iou": None, "short_side": 64, "threshold": 0.01}
    subjects = trace_subjects(noise(80, 64), model, **options)
    assert [subject.person for subject in subjects] == list(dsct.predict(noise(80, 64), model, **options))
    assert sorted(subject.query for subject in subjects) == list(range(5))


def test_the_query_is_the_one_that_found_the_person() -> None:
    image = drawn(3)
    model, subjects = dsct.load_model(SHIPPED_WEIGHTS), trace_subjects(drawn(3))
    pixels, _ = evaluation_transform(96, 1333)(load_image(image), {"boxes": torch.zeros(0, 4)})
    with torch.no_grad():
        boxes = model.eval()(pixels[None])["pred_boxes"][0]
    assert len(subjects) > 1
    for subject in subjects:
        cx, cy, width, height = (boxes[subject.query] * torch.tensor([320, 240, 320, 240])).tolist()
        corners = np.array([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2])
        np.testing.assert_allclose(subject.person.box, corners.clip(0, [320, 240, 320, 240]), atol=1e-3)


def test_queries_that_say_the_same_are_told_apart() -> None:
    model = untrained(num_subject_queries=3)
    with torch.no_grad():
        model.query_embed_dsct.weight[:] = model.query_embed_dsct.weight[0]
    subjects = trace_subjects(noise(64, 64), model, score_threshold=0.0, nms_iou=None, short_side=64)
    assert [subject.query for subject in subjects] == [0, 1, 2]


@pytest.mark.parametrize("aggregation", ["union", "split"])
@pytest.mark.parametrize("selection", [(), ("spatial",), ("semantic",), ("spatial", "semantic")])
def test_coordinates_and_weights_are_those_of_the_trace(selection: tuple[str, ...], aggregation: str) -> None:
    model = untrained(selection=selection, aggregation=aggregation, num_context_queries=9, k_spatial=4, k_semantic=3)
    image, size = noise(150, 100), torch.tensor([150, 100])
    subjects = trace_subjects(image, model, score_threshold=0.0, nms_iou=None, short_side=64)
    pixels, _ = evaluation_transform(64, 1333)(load_image(image), {"boxes": torch.zeros(0, 4)})
    with torch.no_grad():
        _, trace = model.eval()(pixels[None], return_trace=True)
    relations = {
        (): ["all"] * 9,
        ("spatial",): ["spatial"] * 4,
        ("semantic",): ["semantic"] * 3,
        ("spatial", "semantic"): ["spatial"] * 4 + ["semantic"] * 3,
    }[selection]
    assert len(subjects) == CONFIG.num_subject_queries
    for subject in subjects:
        assert len(subject.layers) == CONFIG.dec_layers
        for looked_at, layer in zip(subject.layers, trace, strict=True):
            row = 9 + subject.query
            np.testing.assert_allclose(looked_at.reference_point, layer["reference_points"][0, row] * size, rtol=1e-5)
            location = layer["sampling_locations"][0, row, 2, 1, 3] * size  # head 2, level 1, point 3
            index = (2 * 4 + 1) * 4 + 3
            np.testing.assert_allclose(looked_at.sampling_points[index], location, rtol=1e-4)
            share = layer["attention_weights"][0, row, 2, 1, 3] / CONFIG.nheads
            assert looked_at.sampling_weights[index] == pytest.approx(float(share))
            assert looked_at.sampling_weights.sum() == pytest.approx(1, abs=1e-5)
            assert looked_at.context_relation == relations
            shares = layer["context_weights"][0, subject.query]
            np.testing.assert_allclose(looked_at.context_weights, shares, rtol=1e-5)
            check_context(looked_at, layer, size)


def check_context(looked_at: LayerLook, layer: dict[str, Any], size: Any) -> None:
    """Points and weights of the chosen queries, one query after the other."""
    points = looked_at.context_sampling_points.reshape(len(looked_at.context_weights), -1, 2)
    weights = looked_at.context_sampling_weights.reshape(len(points), -1)
    for k, query in enumerate(looked_at.context_queries):
        np.testing.assert_allclose(looked_at.context_points[k], layer["reference_points"][0, query] * size, rtol=1e-5)
        locations = layer["sampling_locations"][0, query].reshape(-1, 2) * size
        np.testing.assert_allclose(points[k], locations, rtol=1e-4)
        np.testing.assert_allclose(weights[k].sum(), looked_at.context_weights[k], rtol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"fusion_layers": ()},
        {"num_context_queries": 0, "k_spatial": 0, "k_semantic": 0},
        {"k_spatial": 0, "k_semantic": 0},
    ],
    ids=["no layer fuses", "no context", "nothing selected"],
)
def test_without_fusion_there_is_no_context(fields: dict[str, Any]) -> None:
    (first, *_) = trace_subjects(noise(96, 64), untrained(**fields), score_threshold=0.0, short_side=64)
    for layer in first.layers:
        assert layer.context_points.shape == (0, 2)
        assert layer.context_weights.shape == (0,)
        assert layer.context_relation == []
        assert layer.context_sampling_points.shape == (0, 2)
        assert layer.context_sampling_weights.shape == (0,)
        assert layer.sampling_points.shape == (64, 2)


def test_only_layers_that_fuse_have_context() -> None:
    model = untrained(dec_layers=3, fusion_layers=(1,))
    (first, *_) = trace_subjects(noise(96, 64), model, score_threshold=0.0, short_side=64)
    assert [len(layer.context_points) > 0 for layer in first.layers] == [False, True, False]


class PlainDecoder(nn.Module):
    """Somebody's decoder: Deformable DETR's call, boxes as references, and a trace that knows of no fusion."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, tgt: Any, reference_points: Any, *args: Any, return_trace: bool = False) -> Any:
        rows = tgt.shape[1]
        boxes = torch.cat([reference_points, torch.full_like(reference_points, 0.1)], -1)
        locations = torch.linspace(0, 1, rows).view(1, rows, 1, 1, 1, 1).expand(1, rows, 2, 1, 3, 2)
        one = {
            "reference_points": boxes,
            "sampling_locations": locations,
            "attention_weights": torch.full(locations.shape[:-1], 1 / 3),
        }
        hidden = tgt.expand(self.layers, *tgt.shape), reference_points
        return (*hidden, [one] * self.layers) if return_trace else hidden


def test_custom_decoder_without_fusion() -> None:
    model = dsct.DSCT(dsct.DSCTConfig.tiny(num_subject_queries=4, num_context_queries=6, k_spatial=2, k_semantic=2))
    model.transformer.decoder = PlainDecoder(CONFIG.dec_layers)
    subjects = trace_subjects(noise(90, 60), model, score_threshold=0.0, nms_iou=None, short_side=64)
    people = dsct.predict(noise(90, 60), model, score_threshold=0.0, nms_iou=None, short_side=64)
    assert [subject.person for subject in subjects] == list(people)
    for subject in subjects:
        fraction = (6 + subject.query) / 9
        for layer in subject.layers:
            np.testing.assert_allclose(layer.sampling_points, np.full((6, 2), fraction) * [90, 60], rtol=1e-5)
            assert layer.sampling_weights.tolist() == pytest.approx([1 / 6] * 6)
            assert layer.reference_point.shape == (2,)
            assert layer.context_relation == []


class SilentDecoder(PlainDecoder):
    def forward(self, tgt: Any, reference_points: Any, *args: Any) -> Any:
        return super().forward(tgt, reference_points)


def test_a_decoder_that_keeps_silent_is_named() -> None:
    model = dsct.DSCT(CONFIG)
    model.transformer.decoder = SilentDecoder(CONFIG.dec_layers)
    with pytest.raises(TypeError, match=r"decoder of model must take return_trace=True.*got SilentDecoder"):
        trace_subjects(noise(90, 60), model)


def test_to_dict_is_json_and_can_be_short() -> None:
    subject, *_ = trace_subjects(drawn(3))
    full = json.loads(json.dumps(subject.to_dict()))
    assert full["query"] == subject.query
    assert full["person"]["box"] == list(subject.person.box)
    assert set(full["layers"][0]) == {field.name for field in dataclasses.fields(LayerLook)}
    for name, values in full["layers"][1].items():
        np.testing.assert_array_equal(np.array(values), np.array(getattr(subject.layers[1], name)))
    short = subject.to_dict(most_points=10)["layers"][1]
    assert len(short["context_sampling_points"]) == len(short["sampling_weights"]) == 10
    assert short["context_sampling_weights"][0] == subject.layers[1].context_sampling_weights.max()


def test_heaviest_points_come_with_their_weights() -> None:
    points = np.arange(20, dtype=np.float32).reshape(10, 2)
    weights = np.array([0, 3, 1, 3, 2, 0, 0, 9, 0, 0], np.float32)
    chosen, of = heaviest(points, weights, 4)
    assert of.tolist() == [9, 3, 3, 2]
    assert chosen.tolist() == points[[7, 1, 3, 4]].tolist()
    assert heaviest(points, weights, 100)[0].shape == (10, 2)


def test_the_model_is_left_as_it_was() -> None:
    model = untrained().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace_subjects(noise(96, 64), model, short_side=64)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_rejects() -> None:
    with pytest.raises(TypeError, match=r"model must be a dsct\.DSCT, a path or None"):
        trace_subjects(noise(9, 9), nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nms_iou must be in"):
        trace_subjects(noise(9, 9), nms_iou=2.0)
    with pytest.raises(TypeError, match="image must be a path"):
        trace_subjects([noise(9, 9)])  # type: ignore[arg-type]
