"""Cholesky factors and inverses in the memory of a matrix, by NumPy's."""

import threading
import time

import numpy as np
import pytest

from multicopy_refinement.parallel import one_thread_for_products, using_threads
from multicopy_refinement.solve import cholesky
from multicopy_refinement.solve.cholesky import factorise, invert, positive_without


def positive(n: int) -> np.ndarray:
    slopes = np.random.default_rng(n).normal(size=(n, 2 * n + 3))
    return slopes @ slopes.T


@pytest.mark.parametrize("n", [1, 7, 300, 1024, 1300])
def test_factors_and_inverses(n):
    whole = positive(n)
    matrix = np.tril(whole)  # what is above the diagonal is not asked for
    assert factorise(matrix)
    factor = np.tril(matrix)
    assert np.allclose(factor @ factor.T, whole, rtol=1e-12, atol=1e-10)
    assert invert(matrix)
    found = np.tril(matrix) + np.tril(matrix, -1).T
    assert np.abs(found @ whole - np.eye(n)).max() < 1e-9


def test_the_same_bits_by_one_thread_and_by_two():
    found = []
    for threads in (1, 2):
        matrix = positive(1100)
        with one_thread_for_products(), using_threads(threads):
            assert factorise(matrix)
            assert invert(matrix)
        found.append(np.tril(matrix))
    assert np.array_equal(*found)


@pytest.mark.parametrize("n", [40, 1100])
def test_what_is_not_positive_is_told(n):
    matrix = positive(n)
    matrix[n - 2, n - 2] = -1.0
    assert not factorise(matrix)
    factor = np.eye(n)
    factor[n - 2, n - 2] = 0.0
    assert not invert(factor)


@pytest.mark.parametrize("n", [40, 1100])
def test_less_than_the_smallest_eigenvalue_may_be_taken_away(n):
    matrix = positive(n)
    least = float(np.linalg.eigvalsh(matrix)[0])
    kept = matrix.copy()
    assert positive_without(matrix, 0.999 * least)
    assert not positive_without(matrix, 1.001 * least)
    assert np.array_equal(matrix, kept)


def test_no_rows():
    assert factorise(np.zeros((0, 0)))
    assert invert(np.zeros((0, 0)))


@pytest.mark.parametrize(
    "matrix", [np.eye(3, dtype=np.float32), np.ones((3, 2)), np.eye(6)[::2, ::2]]
)
def test_what_lapack_could_not_work_on_is_refused(matrix):
    with pytest.raises(ValueError, match="square matrix of doubles"):
        factorise(matrix)


def test_by_the_wrapper_where_the_arguments_are_others(monkeypatch):
    whole = positive(30)
    matrix, other = whole.copy(), whole.copy()
    assert factorise(matrix)
    assert invert(matrix)
    monkeypatch.setattr(cholesky, "_routine", lambda name: None)
    assert factorise(other)
    assert np.array_equal(np.triu(other, 1), np.triu(whole, 1))
    assert invert(other)
    assert np.allclose(np.tril(other), np.tril(matrix), rtol=1e-12)
    assert not factorise(-whole)


def test_the_lock_of_the_interpreter_is_free_meanwhile(monkeypatch):
    """Another thread goes on while LAPACK works."""
    monkeypatch.setattr(cholesky, "_LARGE", 10_000)
    matrix, counted, done = positive(1500), [], threading.Event()

    def count() -> None:
        while not done.is_set():
            counted.append(time.perf_counter())

    thread = threading.Thread(target=count)
    thread.start()
    begin = time.perf_counter()
    assert factorise(matrix)
    assert invert(matrix)
    end = time.perf_counter()
    done.set()
    thread.join()
    within = np.array([begin, *[t for t in counted if begin < t < end], end])
    assert np.diff(within).max() < 0.5 * (end - begin)
