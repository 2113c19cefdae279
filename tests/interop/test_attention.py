"""Exchanged attention: the same object, with everything that hangs on it, or left alone and named."""

from __future__ import annotations

import copy
import functools
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dsct.interop.attention import accelerate_attention, exchanged_modules, restore_attention
from tests.comparison import randomise
from tests.interop.look_alikes import MoreArguments, MSDeformAttn, UltralyticsAttention, UnknownArgument

SHAPES = [(7, 9), (4, 5)]
CELLS = 83


class Model(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module] = MSDeformAttn) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = kind(32, 2, 4, 3)
        randomise(self, 0.2)

    def forward(self, query: Tensor) -> Tensor:
        return self.attention(*call(query)[:-1], input_padding_mask=None)  # type: ignore[no-any-return]


def call(query: Tensor, levels: int = 2, coordinates: int = 4) -> tuple[Any, ...]:
    torch.manual_seed(1)
    points, memory = torch.rand(2, query.shape[1], levels, coordinates), torch.randn(2, CELLS, 32)
    padding = torch.zeros(2, CELLS, dtype=torch.bool)
    padding[1, 50:63] = True
    return query, points, memory, torch.tensor(SHAPES), torch.tensor([0, 63]), padding


QUERY = torch.linspace(-1, 1, 2 * 5 * 32).view(2, 5, 32)


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("coordinates", [2, 4])
def test_one_more_known_argument_and_one_level_of_reference_points(levels: int, coordinates: int) -> None:
    model = Model(MoreArguments)
    arguments = call(QUERY, levels, coordinates)
    expected = [model.attention(*arguments), model.attention(*arguments, input_spatial_shapes_hw=SHAPES)]
    assert accelerate_attention(model) == {"attention": "Deformable DETR"}
    found = [model.attention(*arguments), model.attention(*arguments, input_spatial_shapes_hw=SHAPES)]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("coordinates", [2, 4])
def test_the_call_of_ultralytics(coordinates: int) -> None:
    model = Model(UltralyticsAttention)
    query, points, memory, _, _, padding = call(QUERY, 1, coordinates)
    expected = model.attention(query, points, memory, [list(shape) for shape in SHAPES], padding)
    assert accelerate_attention(model) == {"attention": "Ultralytics"}
    found = model.attention(query, points, memory, [list(shape) for shape in SHAPES], padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def _own_forward(module: Any) -> None:
    module.forward = functools.partial(type(module).forward, module)


def _points_per_level(module: Any) -> None:
    module.n_points = [3, 3]


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (UnknownArgument, lambda _: None, r"attention \(UnknownArgument\) left as it was: .* also takes temperature"),
        (MSDeformAttn, _own_forward, r"attention \(MSDeformAttn\) left as it was: its forward was exchanged by"),
        (MSDeformAttn, _points_per_level, r"left as it was: n_points must be a whole number"),
    ],
)
def test_what_only_resembles_is_left_alone_and_named(kind: Any, change: Callable[[Any], None], reason: str) -> None:
    model = Model(kind)
    expected = model(QUERY)
    change(model.attention)
    with pytest.warns(UserWarning, match=reason):
        assert accelerate_attention(model) == {}
    assert type(model.attention) is kind
    if not isinstance(model.attention.n_points, list):
        assert torch.equal(model(QUERY), expected)


HOOKS: dict[str, Callable[[nn.Module, list[str]], Any]] = {
    "forward": lambda m, log: m.register_forward_hook(lambda *_: log.append("x")),
    "forward, keywords": lambda m, log: m.register_forward_hook(
        lambda _m, _a, kwargs, _out: log.append(str(kwargs["input_padding_mask"])), with_kwargs=True
    ),
    "forward pre": lambda m, log: m.register_forward_pre_hook(lambda *_: log.append("x")),
    "forward pre, keywords": lambda m, log: m.register_forward_pre_hook(
        lambda _m, _a, kwargs: log.append(str(kwargs["input_padding_mask"])), with_kwargs=True
    ),
    "full backward": lambda m, log: m.register_full_backward_hook(lambda *_: log.append("x")),
    "full backward pre": lambda m, log: m.register_full_backward_pre_hook(lambda *_: log.append("x")),
    "state_dict pre": lambda m, log: m.register_state_dict_pre_hook(lambda *_: log.append("x")),
    "state_dict post": lambda m, log: m.register_state_dict_post_hook(lambda *_: log.append("x")),
    "load_state_dict pre": lambda m, log: m.register_load_state_dict_pre_hook(lambda *_: log.append("x")),
    "load_state_dict post": lambda m, log: m.register_load_state_dict_post_hook(lambda *_: log.append("x")),
    "of a part": lambda m, log: m.get_submodule("value_proj").register_forward_hook(lambda *_: log.append("x")),
}


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", HOOKS)
def test_every_kind_of_hook_runs_once_and_its_handle_removes_it(name: str, early: bool) -> None:
    model, log = Model(), []  # type: ignore[var-annotated]
    handle = HOOKS[name](model.attention, log) if early else None
    accelerate_attention(model)
    handle = handle or HOOKS[name](model.attention, log)

    def use() -> None:
        model(QUERY.clone().requires_grad_()).sum().backward()
        model.load_state_dict(model.state_dict())

    use()
    assert log == ["None" if "keywords" in name else "x"]
    handle.remove()
    use()
    assert len(log) == 1


def test_a_hook_that_is_always_called_sees_errors_too() -> None:
    model, log = Model(), []  # type: ignore[var-annotated]
    model.attention.register_forward_hook(lambda *_: log.append("x"), always_call=True)
    accelerate_attention(model)
    with pytest.raises(ValueError, match=r"query|value|reference"):
        model(QUERY[:1])
    assert log == ["x"]


def test_hooks_change_what_goes_in_and_comes_out() -> None:
    model = Model()
    model.attention.register_forward_pre_hook(
        lambda _m, args, kwargs: ((2 * args[0], *args[1:]), kwargs), with_kwargs=True
    )
    model.attention.register_forward_hook(lambda _m, _args, out: out + 1)
    expected = model(QUERY)
    accelerate_attention(model)
    torch.testing.assert_close(model(QUERY), expected, rtol=1e-4, atol=1e-5)


class Doubled(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


class WithScale(MSDeformAttn):
    """A fork with a parameter of its own, which its projections do not know."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.scale = nn.Parameter(torch.ones(3))


@pytest.mark.parametrize("path", ["", "value_proj"])
@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
def test_parametrizations_stay_and_can_be_removed(path: str, early: bool) -> None:
    model = Model(WithScale)
    owner, tensor = model.attention.get_submodule(path), "weight" if path else "scale"
    plain = getattr(owner, tensor).clone()
    if early:
        parametrize.register_parametrization(owner, tensor, Doubled())
        accelerate_attention(model)
    else:
        accelerate_attention(model)
        parametrize.register_parametrization(owner, tensor, Doubled())
    assert torch.equal(getattr(owner, tensor), 2 * plain)
    found = model(QUERY)
    restore_attention(model)
    torch.testing.assert_close(found, model(QUERY), rtol=1e-4, atol=1e-5)
    accelerate_attention(model)
    parametrize.remove_parametrizations(owner, tensor, leave_parametrized=False)
    assert torch.equal(getattr(owner, tensor), plain)
    assert exchanged_modules(model) == [model.attention]
    torch.testing.assert_close(model(QUERY), Model(WithScale)(QUERY), rtol=1e-4, atol=1e-5)
    restore_attention(model)
    assert type(model.attention) is WithScale


def test_the_module_stays_the_object_with_its_attributes() -> None:
    model = Model()
    attention: Any = model.attention
    attention.note, before = "mine", dict(vars(attention))
    attention.half_way = False
    accelerate_attention(model)
    assert model.attention is attention
    assert isinstance(attention, MSDeformAttn)
    assert {name: vars(attention)[name] for name in before} == before
    assert repr(attention) == repr(Model().attention)
    restore_attention(model)
    assert type(attention) is MSDeformAttn


def test_one_module_at_two_places_and_a_model_that_is_the_attention() -> None:
    model = Model()
    model.again = model.attention
    assert accelerate_attention(model) == {"attention": "Deformable DETR", "again": "Deformable DETR"}
    assert model.again is model.attention
    assert accelerate_attention(model) == {"attention": "Deformable DETR", "again": "Deformable DETR"}
    alone = Model().attention
    expected = alone(*call(QUERY))
    assert accelerate_attention(alone) == {"": "Deformable DETR"}
    torch.testing.assert_close(alone(*call(QUERY)), expected, rtol=1e-4, atol=1e-5)


def test_copies_and_files_stay_exchanged_and_independent() -> None:
    model = Model()
    accelerate_attention(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
        assert len(exchanged_modules(twin)) == 1
        assert torch.equal(twin(QUERY), model(QUERY))
        with torch.no_grad():
            twin.attention.value_proj.weight.zero_()
        assert not torch.equal(twin(QUERY), model(QUERY))
        restore_attention(twin)
        assert len(exchanged_modules(model)) == 1


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_gradients(training: bool) -> None:
    model = Model().train(training)
    model.attention.value_proj.eval()
    accelerate_attention(model)
    assert (model.attention.training, model.attention.get_submodule("value_proj").training) == (training, False)
    gradients = []
    for each in (model, Model()):
        query = QUERY.clone().requires_grad_()
        each(query).square().sum().backward()
        gradients.append([query.grad, *[parameter.grad for parameter in each.parameters()]])
    torch.testing.assert_close(*gradients, rtol=2e-3, atol=2e-4)


class WithStep(UnknownArgument):
    """A parameter of another kind's kernel, which this kind does not take."""

    def forward(  # type: ignore[override]
        self, query: Any, reference_points: Any, input_flatten: Any, input_spatial_shapes: Any,
        input_level_start_index: Any, input_padding_mask: Any = None, im2col_step: int = 64, **_more: Any,
    ) -> Any:  # fmt: skip
        return query * im2col_step


def test_a_parameter_of_another_kind_leaves_the_module_alone() -> None:
    model = torch.nn.ModuleDict({"attention": WithStep(32, 2, 4, 3)})
    with pytest.warns(UserWarning, match=r"\(WithStep\) left as it was: its forward also takes im2col_step"):
        assert accelerate_attention(model) == {}
