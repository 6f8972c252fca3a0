"""Which meters this machine has."""

from __future__ import annotations

from pathlib import Path

from gfnet_dynn.benchmark.energy.external import find_external
from gfnet_dynn.benchmark.energy.ina import find_ina
from gfnet_dynn.benchmark.energy.meter import Found
from gfnet_dynn.benchmark.energy.nvml import find_nvml
from gfnet_dynn.benchmark.energy.rapl import find_rapl


def find_meters(external: Path | None = None, root: Path = Path("/"), *, gpu: bool = True) -> Found:
    """All meters that can be read here, those first that cover more of the device.

    Meters may overlap (`covers` says what each one covers), so their energies are never to be added up unseen.

    Args:
        external: log of a meter outside the device, if there is one.
        root: of the file system.
        gpu: ask for GPUs too; not where what is measured does not run on one.

    Returns:
        The meters, and for each kind that cannot be read one sentence why; where there are no meters, energy is not
        measurable here.
    """
    parts = [find_external(external)] if external is not None else []
    parts += [find_ina(root), find_rapl(root), *([find_nvml(root)] if gpu else [])]
    return [meter for meters, _ in parts for meter in meters], [reason for _, reasons in parts for reason in reasons]
