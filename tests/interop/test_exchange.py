"""What ``transformers.accelerate`` compares, what it refuses, and that an error leaves the model as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dsct.interop import transformers
from dsct.interop.attention import accelerate_attention
from tests.interop.hugging_face_detector import hugging_face_detector
from tests.interop.small_model import VALUE, Attention, Small


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
    from dsct.interop import calls

    def broken(*given: Any) -> Tensor:
        out = exact(*given)
        out[..., 0] = torch.nan
        return out

    before, exact = kinds(detector), calls.ms_deform_attn
    monkeypatch.setattr(calls, "ms_deform_attn", broken)
    with pytest.raises(ValueError, match="outputs changed by inf"):
        transformers.accelerate(detector, verbose=False)
    assert kinds(detector) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_any_error_leaves_the_model_as_it_was(detector: Any, error: type[BaseException]) -> None:
    before, calls = kinds(detector.train()), []

    def trial(view: nn.Module) -> Any:
        calls.append(view)
        torch.rand(3)
        if len(calls) == 3:  # the first pass after the exchange
            raise error
        return view(torch.zeros(1, 3, 64, 64))

    state = torch.get_rng_state()
    with pytest.raises(error):
        transformers.accelerate(detector, trial=trial, verbose=False)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in detector.parameters())
    assert len(calls) == 3
    assert kinds(detector) == before
    assert detector.training


def test_a_second_time_gives_the_same_result(detector: Any) -> None:
    first = transformers.accelerate(detector, torch.rand(1, 3, 64, 64), verbose=False)
    again = kinds(detector)
    second = transformers.accelerate(detector, torch.rand(1, 3, 64, 64), verbose=False)
    assert second.exchanged == first.exchanged == accelerate_attention(detector)
    assert 0 < second.difference < 1e-4
    assert kinds(detector) == again


def test_what_the_user_exchanged_before_stays(detector: Any) -> None:
    encoder = detector.model.encoder
    assert len(accelerate_attention(encoder)) == 2
    before = kinds(detector)
    with pytest.raises(ValueError, match="must run on the trial"):
        transformers.accelerate(detector, trial={"input_ids": torch.zeros(1, 3).long()}, verbose=False)
    assert kinds(detector) == before
    result = transformers.accelerate(detector, torch.rand(1, 3, 64, 64), verbose=False)
    assert len(result.exchanged) == 4
    assert 0 < result.difference < 1e-4


def test_a_trial_by_name_and_none_at_all(detector: Any) -> None:
    other = copy.deepcopy(detector)
    result = transformers.accelerate(detector, trial={"pixel_values": torch.rand(1, 3, 64, 96)}, verbose=False)
    assert result.difference < 1e-4
    assert len(result.exchanged) == 4
    unseen = transformers.accelerate(other, trial=None, verbose=False)
    assert unseen.exchanged == result.exchanged
    assert str(unseen) == "4 attention modules replaced; the model's outputs were not compared"


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("end", [lambda out: out * 60000 * 4, lambda out: (3000 * out).sin()])
def test_half_precision_is_compared_in_float32(dtype: torch.dtype, end: Any) -> None:
    model = Small(end=end).to(dtype)
    parameters = [(id(each), each.dtype) for each in model.parameters()]
    dtypes = []
    handle = model.layer.register_forward_hook(lambda _m, args, out: dtypes.append((args[0].dtype, out.dtype)))
    result = transformers.accelerate(model, trial={"value": VALUE.to(dtype)}, verbose=False)
    handle.remove()
    assert result.exchanged == {"attention": "Hugging Face"}
    assert result.difference < 1e-3
    assert str(result).endswith("; compared in float32")
    assert dtypes == 2 * [*2 * [(dtype, dtype)], (torch.float32, torch.float32)]
    assert [(id(each), each.dtype) for each in model.parameters()] == parameters
    assert not model._forward_pre_hooks


def test_rounding_in_bfloat16_is_no_other_computation(detector: Any) -> None:
    images = torch.rand(1, 3, 64, 96).bfloat16()
    result = transformers.accelerate(
        detector.bfloat16(), trial=lambda view: (100 * view(images).logits).sin(), verbose=False
    )
    assert result.difference < 1e-3


def test_a_wrong_result_is_found_in_float32_too() -> None:
    model = Small(lambda out: out + 1, lambda out: out * 60000 * 4).half()
    with pytest.raises(ValueError, match="computes something other than deformable attention"):
        transformers.accelerate(model, trial={"value": VALUE.half()}, verbose=False)
    assert type(model.attention) is Attention


def in_its_model(out: Tensor) -> Tensor:
    """The output, where it is not computed on random inputs."""
    if out.shape[1] != 5:
        raise RuntimeError("five queries are wanted")
    return out


@pytest.mark.parametrize("training", [True, False])
def test_infinities_that_a_model_means_are_compared_as_such(training: bool) -> None:
    def masked(out: Tensor) -> Tensor:
        return out.masked_fill(torch.arange(8) > 5, -torch.inf)

    model = Small(end=masked).train(training)
    assert transformers.accelerate(model, VALUE, verbose=False).difference < 1e-6
    assert (model.training, model.dropout.training) == (training, training)
    for end in (lambda out: masked(out).masked_fill(out > 0, torch.inf), lambda out: masked(out)[..., 5:]):
        assert transformers.accelerate(Small(end=end), VALUE, verbose=False).difference < 1e-6
    with pytest.raises(ValueError, match="something other than deformable attention"):
        transformers.accelerate(Small(lambda out: 2 * in_its_model(out), masked), VALUE, verbose=False)


ENDS: dict[str, Any] = {
    "infinite": lambda out: out.abs() / 0,
    "of both signs": lambda out: out / 0,
    "overflow": lambda out: out * 1e38 * 1e38,
    "masked": lambda out: torch.full_like(out, -torch.inf),
    "one of two": lambda out: (out * 1e38 * 1e38, (out * 1e38).sigmoid().round()),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", [lambda out: out, lambda out: 2 * in_its_model(out)])
def test_outputs_without_a_finite_number_cannot_be_compared(end: str, dtype: torch.dtype, way: Any) -> None:
    model = Small(way, ENDS[end]).to(dtype)
    said = "^outputs of Small are not finite in torch.float32 by themselves, so there is nothing to compare with: "
    with pytest.raises(ValueError, match=said):
        transformers.accelerate(model, trial={"value": VALUE.to(dtype)}, verbose=False)
    assert type(model.attention) is Attention


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_what_is_not_finite_on_one_side_only_is_a_difference(value: float) -> None:
    def spoilt(out: Tensor) -> Tensor:
        return out.index_fill(-1, torch.tensor([1]), value)

    with pytest.raises(ValueError, match=r"changed by inf|not finite"):
        transformers.accelerate(model := Small(spoilt), VALUE, verbose=False)
    assert type(model.attention) is Attention


def test_outputs_without_numbers_cannot_be_compared() -> None:
    model = Small()
    with pytest.raises(ValueError, match="outputs of Small must contain tensors of floating-point numbers"):
        transformers.accelerate(model, trial=lambda view: view(VALUE)["out"].argmax(-1), verbose=False)
    assert type(model.attention) is Attention


class InPlace(Small):
    """Adds to what it is given, and to what is in a list of it."""

    def forward(self, value: Tensor, more: list[Tensor] | None = None) -> dict[str, Any]:
        for each in (value, *(more or ())):
            each += 1
        return super().forward(value)


def test_inputs_stay_as_they_were() -> None:
    value, more = VALUE.clone(), VALUE.clone()
    for trial in ({"value": value, "more": [more]}, lambda view: view(value, more=[more])):
        assert transformers.accelerate(InPlace(), trial=trial, verbose=False).difference < 1e-6
    assert transformers.accelerate(InPlace(), value, verbose=False).difference < 1e-6
    half = VALUE.bfloat16()
    assert transformers.accelerate(InPlace().bfloat16(), half, verbose=False).difference < 1e-6
    assert torch.equal(value, VALUE)
    assert torch.equal(more, VALUE)
    assert torch.equal(half, VALUE.bfloat16())


def test_a_model_without_parameters() -> None:
    class Alone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Attention(lambda out: out)

        def forward(self, images: Tensor) -> Tensor:
            points = torch.linspace(0, 1, 40).view(1, 5, 2, 1, 2, 2)
            value = images.flatten(1)[:, :48].view(1, 6, 2, 4)
            return self.attention(value, None, [(2, 3)], None, points, points[..., 0], 64)  # type: ignore[no-any-return]

    assert transformers.accelerate(Alone(), verbose=False).difference < 1e-6
    with pytest.raises(ValueError, match="found none in Identity"):
        transformers.accelerate(nn.Identity(), verbose=False)
