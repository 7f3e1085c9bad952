"""Columns are taken by what they hold: no constants, counts or differences, nothing not finite."""

import gemmi
import numpy as np
import pytest

from multicopy_refinement.crystal import Cell
from multicopy_refinement.errors import ReflectionFileError
from multicopy_refinement.io.reflections import read_reflections
from reflection_files import CELL, FLAGS, HKL, OBSERVED, SIGMA, F, N, write_columns

COUNTS = (np.arange(N) % 9 + 1).astype(float)
ONES = np.ones(N)
FREE = {"FreeR_flag": ("I", FLAGS)}


def codes(data):
    return [notice.code for notice in data.notices]


def notice(data, code):
    (found,) = (n for n in data.notices if n.code == code)
    return found


# ---------------------------------------------------------------------- what cannot be the data


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (10 * ONES, "all values are 10"),
        (np.where(FLAGS == 3, np.nan, 7.5), "all values are 7.5"),
        (COUNTS / 2 + 0.25, "9 different values only"),
        (COUNTS, "counts or flags, 9 different whole numbers"),
        (F - 55, "% of the values are negative"),
    ],
    ids=["constant", "constant and missing", "marks", "counts", "differences"],
)
@pytest.mark.parametrize("label", ["F", "F_unique", "FP"])
def test_columns_that_cannot_be_the_data(label, values, why, tmp_path):
    columns = {
        label: ("F", values), f"SIG{label}": ("Q", ONES), "I": ("J", F**2), "SIGI": ("Q", F),
        **FREE,
    }  # fmt: skip
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert data.labels.observations == ("I", "SIGI")
    assert f"{label}: " in notice(data, "columns_unfit").message
    assert why in notice(data, "columns_unfit").message
    del columns["I"], columns["SIGI"]
    path = write_columns(tmp_path / "x.mtz", columns)
    with pytest.raises(ReflectionFileError, match=f"no column of amplitudes.*{label}: .*{why}"):
        read_reflections(path)
    # what is asked for by name is read, and said
    data = read_reflections(path, labels=[label, f"SIG{label}"])
    assert data.labels.observations == (label, f"SIG{label}")
    assert "asked for" in notice(data, "columns_unfit").message


def test_rounded_amplitudes_and_constant_sigmas_are_data(tmp_path):
    columns = {"F": ("F", (50 * F).round()), "SIGF": ("Q", 3 * ONES), **FREE}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert data.labels.observations == ("F", "SIGF")
    assert data.notices == ()


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_sigmas_that_are_none_do_not_hide_the_data(sigma, tmp_path):
    columns = {"F": ("F", F), "SIGF": ("Q", sigma * ONES), "I": ("J", F**2), "SIGI": ("Q", F)}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert data.labels.observations == ("I", "SIGI")


def test_an_empty_column_does_not_hide_the_data(tmp_path):
    columns = {
        "F": ("F", np.nan * F),
        "SIGF": ("Q", np.nan * F),
        "I": ("J", F**2),
        "SIGI": ("Q", F),
    }
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert data.labels.observations == ("I", "SIGI")


# ---------------------------------------------------------------------- free set


@pytest.mark.parametrize("kind", ["I", "R", "F"])
@pytest.mark.parametrize("name", ["N(+)", "MULT", "FLAG", "SA_flag", "M_ISYM"])
def test_counts_are_no_free_set(name, kind, tmp_path):
    columns = {"F": ("F", F), "SIGF": ("Q", SIGMA), name: (kind, COUNTS - 1)}
    path = write_columns(tmp_path / "x.mtz", columns)
    data = read_reflections(path)
    assert not data.free.any()
    assert data.labels.free_label is None
    assert name in notice(data, "no_free_set").message
    asked = read_reflections(path, free_label=name)
    np.testing.assert_array_equal(asked.free, COUNTS == 1)
    columns |= FREE
    assert read_reflections(write_columns(path, columns)).labels.free_label == "FreeR_flag"


@pytest.mark.parametrize("kind", ["I", "R", "Y"])
def test_flags_are_read_whatever_their_type(kind, tmp_path):
    columns = {"F": ("F", F), "SIGF": ("Q", SIGMA), "FREE": (kind, FLAGS)}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    np.testing.assert_array_equal(data.free, FLAGS == 0)


@pytest.mark.parametrize("odd", [0.5, 1e30])
def test_a_free_set_of_other_numbers_is_said(odd, tmp_path):
    flags = np.where(np.arange(N) == 4, odd, FLAGS)
    columns = {**OBSERVED, "FreeR_flag": ("I", flags)}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert "FreeR_flag has values that are no flags" in notice(data, "no_free_set").message


def test_a_second_free_set_is_named(tmp_path):
    columns = {**OBSERVED, "TEST": ("I", (FLAGS == 7).astype(float))}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert "TEST (--free-label" in notice(data, "free_set_chosen").message
    columns["TEST"] = ("I", (FLAGS == 0).astype(float))
    assert codes(read_reflections(write_columns(tmp_path / "x.mtz", columns))) == []


# ---------------------------------------------------------------------- rows that cannot be used


@pytest.mark.parametrize(
    ("value", "sigma", "code"),
    [
        (np.inf, 1.0, "not_finite"),
        (5.0, -np.inf, "not_finite"),
        (5.0, np.nan, "sigma_missing"),
        (5.0, -1.0, "sigma_not_positive"),
        (5.0, 0.0, "sigma_not_positive"),
        (-5.0, 1.0, "amplitude_negative"),
        (0.0, 0.0, "reflections_zero"),
    ],
)
@pytest.mark.parametrize("layout", ["merged", "unmerged", "mates"])
def test_what_cannot_be_used_is_left_out_and_counted(value, sigma, code, layout, tmp_path):
    f, sig = F.copy(), SIGMA.copy()
    f[:3], sig[:3] = value, sigma
    if layout == "merged":
        columns, hkl = {**OBSERVED, "F": ("F", f), "SIGF": ("Q", sig)}, HKL
    elif layout == "unmerged":
        hkl = np.concatenate([HKL, HKL * [-1, -1, 1]])
        columns = {
            "F": ("F", np.concatenate([f, F])), "SIGF": ("Q", np.concatenate([sig, SIGMA])),
            "FreeR_flag": ("I", np.tile(FLAGS, 2)),
        }  # fmt: skip
    else:
        hkl = HKL
        columns = {
            "F(-)": ("G", f), "SIGF(-)": ("L", sig), "F(+)": ("G", F), "SIGF(+)": ("L", SIGMA),
            **FREE,
        }  # fmt: skip
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns, hkl))
    found = notice(data, code)
    assert found.message.startswith("3 reflections")
    assert set(found.atoms) == {f"({h} {k} {m})" for h, k, m in HKL[:3].tolist()}
    if layout == "merged":
        np.testing.assert_allclose(data.f_obs, F[3:], rtol=1e-6)
        assert len(data.unobserved_hkl) == 3
    else:  # the other measurement stands alone
        np.testing.assert_allclose(data.f_obs, F, rtol=1e-6)
        np.testing.assert_allclose(data.sigma[:3], SIGMA[:3], rtol=1e-5)
        copies = 1 if layout == "unmerged" else np.sqrt(2)
        np.testing.assert_allclose(data.sigma[3:], SIGMA[3:] / copies, rtol=1e-5)


def test_unmerged_data_of_batches_are_said(tmp_path):
    path = write_columns(tmp_path / "x.mtz", {**OBSERVED, "BATCH": ("B", ONES)})
    mtz = gemmi.read_mtz_file(str(path))
    mtz.batches.append(gemmi.Mtz.Batch())
    mtz.write_to_file(str(path))
    assert "1 batches" in notice(read_reflections(path), "unmerged").message


def test_the_number_for_missing_values_of_a_file_is_no_value(tmp_path):
    columns = {"I": ("J", np.where(FLAGS == 2, -999, F**2)), "SIGI": ("Q", F), **FREE}
    path = write_columns(tmp_path / "x.mtz", columns)
    mtz = gemmi.read_mtz_file(str(path))
    mtz.valm = -999.0
    mtz.write_to_file(str(path))
    data = read_reflections(path)
    assert len(data) == N - (FLAGS == 2).sum()
    assert len(data.unobserved_hkl) == (FLAGS == 2).sum()


def test_intensities_below_any_error_are_dropped_and_counted(tmp_path):
    value = F**2
    value[10:14] = -4.5 * F[10:14]
    data = read_reflections(
        write_columns(tmp_path / "x.mtz", {"I": ("J", value), "SIGI": ("Q", F), **FREE})
    )
    assert len(data) == N - 4
    assert notice(data, "no_amplitude").message.startswith("4 intensities lie below -4 sigma")
    columns = {"I": ("J", -5 * F), "SIGI": ("Q", F)}
    with pytest.raises(ReflectionFileError, match="all intensities"):
        read_reflections(write_columns(tmp_path / "x.mtz", columns))


@pytest.mark.parametrize("length", [np.nan, 0.0, 1.0])
def test_a_cell_that_is_none_is_not_taken(length, tmp_path):
    none = Cell(length, length, length, 90, 90, 90)
    path = write_columns(tmp_path / "x.mtz", cells=(CELL, none))
    assert read_reflections(path).cell == CELL
    path = write_columns(path, cells=(none, none))
    with pytest.raises(ReflectionFileError, match="no unit cell"):
        read_reflections(path)


@pytest.mark.parametrize("index", [np.nan, 0.5, 1e6])
def test_indices_that_are_none_are_refused(index, tmp_path):
    hkl = HKL.astype(float)
    hkl[4, 1] = index
    with pytest.raises(ReflectionFileError, match=r"x\.mtz: row 5 has the Miller indices"):
        read_reflections(write_columns(tmp_path / "x.mtz", hkl=hkl))


# ---------------------------------------------------------------------- no sigma


@pytest.mark.parametrize(("label", "kind"), [("F", "F"), ("odd", "F"), ("I", "J")])
def test_data_without_sigmas_are_read_and_that_is_said(label, kind, tmp_path):
    value = F if kind == "F" else F**2
    columns = {label: (kind, value), **FREE}
    data = read_reflections(write_columns(tmp_path / "x.mtz", columns))
    assert data.labels.observations == (label,)
    assert label in notice(data, "sigma_made").message
    strong = F > 50
    np.testing.assert_allclose(data.f_obs[strong], F[strong], rtol=0.01)
    assert (data.sigma > 0.02 * F).all()
    assert (data.sigma[strong] < 0.05 * F[strong]).all()
    assert (data.sigma < 5).all()
    asked = read_reflections(tmp_path / "x.mtz", labels=[label])
    np.testing.assert_array_equal(asked.sigma, data.sigma)


def test_a_sigma_column_that_is_empty(tmp_path):
    columns = {"F": ("F", F), "SIGF": ("Q", np.nan * F), **FREE}
    path = write_columns(tmp_path / "x.mtz", columns)
    with pytest.raises(ReflectionFileError, match=rf"no refl.* \(F,SIGF\); {N} .* without a sigma"):
        read_reflections(path)
    assert len(read_reflections(path, labels=["F"])) == N
    path = write_columns(path, {**columns, "SIGF": ("Q", SIGMA)})
    with pytest.raises(ReflectionFileError, match="takes a value and its sigma"):
        read_reflections(path, labels=["F"])


def test_one_of_several_without_sigmas_has_to_be_named(tmp_path):
    path = write_columns(tmp_path / "x.mtz", {"one": ("F", F), "two": ("F", 2 * F)})
    with pytest.raises(ReflectionFileError, match="one, two; name one with --labels"):
        read_reflections(path)
    assert read_reflections(path, labels=["two"]).f_obs[0] == pytest.approx(2 * F[0])


# ---------------------------------------------------------------------- data sets


def test_the_cell_is_that_of_the_data_set(tmp_path):
    other = Cell(29, 31, 33, 90, 90, 90)
    columns = {
        "FreeR_flag": ("I", FLAGS), "FNAT": ("F", F), "SIGFNAT": ("Q", SIGMA),
        "FLIG": ("F", 2 * F), "SIGFLIG": ("Q", SIGMA),
    }  # fmt: skip
    sets = {"FLIG": 2, "SIGFLIG": 2}
    path = write_columns(tmp_path / "x.mtz", columns, cells=(CELL, CELL, other), sets=sets)
    assert read_reflections(path).cell == CELL
    data = read_reflections(path, labels=["FLIG", "SIGFLIG"])
    assert data.cell == other
    assert "29.00 31.00 33.00" in notice(data, "cell_of_data_set").message
    # the header alone may be the one that differs
    path = write_columns(path, columns, cells=(other, CELL, CELL), sets=sets)
    assert read_reflections(path).cell == CELL


def test_labels_that_two_data_sets_share(tmp_path):
    columns = {
        "F": ("F", F), "SIGF": ("Q", SIGMA), "Fx": ("F", 2 * F), "SIGFx": ("Q", SIGMA),
    }  # fmt: skip
    sets = {"Fx": 2, "SIGFx": 2}
    path = write_columns(tmp_path / "x.mtz", columns, cells=(CELL, CELL, CELL), sets=sets)
    mtz = gemmi.read_mtz_file(str(path))
    for column in mtz.columns:
        column.label = column.label.removesuffix("x")
    mtz.write_to_file(str(path))
    data = read_reflections(path)
    assert data.f_obs[0] == pytest.approx(F[0])
    assert "F@2,SIGF@2" in notice(data, "columns_chosen").message
    assert read_reflections(path, labels=["F@2", "SIGF@2"]).f_obs[0] == pytest.approx(2 * F[0])
