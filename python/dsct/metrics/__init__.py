"""Evaluation: how well people are found and their emotions recognised, under three named protocols."""

from dsct.metrics.average_precision import average_precision, weighted_average_precision
from dsct.metrics.bootstrap import Bootstrap
from dsct.metrics.evaluator import Evaluator
from dsct.metrics.inference import collect, evaluate
from dsct.metrics.protocols import DEFINITIONS, PROTOCOLS
from dsct.metrics.results import Evaluation, Intervals, ProtocolResult, Throughput
from dsct.metrics.thresholds import LabelQuality, fit_thresholds, label_quality

__all__ = [
    "DEFINITIONS",
    "PROTOCOLS",
    "Bootstrap",
    "Evaluation",
    "Evaluator",
    "Intervals",
    "LabelQuality",
    "ProtocolResult",
    "Throughput",
    "average_precision",
    "collect",
    "evaluate",
    "fit_thresholds",
    "label_quality",
    "weighted_average_precision",
]
