"""One image on its way through the network."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.service.ladder import Level


class Ending(Enum):
    """How a task ended."""

    ANSWERED = "answered"
    LATE = "late"
    """Its deadline passed, or could not be met any more: not computed, or no further."""
    GONE = "gone"
    """Nobody waits for the answer."""
    FAILED = "failed"


class Lowered(Enum):
    """Why an image exited earlier than its policy says."""

    LOAD = "load"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class SeenExit:
    """What one exit says of an image.

    Attributes:
        index: 0 to G, the final exit.
        logits: float32 [K].
        score: what the policy compares with its threshold; None at the final exit.
        is_answer: the image takes this exit.
    """

    index: int
    logits: npt.NDArray[np.float32]
    score: float | None
    is_answer: bool


@dataclass(slots=True, eq=False)
class Task:
    """An image, how it is to be classified, and what became of it.

    Attributes:
        image: uint8 [S, S, 3].
        levels: the policy that was asked for, then what load may lower it to, cheaper and cheaper.
        deadline: when the answer is due, by `time.perf_counter`.
        patience_s: expected wait up to which it is not lowered.
        may_hurry: near the deadline it may take an exit that its policy would not.
        is_counted: its answer is evidence of whether the guarantee holds. Deadlines of clients end images by their
            content, the hard ones first, so that what is left no longer comes as the calibration images did.
        every_exit: it passes the full network.
        keeps_exits: what every exit says is kept.
        on_exit: called with each exit, in the thread of the network.
        on_end: called once, in the thread of the network, whatever the ending.
    """

    image: npt.NDArray[np.uint8]
    levels: tuple[Level, ...]
    deadline: float
    patience_s: float
    on_end: Callable[[Task], object]
    may_hurry: bool = True
    is_counted: bool = True
    every_exit: bool = False
    keeps_exits: bool = False
    on_exit: Callable[[SeenExit], object] | None = None
    arrived: float = field(default_factory=time.perf_counter)
    began: float = 0.0
    ended: float = 0.0
    is_gone: bool = False
    ending: Ending | None = None
    error: Exception | None = None
    level: Level | None = None
    lowered: Lowered | None = None
    exit_index: int | None = None
    logits: npt.NDArray[np.float32] | None = None
    distance: np.float32 | None = None
    labels: list[int] = field(default_factory=list)
    exits: list[SeenExit] = field(default_factory=list)
    latest: SeenExit | None = None

    @property
    def policy(self) -> Policy:
        """By which it is or will be answered."""
        return (self.level or self.levels[0]).policy

    @property
    def is_cut_short(self) -> bool:
        """Whether it may have exited though its policy would have had it go on."""
        return self.lowered is Lowered.DEADLINE or (self.level or self.levels[0]).last < self.levels[0].last

    def take(self, seen: SeenExit) -> None:
        """An exit has spoken; the first one that is the answer stays it."""
        if seen.is_answer and self.exit_index is None:
            self.exit_index, self.logits = seen.index, seen.logits
        self.latest = seen
        self.labels.append(int(seen.logits.argmax()))
        if self.keeps_exits:
            self.exits.append(seen)
        if self.on_exit:
            self.on_exit(seen)

    def fall_back(self) -> bool:
        """Let the latest exit answer, as there is no time for the next one; False: there is none yet."""
        if self.latest is None:
            return False
        self.exit_index, self.logits, self.lowered = self.latest.index, self.latest.logits, Lowered.DEADLINE
        return True

    def end(self, ending: Ending, error: Exception | None = None) -> None:
        """Tell whoever waits."""
        self.ended, self.ending, self.error = time.perf_counter(), ending, error
        self.on_end(self)
