"""Feature extractors: torchvision's ResNets with frozen batch norm, and a small one for demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torchvision  # type: ignore[import-untyped]
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock  # type: ignore[import-untyped]
from torchvision.ops import FrozenBatchNorm2d  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from dsct.config import DSCTConfig


def group_norm(channels: int) -> nn.GroupNorm:
    """The norm of the tiny backbone: 8 groups."""
    return nn.GroupNorm(8, channels)


class TinyBody(nn.Module):
    """A ResNet of one basic block per stage, 16-32-64-128 channels, group norm, torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = group_norm(16)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self.stage(16, 16, stride=1)
        self.layer2 = self.stage(16, 32, stride=2)
        self.layer3 = self.stage(32, 64, stride=2)
        self.layer4 = self.stage(64, 128, stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # torchvision's initialisation of a ResNet
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def stage(inputs: int, channels: int, stride: int) -> nn.Sequential:
        """One basic block; where it changes the shape, the shortcut is a strided 1x1 convolution with norm."""
        shortcut = None
        if stride != 1 or inputs != channels:
            shortcut = nn.Sequential(nn.Conv2d(inputs, channels, 1, stride, bias=False), group_norm(channels))
        return nn.Sequential(BasicBlock(inputs, channels, stride, shortcut, norm_layer=group_norm))


class Backbone(nn.Module):
    """Images to the outputs of ``layer2``, ``layer3`` and ``layer4``, at strides 8, 16 and 32.

    Args:
        cfg: ``backbone`` is ``"tiny"`` or a torchvision ResNet by name; ``train_backbone`` is ``"layers2-4"``,
            ``"all"`` or ``"none"``.

    Raises:
        ValueError: ``train_backbone`` is none of these.
    """

    def __init__(self, cfg: DSCTConfig) -> None:
        super().__init__()
        if cfg.backbone == "tiny":
            self.body: Any = TinyBody()
        else:
            self.body = torchvision.models.get_model(cfg.backbone, weights=None, norm_layer=FrozenBatchNorm2d)
            del self.body.avgpool, self.body.fc
        # The first block of these stages changes the shape, so its shortcut is a convolution to the stage's channels.
        stages = (self.body.layer2, self.body.layer3, self.body.layer4)
        self.num_channels = [stage[0].downsample[0].out_channels for stage in stages]
        trained = {"layers2-4": ("layer2", "layer3", "layer4"), "all": ("",), "none": ()}.get(cfg.train_backbone)
        if trained is None:
            raise ValueError(f"train_backbone: expected layers2-4, all or none, got {cfg.train_backbone!r}")
        for name, parameter in self.body.named_parameters():
            parameter.requires_grad_(name.startswith(trained))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to three maps (B, C_l, H_l, W_l)."""
        body = self.body
        stem = body.maxpool(body.relu(body.bn1(body.conv1(images))))
        stride8 = body.layer2(body.layer1(stem))
        stride16 = body.layer3(stride8)
        return [stride8, stride16, body.layer4(stride16)]
