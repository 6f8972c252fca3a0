"""How a built-in model takes images of another kind: its answer "unknown", and how well its scores tell them apart.

    python experiments/unknown_images.py UCM_VAL EUROSAT_VAL NWPU12_VAL [--write unknown_images]

For each model its own val images are the known ones; the other two folders and noise are not. `unknown` is the share
that the policy fast calls unknown. Familiarity (above the threshold of the exit taken) and closeness to the training
images are compared by their ranks among the known images, and the lower rank counts: `auroc` by that, known against
others, and `accepted_at_95`, the share of the others that is accepted where 95% of the known ones are; the other two
`auroc_` are of one alone. NWPU12 shares classes with UCM, so there "unknown" is not always right. Prints JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from figures import arguments, write_figures

from gfnet_dynn.images.files import find_images
from gfnet_dynn.runtime import load
from gfnet_dynn.runtime.predictor import Classifier
from gfnet_dynn.uncertainty.conformal import familiarity

BATCH, NOISE, SEED = 64, 400, 0
POLICY = "fast"  # has a rule for unknown images in both models
OWN = {"aerial": "UCM", "sentinel2": "EuroSAT"}

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.uint8]


def noise(side: int) -> Images:
    """Uniform noise of the whole range, half of it the same in blocks of 8 px, [N, S, S, 3]."""
    generator = np.random.default_rng(SEED)
    fine = generator.integers(0, 256, (NOISE // 2, side, side, 3), dtype=np.uint8)
    blocks = generator.integers(0, 256, (NOISE // 2, -(-side // 8), -(-side // 8), 3), dtype=np.uint8)
    return np.concatenate([fine, blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :side, :side]])


def read(classifier: Classifier, folder: Path) -> Images:
    """All images below a folder as the network takes them, [N, S, S, 3]."""
    return np.stack([classifier.read(path) for path in find_images(folder).images])


class Scores(NamedTuple):
    """Of each image, [N]: larger is more like the training images."""

    unknown: npt.NDArray[np.bool_]
    familiarity: Floats
    closeness: Floats


def scores(classifier: Classifier, images: Images) -> Scores:
    """The answers of the policy, familiarity less the threshold of the exit taken, and the negative distance."""
    policy = classifier.policy(POLICY)
    rule = policy.unknown_rule
    assert rule is not None
    thresholds, found = np.array(rule.thresholds), []
    for start in range(0, len(images), BATCH):
        logits, exits, distances = classifier.net.decide(images[start : start + BATCH], policy)
        assert distances is not None
        margins = familiarity(logits) - thresholds[exits]
        found.append((rule.applies(logits, exits, distances), margins, -distances.astype(np.float64)))
    return Scores(*(np.concatenate(each) for each in zip(*found, strict=True)))


def lower_rank(found: Scores, known: Scores) -> Floats:
    """The lower of both ranks among the known images, 0 to 1, [N]."""
    ranks = [
        np.searchsorted(np.sort(getattr(known, name)), getattr(found, name), side="right") / len(known.unknown)
        for name in ("familiarity", "closeness")
    ]
    return np.asarray(np.minimum(*ranks))


def auroc(known: Floats, others: Floats) -> float:
    """Probability that a known image has the larger margin, ties counted half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, known, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(others)))


def figures(found: Scores, known: Scores, own: bool) -> dict[str, float]:
    """Of one kind of images."""
    shares = {"images": len(found.unknown), "unknown": float(found.unknown.mean())}
    if own:
        return shares
    ranks, own_ranks = lower_rank(found, known), lower_rank(known, known)
    return {
        **shares,
        "auroc": auroc(own_ranks, ranks),
        "accepted_at_95": float((ranks >= np.quantile(own_ranks, 0.05)).mean()),
        "auroc_familiarity": auroc(known.familiarity, found.familiarity),
        "auroc_distance": auroc(known.closeness, found.closeness),
    }


def main() -> None:
    """Compare both models."""
    given = arguments("ucm", "eurosat", "nwpu12")
    folders = {"UCM": given.ucm, "EuroSAT": given.eurosat, "NWPU12": given.nwpu12}
    models: dict[str, Any] = {}
    for name, own in OWN.items():
        classifier = load(name, threads=1)
        found = {kind: scores(classifier, read(classifier, folder)) for kind, folder in folders.items()}
        found["noise"] = scores(classifier, noise(classifier.manifest.input.size))
        models[name] = {kind: figures(each, found[own], kind == own) for kind, each in found.items()}
    command = "python experiments/unknown_images.py UCM_VAL EUROSAT_VAL NWPU12_VAL --write unknown_images"
    write_figures({"command": command, "seed": SEED, "models": models}, given.write)


if __name__ == "__main__":
    main()
