"""`gfnet-dynn export`."""

from __future__ import annotations

import shlex

from gfnet_dynn.errors import require_extra
from gfnet_dynn.export.request import ExportRequest


def export(request: ExportRequest) -> None:
    """Write a trained network as one file that classifies without torch.

    The outputs of every exit are compared with torch's on the selection split; differences are refused.
    """
    require_extra("export", "train,export")
    from gfnet_dynn.cli.progress import ProgressBars
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.exporting import export as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console), log=console.print_line)
    bundle, files = shlex.quote(str(result.bundle)), filter(None, (result.bundle, result.single_graph))
    steps = [f"classify {bundle} IMAGES", f"calibrate {bundle} FOLDER --risk harmful-exits --risk-limit 2%"]
    console.show(result, files=files, following=steps)
