"""The backbone against torchvision's own forward, and what a module must be able to do."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dsct import _dsct
from dsct.config import DSCTConfig
from dsct.modules.backbone import RESNETS, Backbone
from tests.reference.backbone import Backbone as Reference

#: Parameters as published with torchvision's weights, classifier of 1000 classes and batch norm included.
PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "wide_resnet50_2": 68_883_240,
    "wide_resnet101_2": 126_886_696,
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def randomised(name: str, train: str = "all", dtype: torch.dtype = torch.float32) -> Backbone:
    """A backbone whose norms do something: fresh ones are the identity and would hide mistakes."""
    backbone = Backbone(name, train)
    with torch.no_grad():
        for key, tensor in backbone.state_dict().items():
            if tensor.dim() == 1:  # norms; variances and scales stay positive
                tensor.add_((torch.rand_like(tensor) - 0.4) * (0.5 if key.endswith(("weight", "var")) else 1.0))
    return backbone.to(dtype)


def judge(backbone: Backbone, train: str = "all") -> Reference:
    """Torchvision's forward on the same tensors."""
    with torch.device("meta"):
        reference = Reference(DSCTConfig(backbone=backbone.name, train_backbone=train))
    reference.load_state_dict(backbone.state_dict(), strict=True, assign=True)
    return reference


def assert_near(got: list[Tensor], expected: list[Tensor], relative: float) -> None:
    """Compares with the largest magnitude of each tensor: deep networks cancel."""
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=relative * float(b.detach().abs().max()))


def images(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


# --- torchvision's numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*RESNETS, "tiny"])
def test_equals_torchvision(name: str) -> None:
    backbone = randomised(name)
    batch = images(2, 3, 64, 96)
    with torch.no_grad():
        maps, expected = backbone(batch), judge(backbone)(batch)
    assert [tuple(m.shape) for m in maps] == [
        (2, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.num_channels, (8, 16, 32), strict=True)
    ]
    assert_near(maps, expected, 2e-5)


@pytest.mark.parametrize("size", [(64, 96), (65, 97)])
@pytest.mark.parametrize("name", ["tiny", "resnet18", "resnet50"])
def test_gradients_equal_torchvision_in_float64(name: str, size: tuple[int, int]) -> None:
    backbone = randomised(name, dtype=torch.float64)
    reference = judge(backbone)
    batch = images(2, 3, *size, dtype=torch.float64).requires_grad_()
    results = []
    for module in (backbone, reference):
        maps = module(batch)
        torch.manual_seed(1)
        # Not randn_like, whose order follows the layout in memory.
        weights = [torch.randn(m.shape, dtype=m.dtype) for m in maps]
        loss = torch.stack([(m * w).sum() for m, w in zip(maps, weights, strict=True)]).sum()
        results.append((maps, torch.autograd.grad(loss, [batch, *module.parameters()])))
    (maps, gradients), (expected_maps, expected_gradients) = results
    assert_near(maps, expected_maps, 1e-12)
    assert_near(list(gradients), list(expected_gradients), 1e-10)


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (33, 31), (224, 9)])
def test_any_size_of_image(size: tuple[int, int]) -> None:
    backbone = randomised("resnet18", dtype=torch.float64)
    batch = images(1, 3, *size, dtype=torch.float64)
    maps = backbone(batch)
    assert [tuple(m.shape[2:]) for m in maps] == [tuple(-(-n // stride) for n in size) for stride in (8, 16, 32)]
    assert_near(maps, judge(backbone)(batch), 1e-12)


@pytest.mark.parametrize("name", ["tiny", "resnet50"])
def test_empty_batch(name: str) -> None:
    backbone = Backbone(name)
    maps = backbone(torch.zeros(0, 3, 64, 96))
    assert [tuple(m.shape) for m in maps] == [
        (0, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(backbone.num_channels, (8, 16, 32), strict=True)
    ]


# --- torchvision's parameters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_and_initial_values_are_torchvisions(name: str) -> None:
    torch.manual_seed(3)
    ours = Backbone(name).body.state_dict()
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights=None).state_dict()
    expected = {k: v for k, v in theirs.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    assert list(ours) == list(expected)
    for key, tensor in ours.items():
        assert torch.equal(tensor, expected[key]), key


def test_loads_torchvisions_weights() -> None:
    classifier = torchvision.models.resnet18(weights=None)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    weights = {k: v for k, v in classifier.state_dict().items() if not k.startswith("fc.")}
    backbone = Backbone("resnet18")
    backbone.body.load_state_dict(weights, strict=True)  # with num_batches_tracked, which frozen batch norm drops
    features = nn.Sequential(*list(classifier.eval().children())[:-2])
    batch = images(1, 3, 64, 64)
    with torch.no_grad():
        assert_near([backbone(batch)[-1]], [features(batch)], 2e-5)


@pytest.mark.parametrize("name", RESNETS)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    with torch.device("meta"):
        backbone = Backbone(name)
    tensors = backbone.state_dict()
    count = sum(tensor.numel() for key, tensor in tensors.items() if "running" not in key)
    classifier = 1000 * backbone.num_channels[-1] + 1000
    assert count + classifier == PUBLISHED[name]
    # Frozen batch norm is buffers only.
    assert all(parameter.dim() == 4 for parameter in backbone.parameters())


@pytest.mark.parametrize("name", ["tiny", "resnet18"])
@pytest.mark.parametrize("train", ["all", "layers2-4", "none"])
def test_only_the_trained_part_has_gradients(name: str, train: str) -> None:
    backbone = Backbone(name, train)
    maps = backbone(images(1, 3, 64, 64))
    expected = {
        key
        for key, _ in backbone.named_parameters()
        if train == "all" or (train == "layers2-4" and not key.startswith(("body.conv1", "body.bn1", "body.layer1")))
    }
    assert [m.requires_grad for m in maps] == [train != "none"] * 3
    if train != "none":
        sum(m.square().sum() for m in maps).backward()
    assert {key for key, parameter in backbone.named_parameters() if parameter.grad is not None} == expected


# --- a module like any other ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "resnet18"])
def test_functional_call_uses_the_given_tensors(name: str) -> None:
    backbone, other = randomised(name), randomised(name)
    batch = images(1, 3, 64, 64)
    before = backbone(batch)
    given = {key: tensor.detach().clone().requires_grad_() for key, tensor in other.state_dict().items()}
    maps = torch.func.functional_call(backbone, given, (batch,))
    assert_near(maps, other(batch), 0)
    # Also through buffers that someone wants gradients of.
    gradients = torch.autograd.grad(sum(m.sum() for m in maps), list(given.values()))
    assert all(bool(gradient.isfinite().all()) and bool(gradient.any()) for gradient in gradients)
    assert_near(backbone(batch), before, 0)


def test_reads_the_current_tensors() -> None:
    backbone = randomised("resnet18")
    batch = images(1, 3, 64, 64)
    backbone(batch)
    replacement = randomised("resnet18").state_dict()
    backbone.load_state_dict(replacement, assign=True)
    with torch.no_grad():
        backbone.body.bn1.running_var.mul_(2)
    assert_near(backbone(batch), judge(backbone)(batch), 2e-5)


def test_parametrized_weight() -> None:
    class Doubled(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    backbone, doubled = randomised("tiny"), randomised("tiny")
    doubled.load_state_dict(backbone.state_dict())
    with torch.no_grad():
        doubled.body.layer2[0].conv1.weight.mul_(2)
    parametrize.register_parametrization(backbone.body.layer2[0].conv1, "weight", Doubled())
    batch = images(1, 3, 64, 64)
    maps = backbone(batch)
    assert_near(maps, doubled(batch), 1e-6)
    maps[0].sum().backward()
    assert backbone.body.layer2[0].conv1.parametrizations.weight.original.grad is not None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
@pytest.mark.parametrize("name", ["tiny", "resnet18"])
def test_copies_are_independent_and_equal(name: str, duplicate: Any) -> None:
    backbone = randomised(name)
    batch = images(1, 3, 64, 64)
    expected = [m.detach().clone() for m in backbone(batch)]
    twin = duplicate(backbone)
    nn.init.zeros_(backbone.body.conv1.weight)
    assert twin.num_channels == backbone.num_channels
    assert_near(twin(batch), expected, 0)


@pytest.mark.parametrize("name", ["tiny", "resnet18"])
def test_half_precision_keeps_its_dtype(name: str) -> None:
    backbone = randomised(name)
    batch = images(1, 3, 64, 96)
    with torch.no_grad():
        expected = backbone(batch)
        got = backbone.to(torch.bfloat16)(batch.bfloat16())
    assert {m.dtype for m in got} == {torch.bfloat16}
    assert_near([m.float() for m in got], expected, 0.05)


def test_autocast_keeps_a_frozen_norm_in_half_precision() -> None:
    backbone = randomised("resnet18")
    batch = images(1, 3, 64, 96)
    expected = backbone(batch)
    with torch.autocast("cpu", torch.bfloat16):
        got = backbone(batch)
    assert {m.dtype for m in got} == {torch.bfloat16}
    assert_near([m.float() for m in got], expected, 0.05)
    sum(m.float().sum() for m in got).backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in backbone.parameters())


def test_channels_last_changes_nothing_but_the_layout() -> None:
    backbone = randomised("resnet18", dtype=torch.float64)
    batch = images(2, 3, 64, 96, dtype=torch.float64)
    expected = backbone(batch)
    got = backbone.to(memory_format=torch.channels_last)(batch.contiguous(memory_format=torch.channels_last))
    assert all(m.is_contiguous(memory_format=torch.channels_last) for m in got)
    assert_near(got, expected, 1e-12)


def test_frozen_stages_keep_no_activations() -> None:
    backbone = randomised("resnet18", "layers2-4")
    saved: list[tuple[int, ...]] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(tuple(t.shape)) or t, lambda t: t):
        backbone(images(1, 3, 64, 96))
    # The output of layer1 (stride 4) is the input of layer2's two strided convolutions, and all that is kept of it.
    assert [shape for shape in saved if shape[-2:] == (16, 24)] == [(1, 64, 16, 24)] * 2
    assert not [shape for shape in saved if shape[-2:] in {(64, 96), (32, 48)}]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (torch.zeros(3, 64, 64), ValueError, r"images must be \(B, 3, H, W\).*got \(3, 64, 64\)"),
        (torch.zeros(1, 1, 64, 64), ValueError, r"images must be \(B, 3, H, W\).*got \(1, 1, 64, 64\)"),
        (torch.zeros(1, 3, 0, 64), ValueError, "images must be at least one pixel high and wide"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), TypeError, r"images must be torch\.float32 .*got torch\.uint8"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.float64), TypeError, "images must be .*got torch.float64"),
        ([1.0], TypeError, "images.*torch.Tensor, got list"),
    ],
)
def test_refuses_other_images(bad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Backbone("tiny")(bad)


def test_refuses_integers_under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match="images must be a floating-point"):
        Backbone("tiny")(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_refuses_unknown_choices() -> None:
    with pytest.raises(ValueError, match=r"name must be one of resnet18, .*tiny, got 'vgg16'"):
        Backbone("vgg16")
    with pytest.raises(ValueError, match="train must be one of layers2-4, all, none, got 'some'"):
        Backbone("tiny", "some")
    with pytest.raises(ValueError, match=r"name must be one of resnet18, .*tiny, got \"vgg16\""):
        _dsct.backbone("vgg16", {}, torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("missing", ["bn1.bias", "layer2.0.conv2.weight", "layer3.0.downsample.0.weight"])
def test_missing_parameter_is_named(missing: str) -> None:
    tensors = dict(Backbone("tiny").body.state_dict())
    del tensors[missing]
    with pytest.raises(KeyError, match=missing):
        _dsct.backbone("tiny", tensors, torch.zeros(1, 3, 8, 8))
