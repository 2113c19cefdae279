"""Data sets, transforms and batches."""

from dsct.data import emotic
from dsct.data.annotated import AnnotatedDataset
from dsct.data.collate import Batch, collate
from dsct.data.emotic import EmoticDataset
from dsct.data.records import Annotations, Dataset, Target
from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import evaluation_transform, flip_transform, training_transform

__all__ = [
    "AnnotatedDataset",
    "Annotations",
    "Batch",
    "Dataset",
    "EmoticDataset",
    "SyntheticDataset",
    "Target",
    "collate",
    "emotic",
    "evaluation_transform",
    "flip_transform",
    "training_transform",
]
