"""A module whose attention is exchanged stays the object that it was, and an error leaves the model as it was."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dsct.interop import transformers
from dsct.interop.attention import accelerate_attention, restore_attention
from tests.comparison import randomise
from tests.interop.hugging_face_detector import hugging_face_detector
from tests.interop.look_alikes import MSDeformAttn

SHAPES = torch.tensor([[4, 6], [2, 3]])
STARTS = torch.tensor([0, 24])


class WithOneMore(MSDeformAttn):
    """As RF-DETR's, whose decoder passes the same shapes a second time, as numbers."""

    def forward(  # type: ignore[override]
        self, query: Tensor, reference_points: Tensor, input_flatten: Tensor, input_spatial_shapes: Tensor,
        input_level_start_index: Tensor, input_padding_mask: Tensor | None = None,
        input_spatial_shapes_hw: Any = None,
    ) -> Tensor:  # fmt: skip
        assert input_spatial_shapes_hw == SHAPES.tolist()
        reference_points = reference_points.expand(-1, -1, len(SHAPES), -1)
        out: Tensor = super().forward(
            query, reference_points, input_flatten, input_spatial_shapes, input_level_start_index, input_padding_mask
        )
        return out


class WithTemperature(MSDeformAttn):
    """One more parameter whose meaning nobody knows."""

    def forward(  # type: ignore[override]
        self, query: Tensor, reference_points: Tensor, input_flatten: Tensor, input_spatial_shapes: Tensor,
        input_level_start_index: Tensor, input_padding_mask: Tensor | None = None, temperature: float = 1.0,
    ) -> Tensor:  # fmt: skip
        return query * temperature


def attention(kind: type[MSDeformAttn] = MSDeformAttn) -> MSDeformAttn:
    torch.manual_seed(0)
    module = kind(32, 2, 4, 3)
    randomise(module)
    return module


def arguments(levels: int = 2) -> tuple[Tensor, ...]:
    return torch.randn(2, 5, 32), torch.rand(2, 5, levels, 2), torch.randn(2, 30, 32), SHAPES, STARTS


def test_every_kind_of_hook_survives_with_its_handle() -> None:
    model, heard = nn.ModuleDict({"attention": attention()}), []
    module = model["attention"]

    def hear(name: str) -> Any:
        return lambda *_given, **_named: heard.append(name)

    handles = [
        module.register_forward_hook(hear("forward")),
        module.register_forward_hook(lambda _m, _a, named, _o: heard.append(sorted(named)), with_kwargs=True),
        module.register_forward_hook(hear("always"), always_call=True),
        module.register_forward_pre_hook(hear("pre")),
        module.register_forward_pre_hook(lambda _m, _a, _k: heard.append("pre named"), with_kwargs=True),
        module.register_full_backward_hook(hear("backward")),
        module.register_full_backward_pre_hook(hear("backward pre")),
        module.register_state_dict_post_hook(hear("state")),
        module.register_load_state_dict_post_hook(hear("load")),
    ]
    given = arguments()
    query = given[0].requires_grad_()
    named = {"input_flatten": given[2], "input_spatial_shapes": SHAPES, "input_level_start_index": STARTS}

    def run() -> list[Any]:
        heard.clear()
        module(query, given[1], **named).sum().backward()
        module.load_state_dict(module.state_dict())
        with pytest.raises((ValueError, RuntimeError)):
            module(*given[:2], torch.zeros(2, 7, 32), SHAPES, STARTS)
        return list(heard)

    expected = run()
    assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    assert model["attention"] is module
    assert run() == expected
    assert {"always", "pre named", "backward pre", "load"} <= {each for each in expected if isinstance(each, str)}
    for handle in handles:
        handle.remove()
    assert not run()


def test_attributes_parametrizations_and_the_own_class_survive() -> None:
    model = nn.ModuleDict({"attention": attention()})
    module = model["attention"]
    parametrizations.weight_norm(module.value_proj)
    module.note = "mine"
    expected = module(*(given := arguments()))
    accelerate_attention(model)
    assert module.note == "mine"
    assert isinstance(module, MSDeformAttn)
    assert type(module).__name__ == "MSDeformAttn"
    torch.testing.assert_close(module(*given), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("copied", ["deepcopy", "pickle", "torch.save"])
def test_an_exchanged_model_is_copied_and_saved(copied: str) -> None:
    model = nn.ModuleDict({"attention": attention()})
    accelerate_attention(model)
    if copied == "deepcopy":
        other = copy.deepcopy(model)
    elif copied == "pickle":
        other = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, file := io.BytesIO())
        file.seek(0)
        other = torch.load(file, weights_only=False)
    given = arguments()
    assert type(other["attention"]) is type(model["attention"])
    assert torch.equal(other["attention"](*given), model["attention"](*given))


def test_restored_is_as_it_was() -> None:
    model = nn.ModuleDict({"attention": attention()})
    accelerate_attention(model)
    restore_attention(model)
    assert type(model["attention"]) is MSDeformAttn


def test_a_module_at_two_places_is_exchanged_once_and_named_twice() -> None:
    module = attention()
    model = nn.ModuleList([module, module])
    assert accelerate_attention(model) == {"0": "Deformable DETR", "1": "Deformable DETR"}
    assert model[0] is model[1] is module


def test_the_attention_itself() -> None:
    module = attention()
    expected = module(*(given := arguments()))
    assert accelerate_attention(module) == {"": "Deformable DETR"}
    torch.testing.assert_close(module(*given), expected, rtol=1e-4, atol=1e-5)


def test_shapes_that_are_passed_twice_and_one_level_of_reference_points() -> None:
    model = nn.ModuleDict({"attention": attention(WithOneMore)})
    given = arguments(levels=1)
    expected = model["attention"](*given, input_spatial_shapes_hw=SHAPES.tolist())
    assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    found = model["attention"](*given, input_spatial_shapes_hw=SHAPES.tolist())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_parameter_of_unknown_meaning_leaves_the_module_alone() -> None:
    model = nn.ModuleDict({"attention": attention(WithTemperature)})
    with pytest.warns(UserWarning, match=r"attention \(WithTemperature\) is left as it is: .* also takes temperature"):
        assert accelerate_attention(model) == {}
    assert type(model["attention"]) is WithTemperature


# ---------------------------------------------------------------- the comparison


@pytest.fixture
def detector() -> Any:
    return hugging_face_detector()


def kinds(model: nn.Module) -> list[type]:
    return [type(module) for module in model.modules()]


def test_outputs_that_are_not_finite_by_themselves_are_said(detector: Any) -> None:
    before = kinds(detector)
    with torch.no_grad():
        detector.class_embed[0].bias[0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite in torch\.float32 by themselves, so there is nothing to compare"):
        transformers.accelerate(detector, verbose=False)
    assert kinds(detector) == before


def test_a_difference_of_nan_is_never_overlooked(detector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dsct.interop import attention as exchange

    def broken(*given: Any) -> Tensor:
        out = exact(*given)
        out[..., 0] = torch.nan
        return out

    before, exact = kinds(detector), exchange.ms_deform_attn
    monkeypatch.setattr(exchange, "ms_deform_attn", broken)
    with pytest.raises(ValueError, match="outputs changed by inf"):
        transformers.accelerate(detector, verbose=False)
    assert kinds(detector) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_any_error_leaves_the_model_as_it_was(detector: Any, error: type[BaseException]) -> None:
    before, calls = kinds(detector.train()), []

    def trial(view: nn.Module) -> Any:
        calls.append(view)
        if len(calls) == 3:  # the first pass after the exchange
            raise error
        return view(torch.zeros(1, 3, 64, 64))

    with pytest.raises(error):
        transformers.accelerate(detector, trial=trial, verbose=False)
    assert len(calls) == 3
    assert kinds(detector) == before
    assert detector.training


def test_what_the_user_exchanged_before_stays(detector: Any) -> None:
    accelerate_attention(detector)
    before = kinds(detector)
    with pytest.raises(ValueError, match="found none in"):
        transformers.accelerate(detector, torch.zeros(1, 3, 64, 64), verbose=False)
    assert kinds(detector) == before


def test_a_trial_by_name_and_none_at_all(detector: Any) -> None:
    other = copy.deepcopy(detector)
    result = transformers.accelerate(detector, trial={"pixel_values": torch.rand(1, 3, 64, 96)}, verbose=False)
    assert result.difference < 1e-4
    assert len(result.exchanged) == 4
    unseen = transformers.accelerate(other, trial=None, verbose=False)
    assert unseen.exchanged == result.exchanged
    assert str(unseen) == "4 attention modules replaced; nothing was compared"


def test_a_trial_that_does_not_fit_is_said(detector: Any) -> None:
    before = kinds(detector)
    with pytest.raises(ValueError, match=r"must run on the trial: give its inputs as trial=\{\.\.\.\}.*it said:"):
        transformers.accelerate(detector, trial={"input_ids": torch.zeros(1, 3).long()}, verbose=False)
    with pytest.raises(TypeError, match="trial must be a dictionary, a function or None, got int"):
        transformers.accelerate(detector, trial=3, verbose=False)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="give pixel_values or trial, not both"):
        transformers.accelerate(detector, torch.zeros(1, 3, 64, 64), trial=None)
    assert kinds(detector) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions(detector: Any, dtype: torch.dtype) -> None:
    result = transformers.accelerate(detector.to(dtype), torch.rand(1, 3, 64, 96), verbose=False)
    assert result.difference < (5e-2 if dtype == torch.bfloat16 else 1e-6)
