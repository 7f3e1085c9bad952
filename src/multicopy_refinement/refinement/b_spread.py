"""How alike the B factors of bonded atoms are in a crystal, by its data.

In one crystal B of bonded atoms differ by a twentieth, in another by a third: the sigmas of the
restraints that keep them alike are those of the mean crystal. With all of them multiplied by t the
probability of the data, B integrated out, is largest at

    t^2 = sum r^2/(tr(P (R^-1 - H^-1))/t^2),

r in units of sigma, P = J'J of these, R the information of all restraints of B and H that of data
and restraints: the denominator is how many differences of B the data determine (MacKay 1992,
Neural Comput. 4, 415).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from multicopy_refinement._typing import FloatArray
from multicopy_refinement.atoms.table import AtomTable
from multicopy_refinement.geometry import Geometry
from multicopy_refinement.geometry.terms.similar_b import SimilarB
from multicopy_refinement.posterior.blocks import Kind, Point
from multicopy_refinement.posterior.moving import MovingAtoms
from multicopy_refinement.solve.conjugate import Around

#: Spreads are between these. In nine real models they are 0.4 to 1.4.
LEAST, MOST = 0.3, 1.5
#: As many differences of B with the spread 1 are known beside the crystal.
KNOWN_BEFORE = 5.0
#: Vectors by which a trace is estimated (Hutchinson 1989, Commun. Stat. Simul. Comput. 18, 1059).
_VECTORS = 64
#: Of the largest element of a diagonal: for levels that no restraint knows.
_RIDGE = 1e-9


def likely_spread(geometry: Geometry, moving: MovingAtoms, at: Point, around: Around) -> float:
    """Return the spread of B of bonded atoms that is likely by where they are now.

    Parameters
    ----------
    geometry
        The restraints, with the spread that B were refined with.
    moving
        Which B move.
    at
        Where they are.
    around
        The posterior near there.
    """
    some = tuple(t for t in geometry.terms if isinstance(t, SimilarB) and t.bonded)
    alike = replace(geometry, terms=some, spread=1.0)
    # where R is of: elsewhere they would restrain levels that no restraint there knows
    near = alike.linear(moving.free_state(around.point))
    slopes = (near.jacobian @ moving.of_displacement).tocsr()
    slopes.eliminate_zeros()
    moves = np.diff(slopes.indptr) > 0
    if not moves.any():
        return geometry.spread
    place, n_xyz = at.space.indices([Kind.DISPLACEMENT]), moving.of_xyz.shape[1]
    restraints = around.restraints[place][:, place]
    ridge = _RIDGE * float(restraints.diagonal().max()) * sparse.eye(len(place))
    signs = _signs(geometry.table, moving)
    # the same vectors for both, so that what errs is small where the data know little
    known = splu((restraints + ridge).tocsc()).solve(signs)
    known -= splu((restraints + around.local[n_xyz:, n_xyz:] + ridge).tocsc()).solve(signs)
    trace = float(((slopes @ signs) * (slopes @ known)).sum()) / _VECTORS
    determined = max(trace / geometry.spread**2, 0.0)
    residuals = alike.residuals(moving.free_state(at))[moves]
    square = (residuals @ residuals + KNOWN_BEFORE) / (determined + KNOWN_BEFORE)
    return float(np.clip(np.sqrt(square), LEAST, MOST))


def _signs(table: AtomTable, moving: MovingAtoms) -> FloatArray:
    """Return random signs of each B that moves, by the names of atoms and not their order."""
    labels = table.labels(moving.atom_of(Kind.DISPLACEMENT))
    digests = b"".join(blake2b(x.encode(), digest_size=_VECTORS // 8).digest() for x in labels)
    bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8)).reshape(len(labels), _VECTORS)
    return np.where(bits, 1.0, -1.0)
