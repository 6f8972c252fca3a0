"""One fit: runs the epochs of a stage, saves its state on the way and resumes from a saved one.

Random numbers are a function of where training stands: every step seeds the generators anew from (seed, stage, epoch,
step). So a resumed run draws what an unbroken one would have drawn, and no generator's state needs saving.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from gfnet_dynn.data.scenes import ImageLoader
from gfnet_dynn.train.engine.interruption import Interruption, TrainingInterrupted
from gfnet_dynn.train.engine.shared_batch import place_rows
from gfnet_dynn.train.engine.state import Position, begin, save_state
from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.stages.stage import Stage


def derived_seed(*parts: int | str) -> int:
    """A 32-bit seed that depends on all parts, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "little")


def seed_step(seed: int, stage: str, epoch: int, step: int) -> None:
    """Seed Python, NumPy and torch on all devices for one step; augmentation libraries draw from any of them."""
    value = derived_seed(seed, stage, epoch, step)
    random.seed(value)
    np.random.seed(value)  # noqa: NPY002 # the global generator is what other libraries use
    torch.manual_seed(value)


def epoch_order(seed: int, stage: str, epoch: int, count: int, unlabelled: int = 0) -> Sequence[int]:
    """The order in which an epoch visits images.

    The `count` images with labels, of indices 0 to `count` - 1, are all visited. Of the `unlabelled` ones that follow,
    at most as many are, drawn by the epoch.
    """
    generator = np.random.default_rng(derived_seed(seed, stage, epoch))
    if not unlabelled:
        plain: list[int] = generator.permutation(count).tolist()
        return plain
    drawn = count + generator.choice(unlabelled, min(count, unlabelled), replace=False)
    mixed: list[int] = generator.permutation(np.concatenate((np.arange(count), drawn))).tolist()
    return mixed


def fit(stage: Stage, loader: ImageLoader, state_path: Path, reporter: Reporter) -> None:
    """Train a stage to its end; where `state_path` exists, resume from it.

    The state is saved at the end of each epoch, every `checkpoint_minutes` within one, and on Ctrl-C, a terminating
    signal or a lost terminal. A resumed run ends with the same weights as one that was never interrupted, on the CPU
    to the last bit with the same number of processes. Several processes take each step together; where one was
    interrupted, all stop after the same step.

    Raises:
        TrainingInterrupted: it was interrupted; the state is saved.
        ReportedElsewhereError: another process has failed.
        TrainingError: a loss that is not finite; the last saved state is intact.
        StorageError: the state cannot be saved; the last one is intact.
    """
    ranks = stage.context.ranks
    position = begin(state_path, stage)
    reporter.stage_started(stage.name, stage.epochs, loader.epoch_images, position.epoch)
    with Interruption() as interruption:
        while position.epoch < stage.epochs and not position.finished:
            position = _epoch(stage, loader, state_path, reporter, position, interruption)
            _, (stops,) = ranks.sum_up({}, 0, interruption.requested)
            if stops:
                raise TrainingInterrupted
    stage.finish()


def _epoch(
    stage: Stage, loader: ImageLoader, state_path: Path, reporter: Reporter, start: Position, interruption: Interruption
) -> Position:
    settings, device, ranks = stage.context.settings, stage.context.fabric.device, stage.context.ranks
    view = stage.context.view(start.epoch)
    order = epoch_order(settings.seed, stage.name, view, loader.num_labelled, loader.num_unlabelled)
    tally = start.tally
    began = saved = time.perf_counter()
    seed_step(settings.seed, stage.name, view, start.step)  # of the batch that the loader makes next
    batches = loader.batches(order, settings.batch, device, start.step, (ranks.rank, ranks.size))
    for step, batch in enumerate(batches, start=start.step):
        if view != start.epoch:  # the view came before, but what the network drops at random must not
            seed_step(settings.seed, stage.name, start.epoch, step)
        place_rows(stage.context.net, batch.rows)
        losses = stage.step(batch, start.epoch * stage.context.steps_per_epoch + step)
        before, began = began, time.perf_counter()
        due = ranks.is_first and began - saved >= 60 * settings.checkpoint_minutes
        losses, (stops, saves) = ranks.sum_up(losses, batch.rows.share, interruption.requested, due)
        tally.add(losses, batch.rows.total, began - before)
        reporter.step_taken(stage.name, start.epoch, step, batch.rows.total, losses)
        if stops or saves:
            _save(state_path, stage, Position(start.epoch, step + 1, tally=tally))
            saved = time.perf_counter()
        if stops:
            raise TrainingInterrupted
        seed_step(settings.seed, stage.name, view, step + 1)
    metrics = stage.end_epoch(start.epoch)
    position = Position(start.epoch + 1, finished=stage.finished)
    # Before saving: after a kill in between, the epoch is reported twice, which a reader can correct, never omitted.
    ranks.by_first(lambda: reporter.epoch_ended(stage.name, start.epoch, {**metrics, **tally.metrics()}))
    _save(state_path, stage, position)
    return position


def _save(path: Path, stage: Stage, position: Position) -> None:
    stage.context.ranks.by_first(lambda: save_state(path, stage, position))
