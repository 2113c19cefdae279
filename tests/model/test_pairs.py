"""Every native form and its composite: one signature, the same outputs, traces and gradients."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

import dsct
from dsct.modules import block
from tests.comparison import assert_same, padded_images, randomise, small, tensors_of
from tests.model.test_tracing import VARIANTS

Form = Callable[..., Any]


@pytest.mark.parametrize("name", block.PAIRS)
def test_both_forms_have_one_signature(name: str) -> None:
    native, composite = (inspect.signature(form) for form in block.PAIRS[name])
    assert list(native.parameters) == list(composite.parameters)
    for mine, other in zip(native.parameters.values(), composite.parameters.values(), strict=True):
        assert (mine.kind, mine.default) == (other.kind, other.default)
        # What Rust itself offers has no annotations; the type checker knows them from the stub.
        assert mine.annotation in (other.annotation, inspect.Parameter.empty)


def modules_of(inputs: Any) -> Iterator[nn.Module]:
    return (part for part in tree_flatten(inputs)[0] if isinstance(part, nn.Module))


def results_of(form: Form, inputs: tuple[Any, ...]) -> tuple[Any, list[Tensor | None]]:
    """What a form returns of copies of its inputs, and the gradients of these and of all parameters."""
    copies = tree_map_only(Tensor, lambda x: x.detach().clone().requires_grad_(x.is_floating_point()), inputs)
    leaves = [x for x in tree_flatten(copies)[0] if isinstance(x, Tensor) and x.requires_grad]
    leaves += [parameter for module in modules_of(inputs) for parameter in module.parameters()]
    output = form(*copies)
    generator = torch.Generator().manual_seed(1)
    outputs = [x for x in tensors_of(output) if x.requires_grad]
    weights = [torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in outputs]
    gradients = torch.autograd.grad(outputs, leaves, weights, allow_unused=True)
    zeros = [torch.zeros_like(leaf) if found is None else found for leaf, found in zip(leaves, gradients, strict=True)]
    return output, zeros


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("padded", [True, False])
def test_both_forms_compute_the_same(padded: bool, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """On what each pair gets in a pass through the model; composites call the pairs inside them."""
    met: set[str] = set()
    names = {forms: name for name, forms in block.PAIRS.items()}

    def both(native: Form, composite: Form, *inputs: Any) -> Any:
        met.add(names[native, composite])
        ours, other = results_of(native, inputs), results_of(composite, inputs)
        assert_same(ours, other, 1e-9)
        return native(*inputs)

    monkeypatch.setattr(block, "either", both)
    model = dsct.DSCT(small(**overrides)).double()
    randomise(model, 0.05)
    images, mask = padded_images()
    model(images, mask if padded else None, return_trace=True)
    assert met == block.PAIRS.keys()
