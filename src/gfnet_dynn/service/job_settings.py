"""What the owner of the service decides about map jobs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gfnet_dynn.errors import OptionError
from gfnet_dynn.options import require
from gfnet_dynn.runtime.request import EngineName, PrecisionName

BundleFor = Callable[[str | None], Path | None]
"""The bundle of a model's name, or of no name; None: the built-in model that suits the scene. Raises where unknown."""


@dataclass(frozen=True, kw_only=True)
class JobSettings:
    """Place, limits and engine of map jobs.

    Attributes:
        folder: where jobs live, and live on when the service ends; None: a temporary one, removed then.
        scene_bytes: most of one uploaded scene.
        scene_pixels: most of one scene, by its header.
        block_bytes: most of one block (strip or tile) of a scene when it is decoded.
        cells: most cells of one map; each takes some hundred bytes of disk while it is made.
        total_bytes: most of all scenes and maps together.
        waiting: most jobs that wait, those that are being uploaded included.
        keep_jobs: most finished jobs that are kept.
        keep_seconds: how long finished jobs are kept.
        upload_seconds: most that the upload of a scene may take.
        engine: as in `MapRequest`.
        precision: as in `MapRequest`.
        threads: as in `MapRequest`.
        max_memory: most bytes of the whole process while it maps; None: four blocks are read ahead.
    """

    folder: Path | None = None
    scene_bytes: int = 2 * 2**30
    scene_pixels: int = 1_000_000_000
    block_bytes: int = 2**28
    cells: int = 4_000_000
    total_bytes: int = 8 * 2**30
    waiting: int = 8
    keep_jobs: int = 32
    keep_seconds: float = 24 * 3600.0
    upload_seconds: float = 900.0
    engine: EngineName = "onnxruntime"
    precision: PrecisionName = "auto"
    threads: int | None = None
    max_memory: int | None = None

    def __post_init__(self) -> None:
        counts = ("scene_bytes", "scene_pixels", "block_bytes", "cells", "waiting", "keep_jobs")
        require(self, counts, lambda value: value >= 1, "be at least 1")
        require(self, ("keep_seconds", "upload_seconds"), lambda value: 0 < value < math.inf, "be above 0")
        if self.total_bytes < self.scene_bytes:
            raise OptionError(f"all jobs may have {self.total_bytes} bytes, fewer than one scene: {self.scene_bytes}")
