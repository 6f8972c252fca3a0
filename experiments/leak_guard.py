"""How often the leak guard errs: copies that it misses, and different images that it takes for copies.

Of each data set some images are drawn and stored anew in several ways; recall is the share of them recognised among all
images of the set. Then all images of the set are compared with each other, in all eight orientations. What is found
there are real copies or false alarms: they are listed, for a person to look at.

    python experiments/leak_guard.py ../shared/data
"""

from __future__ import annotations

import io
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import write_figures
from PIL import Image

from gfnet_dynn.images.copies import SHARE, find_copies, group_copies
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.images.files import find_images
from gfnet_dynn.images.fingerprint import BYTES, fingerprint, fingerprint_files

Pixels = npt.NDArray[np.uint8]

_DRAWN = {"UCM": 1000, "NWPU12": 1000, "EuroSAT": 3000}
_SHARES = (0.1, SHARE, 0.3, 0.4)
SEED = 0
STEPS = ("decode", "decode_and_fingerprint", "compare_all_with_all")


def stored(pixels: Pixels, kind: str, scale: float = 1.0, **options: Any) -> Pixels:
    """The image after a resize and a round through a file of some format."""
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    if scale != 1:
        size = round(image.width * scale), round(image.height * scale)
        image = image.resize(size, Image.Resampling.BICUBIC)
    image.save(buffer, kind, **options)
    return np.array(Image.open(buffer).convert("RGB"))


def ways(pixels: Pixels) -> dict[str, Pixels]:
    """The image stored anew in each way."""
    return {
        "PNG": stored(pixels, "PNG"),
        **{f"JPEG q{quality}": stored(pixels, "JPEG", quality=quality) for quality in (95, 90, 75, 50)},
        "JPEG q75, then q50": stored(stored(pixels, "JPEG", quality=75), "JPEG", quality=50),
        "WebP q80": stored(pixels, "WEBP", quality=80),
        "WebP q50": stored(pixels, "WEBP", quality=50),
        "7/8 of the size, JPEG q75": stored(pixels, "JPEG", 7 / 8, quality=75),
        "twice the size, JPEG q75": stored(pixels, "JPEG", 2, quality=75),
        "mirrored, JPEG q75": stored(pixels[:, ::-1], "JPEG", quality=75),
        "turned by 90 degrees, JPEG q75": stored(np.rot90(pixels), "JPEG", quality=75),
    }


def measure(folder: Path, drawn: int) -> dict[str, Any]:
    """Recall by way of storing, and the groups of copies among the images of one data set."""
    files = find_images(folder).images
    clock = [time.process_time()]
    for file in files:
        read_image(file)
    clock.append(time.process_time())
    images = b"".join(fingerprint_files(files)[0].values())
    clock.append(time.process_time())
    groups = group_copies(images)
    clock.append(time.process_time())
    seconds = [round(after - before, 2) for before, after in itertools.pairwise(clock)]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(files))[:drawn]).tolist()
    again: dict[str, bytes] = {}
    for index in chosen:
        for way, pixels in ways(read_image(files[index])).items():
            again[way] = again.get(way, b"") + fingerprint(pixels)
    recall = {
        way: {f"{share}": round(float((find_copies(copies, images, share) >= 0).mean()), 4) for share in _SHARES}
        for way, copies in again.items()
    }
    grouped = {f"{share}": sum(map(len, group_copies(images, share))) for share in _SHARES}
    return {
        "images": len(files),
        "drawn": drawn,
        "recall_by_limit": recall,
        "images_in_groups_by_limit": grouped,
        "groups": [[files[index].relative_to(folder).as_posix() for index in group] for group in groups],
        "bytes_of_fingerprints": BYTES * len(files),
        "processor_seconds": dict(zip(STEPS, seconds, strict=True)),
    }


def main() -> None:
    """Measure UCM, NWPU12 and EuroSAT below a folder."""
    sets = {name: measure(Path(sys.argv[1]) / name, drawn) for name, drawn in _DRAWN.items()}
    note = "measured; the limit in force is the distance as a share of the image's own contrast"
    write_figures({"seed": SEED, "limit": SHARE, "note": note, "sets": sets}, "leak_guard")


if __name__ == "__main__":
    main()
