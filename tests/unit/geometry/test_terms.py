"""Every term against its slow form, and its derivatives against finite differences."""

from dataclasses import replace

import gemmi
import numpy as np
import pytest

from multicopy_refinement.geometry.images import Images
from multicopy_refinement.geometry.terms.angles import Angles, StraightAngles
from multicopy_refinement.geometry.terms.base import Columns, State
from multicopy_refinement.geometry.terms.bonds import Bonds
from multicopy_refinement.geometry.terms.chirality import Chirality
from multicopy_refinement.geometry.terms.planes import Planes
from multicopy_refinement.geometry.terms.rigid_bond import RigidBonds
from multicopy_refinement.geometry.terms.similar_b import SimilarB
from multicopy_refinement.geometry.terms.similar_u import SimilarU, cholesky, inverse_lower
from multicopy_refinement.geometry.terms.torsions import Torsions
from multicopy_refinement.units import EIGHT_PI_SQUARED

N = 9
ANISOTROPIC = np.arange(N) % 3 > 0
RANDOM = np.random.default_rng(11)
ROTATION = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
IMAGES = Images(np.stack([np.eye(3), ROTATION]), np.array([[0.0, 0, 0], [1.0, 2.0, 3.0]]))


def state(seed=3):
    random = np.random.default_rng(seed)
    roots = 0.4 * np.eye(3) + 0.05 * random.standard_normal((N, 3, 3))
    u = roots @ roots.transpose(0, 2, 1)
    six = np.stack([u[:, i, j] for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))], 1)
    return State(
        3 * random.standard_normal((N, 3)),
        random.uniform(8, 40, N),
        np.where(ANISOTROPIC[:, None], six, 0.0),
    )


def rows(k, m=5):
    random = np.random.default_rng(k)
    return np.array([random.permutation(N)[:k] for _ in range(m)])


def sigmas(m=5):
    return np.linspace(0.01, 0.05, m)


TERMS = {
    "bonds": Bonds(rows(2), np.full(5, 1.5), sigmas()),
    "bonds to mates": Bonds(rows(2), np.full(5, 1.5), sigmas(), np.array([0, 1, 1, 0, 1]), IMAGES),
    "angles": Angles(rows(3), np.full(5, 1.9), sigmas()),
    "straight": StraightAngles(rows(3), np.full(5, np.pi), sigmas()),
    "torsions": Torsions(rows(4), np.full(5, 1.0), sigmas(), np.array([1, 2, 3, 6, 1])),
    "chirality": Chirality(
        rows(4), np.full(5, 2.5), sigmas(), np.array([True, False, True, False, True])
    ),
    "planes": Planes((rows(4, 2), rows(6, 3)), (sigmas(2), sigmas(3))),
    "similar B": SimilarB(rows(2), sigmas()),
    "similar B of others": SimilarB(rows(2), sigmas(), np.linspace(0.7, 1.4, 5)),
    "similar U": SimilarU(rows(2), sigmas(), ANISOTROPIC),
    "similar U of others": SimilarU(rows(2), sigmas(), ANISOTROPIC, np.linspace(0.7, 1.4, 5)),
    "rigid bonds": RigidBonds(rows(2), sigmas(), ANISOTROPIC),
}


def moved(at, step):
    n = len(at.xyz)
    return State(
        at.xyz + step[: 3 * n].reshape(n, 3),
        at.b_iso + step[3 * n : 4 * n],
        at.u_aniso + step[4 * n :].reshape(n, 6),
    )


def by_differences(term, at, columns):
    """Derivatives of the residuals by central differences of fourth order."""
    found = np.zeros((len(term.residuals(at)), columns.size))
    for column in range(columns.size):
        h = 1e-4 if column < 3 * N else 1e-2 if column < 4 * N else 1e-5
        step = np.zeros(columns.size)
        step[column] = h
        one, two = (
            (term.residuals(moved(at, k * step)) - term.residuals(moved(at, -k * step))) / (2 * k)
            for k in (1, 2)
        )
        found[:, column] = (4 * one - two) / (3 * h)
    return found


@pytest.mark.parametrize("name", TERMS)
def test_derivatives_are_those_of_the_residuals(name):
    term, at = TERMS[name], state()
    linear = term.linear(at)
    np.testing.assert_allclose(linear.residuals, term.residuals(at), rtol=1e-12, atol=1e-12)
    expected = by_differences(term, at, Columns(N))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(linear.jacobian.toarray(), expected, rtol=1e-6, atol=1e-8 * scale)
    assert linear.value == pytest.approx(0.5 * (linear.residuals**2).sum(), rel=1e-12)
    gradient = expected.T @ linear.residuals
    np.testing.assert_allclose(
        linear.gradient, gradient, rtol=1e-6, atol=1e-8 * np.abs(gradient).max()
    )
    normal = expected.T @ expected
    np.testing.assert_allclose(
        linear.gauss_newton.toarray(), normal, rtol=1e-6, atol=1e-8 * np.abs(normal).max()
    )


@pytest.mark.parametrize(
    "name", ["bonds", "angles", "straight", "torsions", "chirality", "planes", "rigid bonds"]
)
def test_nothing_depends_on_where_all_atoms_are(name):
    linear = TERMS[name].linear(state())
    gradient = linear.gradient[: 3 * N].reshape(N, 3)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(gradient.sum(axis=0), 0, atol=1e-10 * scale)
    if name != "rigid bonds":  # U does not turn with the atoms here
        torque = np.cross(state().xyz, gradient).sum(axis=0)
        np.testing.assert_allclose(torque, 0, atol=1e-9 * scale)


def test_values_are_those_of_gemmi():
    at = state()
    places = [gemmi.Position(*x) for x in at.xyz.tolist()]
    for term, measure in ((TERMS["angles"], gemmi.calculate_angle),
                          (TERMS["torsions"], gemmi.calculate_dihedral)):  # fmt: skip
        expected = [measure(*(places[a] for a in atoms)) for atoms in term.atoms.tolist()]
        np.testing.assert_allclose(term.measure(at.xyz[term.atoms])[0], expected, rtol=1e-10)
    image = IMAGES.place(np.array([1]), at.xyz[:1])
    np.testing.assert_allclose(image[0], ROTATION @ at.xyz[0] + [1, 2, 3])


def test_volumes_are_triple_products_of_either_hand():
    term, at = TERMS["chirality"], state()
    for (c, i, j, k), either, found in zip(
        term.atoms.tolist(), term.either, term.measure(at.xyz[term.atoms])[0], strict=True
    ):
        volume = np.linalg.det(at.xyz[[i, j, k]] - at.xyz[c])
        assert found == pytest.approx(abs(volume) if either else volume, rel=1e-10)


def test_distances_to_planes_are_those_of_the_least_squares_plane():
    term, at = TERMS["planes"], state()
    expected = []
    for group in term.groups:
        for atoms in group:
            offsets = at.xyz[atoms] - at.xyz[atoms].mean(axis=0)
            expected.append(np.abs(offsets @ np.linalg.svd(offsets)[2][2]))
    np.testing.assert_allclose(np.abs(term.deviations(at.xyz)), np.concatenate(expected))


def test_torsions_have_as_many_minima_as_their_period():
    places = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1.5], [0, 0, 0]]])
    sigma = np.radians([10.0])
    for period in (1, 2, 3, 6):
        for turn in range(period):
            angle = np.radians(40.0) + 2 * np.pi * turn / period
            places[0, 3] = [np.cos(angle), np.sin(angle), 1.5]
            term = Torsions(np.arange(4)[None], np.radians([-40.0]), sigma, np.array([period]))
            measured = term.measure(places)[0]
            assert term.deviation(term.ideal) == pytest.approx(0)
            folded = Torsions(term.atoms, measured, sigma, np.array([period]))
            assert folded.in_sigmas(measured + 2 * np.pi / period)[0] == pytest.approx(0, abs=1e-9)
            small = folded.in_sigmas(measured + 1e-3)[0]
            assert small == pytest.approx(1e-3 / sigma, rel=1e-4)


def test_straight_angles_are_smooth_where_they_are_straight():
    term = StraightAngles(np.arange(3)[None], np.array([np.pi]), np.array([0.05]))
    at = state()
    xyz = at.xyz.copy()
    xyz[:3] = [[-1.2, 0, 0], [0, 0, 0], [1.1, 0, 0]]
    straight = replace(at, xyz=xyz)
    assert term.residuals(straight) == pytest.approx(0, abs=1e-12)
    expected = by_differences(term, straight, Columns(N))
    np.testing.assert_allclose(term.linear(straight).jacobian.toarray(), expected, atol=1e-6)
    xyz[1, 1] = 0.01
    bend = 0.01 / 1.2 + 0.01 / 1.1
    size = np.linalg.norm(term.residuals(replace(at, xyz=xyz)))
    assert size == pytest.approx(bend / 0.05, rel=1e-3)


def test_similarity_is_the_kullback_leibler_distance():
    at = state()
    term = TERMS["similar U"]
    found = (term.residuals(at).reshape(-1, 9) ** 2).sum(axis=1)
    for (one, other), sigma, value in zip(term.atoms.tolist(), term.sigma, found, strict=True):
        u, v = (tensor(at, atom) for atom in (one, other))
        traces = np.trace(np.linalg.solve(u, v)) + np.trace(np.linalg.solve(v, u))
        assert value == pytest.approx((traces - 6) / 3 / sigma**2, rel=1e-9)


def tensor(at, atom):
    if not ANISOTROPIC[atom]:
        return at.b_iso[atom] / EIGHT_PI_SQUARED * np.eye(3)
    a, b, c, d, e, f = at.u_aniso[atom]
    return np.array([[a, d, e], [d, b, f], [e, f, c]])


def test_similar_u_of_isotropic_atoms_is_similar_b():
    at = state()
    pairs, sigma = np.array([[0, 3], [3, 6]]), np.array([0.1, 0.2])
    by_u = SimilarU(pairs, sigma, ANISOTROPIC).residuals(at).reshape(-1, 9)
    by_b = SimilarB(pairs, sigma).residuals(at)
    np.testing.assert_allclose((by_u**2).sum(axis=1), by_b**2, rtol=1e-10)


def test_rigid_bonds_compare_displacements_along_the_bond():
    at, term = state(), TERMS["rigid bonds"]
    for (one, other), sigma, found in zip(
        term.atoms.tolist(), term.sigma, term.residuals(at), strict=True
    ):
        e = at.xyz[one] - at.xyz[other]
        e /= np.linalg.norm(e)
        off = e @ tensor(at, one) @ e - e @ tensor(at, other) @ e
        assert found == pytest.approx(off / sigma, rel=1e-9)


def test_a_displacement_that_is_none_has_no_finite_value():
    u = np.stack([np.diag([0.2, -0.1, 0.3]), np.diag([0.2, 0.1, 0.3])])
    lower = cholesky(u)
    assert not np.isfinite(lower[0]).all()
    np.testing.assert_allclose(lower[1] @ lower[1].T, u[1])
    np.testing.assert_allclose(inverse_lower(lower[1:])[0] @ lower[1], np.eye(3), atol=1e-12)
    at = state()
    broken = at.u_aniso.copy()
    broken[1, :3] *= -1
    linear = SimilarU(np.array([[1, 2]]), np.array([0.1]), ANISOTROPIC).linear(
        replace(at, u_aniso=broken)
    )
    assert linear.value == np.inf
