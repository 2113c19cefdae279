"""Evaluation: how well the people of a data set were found and read, under three named protocols."""

from dsct.metrics.average_precision import average_precision
from dsct.metrics.evaluator import PROTOCOLS, Evaluator
from dsct.metrics.inference import evaluate
from dsct.metrics.results import Evaluation, ProtocolResult

__all__ = ["PROTOCOLS", "Evaluation", "Evaluator", "ProtocolResult", "average_precision", "evaluate"]
