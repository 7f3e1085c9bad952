"""Reading of reflection files: which columns are taken, and what becomes of the rows."""

import gzip

import gemmi
import numpy as np
import pytest

from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.columns import Quantity, find_columns
from multicopy_refinement.io.reflections import read_reflections
from reflection_files import CELL, FLAGS, GROUP, HKL, OBSERVED, SIGMA, F, N, write_columns

INDICES = [("H", "H"), ("K", "H"), ("L", "H")]


@pytest.fixture
def written(tmp_path):
    """A function that writes columns {label: (MTZ type, values)} and returns the path."""

    def write(columns=OBSERVED, hkl=HKL, name="data.mtz"):
        return write_columns(tmp_path / name, columns, hkl)

    return write


# ---------------------------------------------------------------------- choice of columns


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ("FP:F SIGFP:Q", "FP SIGFP"),
        ("FC:F PHIC:P FOBS:F SIGFOBS:Q", "FOBS SIGFOBS"),
        ("FWT:F PHWT:P DELFWT:F PHDELWT:P FOM:W F:F SIGF:Q", "F SIGF"),
        ("FC_ALL:F PHIC_ALL:P FC_ALL_LS:F PHIC_ALL_LS:P FP:F SIGFP:Q", "FP SIGFP"),
        ("FC:F SIGFC:Q F:F SIGF:Q", "F SIGF"),
        ("FCALC:F SIGFCALC:Q F-model:F SIGF-model:Q OBS:F SIGOBS:Q", "OBS SIGOBS"),
        ("IMEAN:J SIGIMEAN:Q F:F SIGF:Q", "IMEAN SIGIMEAN"),
        ("IMEAN:J SIGIMEAN:Q", "IMEAN SIGIMEAN"),
        ("odd:F SIGodd:Q F-obs:F SIGF-obs:Q", "F-obs SIGF-obs"),
        ("odd:F SIGodd:Q", "odd SIGodd"),
        ("F(+):G SIGF(+):L F(-):G SIGF(-):L", "F(+) SIGF(+) F(-) SIGF(-)"),
        ("F(+):G SIGF(+):L F(-):G SIGF(-):L F:F SIGF:Q", "F SIGF"),
        ("F(+):G SIGF(+):L F(-):G SIGF(-):L I:J SIGI:Q", "I SIGI"),
        ("I(+):K SIGI(+):M I(-):K SIGI(-):M", "I(+) SIGI(+) I(-) SIGI(-)"),
        ("FOM:W flag:I F:F SIGF:Q", "F SIGF"),
        ("SIGF:Q F:F", "F SIGF"),
        ("F:F SIGF:R", "F SIGF"),
        ("SIGF:F F:F", "F SIGF"),
        ("FP:F FOM:W FREE:I SIGFP:Q", "FP SIGFP"),
        ("FOBS:F SIGMA:Q TEST:I", "FOBS SIGMA"),
        ("F:F DANO:D SIGDANO:Q SIGF:Q", "F SIGF"),
        ("F-obs:F SIGF-obs:Q", "F-obs SIGF-obs"),
        ("F_a:F F_b:F SIGF_a:Q SIGF_b:Q", "F_a SIGF_a"),
        ("F(-):G F(+):G SIGF(+):L SIGF(-):L", "F(-) SIGF(-) F(+) SIGF(+)"),
        (
            "Fa(+):G SIGFa(+):L Fb(+):G SIGFb(+):L Fa(-):G SIGFa(-):L Fb(-):G SIGFb(-):L",
            "Fa(+) SIGFa(+) Fa(-) SIGFa(-)",
        ),
        ("F:F", "F"),
        ("I:J FC:F PHIC:P", "I"),
        ("FWT:F PHWT:P other:F PHI:P FP:F", "FP"),
    ],
)
def test_columns_are_chosen_by_type(columns, chosen):
    table = INDICES + [tuple(c.split(":")) for c in columns.split()]
    found, others = find_columns(table)
    assert found.labels == tuple(chosen.split())
    assert found.labels not in {other.labels for other in others}
    intensity = "I" in found.labels[0]
    assert found.quantity is (Quantity.INTENSITY if intensity else Quantity.AMPLITUDE)


@pytest.mark.parametrize(
    "columns",
    ["", "FC:F PHIC:P", "FWT:F PHWT:P FOM:W", "odd:F PHI:P", "flag:I", "FC:F SIGFC:Q", "SIGF:Q"],
)
def test_no_observations_are_refused_with_what_is_there(columns):
    table = INDICES + [tuple(c.split(":")) for c in columns.split()]
    with pytest.raises(ReflectionFileError, match=r"no column.*--labels") as refusal:
        find_columns(table)
    for label, kind in table[3:]:
        assert f"{label} ({kind})" in str(refusal.value)


def test_labels_overrule(written):
    path = written({**OBSERVED, "FC": ("F", 2 * F), "SIGFC": ("Q", SIGMA)})
    assert read_reflections(path).labels.observations == ("F", "SIGF")
    data = read_reflections(path, labels=["FC", "SIGFC"])
    assert data.labels.observations == ("FC", "SIGFC")
    np.testing.assert_allclose(data.f_obs, 2 * F, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "says"),
    [(["F", "X"], "no column 'X'"), (["F"], "1 names"), (["F", "SIGF", "F"], "3 names")],
)
def test_labels_that_cannot_be_used(labels, says, written):
    path = written()
    with pytest.raises(ReflectionFileError, match=says) as refusal:
        read_reflections(path, labels=labels)
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize("labels", [["FreeR_flag", "SIGF"], ["F", "FreeR_flag"], ["SIGF", "F"]])
def test_labels_of_other_things_are_refused(labels, written):
    with pytest.raises(ReflectionFileError):
        read_reflections(written(), labels=labels)


def test_columns_left_aside_are_named(written):
    data = read_reflections(written({**OBSERVED, "I": ("J", F**2), "SIGI": ("Q", F)}))
    (notice,) = (n for n in data.notices if n.code == "columns_chosen")
    assert "I,SIGI are used" in notice.message
    assert "F,SIGF" in notice.message


# ---------------------------------------------------------------------- values


def test_amplitudes_are_read_as_written(written):
    data = read_reflections(written())
    np.testing.assert_array_equal(data.hkl, HKL)
    np.testing.assert_allclose(data.f_obs, F, rtol=1e-6)
    np.testing.assert_allclose(data.sigma, SIGMA, rtol=1e-6)
    np.testing.assert_array_equal(data.flags, FLAGS)
    np.testing.assert_array_equal(data.free, FLAGS == 0)
    assert data.labels.amplitudes
    assert (data.cell.parameters, data.spacegroup.name) == (CELL.parameters, GROUP.name)
    assert data.notices == ()
    np.testing.assert_array_equal(data.epsilon, GROUP.gemmi.operations().epsilon_factor_array(HKL))
    np.testing.assert_array_equal(data.centric, GROUP.gemmi.operations().centric_flag_array(HKL))
    d = CELL.gemmi.calculate_d_array(HKL)
    assert (data.d_min, data.d_max) == pytest.approx((d.min(), d.max()))


def test_gzipped_and_mmcif_files_give_the_same(written, tmp_path):
    path = written({"FP": ("F", F), "SIGFP": ("Q", SIGMA), "FreeR_flag": ("I", FLAGS)})
    expected = read_reflections(path)
    text = gemmi.MtzToCif().write_cif_to_string(gemmi.read_mtz_file(str(path)))
    for name, content in (
        ("packed.mtz", gzip.compress(path.read_bytes())),
        ("data.txt", text.encode()),
        ("packed.cif", gzip.compress(text.encode())),
    ):
        (tmp_path / name).write_bytes(content)
        data = read_reflections(tmp_path / name)
        np.testing.assert_array_equal(data.hkl, expected.hkl)
        np.testing.assert_allclose(data.f_obs, expected.f_obs, rtol=1e-5)
        np.testing.assert_allclose(data.sigma, expected.sigma, rtol=1e-4)
        np.testing.assert_array_equal(data.free, expected.free)


def test_friedel_mates_are_merged_to_their_mean(written):
    minus = F + 4
    minus[0] = np.nan
    columns = {
        "F(+)": ("G", F), "SIGF(+)": ("L", SIGMA), "F(-)": ("G", minus), "SIGF(-)": ("L", SIGMA),
    }  # fmt: skip
    data = read_reflections(written(columns))
    np.testing.assert_allclose(data.f_obs[1:], F[1:] + 2, rtol=1e-6)
    np.testing.assert_allclose(data.sigma[1:], SIGMA[1:] / np.sqrt(2), rtol=1e-6)
    assert data.f_obs[0] == pytest.approx(F[0], rel=1e-6)


def test_intensities_become_amplitudes(written):
    data = read_reflections(written({"I": ("J", F**2), "SIGI": ("Q", 0.02 * F**2)}))
    assert not data.labels.amplitudes
    np.testing.assert_allclose(data.f_obs, F, rtol=0.01)
    np.testing.assert_allclose(data.sigma, 0.01 * F, rtol=0.1)


def test_zero_with_sigma_zero_is_not_observed(written):
    f, sigma = F.copy(), SIGMA.copy()
    f[:3] = sigma[:3] = 0
    data = read_reflections(written({**OBSERVED, "F": ("F", f), "SIGF": ("Q", sigma)}))
    assert len(data) == N - 3
    np.testing.assert_array_equal(data.unobserved_hkl, HKL[:3])
    np.testing.assert_array_equal(data.unobserved_flags, FLAGS[:3])
    (notice,) = data.notices
    assert notice.code == "reflections_zero"
    assert notice.atoms == tuple(f"({h} {k} {m})" for h, k, m in HKL[:3].tolist())


def test_equivalents_are_merged(written):
    mates = HKL[:5] * [-1, -1, 1]
    columns = {k: (t, np.concatenate([v, v[:5]])) for k, (t, v) in OBSERVED.items()}
    data = read_reflections(written(columns, np.concatenate([HKL, mates])))
    np.testing.assert_array_equal(data.hkl, HKL)
    np.testing.assert_allclose(data.f_obs, F, rtol=1e-6)
    np.testing.assert_allclose(data.sigma, SIGMA, rtol=1e-5)  # copies are one measurement
    assert [n.code for n in data.notices] == ["reflections_merged"]


def test_resolution_limit(written):
    data = read_reflections(written(), d_min=5.0)
    np.testing.assert_array_equal(data.hkl, HKL[CELL.gemmi.calculate_d_array(HKL) >= 5.0])


# ---------------------------------------------------------------------- free set and crystal


def test_free_set_as_asked_for(written):
    columns = {**OBSERVED, "TEST": ("I", (FLAGS == 7).astype(float))}
    path = written(columns)
    assert read_reflections(path).labels.free_label == "FreeR_flag"
    for options in ({"free_label": "TEST"}, {"free_value": 7}):
        np.testing.assert_array_equal(read_reflections(path, **options).free, FLAGS == 7)


def test_reflections_without_a_flag_go_to_the_work_set(written):
    flags = FLAGS.astype(float)
    flags[:4] = np.nan
    data = read_reflections(written({**OBSERVED, "FreeR_flag": ("I", flags)}))
    np.testing.assert_array_equal(data.free, flags == 0)
    assert data.flags[:4].tolist() == [-1] * 4
    (notice,) = data.notices
    assert notice.code == "no_free_flag"
    assert notice.message.startswith("4 observed reflections")


@pytest.mark.parametrize("flags", [None, np.zeros(N), np.arange(N) % 2])
def test_no_free_set(flags, written):
    columns = {**OBSERVED, "FreeR_flag": ("I", flags)}
    if flags is None:
        del columns["FreeR_flag"]
    data = read_reflections(written(columns))
    assert not data.free.any()
    assert data.labels.free_label is None
    assert [n.code for n in data.notices] == ["no_free_set"]


def test_nothing_left_is_refused(written):
    with pytest.raises(ReflectionFileError, match=r"data\.mtz: no reflections left .* 90"):
        read_reflections(written(), d_min=90.0)
    with pytest.raises(ReflectionFileError, match="all are free"):
        read_reflections(written({**OBSERVED, "FreeR_flag": ("I", np.ones(N))}), free_value=1)


def test_crystal_of_the_model_where_the_file_has_none(written, tmp_path):
    path = written({"FP": ("F", F), "SIGFP": ("Q", SIGMA), "FreeR_flag": ("I", FLAGS)})
    document = gemmi.cif.read_string(
        gemmi.MtzToCif().write_cif_to_string(gemmi.read_mtz_file(str(path)))
    )
    for category in ("_cell.", "_symmetry.", "_space_group."):
        document[0].find_mmcif_category(category).erase()
    bare = tmp_path / "bare.cif"
    document.write_file(str(bare))
    with pytest.raises(ReflectionFileError, match=r"bare\.cif: no unit cell"):
        read_reflections(bare)
    data = read_reflections(bare, cell=CELL, spacegroup=GROUP)
    assert (data.cell, data.spacegroup) == (CELL, GROUP)
    assert [n.code for n in data.notices] == ["data_crystal"]
