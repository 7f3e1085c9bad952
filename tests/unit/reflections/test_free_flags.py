"""The free set is told by what the columns hold: the rarer of two values, or 0 of many."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.reflections.free_flags import choose_free_set

MANY = np.arange(2000.0) % 20


def two_values(part_of_ones, n=1000):
    flags = np.zeros(n)
    flags[: round(part_of_ones * n)] = 1
    return flags


@pytest.mark.parametrize(("part_of_ones", "free"), [(0.05, 1), (0.95, 0), (0.10, 1), (0.90, 0)])
def test_the_rarer_of_two_values_is_free(part_of_ones, free):
    choice = choose_free_set({"flags": two_values(part_of_ones)})
    assert (choice.label, choice.value) == ("flags", free)
    assert "rarer of two values" in choice.why


def test_zero_of_many_values_is_free():
    choice = choose_free_set({"FreeR_flag": MANY})
    assert (choice.label, choice.value) == ("FreeR_flag", 0)
    assert "0 of 20 values (0 to 19)" in choice.why
    assert "5.0%" in choice.why


@pytest.mark.parametrize(
    "flags",
    [
        np.zeros(100),
        np.ones(100),
        two_values(0.5),
        two_values(0.4),
        np.full(100, np.nan),
        np.array([]),
        MANY + 1,
        MANY + 0.5,
    ],
    ids=["zeros", "ones", "half", "40%", "nan", "nothing", "no zero", "fractions"],
)
def test_columns_that_mark_no_free_set(flags):
    choice = choose_free_set({"flags": flags})
    assert (choice.label, choice.value) == (None, None)
    assert choice.why


def test_no_column_is_no_free_set():
    assert choose_free_set({}).value is None


def test_reflections_without_a_flag_are_not_counted():
    flags = np.concatenate([np.full(3000, np.nan), two_values(0.95)])
    choice = choose_free_set({"flags": flags})
    assert choice.value == 0
    assert "5.0%" in choice.why


def test_a_column_named_for_it_comes_first():
    columns = {"batch": two_values(0.05), "FreeR_flag": MANY}
    assert choose_free_set(columns).label == "FreeR_flag"


def test_a_column_that_can_be_one_comes_before_a_name():
    columns = {"FreeR_flag": np.zeros(1000), "other": two_values(0.05)}
    assert choose_free_set(columns).label == "other"


def test_what_is_asked_for_overrules():
    columns = {"FreeR_flag": MANY, "TEST": two_values(0.05)}
    assert choose_free_set(columns, "TEST").value == 1
    assert choose_free_set(columns, "TEST", 0).value == 0
    assert choose_free_set(columns, value=7).label == "FreeR_flag"
    assert choose_free_set(columns, "FreeR_flag", 19).value == 19
    assert choose_free_set({"flags": two_values(0.5)}, "flags", 1).value == 1


@pytest.mark.parametrize(
    ("label", "value", "says"),
    [
        ("NONE", None, r"'NONE'.*FreeR_flag, half"),
        ("NONE", 0, "'NONE'"),
        (None, 20, "free flag 20"),
        ("FreeR_flag", 20, "free flag 20"),
        ("half", None, "'half'.*--free-value"),
    ],
)
def test_what_is_asked_for_and_not_there_is_refused(label, value, says):
    columns = {"FreeR_flag": MANY, "half": two_values(0.5, 2000)}
    with pytest.raises(ReflectionFileError, match=says):
        choose_free_set(columns, label, value)


@given(
    part=st.floats(0.01, 0.34),
    values=st.lists(st.integers(-5, 30), min_size=2, max_size=2, unique=True),
    seed=st.integers(0, 100),
)
def test_the_choice_does_not_depend_on_values_or_order(part, values, seed):
    free, work = values
    flags = np.full(500, float(work))
    flags[: max(1, round(500 * part))] = free
    np.random.default_rng(seed).shuffle(flags)
    assert choose_free_set({"flags": flags}).value == free
