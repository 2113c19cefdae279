"""What a tensor must hold before its numbers are read, or become those of a model."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch._C._functorch import is_functorch_wrapped_tensor


def require_numbers(value: object, name: str, why: str, instead: str) -> None:
    """Raises for tensors whose numbers native code cannot read, which it would not say, or not in words of its caller.

    Args:
        value: anything; only a tensor is looked at.
        name: of the argument, for the message.
        why: who reads the numbers.
        instead: what to do inside a transform of ``torch.func``.

    Raises:
        NotImplementedError: it is inside a transform of ``torch.func``, on the device "meta", or a ``FakeTensor``.

    Example:
        >>> require_numbers(torch.zeros(2, device="meta"), "criterion: boxes", "matching", "match outside")
        Traceback (most recent call last):
        ...
        NotImplementedError: criterion: boxes must hold the numbers that matching reads, got a tensor on the device \
"meta", which has none
    """
    if not isinstance(value, Tensor) or torch.compiler.is_dynamo_compiling():  # the graph is left for native code
        return
    if is_functorch_wrapped_tensor(value):
        raise NotImplementedError(
            f"{name} must hold the numbers that {why} reads, got a tensor inside a transform of torch.func (grad, "
            f"vmap, jvp, …), which hides them: {instead}"
        )
    kind = "tensor" if type(value) is Tensor else type(value).__name__
    if value.is_meta:
        raise NotImplementedError(
            f'{name} must hold the numbers that {why} reads, got a {kind} on the device "meta", which has none'
        )
    if kind == "FakeTensor":  # of torch.export and FakeTensorMode; its class is slow to import
        raise NotImplementedError(f"{name} must hold the numbers that {why} reads, got a FakeTensor, which has none")


def require_finite(tensors: Mapping[str, Tensor], source: object) -> None:
    """Raises for weights with which every prediction would be wrong, or some, without a word.

    Raises:
        ValueError: a tensor holds NaN or infinity; the message names it.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        # Types of 8 bits have few functions.
        finite = torch.isfinite(tensor if tensor.element_size() > 1 else tensor.float())
        if not finite.all():
            broken = int(finite.numel() - finite.sum())
            raise ValueError(
                f"{source}: {name} must be finite, got NaN or infinity in {broken} of {finite.numel()} values"
            )


def require_values_for(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], source: object) -> None:
    """Raises for values that the tensors of a model cannot take without becoming something else.

    Args:
        wanted: the model's; counters and other integers among them take integers.
        tensors: from a file; those that the model lacks may hold anything finite.
        source: the file, for the message.

    Raises:
        ValueError: a tensor holds integers, truth values or complex numbers where the model's does not, NaN or
            infinity, or numbers beyond the range of the model's; the message names it.

    Example:
        >>> require_values_for({"bias": torch.zeros(2)}, {"bias": torch.tensor([3, 4])}, "a.safetensors")
        Traceback (most recent call last):
        ...
        ValueError: a.safetensors: bias must hold floating-point numbers, got torch.int64
    """
    pairs = {name: (tensor, wanted[name].dtype) for name, tensor in tensors.items() if name in wanted}
    for name, (tensor, dtype) in pairs.items():
        if _numbers_of(tensor.dtype) != _numbers_of(dtype):
            raise ValueError(f"{source}: {name} must hold {_numbers_of(dtype)}, got {tensor.dtype}")
    require_finite(tensors, source)
    for name, (tensor, dtype) in pairs.items():
        if tensor.dtype == dtype or not dtype.is_floating_point:
            continue
        # Types of 8 bits have few functions.
        if beyond := int((~torch.isfinite(tensor.to(dtype).float())).sum()):
            raise ValueError(
                f"{source}: {name} must be finite as {dtype}, got {tensor.dtype} beyond its range in {beyond} of "
                f"{tensor.numel()} values"
            )


def _numbers_of(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "floating-point numbers"
    if dtype.is_complex:
        return "complex numbers"
    return "truth values" if dtype == torch.bool else "integers"
