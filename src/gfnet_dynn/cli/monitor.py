"""`gfnet-dynn monitor`."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from gfnet_dynn.calibration.request import MonitorRequest
from gfnet_dynn.cli.streams import print_error, print_note
from gfnet_dynn.options import option
from gfnet_dynn.system.storage import json_line


@dataclass(frozen=True, kw_only=True)
class MonitorOptions(MonitorRequest):
    """Options."""

    json: bool = option(False, "Print one line of JSON instead of tables.", panel="Output")


def monitor(options: MonitorOptions) -> None:
    """Test whether new images, without labels, still have the distribution of the calibration images.

    Exits, confidences and predicted classes are compared. The exit status is 1 where a shift is detected; else 2 where
    some images could not be read, which are named and omitted; else 0.
    """
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.monitoring import monitor as run

    result = run(options, on_unreadable=print_error, log=print_note)
    shift = result.comparison.shift_detected
    if options.json:
        sys.stdout.write(json_line(result.to_dict()) + "\n")
    else:
        again = f"calibrate {options.bundle} LABELLED_IMAGES --risk harmful-exits --risk-limit 2%"
        Terminal().show(result, following=[again] if shift else [])
    if shift or result.unreadable:
        raise SystemExit(1 if shift else 2)
