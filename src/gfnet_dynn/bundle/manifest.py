"""Description of a bundle: classes, input, exits with their cost, exit policies, graphs, origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import msgspec
from msgspec import Meta

from gfnet_dynn.bundle.card import Card
from gfnet_dynn.bundle.policy import Policy, Text, restore_infinities
from gfnet_dynn.errors import BundleError, CalibrationError
from gfnet_dynn.exits import NEVER, per_exit
from gfnet_dynn.spec.network import InputSpec
from gfnet_dynn.system.storage import to_json

FORMAT = "gfnet-dynn bundle"
VERSION = 1

FULL = "full"
"""The policy of every bundle by which no image exits early."""

LEARNED_FROM = "learned_from.fingerprints"
"""The file with the fingerprints of the images that the network was trained and selected on, 32 bytes each."""

OWN = "own"
"""Name of a policy whose thresholds the caller gave; none in a bundle has it."""

_MOST_CLASSES = 100_000

Count = Annotated[int, Meta(ge=0, le=2**53)]
"""A whole number that every reader of JSON holds exactly."""


@dataclass(frozen=True, slots=True)
class Exit:
    """One exit of the network.

    Attributes:
        name: `exit 1` …, `final`.
        block: 0-based index of the block that it follows.
        macs: multiply-accumulates of one image up to and including it; counted from shapes.
    """

    name: Text
    block: Count
    macs: Count


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the bundle: its size and its SHA-256."""

    bytes: Count
    sha256: Text


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
        learned_from: file with the fingerprints of the images that it was trained and selected on; None: not known.
        auto_precisions: those that the precision `auto` may take, see `bundle.precisions`.
        card: what to know before use; None: nobody wrote one.
    """

    model: Text
    classes: tuple[Text, ...]
    input: InputSpec
    exits: tuple[Exit, ...]
    policies: tuple[Policy, ...]
    precisions: Mapping[Text, tuple[Text, ...]]
    files: Mapping[Text, StoredFile]
    report: Mapping[str, Any]
    provenance: Mapping[str, Any]
    learned_from: Text | None = None
    auto_precisions: tuple[Text, ...] = ("fp32",)
    card: Card | None = None

    def __post_init__(self) -> None:
        exits = len(self.exits)
        _require(2 <= len(self.classes) <= _MOST_CLASSES, f"has {len(self.classes)} classes")
        _require(len(set(self.classes)) == len(self.classes), "names a class twice")
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
        automatic = set(self.auto_precisions)
        _require("fp32" in automatic <= set(self.precisions), f"lets auto take the precisions {sorted(automatic)}")
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
        """A value that JSON can hold, with null for what is no number; `from_json` reads it back."""
        return {"format": FORMAT, "version": VERSION, **msgspec.json.decode(to_json(self))}

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read what `to_dict` described.

        Raises:
            BundleError: no JSON, of another format or version, or not consistent.
        """
        try:
            value = msgspec.json.decode(content)
            _require_version(msgspec.convert(value, _Head))
            for policy in value["policies"] if isinstance(value.get("policies"), list) else ():
                restore_infinities(policy)
            return msgspec.convert(value, cls)
        except (msgspec.ValidationError, CalibrationError) as error:
            raise BundleError(f"its manifest is not usable: {error}") from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise BundleError(f"its manifest is not JSON: {error}") from error


class _Head(msgspec.Struct):
    """What manifests of all versions have."""

    format: Text
    version: int


def _require_version(head: _Head) -> None:
    if head.format != FORMAT:
        raise BundleError(f"not a {FORMAT}: its manifest has the format {head.format[:40]!r}")
    if head.version != VERSION:
        raise BundleError(
            f"the bundle is of version {head.version} and this program reads version {VERSION}: "
            f"{'update gfnet-dynn' if head.version > VERSION else 'export it again'}"
        )


def _ascending(values: list[int]) -> bool:
    return sorted(set(values)) == values


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise BundleError(f"its manifest is not usable: it {otherwise}")
