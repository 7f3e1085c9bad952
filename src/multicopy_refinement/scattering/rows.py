"""Sums over and along rows, in double precision; most rows are stored in single precision."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from multicopy_refinement._typing import ComplexArray, FloatArray, IntArray
from multicopy_refinement.parallel import in_threads


def weighted_rows(
    matrix: NDArray[np.floating], weights: FloatArray, chosen: IntArray | None = None
) -> FloatArray:
    """Return w'M, ``[n]``, for M ``[n_rows, n]``, or for some rows of it."""
    from multicopy_refinement.scattering.kernels.rows import add_weighted_rows

    found = np.zeros(matrix.shape[1])
    memory, stride = _memory(matrix)
    begin = (np.arange(len(matrix)) if chosen is None else chosen) * stride
    weights = np.ascontiguousarray(weights, dtype=np.float64)
    in_threads(
        lambda first, last: add_weighted_rows(first, last, found, memory, begin, weights),
        len(found),
    )
    return found


def row_products(matrix: NDArray[np.float32], vector: FloatArray) -> FloatArray:
    """Return M v, ``[n_rows]``, for M ``[n_rows, n]``."""
    from multicopy_refinement.scattering.kernels.rows import row_sums

    found = np.zeros(len(matrix))
    memory, stride = _memory(matrix)
    vector = np.ascontiguousarray(vector, dtype=np.float64)
    in_threads(lambda first, last: row_sums(first, last, found, memory, stride, vector), len(found))
    return found


def weighted_complex_rows(
    matrix: NDArray[np.complexfloating], weights: FloatArray, chosen: IntArray | None = None
) -> ComplexArray:
    """Return w'M, complex ``[n]``, for a complex M ``[n_rows, n]``, or for some rows of it."""
    single = matrix.dtype == np.complex64
    parts: NDArray[np.floating] = matrix.view(np.float32) if single else matrix.view(np.float64)
    return weighted_rows(parts, weights, chosen).view(np.complex128)


def complex_row_products(matrix: NDArray[np.complex64], vector: ComplexArray) -> FloatArray:
    """Return Re(M* v), ``[n_rows]``, for a complex M ``[n_rows, n]``."""
    parts = np.ascontiguousarray(vector, dtype=np.complex128).view(np.float64)
    return row_products(matrix.view(np.float32), parts)


def real_parts(
    real: NDArray[np.floating], imaginary: NDArray[np.floating], u: ComplexArray,
    dtype: type[np.floating],
) -> NDArray[np.floating]:  # fmt: skip
    """Return Re(conj(u) M), ``[n_rows, n]``, from real and imaginary parts of M."""
    from multicopy_refinement.scattering.kernels.rows import project_rows

    found = np.empty(real.shape, dtype=dtype)
    u_real, u_imaginary = u.real.astype(dtype), u.imag.astype(dtype)
    if real.strides != imaginary.strides:
        real, imaginary = np.ascontiguousarray(real), np.ascontiguousarray(imaginary)
    (re, stride), (im, _) = _memory(real), _memory(imaginary)
    in_threads(
        lambda first, last: project_rows(first, last, found, re, im, stride, u_real, u_imaginary),
        len(real),
    )
    return found


def subtract_real_parts(
    found: NDArray[np.floating], places: IntArray, matrix: NDArray[np.complex64], u: ComplexArray
) -> None:
    """Subtract Re(conj(u) M) from ``found[:, places]``, in place; M is ``[n_rows, n_places]``."""
    from multicopy_refinement.scattering.kernels.rows import subtract_projected

    u_real, u_imaginary = u.real.astype(found.dtype), u.imag.astype(found.dtype)
    memory, stride = _memory(matrix.view(np.float32))
    in_threads(
        lambda first, last: subtract_projected(
            first, last, found, places, memory, stride, u_real, u_imaginary
        ),
        len(matrix),
    )


def _memory(matrix: NDArray[np.floating]) -> tuple[NDArray[np.floating], int]:
    """Return all memory between the first and the last element, and the length of a row in it."""
    matrix = np.asarray(matrix)  # of a file that is mapped into memory
    if matrix.size and matrix.strides[1] != matrix.itemsize:
        matrix = np.ascontiguousarray(matrix)
    stride = matrix.strides[0] // matrix.itemsize
    length = (len(matrix) - 1) * stride + matrix.shape[1] if matrix.size else 0
    return as_strided(matrix, (length,), (matrix.itemsize,), writeable=False), stride
