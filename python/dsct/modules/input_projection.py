"""Input projection: backbone channels to E, one convolution and group norm per level."""

from __future__ import annotations

from torch import Tensor, nn

import dsct._dsct as _dsct
from dsct.config import DSCTConfig
from dsct.modules.block import Block, pair


class InputProjection(Block):
    """1×1 convolution and group norm per backbone map, 3×3 stride-2 convolutions for the levels beyond.

    Args:
        num_channels: channels of the backbone's maps, finest first. Fewer levels than maps use the coarsest maps.
        config: configuration.
    """

    def __init__(self, num_channels: tuple[int, ...], config: DSCTConfig) -> None:
        super().__init__()
        used = num_channels[-config.num_feature_levels :]
        for level in range(config.num_feature_levels):
            if level < len(used):
                convolution = nn.Conv2d(used[level], config.hidden_dim, kernel_size=1)
            else:
                inputs = used[-1] if level == len(used) else config.hidden_dim
                convolution = nn.Conv2d(inputs, config.hidden_dim, kernel_size=3, stride=2, padding=1)
            nn.init.xavier_uniform_(convolution.weight)
            assert convolution.bias is not None
            nn.init.zeros_(convolution.bias)
            # Numbered like a list: `input_proj.0.0.weight` is the name in the checkpoints.
            self.add_module(str(level), nn.Sequential(convolution, nn.GroupNorm(32, config.hidden_dim)))
        self.num_levels, self.num_channels = config.num_feature_levels, num_channels

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps (B, C_i, H_i, W_i), finest first -> L maps (B, E, H_l, W_l).

        Raises:
            ValueError: the backbone returned other maps than its ``num_channels`` says.
        """
        shapes = [tuple(map_.shape) for map_ in features]
        if tuple(shape[1] for shape in shapes if len(shape) == 4) != self.num_channels:
            raise ValueError(
                f"input_projection: features must be maps (B, C, H, W) of {self.num_channels} channels, got {shapes}"
            )
        return self._project(features)

    def _native(self, features: list[Tensor]) -> list[Tensor]:
        return _dsct.input_projection(self.num_levels, self.tensors(), features)

    @pair(native=_native)
    def _project(self, features: list[Tensor]) -> list[Tensor]:
        used = features[-self.num_levels :]
        maps: list[Tensor] = []
        for level, projection in enumerate(self.children()):
            # The first level beyond the backbone's starts at its last map, later ones at the level before.
            sources = used if level <= len(used) else maps
            maps.append(projection(sources[min(level, len(sources) - 1)]))
        return maps
