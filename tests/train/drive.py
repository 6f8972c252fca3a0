"""Runs and resumes a tiny training in processes that kill themselves in the middle of an epoch.

`python -m tests.train.drive SCENES FOLDER MINUTES STAGE…`: for each STAGE a process, forked as importing torch takes
seconds, that ends by SIGKILL at the third step of the second epoch of that stage.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gfnet_dynn.train.engine.tracking import Reporter
from gfnet_dynn.train.runs.run import open_run, train
from gfnet_dynn.train.runs.run_folder import RunPlan
from tests.quick_work import quick_refits
from tests.train.conftest import QUICK, TINY, tiny_data


class SendSignal(Reporter):
    """Sends this process a signal at one step of one stage."""

    def __init__(self, number: signal.Signals, stage: str, epoch: int = 1, step: int = 2) -> None:
        self._number, self._where = number, (stage, epoch, step)

    def step_taken(self, stage: str, epoch: int, step: int, images: int, losses: Mapping[str, float]) -> None:
        """Send it, once the step is taken."""
        if (stage, epoch, step) == self._where:
            os.kill(os.getpid(), self._number)


def plan_run(scenes: Path, folder: Path, minutes: float, **changes: Any) -> RunPlan:
    settings = replace(QUICK, checkpoint_minutes=minutes, bilevel_batches=5, augmentation="randaugment", **changes)
    return RunPlan(TINY, tiny_data(scenes, folder / "splits"), settings, folder / "run")


def train_until_killed(scenes: Path, folder: Path, minutes: float, stage: str) -> None:
    plan = plan_run(scenes, folder, minutes)
    with quick_refits():
        train(open_run(plan, resume=plan.folder.exists()), SendSignal(signal.SIGKILL, stage))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for stage in sys.argv[4:]:
        process = multiprocessing.get_context("fork").Process(
            target=train_until_killed, args=(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), stage)
        )
        process.start()
        process.join()
        if process.exitcode != -signal.SIGKILL:
            sys.exit(f"{stage}: exit code {process.exitcode} instead of that of SIGKILL")
