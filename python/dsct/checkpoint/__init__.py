"""Weights on disk: the package's own format, and other people's files."""

from dsct.checkpoint.files import Checkpoint, read_checkpoint, read_pickled_tensors, replaced_when_complete
from dsct.checkpoint.native import distinct_tensors, load_model, metadata_of, save_model, shared_names
from dsct.checkpoint.pretrained import LoadReport, load_pretrained

__all__ = [
    "Checkpoint",
    "LoadReport",
    "distinct_tensors",
    "load_model",
    "load_pretrained",
    "metadata_of",
    "read_checkpoint",
    "read_pickled_tensors",
    "replaced_when_complete",
    "save_model",
    "shared_names",
]
