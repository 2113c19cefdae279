"""Existing models: their decoder replaced, their attention replaced, their weights in a DSCT."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dsct
from dsct.interop import transformers
from dsct.interop.attention import accelerate_attention
from dsct.interop.deformable_detr import convert
from tests.comparison import randomise
from tests.interop.hugging_face_detector import hugging_face_detector
from tests.interop.look_alikes import DeformableTransformerDecoder, MSDeformAttn, MultiScaleDeformableAttention

SHAPES = torch.tensor([[7, 9], [4, 5]])
STARTS = torch.tensor([0, 63])
CELLS = 83


def decoder() -> DeformableTransformerDecoder:
    torch.manual_seed(0)
    made = DeformableTransformerDecoder(3, width=32, feedforward=24, levels=2, heads=4, points=3)
    randomise(made, 0.2)
    return made.eval()


def arguments(queries: int) -> tuple[Any, ...]:
    torch.manual_seed(1)
    padding = torch.zeros(2, CELLS, dtype=torch.bool)
    padding[1, 50:63] = True
    ratios = torch.tensor([[[1.0, 1.0], [1.0, 1.0]], [[0.8, 1.0], [0.9, 1.0]]])
    tgt, position = torch.randn(2, queries, 32), torch.randn(2, queries, 32)
    return tgt, torch.rand(2, queries, 2), torch.randn(2, CELLS, 32), SHAPES, STARTS, ratios, position, padding


def test_the_drop_in_decoder_computes_what_the_replaced_one_did() -> None:
    original = decoder()
    ours = dsct.DSCTDecoder.from_deformable_detr(original, num_context_queries=11)
    assert not ours.training
    for mine, theirs in zip(ours(*arguments(11)), original(*arguments(11)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    plain = dsct.DSCTDecoder.from_deformable_detr(
        original, num_context_queries=11, num_subject_queries=4, fusion_layers=()
    )
    torch.testing.assert_close(plain(*arguments(15))[0], original(*arguments(15))[0], rtol=1e-4, atol=1e-5)


def test_gradients_of_the_drop_in_decoder_are_those_of_the_replaced_one() -> None:
    original = decoder()
    ours = dsct.DSCTDecoder.from_deformable_detr(original, num_context_queries=11)
    gradients = []
    for model in (original, ours):
        (model(*arguments(11))[0] * torch.linspace(0, 1, 32)).sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=2e-3, atol=2e-4, msg=name)


def test_the_drop_in_decoder_fuses_when_asked() -> None:
    original = decoder()
    ours = dsct.DSCTDecoder.from_deformable_detr(
        original, num_context_queries=11, num_subject_queries=4, k_spatial=5, k_semantic=3
    )
    fused, plain = ours(*arguments(15))[0], original(*arguments(15))[0]
    assert not torch.allclose(fused[:, :, 11:], plain[:, :, 11:], atol=1e-3)
    torch.testing.assert_close(fused[0, :, :11], plain[0, :, :11], rtol=1e-4, atol=1e-5)


def test_what_is_no_such_decoder_is_named() -> None:
    with pytest.raises(ValueError, match=r"must be a DeformableTransformerDecoder .* got Linear"):
        dsct.DSCTDecoder.from_deformable_detr(nn.Linear(1, 1))
    refining = decoder()
    refining.bbox_embed = nn.ModuleList()  # type: ignore[assignment]
    with pytest.raises(ValueError, match="must not refine boxes"):
        dsct.DSCTDecoder.from_deformable_detr(refining)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_live_weights_must_be_finite_too(value: float) -> None:
    original, name = decoder(), "layers.2.cross_attn.value_proj.weight"
    with torch.no_grad():
        original.get_parameter(name)[1, 2] = value
    said = f"from_deformable_detr: decoder: {name} must be finite, got NaN or infinity in 1 of 1024 values"
    with pytest.raises(ValueError, match=said):
        dsct.DSCTDecoder.from_deformable_detr(original, num_context_queries=11)
    with torch.no_grad():
        original.get_parameter(name)[1, 2] = 1e5
    original.layers[0].linear1.half()
    with pytest.raises(ValueError, match=f"{name} must be finite as torch.float16, got torch.float32 beyond its range"):
        dsct.DSCTDecoder.from_deformable_detr(original, num_context_queries=11)
    original.register_buffer("unused", torch.tensor([value]))
    dsct.DSCTDecoder.from_deformable_detr(original.float(), num_context_queries=11)
    assert next(dsct.DSCTDecoder.from_deformable_detr(original.to("meta")).parameters()).is_meta


@pytest.mark.parametrize("convert", [convert, transformers.convert])
def test_a_converted_detector_must_be_finite(hugging_face: Any, convert: Any) -> None:
    model = copy.deepcopy(hugging_face)
    with torch.no_grad():
        model.model.level_embed[0, 0] = torch.nan
    with pytest.raises(ValueError, match="level_embed must be finite, got NaN or infinity in 1 of"):
        convert(model, 4, 7, verbose=False)


def test_the_original_module_is_replaced_by_an_import() -> None:
    original, ours = MSDeformAttn(32, 2, 4, 3), dsct.MSDeformAttn(32, 2, 4, 3)
    randomise(original, 0.2)
    ours.load_state_dict(original.state_dict())
    for coordinates in (2, 4):
        call = (torch.randn(2, 5, 32), torch.rand(2, 5, 2, coordinates), torch.randn(2, CELLS, 32), SHAPES, STARTS)
        torch.testing.assert_close(ours(*call), original(*call), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("coordinates", [2, 4])
@pytest.mark.parametrize("bare", [True, False])
def test_mmcv_and_detrex_modules(batch_first: bool, coordinates: int, bare: bool) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"attention": MultiScaleDeformableAttention(32, 4, 2, 3, batch_first), "rest": nn.Linear(1, 1)}
    )
    randomise(model, 0.2)

    def turned(tensor: Tensor) -> Tensor:
        return tensor if batch_first else tensor.transpose(0, 1)

    query, value = torch.randn(2, CELLS, 32), torch.randn(2, CELLS, 32)
    call: dict[str, Any] = {"reference_points": torch.rand(2, CELLS, 2, coordinates), "spatial_shapes": SHAPES,
                            "level_start_index": STARTS}  # fmt: skip
    if not bare:
        padding = torch.zeros(2, CELLS, dtype=torch.bool)
        padding[0, 70:] = True
        call |= {"value": turned(value), "query_pos": turned(torch.randn(2, CELLS, 32)), "key_padding_mask": padding,
                 "identity": turned(torch.randn(2, CELLS, 32))}  # fmt: skip
    expected = model["attention"](turned(query), **call)
    names = list(model.state_dict())
    assert accelerate_attention(model) == {"attention": "mmcv"}
    torch.testing.assert_close(model["attention"](turned(query), **call), expected, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == names
    assert accelerate_attention(model) == {"attention": "mmcv"}


def test_attention_of_the_original_inside_a_model_keeps_parameters_and_hooks() -> None:
    model = decoder()
    expected = model(*arguments(6))[0]
    parameters = {name: id(parameter) for name, parameter in model.named_parameters()}
    calls: list[str] = []
    model.layers[1].cross_attn.register_forward_hook(lambda *_: calls.append("hook"))
    replaced = accelerate_attention(model)
    assert replaced == {f"layers.{layer}.cross_attn": "Deformable DETR" for layer in range(3)}
    torch.testing.assert_close(model(*arguments(6))[0], expected, rtol=1e-4, atol=1e-5)
    assert calls == ["hook"]
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == parameters


def test_what_cannot_be_replaced_is_named() -> None:
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got str"):
        accelerate_attention("model")  # type: ignore[arg-type]


def test_a_model_that_is_no_deformable_detr_is_named() -> None:
    with pytest.raises(ValueError, match="must be a Deformable DETR with a ResNet"):
        convert(nn.Linear(1, 1), 4, 7)


@pytest.fixture(scope="module")
def hugging_face() -> Any:
    return hugging_face_detector()


def test_accelerate_changes_the_speed_of_a_hugging_face_model_alone(
    hugging_face: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model = copy.deepcopy(hugging_face).train()
    images = torch.randn(2, 3, 96, 128)
    result = transformers.accelerate(model, images)
    assert len(result.exchanged) == 4
    assert set(result.exchanged.values()) == {"Hugging Face"}
    assert result.difference < 1e-5
    assert model.training
    assert f"4 attention modules replaced; outputs differ by {result.difference:.1e}" in capsys.readouterr().out
    assert list(model.state_dict()) == list(hugging_face.state_dict())
    outputs = [one.eval()(images).logits for one in (model, hugging_face)]
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="found none in Linear"):
        transformers.accelerate(nn.Linear(3, 3), torch.randn(1, 3))


def test_a_frozen_backbone_stays_frozen_while_a_model_is_accelerated(hugging_face: Any) -> None:
    model = copy.deepcopy(hugging_face).train()
    model.model.backbone.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    exchanged = transformers.accelerate(model, torch.randn(1, 3, 64, 64), verbose=False).exchanged
    found = {name: module.training for name, module in model.named_modules()}
    assert all(found[name] == mode for name, mode in modes.items() if name in found)
    assert not any(found[name] for name in found if name.startswith("model.backbone"))
    assert all(found[name] for name in exchanged)


def test_a_hugging_face_model_keeps_everything_but_its_heads(hugging_face: Any) -> None:
    model = transformers.convert(hugging_face, 3, 26, verbose=False)
    config = model.config
    assert (config.num_context_queries, config.num_subject_queries, config.num_classes) == (12, 3, 26)
    assert (config.nheads, config.enc_n_points, config.k_spatial, config.backbone) == (4, 2, 12, "resnet18")
    theirs = hugging_face.state_dict()
    assert torch.equal(model.query_embed.weight, theirs["model.query_position_embeddings.weight"])
    out = model.eval()(torch.randn(1, 3, 96, 128))
    assert out["pred_logits"].shape == (1, 3, config.num_logits)
    assert bool(out["pred_logits"].isfinite().all())
