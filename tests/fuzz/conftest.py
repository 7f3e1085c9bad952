"""One whole file of each kind, as bytes, that the fuzz tests spoil."""

import os

import gemmi
import pytest
from hypothesis import HealthCheck, settings

from demo_data import DEMO, simulate_demo
from fuzzing import EXAMPLES
from multicopy_refinement import Model
from multicopy_refinement.modes import ExchangeFormat
from multicopy_refinement.occupancy.exchange import write_groups
from multicopy_refinement.run.job import RefineJob, run
from reflection_files import HKL, N, cif_text, write_columns

settings.register_profile(
    "fuzz", max_examples=EXAMPLES, deadline=None, database=None,
    derandomize="MULTICOPY_FUZZ" not in os.environ, suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def _profile():
    settings.load_profile("fuzz")
    yield
    settings.load_profile("default")


RULES = b"""
[[rule]]
sum = ["W/8/HOH", "W/17/HOH"]
at_most = 0.9
name = "waters"

[[rule]]
fix = "A/17/GLU:B"
value = 0.2
"""
TABLE = b"name,model,data,d-min\none,start.pdb,2.5.mtz,2.8\ntwo,start.pdb,2.5.mtz,\n"


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Bytes by the name of a file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    model = Model(DEMO / "start.pdb")
    found = {"model.pdb": (DEMO / "start.pdb").read_bytes()}
    structure = gemmi.read_structure(str(DEMO / "start.pdb"))
    structure.setup_entities()
    found["model.cif"] = structure.make_mmcif_document().as_string().encode()
    found["data.mtz"] = write_columns(folder / "data.mtz").read_bytes()
    columns = {
        "F_meas_au": [f"{10 + i % 90}.{i % 10}" for i in range(N)],
        "F_meas_sigma_au": ["1.5"] * N, "status": ["f" if i % 20 == 0 else "o" for i in range(N)],
    }  # fmt: skip
    found["data.cif"] = cif_text(columns, hkl=HKL).encode()
    found["rules.toml"], found["table.csv"] = RULES, TABLE
    groups, cell = model.occupancy_groups, model.cell
    for form in (ExchangeFormat.PHENIX, ExchangeFormat.REFMAC, ExchangeFormat.SHELX):
        text = write_groups(groups, form, cell=cell, spacegroup=model.spacegroup, wavelength=1.0)
        found[f"{form.value}.txt"] = text.encode()
    found["dictionary.cif"] = dictionary()
    simulate_demo(folder / "2.5.mtz", 2.5, seed=1)
    found["2.5.mtz"] = (folder / "2.5.mtz").read_bytes()
    return found


@pytest.fixture(scope="session")
def finished(whole, tmp_path_factory):
    """The folder of a run, its page left out."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "start.pdb").write_bytes(whole["model.pdb"])
    (folder / "2.5.mtz").write_bytes(whole["2.5.mtz"])
    run(
        RefineJob(
            model=folder / "start.pdb", data=folder / "2.5.mtz", out=folder / "out", decoys=0,
            max_cycles=1, uncertainty="conditional",
        )
    )  # fmt: skip
    return folder / "out"


def dictionary() -> bytes:
    """Return the restraints of a small molecule as an mmCIF dictionary."""
    atoms = [("C1", "C", "CH3"), ("O1", "O", "OH1"), ("C2", "C", "CH3")]
    lines = [
        "data_comp_list", "loop_", "_chem_comp.id", "_chem_comp.three_letter_code",
        "_chem_comp.name", "_chem_comp.group", "GOL GOL glycerol non-polymer", "data_comp_GOL",
        "loop_", "_chem_comp_atom.comp_id", "_chem_comp_atom.atom_id",
        "_chem_comp_atom.type_symbol", "_chem_comp_atom.type_energy", "_chem_comp_atom.charge",
        *(f"GOL {name} {element} {kind} 0" for name, element, kind in atoms),
        "loop_", "_chem_comp_bond.comp_id", "_chem_comp_bond.atom_id_1",
        "_chem_comp_bond.atom_id_2", "_chem_comp_bond.type", "_chem_comp_bond.value_dist",
        "_chem_comp_bond.value_dist_esd", "GOL C1 O1 single 1.42 0.02",
        "GOL O1 C2 single 1.42 0.02",
        "loop_", "_chem_comp_angle.comp_id", "_chem_comp_angle.atom_id_1",
        "_chem_comp_angle.atom_id_2", "_chem_comp_angle.atom_id_3",
        "_chem_comp_angle.value_angle", "_chem_comp_angle.value_angle_esd",
        "GOL C1 O1 C2 112.0 3.0", "",
    ]  # fmt: skip
    return "\n".join(lines).encode()
