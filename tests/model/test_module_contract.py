"""What a ``torch.nn.Module`` can do, the native one can: state, copies, dtypes, hooks, training in all its forms."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.nn.utils import parameters_to_vector, parametrizations, vector_to_parameters
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

import dsct
from tests.comparison import assert_same, backward, gradients, padded_images, randomise, small, tensors_of

VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "released": {"aggregation": "split", "semantic_order": "highest", "spatial_frame": "padded", "person_class": True},
    "attentive": {"reweighting": "attentive"},
    "no context": {"num_context_queries": 0},
}


def random_model(dtype: torch.dtype = torch.float32, seed: int = 0, **overrides: Any) -> dsct.DSCT:
    torch.manual_seed(seed)
    model = dsct.DSCT(small(**overrides))
    randomise(model, 0.1)
    return model.to(dtype)


def scene(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(3)
    return padded_images(dtype=dtype)


def train_step(model: nn.Module, images: Tensor, mask: Tensor | None = None) -> dict[str, Tensor | None]:
    """Gradients of a fixed random weighting of all outputs."""
    model.zero_grad()
    backward(model(images, mask))
    return gradients(model)


# --- state ------------------------------------------------------------------------------------------------------------


def by_load(model: dsct.DSCT, state: dict[str, Tensor]) -> None:
    model.load_state_dict(state)


def by_assign(model: dsct.DSCT, state: dict[str, Tensor]) -> None:
    model.load_state_dict(state, assign=True)


def through_a_file(model: dsct.DSCT, state: dict[str, Tensor]) -> None:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("load", [by_load, by_assign, through_a_file])
def test_state_dict_round_trip(load: Callable[[dsct.DSCT, dict[str, Tensor]], None], overrides: dict[str, Any]) -> None:
    model, other = random_model(seed=1, **overrides), random_model(seed=2, **overrides)
    images, mask = scene()
    before, expected = other(images, mask), model(images, mask)
    assert not torch.equal(before["pred_logits"], expected["pred_logits"])
    load(other, model.state_dict())
    assert_same(other(images, mask), expected, 0.0)
    assert_same(train_step(other, images, mask), train_step(model, images, mask), 0.0)


def test_assigned_tensors_are_the_ones_used() -> None:
    model = random_model()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(state, assign=True)
    images, _ = scene()
    before = model(images)["pred_logits"]
    state["transformer.level_embed"].add_(1.0)
    assert not torch.equal(model(images)["pred_logits"], before)


def test_a_model_built_on_meta_takes_its_weights() -> None:
    model = random_model()
    with torch.device("meta"):
        other = dsct.DSCT(small())
    other.load_state_dict(model.state_dict(), assign=True)
    images, mask = scene()
    assert_same(other(images, mask), model(images, mask), 0.0)


def copy_by_pickle(model: dsct.DSCT) -> dsct.DSCT:
    copied: dsct.DSCT = pickle.loads(pickle.dumps(model))
    return copied


def copy_by_save(model: dsct.DSCT) -> dsct.DSCT:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    copied: dsct.DSCT = torch.load(file, weights_only=False)
    return copied


@pytest.mark.parametrize("copied", [copy.deepcopy, copy_by_pickle, copy_by_save])
def test_copies_compute_the_same_and_are_independent(copied: Callable[[dsct.DSCT], dsct.DSCT]) -> None:
    model = random_model(reweighting="attentive")
    images, mask = scene()
    expected = model(images, mask)
    other = copied(model)
    assert other.config == model.config
    assert_same(other(images, mask), expected, 0.0)
    randomise(other)
    assert not torch.equal(other(images, mask)["pred_logits"], expected["pred_logits"])
    assert_same(model(images, mask), expected, 0.0)
    assert other.class_embed_dsct[0] is other.class_embed_dsct[1], "heads stay shared"


def test_named_parameters_list_shared_heads_once() -> None:
    model = random_model()
    names = [name for name, _ in model.named_parameters()]
    assert not [name for name in names if name.startswith(("class_embed_dsct.1", "bbox_embed_dsct.1"))]
    assert len(names) == len(set(names))
    assert names == [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert list(model.named_modules()) == list(model.named_modules(remove_duplicate=False))
    # In the order of the state dict, which optimizer states of all versions rely on.
    assert names == [name for name in model.state_dict() if name in names]


def test_parameters_as_one_vector() -> None:
    model, other = random_model(seed=1), random_model(seed=2)
    images, mask = scene()
    vector_to_parameters(parameters_to_vector(other.parameters()), model.parameters())
    assert_same(model(images, mask), other(images, mask), 0.0)


# --- dtypes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize(
    ("convert", "tolerance"),
    [(nn.Module.double, 1e-4), (nn.Module.half, 0.03), (nn.Module.bfloat16, 0.2)],
    ids=["double", "half", "bfloat16"],
)
def test_dtypes(convert: Callable[[nn.Module], nn.Module], tolerance: float, overrides: dict[str, Any]) -> None:
    # All context in one set: no choice that rounding could turn into another.
    model = random_model(**overrides, selection=())
    images, mask = scene()
    expected = model(images, mask)
    converted = convert(copy.deepcopy(model))
    dtype = next(converted.parameters()).dtype
    out = converted(images.to(dtype), mask)
    assert out["pred_logits"].dtype == dtype
    assert out["pred_boxes"].dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(out["pred_logits"].float(), expected["pred_logits"], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(out["pred_boxes"].float(), expected["pred_boxes"], rtol=0, atol=tolerance)
    found = train_step(converted, images.to(dtype), mask)
    assert all(gradient is None or gradient.isfinite().all() for gradient in found.values())
    assert_same(model(images, mask), expected, 0.0)


@pytest.mark.parametrize("overrides", VARIANTS.values(), ids=VARIANTS.keys())
def test_autocast(overrides: dict[str, Any]) -> None:
    model = random_model(**overrides)
    images, mask = scene()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(images, mask)
    backward(out)
    assert all(tensor.isfinite().all() for tensor in tensors_of(out))
    assert all(
        p.grad is None or (p.grad.dtype == torch.float32 and p.grad.isfinite().all()) for p in model.parameters()
    )
    assert (out["pred_boxes"] - model(images, mask)["pred_boxes"]).abs().max() < 0.1


# --- functional use, hooks, parametrizations, frozen parts ------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"tie_weights": False}, {"strict": True}], ids=str)
def test_functional_call_takes_other_tensors_and_their_gradients(options: dict[str, bool]) -> None:
    model, other = random_model(seed=1), random_model(seed=2)
    images, mask = scene()
    parameters = dict(model.named_parameters())
    given = {name: parameter.detach().clone().requires_grad_() for name, parameter in other.named_parameters()}
    out = torch.func.functional_call(model, given, (images, mask), **options)
    assert_same(out, other(images, mask), 0.0)
    backward(out)
    expected = train_step(other, images, mask)
    assert_same({name: given[name].grad for name in expected}, expected, 0.0)
    assert all(p.grad is None for p in model.parameters())
    assert all(parameter is parameters[name] for name, parameter in model.named_parameters())
    assert_same(copy.deepcopy(model)(images, mask), random_model(seed=1)(images, mask), 0.0)


def test_functional_call_refuses_a_head_under_a_further_name() -> None:
    """A head could not be put back by way of two names; the model stays as it was."""
    model = random_model(seed=1)
    with pytest.raises(TypeError, match=r"`class_embed_dsct\.1`: a further name of module 0"):
        torch.func.functional_call(model, random_model(seed=2).state_dict(), scene())
    assert_same(model.state_dict(), random_model(seed=1).state_dict(), 0.0)


def test_gradients_of_single_images_add_up() -> None:
    """By ``functional_call``; ``torch.func.grad`` does not see through the native operators."""
    model = random_model(torch.float64)
    images, mask = scene(torch.float64)
    given = {name: parameter.detach().requires_grad_() for name, parameter in model.named_parameters()}
    single = []
    for index in range(len(images)):
        out = torch.func.functional_call(model, given, (images[index : index + 1], mask[index : index + 1]))
        loss = out["pred_logits"].square().sum() + out["pred_boxes"].square().sum()
        single.append(torch.autograd.grad(loss, list(given.values())))
    out = model(images, mask)
    (out["pred_logits"].square().sum() + out["pred_boxes"].square().sum()).backward()
    together = [parameter.grad for parameter in model.parameters()]
    assert_same([sum(parts) for parts in zip(*single, strict=True)], together, 1e-9)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("backbone.0.body.conv1", "weight"),
        ("input_proj.3.0", "weight"),
        ("transformer.reference_points", "weight"),
        ("transformer.encoder.layers.0.self_attn.value_proj", "weight"),
        ("transformer.decoder.layers.1.self_attn", "in_proj_weight"),
        ("transformer.decoder.layers.1.linear2", "weight"),
        ("query_embed_dsct", "weight"),
        ("class_embed_dsct.0", "weight"),
    ],
)
def test_weight_norm_anywhere(path: str, name: str) -> None:
    model = random_model(torch.float64)
    images, mask = scene(torch.float64)
    expected = model(images, mask)
    module = model.get_submodule(path)
    parametrizations.weight_norm(module, name)
    assert_same(model(images, mask), expected, 1e-9)
    train_step(model, images, mask)
    assert all(parameter.grad is not None for parameter in module.parametrizations[name].parameters())
    randomise(module.parametrizations[name])
    assert not torch.allclose(model(images, mask)["pred_logits"], expected["pred_logits"])


def test_hooks_on_every_block_run_once_and_can_change_the_result() -> None:
    model = random_model(enc_layers=2)
    images, mask = scene()
    expected = model(images, mask)["pred_logits"]
    calls: list[str] = []
    blocks = [
        "backbone.0", "input_proj", "transformer.encoder", "transformer.encoder.layers.0",
        "transformer.encoder.layers.1", "transformer.reference_points", "transformer.decoder.layers.0",
        "transformer.decoder.layers.1",
    ]  # fmt: skip
    for path in blocks:
        model.get_submodule(path).register_forward_pre_hook(lambda *_, path=path: calls.append("to " + path))
        model.get_submodule(path).register_forward_hook(lambda *_, path=path: calls.append("from " + path))
    assert torch.equal(model(images, mask)["pred_logits"], expected)
    assert sorted(calls) == sorted(way + path for path in blocks for way in ("to ", "from "))
    model.transformer.encoder.register_forward_hook(lambda _, __, memory: memory + 1)
    assert not torch.allclose(model(images, mask)["pred_logits"], expected)


def test_backward_hooks() -> None:
    model = random_model()
    seen: list[torch.Size] = []
    layer = model.transformer.encoder.layers[0]
    layer.register_full_backward_hook(lambda _, __, grad_output: seen.append(grad_output[0].shape))
    backward(model(*scene()))
    assert seen == [torch.Size([2, 96 + 24 + 6 + 2, 32])]


PARTS = ["backbone", "input_proj", "transformer.encoder", "transformer.decoder", "query_embed", "class_embed_dsct"]


@pytest.mark.parametrize("part", PARTS)
def test_frozen_parts_change_no_other_gradient(part: str) -> None:
    model = random_model(torch.float64)
    images, mask = scene(torch.float64)
    full = {name: gradient for name, gradient in train_step(model, images, mask).items() if not name.startswith(part)}
    frozen = copy.deepcopy(model)
    frozen.get_submodule(part).requires_grad_(False)
    found = train_step(frozen, images, mask)
    assert all(p.grad is None for p in frozen.get_submodule(part).parameters())
    assert_same({name: found[name] for name in full}, full, 1e-12)


def test_without_gradients() -> None:
    model = random_model()
    images, mask = scene()
    expected = model(images, mask)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            out, trace = model(images, mask, return_trace=True)
        assert_same(out, expected, 1e-6)
        assert not any(tensor.requires_grad for tensor in tensors_of([out, trace]))
    assert_same(train_step(model, images, mask), train_step(copy.deepcopy(model), images, mask), 0.0)


def test_gradients_of_the_images() -> None:
    model = random_model(torch.float64).requires_grad_(False)
    images, mask = scene(torch.float64)
    images.requires_grad_()
    backward(model(images, mask))
    assert images.grad.isfinite().all()
    assert images.grad.any()


# --- training ---------------------------------------------------------------------------------------------------------


def test_gradients_accumulate() -> None:
    model = random_model(torch.float64)
    images, mask = scene(torch.float64)
    once = {n: None if g is None else 2 * g.clone() for n, g in train_step(model, images, mask).items()}
    backward(model(images, mask))
    assert_same(gradients(model), once, 1e-12)


def test_optimizer_and_weight_average_are_seen() -> None:
    model = random_model()
    images, mask = scene()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    before = model(images, mask)["pred_logits"].detach()
    for _ in range(2):
        train_step(model, images, mask)
        optimizer.step()
        average.update_parameters(model)
    after, averaged = model(images, mask)["pred_logits"], average(images, mask)["pred_logits"]
    assert not torch.allclose(after, before)
    assert not torch.allclose(averaged, after)
    expected = copy.deepcopy(average.module)
    assert torch.equal(expected(images, mask)["pred_logits"], averaged)
    assert average.module.class_embed_dsct[0] is average.module.class_embed_dsct[1]


@pytest.mark.parametrize("reentrant", [True, False])
def test_activation_checkpointing_changes_nothing(reentrant: bool) -> None:
    model = random_model(torch.float64, dropout=0.3)
    images, mask = scene(torch.float64)
    torch.manual_seed(7)
    expected = train_step(model, images, mask)
    for layer in (*model.transformer.encoder.layers, *model.transformer.decoder.layers):
        layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=reentrant)
    torch.manual_seed(7)
    with set_checkpoint_early_stop(False):  # it stops by an exception, which cannot cross native code
        found = train_step(model, images, mask)
    assert_same(found, expected, 1e-10)


def test_fake_tensors_pass_through_the_whole_model() -> None:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        out = dsct.DSCT(small())(torch.randn(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.bool))
    assert out["pred_logits"].shape == (2, 3, 5)
    assert out["pred_boxes"].shape == (2, 3, 4)


def test_a_python_exception_inside_native_code_says_what_to_do() -> None:
    layer = random_model().transformer.encoder.layers[0]
    src, points = torch.randn(1, 6, 32, requires_grad=True), torch.rand(1, 6, 4, 2)
    out = checkpoint(layer, src, None, points, [(1, 3), (1, 1), (1, 1), (1, 1)], use_reentrant=False)
    with pytest.raises(dsct.DsctError, match="set_checkpoint_early_stop"):
        out.sum().backward()


def test_threads_share_a_model() -> None:
    model = random_model().eval()
    batches = [padded_images(dtype=torch.float32) for _ in range(6)]
    expected = [model(*batch)["pred_logits"] for batch in batches]

    def infer(index: int) -> Tensor:
        with torch.inference_mode():
            return model(*batches[index % 6])["pred_logits"]

    with ThreadPoolExecutor(8) as executor:
        for index, logits in enumerate(executor.map(infer, range(48))):
            assert torch.equal(logits, expected[index % 6])


# --- two processes ----------------------------------------------------------------------------------------------------


def _train_in_process(rank: int, store: str, results: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(random_model(torch.float64))
    images, mask = scene(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        model.zero_grad()
        backward(model(images[rank : rank + 1], mask[rank : rank + 1]))
        optimizer.step()
    torch.save(model.module.state_dict(), f"{results}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    multiprocessing.spawn(_train_in_process, (str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    model = random_model(torch.float64)
    initial = copy.deepcopy(model.state_dict())
    images, mask = scene(torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        model.zero_grad()
        for rank in (0, 1):
            backward(model(images[rank : rank + 1], mask[rank : rank + 1]))
        for parameter in model.parameters():
            parameter.grad /= 2
        optimizer.step()
    assert_same(first, second, 0.0)
    assert_same(first, dict(model.state_dict()), 1e-9)
    assert not torch.allclose(first["query_embed_dsct.weight"], initial["query_embed_dsct.weight"])
