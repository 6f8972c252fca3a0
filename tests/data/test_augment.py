from __future__ import annotations

import itertools
import sys
from typing import get_args

import pytest
import torch
from torch import Tensor

from gfnet_dynn.data.request import Augmentation
from gfnet_dynn.data.scenes import Normalise, TrainingTransform, random_symmetry
from gfnet_dynn.errors import MissingExtraError
from gfnet_dynn.spec.network import InputSpec

SIZE = 16
SPEC = InputSpec(SIZE)


def pictures(count: int = 6, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def symmetries(image: Tensor) -> list[Tensor]:
    """The four turns of an image [C, S, S] and of its mirror image."""
    return [torch.rot90(side, turns, (1, 2)) for side in (image, image.flip(2)) for turns in range(4)]


def test_normalisation_by_hand() -> None:
    images = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    normalised = Normalise(InputSpec(1, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 2.0)))(images)
    assert normalised.dtype == torch.float32
    assert normalised.flatten().tolist() == pytest.approx([-1.0, (128 / 255 - 0.25) / 0.25, 0.5])


def test_the_usual_statistics_are_imagenets() -> None:
    white = Normalise(SPEC)(torch.full((1, 3, SIZE, SIZE), 255, dtype=torch.uint8))
    assert white[0, :, 0, 0].tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)


def test_all_eight_symmetries_occur_alike_and_only_move_pixels() -> None:
    image = torch.arange(3 * 25).view(3, 5, 5)
    candidates = symmetries(image)
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(candidates, 2))
    torch.manual_seed(0)
    counts = [0] * 8
    for drawn in random_symmetry(image.expand(4000, -1, -1, -1)):
        matching = [index for index, candidate in enumerate(candidates) if torch.equal(drawn, candidate)]
        assert len(matching) == 1
        counts[matching[0]] += 1
    assert min(counts) > 400  # 500 expected; 400 is almost five standard deviations below
    assert max(counts) < 600


def test_the_images_of_a_batch_are_turned_independently() -> None:
    torch.manual_seed(1)
    image = torch.arange(3 * 16).view(1, 3, 4, 4)
    turned = random_symmetry(image.expand(32, -1, -1, -1))
    assert len({tuple(one.flatten().tolist()) for one in turned}) > 3


@pytest.mark.parametrize("policy", get_args(Augmentation))
def test_every_policy_gives_finite_images_of_the_same_shape(policy: Augmentation) -> None:
    torch.manual_seed(0)
    images = TrainingTransform(SPEC, policy)(pictures())
    assert images.shape == (6, 3, SIZE, SIZE)
    assert images.dtype == torch.float32
    assert torch.isfinite(images).all()


@pytest.mark.parametrize("policy", get_args(Augmentation))
def test_augmented_images_stay_within_black_and_white(policy: Augmentation) -> None:
    transform, normalise = TrainingTransform(SPEC, policy), Normalise(SPEC)
    black, white = (normalise(torch.full((1, 3, 1, 1), value, dtype=torch.uint8)) for value in (0, 255))
    extremes = torch.where(torch.rand(8, 3, SIZE, SIZE) < 0.5, 0, 255).to(torch.uint8)
    torch.manual_seed(0)
    for _ in range(5):
        images = transform(extremes)
        assert torch.all(images >= black - 1e-6)
        assert torch.all(images <= white + 1e-6)


@pytest.mark.parametrize("policy", get_args(Augmentation))
def test_the_seed_decides(policy: Augmentation) -> None:
    transform = TrainingTransform(SPEC, policy)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(transform(pictures()))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[1], drawn[2]) == (policy == "none")


def test_no_augmentation_is_normalisation_alone() -> None:
    assert torch.equal(TrainingTransform(SPEC, "none")(pictures()), Normalise(SPEC)(pictures()))


def test_overhead_changes_the_images_and_leaves_their_source() -> None:
    torch.manual_seed(0)
    source = pictures()
    images = TrainingTransform(SPEC, "overhead")(source)
    assert torch.equal(source, pictures())
    plain = Normalise(SPEC)(source)
    assert all(not torch.allclose(one, other) for one, other in zip(images, plain, strict=True))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gfnet-dynn\[train\]'"):
        TrainingTransform(SPEC, "overhead")
    assert TrainingTransform(SPEC, "none")(pictures()).shape == (6, 3, SIZE, SIZE)
