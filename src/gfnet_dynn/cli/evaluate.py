"""`gfnet-dynn evaluate`: judge a trained network over a range of thresholds."""

from __future__ import annotations

from dataclasses import dataclass

from gfnet_dynn.cli.options import DataOptions, EvaluationOptions, NetOptions, option, with_options
from gfnet_dynn.cli.terminal import Terminal
from gfnet_dynn.errors import CheckpointError
from gfnet_dynn.workflows.extras import require_torch


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """With what."""

    device: str = option("auto", "auto, cpu, cuda or mps.")
    threads: int | None = option(None, "Processor threads. (default: torch's choice)")


@with_options(DataOptions, NetOptions, EvaluationOptions, PlaceOptions)
def evaluate(data: DataOptions, net: NetOptions, options: EvaluationOptions, place: PlaceOptions) -> None:
    """Accuracy, exits, cost and measured latency over a range of thresholds: a table, JSON and plots."""
    require_torch("evaluation")
    from gfnet_dynn.workflows.evaluation import run_evaluation  # noqa: PLC0415 # imports torch
    from gfnet_dynn.workflows.training import set_threads  # noqa: PLC0415

    if net.checkpoint_path is None:
        raise CheckpointError("which network? Give --checkpoint-path")
    set_threads(place.threads)
    run_evaluation(data, net, options, net.checkpoint_path, place.device, Terminal())
