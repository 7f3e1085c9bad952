"""The free set is told by name and values: the rarer of two values, or 0 of many."""

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
    choice = choose_free_set({"FREE": two_values(part_of_ones)})
    assert (choice.label, choice.value) == ("FREE", free)
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
    choice = choose_free_set({"FREE": flags})
    assert (choice.label, choice.value) == (None, None)
    assert choice.why


def test_no_column_is_no_free_set():
    assert choose_free_set({}).value is None


def test_reflections_without_a_flag_are_not_counted():
    flags = np.concatenate([np.full(3000, np.nan), two_values(0.95)])
    choice = choose_free_set({"FREE": flags})
    assert choice.value == 0
    assert "5.0%" in choice.why


def test_a_column_named_for_it_comes_first():
    columns = {"batch": two_values(0.05), "FreeR_flag": MANY}
    assert choose_free_set(columns).label == "FreeR_flag"


@pytest.mark.parametrize("first", [np.zeros(1000), two_values(0.5), two_values(0.002)])
def test_a_column_whose_values_can_be_one_comes_first(first):
    columns = {"FreeR_flag": first, "TEST": two_values(0.05)}
    assert choose_free_set(columns).label == "TEST"


@pytest.mark.parametrize(
    "name",
    ["FreeR_flag", "FREE", "RFREE", "R-free-flags", "R-free-flags-2", "FreeRflag", "FREERFLAG_1",
     "free_r", "TEST", "test", "Test_set", "TESTFLAG", "test-array", "status", "R free"],
)  # fmt: skip
def test_names_of_free_sets(name):
    assert choose_free_set({"N": two_values(0.05), name: two_values(0.05)}).label == name


@pytest.mark.parametrize(
    "name",
    ["N", "N(+)", "MULT", "NOBS", "FLAG", "SA_flag", "BATCH", "M_ISYM", "flags", "latest"],
)  # fmt: skip
@pytest.mark.parametrize("values", [two_values(0.05), MANY])
def test_other_integers_are_no_free_set_unless_asked_for(name, values):
    choice = choose_free_set({name: values})
    assert (choice.label, choice.value) == (None, None)
    assert name in choice.why
    assert "--free-label" in choice.why
    assert choose_free_set({name: values}, name).label == name
    with pytest.raises(ReflectionFileError, match=r"--free-label: "):
        choose_free_set({name: values}, value=0)


def test_a_small_part_of_many_reflections_can_be_a_free_set():
    assert choose_free_set({"FREE": two_values(0.005, 200_000)}).value == 1
    assert choose_free_set({"FREE": two_values(0.005, 20_000)}).value is None


def test_flags_of_shelx():
    flags = np.where(two_values(0.05) == 1, -1.0, 1.0)
    assert choose_free_set({"RFREE": flags}).value == -1
    flags[500:600] = 0  # of neither set
    assert choose_free_set({"RFREE": flags}).value == -1


def test_another_free_set_is_named_where_it_marks_others():
    one, other = two_values(0.05), two_values(0.05)[::-1]
    assert choose_free_set({"FREE": one, "FREE2": 1 - one}).others == ()
    assert choose_free_set({"FREE": one, "TEST": other}).others == ("TEST",)


def test_what_is_asked_for_overrules():
    columns = {"FreeR_flag": MANY, "TEST": two_values(0.05)}
    assert choose_free_set(columns, "TEST").value == 1
    assert choose_free_set(columns, "TEST", 0).value == 0
    assert choose_free_set(columns, value=7).label == "FreeR_flag"
    assert choose_free_set(columns, "FreeR_flag", 19).value == 19
    assert choose_free_set({"FREE": two_values(0.5)}, "FREE", 1).value == 1


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
    assert choose_free_set({"FREE": flags}).value == free
