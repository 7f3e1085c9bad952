"""The specification's integration tests and its usage example, with its figures."""

import pytest
import torch

from helpers import pdb_text, residue_lines, write_text
from multicopy_refinement.model import MixedTensor, Model, OccupancyTensor

ALA5 = ["N", "CA", "C", "O", "CB"]
ALA4 = ["N", "CA", "C", "O"]
GLY = ["N", "CA", "C", "O"]
VAL = ["N", "CA", "C", "O", "CB"]


@pytest.fixture
def integration_pdb(tmp_path):
    """ALA 1 at 1.00, GLY 2 at 0.80, VAL 3 in two conformations of 0.60 and 0.40."""
    text = pdb_text(
        residue_lines("ALA", 1, ALA5),
        residue_lines("GLY", 2, GLY, [("", 0.80)]),
        residue_lines("VAL", 3, VAL, [("A", 0.60), ("B", 0.40)]),
    )
    return write_text(tmp_path / "structure.pdb", text)


@pytest.fixture
def altloc_model(tmp_path):
    """ALA 1 at 1.00, VAL 2 of 0.70 and 0.30, GLY 3 of 0.55 and 0.45."""
    text = pdb_text(
        residue_lines("ALA", 1, ALA4),
        residue_lines("VAL", 2, VAL, [("A", 0.70), ("B", 0.30)]),
        residue_lines("GLY", 3, GLY, [("A", 0.55), ("B", 0.45)]),
    )
    return Model().load_pdb_from_file(write_text(tmp_path / "altlocs.pdb", text))


PARTS = {"1": slice(0, 4), "2A": slice(4, 9), "2B": slice(9, 14), "3A": slice(14, 18),
         "3B": slice(18, 22)}  # fmt: skip
BROKEN = {"1": 1.0, "2A": 0.8, "2B": 0.3, "3A": 0.6, "3B": 0.2}
MENDED = {"1": 1.0, "2A": 0.727, "2B": 0.273, "3A": 0.750, "3B": 0.250}


def per_atom(values: dict[str, float]) -> torch.Tensor:
    return torch.cat([torch.full((PARTS[p].stop - PARTS[p].start,), q) for p, q in values.items()])


def assert_parts(model: Model, expected: dict[str, float]) -> None:
    occupancy = model.occupancy().detach()
    for part, value in expected.items():
        atoms = occupancy[PARTS[part]]
        assert (atoms == atoms[0]).all(), f"{part} is not uniform"
        assert atoms[0].item() == pytest.approx(value, abs=5e-4)


# ---------------------------------------------------------------------- integration


def test_nineteen_atoms_have_four_parameters_of_which_three_are_refined(integration_pdb):
    model = Model()
    assert model.load_pdb_from_file(integration_pdb) is model
    assert isinstance(model.occupancy, OccupancyTensor)
    assert model.occupancy.shape == (19,)
    assert model.occupancy.collapsed_shape == (4,)
    assert model.occupancy.get_refinable_count() == 3
    assert model.occupancy.get_fixed_count() == 1
    assert model.occupancy.expansion_mask.tolist() == [0] * 5 + [1] * 4 + [2] * 5 + [3] * 5
    assert model.occupancy().tolist() == pytest.approx(
        [1.0] * 5 + [0.8] * 4 + [0.6] * 5 + [0.4] * 5
    )


def test_create_occupancy_groups_gives_atoms_and_a_mask(integration_pdb):
    groups, refinable = Model().load(integration_pdb)._create_occupancy_groups()
    assert groups == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8],
        [9, 10, 11, 12, 13],
        [14, 15, 16, 17, 18],
    ]
    assert refinable.tolist() == [False] * 5 + [True] * 14


def test_set_default_masks_leaves_occupancy_alone(integration_pdb):
    model = Model().load(integration_pdb)
    model.xyz.fix(torch.ones(19, dtype=torch.bool))
    model.set_default_masks()
    assert model.xyz.get_refinable_count() == 57
    assert model.b_iso.get_refinable_count() == 19
    assert model.occupancy.get_refinable_count() == 3


def test_optimisation_updates_refinable_residues_and_leaves_the_fixed_one(integration_pdb):
    model = Model().load(integration_pdb)
    before = model.occupancy().detach().clone()
    target = torch.tensor([0.5] * 5 + [0.3] * 4 + [0.2] * 5 + [0.8] * 5, dtype=torch.float64)
    optimizer = torch.optim.Adam(model.occupancy.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (model.occupancy() - target).square().sum().backward()
        optimizer.step()
    after = model.occupancy().detach()
    assert torch.equal(after[:5], before[:5])
    assert torch.equal(after[:5], torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(after[5:], target[5:], atol=5e-3, rtol=0)
    for atoms in model.occupancy_groups.members:
        assert (after[atoms] == after[atoms[0]]).all()


def test_the_usage_example(integration_pdb, monkeypatch, capsys):
    monkeypatch.chdir(integration_pdb.parent)

    def compute_loss(occupancies):
        return (occupancies - 0.5).square().sum()

    # Load structure - occupancy management is automatic
    model = Model(verbose=1)
    model.load_pdb_from_file("structure.pdb")

    # Occupancy is now OccupancyTensor with collapsed storage
    print(f"Atoms: {model.occupancy.shape[0]}")  # noqa: T201
    print(f"Parameters: {model.occupancy.collapsed_shape[0]}")  # noqa: T201
    print(f"Refinable: {model.occupancy.get_refinable_count()}")  # noqa: T201

    # Get occupancies (automatically expands from collapsed storage)
    occ = model.occupancy()  # Shape: [n_atoms]
    first = compute_loss(occ).detach()

    # Optimization works transparently
    optimizer = torch.optim.Adam([model.occupancy.refinable_params], lr=0.01)
    for step in range(100):
        optimizer.zero_grad()
        occ = model.occupancy()
        loss = compute_loss(occ)
        loss.backward()
        optimizer.step()

        # Enforce altloc constraints every N steps
        if step % 10 == 0:
            model.enforce_occ_alternative_conformations()

    assert capsys.readouterr().out == "Atoms: 19\nParameters: 4\nRefinable: 3\n"
    assert occ.shape == (19,)
    assert loss.detach() < 0.9 * first
    assert model.occupancy()[:5].tolist() == [1.0] * 5


# ---------------------------------------------------------------------- enforcement


def test_twenty_two_atoms_have_five_parameters(altloc_model):
    assert altloc_model.occupancy.shape == (22,)
    assert altloc_model.occupancy.collapsed_shape == (5,)
    assert altloc_model.occupancy.get_refinable_count() == 4
    assert_parts(altloc_model, {"1": 1.0, "2A": 0.7, "2B": 0.3, "3A": 0.55, "3B": 0.45})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_that_obeys_its_sets_is_unchanged_to_the_last_bit(altloc_model, dtype):
    model = Model(dtype_float=dtype).load(altloc_model.source.path)
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        state = {k: v.clone() for k, v in model.occupancy.state_dict().items()}
        parameter = model.occupancy.refinable_params
        model.enforce_occ_alternative_conformations()
        assert model.occupancy.refinable_params is parameter
        for key, value in model.occupancy.state_dict().items():
            assert torch.equal(value, state[key])
        with torch.no_grad():
            parameter += torch.randn(4, generator=generator).to(dtype)


def index_of_parts() -> torch.Tensor:
    return torch.repeat_interleave(torch.arange(5), torch.tensor([4, 5, 5, 4, 4]))


def test_broken_values_are_scaled_with_ratios_kept(altloc_model):
    altloc_model.occupancy.set_values(per_atom(BROKEN))
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)


def test_broken_values_in_a_tensor_without_sets_are_scaled(altloc_model):
    altloc_model.occupancy = OccupancyTensor(per_atom(BROKEN), sharing_groups=index_of_parts())
    assert_parts(altloc_model, BROKEN)
    parameter = altloc_model.occupancy.refinable_params
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)
    assert altloc_model.occupancy.refinable_params is parameter


def test_broken_values_in_a_plain_mixed_tensor_are_scaled(altloc_model):
    altloc_model.occupancy = MixedTensor(per_atom(BROKEN))
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)


def test_a_plain_mixed_tensor_with_held_atoms_is_scaled(altloc_model):
    held = torch.zeros(22, dtype=torch.bool)
    altloc_model.occupancy = MixedTensor(per_atom(BROKEN), held)
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)
    assert altloc_model.occupancy.get_refinable_count() == 0


def test_one_broken_set_leaves_the_other_untouched(altloc_model):
    values = per_atom({**MENDED, "2A": 0.5, "2B": 0.5, "3A": 0.6, "3B": 0.2})
    altloc_model.occupancy = MixedTensor(values)
    altloc_model.enforce_occ_alternative_conformations()
    assert torch.equal(altloc_model.occupancy()[:14], values[:14])
    assert_parts(altloc_model, {"3A": 0.75, "3B": 0.25})


def test_atoms_of_one_part_that_fell_apart_share_again(altloc_model):
    values = per_atom(BROKEN)
    values[4:9] = torch.tensor([0.7, 0.9, 0.8, 0.75, 0.85])  # mean 0.8
    altloc_model.occupancy = MixedTensor(values)
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)


def test_an_all_zero_set_is_shared_evenly(altloc_model):
    altloc_model.occupancy = MixedTensor(per_atom({**MENDED, "2A": 0.0, "2B": 0.0}))
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, {"2A": 0.5, "2B": 0.5})


@pytest.mark.parametrize("with_sets", [True, False])
def test_broken_logits_assigned_to_the_storage_are_scaled(altloc_model, with_sets):
    if not with_sets:
        altloc_model.occupancy = OccupancyTensor(
            per_atom(MENDED), index_of_parts() > 0, index_of_parts()
        )
    logits = torch.logit(torch.tensor([*BROKEN.values()]), eps=1e-6)
    occupancy = altloc_model.occupancy
    occupancy.fixed_values = logits.clone()
    occupancy.refinable_params.data = logits[occupancy.refinable_mask].clone()
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)
    altloc_model.occupancy.fixed_values = occupancy.fixed_values.clone()
    assert_parts(altloc_model, MENDED)


def test_broken_logits_assigned_to_held_members_are_scaled(altloc_model):
    altloc_model.occupancy.fix(torch.ones(22, dtype=torch.bool))
    altloc_model.occupancy.fixed_values = torch.logit(torch.tensor([*BROKEN.values()]), eps=1e-6)
    assert_parts(altloc_model, BROKEN)
    altloc_model.enforce_occ_alternative_conformations()
    assert_parts(altloc_model, MENDED)


def test_what_was_enforced_can_be_written(altloc_model, tmp_path):
    altloc_model.occupancy = MixedTensor(per_atom(BROKEN))
    altloc_model.enforce_occ_alternative_conformations()
    altloc_model.write(tmp_path / "mended.pdb")
    again = Model().load(tmp_path / "mended.pdb")
    assert_parts(again, {"1": 1.0, "2A": 0.73, "2B": 0.27, "3A": 0.75, "3B": 0.25})
    assert again.notices == ()
