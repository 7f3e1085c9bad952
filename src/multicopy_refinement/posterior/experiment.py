"""Model, structure factors, scale and target composed into one differentiable forward model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.twins import TwinLaw
from multicopy_refinement.model import Model
from multicopy_refinement.modes import TargetKind
from multicopy_refinement.notices import Notice
from multicopy_refinement.occupancy.values import not_full
from multicopy_refinement.parallel import at_once
from multicopy_refinement.posterior.agreement import Statistics, r_factor
from multicopy_refinement.posterior.blocks import Kind
from multicopy_refinement.posterior.extinction import ExtinguishedAmplitude
from multicopy_refinement.posterior.observable import AMPLITUDE, Observable, TwinAmplitude
from multicopy_refinement.posterior.priors import OccupancyPrior
from multicopy_refinement.posterior.same_crystal import check_same_crystal, extinction_wavelength
from multicopy_refinement.reflections import ReflectionData
from multicopy_refinement.reflections.twin_mates import parted_free_set
from multicopy_refinement.reflections.twinning import mates_of
from multicopy_refinement.scaling import Scale, fit_scale
from multicopy_refinement.scaling.displaced import FAINT, displaced_solvent
from multicopy_refinement.scaling.mask import COARSEST, MaskGrid, density_structure_factors
from multicopy_refinement.scaling.room import best_blend, best_grid
from multicopy_refinement.scaling.scaler import B_BOUNDS
from multicopy_refinement.scaling.solvent import Displaced, Solvent
from multicopy_refinement.scaling.ways import Judged
from multicopy_refinement.scattering import structure_factors
from multicopy_refinement.scattering.rows import weighted_complex_rows
from multicopy_refinement.targets import Target
from multicopy_refinement.targets.choice import least_squares, likelihood, target_kind
from multicopy_refinement.targets.leverage import leverage, own_errors
from multicopy_refinement.targets.renewal import Renewal
from multicopy_refinement.targets.screening import (
    IMPROBABLE,
    MOST_OUTLIERS,
    Ranges,
    extreme_intensities,
    grossly_off,
    improbable,
    large_sigmas,
    screening_notices,
    uneven_ranges,
)
from multicopy_refinement.targets.sigma_a import ErrorModel, estimate_errors

#: Renewals that look for outliers, and how often each looks again.
MOST_SCREENINGS, _SCREENING_ROUNDS = 3, 4
#: Scale and extinction are fitted in turn so often.
_EXTINCTION_ROUNDS = 3
#: The radius by which solvent grows back is found from reflections to where S is this part of
#: k_sol, and one in so many beyond.
_OF_SOLVENT, _PART = 0.02, 8
#: The solvent is made anew when an atom has moved by more than this, in A.
_MOVED = 0.03
#: How often its ways are open is asked anew when an occupancy has changed by more than this.
_OTHER_WAYS = 0.01


class Experiment(nn.Module):
    """A model with the data that it is to explain.

    ``forward()`` is F_model = k exp(-h'Bh/4) (F_calc + S F_mask), S that of `Scale`, at the
    data's reflections, differentiable in the parameters of the model. Scale and error model are
    held between calls of `renew`; F_mask follows the occupancies of refined groups, linearly
    around those of the last call, and nothing else.

    Parameters
    ----------
    model
        A loaded model.
    data
        Its reflections.
    target
        A likelihood or least squares; the likelihood of what was measured, intensities or
        amplitudes, when left out.
    f_calc, occupancy
        F of the model's atoms at the data's reflections, or what makes it, which is called while
        the solvent is made; and the occupancies of its groups. Those of the model as it is when
        left out.
    like
        Another experiment of the same atoms in the same cell, whose data reach as far: its mask is
        taken where it is made from the same.
    solvent
        Makes the solvent of partial groups, as `displaced_solvent` does when left out.
    shrink
        How far solvent grows back from where the probe fits, in A; what the data ask for when left
        out (`solvent_radius`).
    mask_spacing
        Of the grid of the mask, at most, in A.
    twin
        The law of a twin and the fraction of its second domain to begin with: the data have the
        mate of each reflection beside it
        (`multicopy_refinement.reflections.twin_mates.with_mates`).
    extinction
        Whether strong reflections are weakened by extinction, with a coefficient that is fitted
        with the scale (`multicopy_refinement.posterior.extinction.ExtinguishedAmplitude`).

    Raises
    ------
    InputError
        Cells that differ by more than 2%, space groups of
        another symmetry or centring; a likelihood of intensities for amplitudes; extinction of
        a twin, or without a wavelength.
    """

    scale: Scale
    errors: ErrorModel
    target: Target
    f_mask: ComplexArray
    solvent: Solvent

    def __init__(
        self,
        model: Model,
        data: ReflectionData,
        *,
        target: TargetKind | None = None,
        f_calc: Tensor | Callable[[], Tensor] | None = None,
        occupancy: FloatArray | None = None,
        like: Experiment | None = None,
        solvent: Callable[..., Solvent] = displaced_solvent,
        shrink: float | None = None,
        mask_spacing: float = COARSEST,
        twin: tuple[TwinLaw, float] | None = None,
        extinction: bool = False,
    ) -> None:
        super().__init__()
        self._make_solvent = solvent
        self._like = [] if like is None else [like]  # in a list: it is no module of this one
        self.notices = check_same_crystal(model, data)
        self.model = model
        self.target_kind = target_kind(target, data)
        on_crystal = data.on_crystal(model.cell, model.spacegroup)
        self.all_data = on_crystal.with_effective(self.target_kind is TargetKind.MLI)
        self.data, self.ranges, self._screenings = self.all_data, Ranges.none(len(data)), 0
        self.twin: TwinLaw | None = None if twin is None else twin[0]
        self.twin_fraction = 0.0 if twin is None else twin[1]
        self._mate = None if self.twin is None else mates_of(self.all_data, self.twin)
        #: x of `ExtinguishedAmplitude`, None without extinction.
        self.extinction: float | None = None
        if extinction:
            self._wavelength = extinction_wavelength(model, data, twinned=twin is not None)
            self.extinction = 0.0
        self._extinguished: ExtinguishedAmplitude | None = None
        self._scale: Scale | None = None
        self.grid = MaskGrid.of(
            self.data.cell, self.data.spacegroup, self.data.listed_d_min, mask_spacing
        )
        if like is not None:
            shrink, self.grid = like.grid.shrink, self.grid.with_blend(like.grid.blend)
        if shrink is not None:
            self.grid = self.grid.with_shrink(shrink)
        self._shrink = shrink
        self._judged = Judged()
        self._solvent_made_from: tuple[bytes, FloatArray] | None = None
        self._response: tuple[Tensor, ...] | None = None
        self._displaced: tuple[IntArray, Displaced, ComplexArray] | None = None
        self.renew(f_calc, occupancy)

    @property
    def observable(self) -> Observable:
        """What is measured of F_model."""
        if self._extinguished is not None:
            return self._extinguished
        if self._mate is None:
            return AMPLITUDE
        return TwinAmplitude(self._mate, self.twin_fraction)

    def size(self, f_model: Tensor) -> FloatArray:
        """Return what is measured of an F_model, ``[n]``."""
        return self.observable.amplitude(f_model.detach()).numpy()

    @property
    def f_obs(self) -> Tensor:
        """Observed amplitudes in float64, ``[n]``."""
        return torch.as_tensor(self.data.f_obs)

    def f_calc(self) -> Tensor:
        """Return F of the atoms alone, complex ``[n]``, differentiable."""
        return structure_factors(self.model, self.data.hkl)

    def forward(self, f_calc: Tensor | None = None) -> Tensor:
        """Return F_model, complex128 ``[n]``; ``f_calc`` replaces that of the model's atoms."""
        f = self.f_calc() if f_calc is None else f_calc
        return self._scaled(f, self._solvent_change(self._refined_occupancies()))

    def forward_of(self, f_calc: Tensor, occupancy: FloatArray) -> Tensor:
        """Return F_model of another F_calc and other occupancies of the groups, complex ``[n]``."""
        refined: BoolArray = self.model.occupancy_groups.refined
        change = self._solvent_change(torch.as_tensor(occupancy[refined]))
        return self._scaled(f_calc, change)

    def at_renewal(self, f_calc: Tensor) -> Tensor:
        """Return F_model at the occupancies of the last renewal, complex128 ``[n]``."""
        return self._scaled(f_calc)

    def _refined_occupancies(self) -> Tensor:
        groups, occupancy = self.model.occupancy_groups, self.model.occupancy()
        first = torch.as_tensor(groups.first_atom[groups.refined], device=occupancy.device)
        found: Tensor = occupancy[first].double().cpu()
        return found

    def _scaled(self, f_calc: Tensor, change: Tensor | None = None) -> Tensor:
        """Return F_model with the solvent of the last renewal, and a change of it."""
        overall, solvent = self.held_parts()
        f = f_calc.to(torch.complex128).cpu() + torch.as_tensor(solvent)
        return torch.as_tensor(overall) * (f if change is None else f + change)

    def _solvent_change(self, occupancy: Tensor) -> Tensor | None:
        """Return what the solvent of refined groups differs by from the last, differentiable."""
        groups = self.model.occupancy_groups
        refined = np.flatnonzero(groups.refined)
        if self._response is None:
            found, _ = self.displaced(refined)
            if found is None:
                return None
            of_s = self.scale.solvent(self.data.s_squared[found.low])
            self._response = tuple(torch.as_tensor(a) for a in (found.low, found.columns, of_s))
        low, columns, fall = self._response
        moved = occupancy - torch.as_tensor(self._mask_occupancy[refined])
        nothing = torch.zeros(len(self.data), dtype=torch.complex128)
        part = (moved.to(columns.dtype) @ columns).to(torch.complex128)
        return nothing.index_add(0, low, -part * fall)

    def held_parts(self) -> tuple[FloatArray, ComplexArray]:
        """Return k exp(-h'Bh/4), and the solvent's part beside F_calc."""
        data = self.data
        return (self.scale.overall(data.hkl), self.scale.solvent(data.s_squared) * self.f_mask)

    def log_likelihood(self, f_model: Tensor | None = None) -> Tensor:
        """Return the log-likelihood of the work set, a scalar, differentiable."""
        f = self.forward() if f_model is None else f_model
        each = self.target.log_likelihood(self.observable.amplitude(f))
        return each[torch.as_tensor(self.data.work)].sum()

    def log_prior(self) -> Tensor:
        """Return log p of the occupancies by the restraints of the model's rules, differentiable.

        A scalar without its constant, -1/2 sum ((w'q - t)/sigma)^2; 0 without restraints.
        """
        groups, occupancy = self.model.occupancy_groups, self.model.occupancy()
        first = torch.as_tensor(groups.first_atom, device=occupancy.device)
        prior = OccupancyPrior.of(groups.restraints, len(groups))
        return prior.log_density({Kind.OCCUPANCY: occupancy[first]})

    def log_posterior(self, f_model: Tensor | None = None) -> Tensor:
        """Return the log-likelihood of the work set plus `log_prior`.

        Both are in the same units: the negative is the loss of a restrained refinement.
        """
        return self.log_likelihood(f_model) + self.log_prior()

    # ------------------------------------------------------------------ what is held

    def renew(
        self, f_calc: Tensor | Callable[[], Tensor] | None = None,
        occupancy: FloatArray | None = None, twin_fraction: float | None = None, *,
        find_shrink: bool = False, in_turn: bool = False,
    ) -> None:  # fmt: skip
        """Make the mask, fit the scale to the work set and estimate the errors anew.

        ``f_calc`` is F of the model's atoms, or makes it while the mask is made;
        ``twin_fraction`` is that of the second domain, the present one when left out;
        ``find_shrink`` looks again how far solvent grows back, as the first renewal does; with
        ``in_turn``, as in a search where each renewal follows the last, ways of the solvent do not
        go to and fro with the occupancies.
        """
        if twin_fraction is not None:
            self.twin_fraction = twin_fraction
        with torch.no_grad():
            q = self.model.group_occupancies() if occupancy is None else occupancy
            first = self._scale is None
            if not in_turn:
                self._judged.search()
            ways = not first and self.solvent.has_ways and self._judged.off(q) > _OTHER_WAYS
            anew = first or find_shrink or ways
            if isinstance(f_calc, Tensor):
                f = f_calc
                self._renew_mask(q, anew=anew)
            else:
                f, _ = at_once(f_calc or self.f_calc, lambda: self._renew_mask(q, anew=anew))
            f = f.to(torch.complex128).cpu()
            grid = None
            if first and self._shrink is None:  # other probes are made meanwhile
                _, grid = at_once(self.solvent.prepare_blend, lambda: self._first_grid(f))
            elif first:
                self._first_scale(f)
            elif find_shrink and self._shrink is None and self.scale.has_solvent:
                grid = self._best_grid(f, anywhere=False)
            if grid is not None:
                self._take_grid(grid)
                self._take_grid(self._best_blend(f))
            self._fit_scale(f.numpy(), self.errors.variance)
            self.renew_errors(self._scaled(f))
            if self._screenings < MOST_SCREENINGS:
                self._screen(f)
            self._response = None

    def _first_grid(self, f: Tensor) -> MaskGrid | None:
        """Fit the first scale; return the grid that fits best, None where there is no solvent."""
        self._first_scale(f)
        return self._best_grid(f, anywhere=True) if self.scale.has_solvent else None

    def _f_of(self, density: FloatArray) -> ComplexArray:
        """Return F of how much solvent each point holds, complex ``[n]``."""
        data = self.data
        return density_structure_factors(density, data.cell, data.spacegroup, data.hkl)

    def _take_grid(self, grid: MaskGrid) -> None:
        """Let the solvent grow back as far as it does on a grid."""
        if grid != self.grid:
            self.grid, self.solvent = grid, self.solvent.regrown(grid)
            self.f_mask, self._displaced = self.f_mask_at(self.data.hkl), None

    def _best_grid(self, f: Tensor, *, anywhere: bool) -> MaskGrid:
        """Return the grid with the radius by which solvent grows back that fits best.

        What F_mask has beside the mask of all atoms is as it is.
        """
        more, misfit = self.f_mask - self._f_of(self.solvent.base), self._misfit(f)

        def of_grid(grid: MaskGrid) -> float:
            return misfit(self._f_of(self.solvent.all_there(grid)) + more)

        return best_grid(self.grid, of_grid, anywhere=anywhere)

    def _best_blend(self, f: Tensor) -> MaskGrid:
        """Return the grid with as much of a narrower and a wider probe as fits best."""
        change, present = self.solvent.blended(self._mask_occupancy[self._partial]), self.grid.blend
        if change is None:
            return self.grid
        of_blend, misfit = self._f_of(change), self._misfit(f)
        begin = self.f_mask - present * of_blend
        best = best_blend(present, lambda blend: misfit(begin + blend * of_blend))
        return self.grid.with_blend(best)

    def _misfit(self, f: Tensor) -> Callable[[ComplexArray], float]:
        """Return what gives chi-square of the work set with an F_mask, and its best scale.

        Of reflections beyond the reach of solvent, which hold the scale, a part is used.
        """
        data, begin = self.data, self.scale
        low = data.s_squared < self.scale.solvent_limit(_OF_SOLVENT)
        use = data.work & (low | (np.arange(len(low)) % _PART == 0))
        variance = self.errors.variance

        def misfit(f_mask: ComplexArray) -> float:
            present, self.f_mask = self.f_mask, f_mask
            self._scale = begin
            self._fit_scale(f.numpy(), variance, use)
            off = self.size(self._scaled(f)) - data.f_obs
            self.scale = self._scale = begin
            self.f_mask = present
            return float((off**2 / variance)[use].sum())

        return misfit

    def _first_scale(self, f: Tensor) -> None:
        """Fit scale and errors for the first time, without what is grossly off.

        The weights of a fit come from errors, and those from a fit.
        """
        self.data = self.all_data.leaving_out(extreme_intensities(self.all_data))
        self._fit_scale(f.numpy(), None)
        off = grossly_off(self.data, self.size(self._scaled(f)))
        if (off & ~self.data.left_out).any():
            self.data = self.all_data.leaving_out(off | self.data.left_out)
            self._fit_scale(f.numpy(), None)
        self.renew_errors(self._scaled(f))

    def _screen(self, f: Tensor) -> None:
        """Leave out improbable reflections, and find ranges with larger errors than their own.

        Only the first renewals do: then both are held, so that the search can come to its end.
        """
        self._screenings += 1
        for again in range(_SCREENING_ROUNDS):
            size = self.size(self._scaled(f))
            before, ranges = self.data.left_out, self.ranges
            # at first errors are too small where they are uneven: only what is far off goes
            careful = again == 0 and self._screenings == 1
            level = IMPROBABLE**2 if careful else IMPROBABLE
            out = improbable(self.all_data, size, self.errors, level)
            if out.mean() > MOST_OUTLIERS:
                out = np.zeros(len(self.data), dtype=bool)
            self.data = self.all_data.leaving_out(out)
            self.ranges = uneven_ranges(self.data, size, self.errors)
            same = np.allclose(ranges.of_reflection, self.ranges.of_reflection, rtol=0.05)
            if same and np.array_equal(before, self.data.left_out):
                break
            self._fit_scale(f.numpy(), self.errors.variance)
            self.renew_errors(self._scaled(f))

    def chi_square(self, size: FloatArray) -> tuple[float, int]:
        """Return sum slope^2 over sum information of the free set, and of how many it is the mean.

        It is 1 where the errors are right, and less where sigmas are too large: model errors
        cannot be negative.
        """
        rows = self.data.free if self.data.free.any() else self.data.work
        found = self.target.derivatives(size)
        squares, expected = found.slope[rows] ** 2, found.information[rows]
        total = max(float(expected.sum()), 1e-300)
        count = total**2 / max(float((expected**2).sum()), 1e-300)
        return float(squares.sum()) / total, int(count)

    def screening(self, f_model: Tensor | None = None) -> tuple[Notice, ...]:
        """Return notices of reflections left out, of ranges with larger errors, of parted mates."""
        with torch.no_grad():
            size = self.size(self.forward() if f_model is None else f_model)
        return (
            *screening_notices(self.data, size, self.ranges),
            *large_sigmas(*self.chi_square(size)),
            *(() if self._mate is None else parted_free_set(self.data, self._mate)),
        )

    def renew_errors(self, f_model: Tensor) -> None:
        """Estimate the errors of the target anew."""
        size = self.size(f_model)
        start = self.errors if self._screenings else None
        self.errors = estimate_errors(
            self.data, size, inflation=self.ranges.of_reflection, start=start
        )
        if self.target_kind is TargetKind.LS:
            self.target = least_squares(self.data, size)
        else:
            self.target = likelihood(self.data, self.errors)

    def renewal(self, size: FloatArray) -> tuple[Renewal, Target] | None:
        """Return log-likelihoods with renewed errors near an |F_model|, and the target of these.

        None for least squares, whose errors have no likelihood.
        """
        if self.target_kind is TargetKind.LS or self.errors.curve is None:
            return None
        made = Renewal.of(self.data, self.errors.curve, size)
        return made, likelihood(self.data, made.errors)

    def target_of_work(self, size: FloatArray) -> Target:
        """Return the target with alpha of the work set at an |F_model|, ``[n]``."""
        if self.target_kind is TargetKind.LS or self.errors.curve is None:
            return self.target
        work = np.flatnonzero(self.data.work)
        return likelihood(self.data, self.errors.curve.with_alpha_of(work, size))

    def target_after_fit(self, size: FloatArray) -> tuple[Target, float]:
        """Return the target for the su of a model all of which was fitted, at its |F_model|.

        With the errors that are the data's own, without what the fit is off by; and the part of the
        work set that the fit takes up, as `multicopy_refinement.targets.leverage`.
        """
        h = leverage(self.data, self.target, size)
        taken = float(h[self.data.work].mean())
        if self.target_kind is TargetKind.LS:
            return self.target, taken
        return likelihood(self.data, own_errors(self.data, self.errors, h)), taken

    def give_b_to_atoms(self, least: float) -> float:
        """Take the isotropic part out of the scale's B; return what all atoms' B is to grow by.

        F_model stays what it is. Where the B of all atoms are refined, both are one unknown.
        ``least`` is what they can grow by at least, negative.
        """
        cell = self.data.cell
        b = self.scale.isotropic_b(cell)
        b = max(b, B_BOUNDS[0] - self.scale.b_sol, least)  # B_sol keeps its bounds
        self.scale = self._scale = self.scale.with_b_given_away(b, cell)
        self._displaced = self._response = None
        return b

    def _renew_mask(self, occupancy: FloatArray, *, anew: bool) -> None:
        """Make F of the solvent at occupancies of the groups; where it is may be as it was."""
        groups = self.model.occupancy_groups
        xyz = self.model.xyz().detach().double().cpu().numpy()
        partial = groups.refined | ((occupancy > 0) & not_full(occupancy))
        made_from = partial.tobytes() + (occupancy > 0)[~partial].tobytes()
        if anew or not self._made_near(made_from, xyz):
            xyz = self._where_moved(made_from, xyz)
            self._solvent_made_from = made_from, xyz
            self._partial = np.flatnonzero(partial)
            about = self._judged.follow(occupancy)
            same = [one for one in self._like if one._made_near(made_from, xyz)]
            self.solvent = same[0].solvent.for_other_data() if same else self._make_solvent(
                groups, self._partial, (occupancy > 0)[groups.index], xyz, self.grid, about,
                None if self._scale is None else self.solvent,
            )  # fmt: skip
        self._mask_occupancy, self._displaced = occupancy, None
        self.f_mask = self.f_mask_at(self.data.hkl)

    def _made_near(self, made_from: bytes, xyz: FloatArray) -> bool:
        """Return whether the solvent was made from the same atoms, near where they are now."""
        last = self._solvent_made_from
        if last is None or last[0] != made_from:
            return False
        return float(((xyz - last[1]) ** 2).sum(axis=1).max()) < _MOVED**2

    def _where_moved(self, made_from: bytes, xyz: FloatArray) -> FloatArray:
        """Return where atoms are that have moved, and where the others were for the last mask.

        Solvent has a way somewhere or has none: an atom that goes to and fro in a bottleneck as one
        is opened to it would do so for ever, as long as others anywhere move on.
        """
        last = self._solvent_made_from
        if last is None or last[0] != made_from:
            return xyz.copy()  # that of a model of doubles is its own
        moved = ((xyz - last[1]) ** 2).sum(axis=1) >= _MOVED**2
        return np.where(moved[:, None], xyz, last[1])

    def f_mask_at(self, hkl: IntArray) -> ComplexArray:
        """Return F of the solvent at the occupancies of the last renewal, at any reflections."""
        return self.solvent.f_mask(self._mask_occupancy[self._partial], hkl)

    def f_mask_without(self, atoms: BoolArray, hkl: IntArray) -> ComplexArray:
        """Return F of the solvent that fills the place of some atoms, too, at any reflections.

        Where the mask of all others, were they there, has solvent, there is nothing but solvent
        without these atoms. What partial groups cover beside them stays as it is.
        """
        groups, data = self.model.occupancy_groups, self.data
        there = (self._mask_occupancy > 0)[groups.index] & ~atoms
        density = self.solvent.density(self._mask_occupancy[self._partial], there)
        return density_structure_factors(density, data.cell, data.spacegroup, hkl)

    def displaced(self, groups: IntArray) -> tuple[Displaced | None, ComplexArray]:
        """Return the solvent that groups displace, and F of the solvent were they all away.

        Both around the occupancies of the last call of `renew`: with M of each group,
        F_mask(q) = F_mask(0) - sum_g q_g M_g.
        """
        if not self.scale.has_solvent or len(groups) == 0:
            return None, self.f_mask
        if self._displaced is not None and np.array_equal(self._displaced[0], groups):
            return self._displaced[1:]
        occupancy = self._mask_occupancy
        place = np.searchsorted(self._partial, groups)
        found = self.solvent.displaced(
            occupancy[self._partial], place, self.data.hkl, self.scale.solvent_limit(FAINT)
        )
        away = self.f_mask.copy()
        away[found.low] += weighted_complex_rows(found.columns, occupancy[groups])
        self._displaced = groups.copy(), found, away
        return found, away

    def _fit_scale(
        self, f_calc: ComplexArray, variance: FloatArray | None, use: BoolArray | None = None
    ) -> None:
        data = self.data
        twin = None if self._mate is None else (self._mate, self.twin_fraction)
        use = data.work if use is None else use
        f_obs, weakened = data.f_obs, variance
        for _ in range(1 if self.extinction is None else _EXTINCTION_ROUNDS):
            self.scale = fit_scale(
                f_calc, self.f_mask, f_obs, data.hkl, data.s_squared, data.spacegroup, use,
                self.solvent.fraction, weakened, self._scale, self.model.beam.radiation, twin,
            )  # fmt: skip
            self._scale, self._displaced = self.scale, None
            if self.extinction is None:
                break
            f = self._scaled(torch.as_tensor(f_calc)).numpy()
            y = self._fit_extinction(f, variance, use).factor(f)
            f_obs, weakened = data.f_obs / y, None if variance is None else variance / y**2

    def _fit_extinction(
        self, f_model: ComplexArray, variance: FloatArray | None, use: BoolArray
    ) -> ExtinguishedAmplitude:
        """Take a step of the coefficient of extinction under the present scale."""
        data, beginning = self.data, self.extinction or 0.0
        found = ExtinguishedAmplitude.of(
            beginning, self.scale, data.hkl, data.s_squared, self._wavelength
        )
        root = use / np.sqrt(np.ones(len(data)) if variance is None else variance)
        self._extinguished = found = found.refitted(f_model, data.f_obs, root)
        self.extinction = found.coefficient
        return found

    # ------------------------------------------------------------------ agreement

    def statistics(self, f_model: Tensor | None = None) -> Statistics:
        """Return R factors and log-likelihoods of work and free set."""
        with torch.no_grad():
            f = self.observable.amplitude(self.forward() if f_model is None else f_model)
            each = self.target.log_likelihood(f).numpy()
        size, data = f.numpy(), self.data
        has_free = bool(data.free.any())
        return Statistics(
            r_factor(data.f_obs[data.work], size[data.work]),
            r_factor(data.f_obs[data.free], size[data.free]) if has_free else None,
            float(each[data.work].sum()),
            float(each[data.free].sum()) if has_free else None,
        )

    def log_likelihood_of_free(self, f_model: Tensor) -> FloatArray:
        """Return the log-likelihood of each free reflection, ``[n_free]``."""
        with torch.no_grad():
            size = self.observable.amplitude(f_model)
            return np.asarray(self.target.log_likelihood(size).numpy()[self.data.free])
