"""Decisions are those of the data: the same on every processor, whatever its rounding.

OPENBLAS_CORETYPE chooses the kernels of another processor; a name that it does not know is ignored.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

KERNELS = ("Haswell", "Prescott")
CODE = """
import json, sys
from multicopy_refinement.results.record import read_record
from multicopy_refinement.run.job import RefineJob, run
found = {}
for name, job in json.loads(sys.argv[1]).items():
    record = run(RefineJob(**job))
    found[name] = [[g.name, g.occupancy, g.su, g.flags] for g in record.groups if g.refined]
    found[name].append(record.status.converged)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def coincident(demo, tmp_path_factory):
    """The demo's starting model with a second conformer that stands where the first does."""
    path = tmp_path_factory.mktemp("processors") / "coincident.pdb"
    lines = []
    for line in (demo / "start.pdb").read_text().splitlines():
        twin = line.startswith("ATOM") and line[17:26] == "LEU A   7" and line[16] == " "
        if twin:
            lines.append(f"{line[:16]}A{line[17:54]}  0.40{line[60:]}")
            lines.append(f"{line[:16]}B{line[17:54]}  0.60{line[60:]}")
        else:
            lines.append(line)
    path.write_text("\n".join([*lines, ""]))
    assert path.read_text().count("BLEU A   7") > 3
    return path


@pytest.fixture(scope="module")
def found(demo, coincident, tmp_path_factory):
    """By case: the refined groups and whether it converged, for every kernel."""
    folder, data = tmp_path_factory.mktemp("kernels"), str(demo / "1.8.mtz")
    jobs = {
        "coincident": {"model": str(coincident), "data": data},
        "b_group": {"model": str(demo / "start.pdb"), "data": data,
                    "parameters": "occupancy,b_group"},
    }  # fmt: skip

    def refined_by(kernel):
        mine = {name: job | {"out": str(folder / kernel / name)} for name, job in jobs.items()}
        done = subprocess.run(
            [sys.executable, "-c", CODE, json.dumps(mine)], check=True, text=True,
            capture_output=True, env={**os.environ, "OPENBLAS_CORETYPE": kernel},
        )  # fmt: skip
        return json.loads(done.stdout)

    for kernel in KERNELS:
        (folder / kernel).mkdir()
    with ThreadPoolExecutor() as pool:
        kernels = list(pool.map(refined_by, KERNELS))
    return {name: [one[name] for one in kernels] for name in jobs}


def check_alike(found):
    (*one, converged), (*other, also_converged) = found
    assert converged
    assert also_converged
    assert [(name, flags) for name, _, _, flags in one] == [(n, f) for n, _, _, f in other]
    for i in (1, 2):
        a, b = (np.array([row[i] for row in rows], dtype=float) for rows in (one, other))
        np.testing.assert_allclose(a, b, atol=1e-5)
    return {row[0]: row for row in one}


def test_a_coincident_pair_keeps_what_it_had_on_every_kernel(found):
    groups = check_alike(found["coincident"])
    for letter, occupancy in (("A", 0.4), ("B", 0.6)):
        _, refined, su, flags = groups[f"A/7/LEU:{letter}"]
        assert refined == pytest.approx(occupancy, abs=1e-5)
        assert (su, flags) == (None, ["undetermined"])


def test_b_shifts_agree_on_every_kernel(found):
    check_alike(found["b_group"])
