"""The public scene sets, as facts: how many images, under which licence, and where the archive lies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Archive:
    """One ZIP archive in a data set repository of the Hugging Face hub.

    Attributes:
        repository: owner and name on the hub.
        revision: commit, so that the archive cannot change under a fixed checksum.
        file: path in the repository.
        sha256: checksum of the whole archive.
        images_folder: folder inside the archive with one folder of images for each class.
        unpacked_limit_gb: most that the images may take on disk; an archive that declares more is refused.
    """

    repository: str
    revision: str
    file: str
    sha256: str
    images_folder: str
    unpacked_limit_gb: float


@dataclass(frozen=True, slots=True)
class KnownSet:
    """What is published about a data set.

    Attributes:
        images: number in the whole set.
        images_per_class: least and most in one class of the whole set.
        licence: as its source states it.
        source: who made it and where it is described.
        archive: where it can be fetched, or None.
        generated: `gfnet-dynn` draws it itself.
    """

    images: int
    images_per_class: tuple[int, int]
    licence: str
    source: str
    archive: Archive | None = None
    generated: bool = False

    @property
    def way(self) -> str:
        """The way to get it, in two words."""
        if self.generated:
            return "drawing"
        return "download" if self.archive else "by hand"


KNOWN_SETS: dict[str, KnownSet] = {
    "UCM": KnownSet(
        images=2100,
        images_per_class=(100, 100),
        licence="public domain",
        source="UC Merced Land Use, Yang and Newsam 2010, doi 10.1145/1869790.1869829",
        archive=Archive(
            repository="torchgeo/ucmerced",
            revision="7c5ef3454d9b1cccfa7ccde0c01fc8f00a45909a",
            file="UCMerced_LandUse.zip",
            sha256="06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
            images_folder="UCMerced_LandUse/Images",
            unpacked_limit_gb=1,
        ),
    ),
    "NaSC": KnownSet(
        images=20000,
        images_per_class=(2000, 2000),
        licence="ask authors",
        source="NaSC-TG2, Zhou et al. 2021, doi 10.1109/JSTARS.2021.3063096",
    ),
    "NWPU": KnownSet(
        images=31500,
        images_per_class=(700, 700),
        licence="CC-BY-NC-4.0",
        source="NWPU-RESISC45, Cheng et al. 2017, doi 10.1109/JPROC.2017.2675998",
        archive=Archive(
            repository="isaaccorley/resisc45",
            revision="883edc0eee77b2c84225472f10f126e3ed83fa6e",
            file="NWPU-RESISC45.zip",
            sha256="beeecd0b63656290ae6d65cf7763185b0c1c4c54a753ef8088d6fba3faaf1f53",
            images_folder="NWPU-RESISC45",
            unpacked_limit_gb=2,
        ),
    ),
    "PatternNet": KnownSet(
        images=30400,
        images_per_class=(800, 800),
        licence="CC-BY-4.0",
        source="PatternNet, Zhou et al. 2018, doi 10.1016/j.isprsjprs.2018.01.004",
        archive=Archive(
            repository="torchgeo/PatternNet",
            revision="2dbd901b00e301967a5c5146b25454f5d3455ad0",
            file="PatternNet.zip",
            sha256="456dd031950b0429518b8ec7d30a5c4b3f6456261ee1dd573a3eee43efb29958",
            images_folder="PatternNet/images",
            unpacked_limit_gb=4,
        ),
    ),
    "AID": KnownSet(
        images=10000,
        images_per_class=(220, 420),
        licence="not stated",
        source="AID, Xia et al. 2017, doi 10.1109/TGRS.2017.2685945",
        archive=Archive(
            repository="isaaccorley/aid",
            revision="e6767964e40f567a18eac6e6ca5fce397e4ce411",
            # No checksum is published with AID; this is the one that torchgeo-bench pins for the same commit.
            file="AID.zip",
            sha256="79345ef1766e85f7b92cf556c809c4f32ff24228ae71aadf96780f74f48c26a4",
            images_folder="AID",
            unpacked_limit_gb=8,
        ),
    ),
    "SyntheticScenes": KnownSet(
        images=1680,
        images_per_class=(168, 168),
        licence="MIT",
        source="drawn by gfnet-dynn",
        generated=True,
    ),
}
"""Name, spelled as in `DATASET_CONFIG`, → what is published about it."""
