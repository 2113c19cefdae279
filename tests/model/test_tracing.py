"""Code that is traced: the composite of every block equals its native form; no graph break, no fixed size."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import dsct
from tests.comparison import assert_same, backward, gradients, padded_images, randomise, small

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded", "person_class": True},
    "all context": {"selection": ()},
    "attentive, late fusion": {"reweighting": "attentive", "fusion_layers": (1,)},
    "by distance, split": {"reweighting": "spatial", "aggregation": "split"},
    "equal, spatial only": {"reweighting": "equal", "selection": ("spatial",)},
    "semantic only, by logits": {"selection": ("semantic",), "score": "logit"},
    "no fusion": {"fusion_layers": ()},
    "nothing selected": {"k_spatial": 0, "k_semantic": 0},
    "no context queries": {"num_context_queries": 0},
    "five levels": {"num_feature_levels": 5},
    "two levels, resnet18": {"num_feature_levels": 2, "backbone": "resnet18"},
}


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def model_of(**overrides: Any) -> dsct.DSCT:
    model = dsct.DSCT(small(**overrides)).double()
    randomise(model)
    return model


def test_the_variants_name_every_choice() -> None:
    """A value that occurs in no variant would enter no test below."""
    configs = [small(**overrides) for overrides in VARIANTS.values()]
    choices = dsct._dsct.Config.choices()
    words = {field.name for field in dataclasses.fields(dsct.DSCTConfig) if field.type == "str"}
    assert choices.keys() == words - {"backbone", "train_backbone"} | {"selection"}
    relations = choices.pop("selection")
    for field, values in choices.items():
        assert {getattr(config, field) for config in configs} == set(values), field
    sets = {chosen for size in range(len(relations) + 1) for chosen in itertools.combinations(relations, size)}
    assert {config.selection for config in configs} == sets
    assert {config.fusion_layers for config in configs} >= {None, ()}
    assert {config.person_class for config in configs} == {True, False}


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_one_graph_equals_the_native_model(overrides: dict[str, Any]) -> None:
    """Outputs, trace and gradients; ``fullgraph`` raises at a graph break."""
    model, (images, mask) = model_of(**overrides), padded_images()
    traced = torch.compile(model, backend="eager", fullgraph=True)
    found = []
    for call in (traced, model):
        model.zero_grad()
        result = call(images, mask, return_trace=True)
        backward(result[0])
        found.append((result, gradients(model)))
    assert_same(*found, tolerance=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(torch.__version__ < "2.12", reason="Inductor of torch 2.11 takes float64 attention for float32")
def test_compiled_code_equals_the_native_model() -> None:
    """As above, through Inductor: C++ of the forward and of the backward pass."""
    model, (images, mask) = model_of(dec_layers=1), padded_images()
    found = []
    for call in (torch.compile(model, fullgraph=True), model):
        model.zero_grad()
        output = call(images, mask)
        backward(output)
        found.append((output, gradients(model)))
    assert_same(*found, tolerance=1e-9)


def test_sizes_may_change_and_a_mask_be_missing() -> None:
    model = model_of().eval()
    traced = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)
    for batch, height, width in ((2, 64, 96), (3, 70, 81)):
        images, mask = padded_images(batch, height, width)
        assert_same(traced(images, mask), model(images, mask), 1e-9)
        assert_same(traced(images), model(images), 1e-9)


@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_make_fx_records_the_operators(mode: str) -> None:
    model, (images, mask) = model_of().eval(), padded_images(height=130, width=200)
    graph = make_fx(lambda *arguments: model(*arguments), tracing_mode=mode, _allow_non_fake_inputs=True)(images, mask)
    assert_same(graph(images, mask), model(images, mask), 1e-9)
    recorded = [str(node.target) for node in graph.graph.nodes]
    assert recorded.count("dsct.ms_deform_attn_fused.default") == 1 + 2  # encoder and decoder layers
    if mode == "symbolic":
        images, mask = padded_images(3, 150, 91)
        assert_same(graph(images, mask), model(images, mask), 1e-9)


def test_dropout_of_a_traced_model_trains_and_stops_in_evaluation() -> None:
    model, (images, mask) = model_of(dropout=0.3), padded_images()
    traced = torch.compile(model, backend="eager", fullgraph=True)
    first, second = (traced(images, mask)["pred_logits"] for _ in range(2))
    assert not torch.equal(first, second)
    model.eval()
    assert_same(traced(images, mask), model(images, mask), 1e-9)
