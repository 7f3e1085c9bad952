"""Any set of columns gives data that can be refined against, or a refusal in words."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multicopy_refinement.errors import InputError
from multicopy_refinement.io.columns import unfit_columns
from multicopy_refinement.io.reflection_table import read_mtz
from multicopy_refinement.io.reflections import read_reflections
from reflection_files import GROUP, HKL, write_columns

HKL = HKL[::4]
N = len(HKL)
NAMES = ["F", "SIGF", "FP", "SIGFP", "I", "SIGI", "F(+)", "SIGF(+)", "F(-)", "SIGF(-)", "FC",
         "PHIC", "N", "MULT", "FreeR_flag", "TEST", "FOM", "x"]  # fmt: skip
BAD = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, -1e30, 1e-30]


def values_of(form, seed, bad):
    random = np.random.default_rng(seed)
    values = {
        "amplitudes": lambda: random.uniform(5, 90, N),
        "intensities": lambda: random.exponential(500, N) - 20,
        "sigmas": lambda: random.uniform(0.5, 3, N),
        "flags": lambda: random.integers(0, 20, N).astype(float),
        "two": lambda: (random.uniform(size=N) < 0.1).astype(float),
        "counts": lambda: random.integers(1, 9, N).astype(float),
        "constant": lambda: np.full(N, 10.0),
        "nothing": lambda: np.full(N, np.nan),
        "phases": lambda: random.uniform(-180, 180, N),
    }[form]()
    values[random.integers(0, N, len(bad))] = bad
    return values


FORMS = ["amplitudes", "intensities", "sigmas", "flags", "two", "counts", "constant", "nothing",
         "phases"]  # fmt: skip
COLUMN = st.tuples(
    st.sampled_from("FJQGKLMPIWDR"),
    st.sampled_from(FORMS),
    st.integers(0, 99),
    st.lists(st.sampled_from(BAD), max_size=4),
)
#: Half of the sets have usable data somewhere, so that reading goes on to its end.
USUAL = st.sampled_from(
    [
        {},
        {"obs": ("F", "amplitudes", 1, []), "SIGobs": ("Q", "sigmas", 1, [])},
        {"Iobs": ("J", "intensities", 1, [-1e30, 0.0]), "SIGIobs": ("Q", "sigmas", 1, [1e30])},
    ]
)


@settings(max_examples=100, deadline=None)
@given(
    columns=st.dictionaries(st.sampled_from(NAMES), COLUMN, max_size=8),
    usual=USUAL,
    order=st.randoms(use_true_random=False),
)
def test_data_or_a_refusal(columns, usual, order):
    columns = list({**columns, **usual}.items())
    order.shuffle(columns)
    table = {
        label: (kind, values_of(form, seed, bad)) for label, (kind, form, seed, bad) in columns
    }
    with tempfile.TemporaryDirectory() as folder:
        path = write_columns(Path(folder) / "x.mtz", table, HKL)
        try:
            data = read_reflections(path, spacegroup=GROUP)
        except InputError as fault:
            refusal = str(fault)
        else:
            refusal = ""
        read = read_mtz(path, path.read_bytes())
    if refusal:
        assert refusal.startswith(f"{path}: ")
        assert "\n" not in refusal
        return
    kinds = dict(read.columns)
    values = data.labels.observations[::2]
    assert {kinds[label] for label in values} <= set("FJGK")
    assert not set(values) & set(unfit_columns(read.columns, read.values))
    assert len(data) > 0
    assert np.isfinite(data.f_obs).all()
    assert (data.f_obs >= 0).all()
    assert np.isfinite(data.sigma).all()
    assert (data.sigma > 0).all()
    assert data.work.any()
    if data.labels.free_label is not None:
        assert data.labels.free_label in {"FreeR_flag", "TEST"}
    assert len(data) + len(data.unobserved_hkl) + _dropped(data) == N


def _dropped(data):
    """Return how many reflections notices say to be dropped altogether."""
    codes = {"no_amplitude", "reflections_beyond"}
    return sum(int(n.message.split()[0]) for n in data.notices if n.code in codes)
