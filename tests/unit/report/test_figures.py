"""Figures and tables of a solution in a notebook."""

import pytest
import torch
from bokeh.models import Plot

from demo_data import DEMO, simulate_demo
from multicopy_refinement import Model, RefineOptions, read_reflections, refine
from multicopy_refinement.report import figures
from multicopy_refinement.report.figures import record_of, shells_of


@pytest.fixture(scope="module")
def solution(tmp_path_factory):
    path = tmp_path_factory.mktemp("notebook") / "data.mtz"
    simulate_demo(path, 2.2, seed=1)
    model = Model(dtype_float=torch.float64).load(str(DEMO / "start.pdb"))
    options = RefineOptions(parameters=("occupancy", "b_group"))
    return refine(model, read_reflections(path), options)


@pytest.mark.parametrize(
    "name", ["occupancies", "sets", "b_correlation", "resolution", "convergence", "correlations"]
)
def test_every_figure_of_the_report(solution, name):
    assert isinstance(getattr(figures, name)(solution), Plot)


def test_figures_that_are_not_there_are_refused(solution):
    with pytest.raises(ValueError, match="no figure 'nonsense'"):
        figures.figure(solution, "nonsense")


def test_occupancies_of_the_figure_are_those_of_the_solution(solution):
    made = figures.occupancies(solution)
    shown = {}
    for renderer in made.renderers:
        data = renderer.data_source.data
        if "name" in data:
            shown |= dict(zip(data["name"], data["q"], strict=True))
    groups = solution.groups
    expected = {
        groups.names[g]: solution.occupancy[g] for g in range(len(groups)) if groups.refined[g]
    }
    assert shown == pytest.approx(expected, abs=1e-6)


def test_shells_have_the_r_factors_of_the_solution(solution):
    found = shells_of(solution)
    data = solution.experiment.data
    assert sum(s.n for s in found) == len(data)
    mean = sum(s.r_work * s.n for s in found) / len(data)
    assert mean == pytest.approx(solution.final.r_work, abs=0.02)


def test_tables(solution):
    text = solution._repr_html_()
    assert "groups refined" in text
    assert f"{solution.final.r_work:.4f}" in text
    assert text.count("<table>") == 2
    model = solution.experiment.model
    assert "start.pdb" in model._repr_html_()
    assert "16 groups are refined" in model._repr_html_()
    assert Model()._repr_html_() == "<p>Model: empty</p>"


def test_the_record_of_a_solution(solution):
    record = record_of(solution)
    assert record.statistics.final.r_work == solution.final.r_work
    assert len(record.groups) == len(solution.groups)
