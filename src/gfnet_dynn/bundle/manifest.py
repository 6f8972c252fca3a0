"""Description of a bundle: classes, input, exits with their cost, exit policies, graphs, origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from gfnet_dynn.bundle.fields import Fields
from gfnet_dynn.bundle.policy import Policy, read_policy
from gfnet_dynn.errors import BundleError, SpecError
from gfnet_dynn.exits.rule import NEVER, per_exit
from gfnet_dynn.spec.network import InputSpec

FORMAT = "gfnet-dynn bundle"
VERSION = 1

FULL = "full"
"""The policy of every bundle by which no image exits early."""

OWN = "own"
"""Name of a policy whose thresholds the caller gave; none in a bundle has it."""

_MOST_CLASSES = 100_000
_LARGEST_INPUT = 4096  # pixels a side


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit of the network.

    Attributes:
        name: `exit 1` …, `final`.
        block: 0-based index of the block that it follows.
        macs: multiply-accumulates of one image up to and including it; counted from shapes.
    """

    name: str
    block: int
    macs: int


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the bundle: its size and its SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything but the graphs themselves.

    Attributes:
        model: name of the network.
        classes: names in the order of the logits.
        input: the image that the first segment takes.
        exits: G early exits, then the final classifier.
        policies: the first one is the default.
        precisions: for each, `fp32` always among them, the file of each of the G + 1 segments in order.
        files: by name in the archive, all but the manifest.
        report: figures of export: parity with the trained network, accuracy and exit shares by precision.
        provenance: how the network was trained, and on what.
        learned_from: file with the digests of the images that it was trained and selected on; None: unknown.
    """

    model: str
    classes: tuple[str, ...]
    input: InputSpec
    exits: tuple[Exit, ...]
    policies: tuple[Policy, ...]
    precisions: Mapping[str, tuple[str, ...]]
    files: Mapping[str, StoredFile]
    report: Mapping[str, Any]
    provenance: Mapping[str, Any]
    learned_from: str | None = None

    def __post_init__(self) -> None:
        exits = len(self.exits)
        _require(2 <= len(self.classes) <= _MOST_CLASSES, f"has {len(self.classes)} classes")
        _require(len(set(self.classes)) == len(self.classes), "names a class twice")
        _require(self.input.size <= _LARGEST_INPUT, f"takes images of {self.input.size} px")
        _require(exits >= 1, "has no exit")
        _require(_ascending([each.macs for each in self.exits]), "has exits whose MACs do not ascend")
        _require(self.exits[-1].macs > 0, "costs nothing")
        _require(_ascending([each.block for each in self.exits]), "has exits whose blocks do not ascend")
        names = [policy.name for policy in self.policies]
        _require(len(set(names)) == len(names) and FULL in names, f"has the policies {names}")
        for policy in self.policies:
            policy.require_fit(exits, len(self.classes))
            thresholds = per_exit(policy.thresholds, exits - 1)
            _require(policy.name != FULL or set(thresholds) <= {NEVER}, f"lets images exit early by the policy {FULL}")
        _require("fp32" in self.precisions, "has no segments in fp32")
        for precision, segments in self.precisions.items():
            _require(len(segments) == exits, f"has {len(segments)} segments in {precision} for {exits} exits")
        used = {file for segments in self.precisions.values() for file in segments}
        used |= {self.learned_from} if self.learned_from else set()
        _require(used == set(self.files), f"disagrees with itself on its files: {sorted(used ^ set(self.files))[:4]}")

    @property
    def num_exits(self) -> int:
        """Number of exits, the final one included (G + 1)."""
        return len(self.exits)

    @property
    def costs(self) -> tuple[float, ...]:
        """MACs of each exit as a share of the full network's, [G + 1]."""
        return tuple(each.macs / self.exits[-1].macs for each in self.exits)

    def policy(self, name: str | None = None) -> Policy:
        """The policy of that name, or the default.

        Raises:
            BundleError: there is none of that name.
        """
        for policy in self.policies:
            if name is None or policy.name == name:
                return policy
        known = ", ".join(policy.name for policy in self.policies)
        raise BundleError(f"the bundle has no exit policy '{name}'; it has {known}")

    def to_dict(self) -> dict[str, Any]:
        """A value that JSON can hold; `from_dict` reads it back."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": self.model,
            "classes": list(self.classes),
            "input": asdict(self.input),
            "exits": [asdict(each) for each in self.exits],
            "policies": [each.to_dict() for each in self.policies],
            "precisions": {name: list(segments) for name, segments in self.precisions.items()},
            "files": {name: asdict(file) for name, file in self.files.items()},
            "report": dict(self.report),
            "provenance": dict(self.provenance),
            **({"learned_from": self.learned_from} if self.learned_from else {}),
        }

    @classmethod
    def from_dict(cls, value: object) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            BundleError: of another format or version, or not consistent.
        """
        top = Fields(value, "manifest")
        if top.text("format") != FORMAT:
            raise BundleError(f"not a {FORMAT}: its manifest says {top.text('format')[:40]!r}")
        if (version := top.whole("version")) != VERSION:
            raise BundleError(
                f"the bundle is of version {version} and this program reads version {VERSION}: "
                f"{'update gfnet-dynn' if version > VERSION else 'export it anew'}"
            )
        try:
            return cls(
                model=top.text("model"),
                classes=top.texts("classes"),
                input=_read_input(top.inner("input")),
                exits=tuple(_read_exit(each) for each in top.inners("exits")),
                policies=tuple(read_policy(each) for each in top.inners("policies")),
                precisions={name: top.inner("precisions").texts(name) for name in top.inner("precisions").names},
                files={name: _read_file(top.inner("files").inner(name)) for name in top.inner("files").names},
                report=top.inner("report").value,
                provenance=top.inner("provenance").value,
                learned_from=top.text("learned_from") if "learned_from" in top.names else None,
            )
        except (SpecError, ValueError) as error:
            raise BundleError(f"its manifest is not usable: {error}") from error


def _read_input(found: Fields) -> InputSpec:
    mean, std = found.numbers("mean"), found.numbers("std")
    if len(mean) != 3 or len(std) != 3:
        raise BundleError("its manifest is not usable: mean and std need three numbers")
    return InputSpec(found.whole("size"), found.whole("pad"), (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def _read_exit(found: Fields) -> Exit:
    return Exit(found.text("name"), found.whole("block"), found.whole("macs"))


def _read_file(found: Fields) -> StoredFile:
    return StoredFile(found.whole("bytes"), found.text("sha256"))


def _ascending(values: list[int]) -> bool:
    return all(value >= 0 for value in values) and sorted(set(values)) == values


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BundleError(f"its manifest is not usable: it {otherwise}")
