"""Parts of a range in threads."""

import multiprocessing
import threading

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from multicopy_refinement.parallel import (
    at_once,
    in_threads,
    one_thread_for_products,
    thread_count,
    using_threads,
)


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [0, 1, 3, 100])
@pytest.mark.parametrize("even", [True, False])
def test_every_place_is_worked_on_once(threads, n, even):
    count = np.zeros(n, dtype=int)

    def work(first, last):
        count[first:last] += 1

    in_threads(work, n, None if even else np.arange(n, dtype=float) ** 2)
    assert (count == 1).all()


def test_parts_have_like_costs(threads):
    cost = np.zeros(1000)
    cost[:100] = 1.0
    parts = []
    in_threads(lambda i, j: parts.append(cost[i:j].sum()), 1000, cost)
    assert max(parts) <= 100 / threads + 1


def test_nested_calls_do_not_wait_for_each_other(threads):
    """Parts that share out work again, from several threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    done = []

    def outer(first, last):
        in_threads(lambda i, j: done.append(j - i), 50)

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(in_threads, outer, 8) for _ in range(4)]
        for one in waiting:
            one.result(timeout=20)
    assert sum(done) % 50 == 0


def test_no_more_parts_than_asked_for(threads):
    for most in (0, 1, 2, 100):
        parts = []
        in_threads(lambda i, j, p=parts: p.append((i, j)), 1000, most=most)
        assert len(parts) == max(1, min(threads, most))


def test_errors_reach_the_caller(threads):
    def work(first, last):
        raise KeyError(first)

    with pytest.raises(KeyError):
        in_threads(work, 10)


def test_two_calls_are_made_at_the_same_time(threads):
    begun = [threading.Event(), threading.Event()]

    def call(mine):
        begun[mine].set()
        if threads > 1:  # each waits for the other
            assert begun[1 - mine].wait(20)
        return mine

    assert at_once(lambda: call(0), lambda: call(1)) == (0, 1)


def test_loops_within_two_calls_do_all_their_work(threads):
    def work():
        count = np.zeros(1000, dtype=int)
        for _ in range(20):
            in_threads(lambda i, j: count[i:j].__iadd__(1), 1000)
        return int(count.min()), int(count.max())

    assert at_once(work, work) == ((20, 20), (20, 20))
    nested = at_once(lambda: at_once(work, work), lambda: at_once(work, work))
    assert nested == (((20, 20),) * 2,) * 2


@pytest.mark.parametrize("threads", [2, 5], indirect=True)
def test_a_loop_does_not_wait_for_threads_at_work_elsewhere(threads):
    may_end = threading.Event()

    def long():
        assert may_end.wait(20)

    def short():
        in_threads(lambda i, j: None, 100)
        may_end.set()  # which would be never, if the loop waited

    at_once(short, long)


@pytest.mark.parametrize("threads", [2, 5], indirect=True)
def test_who_has_ended_helps_with_the_loops_of_the_other(threads):
    """Two parts that wait for one another need two threads."""
    ended, count = threading.Event(), np.zeros(100, dtype=int)

    def long():
        assert ended.wait(20)
        meet = threading.Barrier(2)
        workers = set()

        def work(first, last):
            if threading.get_ident() not in workers:
                workers.add(threading.get_ident())
                meet.wait(20)
            count[first:last] += 1

        in_threads(work, 100)
        in_threads(lambda i, j: count[i:j].__iadd__(1), 100)
        return len(workers)

    assert at_once(ended.set, long) == (None, 2)
    assert (count == 2).all()


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_errors_of_who_helps_are_those_of_the_loop(threads):
    ended, owner = threading.Event(), []

    def long():
        assert ended.wait(20)
        owner.append(threading.get_ident())
        meet = threading.Barrier(2)

        def work(first, last):
            if first == 0 or threading.get_ident() != owner[0]:
                meet.wait(20)
            if threading.get_ident() != owner[0]:
                raise KeyError("helper")

        with pytest.raises(KeyError, match="helper"):
            in_threads(work, 100)
        return "goes on"

    assert at_once(ended.set, long) == (None, "goes on")


def test_the_number_of_threads_holds_in_both_calls():
    with using_threads(3):
        assert at_once(thread_count, thread_count) == (3, 3)


@pytest.mark.parametrize("first", [True, False])
def test_errors_of_either_call_reach_the_caller_when_both_have_ended(threads, first):
    ended = []

    def fails():
        raise KeyError("one")

    def goes_on():
        ended.append(1)

    with pytest.raises(KeyError):
        at_once(*((fails, goes_on) if first else (goes_on, fails)))
    assert ended or first


def _work_in_child(queue):
    count = np.zeros(50)
    in_threads(lambda i, j: count[i:j].__iadd__(1), 50)
    queue.put(count.sum())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_process_has_threads_of_its_own(threads):
    in_threads(lambda i, j: None, 50)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_work_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=20) == 50
    child.join()


def products_use():
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_one_thread_for_products_lasts_until_the_last_block_ends():
    before = products_use()
    inside, may_end = threading.Event(), threading.Event()

    def other():
        with one_thread_for_products():
            inside.set()
            may_end.wait(10)

    thread = threading.Thread(target=other)
    with one_thread_for_products():
        thread.start()
        assert inside.wait(10)
    assert products_use() == {1}  # the other block goes on
    may_end.set()
    thread.join()
    assert products_use() == before
