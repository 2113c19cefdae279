"""The training loop: steps, validation, checkpoints, log.

Model, criterion and post-processing are arguments; the loop knows only their calling conventions.
"""

from __future__ import annotations

import json
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dsct.checkpoint import replaced_when_complete, save_model
from dsct.data.collate import Batch
from dsct.data.records import Dataset
from dsct.metrics import Evaluation, Evaluator
from dsct.metrics.inference import PostProcess
from dsct.train.config import TrainConfig
from dsct.train.display import Display, peak_memory
from dsct.train.distributed import Processes
from dsct.train.interrupt import StopRequest
from dsct.train.resume import Progress, load_state, save_state, seed_everything
from dsct.train.run_log import RunLog
from dsct.train.sampling import EpochBatches, ShardedBatches, aspect_ratios, training_loader
from dsct.train.sharded_state import model_state
from dsct.train.step import Criterion, OptimizerStep
from dsct.train.validation import validate
from dsct.visualize.loss_curves import loss_curves

if TYPE_CHECKING:
    from dsct.modules import DSCT

LAST = "last.pt"
BEST = "best.safetensors"
CURVES = "curves.png"


@dataclass(frozen=True)
class TrainResult:
    """The result of a finished run.

    Attributes:
        run_dir: contains ``best.safetensors``, ``last.pt``, ``log.csv``, ``log.jsonl``, ``config.json``, ``curves.png``
            and, where TensorBoard is installed, its folder.
        best: highest headline value on the validation data.
        best_epoch: the epoch, counted from 1, that reached it.
        evaluation: of the last epoch; ``None`` when a run that was already complete is resumed.

    Example:
        >>> TrainResult(Path("run"), best=0.3, best_epoch=7, evaluation=None).best
        0.3
    """

    run_dir: Path
    best: float | None
    best_epoch: int | None
    evaluation: Evaluation | None


class Trainer:
    """Trains a model and keeps the epoch that does best on validation data.

    Args:
        model: the module to train, with its configuration as ``config``; moved to `device`.
        criterion: called with outputs and targets; ``total`` sums its terms.
        post_process: outputs and sizes (B, 2) -> people in pixels.
        train_data: images and targets ready for the model.
        val_data: the same, for choosing the best epoch; never the test split.
        config: the recipe.
        run_dir: folder of the run, created if missing.
        device: where to compute, for one process.
        description: of the data, written to ``config.json``.
        visible: show progress.
        processes: the processes that train together; each builds the same Trainer, the main one writes the files.
        fsdp: shard the model across the processes (FSDP2) instead of copying it to each (DDP).

    Raises:
        ValueError: `val_data` is a test split, the training data is empty, or the recipe is not compatible with `fsdp`.

    Example:
        >>> import dsct, tempfile
        >>> from dsct.data.synthetic import SyntheticDataset
        >>> as_is = dsct.data.evaluation_transform(None)
        >>> data = [SyntheticDataset(split, 2, image_size=(64, 48), transforms=as_is) for split in ("train", "val")]
        >>> model = dsct.DSCT(dsct.DSCTConfig.tiny(num_context_queries=0))
        >>> criterion, post_process = dsct.SetCriterion(model.config), dsct.PostProcess(model.config)
        >>> recipe, run_dir = TrainConfig(epochs=1), tempfile.mkdtemp()
        >>> trainer = Trainer(model, criterion, post_process, *data, recipe, run_dir, visible=False)
        >>> trainer.fit().best_epoch
        1
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
        processes: Processes | None = None,
        fsdp: bool = False,
    ) -> None:
        if getattr(val_data, "split", None) == "test":
            raise ValueError("val_data must not be the test split: the best epoch would be chosen on test data")
        self.processes = processes or Processes(device=torch.device(device))
        self.model = model.to(self.processes.device)
        self.criterion = criterion
        self.post_process = post_process
        self.val_data = val_data
        self.config = config
        self.run_dir = Path(run_dir)
        self.description = dict(description or {})
        self.visible = visible and self.processes.is_main
        self.progress = Progress()
        ratios = aspect_ratios(train_data) if config.batching == "aspect_ratio" else None
        self._batches = EpochBatches(len(train_data), config.batch_size, config.seed, ratios)
        self._shards = ShardedBatches(self._batches, self.processes)
        self._loader = training_loader(train_data, self._shards, config.workers, config.accumulation)
        self.model.set_activation_checkpointing(config.activation_checkpointing)
        self._step = OptimizerStep(self.model, criterion, config, len(self._batches), self.processes, fsdp)
        self._log = RunLog(self.run_dir, self.processes.is_main)

    def fit(self, resume: bool = False) -> TrainResult:
        """Trains to the last epoch, or until results on validation data stop improving (``early_stop``).

        Ctrl-C or SIGTERM ends the run after the current step, with a state from which it can be resumed exactly.

        Args:
            resume: continue from ``last.pt`` of the run folder instead of starting again.

        Returns:
            The result.

        Raises:
            FileExistsError: the folder already contains a run and `resume` is off.
            FileNotFoundError: there is nothing to resume.
            ValueError: the run to resume had another configuration.
            FloatingPointError: a prediction, loss or gradient is not finite; the message names the images, and
                ``last.pt`` is still the previous one.
            OSError: the disk is full; ``last.pt`` and ``best.safetensors`` are still the previous ones.
            KeyboardInterrupt: after the state was saved.
        """
        self._begin(resume)
        evaluation = None
        with StopRequest() as stop, Display(self.visible) as display, self._log:
            while self.progress.epoch < self.config.epochs and not self._should_stop_early():
                self._train_epoch(stop, display)
                evaluation = self._finish_epoch(stop, display)
        if evaluation is not None and self.processes.is_main:
            with replaced_when_complete(self.run_dir / CURVES) as partial:
                loss_curves({self.run_dir.name: self.run_dir}).savefig(partial, format="png")
        return TrainResult(self.run_dir, self.progress.best, self.progress.best_epoch, evaluation)

    def _begin(self, resume: bool) -> None:
        if resume:
            self.progress = load_state(self.run_dir / LAST, self._step, self.config)
            self._log.rewind(self.progress.step)
            return
        with self.processes.fail_together():
            if self.processes.is_main:
                self._write_config()
        # Processes draw different random numbers for dropout; their weights are already equal.
        seed_everything(self.config.seed + self.processes.rank)

    def _write_config(self) -> None:
        if (self.run_dir / LAST).exists() or self._log.jsonl_path.exists():
            raise FileExistsError(f"{self.run_dir} already holds a run: resume it or choose another folder")
        about = {
            "model": json.loads(self.model.config.to_json()),
            "train": json.loads(self.config.to_json()),
            "data": self.description,
            "processes": self.processes.world_size,
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
        for parts in self._loader if progress.position < len(self._batches) else ():
            images = self._batches.size(progress.position)
            losses = self._take_step(parts)
            progress.position += 1
            progress.step += 1
            progress.images += images
            for name, loss in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + loss * images
            progress.seconds = time.perf_counter() - began

            rate = progress.images / progress.seconds
            display.show(
                self._epoch_name(), progress.step, total_steps, losses, rate, peak_memory(self.processes.device)
            )
            if progress.step % self.config.log_every == 0:
                self._log.step({"epoch": progress.epoch + 1, "step": progress.step, "lr": self._lr(), **losses})
            if self.processes.any(stop.raised):
                self._save_and_interrupt()
            if self.config.save_every and progress.step % self.config.save_every == 0:
                self._save()

    def _take_step(self, parts: list[Batch]) -> dict[str, float]:
        position = self.progress.position
        # The same number of parts in every process: the others wait for each of them.
        most = min(self.config.accumulation, self._shards.most_rows(position))
        counted = len(parts) if self._shards.rows(position) else 0
        try:
            return self._step([*parts, *parts[-1:] * (most - len(parts))], counted)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error}, in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}; lower lr, or look at "
                "these images"
            ) from None

    def _finish_epoch(self, stop: StopRequest, display: Display) -> Evaluation:
        """Validates, logs and saves; an epoch counts as finished only after that."""
        progress = self.progress
        val_losses, evaluation = self._validate(stop)
        score = evaluation[self.config.select_by]
        # A value that does not exist (no person in the validation data) still leaves a best checkpoint: the latest.
        improved = progress.best is None or not score.value <= progress.best
        if improved:
            self._save_best()
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
                "peak_memory_mb": round(peak_memory(self.processes.device) / 1e6),
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
        def stop_if_alone() -> None:
            # Several processes all stop together, after the next step.
            if self.processes.world_size == 1 and stop.raised:
                self._save_and_interrupt()

        evaluator = Evaluator(self.model.config.names, self.model.config.multi_label, labels="validation data")
        return validate(
            self._step.averaged, self.val_data, self.criterion, self.post_process, evaluator, self.config,
            self.processes, stop_if_alone,
        )  # fmt: skip

    def _save_best(self) -> None:
        model = self._step.averaged
        tensors = model_state(model)
        with self.processes.fail_together():
            if self.processes.is_main:
                save_model(model, self.run_dir / BEST, tensors)

    def _save(self) -> None:
        save_state(self.run_dir / LAST, self._step, self.progress, self.config)

    def _save_and_interrupt(self) -> None:
        self._save()
        raise KeyboardInterrupt(
            f"stopped in epoch {self.progress.epoch + 1} after step {self.progress.step}; {self.run_dir / LAST} can be "
            "resumed"
        )

    def _should_stop_early(self) -> bool:
        """Whether the last ``early_stop`` epochs brought no improvement."""
        best = self.progress.best_epoch
        return (
            bool(self.config.early_stop) and best is not None and self.progress.epoch - best >= self.config.early_stop
        )

    def _lr(self) -> float:
        return float(self._step.optimizer.param_groups[0]["lr"])

    def _epoch_name(self) -> str:
        return f"epoch {self.progress.epoch + 1}/{self.config.epochs}"


def _is_last_layer(name: str) -> bool:
    """The names of losses of earlier decoder layers end in a number; they are in the step log, not in the epoch log."""
    return re.search(r"_\d+$", name) is None
