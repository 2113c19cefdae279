"""Training: recipe, loop, exact resume."""

from dsct.train.config import TrainConfig
from dsct.train.engine import Trainer
from dsct.train.loading.class_balance import class_weights, repeat_factors
from dsct.train.loggers import Callback, MLflow, RunInfo, TensorBoard, WandB
from dsct.train.optimizer import build_optimizer, build_scheduler, parameter_groups
from dsct.train.processes.distributed import Processes
from dsct.train.progress import TrainResult
from dsct.train.resume import seed_everything

__all__ = [
    "Callback",
    "MLflow",
    "Processes",
    "RunInfo",
    "TensorBoard",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "WandB",
    "build_optimizer",
    "build_scheduler",
    "class_weights",
    "parameter_groups",
    "repeat_factors",
    "seed_everything",
]
