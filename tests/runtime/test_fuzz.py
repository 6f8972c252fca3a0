"""Thousands of damaged bundles: the right answer or an error with a name, nothing else."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.runtime.engine import EngineOptions, make_engine
from gfnet_dynn.runtime.precision import compile_net
from tests import bundles
from tests.damage import damaged

EXAMPLES = settings(
    max_examples=2000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)  # a slow device is no fault
FEW = pytest.param(100, id="few")
MANY = pytest.param(1000, id="many", marks=pytest.mark.release)
DIRECTORY = 600  # bytes at the end of a tiny bundle that are the zip's directory
ENGINE = make_engine("onnxruntime", EngineOptions(threads=1))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


@pytest.mark.parametrize("count", [FEW, MANY])
def test_a_damaged_bundle_gives_the_same_answers_or_an_error(bundle: Path, count: int) -> None:
    images, policy = bundles.images(6), bundles.POLICIES[0]
    whole = {name: compile_net(read_bundle(bundle), name, ENGINE).decide(images, policy) for name in ("fp32", "int8")}
    ends: Counter[str] = Counter()

    @settings(EXAMPLES, max_examples=count)
    @given(content=damaged(bundle.read_bytes(), tail=DIRECTORY), precision=st.sampled_from(sorted(whole)))
    def read_damaged(content: bytes, precision: str) -> None:
        path = bundle.with_name("damaged.gfd")
        path.write_bytes(content)
        try:
            net = compile_net(read_bundle(path), precision, ENGINE)
            answers = net.decide(images, net.manifest.policy("gates"))
        except GFNetDynnError as error:
            assert str(path) in str(error)
            ends["error"] += 1
        else:
            np.testing.assert_array_equal(answers.logits, whole[precision].logits)
            np.testing.assert_array_equal(answers.exits, whole[precision].exits)
            assert net.manifest == read_bundle(bundle).manifest
            ends["same"] += 1

    read_damaged()
    assert ends["error"] > count / 2, ends
    assert ends["same"] > count / 40, ends
