"""The segments of a network as ONNX graphs: one from the image to the first exit, one from each exit to the next."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass, DeduplicateInitializersPass
from torch import Tensor, nn

from gfnet_dynn.errors import ExportError
from gfnet_dynn.export.integers import normalise_in_one_node, pixel_quantisation
from gfnet_dynn.export.prepare import PatchProduct, prepare
from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.gfnet import GFNet, PatchEmbedding
from gfnet_dynn.spec.network import InputSpec, NetSpec

OPSET = 20  # the first with GELU

_EXAMPLES = 2  # of one image, export takes the batch for a constant
_ANY_SIZE = 1 << 40  # numbers in a constant


class FirstPiece(nn.Module):
    """Images of 8 bits → normalised → the stem's features."""

    scale: Tensor
    shift: Tensor

    def __init__(self, net: EarlyExitNet, image: InputSpec) -> None:
        super().__init__()
        self.backbone = net.backbone
        mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (image.mean, image.std))
        self.register_buffer("scale", (1 / (255 * std)).float())
        self.register_buffer("shift", (-mean / std).float())
        embedding = net.backbone.patch_embed if isinstance(net.backbone, GFNet) else None
        self.patches = PatchProduct(embedding, image) if isinstance(embedding, PatchEmbedding) else None

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] → features."""
        if self.patches is not None and isinstance(self.backbone, GFNet):
            tokens: Tensor = self.patches(images) + self.backbone.pos_embed
            return tokens
        pixels = images.permute(0, 3, 1, 2).float()
        return self.backbone.stem(pixels * self.scale + self.shift)


class Segment(nn.Module):
    """From the image or the exit before to one exit; the first one may compute a distance of what its head sees."""

    def __init__(
        self, net: EarlyExitNet, exit_index: int, first: FirstPiece | None, distance: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.net, self.first, self.distance = net, first, distance
        ends = [*(block + 1 for block in net.exit_blocks), net.backbone.num_blocks]
        self.blocks = range(ends[exit_index - 1] if exit_index else 0, ends[exit_index])
        self.exit_index = exit_index

    def forward(self, entering: Tensor) -> tuple[Tensor, ...]:
        """Images or features → (features, logits [B, K], gate [B]) and any distance [B]; at the last one (logits,)."""
        features, pooled = self.pooled(entering)
        logits = self.net.heads[self.exit_index](pooled)
        if self.exit_index == len(self.net.gates):
            return (logits,)
        distance = () if self.distance is None else (self.distance(pooled),)
        return features, logits, torch.sigmoid(self.net.gates[self.exit_index](logits)), *distance

    def pooled(self, entering: Tensor) -> tuple[Tensor, Tensor]:
        """Images or features → features, and what the head sees of them [B, D]."""
        features = self.first(entering) if self.first else entering
        for block in self.blocks:
            features = self.net.backbone.block(block, features)
        return features, self.net.pool_exit(self.blocks[-1], features)


@torch.no_grad()
def export_segments(net: EarlyExitNet, spec: NetSpec, distance: nn.Module | None = None) -> list[onnx.ModelProto]:
    """The graph of each segment, [G + 1]; the first one computes the distance, if any.

    Raises ExportError if torch cannot express a part in ONNX.
    """
    prepared, size = prepare(net), spec.input.size
    entering = torch.randint(0, 256, (_EXAMPLES, size, size, 3), dtype=torch.uint8)
    graphs = []
    for exit_index in range(spec.num_exits):
        first = exit_index == 0
        own = (FirstPiece(prepared, spec.input), distance) if first else (None, None)
        segment = Segment(prepared, exit_index, *own).eval()
        graphs.append(_to_onnx(segment, entering, last=exit_index == spec.num_exits - 1))
        if first and (pixels := pixel_quantisation(spec.input)) is not None:
            normalise_in_one_node(graphs[0], pixels)
        entering = segment(entering)[0]
    return graphs


def _to_onnx(segment: Segment, example: Tensor, *, last: bool) -> onnx.ModelProto:
    entering = "images" if segment.first else "features_in"
    has_distance = segment.distance is not None
    name = "the final classifier" if last else f"exit {segment.exit_index + 1}"
    with quiet():
        try:
            program = torch.onnx.export(
                segment,
                (example.contiguous(),),
                input_names=[entering],
                output_names=["logits"] if last else ["features", "logits", "gate", *["distance"] * has_distance],
                dynamic_shapes=[{0: torch.export.Dim("batch")}],
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
        except Exception as error:  # of many classes
            raise ExportError(f"torch cannot express the part of the network up to {name} in ONNX: {error}") from error
        assert program is not None
        DeduplicateInitializersPass(size_limit=_ANY_SIZE)(program.model)  # filters have the same transforms
        ClearMetadataAndDocStringPass()(program.model)  # notes on the Python source
    model = program.model_proto
    del model.graph.value_info[:]
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of torch's exporter and onnxruntime's quantiser, which concern nothing of ours."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
