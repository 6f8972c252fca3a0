"""How a built-in model takes images of another kind: its answer "unknown", and how well familiarity tells them apart.

    python experiments/unknown_images.py UCM_VAL EUROSAT_VAL NWPU12_VAL [--write unknown_images]

For each model its own val images are the known ones; the other two folders and noise are not. `unknown` is the share
that the policy fast calls unknown. `auroc` compares familiarity above the threshold of the exit taken, known against
others. `accepted_at_95` is the share of the others that is accepted where 95% of the known ones are. NWPU12 shares
classes with UCM, so there "unknown" is not always right. Prints JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def margins(classifier: Classifier, images: Images) -> Floats:
    """Familiarity less the threshold of the exit taken, below 0 where the image is unknown, [N]."""
    policy = classifier.policy(POLICY)
    assert policy.unknown_rule is not None
    thresholds = np.array(policy.unknown_rule.thresholds)
    found = []
    for start in range(0, len(images), BATCH):
        decided = classifier.net.decide(images[start : start + BATCH], policy)
        found.append(familiarity(decided.logits) - thresholds[decided.exits])
    return np.concatenate(found)


def auroc(known: Floats, others: Floats) -> float:
    """Probability that a known image has the larger margin, ties counted half."""
    ordered = np.sort(others)
    below, up_to = (np.searchsorted(ordered, known, side=side) for side in ("left", "right"))
    return float((below + up_to).mean() / (2 * len(others)))


def main() -> None:
    """Compare both models."""
    given = arguments("ucm", "eurosat", "nwpu12")
    folders = {"UCM": given.ucm, "EuroSAT": given.eurosat, "NWPU12": given.nwpu12}
    models: dict[str, Any] = {}
    for name, own in OWN.items():
        classifier = load(name, threads=1)
        found = {kind: margins(classifier, read(classifier, folder)) for kind, folder in folders.items()}
        found["noise"] = margins(classifier, noise(classifier.manifest.input.size))
        known, kept = found[own], np.quantile(found[own], 0.05)
        models[name] = {
            kind: {
                "images": len(each),
                "unknown": float((each < 0).mean()),
                **(
                    {} if kind == own else {"auroc": auroc(known, each), "accepted_at_95": float((each >= kept).mean())}
                ),
            }
            for kind, each in found.items()
        }
    command = "python experiments/unknown_images.py UCM_VAL EUROSAT_VAL NWPU12_VAL --write unknown_images"
    write_figures({"command": command, "seed": SEED, "models": models}, given.write)


if __name__ == "__main__":
    main()
