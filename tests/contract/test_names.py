"""The public names, and the order of their parameters, are a promise."""

import inspect
import subprocess
import sys

import multicopy_refinement
from multicopy_refinement import refine, structure_factors
from multicopy_refinement.model import MixedTensor, Model, OccupancyTensor, PositiveMixedTensor
from multicopy_refinement.modes import ExchangeFormat, GroupsFormat

NAMES = [
    "MixedTensor",
    "Model",
    "OccupancyTensor",
    "PositiveMixedTensor",
    "RefineOptions",
    "ReflectionData",
    "Solution",
    "__version__",
    "read_reflections",
    "refine",
    "structure_factors",
]


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_top_level_names():
    assert sorted(multicopy_refinement.__all__) == sorted(NAMES)
    for name in NAMES:
        assert getattr(multicopy_refinement, name) is not None


def test_signatures():
    common = ["requires_grad", "dtype", "device", "name"]
    assert parameters(MixedTensor) == ["initial_values", "refinable_mask", *common]
    assert parameters(PositiveMixedTensor) == ["initial_values", "refinable_mask", *common]
    assert parameters(OccupancyTensor) == [
        "initial_values", "refinable_mask", "sharing_groups", "altloc_groups", *common,
        "use_sigmoid",
    ]  # fmt: skip
    assert parameters(Model) == ["source", "dtype_float", "device", "verbose", "radiation"]
    assert parameters(structure_factors) == ["model", "hkl", "d_min", "method", "accuracy"]
    assert parameters(refine)[:3] == ["model", "data", "options"]


def test_importing_the_package_does_not_import_torch():
    code = "import sys, multicopy_refinement; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_groups_can_be_shown_in_every_exchange_format():
    assert {str(form) for form in ExchangeFormat} < {str(form) for form in GroupsFormat}
