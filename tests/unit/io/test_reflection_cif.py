"""Which block and which rows of a CIF are the data, however its items are written."""

import numpy as np
import pytest

from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.reflections import read_reflections
from reflection_files import CELL, FLAGS, GROUP, HKL, SIGMA, F, N, cif_text

STATUS = np.where(FLAGS == 0, "f", "o")
MERGED = {"status": STATUS, "F_meas_au": F, "F_meas_sigma_au": SIGMA}
INTENSITIES = {"intensity_meas": F**2, "intensity_sigma": F}
MAP = {"pdbx_FWT": F, "pdbx_PHWT": FLAGS}
UNMERGED = cif_text(
    {"intensity_net": np.tile(F**2, 2), "intensity_sigma": np.tile(F, 2)},
    hkl=np.concatenate([HKL, -HKL]), name="raw", prefix="_diffrn_refln.",
)  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """A function that writes a text and reads it."""

    def from_text(text, **options):
        (tmp_path / "data.cif").write_text(text)
        return read_reflections(tmp_path / "data.cif", **options)

    return from_text


def messages(data):
    return {notice.code: notice.message for notice in data.notices}


def assert_is_the_data(data):
    assert data.labels.observations == ("FP", "SIGFP")
    np.testing.assert_array_equal(data.hkl, HKL)
    np.testing.assert_allclose(data.f_obs, F)
    np.testing.assert_allclose(data.sigma, SIGMA)
    np.testing.assert_array_equal(data.free, FLAGS == 0)
    assert (data.cell, data.spacegroup) == (CELL, GROUP)


@pytest.mark.parametrize("change", [str.upper, str.lower])
def test_tags_are_the_same_in_capitals(change, read):
    lines = cif_text(MERGED).splitlines()
    text = "\n".join(change(x) if x.startswith(("_refln", "loop_")) else x for x in lines)
    data = read(text + "\n")
    assert_is_the_data(data)
    assert data.notices == ()


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (cif_text(MAP, name="maps"), "maps (no observations)"),
        (UNMERGED, "raw (unmerged data)"),
        (cif_text(INTENSITIES, name="plain"), "plain (merged data)"),
        (cif_text(MERGED, name="n", extra="_diffrn_radiation.probe neutron"),
         "n (merged data with free flags of neutrons)"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("first", [False, True])
def test_the_block_with_merged_data_is_read_and_the_others_named(other, what, first, read):
    blocks = [other, cif_text(MERGED)] if first else [cif_text(MERGED), other]
    data = read("".join(blocks))
    assert_is_the_data(data)
    text = messages(data)["block_chosen"]
    assert text == f"block rxsf is read (merged data with free flags); left aside: {what}"


def test_the_first_of_equal_blocks_is_read(read):
    other = cif_text({**MERGED, "F_meas_au": 2 * F}, name="second")
    data = read(cif_text(MERGED) + other)
    assert_is_the_data(data)
    assert "second (merged data with free flags)" in messages(data)["block_chosen"]


def test_cell_of_another_block(read):
    data = read(cif_text(MAP, name="maps") + cif_text(MERGED, crystal=False))
    assert_is_the_data(data)


def test_unmerged_data_alone_are_merged(read):
    data = read(UNMERGED)
    assert len(data) == N
    assert "rows repeat others (equivalents" in messages(data)["reflections_merged"]


@pytest.mark.parametrize("probe", ["neutron", "electron"])
def test_data_of_another_radiation_are_refused(probe, read):
    text = cif_text(MERGED, extra=f"_diffrn_radiation.pdbx_scattering_type {probe}")
    with pytest.raises(ReflectionFileError, match=rf"data\.cif: .* measured with {probe}s") as no:
        read(text)
    assert f"--radiation {probe}" in str(no.value)
    assert_is_the_data(read(text, radiation=probe))


def test_the_block_of_the_radiation_is_read(read):
    of_neutrons = cif_text(MERGED, name="n", extra="_diffrn_radiation.probe neutron")
    of_x_rays = cif_text(MAP, name="x", extra="_exptl.method 'X-RAY DIFFRACTION'")
    data = read(of_x_rays + of_neutrons, radiation="neutron")
    assert_is_the_data(data)
    assert "block n is read" in messages(data)["block_chosen"]


def test_the_wavelength_is_read(read):
    data = read(cif_text(MERGED, extra="_diffrn_radiation_wavelength.wavelength 0.9795"))
    assert data.wavelength == 0.9795
    assert read(cif_text(MERGED)).wavelength is None


def test_blocks_without_observations_are_refused_by_name(read):
    with pytest.raises(ReflectionFileError, match=r"maps \(no observations\)"):
        read(cif_text(MAP, name="maps"))
    with pytest.raises(ReflectionFileError, match="no reflections in the file"):
        read("data_x\n_refln.index_h 1\n")
    with pytest.raises(ReflectionFileError, match=r"a text for SHELX.*\.fcf"):
        read("data_x\n_reflns_number_total 2\n_shelx_hkl_file\n;\n 1 0 0 5.0 1.0\n;\n")
    with pytest.raises(ReflectionFileError, match="it is a model"):
        read("data_x\n_reflns.number_obs 2\n_atom_site.id 1\n")


# ---------------------------------------------------------------------- rows


def test_data_sets_in_one_list_are_not_mixed(read):
    columns = {
        "wavelength_id": np.repeat([1, 2], N), "F_meas_au": np.tile(F, 2) + np.repeat([0, 9], N),
        "F_meas_sigma_au": np.tile(SIGMA, 2), "status": np.tile(STATUS, 2),
    }  # fmt: skip
    data = read(cif_text(columns, hkl=np.tile(HKL, (2, 1))))
    assert_is_the_data(data)
    text = messages(data)["data_set_chosen"]
    assert "2 data sets (wavelength_id)" in text
    assert f"the {N} rows of the first, 1," in text


def test_numbers_in_quotes_and_with_su_in_brackets(read):
    columns = {
        "status": [f"'{s}'" for s in STATUS],
        "F_meas_au": [f"'{f}'" for f in F],
        "F_meas_sigma_au": [f"{s}(2)" for s in SIGMA],
    }
    assert_is_the_data(read(cif_text(columns)))


def test_a_value_that_is_no_number_is_refused_by_row(read):
    values = [str(f) for f in F]
    values[6] = "abc"
    with pytest.raises(ReflectionFileError, match=r"row 7 of _refln\.f_meas_au is 'abc'"):
        read(cif_text({**MERGED, "F_meas_au": values}))


@pytest.mark.parametrize("missing", ["?", "."])
def test_missing_values(missing, read):
    values = [missing if i == 3 else str(f) for i, f in enumerate(F)]
    data = read(cif_text({**MERGED, "F_meas_au": values}))
    np.testing.assert_array_equal(data.unobserved_hkl, HKL[3:4])
    assert len(data) == N - 1


def test_flags_that_are_empty_do_not_hide_the_status(read):
    data = read(cif_text({"pdbx_r_free_flag": ["?"] * N, **MERGED}))
    assert_is_the_data(data)


def test_both_kinds_of_flags(read):
    data = read(cif_text({"pdbx_r_free_flag": FLAGS, **MERGED}))
    assert_is_the_data(data)
    assert data.notices == ()
    data = read(cif_text({"pdbx_r_free_flag": (FLAGS + 1) % 20, **MERGED}))
    np.testing.assert_array_equal(data.free, FLAGS == 19)
    assert "status" in messages(data)["free_set_chosen"]


# ---------------------------------------------------------------------- small molecules


@pytest.mark.parametrize(
    ("columns", "label"),
    [
        ({"F_squared_calc": F**2, "F_squared_meas": F**2, "F_squared_sigma": F}, "IMEAN"),
        ({"F_meas": F, "F_sigma": SIGMA, "A_calc": F}, "FP"),
    ],
)
def test_small_molecule_cif(columns, label, read):
    columns = {**columns, "observed_status": ["o"] * N}
    data = read(cif_text(columns, prefix="_refln_", extra="_shelx_refln_list_code 4"))
    assert data.labels.observations == (label, f"SIG{label}")
    assert (data.cell, data.spacegroup) == (CELL, GROUP)
    strong = F > 40
    np.testing.assert_allclose(data.f_obs[strong], F[strong], rtol=0.01)
    assert "small-molecule CIF" in messages(data)["small_molecule_cif"]
    assert not data.free.any()


def test_space_group_of_a_list_of_operations(read):
    operations = "\n".join(
        ["loop_", "_space_group_symop_operation_xyz",
         *(f"'{op.triplet()}'" for op in GROUP.operations)]
    )  # fmt: skip
    columns = {"F_squared_meas": F**2, "F_squared_sigma": F}
    text = cif_text(columns, prefix="_refln_", extra=operations)
    named = f"_symmetry_space_group_name_H-M '{GROUP.name}'\n"
    assert named in text
    assert read(text.replace(named, "")).spacegroup == GROUP
