"""The rows of a batch that one of several processes computes, and the random draws that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_OF_THE_BATCH = ("order", "forward_input_shape")  # kornia's draws that are not made for each image


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows of a batch of `total` images.

    Where there are fewer images than processes, `count` is 0 for some: these compute one row too, which weighs nothing,
    so that they take part in all that the processes do together.
    """

    start: int
    count: int
    total: int

    @property
    def share(self) -> float:
        """What part of the batch they are: the weight of a mean over them."""
        return self.count / self.total

    @property
    def span(self) -> slice:
        """The rows to compute, at least one."""
        return slice(self.start, self.start + max(1, self.count))


ALL_ROWS = Rows(0, 1, 1)
"""Of a batch that is computed by one process; its weight is 1."""


def rows_of(rank: int, processes: int, total: int) -> Rows:
    """The rows of one process: all processes together have each row once, and their counts differ by one at most."""
    start, end = (total * each // processes for each in (rank, rank + 1))
    return Rows(start, end - start, total)


def augment_rows(step: nn.Module, images: Tensor, rows: Rows) -> Tensor:
    """Apply an augmentation of kornia to some rows of a batch as if the whole batch passed it: draws are the same."""
    draws = step.forward_parameters((rows.total, *images.shape[1:]))  # type: ignore[operator] # which every step has
    augmented: Tensor = step(images, params=_of_rows(draws, rows))
    return augmented


def _of_rows(draws: Any, rows: Rows) -> Any:
    """Of draws for a whole batch, nested as the steps are, those of some rows."""
    if isinstance(draws, list):
        return [each._replace(data=_of_rows(each.data, rows)) for each in draws]
    assert isinstance(draws, Mapping)
    return {
        name: value if name in _OF_THE_BATCH or value.shape[:1] != (rows.total,) else value[rows.span]
        for name, value in draws.items()
    }
