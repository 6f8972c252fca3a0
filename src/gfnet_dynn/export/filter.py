"""The global filter as four batched matrix products and one multiplication, for engines that have no fast FFT.

A filter is a circular convolution with a real kernel. Down the grid, a real DFT makes of H rows P = ⌈H / 2⌉ pairs:
real and imaginary part of a frequency; the frequencies 0 and H / 2, which are real, share the first. Across the grid, a
DFT of each pair meets the kernel's spectrum. A complex product a·w = (re·w_re − im·w_im, im·w_re + re·w_im) is a
multiplication element by element once (re, im) stands above (−im, re): the matrix of the DFT yields both, and that of
the inverse adds them up again. So no tensor is split, joined or transposed on the way.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gfnet_dynn.model.gfnet import GlobalFilter

_Matrix = npt.NDArray[np.float64]

_TURN = ((0, -1), (1, 0))  # (re, im) → (−im, re)


class ProductFilter(nn.Module):
    """A `GlobalFilter` as matrix products: [B, T, D] → [B, T, D]."""

    # For a grid of H × W, with P pairs of rows:
    down: Tensor  # [2P, H]
    across: Tensor  # [P, 4W, 2W]
    spectrum: Tensor  # [P, 4W, D]
    back_across: Tensor  # [P, 2W, 4W]
    back_up: Tensor  # [H, 2P]

    def __init__(self, source: GlobalFilter) -> None:
        super().__init__()
        height, width = source.height, source.width
        weight = torch.view_as_complex(source.complex_weight.detach().double())
        # What irfft2 makes of a filter without the symmetry of a real kernel's is a real kernel all the same.
        kernel = torch.fft.irfft2(weight, s=(height, width), dim=(0, 1))
        constants = _constants(height, width, torch.fft.fft2(kernel, dim=(0, 1)).numpy())
        for name, matrix in constants.items():
            self.register_buffer(name, torch.from_numpy(matrix).float().contiguous())
        self.height, self.width, self.channels = height, width, weight.shape[2]

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] → [B, T, D]."""
        row = self.width * self.channels
        pairs = torch.matmul(self.down, tokens.reshape(-1, self.height, row))
        pairs = pairs.reshape(-1, self.spectrum.shape[0], 2 * self.width, self.channels)
        pairs = torch.matmul(self.back_across, torch.matmul(self.across, pairs) * self.spectrum)
        grid = torch.matmul(self.back_up, pairs.reshape(-1, self.down.shape[0], row))
        return grid.reshape(-1, self.height * self.width, self.channels)


def _constants(height: int, width: int, spectrum: npt.NDArray[np.complex128]) -> dict[str, _Matrix]:
    pairs = (height + 1) // 2
    down, back_up = _real_transform(height)
    complex_pair, real_pair = _complex_pair(width), _real_pair(width)
    half = height // 2 if height % 2 == 0 else 0  # an odd height has no second real frequency: zeros pass here
    first = np.concatenate((spectrum[0][real_pair.order], spectrum[half][real_pair.order]))
    others = [np.concatenate((each, each)) for each in spectrum[1:pairs]]
    parts = np.stack([first, *others])
    return {
        "down": down,
        "across": np.stack([real_pair.forward, *[complex_pair.forward] * (pairs - 1)]),
        "spectrum": np.concatenate((parts.real, parts.imag), axis=1),
        "back_across": np.stack([real_pair.inverse, *[complex_pair.inverse] * (pairs - 1)]),
        "back_up": back_up,
    }


def _real_transform(length: int) -> tuple[_Matrix, _Matrix]:
    """The DFT of real numbers and its inverse, [2P, length] and [length, 2P].

    Rows: frequency 0, frequency length / 2 (zeros where odd), then real and imaginary part of 1, 2 ….
    """
    pairs, spectrum = (length + 1) // 2, np.fft.rfft(np.eye(length), axis=0)
    half = spectrum[pairs].real if length % 2 == 0 else np.zeros(length)
    others = np.stack((spectrum[1:pairs].real, spectrum[1:pairs].imag), axis=1).reshape(-1, length)
    forward = np.concatenate((np.stack((spectrum[0].real, half)), others))
    weights = np.repeat((1, 2), (2, len(others)))  # each of the others stands for its mirror image too
    return forward, forward.T * weights / length


class _Pair(NamedTuple):
    """How a pair of rows is transformed across."""

    forward: _Matrix  # [4W, 2W]: the spectrum's numbers, below them what the imaginary part of a filter multiplies
    inverse: _Matrix  # [2W, 4W]
    order: npt.NDArray[np.intp]  # the frequency across to which each of a row's W numbers belongs


def _complex_pair(width: int) -> _Pair:
    """Real and imaginary part of one complex row."""
    transform = np.fft.fft(np.eye(width))
    forward = np.block([[transform.real, -transform.imag], [transform.imag, transform.real]])
    turned = np.kron(_TURN, np.eye(width))
    return _Pair(np.concatenate((forward, turned @ forward)), np.tile(forward.T / width, 2), np.arange(width))


def _real_pair(width: int) -> _Pair:
    """Two real rows, each for itself."""
    forward, inverse = _real_transform(width)
    order = np.repeat(np.arange((width + 1) // 2), 2)
    order[1] = width // 2
    if width % 2:
        forward, inverse, order = np.delete(forward, 1, 0), np.delete(inverse, 1, 1), np.delete(order, 1)
    both, turned, start = np.eye(2), np.zeros((width, width)), 2 - width % 2
    turned[start:, start:] = np.kron(np.eye((width - start) // 2), _TURN)  # of each frequency that has both parts
    return _Pair(
        forward=np.concatenate((np.kron(both, forward), np.kron(both, turned @ forward))),
        inverse=np.tile(np.kron(both, inverse), 2),
        order=order,
    )
