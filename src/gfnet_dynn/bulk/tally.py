"""How many images were answered with each class and at each exit, and how many could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from gfnet_dynn.runtime.prediction import Answer, Unreadable

MOST_NAMED = 10
"""Unreadable files whose errors are kept."""


@dataclass
class Tally:
    """Counts of answers.

    Attributes:
        classes: images by class; those that the policy takes for unknown are not among them.
        exits: images by exit taken.
        unknown: images out of distribution.
        unreadable: files and folders that could not be read.
        first_errors: messages of the first `MOST_NAMED` of these.
    """

    classes: dict[str, int] = field(default_factory=dict)
    exits: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    unreadable: int = 0
    first_errors: list[str] = field(default_factory=list)

    def add(self, answer: Answer) -> None:
        """Count one more."""
        if isinstance(answer, Unreadable):
            self.unreadable += 1
            if len(self.first_errors) < MOST_NAMED:
                self.first_errors.append(str(answer.error))
            return
        self.exits[answer.exit] = self.exits.get(answer.exit, 0) + 1
        if answer.unknown:
            self.unknown += 1
        else:
            self.classes[answer.label] = self.classes.get(answer.label, 0) + 1

    @property
    def images(self) -> int:
        """Those with an answer."""
        return sum(self.exits.values())
