"""Changing the manifest of a bundle that others change too."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.bundle.archive import read_bundle, update_bundle
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.errors import BundleError
from tests import bundles

ROUNDS = 12

_ADDING = """
import sys, time
from dataclasses import replace
from pathlib import Path
from gfnet_dynn.bundle.archive import update_bundle

path, name = Path(sys.argv[1]), sys.argv[2]
for line in sys.stdin:
    def add(manifest):
        time.sleep(0.05)  # as long as a slow disk takes
        return replace(manifest, policies=(replace(manifest.policies[0], name=name + line.strip()), *manifest.policies))
    update_bundle(path, add)
    print("added", flush=True)
"""


def test_two_processes_lose_no_policy(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.gfd")
    command = [sys.executable, "-c", _ADDING, str(path)]
    pair = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for number in range(ROUNDS):
        for process in pair:
            assert process.stdin is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        for process in pair:
            assert process.stdout is not None
            assert process.stdout.readline() == "added\n"
    for process in pair:
        process.communicate()
    found = read_bundle(path)
    found.verify()
    expected = {f"{name}{number}" for name in "ab" for number in range(ROUNDS)}
    assert {each.name for each in found.manifest.policies} == expected | {each.name for each in bundles.POLICIES}
    assert list(tmp_path.iterdir()) == [path]


def renamed(manifest: Manifest) -> Manifest:
    return replace(manifest, model="renamed")


def test_the_result_may_go_elsewhere_and_the_graphs_stay(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.gfd")
    before = path.read_bytes()
    assert update_bundle(path, renamed, tmp_path / "other.gfd") == tmp_path / "other.gfd"
    assert path.read_bytes() == before
    found = read_bundle(tmp_path / "other.gfd")
    found.verify()
    assert found.manifest == replace(bundles.manifest(), model="renamed")


def test_a_change_that_fails_leaves_the_bundle(tmp_path: Path) -> None:
    path = bundles.write_tiny(tmp_path / "tiny.gfd")
    before = path.read_bytes()

    def refuse(manifest: Manifest) -> Manifest:
        raise BundleError("another network")

    with pytest.raises(BundleError, match="another network"):
        update_bundle(path, refuse)
    assert path.read_bytes() == before
    update_bundle(path, renamed)  # and it is not locked any more


def test_what_is_no_bundle_is_refused_before_it_is_locked(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.gfd")
    for name in ("absent.gfd", "fifo.gfd"):
        with pytest.raises(BundleError, match=name):
            update_bundle(tmp_path / name, renamed)
