"""The backbone: a ResNet with frozen batch norm, or a small one for demonstrations (paper, Table 9)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.modules.block import Block, pair

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2")

#: The trained part of the body: prefixes of parameter names.
TRAINED = {"layers2-4": ("layer2.", "layer3.", "layer4."), "all": ("",), "none": ()}


class Backbone(Block):
    """Images to the outputs of ``layer2``, ``layer3`` and ``layer4``, at strides 8, 16 and 32.

    Parameters have torchvision's names below ``body``, so torchvision's weights load there (without ``fc``), and its
    initialisation. Nothing is downloaded. A frozen batch norm is four buffers and never trains.

    Args:
        name: ``"resnet18"``, ``"resnet34"``, ``"resnet50"``, ``"resnet101"``, ``"resnet152"``, ``"wide_resnet50_2"``,
            ``"wide_resnet101_2"``, or ``"tiny"``: one basic block of 16, 32, 64, 128 channels per stage, group norm.
        train: which parameters get gradients: ``"layers2-4"`` (all but the stem and ``layer1``), ``"all"``,
            ``"none"``.

    Attributes:
        num_channels: channels of the three maps.

    Raises:
        ValueError: ``name`` or ``train`` is unknown.

    Example:
        >>> import torch
        >>> [tuple(features.shape) for features in Backbone("tiny")(torch.zeros(1, 3, 64, 96))]
        [(1, 32, 8, 12), (1, 64, 4, 6), (1, 128, 2, 3)]
    """

    def __init__(self, name: str, train: str = "layers2-4") -> None:
        super().__init__()
        if train not in TRAINED:
            raise ValueError(f"Backbone: train must be one of {', '.join(TRAINED)}, got {train!r}")
        self.name = name
        self.body = _body(name)
        # The first block of these stages has a shortcut convolution, whose outputs are the stage's.
        stages: tuple[Any, ...] = (self.body.layer2, self.body.layer3, self.body.layer4)
        self.num_channels: tuple[int, ...] = tuple(stage[0].downsample[0].out_channels for stage in stages)
        for parameter_name, parameter in self.body.named_parameters():
            parameter.requires_grad_(parameter_name.startswith(TRAINED[train]))

    def _native(self, images: Tensor) -> list[Tensor]:
        tensors = {name.removeprefix("body."): tensor for name, tensor in self.tensors().items()}
        _check_dtype(images, tensors["conv1.weight"].dtype)
        return _dsct.backbone(self.name, tensors, images)

    @pair(native=_native)
    def forward(self, images: Tensor) -> list[Tensor]:
        """Extracts features.

        Args:
            images: (B, 3, H, W), ImageNet-normalised, in the parameters' dtype (or float32 under autocast).

        Returns:
            Three maps (B, C_l, ⌈H / s⌉, ⌈W / s⌉) for the strides s = 8, 16, 32.

        Raises:
            ValueError: ``images`` is not (B, 3, H, W), or has no pixel.
            TypeError: ``images`` is not a tensor, or has another dtype.
        """
        maps = []
        for name, stage in self.body.named_children():
            images = _max_pool(images) if name == "maxpool" else stage(images)
            maps.append(images)
        return maps[-3:]

    def extra_repr(self) -> str:
        """For ``print(module)``."""
        return repr(self.name)


def _max_pool(x: Tensor) -> Tensor:
    """3 x 3 cells, stride 2. Torch 2.11 records this only for sizes of one parity, hence stride 1 and a slice."""
    return nn.functional.max_pool2d(x, kernel_size=3, stride=1, padding=1)[..., ::2, ::2]


def _check_dtype(images: Tensor, expected: torch.dtype) -> None:
    if isinstance(images, Tensor) and images.dtype != expected and not torch.is_autocast_enabled(images.device.type):
        raise TypeError(f"Backbone: images must be {expected} like the parameters, got {images.dtype}")


def _body(name: str) -> nn.Sequential:
    """Stem and four stages under torchvision's names."""
    if name == "tiny":
        return _tiny()
    if name not in RESNETS:
        raise ValueError(f"Backbone: name must be one of {', '.join(RESNETS)}, tiny, got {name!r}")
    from torchvision import models, ops  # takes as long to import as torch

    children = OrderedDict(models.get_model(name, weights=None, norm_layer=ops.FrozenBatchNorm2d).named_children())
    del children["avgpool"], children["fc"]
    return nn.Sequential(children)


def _tiny() -> nn.Sequential:
    body = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 16, kernel_size=7, stride=2, padding=3, bias=False),
            bn1=_group_norm(16),
            relu=nn.ReLU(inplace=True),
            maxpool=nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
            layer1=_stage(16, 16, stride=1),
            layer2=_stage(16, 32, stride=2),
            layer3=_stage(32, 64, stride=2),
            layer4=_stage(64, 128, stride=2),
        )
    )
    for module in body.modules():
        if isinstance(module, nn.Conv2d):  # as torchvision initialises a ResNet
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), _group_norm(outputs))
    return nn.Sequential(BasicBlock(inputs, outputs, stride, shortcut, norm_layer=_group_norm))


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(8, channels)
