"""Sums over and along rows in single precision, by NumPy in double precision."""

import numpy as np
import pytest

from multicopy_refinement.parallel import using_threads
from multicopy_refinement.scattering.rows import (
    complex_row_products,
    row_products,
    weighted_complex_rows,
    weighted_rows,
)


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(37, 5000)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [slice(None), slice(1000, 3100), slice(7, 8), slice(9, 9)])
def test_slices_of_rows(matrix, rows, threads):
    random = np.random.default_rng(1)
    part, weights = matrix[:, rows], random.normal(size=37)
    weights[3] = 0.0
    vector = random.normal(size=part.shape[1])
    with using_threads(threads):
        across, along = weighted_rows(part, weights), row_products(part, vector)
    assert np.allclose(across, weights @ part.astype(float), rtol=1e-12, atol=1e-12)
    assert np.allclose(along, part.astype(float) @ vector, rtol=1e-12, atol=1e-11)


def test_strides_along_rows_and_no_rows(matrix):
    part = matrix[:, ::3]
    assert np.allclose(weighted_rows(part, np.ones(37)), part.sum(0, dtype=float), atol=1e-12)
    assert np.array_equal(weighted_rows(matrix[:0], np.zeros(0)), np.zeros(5000))
    assert len(row_products(matrix[:0], np.ones(5000))) == 0


def test_complex_rows(matrix):
    columns = (matrix[:, :2500] + 1j * matrix[:, 2500:]).astype(np.complex64)
    random = np.random.default_rng(2)
    c = random.normal(size=2500) + 1j * random.normal(size=2500)
    w = random.normal(size=37)
    whole = columns.astype(complex)
    assert np.allclose(weighted_complex_rows(columns, w), w @ whole, rtol=1e-12, atol=1e-12)
    assert np.allclose(complex_row_products(columns, c), (whole.conj() @ c).real, atol=1e-11)
    some = np.array([30, 2, 2, 36, 0])
    found = weighted_complex_rows(columns, w[:5], some)
    assert np.allclose(found, w[:5] @ whole[some], rtol=1e-12, atol=1e-12)


def test_rows_of_doubles(matrix):
    doubles = np.ascontiguousarray(matrix[:, :300].T, dtype=float).T  # in the order of Fortran
    weights = np.random.default_rng(3).normal(size=37)
    assert np.allclose(weighted_rows(doubles, weights), weights @ doubles, rtol=1e-12)
    columns = np.ascontiguousarray(doubles[:5] + 1j * doubles[5:10])
    assert np.allclose(weighted_complex_rows(columns, weights[:5]), weights[:5] @ columns)
