"""The training loop: steps, validation, checkpoints, log.

Model, criterion and post-processing are arguments; the loop knows only their calling conventions.
"""

from __future__ import annotations

import json
import math
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from dsct.checkpoint import replaced_when_complete, save_model
from dsct.data.collate import Batch
from dsct.data.records import Dataset
from dsct.metrics import Evaluation, Evaluator, evaluate
from dsct.metrics.inference import Outputs, PostProcess
from dsct.train.config import TrainConfig
from dsct.train.display import Display
from dsct.train.interrupt import StopRequest
from dsct.train.optimizer import build_optimizer, build_scheduler
from dsct.train.resume import Progress, load_state, save_state, seed_everything
from dsct.train.run_log import RunLog
from dsct.train.sampling import EpochBatches, training_loader

if TYPE_CHECKING:
    from dsct import DSCT

LAST = "last.pt"
BEST = "best.safetensors"


class Criterion(Protocol):
    """What the loop asks of a loss: named terms, and their weighted sum."""

    def __call__(self, outputs: Outputs, targets: list[dict[str, Any]], /) -> dict[str, torch.Tensor]: ...

    def total(self, losses: dict[str, torch.Tensor], /) -> torch.Tensor: ...


@dataclass(frozen=True)
class TrainResult:
    """What a finished run leaves.

    Attributes:
        run_dir: holds ``best.safetensors``, ``last.pt``, ``log.csv``, ``log.jsonl`` and ``config.json``.
        best: highest headline value on the validation data.
        best_epoch: the epoch, counted from 1, that reached it.
        evaluation: of the last epoch; ``None`` when a run that was already complete is resumed.
    """

    run_dir: Path
    best: float | None
    best_epoch: int | None
    evaluation: Evaluation | None


class Trainer:
    """Trains a model and keeps the epoch that does best on validation data.

    Args:
        model: the module to train, with its configuration as ``config``; moved to `device`.
        criterion: called with outputs and targets; ``total`` adds its terms up.
        post_process: outputs and sizes (B, 2) -> people in pixels.
        train_data: images and targets ready for the model.
        val_data: the same for choosing the best epoch; never the test split.
        config: the recipe.
        run_dir: folder of the run, made if missing.
        device: where to compute.
        description: of the data, written to ``config.json``.
        visible: show progress.

    Raises:
        ValueError: `val_data` is a test split, or the training data is empty.
    """

    def __init__(
        self,
        model: DSCT,
        criterion: Criterion,
        post_process: PostProcess,
        train_data: Dataset,
        val_data: Dataset,
        config: TrainConfig,
        run_dir: str | Path,
        *,
        device: torch.device | str = "cpu",
        description: Mapping[str, Any] | None = None,
        visible: bool = True,
    ) -> None:
        if getattr(val_data, "split", None) == "test":
            raise ValueError("val_data must not be the test split: the best epoch would be chosen on test data")
        self.model = model.to(device)
        self.criterion = criterion
        self.post_process = post_process
        self.val_data = val_data
        self.config = config
        self.run_dir = Path(run_dir)
        self.device = device
        self.description = dict(description or {})
        self.visible = visible
        self.progress = Progress()
        self._batches = EpochBatches(len(train_data), config.batch_size, config.seed)
        self._loader = training_loader(train_data, self._batches, config.workers)
        self._optimizer = build_optimizer(self.model, config)
        self._scheduler = build_scheduler(self._optimizer, config, len(self._batches))
        self._log = RunLog(self.run_dir)

    def fit(self, resume: bool = False) -> TrainResult:
        """Trains to the last epoch.

        Ctrl-C ends the run after the step under way, with a state from which it can be resumed exactly.

        Args:
            resume: go on from ``last.pt`` of the run folder instead of starting anew.

        Returns:
            The result.

        Raises:
            FileExistsError: the folder already holds a run and `resume` is off.
            FileNotFoundError: there is nothing to resume.
            ValueError: the run to resume had another configuration.
            FloatingPointError: a prediction, loss or gradient is not finite; the message names the images, and
                ``last.pt`` is still the one before.
            KeyboardInterrupt: after the state was saved.
        """
        self._begin(resume)
        evaluation = None
        with StopRequest() as stop, Display(self.visible) as display:
            while self.progress.epoch < self.config.epochs:
                self._train_epoch(stop, display)
                evaluation = self._finish_epoch(stop, display)
        return TrainResult(self.run_dir, self.progress.best, self.progress.best_epoch, evaluation)

    def _begin(self, resume: bool) -> None:
        if resume:
            self.progress = load_state(self.run_dir / LAST, self.model, self._optimizer, self._scheduler, self.config)
            self._log.rewind(self.progress.step)
            return
        if (self.run_dir / LAST).exists() or self._log.jsonl_path.exists():
            raise FileExistsError(f"{self.run_dir} already holds a run: resume it or choose another folder")
        seed_everything(self.config.seed)
        about = {
            "model": json.loads(self.model.config.to_json()),
            "train": json.loads(self.config.to_json()),
            "data": self.description,
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        with replaced_when_complete(self.run_dir / "config.json") as partial:
            partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def _train_epoch(self, stop: StopRequest, display: Display) -> None:
        progress = self.progress
        self.model.train()
        self._batches.epoch, self._batches.start = progress.epoch, progress.position
        total_steps = self.config.epochs * len(self._batches)
        began = time.perf_counter() - progress.seconds
        for batch in self._loader if progress.position < len(self._batches) else ():
            losses = self._step(batch.to(self.device))
            progress.position += 1
            progress.step += 1
            progress.images += len(batch.images)
            for name, loss in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + loss * len(batch.images)
            progress.seconds = time.perf_counter() - began

            rate = progress.images / progress.seconds
            display.show(self._epoch_name(), progress.step, total_steps, losses["loss"], rate)
            if progress.step % self.config.log_every == 0:
                self._log.step({"epoch": progress.epoch + 1, "step": progress.step, "lr": self._lr(), **losses})
            if stop.raised:
                self._save_and_interrupt()

    def _step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; returns the losses as numbers."""
        outputs = self.model(batch.images, batch.mask)
        # Here, not in the criterion, because only here the images have names.
        if not all(bool(outputs[name].isfinite().all()) for name in ("pred_logits", "pred_boxes")):
            self._fail("the model's predictions are not finite", batch)
        terms = self.criterion(outputs, batch.targets)
        total = self.criterion.total(terms)
        losses = {name: term.item() for name, term in {"loss": total, **terms}.items()}
        if not math.isfinite(losses["loss"]):
            self._fail(f"the loss is {losses['loss']}", batch)
        self._optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        parameters = [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.config.clip or math.inf)
        if not torch.isfinite(norm):
            self._fail(f"the gradient norm is {norm.item()}", batch)
        self._optimizer.step()
        self._scheduler.step()
        return losses

    def _finish_epoch(self, stop: StopRequest, display: Display) -> Evaluation:
        """Validates, logs and saves; an epoch counts as finished only after that."""
        progress = self.progress
        val_losses, evaluation = self._validate(stop)
        score = evaluation[self.config.select_by]
        # A value that does not exist (no person in the validation data) still leaves a best checkpoint: the latest.
        improved = progress.best is None or not score.value <= progress.best
        if improved:
            save_model(self.model, self.run_dir / BEST)
            progress.best, progress.best_epoch = score.value, progress.epoch + 1
        train_losses = {name: value / progress.images for name, value in progress.sums.items()}
        self._log.epoch(
            {
                "epoch": progress.epoch + 1,
                "step": progress.step,
                "lr": self._lr(),
                **{f"train_{name}": value for name, value in train_losses.items() if _is_last_layer(name)},
                **{f"val_{name}": value for name, value in val_losses.items() if _is_last_layer(name)},
                **{f"val_{name}": value for name, value in evaluation.to_dict().items()},
                "is_best": int(improved),
                "images_per_second": round(progress.images / progress.seconds, 2),
                "seconds": round(progress.seconds, 2),
            }
        )
        display.say(
            f"{self._epoch_name()}  loss {train_losses['loss']:.3f}  val loss {val_losses['loss']:.3f}  "
            f"{self.config.select_by} {score.metric} {score.value:.2%}  box recall {evaluation.box_recall:.2%}"
            + ("  best" if improved else "")
        )
        self.progress = Progress(progress.epoch + 1, 0, progress.step, progress.best, progress.best_epoch)
        self._save()
        return evaluation

    def _validate(self, stop: StopRequest) -> tuple[dict[str, float], Evaluation]:
        sums: dict[str, float] = {}
        images = 0

        def add(outputs: Outputs, batch: Batch) -> None:
            nonlocal images
            terms = self.criterion(outputs, batch.targets)
            for name, term in {"loss": self.criterion.total(terms), **terms}.items():
                sums[name] = sums.get(name, 0.0) + term.item() * len(batch.images)
            images += len(batch.images)
            if stop.raised:
                self._save_and_interrupt()

        evaluator = Evaluator(self.model.config.names, self.model.config.multi_label, labels="validation data")
        evaluation = evaluate(
            self.model, self.val_data, self.post_process, evaluator, batch_size=self.config.batch_size,
            workers=self.config.workers, device=self.device, on_batch=add,
        )  # fmt: skip
        return {name: value / images for name, value in sums.items()}, evaluation

    def _save(self) -> None:
        save_state(self.run_dir / LAST, self.model, self._optimizer, self._scheduler, self.progress, self.config)

    def _save_and_interrupt(self) -> None:
        self._save()
        raise KeyboardInterrupt(
            f"stopped in epoch {self.progress.epoch + 1} after step {self.progress.step}; {self.run_dir / LAST} can be "
            "resumed"
        )

    def _fail(self, what: str, batch: Batch) -> None:
        images = [target.get("image_id") for target in batch.targets]
        raise FloatingPointError(
            f"{what} in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}, with the images {images}; "
            "lower lr, or look at these images"
        )

    def _lr(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def _epoch_name(self) -> str:
        return f"epoch {self.progress.epoch + 1}/{self.config.epochs}"


def _is_last_layer(name: str) -> bool:
    """Losses of earlier decoder layers end in their number; the epoch log leaves them to the step log."""
    return re.search(r"_\d+$", name) is None
