"""The Python API: each function takes a frozen request and returns a typed result.

>>> from gfnet_dynn.workflows import ClassifyRequest, classify
>>> result = classify(ClassifyRequest(bundle=Path("scene.gfd"), images=(Path("photos"),)))

Nothing is imported before it is used: no function needs torch but `train`, `export`, and those given a run.
"""

# ruff: noqa: F401 # type checkers and editors read the imports below; a test holds them to the table
from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gfnet_dynn.data.catalogue.download import DataDownloadResult, download_dataset
    from gfnet_dynn.data.catalogue.request import DataCheckRequest, DataDownloadRequest, DataListRequest
    from gfnet_dynn.data.checks.report import DataCheckResult
    from gfnet_dynn.runtime.prediction import Prediction
    from gfnet_dynn.runtime.request import ClassifyRequest
    from gfnet_dynn.workflows.classification import ClassifyResult, classify, iter_classify
    from gfnet_dynn.workflows.datasets import DataListResult, check_dataset, list_datasets

_MODULES: Mapping[str, tuple[str, ...]] = {  # below gfnet_dynn: its public names
    "data.catalogue.download": ("DataDownloadResult", "download_dataset"),
    "data.catalogue.request": ("DataCheckRequest", "DataDownloadRequest", "DataListRequest"),
    "data.checks.report": ("DataCheckResult",),
    "runtime.prediction": ("Prediction",),
    "runtime.request": ("ClassifyRequest",),
    "workflows.classification": ("ClassifyResult", "classify", "iter_classify"),
    "workflows.datasets": ("DataListResult", "check_dataset", "list_datasets"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__: list[str] = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gfnet_dynn.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
