"""The demonstration crystal's model, and its geometry."""

from importlib.resources import files

import gemmi
import pytest

from multicopy_refinement.geometry import Geometry
from multicopy_refinement.model import Model


@pytest.fixture(scope="session")
def demo_path():
    return files("multicopy_refinement") / "demo" / "start.pdb"


@pytest.fixture(scope="session")
def demo_model(demo_path):
    return Model(str(demo_path))


@pytest.fixture(scope="session")
def demo_geometry(demo_model):
    return Geometry.of(demo_model)


@pytest.fixture
def peptide(demo_path):
    """The demonstration peptide as a gemmi structure: one conformer, no ligand, no waters."""
    structure = gemmi.read_structure(str(demo_path))
    structure.setup_entities()
    structure.remove_ligands_and_waters()
    structure.remove_alternative_conformations()
    for site in structure[0].all():
        site.atom.occ = 1.0
    return structure


@pytest.fixture(scope="session")
def with_hydrogens(demo_path):
    """The demonstration model with the hydrogens that gemmi gives it."""
    from multicopy_refinement.geometry.monomers import Dictionaries

    structure = gemmi.read_structure(str(demo_path))
    structure.setup_entities()
    names = structure[0].get_all_residue_names()
    library = Dictionaries().library(names).content
    gemmi.prepare_topology(structure, library, 0, gemmi.HydrogenChange.ReAddKnown)
    return Model(structure)
