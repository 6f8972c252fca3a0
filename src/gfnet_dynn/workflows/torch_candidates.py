"""Find the networks that a benchmark runs in torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from msgspec import structs

from gfnet_dynn.benchmark.candidates import Identity
from gfnet_dynn.benchmark.in_torch import PublishedCandidate, TorchCandidate
from gfnet_dynn.benchmark.request import BenchmarkRequest
from gfnet_dynn.bundle.archive import Bundle
from gfnet_dynn.bundle.manifest import FULL
from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import OptionError, nearest
from gfnet_dynn.evaluation.policies import trained_policies
from gfnet_dynn.model.checkpoint import Checkpoint, load_checkpoint
from gfnet_dynn.model.early_exit import build_net
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.spec.backbone import BACKBONES, find_backbone
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.train.engine.device import choose_device

_DEFAULT_SIZE = 256
_CLASSES = 45


def find_network(request: BenchmarkRequest) -> tuple[TorchCandidate, NetSpec]:
    """The subject and its description: a named model with fresh weights, or the network of a run.

    Raises CheckpointError: no run there; OptionError: the policy is unknown, or does not exit by gates; SpecError: an
    unknown model, or an input size that it cannot take.
    """
    checkpoint, name = None, request.subject
    if name.casefold() in BACKBONES or not Path(name).exists():
        backbone = find_backbone(name)
        image = make_input(backbone, request.input_size or _DEFAULT_SIZE, pad=request.pad)
        classes = tuple(str(index) for index in range(_CLASSES))
        spec = NetSpec(backbone, backbone.default_exits, image, classes, backbone.exit_pooling)
        torch.manual_seed(request.seed)
    else:
        checkpoint, name = load_checkpoint(find_checkpoint_file(Path(name))), Path(name).name
        spec = checkpoint.spec
        if request.input_size is not None:
            spec = structs.replace(spec, input=make_input(spec.backbone, request.input_size, pad=request.pad))
    provenance = checkpoint.provenance if checkpoint else {}
    policy = _policy(request.policy, trained_policies(provenance, len(spec.exit_blocks)))
    return _candidate(TorchCandidate, request, checkpoint, spec, policy, name), spec


def find_run_of_bundle(request: BenchmarkRequest, bundle: Bundle) -> list[TorchCandidate]:
    """The run that a bundle was exported from, with early exits and as published, by the bundle's policy.

    Raises CheckpointError: no run there; OptionError: it is not the bundle's run, or the policy does not exit by gates.
    """
    checkpoint = load_checkpoint(find_checkpoint_file(Path(str(request.torch))))
    spec, manifest = checkpoint.spec, bundle.manifest
    if (spec.classes, spec.input) != (manifest.classes, manifest.input):
        raise OptionError(f"--torch {request.torch}: not the run of {request.subject}, its classes or input differ")
    policy = _policy(manifest.policy(request.policy).name, manifest.policies)
    return [
        _candidate(kind, request, checkpoint, spec, policy, name)
        for kind, name in ((TorchCandidate, "early exits"), (PublishedCandidate, "as published"))
    ]


def _candidate(
    kind: type[TorchCandidate],
    request: BenchmarkRequest,
    checkpoint: Checkpoint | None,
    spec: NetSpec,
    policy: Policy,
    name: str,
) -> TorchCandidate:
    """A candidate with weights of its own; without a checkpoint, fresh ones."""
    torch.set_num_threads(request.threads)
    net = replace(checkpoint, spec=spec).build() if checkpoint else build_net(spec).eval()
    about = Identity(
        name=name,
        engine=f"torch {torch.__version__}",
        precision="fp32",
        policy=f"{policy.name} ({policy.source})",
        input_px=spec.input.size,
        macs=net.exit_macs()[-1],
        path=str(request.torch or request.subject) if checkpoint else "fresh weights",
        sha256=None,
        size_bytes=None,
    )
    net = net.to(choose_device(request.device))
    return kind(net, spec, policy, about, trained=checkpoint is not None, decode=request.decode)


def _policy(name: str | None, policies: tuple[Policy, ...]) -> Policy:
    """The named policy, by default the first that exits by gates; the full network has gates that never exit."""
    by_gates = {each.name: each for each in policies if each.score == "gate"}
    chosen = by_gates.get(next(iter(by_gates), FULL) if name is None else name)
    if chosen is None:
        raise OptionError(f"--policy {name}: in torch, networks exit by gates; {nearest(str(name), by_gates)}")
    return chosen
