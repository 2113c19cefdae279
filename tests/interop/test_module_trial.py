"""A module with a known call that computes something else is left alone, and named; comparing leaves no trace."""

from __future__ import annotations

import copy
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsct.interop import transformers
from dsct.interop.attention import accelerate_attention
from dsct.interop.calls import KINDS
from dsct.interop.model_trial import _image_size
from dsct.interop.module_trial import _MEANING
from tests.interop.look_alikes import MSDeformAttn, MultiScaleDeformableAttention, UltralyticsAttention
from tests.interop.small_model import VALUE, Small
from tests.reference.deform_attn import ms_deform_attn


class Variant(MSDeformAttn):
    """Deformable DETR's, with one thing otherwise."""

    change = ""

    def forward(
        self, query: Tensor, reference_points: Tensor, input_flatten: Tensor, input_spatial_shapes: Tensor,
        input_level_start_index: Tensor, input_padding_mask: Tensor | None = None,
    ) -> Any:  # fmt: skip
        grid = (*query.shape[:2], self.heads, self.levels, self.points)
        value = self.value_proj(input_flatten)
        if input_padding_mask is not None and self.change != "padding":
            value = value.masked_fill(input_padding_mask[..., None], 0.0)
        offsets = self.sampling_offsets(query).view(*grid, 2)
        logits = self.attention_weights(query).view(*grid[:3], -1)
        weights = {"sigmoid": logits.sigmoid(), "temperature": (0.9 * logits).softmax(-1)}.get(
            self.change, logits.softmax(-1)
        )
        scale = 1.1 if self.change == "scale" else 1.0
        if reference_points.shape[-1] == 2:
            offsets = offsets / input_spatial_shapes.flip(-1)[:, None]
        else:
            if self.change == "no boxes":
                raise ValueError("boxes are not known here")
            offsets = offsets / self.points * reference_points[:, :, None, :, None, 2:] / 2
            scale = 0.5 if self.change == "scale of boxes" else scale
        locations = reference_points[:, :, None, :, None, :2] + scale * offsets
        shapes = [(int(height), int(width)) for height, width in input_spatial_shapes]
        out = ms_deform_attn(value.unflatten(-1, (self.heads, -1)), shapes, locations, weights.view(grid))
        out = query + self.output_proj(out) if self.change == "residual" else self.output_proj(out)
        return (out, weights) if self.change == "tuple" else out


def variant(change: str) -> nn.Module:
    """As it is initialised in the original code: nothing depends on the query yet."""
    made = type("Variant", (Variant,), {"change": change})(32, 2, 4, 3)
    for part in (made.sampling_offsets, made.attention_weights):
        nn.init.zeros_(part.weight)
    nn.init.zeros_(made.attention_weights.bias)
    return nn.ModuleDict({"attention": made})


@pytest.mark.parametrize("change", ["scale", "scale of boxes", "sigmoid", "temperature", "padding", "residual"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_module_that_computes_something_else_is_left_and_named(change: str, dtype: torch.dtype) -> None:
    model = variant(change).to(dtype)
    kind = type(model["attention"])
    sentence = r"^attention \(Variant\) left as it was: it computes something other than deformable attention, outputs"
    with pytest.warns(UserWarning, match=sentence):
        assert accelerate_attention(model) == {}
    assert type(model["attention"]) is kind
    assert accelerate_attention(model, compare=False) == {"attention": "Deformable DETR"}


@pytest.mark.parametrize("change", ["", "no boxes"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_what_it_shares_with_the_known_module_is_enough(change: str, dtype: torch.dtype) -> None:
    assert accelerate_attention(variant(change).to(dtype)) == {"attention": "Deformable DETR"}
    assert accelerate_attention(variant(change).to("meta")) == {"attention": "Deformable DETR"}


def test_more_outputs_than_one() -> None:
    with pytest.warns(UserWarning, match="left as it was: it returns tuple instead of a tensor"):
        assert accelerate_attention(variant("tuple")) == {}


class OwnScale(UltralyticsAttention):
    def forward(self, query: Tensor, refer_bbox: Tensor, value: Tensor, value_shapes: Any,
                value_mask: Any = None) -> Tensor:  # fmt: skip
        return super().forward(query, 0.9 * refer_bbox, value, value_shapes, value_mask)


class WithoutResidual(MultiScaleDeformableAttention):
    def forward(self, query: Tensor, key: Any = None, value: Any = None, identity: Any = None, query_pos: Any = None,
                key_padding_mask: Any = None, reference_points: Any = None, spatial_shapes: Any = None,
                level_start_index: Any = None, **kwargs: Any) -> Tensor:  # fmt: skip
        given = (query, key, value, identity, query_pos, key_padding_mask, reference_points, spatial_shapes)
        return super().forward(*given, level_start_index, **kwargs) - (query if identity is None else identity)


@pytest.mark.parametrize(
    "module",
    [OwnScale(32, 2, 4, 3), WithoutResidual(32, 4, 2, 3, batch_first=True),
     WithoutResidual(32, 4, 2, 3, batch_first=False), Small(lambda out: 1.01 * out).attention],
    ids=["Ultralytics", "mmcv", "mmcv, queries first", "Hugging Face"],
)  # fmt: skip
def test_other_kinds(module: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"^layer.attention \(\w+\) left as it was: it computes something other than"):
        assert accelerate_attention(nn.ModuleDict({"layer": nn.ModuleDict({"attention": module})})) == {}


@pytest.mark.parametrize(
    "spoil", [lambda out: out.abs() / 0, lambda out: out * 1e38 * 1e38, lambda out: out * torch.nan]
)
def test_a_module_without_a_finite_number_is_left_and_named(spoil: Any) -> None:
    said = (
        r"^attention \(Attention\) left as it was: its outputs on random inputs are not finite, so there is nothing to"
    )
    for way in (spoil, lambda out: spoil(1.01 * out)):
        model = Small(way)
        kind = type(model.attention)
        with pytest.warns(UserWarning, match=said):
            assert accelerate_attention(model) == {}
        assert type(model.attention) is kind


@pytest.mark.parametrize("trial", [None, {"value": VALUE}])
def test_accelerate_refuses_it_too(trial: Any) -> None:
    model = Small(lambda out: 1.01 * out)
    kind = type(model.attention)
    sentence = r"found none in Small; nothing exchanged: attention \(Attention\) left as it was: it computes something"
    with pytest.raises(ValueError, match=sentence):
        transformers.accelerate(model, trial=trial, verbose=False)
    assert type(model.attention) is kind


class Compiled(MSDeformAttn):
    """The original code without its compiled part."""

    def forward(
        self, query: Tensor, reference_points: Tensor, input_flatten: Tensor, input_spatial_shapes: Tensor,
        input_level_start_index: Tensor, input_padding_mask: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        raise NotImplementedError("Not implemented on the CPU")


def test_what_does_not_run_alone_is_exchanged_with_a_warning() -> None:
    model = nn.ModuleDict({"attention": Compiled(32, 2, 4, 3)})
    sentence = re.escape(
        "Compiled is exchanged without a comparison, as it does not run on random inputs on cpu "
        "(NotImplementedError: Not implemented on the CPU)"
    )
    with pytest.warns(UserWarning, match=sentence) as warned:
        assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    assert warned[0].filename == __file__


def test_what_does_not_run_alone_is_compared_in_its_model() -> None:
    def checked(out: Tensor) -> Tensor:
        if out.shape[1] != 5:
            raise RuntimeError("five queries are wanted")
        return out

    assert transformers.accelerate(Small(checked), trial={"value": VALUE}, verbose=False).difference < 1e-6
    assert type(Small(checked).attention).__name__ == "Attention"
    with pytest.warns(UserWarning, match=r"exchanged without a comparison.*five queries are wanted"):
        transformers.accelerate(Small(checked), trial=None, verbose=False)
    with pytest.raises(ValueError, match="in attention; it computes something other than deformable attention"):
        transformers.accelerate(Small(lambda out: 2 * checked(out)), trial={"value": VALUE}, verbose=False)


def test_comparing_leaves_no_trace() -> None:
    log: list[str] = []
    model = variant("")
    attention: Any = model["attention"]
    for module in (attention, attention.value_proj):
        module.register_forward_hook(lambda *_: log.append("forward"))
        module.register_forward_pre_hook(lambda *_: log.append("pre"))
        module.register_full_backward_hook(lambda *_: log.append("backward"))
    weights, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    attributes = {name: (id(module), set(vars(module))) for name, module in model.named_modules()}
    assert accelerate_attention(model.train())
    assert not log
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(each.requires_grad and each.grad is None for each in model.parameters())
    assert all(module.training for module in model.modules())
    assert {name: (id(module), set(vars(module))) for name, module in model.named_modules()} == attributes


def test_every_argument_of_a_known_call_has_a_meaning() -> None:
    assert {name for kind in KINDS for name in kind.call} - set(_MEANING) == {"key"}  # which mmcv ignores


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SimpleNamespace(image_size=320), (320, 320)),
        (SimpleNamespace(image_size=[240, 320]), (240, 320)),
        (SimpleNamespace(backbone_config=SimpleNamespace(image_size=(96, 64))), (96, 64)),
        (SimpleNamespace(image_size=[3, 240, 320]), (480, 640)),
        (SimpleNamespace(), (480, 640)),
    ],
)
def test_the_trial_is_of_the_size_that_a_model_is_made_for(config: Any, expected: tuple[int, int]) -> None:
    assert _image_size(config) == expected


def test_compare_is_true_or_false() -> None:
    with pytest.raises(TypeError, match="compare must be True or False, got 'no'"):
        accelerate_attention(variant(""), compare="no")  # type: ignore[arg-type]
