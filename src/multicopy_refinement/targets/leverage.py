"""How much of the data a fit takes up, and the errors that are the data's own.

A fit follows the noise of what it is fitted to, and is off by as much elsewhere. With v the
variance of the data's own errors and h the part of a reflection that the parameters take up (its
leverage), the mean square residual is v (1 - h) in the work set, and v (1 + h) where the data are
new (Mallows 1973, Technometrics 15, 661, for h alike for all). The likelihood has the errors of the
free set, since those of the work set are too small; for the su of what was fitted, which count what
the parameters are off by themselves, they are too large by 1 + h.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multicopy_refinement._typing import BoolArray, FloatArray
from multicopy_refinement.reflections.data import ReflectionData
from multicopy_refinement.targets.base import Target
from multicopy_refinement.targets.shells import make_shells
from multicopy_refinement.targets.sigma_a import SMALLEST_FREE_SET, ErrorModel

#: Free reflections of a shell: the mean square residual of so many is known to a tenth.
_PER_SHELL = 200


def leverage(data: ReflectionData, target: Target, size: FloatArray) -> FloatArray:
    """Return h of each reflection, by resolution, ``[n]``.

    With c = sum slope^2/sum information of a shell, as of work and free set,
    h = (c_free - c_work)/(c_free + c_work), and not less than 0. It is 0 where the free set is too
    small to say.

    Parameters
    ----------
    data
        The reflections.
    target
        Gives slope and information, whatever errors it has.
    size
        |F_model| of each, ``[n]``.
    """
    if int(data.free.sum()) < SMALLEST_FREE_SET:
        return np.zeros(len(data))
    shells = make_shells(data.s_squared, data.free, per_shell=_PER_SHELL)
    found, count = target.derivatives(size), len(shells.centre)

    def misfit(rows: BoolArray) -> FloatArray:
        number = shells.number[rows]
        squares = np.bincount(number, found.slope[rows] ** 2, minlength=count)
        expected = np.bincount(number, found.information[rows], minlength=count)
        return np.asarray(squares / np.maximum(expected, 1e-300))

    work, free = misfit(data.work), misfit(data.free)
    h = np.maximum((free - work) / np.maximum(free + work, 1e-300), 0.0)
    return shells.interpolate(h, data.s_squared)


def own_errors(data: ReflectionData, errors: ErrorModel, h: FloatArray) -> ErrorModel:
    """Return errors with Sigma/(1 + h) in the work set, but no less than those of measurement."""
    own = np.maximum(errors.variance / (1 + h), data.rice_noise)
    variance = np.where(data.work, own, errors.variance)
    beta = np.where(data.work, (own - data.rice_noise) / data.epsilon, errors.beta)
    return replace(errors, variance=variance, beta=beta)
