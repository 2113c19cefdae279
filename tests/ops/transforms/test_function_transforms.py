"""torch.func over the operators and the model: every transform equals the same one of a plain reference, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, linearize, vjp, vmap

import dsct
from tests.comparison import assert_same, padded_images, randomise, small
from tests.reference.deform_attn import ms_deform_attn_gather

#: Of torch itself, where it imports its formulas of tangents and folds constants of a linearized function.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node:UserWarning"),
]

SHAPES = [(4, 6), (2, 3)]
CELLS = torch.tensor([[width, height] for height, width in SHAPES], dtype=torch.float64)[:, None]
Function = Callable[..., Any]


def plain(*arguments: Tensor) -> Tensor:
    value, locations, weights = arguments
    return dsct.ops.ms_deform_attn(value, SHAPES, None, locations, weights)


def plain_reference(*arguments: Tensor) -> Tensor:
    value, locations, weights = arguments
    return ms_deform_attn_gather(value, SHAPES, locations, weights)


def fused(*arguments: Tensor) -> Tensor:
    value, reference, offsets, logits = arguments
    return dsct.ops.ms_deform_attn_fused(value, SHAPES, reference, offsets, logits)


def fused_reference(*arguments: Tensor) -> Tensor:
    value, reference, offsets, logits = arguments
    if reference.shape[-1] == 2:
        locations = reference[:, :, None, :, None] + offsets / CELLS
    else:
        size = reference[:, :, None, :, None, 2:]
        locations = reference[:, :, None, :, None, :2] + offsets / offsets.shape[4] * size / 2
    return plain_reference(value, locations, logits.flatten(3).softmax(-1).view_as(logits))


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(params=["plain", "fused", "boxes"])
def case(request: pytest.FixtureRequest) -> tuple[Function, Function, tuple[Tensor, ...]]:
    """The operator, its reference and arguments; points inside, outside and at the border."""
    torch.manual_seed(0)
    value, inner = random(2, 30, 2, 4), random(2, 3, 2, 2, 2)
    if request.param == "plain":
        return plain, plain_reference, (value, random(2, 3, 2, 2, 2, 2) * 0.4 + 0.5, inner)
    reference = torch.rand(2, 3, 2, 4 if request.param == "boxes" else 2, dtype=torch.float64)
    return fused, fused_reference, (value, reference, random(2, 3, 2, 2, 2, 2), inner)


def scalar(function: Function) -> Function:
    """A loss whose gradient with respect to the output depends on the output, as losses do."""
    return lambda *arguments: (function(*arguments) * torch.linspace(-1, 2, 8, dtype=torch.float64)).sum().sin()


def ones(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(map(torch.ones_like, arguments))


def everything(arguments: tuple[Tensor, ...]) -> tuple[int, ...]:
    return tuple(range(len(arguments)))


def squares_of_gradients(function: Function, arguments: tuple[Tensor, ...]) -> Function:
    gradients = grad(scalar(function), everything(arguments))
    return lambda *given: sum(one.square().sum() for one in gradients(*given))


def of_a_tangent(function: Function, arguments: tuple[Tensor, ...]) -> Function:
    def tangent(*given: Tensor) -> Tensor:
        return jvp(lambda value: scalar(function)(value, *given[1:]), given[:1], ones(given[:1]))[1]

    return tangent


def dual(function: Function, arguments: tuple[Tensor, ...]) -> Tensor:
    with forward_ad.dual_level():
        duals = (forward_ad.make_dual(each, torch.ones_like(each)) for each in arguments)
        return forward_ad.unpack_dual(function(*duals)).tangent


DIFFERENTIATED: dict[str, Callable[[Function, tuple[Tensor, ...]], Any]] = {
    "grad": lambda f, a: grad(scalar(f), everything(a))(*a),
    "grad of one": lambda f, a: [grad(scalar(f), place)(*a) for place in everything(a)],
    "vjp": lambda f, a: vjp(f, *a)[1](torch.ones(2, 3, 8, dtype=torch.float64)),
    "jacrev": lambda f, a: jacrev(f, everything(a))(*a),
    "jacrev in chunks": lambda f, a: jacrev(f, 0, chunk_size=5)(*a),
    "jvp": lambda f, a: jvp(f, a, ones(a)),
    "jacfwd": lambda f, a: jacfwd(f, everything(a))(*a),
    "linearize": lambda f, a: linearize(f, *a)[1](*a),
    "dual numbers": dual,
    "hessian": lambda f, a: hessian(scalar(f), len(a) - 1)(*a),
    "reverse over reverse": lambda f, a: jacrev(jacrev(scalar(f), 0), 1)(*a),
    "reverse over forward": lambda f, a: jacrev(of_a_tangent(f, a), 1)(*a),
    "grad of gradients": lambda f, a: grad(squares_of_gradients(f, a), everything(a))(*a),
    "vectorized jacobian": lambda f, a: torch.autograd.functional.jacobian(f, a, vectorize=True),
}


@pytest.mark.parametrize("transform", DIFFERENTIATED.values(), ids=DIFFERENTIATED.keys())
def test_derivatives(case: Any, transform: Callable[[Function, tuple[Tensor, ...]], Any]) -> None:
    operator, reference, arguments = case
    assert_same(transform(operator, arguments), transform(reference, arguments), 1e-8)


def three(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.stack([each, each + 0.1, each * 0.9]) for each in arguments)


def one_batched(function: Function, arguments: tuple[Tensor, ...]) -> list[Tensor]:
    many, results = three(arguments), []
    for place in everything(arguments):
        given = [many[i] if i == place else each for i, each in enumerate(arguments)]
        in_dims = tuple(0 if i == place else None for i in everything(arguments))
        results.append(vmap(function, in_dims)(*given))
    return results


def twice(arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.stack([each, each * 1.1]) for each in three(arguments))


BATCHED: dict[str, Callable[[Function, tuple[Tensor, ...]], Any]] = {
    "vmap": lambda f, a: vmap(f)(*three(a)),
    "one argument": one_batched,
    "other dimensions": lambda f, a: vmap(f, 1, 2)(*(each.movedim(0, 1) for each in three(a))),
    "vmap of vmap": lambda f, a: vmap(vmap(f))(*twice(a)),
    "gradient per sample": lambda f, a: vmap(grad(scalar(f), everything(a)))(*three(a)),
    "gradient per sample, in chunks": lambda f, a: vmap(grad(scalar(f), 0), chunk_size=2)(*three(a)),
    "gradient per sample of what is shared": lambda f, a: vmap(
        grad(scalar(f), everything(a)), (None,) + (0,) * (len(a) - 1)
    )(a[0], *three(a)[1:]),
    "gradient of a vmap": lambda f, a: grad(lambda *b: vmap(scalar(f))(*b).sum(), everything(a))(*three(a)),
    "an inner vmap over something else": lambda f, a: vmap(
        lambda *one: vmap(lambda scale: f(*one) * scale)(torch.arange(3.0, dtype=torch.float64))
    )(*three(a)),
    "a gradient inside an inner vmap over something else": lambda f, a: vmap(
        lambda *one: vmap(lambda scale: grad(scalar(f), 0)(*one) * scale)(torch.arange(3.0, dtype=torch.float64))
    )(*three(a)),
    "vmap of vmap of grad": lambda f, a: vmap(vmap(grad(scalar(f), everything(a))))(*twice(a)),
    "vmap of jacrev": lambda f, a: vmap(jacrev(f, 0))(*three(a)),
    "vmap of jacfwd": lambda f, a: vmap(jacfwd(f, 1))(*three(a)),
    "vmap of hessian": lambda f, a: vmap(hessian(scalar(f), len(a) - 1))(*three(a)),
    "an outer vmap of what an inner one does not batch": lambda f, a: vmap(
        lambda value: vmap(lambda weights: f(value, *a[1:-1], weights))(three(a)[-1])
    )(three(a)[0]),
    "vmap of no calls": lambda f, a: vmap(f)(*(each[:0] for each in three(a))),
    "vmap of no gradients": lambda f, a: vmap(grad(scalar(f), everything(a)))(*(each[:0] for each in three(a))),
}


@pytest.mark.parametrize("transform", BATCHED.values(), ids=BATCHED.keys())
def test_vmap(case: Any, transform: Callable[[Function, tuple[Tensor, ...]], Any], capfd: Any) -> None:
    """One call of a larger batch: torch would warn of a loop, on the standard error stream."""
    operator, reference, arguments = case
    found = transform(operator, arguments)
    assert "batching rule" not in capfd.readouterr().err
    assert_same(found, transform(reference, arguments), 1e-8)


def second_derivatives(function: Function, arguments: tuple[Tensor, ...], first: Function) -> Any:
    leaves = [each.clone().requires_grad_() for each in arguments]
    total = sum(one.square().sum() for one in first(scalar(function), leaves))
    return torch.autograd.grad(total, leaves)


FIRST: dict[str, Function] = {
    "autograd": lambda loss, leaves: torch.autograd.grad(loss(*leaves), leaves, create_graph=True),
    "torch.func": lambda loss, leaves: grad(loss, tuple(range(len(leaves))))(*leaves),
}


@pytest.mark.parametrize("first", FIRST.values(), ids=FIRST.keys())
def test_second_derivatives_of_a_loss(case: Any, first: Function) -> None:
    """The incoming gradient depends on the inputs, too; counting its share twice was once wrong without a word."""
    operator, reference, arguments = case
    assert_same(second_derivatives(operator, arguments, first), second_derivatives(reference, arguments, first), 1e-8)


def test_a_graph_of_gradients_inside_a_transform(case: Any) -> None:
    """The gradient of a penalty on gradients, which ``torch.autograd.grad`` made inside ``torch.func.grad``."""
    operator, reference, arguments = case

    def penalty(function: Function) -> Function:
        def of(*leaves: Tensor) -> Tensor:
            found = torch.autograd.grad(scalar(function)(*leaves), leaves, create_graph=True)
            return torch.stack([one.square().sum() for one in found]).sum()

        return grad(of, tuple(range(len(arguments))))

    assert_same(penalty(operator)(*arguments), penalty(reference)(*arguments), 1e-8)


@pytest.mark.parametrize("relu", [False, True])
def test_dropout(relu: bool) -> None:
    """By the numbers of the ordinary call, which ``autograd`` differentiates."""
    torch.manual_seed(0)
    entries, seed = random(5, 7), torch.tensor(3)

    def dropped(entries: Tensor) -> Tensor:
        return torch.ops.dsct.dropout(entries, 0.4, seed, relu)

    leaf = entries.clone().requires_grad_()
    (expected,) = torch.autograd.grad(dropped(leaf).sin().sum(), leaf)
    assert_same(grad(lambda x: dropped(x).sin().sum())(entries), expected)
    slope = (expected != 0).double() / 0.6
    assert_same(jvp(dropped, (entries,), (torch.ones_like(entries),)), (dropped(entries), slope))
    rows = vmap(grad(lambda x: dropped(x).sin().sum()))(entries.expand(3, 5, 7))
    assert_same(rows, expected.expand(3, 5, 7))


def test_dropout_of_many_seeds() -> None:
    """Each call of a vmap has the mask of its seed, as alone."""

    def dropped(entries: Tensor, seed: Tensor) -> Tensor:
        return torch.ops.dsct.dropout(entries, 0.4, seed, False)

    entries, seeds = random(3, 50), torch.arange(3)
    assert_same(vmap(dropped, (0, None))(entries, seeds[1]), torch.stack([dropped(each, seeds[1]) for each in entries]))
    each_own = torch.stack([dropped(one, seed) for one, seed in zip(entries, seeds, strict=True)])
    assert_same(vmap(dropped)(entries, seeds), each_own)
    of_one = torch.stack([dropped(entries[0], seed) for seed in seeds])
    assert_same(vmap(dropped, (None, 0))(entries[0], seeds), of_one)
    nested = vmap(lambda one: vmap(lambda seed: dropped(one, seed))(seeds))(entries)
    assert_same(nested[0], of_one)
    assert vmap(dropped)(entries[:0], seeds[:0]).shape == (0, 50)


def test_arguments_of_a_vmap_are_checked() -> None:
    value, locations, weights = random(2, 30, 1, 4), torch.rand(2, 2, 1, 2, 2, 2).double(), random(2, 2, 1, 2, 2)
    with pytest.raises(ValueError, match="value must be"):
        vmap(lambda one: plain(one, locations, weights))(torch.ones(3, dtype=torch.float64))
    with pytest.raises(ValueError, match="2"):
        vmap(lambda one: plain(one, locations, weights))(torch.stack([value[:1]] * 3))


@pytest.fixture
def model() -> dsct.DSCT:
    torch.manual_seed(0)
    model = dsct.DSCT(small()).double().eval()
    randomise(model)
    return model


def test_gradients_per_image_of_the_whole_model(model: dsct.DSCT) -> None:
    """``vmap(grad)`` over images, beside one backward pass for each."""
    images, _ = padded_images(3)
    parameters = dict(model.named_parameters())

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        output = functional_call(model, parameters, (image[None],))
        return output["pred_logits"].sin().sum() + output["pred_boxes"].square().sum()

    with warnings.catch_warnings():  # torch's own attention has no rule for a batch
        warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented .* aten::")
        found = vmap(grad(loss), (None, 0))({name: p.detach() for name, p in parameters.items()}, images)
    for place, image in enumerate(images):
        expected = torch.autograd.grad(loss(parameters, image), list(parameters.values()), allow_unused=True)
        for name, one in zip(parameters, expected, strict=True):
            assert_same(found[name][place], torch.zeros_like(parameters[name]) if one is None else one, 1e-8)


def test_forward_mode_through_the_whole_model(model: dsct.DSCT) -> None:
    """The product with a tangent of all weights is that of the transposed backward pass; in both, c · J u."""
    images, _ = padded_images(2)
    weights = {name: each.detach() for name, each in model.named_parameters()}
    tangents = {name: torch.randn_like(each) for name, each in weights.items()}

    def outputs(weights: dict[str, Tensor]) -> Tensor:
        output = functional_call(model, weights, (images,))
        return torch.cat([output["pred_boxes"].flatten(), output["pred_logits"].flatten()])

    found, forward = jvp(outputs, (weights,), (tangents,))
    also, pull = vjp(outputs, weights)
    assert_same(found, also, 1e-8)
    cotangent = torch.randn_like(found)
    (back,) = pull(cotangent)
    transposed = sum((back[name] * tangents[name]).sum() for name in weights)
    assert_same((cotangent * forward).sum(), torch.as_tensor(transposed), 1e-8)


def test_an_ensemble_is_one_call(model: dsct.DSCT) -> None:
    """``vmap`` over weights, beside one call for each."""
    images, masks = padded_images(2)
    weights = {name: torch.stack([each.detach(), 1.01 * each.detach()]) for name, each in model.named_parameters()}

    def boxes(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(model, weights, (images, masks))["pred_boxes"]

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented .* aten::")
        found = vmap(boxes)(weights)
    for member in range(2):
        assert_same(found[member], boxes({name: each[member] for name, each in weights.items()}), 1e-8)
