"""`gfnet-dynn monitor`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from gfnet_dynn.calibration.request import MonitorRequest
from gfnet_dynn.cli.render.terminal import Terminal
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError
from gfnet_dynn.options import option
from gfnet_dynn.system.storage import json_line


@dataclass(frozen=True)
class Output:
    """Output."""

    json: bool = option(False, "Print one line of JSON instead of tables.")


@dataclass(frozen=True)
class MonitorOptions:
    """Options."""

    request: MonitorRequest
    output: Output


REQUEST = MonitorOptions


def monitor(options: MonitorOptions) -> None:
    """Test whether new images, without labels, still have the distribution of the calibration images.

    Exits, confidences and predicted classes are compared. The exit status is 1 where a shift is detected; else 2 where
    some images could not be read, which are named and omitted; else 0.
    """
    from gfnet_dynn.cli.render.tables import print_next, print_tables
    from gfnet_dynn.workflows.monitoring import monitor as run

    def name(error: DataError) -> None:
        sys.stderr.write(f"error: {printable(error)}\n")

    def note(message: str) -> None:
        sys.stderr.write(f"{printable(message)}\n")

    result = run(options.request, on_unreadable=name, log=note)
    shift = result.comparison.shift_detected
    if options.output.json:
        sys.stdout.write(json_line(result.to_dict()) + "\n")
    else:
        console = Terminal(highlight=False)
        print_tables(result, console)
        if shift:
            print_next(
                console, f"calibrate {options.request.bundle} LABELLED_IMAGES --risk harmful-exits --risk-limit 2%"
            )
    if shift or result.unreadable:
        raise SystemExit(1 if shift else 2)
