"""Evaluation: how well people are found and their emotions recognised, under three named protocols."""

from dsct.metrics.average_precision import average_precision, weighted_average_precision
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.details.calibration import Calibration, calibration
from dsct.metrics.details.person_table import PersonTable, require_table_format
from dsct.metrics.details.precision_recall import PrecisionRecall, precision_recall_curve
from dsct.metrics.details.subgroups import Subgroup
from dsct.metrics.details.worst_images import ImageErrors
from dsct.metrics.evaluator import Evaluator
from dsct.metrics.inference import collect, evaluate
from dsct.metrics.protocols import DEFINITIONS, PROTOCOLS
from dsct.metrics.results import Details, Evaluation, Intervals, ProtocolResult, Throughput
from dsct.metrics.thresholds import LabelQuality, fit_thresholds, label_quality

__all__ = [
    "DEFINITIONS",
    "PROTOCOLS",
    "Bootstrap",
    "Calibration",
    "Details",
    "Evaluation",
    "Evaluator",
    "ImageErrors",
    "Intervals",
    "LabelQuality",
    "PersonTable",
    "PrecisionRecall",
    "ProtocolResult",
    "Subgroup",
    "Throughput",
    "average_precision",
    "calibration",
    "collect",
    "evaluate",
    "fit_thresholds",
    "label_quality",
    "precision_recall_curve",
    "require_table_format",
    "weighted_average_precision",
]
