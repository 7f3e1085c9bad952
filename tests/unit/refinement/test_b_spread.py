"""How alike B of bonded atoms are: found again where they are drawn so."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

from demo_data import load_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.similar_b import SimilarB
from multicopy_refinement.posterior.blocks import Kind, Point, Space
from multicopy_refinement.posterior.moving import moving_atoms
from multicopy_refinement.refinement.b_spread import LEAST, likely_spread

#: B of all atoms at first, in A^2.
MEAN = 20.0
NOTHING = np.zeros(0, dtype=np.int64)


@dataclass
class Around:
    """What B are restrained by, and what the data know of each."""

    point: Point
    restraints: sparse.csr_matrix
    local: sparse.csr_matrix


class Crystal:
    """The demo with B of its own, and data that know ln B of each atom to so much."""

    def __init__(self, model: Model, *, held: int = 0) -> None:
        every = Geometry.of(model)
        alike = [t for t in every.terms if isinstance(t, SimilarB)]
        alike = tuple(replace(t, expected=np.ones(len(t))) for t in alike)  # where B are the mean
        self.model, self.geometry = model, replace(every, terms=alike)
        self.start = replace(every.state(model), b_iso=np.full(len(model.table), MEAN))
        atoms = np.arange(held, len(model.table))
        self.moving = moving_atoms(
            self.start, model.table.anisotropic, model.cell, model.spacegroup, every.riding,
            xyz=NOTHING, b=atoms, u=NOTHING,
        )  # fmt: skip
        self.space = Space(self.moving.blocks)

    def stiff(self, spread: float, shifts: np.ndarray | None = None) -> sparse.csc_matrix:
        """J'J of B similarity by shifts of B."""
        shifts = np.zeros(self.space.size) if shifts is None else shifts
        state = self.moving.free_state(self.space.point({Kind.DISPLACEMENT: shifts}))
        known = replace(self.geometry, spread=spread).linear(state)
        slopes = known.jacobian @ self.moving.of_displacement
        return (slopes.T @ slopes).tocsc()

    def of_logarithms(self, spread: float) -> sparse.csc_matrix:
        """The same by ln B, which has no limits, where all B are the mean."""
        return self.stiff(spread) * MEAN**2

    def drawn(self, spread: float, random: np.random.Generator) -> np.ndarray:
        """Ln B/mean as the restraints have them, of levels that are known to a fifth."""
        prior = self.of_logarithms(spread).toarray()
        values, vectors = np.linalg.eigh(prior + np.eye(len(prior)) * 1e-9)
        sizes = np.where(values > 1e-6, values, 0.2**-2)
        return vectors @ (random.standard_normal(len(values)) / np.sqrt(sizes))

    def found(self, truth: np.ndarray, known_to: float, random, *, times: int = 20) -> float:
        """The spread, found again and again as B are refined with it to data with errors."""
        data, spread = truth + known_to * random.standard_normal(len(truth)), 1.0
        known = sparse.eye(len(truth)) * known_to**-2
        for _ in range(times):
            x = splu((self.of_logarithms(spread) + known).tocsc()).solve(data * known_to**-2)
            spread = self.once(x, known_to, spread)
        return spread

    def once(self, logarithms: np.ndarray, known_to: float, spread: float) -> float:
        """The spread of ln B/mean that data know to so much, from another."""
        b = MEAN * np.exp(logarithms)
        before = 0.9 * b + 0.1 * MEAN  # what the posterior is around is a step behind
        near, at = (self.space.point({Kind.DISPLACEMENT: x - MEAN}) for x in (before, b))
        around = Around(
            near, self.stiff(spread, before - MEAN).tocsr(),
            sparse.diags((b * known_to) ** -2.0).tocsr(),
        )  # fmt: skip
        geometry = replace(self.geometry, spread=spread)
        return likely_spread(geometry, self.moving, at, around)


@pytest.fixture(scope="module")
def crystal():
    return Crystal(load_demo("start.pdb"))


def mean_of(crystal, spread: float, known_to: float, random) -> float:
    """The mean of what is found of eight draws."""
    draws = (crystal.drawn(spread, random) for _ in range(8))
    return float(np.mean([crystal.found(draw, known_to, random) for draw in draws]))


@pytest.mark.parametrize("known_to", [0.02, 0.08])
@pytest.mark.parametrize("spread", [0.4, 0.7, 1.0])
def test_the_spread_that_b_were_drawn_with_is_found(crystal, spread, known_to):
    """Also where errors of B are half of what bonded atoms differ by.

    A little nearer to 1 it is: five differences are known before.
    """
    found = mean_of(crystal, spread, known_to, np.random.default_rng(1))
    assert found == pytest.approx(spread, rel=0.15)


def test_where_few_differences_are_known_it_stays_nearer_to_one(crystal):
    found = mean_of(crystal, 0.4, 0.2, np.random.default_rng(6))
    assert 0.4 < found < 0.7


def test_atoms_that_are_held_count_where_others_are_beside_them():
    part = Crystal(load_demo("start.pdb"), held=120)
    found = mean_of(part, 0.5, 0.02, np.random.default_rng(2))
    assert found == pytest.approx(0.5, rel=0.15)


def test_data_that_know_nothing_leave_it_at_one(crystal):
    random = np.random.default_rng(3)
    found = crystal.found(crystal.drawn(0.4, random), 5.0, random)
    assert found == pytest.approx(1.0, abs=0.15)


def test_it_does_not_hang_on_the_order_of_atoms(crystal, tmp_path):
    text = load_demo("start.pdb").source.structure().make_pdb_string().splitlines()
    atoms = [line for line in text if line.startswith(("ATOM", "HETATM"))]
    order = np.random.default_rng(4).permutation(len(atoms))
    head = [line for line in text if line.startswith("CRYST1")]
    path = tmp_path / "other.pdb"
    path.write_text("\n".join([*head, *(atoms[i] for i in order), "END", ""]))
    other = Crystal(Model(path))
    shifts = crystal.drawn(0.6, np.random.default_rng(5))
    spreads = []
    for one in (crystal, other):
        table = one.model.table
        labels = table.labels(one.moving.atom_of(Kind.DISPLACEMENT))
        if one is crystal:
            of_label = dict(zip(labels, shifts, strict=True))
        own = np.array([of_label[label] for label in labels])
        spreads.append(one.once(own, 0.1, 1.0))
    assert spreads[1] == pytest.approx(spreads[0], rel=1e-9)
    assert spreads[0] > LEAST


def test_a_joint_refinement_says_its_spread_and_is_judged_with_it(shared_data):
    """B of this crystal are as alike as the restraints of the program that refined it had them."""
    options = RefineOptions(parameters="occupancy,xyz,b_iso", active="all", max_cycles=3, decoys=0)
    folder = shared_data / "4cjl"
    data = read_reflections(folder / "data.mtz", d_min=2.3)
    solution = refine(Model(folder / "model.pdb"), data, options)
    moves = [cycle.moves for cycle in solution.history if cycle.moves is not None]
    assert moves[0].spread == 1.0
    assert 0.5 < solution.relaxation.spread < 0.85
    assert solution.relaxation.after["B similarity"].rms_z < 0.8
