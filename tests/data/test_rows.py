"""Processes that share a batch: each image once, and each as one process would see it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gfnet_dynn.data.request import Augmentation
from gfnet_dynn.data.rows import Rows, rows_of
from gfnet_dynn.data.scenes import ImageLoader, SceneData, TrainingTransform, cut_into_batches
from gfnet_dynn.model.backbone import DropPath
from gfnet_dynn.spec.network import InputSpec
from tests.train.conftest import tiny_data


@pytest.mark.parametrize("processes", [1, 2, 3, 8])
def test_each_row_has_one_process(processes: int) -> None:
    for total in range(1, 20):
        parts = [rows_of(rank, processes, total) for rank in range(processes)]
        own = [row for rows in parts for row in range(rows.start, rows.start + rows.count)]
        assert own == list(range(total))
        assert max(rows.count for rows in parts) - min(rows.count for rows in parts) <= 1
        assert sum(rows.share for rows in parts) == pytest.approx(1)
        assert all(len(range(total)[rows.span]) == max(1, rows.count) for rows in parts)


@pytest.fixture(scope="module")
def data(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> SceneData:
    return tiny_data(scenes, tmp_path_factory.mktemp("splits"))


@pytest.mark.parametrize("processes", [2, 3])
def test_the_processes_have_the_batches_of_one(data: SceneData, processes: int) -> None:
    loader = data.training_loader("none")
    order = list(range(len(loader)))[::-1][:23]
    cpu = torch.device("cpu")

    def parts(loader: ImageLoader, first: int) -> list[list[torch.Tensor]]:
        """For each process its images in each batch from `first` on."""
        found = []
        for rank in range(processes):
            batches = loader.batches(order, 5, cpu, first, (rank, processes))
            found.append([batch.images[: batch.rows.count] for batch in batches])
        return found

    for first in (0, 2):
        torch.manual_seed(0)
        wholes = [batch.images for batch in loader.batches(order, 5, cpu, first)]
        shared = [torch.cat(each) for each in zip(*parts(loader, first), strict=True)]
        assert len(wholes) == len(cut_into_batches(order, 5)) - first
        assert all(torch.equal(whole, each) for whole, each in zip(wholes, shared, strict=True))


@pytest.mark.parametrize("policy", ["none", "overhead", "randaugment"])
@pytest.mark.parametrize("total", [4, 7])  # 4: as many as ColorJitter has steps, whose order is drawn once
def test_an_image_looks_the_same_however_many_processes_share_the_batch(policy: Augmentation, total: int) -> None:
    transform = TrainingTransform(InputSpec(24), policy)
    images = torch.randint(0, 256, (total, 3, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    for seed in range(25):
        torch.manual_seed(seed)
        whole = transform(images)
        following = torch.rand(1)
        for rows in (rows_of(0, 3, total), rows_of(2, 3, total), Rows(total - 1, 0, total)):
            torch.manual_seed(seed)
            torch.testing.assert_close(transform.of_rows(images[rows.span], rows), whole[rows.span])
            assert torch.equal(torch.rand(1), following), "the draws that follow differ"


def test_stochastic_depth_drops_the_same_samples() -> None:
    drop, branch = DropPath(0.5).train(), torch.ones(8, 2)
    torch.manual_seed(0)
    whole = drop(branch)
    drop.rows = (5, 8)
    torch.manual_seed(0)
    assert torch.equal(drop(branch[5:7]), whole[5:7])
