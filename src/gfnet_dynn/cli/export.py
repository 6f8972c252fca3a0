"""`gfnet-dynn export`."""

from __future__ import annotations

import shlex

from rich.text import Text

from gfnet_dynn.cli.render.terminal import Terminal
from gfnet_dynn.export.request import ExportRequest
from gfnet_dynn.workflows.extras import require_export

REQUEST = ExportRequest


def export(request: ExportRequest) -> None:
    """Write a trained network as one file that classifies without torch.

    The outputs of every exit are compared with torch's on the selection split; differences are refused.
    """
    require_export()
    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_files, print_next, print_tables
    from gfnet_dynn.workflows.exporting import export as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console), log=lambda line: console.print(Text(line), soft_wrap=True))
    print_tables(result, console)
    bundle = shlex.quote(str(result.bundle))
    print_files(filter(None, (result.bundle, result.single_graph)), console)
    print_next(console, f"classify {bundle} IMAGES", f"calibrate {bundle} FOLDER --risk harmful-exits --risk-limit 2%")
