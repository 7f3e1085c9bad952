"""Decoys: a group at random places beside the model, where there should be nothing.

What model errors do to the evidence of an absent group is measured in the very crystal, as with
target and decoy sequences in proteomics (Elias & Gygi 2007, Nat. Methods 4, 207). A decoy is
refined alone by one step: with the gradient g of the log-likelihood in its occupancy and the
information H of its group, z = g/sqrt(H), and the log-likelihood gains z^2/2. g is linear in the
density of the decoy, so that maps give it for all places at once: a few, of which those of all
kinds of atoms are combinations (`AtomMaps`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np

from multicopy_refinement._typing import BoolArray, ComplexArray, FloatArray, IntArray
from multicopy_refinement.crystal.density import density_from
from multicopy_refinement.crystal.grid import grid_size
from multicopy_refinement.parallel import in_threads
from multicopy_refinement.posterior.blocks import Point
from multicopy_refinement.posterior.experiment import Experiment
from multicopy_refinement.posterior.posterior import Posterior
from multicopy_refinement.refinement.atom_maps import AtomMaps, read
from multicopy_refinement.scaling.mask import within_reach
from multicopy_refinement.scaling.points import GridPoints, exclusion_radius
from multicopy_refinement.scattering.factors import form_factors

#: No heavy atom of a decoy is nearer to the model than the first, and one is as near as the second.
CLEAR, NEAR = 2.4, 4.2
#: Points of a map to d_min, read by linear interpolation.
_FINE = 3.5
#: B factors whose ratio is less than this share a map.
_SAME_B = 1.5
#: Part of the decoys beyond which the tail is taken as exponential, and the least number of decoys
#: that say anything.
_TAIL, FEWEST = 0.1, 50

#: An element, or those of a group, and the number of the B factor that its maps have.
_Atom = tuple[bytes, int]
_Kind = tuple[tuple[bytes, ...], int]


def decoy_p(z: float, scores: FloatArray) -> float:
    """Return the probability that a decoy scores as high as z.

    The rank, (1 + number of decoys as good)/(1 + number of decoys), and in the last tenth of them
    an exponential tail in z^2 (half a chi-square has one), its scale from the median excess.
    """
    n = len(scores)
    if n < FEWEST:
        return 0.0
    ordered = np.sort(np.maximum(scores, 0.0) ** 2)
    square = max(z, 0.0) ** 2
    start = ordered[int(np.ceil((1 - _TAIL) * n)) - 1]
    if square <= start or square <= 0:
        return float((1 + (ordered >= square).sum()) / (1 + n))
    excess = ordered[ordered > start] - start
    scale = max(float(np.median(excess)) / np.log(2.0), 1e-9)
    return float(_TAIL * np.exp(-min((square - start) / scale, 700.0)))


@dataclass(frozen=True, eq=False)
class Decoys:
    """Places for decoys of a crystal, and what the data say of them.

    Attributes
    ----------
    experiment, posterior, at
        The crystal at its refined occupancies.
    seed
        Of the places.
    """

    experiment: Experiment
    posterior: Posterior
    at: Point
    seed: int = 0

    def scores(self, group: IntArray, information: float) -> FloatArray:
        """Return z of the decoys of a group of atoms that `prepare` has placed.

        Parameters
        ----------
        group
            Its atoms.
        information
            H of its occupancy, divided by the data's variance factor.
        """
        if information <= 0:
            return np.zeros(0)
        return np.asarray(self._of_kind[self._kind(group)] / np.sqrt(information))

    def prepare(self, groups: Sequence[IntArray], n: int) -> None:
        """Place up to ``n`` decoys of each group, fewer where there is no room.

        Groups of the same elements and like B factors share those of the one whose name comes
        first: neither threads nor the order of a file decide which.
        """
        table = self.experiment.model.table
        one_of_kind: dict[_Kind, IntArray] = {}
        for group in sorted(groups, key=lambda atoms: min(table.labels(atoms))):
            one_of_kind.setdefault(self._kind(group), group)
        kinds = list(one_of_kind)
        if not kinds:
            return
        # before several threads ask for them
        _ = self._open, self._of_kind
        if self.experiment.scale.has_solvent:
            _ = self._solvent_density, self._solvent_maps
        maps = self._atom_maps(kinds)

        def work(start: int, end: int) -> None:
            for kind in kinds[start:end]:
                random = np.random.default_rng([self.seed, crc32(repr(kind).encode())])
                places = self._placed(one_of_kind[kind], n, random)
                found = np.zeros(0)
                if len(places):
                    found = self.gradient(one_of_kind[kind], places, maps)
                self._of_kind[kind] = found

        in_threads(work, len(kinds))

    @cached_property
    def _of_kind(self) -> dict[_Kind, FloatArray]:
        """Gradients of the decoys of each kind."""
        return {}

    def _kind(self, group: IntArray) -> _Kind:
        """Return the elements of a group, and the number of the B factor that its maps have."""
        b = max(float(self._b_factors[group].mean()), 1.0)
        elements = self.experiment.model.table.element[group].tolist()
        return tuple(sorted(elements)), round(np.log(b) / np.log(_SAME_B))

    def gradient(
        self, group: IntArray, places: FloatArray, maps: AtomMaps[_Atom] | None = None
    ) -> FloatArray:
        """Return d log p/dq of a group of atoms at fractional places, ``[n, n_atoms, 3]``.

        Solvent is kept from where the map has it: the spheres of the group's atoms, counted by the
        part of them that is their union. ``maps`` are those of its atoms, made when left out.
        """
        table, b_number = self.experiment.model.table, self._kind(group)[1]
        maps = self._atom_maps([self._kind(group)]) if maps is None else maps
        total = maps.at(places, [(table.element[atom], b_number) for atom in group.tolist()])
        heavy = [i for i, a in enumerate(group.tolist()) if not table.hydrogen[a]]
        if self.experiment.scale.has_solvent and heavy:
            radius = [exclusion_radius(table.element[group[i]].decode()) for i in heavy]
            solvent = np.zeros(len(places))
            for i, r in zip(heavy, radius, strict=True):
                solvent += read(self._solvent_map(r), places[:, i])
            total -= solvent * self._union_part(group[heavy], np.array(radius))
        return total

    # ------------------------------------------------------------------ places

    def _placed(self, group: IntArray, n: int, random: np.random.Generator) -> FloatArray:
        table, cell = self.experiment.model.table, self.experiment.data.cell
        xyz = table.xyz[group]
        heavy = ~table.hydrogen[group]
        if not heavy.any() or len(self._open) == 0:
            return np.zeros((0, len(group), 3))
        clash, near = self._rooms
        found: list[FloatArray] = []
        for _ in range(8):
            centre = self._open[random.integers(len(self._open), size=4 * n)] / self._shape
            centre = centre + random.uniform(-0.5, 0.5, centre.shape) / self._shape
            if len(group) == 1:
                places = centre[:, None, :]
            else:
                turned = xyz - xyz[heavy].mean(axis=0)
                turned = np.einsum("nij,aj->nai", _rotations(random, 4 * n), turned)
                places = centre[:, None, :] + turned @ cell.fractionalization.T
            flat = self._flat(places[:, heavy])
            fits = ~clash[flat].any(axis=1) & near[flat].any(axis=1)
            found.append(places[fits])
            if sum(len(f) for f in found) >= n:
                break
        return np.concatenate(found)[:n]

    @cached_property
    def _shape(self) -> IntArray:
        return np.array(self.experiment.solvent.shape)

    @cached_property
    def _rooms(self) -> tuple[BoolArray, BoolArray]:
        """Return the points too near to the model, and those near enough, flat."""
        model, data = self.experiment.model, self.experiment.data
        table = model.table
        xyz = model.xyz().detach().double().cpu().numpy()
        clash, near = (
            within_reach(
                table, ~table.hydrogen, xyz, data.cell, data.spacegroup, self._shape, radius
            ).reshape(-1)
            for radius in (CLEAR, NEAR)
        )
        return clash, near

    @cached_property
    def _open(self) -> IntArray:
        """Return grid points where an atom may be: near the model and in nobody's place."""
        clash, near = self._rooms
        return np.stack(np.unravel_index(np.flatnonzero(near & ~clash), self._shape), axis=1)

    def _flat(self, places: FloatArray) -> IntArray:
        index = np.rint(places * self._shape).astype(np.int64) % self._shape
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), self._shape))

    # ------------------------------------------------------------------ maps

    @cached_property
    def _b_factors(self) -> FloatArray:
        model = self.experiment.model
        u = model.u_aniso().detach().double().cpu().numpy()
        b = model.b_iso().detach().double().cpu().numpy()
        return np.asarray(
            np.where(model.table.anisotropic, 8 * np.pi**2 * u[:, :3].mean(axis=1), b)
        )

    @cached_property
    def _coefficients(self) -> ComplexArray:
        """Coefficients c of dL/dq = Re sum conj(F_q) c, each equivalent reflection's part."""
        c = self.posterior.data.gradient_coefficients(self.at)
        if self._of_differences is not None:
            c = c + self._of_differences[0]
        return self._shared(c)

    @cached_property
    def _of_differences(self) -> tuple[ComplexArray, ComplexArray] | None:
        """The same of Bijvoet differences: of F, and of F''."""
        term = self.posterior.differences
        return None if term is None else term.gradient_coefficients(self.at)

    @cached_property
    def _second(self) -> dict[bytes, float]:
        """Elements with f'' and these, where differences are data."""
        beam = self.experiment.model.beam
        return {symbol.encode(): value for symbol, value in beam.f_double_prime}

    def _shared(self, c: ComplexArray) -> ComplexArray:
        data = self.experiment.data
        return np.asarray(c * data.epsilon * np.where(data.centric, 1.0, 0.5))

    def _density(self, coefficients: ComplexArray, shape: tuple[int, ...]) -> FloatArray:
        data = self.experiment.data
        c = coefficients * data.cell.volume
        return density_from(c, data.hkl, data.cell, data.spacegroup, shape)

    def _atom_maps(self, kinds: Iterable[_Kind]) -> AtomMaps[_Atom]:
        """Return maps of the gradient in the occupancy of the atoms of kinds of groups."""
        data = self.experiment.data
        atoms = sorted({(symbol, b_number) for some, b_number in kinds for symbol in some})
        symbols = sorted({symbol for symbol, _ in atoms})
        f_of = form_factors(np.array(symbols), self.experiment.model.beam).at(data.s_squared)
        f_of_symbol = dict(zip(symbols, f_of, strict=True))
        wanted = np.zeros((len(atoms), len(data)), dtype=np.complex128)
        for row, (symbol, b_number) in zip(wanted, atoms, strict=True):
            c = self._coefficients * f_of_symbol[symbol]
            if self._of_differences is not None and symbol in self._second:
                c = c + self._shared(self._of_differences[1]) * self._second[symbol]
            row[:] = c * np.exp(-(_SAME_B**b_number) * data.s_squared / 4)
        shape = grid_size(data.cell, data.spacegroup, data.d_min / _FINE)
        return AtomMaps.of(atoms, wanted, lambda c: self._density(c, shape))

    @cached_property
    def _solvent_maps(self) -> dict[float, FloatArray]:
        return {}

    @cached_property
    def _solvent_density(self) -> ComplexArray:
        """Return the transform of the gradient in the solvent of each point, where there is any."""
        data, scale = self.experiment.data, self.experiment.scale
        shape = tuple(self._shape.tolist())
        map_ = self._density(self._coefficients * scale.solvent(data.s_squared), shape)
        volume = data.cell.volume / map_.size
        solvent = map_ * self.experiment.solvent.base.reshape(shape) * volume
        return np.asarray(np.fft.rfftn(solvent))

    def _solvent_map(self, radius: float) -> FloatArray:
        """Return the gradient in the solvent of a sphere around every point."""
        if radius not in self._solvent_maps:
            data, shape = self.experiment.data, tuple(self._shape.tolist())
            points = GridPoints(
                self.experiment.model.table, np.zeros((1, 3)), data.cell, data.spacegroup, shape
            )
            sphere = np.zeros(shape)
            sphere.reshape(-1)[points.flat(points.offsets(radius))] = 1.0
            self._solvent_maps[radius] = np.fft.irfftn(
                self._solvent_density * np.fft.rfftn(sphere), s=shape, axes=(0, 1, 2)
            )
        return self._solvent_maps[radius]

    def _union_part(self, atoms: IntArray, radius: FloatArray) -> float:
        """Return the volume of the union of spheres over the sum of their volumes."""
        if len(atoms) == 1:
            return 1.0
        xyz = self.experiment.model.table.xyz[atoms]
        low, high = (xyz - radius[:, None]).min(axis=0), (xyz + radius[:, None]).max(axis=0)
        axes = [np.arange(a, b, 0.4) for a, b in zip(low, high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = np.linalg.norm(points[:, None] - xyz, axis=2) < radius
        return float(inside.any(axis=1).sum() / max(int(inside.sum()), 1))


def _rotations(random: np.random.Generator, n: int) -> FloatArray:
    """Return random rotations, ``[n, 3, 3]``, from random unit quaternions."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.random(n, random_state=random).as_matrix())
