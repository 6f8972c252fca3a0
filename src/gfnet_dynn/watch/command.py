"""The command that a frame starts: when, with which words, and for how long."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gfnet_dynn.bulk.class_folders import UNKNOWN
from gfnet_dynn.errors import OptionError, nearest
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.watch.notify import notify_alive

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
PLACEHOLDERS = ("source", "label", "confidence", "exit")
_STEP_S = 5.0  # between two signs of life while a command runs
_STDERR = 2


@dataclass(frozen=True)
class Condition:
    """Which predictions start the command: all that is given must hold."""

    labels: frozenset[str] | None
    above: float | None
    below: float | None

    def holds(self, prediction: Prediction) -> bool:
        """Whether one does; an image that the policy takes for unknown is of no class."""
        label = UNKNOWN if prediction.unknown else prediction.label
        return (
            (self.labels is None or label in self.labels)
            and (self.above is None or prediction.confidence >= self.above)
            and (self.below is None or prediction.confidence < self.below)
        )


def condition(
    labels: Sequence[str] | None, above: float | None, below: float | None, classes: Sequence[str], *, has_rule: bool
) -> Condition:
    """A condition on predictions of these classes.

    Raises OptionError: no such class, or `unknown` by a policy that has no rule for unknown images (`has_rule`).
    """
    for label in labels or ():
        if label == UNKNOWN and not has_rule and label not in classes:
            raise OptionError("--when unknown: the policy has no rule for unknown images; calibrate it with one")
        if label not in (*classes, UNKNOWN):
            raise OptionError(f"--when {label}: the bundle has no such class: {nearest(label, (*classes, UNKNOWN))}")
    return Condition(None if labels is None else frozenset(labels), above, below)


class Command:
    """A program with words in which placeholders are replaced; no shell."""

    def __init__(self, words: Sequence[str], timeout_s: float) -> None:
        """Raises OptionError: the program is not found, or a placeholder has another name."""
        for name in (found for word in words for found in _PLACEHOLDER.findall(word)):
            if name not in PLACEHOLDERS:
                raise OptionError(f"--run has the placeholder {{{name}}}: {nearest(name, PLACEHOLDERS)}")
        program = shutil.which(words[0])
        if program is None:
            raise OptionError(f"--run: the command {words[0]!r} is not found, or not executable: give its whole path")
        self._words, self._timeout_s = (program, *words[1:]), timeout_s

    def run(self, prediction: Prediction, made_at: str) -> str | None:
        """Run it for one prediction and wait; returns what went wrong, or None."""
        values = {
            "source": str(prediction.source),
            "label": prediction.label,
            "confidence": f"{prediction.confidence:.6f}",
            "exit": prediction.exit,
        }
        words = [_PLACEHOLDER.sub(lambda found: values[found[1]], word) for word in self._words]
        unknown = "" if prediction.unknown is None else str(prediction.unknown).lower()
        more = {
            f"GFNET_DYNN_{name.upper()}": text for name, text in {**values, "unknown": unknown, "time": made_at}.items()
        }
        try:
            return self._finished(words, {**os.environ, **more})
        except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
            return f"could not be started: {error}"

    def _finished(self, words: Sequence[str], environment: Mapping[str, str]) -> str | None:
        # A session of its own: Ctrl-C in the terminal is for the watch, and all its children can be killed with it.
        process = subprocess.Popen(
            words, env=environment, stdin=subprocess.DEVNULL, stdout=_STDERR, start_new_session=True
        )
        try:
            status = self._wait(process)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if status is None:
            return f"did not end within {self._timeout_s:g} s and was killed"
        return None if status == 0 else f"ended with status {status}"

    def _wait(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit status; None: not within the time."""
        end = time.monotonic() + self._timeout_s
        while (left := end - time.monotonic()) > 0:
            try:
                return process.wait(min(left, _STEP_S))
            except subprocess.TimeoutExpired:
                notify_alive()
        return process.poll()
