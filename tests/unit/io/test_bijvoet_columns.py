"""F(+) and F(-) apart, however files write them: the same differences, and what is refused."""

import gemmi
import numpy as np
import pytest

from helpers import atom_line
from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.errors import InputError, ReflectionFileError
from multicopy_refinement.io.columns import Quantity
from multicopy_refinement.io.radiation import f_double_prime_values
from multicopy_refinement.io.reflections import read_reflections
from multicopy_refinement.model import Model
from reflection_files import FLAGS, GROUP, HKL, SIGMA, F, N, cif_text, write_columns

#: Differences of known values, on top of the mean F.
DIFFERENCE = np.random.default_rng(5).normal(0.0, 3.0, N).round(2)
PLUS, MINUS = F + DIFFERENCE / 2, F - DIFFERENCE / 2
SD = (np.sqrt(2) * SIGMA).round(3)
ACENTRIC = ~GROUP.centric(HKL)
FREE = {"FreeR_flag": ("I", FLAGS)}
MEAN = {"F": ("F", F), "SIGF": ("Q", SIGMA)}
MATES = {
    "F(+)": ("G", PLUS), "SIGF(+)": ("L", SD), "F(-)": ("G", MINUS), "SIGF(-)": ("L", SD),
}  # fmt: skip
INTENSITIES = {
    "I(+)": ("K", PLUS**2), "SIGI(+)": ("M", 2 * PLUS * SD),
    "I(-)": ("K", MINUS**2), "SIGI(-)": ("M", 2 * MINUS * SD),
}  # fmt: skip
OF_MEAN_I = {"IMEAN": ("J", (PLUS**2 + MINUS**2) / 2), "SIGIMEAN": ("Q", 2 * F * SIGMA)}


def renamed(columns, **names):
    return {names.get(label, label): value for label, value in columns.items()}


PHENIX = dict(zip(MATES, ("F-obs(+)", "SIGF-obs(+)", "F-obs(-)", "SIGF-obs(-)"), strict=True))
FILES = {
    "CCP4": {**MEAN, **MATES},
    "F(-) first": {**MEAN, **{n: MATES[n] for n in ("F(-)", "SIGF(-)", "F(+)", "SIGF(+)")}},
    "mates alone": MATES,
    "phenix": {PHENIX[label]: value for label, value in MATES.items()},
    "aimless, mates of intensities beside F": {**MEAN, **INTENSITIES},
    "truncate": {**MEAN, "DANO": ("D", DIFFERENCE), "SIGDANO": ("Q", np.sqrt(2) * SD)},
}


def assert_are_the_differences(data, tolerance=0.02):
    assert data.bijvoet is not None
    np.testing.assert_array_equal(data.bijvoet.known, ACENTRIC)
    scale = np.abs(DIFFERENCE).mean()
    assert np.abs(data.bijvoet.value - DIFFERENCE)[ACENTRIC].max() < tolerance * scale
    expected = (np.sqrt(2) * SD)[ACENTRIC]
    assert np.abs(data.bijvoet.sigma[ACENTRIC] / expected - 1).max() < 0.02


@pytest.mark.parametrize("name", FILES)
def test_programs_write_them_in_many_ways(tmp_path, name):
    path = write_columns(tmp_path / "data.mtz", {**FILES[name], **FREE})
    data = read_reflections(path, anomalous=True, prefer=Quantity.AMPLITUDE)
    np.testing.assert_array_equal(data.hkl, HKL)
    assert np.abs(data.f_obs - F).max() < 1e-3
    assert_are_the_differences(data)
    assert set(data.bijvoet.labels) <= set(FILES[name])
    without = read_reflections(path, prefer=Quantity.AMPLITUDE)
    assert without.bijvoet is None
    assert without.labels.mates == data.bijvoet.labels


def test_intensities_and_their_french_wilson_amplitudes(tmp_path):
    path = write_columns(tmp_path / "data.mtz", {**OF_MEAN_I, **INTENSITIES, **MATES, **FREE})
    data = read_reflections(path, anomalous=True)
    assert data.intensities is not None
    assert data.bijvoet.labels == tuple(INTENSITIES)
    strong = ACENTRIC & (F > 10 * SIGMA)
    # (I(+) - I(-))/(2 F), F from the mean intensity: a part of a percent larger than that of F
    expected = DIFFERENCE * F / data.f_obs
    off = np.abs(data.bijvoet.value - expected)[strong]
    assert off.max() < 0.01 * np.abs(DIFFERENCE).mean()
    assert np.abs(F / data.f_obs - 1)[strong].max() < 0.02


def test_a_row_outside_of_the_asymmetric_unit_changes_its_sign(tmp_path):
    """-h-k-l has F(+) and F(-) exchanged; rotations change nothing."""
    turned = HKL * np.array([1, -1, -1])
    opposite = np.where(np.arange(N)[:, None] % 2 == 0, turned, -HKL)
    odd = np.arange(N) % 2 == 1
    first, second = np.where(odd, MINUS, PLUS), np.where(odd, PLUS, MINUS)
    columns = {**MEAN, **MATES, "F(+)": ("G", first), "F(-)": ("G", second)}
    path = write_columns(tmp_path / "data.mtz", {**columns, **FREE}, hkl=opposite)
    assert_are_the_differences(read_reflections(path, anomalous=True))
    columns = {**MEAN, "DANO": ("D", first - second), "SIGDANO": ("Q", np.sqrt(2) * SD)}
    path = write_columns(tmp_path / "dano.mtz", {**columns, **FREE}, hkl=opposite)
    assert_are_the_differences(read_reflections(path, anomalous=True))


def test_rows_that_list_both(tmp_path):
    """Observations at hkl and at -h-k-l, as SHELX and unmerged files have them."""
    columns = {
        "F": ("F", np.concatenate([PLUS, MINUS])), "SIGF": ("Q", np.tile(SD, 2)),
        "FreeR_flag": ("I", np.tile(FLAGS, 2)),
    }  # fmt: skip
    path = write_columns(tmp_path / "data.mtz", columns, hkl=np.concatenate([HKL, -HKL]))
    assert_are_the_differences(read_reflections(path, anomalous=True))


def test_an_sf_mmcif(tmp_path):
    names = ("F_plus", "F_plus_sigma", "F_minus", "F_minus_sigma")
    items = {f"pdbx_{n}": v for n, (_, v) in zip(names, MATES.values(), strict=True)}
    status = np.where(FLAGS == 0, "f", "o")
    (tmp_path / "data.cif").write_text(cif_text({"status": status, **items}))
    assert_are_the_differences(read_reflections(tmp_path / "data.cif", anomalous=True))
    mean = {"F_meas_au": F, "F_meas_sigma_au": SIGMA}
    items = {"pdbx_anom_difference": DIFFERENCE, "pdbx_anom_difference_sigma": np.sqrt(2) * SD}
    (tmp_path / "data.cif").write_text(cif_text({"status": status, **mean, **items}))
    assert_are_the_differences(read_reflections(tmp_path / "data.cif", anomalous=True))


def test_mates_on_another_scale_come_to_that_of_the_mean(tmp_path):
    scaled = {label: (kind, 3.0 * values) for label, (kind, values) in MATES.items()}
    path = write_columns(tmp_path / "data.mtz", {**MEAN, **scaled, **FREE})
    assert_are_the_differences(read_reflections(path, anomalous=True))


def refusal(path, **options):
    with pytest.raises(ReflectionFileError) as fault:
        read_reflections(path, anomalous=True, **options)
    text = str(fault.value)
    assert "\n" not in text
    assert "anomalous: " in text
    return text


def test_what_is_refused(tmp_path):
    merged = write_columns(tmp_path / "merged.mtz", {**MEAN, **FREE})
    assert "no F(+) and F(-)" in refusal(merged)
    shuffled = np.random.default_rng(1).permutation(N)
    others = {label: (kind, values[shuffled]) for label, (kind, values) in MATES.items()}
    other = write_columns(tmp_path / "other.mtz", {**MEAN, **others, **FREE})
    assert "are not the mates of F,SIGF (R = 0." in refusal(other)
    assert read_reflections(other, anomalous=True, labels=tuple(MATES)).bijvoet is not None
    alone = {**MATES, "F(-)": ("G", np.full(N, np.nan))}
    lonely = write_columns(tmp_path / "lonely.mtz", {**MEAN, **alone, **FREE})
    assert "no F(+) and F(-)" in refusal(lonely)
    group = SpaceGroup("P n m a")
    centric = write_columns(tmp_path / "centric.mtz", {**MEAN, **MATES, **FREE}, group=group)
    assert "F(+) and F(-) are equal" in refusal(centric)


def test_f_double_prime(tmp_path):
    text = "CRYST1   28.000   30.000   32.000  90.00  90.00  90.00 P 21 21 21\n"
    for i, element in enumerate(("ZN", "CA"), 1):
        text += atom_line(element, element, i, 0.5, element=element, record="HETATM") + "\n"
    (tmp_path / "model.pdb").write_text(text)
    model = Model(tmp_path / "model.pdb")
    with pytest.raises(InputError, match="neither file names a wavelength"):
        model.measured_with(anomalous=True)
    beam = model.measured_with(wavelength=1.28, anomalous=True).beam
    energy = gemmi.hc / 1.28
    expected = {s: gemmi.cromer_liberman(z, energy)[1] for s, z in (("ZN", 30), ("CA", 20))}
    assert dict(beam.f_double_prime) == pytest.approx(expected, abs=1e-3)
    assert beam.in_words().endswith("; f'' CA 0.92, ZN 3.87 e")
    said = model.measured_with(
        wavelength=1.28, f_prime=["Zn=-6.9,0.5"], f_double_prime=["Ca=1.5"], anomalous=True
    ).beam
    assert dict(said.f_double_prime) == {"ZN": 0.5, "CA": 1.5}
    assert model.measured_with(wavelength=1.28).beam.f_double_prime == ()
    with pytest.raises(InputError, match="no element of the model has an f''"):
        model.measured_with(f_double_prime=["Zn=0", "Ca=0"], wavelength=1.28, anomalous=True)
    with pytest.raises(InputError, match="f'' is of X-rays"):
        model.measured_with("neutron", anomalous=True)
    for text in ("Zn", "Zn=", "Zn=-1", "Qq=2", "Zn=a"):
        with pytest.raises(ValueError, match=r"as Zn=3\.9"):
            f_double_prime_values([text])
