"""Data sets, transforms and batches."""

from dsct.data.collate import Batch, collate
from dsct.data.records import Annotations, Dataset, Target
from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import evaluation_transform, flip_transform, training_transform

__all__ = [
    "Annotations",
    "Batch",
    "Dataset",
    "SyntheticDataset",
    "Target",
    "collate",
    "evaluation_transform",
    "flip_transform",
    "training_transform",
]
