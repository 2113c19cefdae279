"""Training: recipe, loop, exact resume."""

from dsct.train.config import TrainConfig
from dsct.train.distributed import Processes
from dsct.train.engine import Trainer, TrainResult
from dsct.train.optimizer import build_optimizer, build_scheduler, parameter_groups
from dsct.train.resume import seed_everything

__all__ = [
    "Processes",
    "TrainConfig",
    "TrainResult",
    "Trainer",
    "build_optimizer",
    "build_scheduler",
    "parameter_groups",
    "seed_everything",
]
