"""`gfnet-dynn evaluate`."""

from __future__ import annotations

import shlex

from gfnet_dynn.cli.streams import print_error
from gfnet_dynn.evaluation.request import EvaluationRequest


def evaluate(request: EvaluationRequest) -> None:
    """Accuracy with 95% intervals, exits, cost and classes of a run, or of a bundle on your own images.

    A run is evaluated on the images that its training held out; a bundle on a folder that has a folder of images for
    each class, without torch.
    """
    from gfnet_dynn.cli.progress import ProgressBars
    from gfnet_dynn.cli.terminal import Terminal
    from gfnet_dynn.workflows.evaluation import evaluate as run

    console, subject = Terminal(), shlex.quote(str(request.subject))
    result = run(request, on_progress=ProgressBars(console))
    calibrate = f"calibrate {subject} FOLDER --risk harmful-exits --risk-limit 2%"
    following = calibrate if request.is_bundle else f"export {subject} -o scene.gfd"
    console.show(result, files=result.files, following=[following])
    for error in result.unreadable:
        print_error(error)
    if result.unreadable:
        raise SystemExit(2)
