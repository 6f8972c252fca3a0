"""The processes that train one network together, as torchrun starts them; or this process alone.

The gradients are added in one step after the backward pass, not by the hooks of DistributedDataParallel. These expect
one forward pass of the whole network before each backward pass, and wait for gradients that never come where a phase
trains the gates or the heads alone. What they gain, communication while the backward pass runs, is little for networks
of a few million weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from gfnet_dynn.data.rows import Rows, rows_of
from gfnet_dynn.errors import ReportedElsewhereError

_Result = TypeVar("_Result")
_CPU = torch.device("cpu")


class Ranks:
    """This process's place among those that train together, and what they do together.

    Each method that has all take part must be called by all, in the same order. One that fails ends; the others then
    get a `ReportedElsewhereError` where they wait for it.

    Attributes:
        rank: 0-based number of this process; the first one writes, prints and reports.
        size: number of processes; 1: this one is alone, and nothing below waits for anybody.
    """

    def __init__(self) -> None:
        several = distributed.is_available() and distributed.is_initialized()
        self.rank = distributed.get_rank() if several else 0
        self.size = distributed.get_world_size() if several else 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes, prints and reports."""
        return self.rank == 0

    def rows(self, total: int) -> Rows:
        """Which of `total` images are this process's."""
        return rows_of(self.rank, self.size, total)

    def by_first(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns in the first process, in all of them; fit for pickle, without tensors on a GPU.

        Raises:
            Exception: that of `work`, in the first process.
            ReportedElsewhereError: the same in the others.
        """
        if self.size == 1:
            return work()
        results: list[Any] = [None, None]
        failure = None
        if self.is_first:
            results, failure = _tried(work)
        with _waiting():
            distributed.broadcast_object_list(results, 0, device=_CPU)
        _raise_any(failure, results[1])
        return cast("_Result", results[0])

    def by_each(self, work: Callable[[], _Result]) -> _Result:
        """What `work` returns here, once it has ended well in all processes.

        Raises:
            Exception: that of `work`, in the first process where it fails.
            ReportedElsewhereError: in the others.
        """
        if self.size == 1:
            return work()
        (result, message), failure = _tried(work)
        failed = [(rank, each) for rank, each in enumerate(self.gather(message)) if each is not None]
        for rank, each in failed:
            _raise_any(failure if rank == self.rank else None, each)
        return cast("_Result", result)

    def gather(self, value: _Result) -> list[_Result]:
        """The values of all processes, in their order, in each of them; fit for pickle, without tensors on a GPU."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _waiting():
            distributed.all_gather_object(values, value)
        return values

    def share_weights(self, module: nn.Module) -> None:
        """Give a module the weights that it has in the first process."""
        if self.size > 1:
            weights = self.by_first(lambda: {name: each.cpu() for name, each in module.state_dict().items()})
            module.load_state_dict(weights)

    def mean(self, values: Tensor, share: float) -> Tensor:
        """The mean over the images of all from that over this process's, which are that share; no gradient flows."""
        return values.detach() if self.size == 1 else add_up(values.detach() * share)

    def sum_up(
        self, means: Mapping[str, float], share: float, *asked: bool
    ) -> tuple[Mapping[str, float], tuple[bool, ...]]:
        """Means over the images of all, and for each thing asked whether any process asks it; one message for all."""
        if self.size == 1:
            return means, asked
        values = [*(each * share for each in means.values()), *map(float, asked)]
        added = add_up(torch.tensor(values, dtype=torch.float64)).tolist()
        return dict(zip(means, added, strict=False)), tuple(each > 0 for each in added[len(means) :])

    def add_gradients(self, parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
        """Add up the gradients of all processes, and their losses, which are weighed by their shares already.

        A gradient that is missing counts as zero; it stays missing where it is in all. The sum of the losses is
        returned.
        """
        if self.size == 1:
            return loss
        trained = [each for each in parameters if each.requires_grad]
        parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in trained]
        added = add_up(torch.cat([loss.detach().float().view(1), *(part.reshape(-1) for part in parts)]))
        sums = torch.split(added[1:], [each.numel() for each in trained])
        for parameter, total in zip(trained, sums, strict=True):
            if parameter.grad is not None:
                parameter.grad.copy_(total.view(parameter.shape))
            elif total.any():
                parameter.grad = total.view(parameter.shape).clone()
        return added[0]


def add_up(values: Tensor) -> Tensor:
    """The sum over all processes, of which there must be several, in place."""
    with _waiting():
        distributed.all_reduce(values)
    return values


def _tried(work: Callable[[], Any]) -> tuple[list[Any], Exception | None]:
    """Result and message of the error, one of which is None, and the error."""
    try:
        return [work(), None], None
    except Exception as error:
        return [None, str(error) or type(error).__name__], error


def _raise_any(own: Exception | None, message: str | None) -> None:
    """Raise the error of this process, or else for the message of another's."""
    if own is not None:
        raise own
    if message is not None:
        raise ReportedElsewhereError(message)


@contextmanager
def _waiting() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # as all of torch.distributed: a connection was closed
        raise ReportedElsewhereError("another process of this training has ended; see its message") from error
