"""Parts of a range, worked on by several threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch

from multicopy_refinement._typing import FloatArray

_wanted: ContextVar[int | None] = ContextVar("threads", default=None)

#: Parts for each thread where one of them may come later.
_PARTS = 4

_A = TypeVar("_A")
_B = TypeVar("_B")


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Let the package's loops use so many threads within the block, here and nowhere else.

    None leaves it to torch, whose number belongs to the process.
    """
    token = _wanted.set(count)
    try:
        yield
    finally:
        _wanted.reset(token)


@contextmanager
def one_thread_for_products() -> Iterator[None]:
    """Let matrix products use one thread within the block.

    The threads of OpenBLAS wait busily for one another; where the package's own threads or other
    programs need the processors, a factorisation takes ten times as long with two as with one.
    The number belongs to the process: it is given back when the last of the blocks that several
    threads are in ends, so that none of them computes with another number half way.
    """
    _few.enter()
    try:
        yield
    finally:
        _few.leave()


class _FewThreads:
    """One thread for matrix products as long as somebody wants it.

    OpenBLAS hears of a number from the thread alone that told it one first: a thread of our own
    sets it and gives it back.
    """

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0
        self._limits: Any = None
        self._teller: ThreadPoolExecutor | None = None

    def enter(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                if self._teller is None:
                    self._teller = ThreadPoolExecutor(1, thread_name_prefix="multicopy-limits")
                limits = _threadpool_limits()
                self._limits = self._teller.submit(limits, limits=1, user_api="blas").result()

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0 and self._teller is not None:
                self._teller.submit(self._limits.restore_original_limits).result()

    def forget(self) -> None:
        """Begin anew in a forked process, which has no threads."""
        self.__init__()  # type: ignore[misc]


_few = _FewThreads()


@lru_cache(maxsize=1)
def _threadpool_limits() -> Any:
    """Return what limits the threads of libraries; its import leaves the environment as it was."""
    before = dict(os.environ)
    from threadpoolctl import threadpool_limits  # it sets a variable of OpenMP

    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    return threadpool_limits


def thread_count() -> int:
    """Return how many threads a loop may use here."""
    return _wanted.get() or torch.get_num_threads()


def in_threads(
    work: Callable[[int, int], None], n: int, cost: FloatArray | None = None, *,
    most: int | None = None, one_by_one: bool = False,
) -> None:  # fmt: skip
    """Call ``work(first, last)`` for as many parts of 0..n as there are threads, or ``most``.

    Parts have equal length, or equal sums of ``cost`` ``[n]``, or are of one each: of few that take
    long, nobody knows how long. The caller and the threads of the pool take part after part: what a
    thread that wakes late has not begun is done by another, and none of them waits for threads that
    are at work elsewhere. Within the second of two calls made `at_once` parts are smaller, and the
    thread that made the first takes some.
    """
    most = n if most is None else min(n, most)
    n_threads = max(1, min(thread_count(), most))
    idle: _Idle | None = getattr(_here, "idle", None)
    if n_threads == 1 or (getattr(_here, "busy", False) and idle is None):
        work(0, n)  # a thread of the pool that waited for the pool could wait for ever
        return
    n_parts = n if one_by_one else n_threads if idle is None else min(_PARTS * n_threads, most)
    if cost is None:
        edges = np.linspace(0, n, n_parts + 1).astype(int).tolist()
    else:
        total = np.concatenate(([0.0], cost.cumsum()))
        inner = np.searchsorted(total, total[-1] * np.arange(1, n_parts) / n_parts)
        edges = [0, *inner.tolist(), n]
    parts = iter(list(pairwise(edges)))  # threads may share an iterator of a list

    def work_on() -> None:
        with _busy():
            for first, last in parts:
                work(first, last)

    if idle is not None:
        idle.help(work_on)
        return
    others = [_pool(n_threads - 1).submit(work_on) for _ in range(n_threads - 1)]
    try:
        work_on()
    finally:  # nobody writes any more when this returns or raises
        begun = [other for other in others if not other.cancel()]
        wait(begun)
    for other in begun:
        other.result()


def at_once(first: Callable[[], _A], second: Callable[[], _B]) -> tuple[_A, _B]:
    """Return what two calls return, that do not need one another, made at the same time.

    The second is that of one thread, with its loops; those of the first have all other threads,
    and its own when it has ended. The thread that has made the first takes parts of the loops of
    the second. With one thread they are made one after the other.
    """
    n_threads = thread_count()
    if n_threads == 1 or getattr(_here, "busy", False):
        return first(), second()
    context, idle = copy_context(), _Idle()

    def beside() -> _B:
        try:
            with _busy(idle):
                return context.run(second)
        finally:
            idle.go()

    other = _pool(n_threads - 1).submit(beside)
    try:
        found = first()
    finally:
        if begun := not other.cancel():
            idle.wait()
    return found, other.result() if begun else second()


class _Idle:
    """A thread that has nothing else to do, for the loops of another one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loop: Callable[[], None] | None = None
        self._at_work, self._may_go = False, False
        self._fault: BaseException | None = None

    def help(self, work_on: Callable[[], None]) -> None:
        """Work on parts until there are no more, and let the idle thread do so as well."""
        with self._changed:
            self._loop = work_on
            self._changed.notify_all()
        try:
            work_on()
        finally:  # nobody writes any more when this returns or raises
            with self._changed:
                self._loop = None
                self._changed.wait_for(lambda: not self._at_work)
                fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def wait(self) -> None:
        """Be that thread until it may go."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._loop is not None or self._may_go)
                work_on, self._loop = self._loop, None
                if work_on is None:
                    return
                self._at_work = True
            try:
                work_on()
            except BaseException as fault:  # it is that of the thread whose loop it is
                self._fault = fault
            with self._changed:
                self._at_work = False
                self._changed.notify_all()

    def go(self) -> None:
        """Let the idle thread go."""
        with self._changed:
            self._may_go = True
            self._changed.notify_all()


#: Whether this thread is at work on a part or a call of two, and who helps with its loops.
_here = threading.local()


@contextmanager
def _busy(idle: _Idle | None = None) -> Iterator[None]:
    """Let loops within the block be of this thread alone, or of one that is idle, too."""
    before = getattr(_here, "busy", False), getattr(_here, "idle", None)
    _here.busy, _here.idle = True, idle
    try:
        yield
    finally:
        _here.busy, _here.idle = before


@lru_cache(maxsize=2)
def _pool(n_threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(n_threads, thread_name_prefix="multicopy")


# a forked process has the pool, but not its threads
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)
    os.register_at_fork(after_in_child=_few.forget)
