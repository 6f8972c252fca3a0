"""The Python API: each function takes a frozen request and returns a typed result.

>>> from gfnet_dynn.workflows import ClassifyRequest, classify
>>> result = classify(ClassifyRequest(bundle="scene.gfd", images=["photos"]))

`on_progress` is called with what is being done, the number of items done and that of all; `log` with lines for the
user. What is in a bundle is read and changed by the functions of `gfnet_dynn.workflows.bundles`.

Nothing is imported before it is used, and nothing but training, export and the evaluation of runs needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; a test compares it with the table
    from gfnet_dynn.archive.request import ArchiveRequest
    from gfnet_dynn.archive.result import ArchiveResult
    from gfnet_dynn.benchmark.request import BenchmarkRequest
    from gfnet_dynn.benchmark.result import BenchmarkResult
    from gfnet_dynn.bulk.request import ClassifyFilesRequest
    from gfnet_dynn.bulk.result import ClassifyFilesResult
    from gfnet_dynn.bundle.request import PullRequest, PushRequest
    from gfnet_dynn.calibration.request import CalibrationRequest, MonitorRequest
    from gfnet_dynn.calibration.result import CalibrationResult
    from gfnet_dynn.data.catalogue.download import DataDownloadResult, download_dataset
    from gfnet_dynn.data.check import DataCheckResult
    from gfnet_dynn.data.request import DataCheckRequest, DataDownloadRequest, DataListRequest
    from gfnet_dynn.evaluation.comparison_report import ReportResult
    from gfnet_dynn.evaluation.request import EvaluationRequest, ReportRequest
    from gfnet_dynn.evaluation.result import EvaluationResult
    from gfnet_dynn.export.request import ExportRequest
    from gfnet_dynn.geo.request import MapRequest
    from gfnet_dynn.geo.result import MapResult
    from gfnet_dynn.runtime.prediction import Prediction
    from gfnet_dynn.runtime.request import ClassifyRequest
    from gfnet_dynn.service.request import ServeRequest
    from gfnet_dynn.train.recipes import recipe_request
    from gfnet_dynn.train.request import TrainRequest
    from gfnet_dynn.watch.request import WatchRequest
    from gfnet_dynn.watch.result import WatchResult
    from gfnet_dynn.workflows.archiving import archive
    from gfnet_dynn.workflows.benchmarking import benchmark
    from gfnet_dynn.workflows.builtin_models import ModelsResult, models
    from gfnet_dynn.workflows.calibration import calibrate
    from gfnet_dynn.workflows.classification import ClassifyResult, classify, iter_classify
    from gfnet_dynn.workflows.costing import CostRequest, CostResult, cost
    from gfnet_dynn.workflows.datasets import DataListResult, check_dataset, list_datasets
    from gfnet_dynn.workflows.evaluation import evaluate, report
    from gfnet_dynn.workflows.exporting import ExportResult, export
    from gfnet_dynn.workflows.file_classification import classify_files
    from gfnet_dynn.workflows.mapping import map_scene
    from gfnet_dynn.workflows.monitoring import MonitorResult, monitor
    from gfnet_dynn.workflows.serving import serve
    from gfnet_dynn.workflows.sharing import PullResult, PushResult, pull, push
    from gfnet_dynn.workflows.training import TrainResult, train
    from gfnet_dynn.workflows.watching import watch

__all__ = ["DataListRequest", "DataListResult", "list_datasets"]
__all__ += ["DataDownloadRequest", "DataDownloadResult", "download_dataset"]
__all__ += ["DataCheckRequest", "DataCheckResult", "check_dataset"]
__all__ += ["TrainRequest", "TrainResult", "recipe_request", "train"]
__all__ += ["EvaluationRequest", "EvaluationResult", "evaluate"]
__all__ += ["ReportRequest", "ReportResult", "report"]
__all__ += ["ExportRequest", "ExportResult", "export"]
__all__ += ["ModelsResult", "models"]
__all__ += ["ClassifyRequest", "ClassifyResult", "Prediction", "classify", "iter_classify"]
__all__ += ["ClassifyFilesRequest", "ClassifyFilesResult", "classify_files"]
__all__ += ["ArchiveRequest", "ArchiveResult", "archive"]
__all__ += ["MapRequest", "MapResult", "map_scene"]
__all__ += ["ServeRequest", "serve"]
__all__ += ["WatchRequest", "WatchResult", "watch"]
__all__ += ["CalibrationRequest", "CalibrationResult", "calibrate"]
__all__ += ["MonitorRequest", "MonitorResult", "monitor"]
__all__ += ["PullRequest", "PullResult", "PushRequest", "PushResult", "pull", "push"]
__all__ += ["CostRequest", "CostResult", "cost"]
__all__ += ["BenchmarkRequest", "BenchmarkResult", "benchmark"]

_MODULES: Mapping[str, tuple[str, ...]] = {  # below gfnet_dynn: its public names
    "archive.request": ("ArchiveRequest",),
    "archive.result": ("ArchiveResult",),
    "benchmark.request": ("BenchmarkRequest",),
    "benchmark.result": ("BenchmarkResult",),
    "bulk.request": ("ClassifyFilesRequest",),
    "bulk.result": ("ClassifyFilesResult",),
    "bundle.request": ("PullRequest", "PushRequest"),
    "calibration.request": ("CalibrationRequest", "MonitorRequest"),
    "calibration.result": ("CalibrationResult",),
    "data.catalogue.download": ("DataDownloadResult", "download_dataset"),
    "data.request": ("DataCheckRequest", "DataDownloadRequest", "DataListRequest"),
    "data.check": ("DataCheckResult",),
    "evaluation.comparison_report": ("ReportResult",),
    "evaluation.request": ("EvaluationRequest", "ReportRequest"),
    "evaluation.result": ("EvaluationResult",),
    "export.request": ("ExportRequest",),
    "geo.request": ("MapRequest",),
    "geo.result": ("MapResult",),
    "runtime.prediction": ("Prediction",),
    "runtime.request": ("ClassifyRequest",),
    "service.request": ("ServeRequest",),
    "train.recipes": ("recipe_request",),
    "train.request": ("TrainRequest",),
    "watch.request": ("WatchRequest",),
    "watch.result": ("WatchResult",),
    "workflows.archiving": ("archive",),
    "workflows.benchmarking": ("benchmark",),
    "workflows.builtin_models": ("ModelsResult", "models"),
    "workflows.calibration": ("calibrate",),
    "workflows.classification": ("ClassifyResult", "classify", "iter_classify"),
    "workflows.costing": ("CostRequest", "CostResult", "cost"),
    "workflows.datasets": ("DataListResult", "check_dataset", "list_datasets"),
    "workflows.evaluation": ("evaluate", "report"),
    "workflows.exporting": ("ExportResult", "export"),
    "workflows.file_classification": ("classify_files",),
    "workflows.mapping": ("map_scene",),
    "workflows.monitoring": ("MonitorResult", "monitor"),
    "workflows.serving": ("serve",),
    "workflows.sharing": ("PullResult", "PushResult", "pull", "push"),
    "workflows.training": ("TrainResult", "train"),
    "workflows.watching": ("watch",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"gfnet_dynn.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
