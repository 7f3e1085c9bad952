"""Fourier transform of a few points of a grid, at the indices that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from multicopy_refinement._typing import FloatArray, IntArray

#: Time of a multiplication in a product of matrices over that of one step of a butterfly of an FFT.
_PRODUCT = 0.15


class SparseTransform:
    """F(h) = V/N sum_v D(v) exp(2 pi i h v/n) of a few points, at low-resolution indices."""

    def __init__(self, shape: Sequence[int], hkl: IntArray, volume: float) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.scale = volume / float(np.prod(self.shape))
        turned = hkl[:, 2] < 0
        h = np.where(turned[:, None], -hkl, hkl)
        self.conjugate = ~turned  # the transform of numpy has the other sign
        self.n_l = int(h[:, 2].max(initial=0)) + 1
        self.h, self.k = (_indices(h[:, axis], self.shape[axis]) for axis in (0, 1))
        at_h, at_k = (
            np.searchsorted(own, h[:, axis] % self.shape[axis])
            for axis, own in ((0, self.h), (1, self.k))
        )
        self.pick = (at_h * len(self.k) + at_k) * self.n_l + h[:, 2]
        self._waves = [
            np.exp(-2j * np.pi * (np.outer(np.arange(n), own) % n) / n).astype(np.complex64)
            for n, own in zip(self.shape, (self.h, self.k, np.arange(self.n_l)), strict=True)
        ]

    def __call__(self, points: IntArray, values: FloatArray) -> np.ndarray:
        """Return F at the indices, complex64 ``[n]``."""
        if len(points) == 0:
            return np.zeros(len(self.conjugate), dtype=np.complex64)
        index = np.unravel_index(points, self.shape)
        axes = [_different(x, n) for x, n in zip(index, self.shape, strict=True)]
        box = tuple(len(own) for own, _ in axes)
        place = np.ravel_multi_index([at for _, at in axes], box)
        density = np.bincount(place, values, minlength=int(np.prod(box))).astype(np.float64)
        density = density.reshape(box)
        rows = [own for own, _ in axes]
        whole = self._by_products(density, rows) if self._few(box) else self._by_fft(density, rows)
        picked = whole.reshape(-1)[self.pick]
        return np.asarray(self.scale * np.where(self.conjugate, picked.conj(), picked))

    def _few(self, box: tuple[int, ...]) -> bool:
        """Return whether products with waves cost less than transforms of whole axes."""
        (nu, nv, nw), (bu, bv, bw) = self.shape, box
        n_h, n_k, n_l = len(self.h), len(self.k), self.n_l
        products = n_l * bu * (bv * bw + bv * n_k + n_h * n_k)
        steps = bu * bv * nw * np.log2(nw) / 2 + bu * nv * n_l * np.log2(nv)
        return bool(_PRODUCT * products < steps + nu * n_k * n_l * np.log2(nu))

    def _by_products(self, density: FloatArray, rows: list[IntArray]) -> np.ndarray:
        """Return the transform, complex64 ``[n_h, n_k, n_l]``, an axis after the other."""
        of_u, of_v, of_w = (wave[own] for wave, own in zip(self._waves, rows, strict=True))
        lines = density.astype(np.complex64) @ of_w
        sheets = of_v.T @ lines
        return np.asarray(of_u.T @ sheets.reshape(len(sheets), -1))

    def _by_fft(self, density: FloatArray, rows: list[IntArray]) -> np.ndarray:
        """Return the same from transforms of whole axes, of those lines that are not empty."""
        nu, nv, nw = self.shape
        u, v, w = rows
        lines = np.zeros((len(u), len(v), nw), dtype=np.float32)
        lines[:, :, w] = density
        along_w = scipy.fft.rfft(lines, axis=2)[:, :, : self.n_l]
        sheet = np.zeros((len(u), nv, self.n_l), dtype=np.complex64)
        sheet[:, v] = along_w
        along_v = scipy.fft.fft(sheet, axis=1, overwrite_x=True)[:, self.k]
        whole = np.zeros((nu, len(self.k), self.n_l), dtype=np.complex64)
        whole[u] = along_v
        return np.asarray(scipy.fft.fft(whole, axis=0, overwrite_x=True)[self.h])


def _different(values: IntArray, n: int) -> tuple[IntArray, IntArray]:
    """Return which of 0 to n - 1 are among some values, and where each of these is in them."""
    present = np.zeros(n, dtype=bool)
    present[values] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[values]


def _indices(index: IntArray, n: int) -> IntArray:
    """Return all indices up to the largest, negative ones too, as places along an axis."""
    reach = int(np.abs(index).max(initial=0))
    return np.unique(np.arange(-reach, reach + 1) % n)
