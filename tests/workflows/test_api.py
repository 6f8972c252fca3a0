"""The public Python API."""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from PIL import Image

from gfnet_dynn import workflows
from gfnet_dynn.reporting.table import Tabular
from tests import bundles
from tests.test_architecture import without_torch

NAMES = {
    *("DataListRequest", "DataListResult", "list_datasets"),
    *("DataDownloadRequest", "DataDownloadResult", "download_dataset"),
    *("DataCheckRequest", "DataCheckResult", "check_dataset"),
    *("TrainRequest", "TrainResult", "recipe_request", "train"),
    *("EvaluationRequest", "EvaluationResult", "evaluate"),
    *("ReportRequest", "ReportResult", "report"),
    *("ExportRequest", "ExportResult", "export"),
    *("ModelsResult", "models"),
    *("ClassifyRequest", "ClassifyResult", "Prediction", "classify", "iter_classify"),
    *("ClassifyFilesRequest", "ClassifyFilesResult", "classify_files"),
    *("ArchiveRequest", "ArchiveResult", "archive"),
    *("MapRequest", "MapResult", "map_scene"),
    *("ServeRequest", "serve"),
    *("WatchRequest", "WatchResult", "watch"),
    *("CalibrationRequest", "CalibrationResult", "calibrate"),
    *("MonitorRequest", "MonitorResult", "monitor"),
    *("PushRequest", "PushResult", "push", "PullRequest", "PullResult", "pull"),
    *("CostRequest", "CostResult", "cost"),
    *("BenchmarkRequest", "BenchmarkResult", "benchmark"),
}
NEED_TORCH = {"TrainResult", "train", "ExportResult", "export"}


def test_the_public_names_are_these() -> None:
    assert set(workflows.__all__) == set(dir(workflows)) == NAMES
    assert len(workflows.__all__) == len(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_is_there_and_of_its_kind(name: str) -> None:
    found = getattr(workflows, name)
    if name.endswith("Request"):
        assert is_dataclass(found)
        assert found.__hash__ is not None  # frozen
    elif name.endswith("Result"):
        assert issubclass(found, Tabular)
    elif name[0].islower() and name not in ("recipe_request", "models"):  # which makes one, and needs none
        first = next(iter(inspect.signature(found, eval_str=False).parameters))
        assert first == "request"


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="classfy"):
        workflows.classfy  # noqa: B018


def test_type_checkers_see_what_is_imported_lazily() -> None:
    tree = ast.parse(Path(workflows.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (f"{node.module}".removeprefix("gfnet_dynn."), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {(module, name) for module, names in workflows._MODULES.items() for name in names}


def test_importing_the_api_needs_neither_torch_nor_numpy() -> None:
    body = "sys.modules['numpy'] = None\nimport gfnet_dynn.workflows as api\nassert api.__all__\nassert dir(api)"
    result = without_torch(body)
    assert result.returncode == 0, result.stderr


def test_what_needs_no_torch_imports_without_it() -> None:
    names = sorted(NAMES - NEED_TORCH)
    result = without_torch(f"import gfnet_dynn.workflows as api\nfor name in {names!r}: getattr(api, name)")
    assert result.returncode == 0, result.stderr


@pytest.fixture
def request_of_three(tmp_path: Path) -> workflows.ClassifyRequest:
    for index, pixels in enumerate(bundles.images(3)):
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    bundle = bundles.write_tiny(tmp_path / "tiny.gfd")
    return workflows.ClassifyRequest(bundle=bundle, images=(tmp_path,), precision="fp32", threads=1)


def test_a_result_has_predictions_in_order_and_unreadable_files(request_of_three: workflows.ClassifyRequest) -> None:
    (request_of_three.images[0] / "1.png").write_bytes(b"no image")
    result = workflows.classify(request_of_three)
    assert [each.source and each.source.name for each in result.predictions] == ["0.png", "2.png"]
    assert "1.png" in str(result.unreadable[0])
    (table,) = result.tables()
    assert [len(row) for row in table.rows] == [len(table.headings)] * 2
    assert "1.png" in result.to_markdown()


def test_a_table_shows_sets_and_unknown_images_where_the_policy_has_them(
    request_of_three: workflows.ClassifyRequest,
) -> None:
    assert request_of_three.bundle is not None
    bundles.write_tiny(request_of_three.bundle, policies=(bundles.CALIBRATED, *bundles.POLICIES))
    (table,) = workflows.classify(request_of_three).tables()
    assert table.headings[-2:] == ("unknown", "prediction set")
    assert all(len(row) == len(table.headings) for row in table.rows)


def test_predictions_can_be_taken_one_by_one(request_of_three: workflows.ClassifyRequest) -> None:
    made = workflows.iter_classify(request_of_three)
    first = next(made)
    (request_of_three.images[0] / "2.png").write_bytes(b"no image")  # not read before it is its turn
    assert first.source is not None
    assert next(made)
    with pytest.raises(Exception, match=r"2\.png"):
        next(made)
