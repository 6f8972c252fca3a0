"""`gfnet-dynn bundle info`, `remove-policy` and `set-default`."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.cli.terminal import print_tables
from gfnet_dynn.workflows.bundles import info
from tests import bundles
from tests.cli.conftest import Run

POLICIES = ("gates", "plain", "full")


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundles.write_tiny(Path("tiny.gfd"))


def manifest() -> Manifest:
    bundle = read_bundle(Path("tiny.gfd"))
    bundle.verify()
    return bundle.manifest


def names() -> tuple[str, ...]:
    return tuple(each.name for each in manifest().policies)


def test_info_shows_what_the_bundle_holds(run: Run) -> None:
    policies = (bundles.CALIBRATED, *bundles.POLICIES)
    bundles.write_tiny(Path("tiny.gfd"), policies=policies, provenance={"recipe": "lite0", "split": {"seed": 1}})
    outcome = run("gfnet-dynn", "bundle", "info", "tiny.gfd")
    assert (outcome.status, outcome.err) == (0, "")
    for fact in ("tiny.gfd", "3: field, river, town", f"{bundles.SIDE} × {bundles.SIDE} px", "lite0"):
        assert fact in outcome.out
    assert "exit 1 0 0.0001 25%" in outcome.out
    assert "final 2 0.0004 100%" in outcome.out
    for precision in ("fp32", "int8"):
        files = read_bundle(Path("tiny.gfd")).manifest.files
        size = sum(file.bytes for name, file in files.items() if name.startswith(precision))
        assert f"{precision} 3 {size / 1e6:.3g}" in outcome.out
    assert "calibrated default neighbours – harmful exits at most 1%" in outcome.out
    assert "next: gfnet-dynn classify tiny.gfd" in outcome.out


@pytest.mark.parametrize(
    ("precisions", "shown"), [(["fp32", "int8"], "fp32, int8"), (["fp32"], "fp32"), ("fp32", "–"), (5, "–")]
)
def test_info_shows_the_precisions_that_a_policy_covers(run: Run, precisions: object, shown: str) -> None:
    guarantee = {"statement": "error at most 1%", "precisions": precisions}
    policy = replace(bundles.CALIBRATED, guarantee=guarantee)
    bundles.write_tiny(Path("tiny.gfd"), policies=(policy, *bundles.POLICIES))
    outcome = run("gfnet-dynn", "bundle", "info", "tiny.gfd")
    assert f"calibrated default neighbours {shown} error at most 1%" in outcome.out


def test_info_fits_80_columns() -> None:
    classes = tuple(f"class with a long name {index}" for index in range(100))
    guarantee = {"statement": "harmful exits at most 1% with 95% confidence, and more words than a line can hold " * 2}
    reference = replace(bundles.CALIBRATED.references["fp32"], classes=(100, *(0,) * 99))
    policy = replace(bundles.CALIBRATED, guarantee=guarantee, references={"fp32": reference})
    bundles.write_tiny(Path("tiny.gfd"), classes=classes, policies=(policy, *bundles.POLICIES))
    out = io.StringIO()
    print_tables(info(Path("tiny.gfd")), Console(file=out, width=80))
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "100: class with a long name 0" in " ".join(out.getvalue().split())
    assert "and 88 more" in " ".join(out.getvalue().split())


@pytest.mark.parametrize(("name", "order"), [("gates", POLICIES), ("full", ("full", "gates", "plain"))])
def test_the_default_is_the_policy_that_was_named(run: Run, name: str, order: tuple[str, ...]) -> None:
    before = manifest()
    outcome = run("gfnet-dynn", "bundle", "set-default", "tiny.gfd", name)
    assert (outcome.status, outcome.err) == (0, "")
    assert names() == order
    assert manifest().policy().name == name
    assert manifest().files == before.files
    assert sorted(names()) == sorted(POLICIES)


def test_a_removed_policy_is_gone_and_nothing_else(run: Run) -> None:
    before = manifest()
    assert run("gfnet-dynn", "bundle", "remove-policy", "tiny.gfd", "gates").status == 0
    assert manifest() == replace(before, policies=before.policies[1:])


def test_a_stac_item_names_the_bundle_from_where_it_lies(run: Run) -> None:
    printed = run("gfnet-dynn", "bundle", "stac", "tiny.gfd")
    written = run("gfnet-dynn", "bundle", "stac", "tiny.gfd", "-o", "items/tiny.json")
    assert (printed.status, written.status) == (0, 0)
    items = json.loads(printed.out), json.loads(Path("items/tiny.json").read_text(encoding="utf-8"))
    assert [each["assets"]["model"].pop("href") for each in items] == ["tiny.gfd", "../tiny.gfd"]
    assert items[0] == items[1]
    assert "items/tiny.json" in written.out


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("stac", "absent.gfd"), ("absent.gfd",)),
        (("set-default", "tiny.gfd", "fast"), ("'fast'", "gates, plain, full")),
        (("remove-policy", "tiny.gfd", "fast"), ("'fast'", "gates, plain, full")),
        (("remove-policy", "tiny.gfd", "full"), ("'full'", "tiny.gfd")),
        (("info", "absent.gfd"), ("absent.gfd",)),
        (("set-default", "text.gfd", "full"), ("text.gfd",)),
        (("remove-policy", "absent.gfd", "full"), ("absent.gfd",)),
        (("set-default", "tiny.gfd"), ("NAME",)),
    ],
    ids=" ".join,
)
def test_what_cannot_be_done_is_refused_and_nothing_changes(
    run: Run, arguments: tuple[str, ...], facts: tuple[str, ...]
) -> None:
    Path("text.gfd").write_text("no bundle", encoding="utf-8")
    before = Path("tiny.gfd").read_bytes()
    outcome = run("gfnet-dynn", "bundle", *arguments)
    assert outcome.status == 2
    assert all(fact.casefold() in outcome.err.casefold() for fact in facts)
    assert "Traceback" not in outcome.err
    assert Path("tiny.gfd").read_bytes() == before
