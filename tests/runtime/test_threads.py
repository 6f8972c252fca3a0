"""One classifier, shared by many threads."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest

from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.engine import ENGINES
from tests import bundles

THREADS = 8


@pytest.mark.parametrize("images", [60, pytest.param(400, marks=pytest.mark.release)])
@pytest.mark.parametrize("policy", ["gates", "full"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_thread_gets_the_answers_of_its_own_images(tmp_path: Path, engine: str, policy: str, images: int) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    classifier = load(bundles.write_tiny(tmp_path / "tiny.gfd"), engine=engine, precision="fp32", threads=1)
    pictures = list(bundles.images(images))
    alone, wrong = classifier.classify(pictures, policy=policy), []

    def classify_all(seed: int) -> None:
        for index in np.random.default_rng(seed).permutation(images):
            found = classifier.classify(pictures[index], policy=policy)[0]
            if (found.label, found.exit) != (alone[index].label, alone[index].exit):
                wrong.append(index)

    threads = [threading.Thread(target=classify_all, args=(seed,)) for seed in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
