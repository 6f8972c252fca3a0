"""`gfnet-dynn evaluate`."""

from __future__ import annotations

import shlex
import sys

from gfnet_dynn.cli.render.terminal import Terminal
from gfnet_dynn.display import printable
from gfnet_dynn.evaluation.request import EvaluationRequest

REQUEST = EvaluationRequest


def evaluate(request: EvaluationRequest) -> None:
    """Accuracy with 95% intervals, exits, cost and classes of a run, or of a bundle on your own images.

    A run is evaluated on the images that its training held out; a bundle on a folder that has a folder of images for
    each class, without torch.
    """
    from gfnet_dynn.cli.render.progress import ProgressBars
    from gfnet_dynn.cli.render.tables import print_files, print_next, print_tables
    from gfnet_dynn.workflows.evaluation import evaluate as run

    console = Terminal()
    result = run(request, on_progress=ProgressBars(console))
    print_tables(result, console)
    subject = shlex.quote(str(request.subject))
    following = (
        f"calibrate {subject} FOLDER --risk harmful-exits --risk-limit 2%"
        if request.is_bundle
        else f"export {subject} -o scene.gfd"
    )
    print_files(result.files, console)
    print_next(console, following)
    for error in result.unreadable:
        sys.stderr.write(f"error: {printable(error)}\n")
    if result.unreadable:
        raise SystemExit(2)
