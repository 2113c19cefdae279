"""Weights on disk: the package's own format, and other people's files."""

from dsct.checkpoint.files import (
    Checkpoint,
    config_digest,
    read_checkpoint,
    write_pickled_tensors,
)
from dsct.checkpoint.native import distinct_tensors, load_model, metadata_of, save_model, shared_names
from dsct.checkpoint.pretrained import load_pretrained
from dsct.checkpoint.released import save_released
from dsct.checkpoint.report import LoadReport
from dsct.checkpoint.sizes import sizes_of, sizes_of_checkpoint
from dsct.checkpoint.tensor_files import read_pickled_tensors
from dsct.complete_files import replaced_when_complete

__all__ = [
    "Checkpoint",
    "LoadReport",
    "config_digest",
    "distinct_tensors",
    "load_model",
    "load_pretrained",
    "metadata_of",
    "read_checkpoint",
    "read_pickled_tensors",
    "replaced_when_complete",
    "save_model",
    "save_released",
    "shared_names",
    "sizes_of",
    "sizes_of_checkpoint",
    "write_pickled_tensors",
]
