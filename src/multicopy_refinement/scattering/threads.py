"""Equal parts of a range, worked on by as many threads as torch has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch


def in_threads(work: Callable[[int, int], None], n: int) -> None:
    """Call ``work(first, last)`` for as many equal parts of 0..n as torch has threads."""
    n_threads = max(1, min(torch.get_num_threads(), n))
    edges = np.linspace(0, n, n_threads + 1).astype(int).tolist()
    if n_threads == 1:
        work(0, n)
        return
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(work, edges[:-1], edges[1:]))
