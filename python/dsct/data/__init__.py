"""Data sets, transforms and batches."""

from dsct.data import caer_s, coco, emotic, synthetic
from dsct.data.annotated import AnnotatedDataset
from dsct.data.caer_s import CaerSDataset
from dsct.data.coco import CocoDataset
from dsct.data.collate import Batch, collate
from dsct.data.conversion import Converted, convert
from dsct.data.emotic import EmoticDataset
from dsct.data.folders import open_split
from dsct.data.records import Annotations, Dataset, Target
from dsct.data.synthetic import SyntheticDataset
from dsct.data.transforms import evaluation_transform, flip_transform, training_transform

__all__ = [
    "AnnotatedDataset",
    "Annotations",
    "Batch",
    "CaerSDataset",
    "CocoDataset",
    "Converted",
    "Dataset",
    "EmoticDataset",
    "SyntheticDataset",
    "Target",
    "caer_s",
    "coco",
    "collate",
    "convert",
    "emotic",
    "evaluation_transform",
    "flip_transform",
    "open_split",
    "synthetic",
    "training_transform",
]
