"""Data in which every reflection has its twin mate beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import IntArray
from multicopy_refinement.crystal.hkl import places_of, to_asymmetric_unit
from multicopy_refinement.crystal.twins import TwinLaw
from multicopy_refinement.notices import Notice
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.reflections.twinning import mates_of


def with_mates(data: ReflectionData, law: TwinLaw) -> ReflectionData:
    """Return data with the twin mates that were not observed, and mates side by side.

    What is added is of neither set: F_model is wanted there, and nothing else. Its values are those
    of the mate, so that no statistic is moved by them.
    """
    lone = np.flatnonzero(mates_of(data, law) < 0)
    rows = np.concatenate([np.arange(len(data)), lone])
    added = to_asymmetric_unit(data.hkl[lone] @ law.matrix, data.spacegroup)
    flags = np.full(len(lone), data.labels.no_flag)
    left = np.arange(0)
    if len(data.unobserved_hkl):
        left = np.arange(len(data.unobserved_hkl))
        place = places_of(added, data.unobserved_hkl, data.spacegroup)
        flags = np.where(place >= 0, data.unobserved_flags[place], flags)
        left = np.setdiff1d(left, place)
    whole = replace(
        data.select(rows), hkl=np.concatenate([data.hkl, added]),
        flags=np.concatenate([data.flags, flags]),
        filled=np.arange(len(rows)) >= len(data),
        unobserved_hkl=data.unobserved_hkl[left], unobserved_flags=data.unobserved_flags[left],
    )  # fmt: skip
    whole = replace(whole, free=whole.free & ~whole.left_out)
    place = np.arange(len(rows))
    return whole.select(np.lexsort((place, np.minimum(place, mates_of(whole, law)))))


def parted_free_set(data: ReflectionData, mate: IntArray) -> tuple[Notice, ...]:
    """Return a notice where the twin mates of free reflections are in the work set.

    ``mate`` is where that of each reflection is.
    """
    parted = data.free & data.work[mate]
    n = int(parted.sum())
    if n == 0:
        return ()
    return (
        Notice(
            "free_set_of_twin",
            f"the twin mates of {n} of {int(data.free.sum())} free reflections are in the work "
            "set: R-free and the errors that come from the free set are too small; choose the free "
            "set so that mates are together",
        ),
    )
