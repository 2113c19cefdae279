"""The training loop: steps, validation, checkpoints, log.

Model, criterion and post-processing are arguments; the loop knows only their calling conventions.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dsct.checkpoint import save_model
from dsct.checkpoint.files import BEST
from dsct.data.collate import Batch
from dsct.data.loaded import loaded, processes_ended
from dsct.data.loading_processes import killed_ones_named
from dsct.data.records import Dataset
from dsct.metrics import Evaluation, Evaluator
from dsct.metrics.inference import PostProcess
from dsct.train.config import TrainConfig
from dsct.train.display import Display, peak_memory
from dsct.train.epoch_report import epoch_line, epoch_record
from dsct.train.interrupt import Stopped, StopRequest, StopTogether
from dsct.train.loading.class_balance import repeat_factors, require_weights
from dsct.train.loading.inspection import images_to_skip, say_what_is_in_both, say_who_is_beyond
from dsct.train.loading.people import people_in, require_people
from dsct.train.loading.sampling import EpochBatches, ShardedBatches, aspect_ratios, training_loader
from dsct.train.loggers import Callback, RunInfo
from dsct.train.loggers.reporter import Reporter
from dsct.train.processes.agreement import require_agreement, what_must_agree
from dsct.train.processes.distributed import Processes
from dsct.train.processes.sharded_state import model_state
from dsct.train.progress import Progress, TrainResult
from dsct.train.resume import load_state, save_state, seed_everything
from dsct.train.run_config import NAME, describe_data, describe_run, gone_on, read_run, write_run
from dsct.train.run_folder.best_weights import lost_weights, require_no_folders
from dsct.train.run_folder.contents import LAST, has_state, remove_partial_files
from dsct.train.run_folder.curves import CURVES, draw_curves
from dsct.train.run_folder.lock import only_trainer, require_lock
from dsct.train.step import Criterion, OptimizerStep
from dsct.train.validation import Validation, validate

if TYPE_CHECKING:
    from dsct.modules import DSCT


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
        description: of the data, written to ``config.json`` together with their classes and fingerprints.
        started_with: further facts about the start, such as the name of a preset, for ``config.json``.
        callbacks: are told about steps and epochs, see :class:`dsct.train.Callback`; by default
            :class:`dsct.train.TensorBoard` where it is installed. The run's own files are written in any case.
        visible: show progress.
        processes: the processes that train together; each builds the same Trainer, the main one writes the files. By
            default those of torch's process group, if there is one.
        fsdp: shard the model across the processes (FSDP2) instead of copying it to each (DDP).

    Raises:
        ValueError: `val_data` is a test split, the training data is empty or shows nobody, its boxes are no pixels, the
            criterion lacks the class weights of the recipe, the recipe is not compatible with `fsdp`, or the processes
            do not agree on model, recipe, weights or data.
        TypeError: the recipe needs annotations that the training data does not have.

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
        started_with: Mapping[str, Any] | None = None,
        callbacks: Sequence[Callback] | None = None,
        visible: bool = True,
        processes: Processes | None = None,
        fsdp: bool = False,
    ) -> None:
        self.processes = processes or Processes.of_group(device)
        self.model = model.to(self.processes.device)
        self.criterion = criterion
        self.post_process = post_process
        self.train_data = train_data
        self.val_data = val_data
        self.config = config
        self.run_dir = Path(run_dir)
        self.started_with = dict(started_with or {})
        self.visible = visible and self.processes.is_main
        self.progress = Progress()
        with self.processes.fail_together():
            if getattr(val_data, "split", None) == "test":
                raise ValueError("val_data must not be the test split: the best epoch would be chosen on test data")
            self.description = describe_data(description or {}, train_data, val_data)
            require_weights(config, criterion)
            require_people(train_data)
            ratios = aspect_ratios(train_data) if config.batching == "aspect_ratio" else None
            factors = repeat_factors(train_data, config.repeat_threshold) if config.repeat_threshold else None
            self._batches = EpochBatches(len(train_data), config.batch_size, config.seed, ratios, factors)
            facts = what_must_agree(self.model, config, self.description, criterion, self._batches, fsdp)
        require_agreement(self.processes, facts)
        self._shards = ShardedBatches(self._batches, self.processes)
        self._loader = training_loader(train_data, self._shards, config.workers, config.accumulation)
        self.model.set_activation_checkpointing(config.activation_checkpointing)
        with self.processes.naming_lost_ones():
            self._step = OptimizerStep(self.model, criterion, config, len(self._batches), self.processes, fsdp)
        self._report = Reporter(self.run_dir, callbacks, self.processes.is_main)
        self._broken: dict[str, dict[int, str]] = {"train": {}, "val": {}}
        self._is_saved = False

    def fit(self, resume: bool = False) -> TrainResult:
        """Trains to the last epoch, or until results on validation data stop improving (``early_stop``).

        Ctrl-C, SIGTERM, SIGUSR1 or, where it would end the process, SIGHUP, SIGXCPU or SIGUSR2 ends the run after the
        current step, or batch of the validation, with a state from which it can be resumed exactly.

        Args:
            resume: continue from ``last.pt`` of the run folder. The data may have moved, but not changed. A run with
                the schedule ``"step"`` may get more ``epochs``, and is then what it would have been with so many from
                the beginning. A start that was ended before its first state begins again, with or without `resume`.

        Returns:
            The result.

        Raises:
            FileExistsError: the folder already contains a run and `resume` is off.
            FileNotFoundError: there is nothing to resume.
            BlockingIOError: another trainer is at work in the folder; the message names its process and machine.
            ValueError: the run to resume had another configuration or other data, or an epoch showed nobody.
            FloatingPointError: a prediction, loss or gradient is not finite; the message names the images, and
                ``last.pt`` is still the previous one.
            OSError: an image cannot be read (with ``on_error="skip"``: none can), the disk is full, a loading process
                was killed, or a callback failed before the first step; ``last.pt`` and ``best.safetensors`` are still
                the previous ones.
            KeyboardInterrupt: after the state was saved.
        """
        require_agreement(self.processes, {"resume": resume})
        lost = self.processes.naming_lost_ones()
        ended = processes_ended(self._loader)
        with lost, StopRequest() as stop, Display(self.visible) as display, killed_ones_named(), ended:
            if resume:
                self._has_state(resume)  # where nothing began, not even a lock is left
            with only_trainer(self.run_dir, self.processes, display.say):
                with self.processes.fail_together():
                    require_no_folders(self.run_dir)
                run = self._begin(resume, display)
                return self._run(run, StopTogether(stop, self.processes), display)

    def _has_state(self, resume: bool) -> bool:
        found = False
        with self.processes.fail_together():
            found = self.processes.is_main and has_state(self.run_dir, resume)
        return self.processes.broadcast(found)

    def _run(self, run: RunInfo, stopping: StopTogether, display: Display) -> TrainResult:
        evaluation = None
        if self.progress.is_complete(self.config):
            display.say(self.progress.completeness(self.config))
        else:
            with self._saved_when_stopped():
                self._look_at_data(stopping, display)
            with self._report.watched(run, display.say), self._saved_when_stopped():
                while not self.progress.is_complete(self.config):
                    self._train_epoch(stopping, display)
                    evaluation = self._finish_epoch(stopping, display)
        has_curves = not evaluation and (self.run_dir / CURVES).is_file()
        if self.processes.is_main and self._report.log.csv_path.is_file() and not has_curves:
            draw_curves(self.run_dir)
        best = self.progress.best
        return TrainResult(self.run_dir, best, None if best is None else self.progress.best_epoch, evaluation)

    def _begin(self, resume: bool, display: Display) -> RunInfo:
        """Starts or goes on; the run's ``config.json`` and log are then up to date."""
        world = self.processes.world_size
        about = describe_run(self.model.config, self.config, self.description, self.started_with, world)
        self._is_saved = self._has_state(resume)
        with self.processes.fail_together():
            if self.processes.is_main and resume and (self.run_dir / NAME).is_file():
                about = gone_on(read_run(self.run_dir), about, display.say)
        if self._is_saved:
            self.progress = load_state(self.run_dir / LAST, self._step, self.config)
            require_agreement(self.processes, {f"state in {LAST}": dataclasses.asdict(self.progress)})
        else:
            # Processes draw different random numbers for dropout; their weights are already equal.
            seed_everything(self.config.seed + self.processes.rank)
        with self.processes.fail_together():
            if self.processes.is_main:
                remove_partial_files(self.run_dir)
                if self._is_saved:
                    self._report.log.mend(self.progress, display.say)
                else:
                    self._report.log.begin(display.say)
                if not self._is_saved and (self.run_dir / NAME).is_file():
                    display.say(f"note: the run in {self.run_dir} was ended before its first state: it begins again")
                write_run(self.run_dir, about)
        self._replace_lost_weights(display)
        return RunInfo(self.run_dir, about, self.progress.step if resume else None)

    def _replace_lost_weights(self, display: Display) -> None:
        """Where the weights of the best epoch are gone, the next epoch, or the present one if it was the last, is."""
        lost = None
        with self.processes.fail_together():
            lost = lost_weights(self.run_dir, self.progress) if self.processes.is_main else None
        lost = self.processes.broadcast(lost)
        if lost is None:
            return
        is_over = self.progress.is_complete(self.config)
        display.say(f"note: {lost}: those of the {'last' if is_over else 'next'} epoch take their place")
        self.progress = self.progress.without_best(is_over)
        if is_over:
            self._save_best()
        self._save()

    def _look_at_data(self, stopping: StopTogether, display: Display) -> None:
        say_who_is_beyond(self.train_data, self.model.config.num_subject_queries, display.say)
        say_what_is_in_both(self.train_data, self.val_data, display.say)
        splits = {"train": self.train_data, "val": self.val_data}
        self._broken = images_to_skip(splits, self.config, self.processes, stopping, display.say)
        self._batches.left_out = frozenset(self._broken["train"])
        self._report.log.skipped(self._broken)

    def _train_epoch(self, stopping: StopTogether, display: Display) -> None:
        progress = self.progress
        self.model.train()
        self._batches.epoch, self._batches.start = progress.epoch, progress.position
        total_steps = self.config.epochs * len(self._batches)
        began = time.perf_counter() - progress.seconds
        for parts in loaded(self._loader) if progress.position < len(self._batches) else ():
            images = self._batches.size(progress.position)
            counted = len(parts) if self._shards.rows(progress.position) else 0
            losses = self._take_step(parts, counted)
            # One exchange between the processes for both: whether somebody is stopped, and who was seen.
            seen = self.processes.sum({"people": people_in(parts[:counted]), "stop": float(stopping.is_asked)})
            progress.position += 1
            progress.step += 1
            progress.images += images
            progress.people += int(seen["people"])
            for name, loss in losses.items():
                progress.sums[name] = progress.sums.get(name, 0.0) + loss * images
            progress.seconds = time.perf_counter() - began

            rate, memory = progress.images / progress.seconds, peak_memory(self.processes.device)
            is_logged = progress.step % self.config.log_every == 0
            display.show(self._epoch_name(), progress.step, total_steps, losses, rate, memory, is_logged)
            if is_logged:
                self._report.step({"epoch": progress.epoch + 1, "step": progress.step, "lr": self._lr(), **losses})
            if seen["stop"]:
                raise Stopped
            if self.config.save_every and progress.step % self.config.save_every == 0:
                self._save()

    def _take_step(self, parts: list[Batch], counted: int) -> dict[str, float]:
        # The same number of parts in every process: the others wait for each of them.
        most = min(self.config.accumulation, self._shards.most_rows(self.progress.position))
        try:
            return self._step([*parts, *parts[-1:] * (most - len(parts))], counted)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error}, in epoch {self.progress.epoch + 1}, step {self.progress.step + 1}; lower lr, or look at "
                "these images"
            ) from None

    def _finish_epoch(self, stopping: StopTogether, display: Display) -> Evaluation:
        """Validates, logs and saves; an epoch counts as finished only after that."""
        progress = self.progress
        if not progress.people:
            raise ValueError(
                f"nobody was trained on in epoch {progress.epoch + 1}: none of {progress.images} images showed a "
                "person of a pixel or more; are boxes x1, y1, x2, y2 in pixels, and does the augmentation keep them?"
            )
        if not self._is_saved:
            self._save()  # weights never lie in the folder without a state
        validation = self._validate(stopping)
        score = validation.evaluation[self.config.select_by]
        improved = progress.note_score(score.value, validation.evaluation.box_recall)
        if improved:
            self._save_best()
        skipped = sum(map(len, self._broken.values()))
        memory = peak_memory(self.processes.device)
        record = epoch_record(progress, validation, self._lr(), improved, skipped, memory)
        self._report.epoch(record)
        display.say(epoch_line(self._epoch_name(), progress, validation, score, improved, skipped))
        self.progress = progress.of_next_epoch()
        self._save()
        return validation.evaluation

    def _validate(self, stopping: StopTogether) -> Validation:
        evaluator = Evaluator(self.model.config.names, self.model.config.multi_label, labels="validation data")
        return validate(
            self._step.averaged, self.val_data, self.criterion, self.post_process, evaluator, self.config,
            self.processes, stopping, self._broken["val"],
        )  # fmt: skip

    def _save_best(self) -> None:
        model = self._step.averaged
        tensors = model_state(model)
        with self.processes.fail_together():
            if self.processes.is_main:
                require_lock(self.run_dir)
                save_model(model, self.run_dir / BEST, tensors)

    def _save(self) -> None:
        with self.processes.fail_together():
            self._report.log.flush()  # the log is never behind the state
        save_state(self.run_dir / LAST, self._step, self.progress, self.config)
        self._is_saved = True

    @contextmanager
    def _saved_when_stopped(self) -> Iterator[None]:
        try:
            yield
        except Stopped as stopped:
            self._save()
            # Iterators end their processes here, while a signal that is sent twice is still heard.
            traceback.clear_frames(stopped.__traceback__)
            raise KeyboardInterrupt(
                f"stopped in epoch {self.progress.epoch + 1} after step {self.progress.step}; {self.run_dir / LAST} "
                "can be resumed"
            ) from None

    def _lr(self) -> float:
        return float(self._step.optimizer.param_groups[0]["lr"])

    def _epoch_name(self) -> str:
        return f"epoch {self.progress.epoch + 1}/{self.config.epochs}"
