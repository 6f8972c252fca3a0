"""The whole network against its equations, written a second time in NumPy and double precision."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from gfnet_dynn.model.early_exit import EarlyExitNet
from gfnet_dynn.model.weights import published_state
from tests.model.conftest import SMALL

Array = npt.NDArray[np.float64]


def layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    deviation = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6)
    return np.asarray((x - x.mean(axis=-1, keepdims=True)) / deviation * weight + bias)


def gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))))


def softmax(x: Array) -> Array:
    exponentials = np.exp(x - x.max())
    return np.asarray(exponentials / exponentials.sum())


def gate_logit(logits: Array, w: dict[str, Array], index: int) -> float:
    p = softmax(logits)
    q = p**2 / (p**2).sum()
    first, second = np.sort(p)[::-1][:2]
    u = np.array([first, -(p * np.log(p)).sum(), first - second, -(q * np.log(q)).sum()])
    return float((w[f"gates.{index}.linear.weight"] @ u + w[f"gates.{index}.linear.bias"])[0])


def forward(image: Array, w: dict[str, Array]) -> tuple[list[Array], list[float]]:
    """One image [3, S, S] → logits of every way out, and gate logits."""
    patch, grid = SMALL.backbone.stride, SMALL.backbone.grid(SMALL.input.size)
    patches = image.reshape(3, grid, patch, grid, patch).transpose(1, 3, 0, 2, 4).reshape(grid * grid, -1)
    kernel = w["patch_embed.proj.weight"].reshape(len(w["patch_embed.proj.bias"]), -1)
    x = patches @ kernel.T + w["patch_embed.proj.bias"] + w["pos_embed"][0]
    pooled = []
    for block in range(SMALL.backbone.depth):
        name = f"blocks.{block}."
        y = layer_norm(x, w[name + "norm1.weight"], w[name + "norm1.bias"])
        spectrum = np.fft.rfft2(y.reshape(grid, grid, -1), axes=(0, 1), norm="ortho")
        filters = w[name + "filter.complex_weight"]
        spectrum = spectrum * (filters[..., 0] + 1j * filters[..., 1])
        y = np.fft.irfft2(spectrum, s=(grid, grid), axes=(0, 1), norm="ortho").reshape(grid * grid, -1)
        y = layer_norm(y, w[name + "norm2.weight"], w[name + "norm2.bias"])
        y = gelu(y @ w[name + "mlp.fc1.weight"].T + w[name + "mlp.fc1.bias"])
        x = x + y @ w[name + "mlp.fc2.weight"].T + w[name + "mlp.fc2.bias"]
        if block in SMALL.exit_blocks or block == SMALL.backbone.depth - 1:
            pooled.append(layer_norm(x, w["norm.weight"], w["norm.bias"]).mean(axis=0))
    heads = [f"intermediate_heads.{index}" for index in range(len(pooled) - 1)] + ["head"]
    logits = [w[f"{head}.weight"] @ each + w[f"{head}.bias"] for head, each in zip(heads, pooled, strict=True)]
    return logits, [gate_logit(each, w, index) for index, each in enumerate(logits[:-1])]


def test_every_output_follows_the_equations(small_net: EarlyExitNet, images: torch.Tensor) -> None:
    weights = {name: tensor.double().numpy() for name, tensor in published_state(small_net).items()}
    with torch.no_grad():
        outputs = small_net(images)
    for row, image in enumerate(images.double().numpy()):
        logits, gates = forward(image, weights)
        np.testing.assert_allclose(outputs.logits[row].numpy(), np.stack(logits), rtol=1e-5, atol=2e-5)
        np.testing.assert_allclose(outputs.gate_logits[row].numpy(), gates, rtol=1e-4, atol=1e-5)
