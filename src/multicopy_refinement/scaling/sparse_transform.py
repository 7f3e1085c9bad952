"""Fourier transform of a few points of a grid, at the indices that are wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from multicopy_refinement._typing import FloatArray, IntArray


class SparseTransform:
    """F(h) = V/N sum_v D(v) exp(2 pi i h v/n) of a few points, at low-resolution indices."""

    def __init__(self, shape: Sequence[int], hkl: IntArray, volume: float) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.scale = volume / float(np.prod(self.shape))
        turned = hkl[:, 2] < 0
        h = np.where(turned[:, None], -hkl, hkl)
        self.conjugate = ~turned  # the transform of numpy has the other sign
        self.n_l = int(h[:, 2].max(initial=0)) + 1
        reach = int(np.abs(h[:, 1]).max(initial=0))
        self.k = np.unique(np.arange(-reach, reach + 1) % self.shape[1])
        at_k = np.searchsorted(self.k, h[:, 1] % self.shape[1])
        self.pick = (h[:, 0] % self.shape[0], at_k, h[:, 2])

    def __call__(self, points: IntArray, values: FloatArray) -> np.ndarray:
        """Return F at the indices, complex64 ``[n]``."""
        if len(points) == 0:
            return np.zeros(len(self.conjugate), dtype=np.complex64)
        nu, nv, nw = self.shape
        column, w = np.divmod(points, nw)
        columns, at_column = np.unique(column, return_inverse=True)
        lines = np.zeros((len(columns), nw), dtype=np.float32)
        np.add.at(lines, (at_column, w), values.astype(np.float32))
        along_w = scipy.fft.rfft(lines, axis=1)[:, : self.n_l]
        planes, at_plane = np.unique(columns // nv, return_inverse=True)
        sheet = np.zeros((len(planes), nv, self.n_l), dtype=np.complex64)
        sheet[at_plane, columns % nv] = along_w
        along_v = scipy.fft.fft(sheet, axis=1, overwrite_x=True)[:, self.k]
        whole = np.zeros((nu, len(self.k), self.n_l), dtype=np.complex64)
        whole[planes] = along_v
        whole = scipy.fft.fft(whole, axis=0, overwrite_x=True)
        picked = whole[self.pick]
        return np.asarray(self.scale * np.where(self.conjugate, picked.conj(), picked))
