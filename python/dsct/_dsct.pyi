from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

_Shapes = list[tuple[int, int]]
_Tensors = dict[str, Tensor]
_Targets = list[tuple[Tensor, Tensor]]

__version__: str

__all__ = [
    "Config",
    "DsctError",
    "__version__",
    "average_precision",
    "backbone",
    "box_corners",
    "box_losses",
    "cpu_instruction_set",
    "cuda_reports",
    "cuda_status",
    "cuda_warmup",
    "decoder_layer",
    "dtype_codes",
    "encoder_layer",
    "encoder_reference_points",
    "flatten_levels",
    "generalized_iou",
    "heads",
    "hungarian_matcher",
    "input_projection",
    "linear_assignment",
    "ms_deform_attn_module",
    "nms",
    "post_process",
    "reference_points",
    "set_criterion",
    "sigmoid_focal_loss",
    "spatial_relation",
    "standalone_model",
    "standalone_photo",
]

class _Memory(Protocol):
    @property
    def src(self) -> Tensor: ...
    @property
    def spatial_shapes(self) -> _Shapes: ...
    @property
    def padding_mask(self) -> Tensor | None: ...

class DsctError(RuntimeError): ...

@final
class Config:
    def __new__(cls, json: str) -> Config: ...
    @staticmethod
    def preset(name: str) -> str: ...
    @staticmethod
    def choices() -> dict[str, list[str]]: ...
    def to_json(self) -> str: ...
    def __eq__(self, value: object, /) -> bool: ...

def backbone(name: str, params: _Tensors, images: Tensor) -> list[Tensor]: ...
def input_projection(levels: int, params: _Tensors, features: list[Tensor]) -> list[Tensor]: ...
def flatten_levels(
    maps: list[Tensor], mask: Tensor | None, level_embed: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, _Shapes, Tensor]: ...
def encoder_reference_points(spatial_shapes: _Shapes, valid_ratios: Tensor) -> Tensor: ...
def ms_deform_attn_module(
    heads: int,
    points: int,
    params: _Tensors,
    query: Tensor,
    reference_points: Tensor,
    memory: _Memory,
) -> Tensor: ...
def encoder_layer(
    config: Config,
    params: _Tensors,
    train: bool,
    memory: _Memory,
    pos: Tensor | None,
    reference_points: Tensor,
) -> Tensor: ...
def reference_points(params: _Tensors, query_pos: Tensor) -> Tensor: ...
def spatial_relation(
    config: Config, reference_points: Tensor, valid_ratios: Tensor
) -> tuple[Tensor, Tensor | None]: ...
def decoder_layer(
    config: Config,
    layer: int,
    params: _Tensors,
    train: bool,
    tgt: Tensor,
    query_pos: Tensor | None,
    reference_points: Tensor,
    memory: _Memory,
    spatial: tuple[Tensor, Tensor | None],
    return_trace: bool,
) -> tuple[Tensor, dict[str, Tensor | None]]: ...
def heads(params: _Tensors, subject: Tensor, reference_points: Tensor) -> tuple[Tensor, Tensor]: ...
def standalone_model(
    path: str, images: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]: ...
def standalone_photo(path: str, short_side: int | None, long_side: int) -> Tensor: ...
def box_corners(boxes: Tensor) -> Tensor: ...
def generalized_iou(a: Tensor, b: Tensor) -> Tensor: ...
def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor: ...
def box_losses(predicted: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]: ...
def linear_assignment(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]: ...
def hungarian_matcher(
    config: Config, logits: list[Tensor], boxes: list[Tensor], targets: _Targets
) -> list[tuple[Tensor, Tensor]]: ...
def set_criterion(
    config: Config,
    logits: list[Tensor],
    boxes: list[Tensor],
    targets: _Targets,
    num_boxes: float,
    class_weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]: ...
def post_process(
    config: Config,
    logits: Tensor,
    boxes: Tensor,
    target_sizes: Tensor,
    threshold: list[float],
    nms_iou: float | None,
    score_threshold: float | None,
) -> list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]: ...
def average_precision(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    sample: NDArray[np.int64],
    weights: NDArray[np.float64],
    num_positive: NDArray[np.float64],
) -> NDArray[np.float64]: ...
def nms(boxes: NDArray[np.float64], scores: NDArray[np.float64], iou: float) -> NDArray[np.bool_]: ...
def cpu_instruction_set() -> str: ...
def dtype_codes() -> dict[str, int]: ...
def cuda_status() -> dict[str, tuple[bool, str]]: ...
def cuda_warmup(device: int, dtype: int, of: tuple[int, int, int, int]) -> tuple[int, int, int]: ...
def cuda_reports(
    architecture: int, dtype: int, of: tuple[int, int, int, int]
) -> list[tuple[str, int, list[tuple[str, int, int, int]]]]: ...
