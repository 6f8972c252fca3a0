"""The OpenAPI document, and whether the service does what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from tests.service.running import Running, running, tiny  # of the same extra

EXAMPLES = "40"  # of each operation
NO_SCHEMA_SAYS = "positive_data_acceptance"  # which bytes are an image, or which names are known


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    has_maps = find_spec("rasterio") is not None
    with running(bundles=[str(tiny(tmp_path_factory.mktemp("bundle")))], maps=has_maps) as found:
        yield found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        for each in node.values():
            yield from references(each)
    elif isinstance(node, list):
        for each in node:
            yield from references(each)


def test_the_document_is_whole(service: Running) -> None:
    document = service.client.get("/openapi.json").json()
    found = set(references(document))
    assert found == {each for each in found if each.split("/")[-1] in document["components"]["schemas"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and status != "416":  # a part of a file: answered by the file server
                    assert "application/problem+json" in answer["content"], (method, path, status)
    ways = document["paths"]["/classify"]["post"]["requestBody"]["content"]
    assert {"image/jpeg", "multipart/form-data"} <= set(ways)


@pytest.mark.slow
def test_requests_made_from_the_document_are_answered_as_it_says(service: Running, tmp_path: Path) -> None:
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("schemathesis is not installed")
    line = [program, "run", f"{service.address}/openapi.json", "--checks", "all", "--exclude-checks", NO_SCHEMA_SAYS]
    line += ["--max-examples", EXAMPLES, "--seed", "1", "--no-color", "--phases", "examples,coverage,fuzzing"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:]
    operations = len([one for each in service.client.get("/openapi.json").json()["paths"].values() for one in each])
    assert f"Tested: {operations}" in done.stdout
    assert service.client.get("/v2/health/ready").status_code == 200
