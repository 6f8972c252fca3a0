"""Find the energy meters of this machine."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.benchmark.energy.external import find_external
from gfnet_dynn.benchmark.energy.ina import find_ina
from gfnet_dynn.benchmark.energy.meter import Found
from gfnet_dynn.benchmark.energy.nvml import find_nvml
from gfnet_dynn.benchmark.energy.rapl import find_rapl


def find_meters(external: Path | None = None, root: Path = Path("/"), *, gpu: bool = False) -> Found:
    """All meters that can be read here, those that cover more of the device first.

    Meters may overlap (see `covers`): never add up their energies.

    Args:
        external: log of a meter outside the device.
        root: of the file system.
        gpu: include NVIDIA GPUs; for work that runs on one.

    Returns:
        The meters, and one reason for each kind that cannot be read.
    """
    parts = [find_external(external)] if external is not None else []
    parts += [find_ina(root), find_rapl(root), *([find_nvml(root)] if gpu else [])]
    return [meter for meters, _ in parts for meter in meters], [reason for _, reasons in parts for reason in reasons]
