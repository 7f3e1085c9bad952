"""The report: what it holds, that it can be made again, and how it behaves in a browser."""

import json
import re
import shutil
import time
from pathlib import Path

import gemmi
import numpy as np
import pytest

from multicopy_refinement.crystal import SpaceGroup
from multicopy_refinement.io.structure import read_structure
from multicopy_refinement.report.html import make_page
from multicopy_refinement.report.run_files import read_run
from multicopy_refinement.results.real_space import (
    describe_groups,
    read_amplitudes,
    read_maps,
    shells,
)
from multicopy_refinement.results.record import read_record


@pytest.fixture(scope="module")
def run(command, demo, tmp_path_factory):
    """A run of the demo with B shifts, rules and a warning."""
    folder = tmp_path_factory.mktemp("report")
    rules = folder / "groups.toml"
    rules.write_text(
        '[[rule]]\nrestrain = "A/201/GOL"\ntarget = 0.6\nsigma = 0.05\n'
        '[[rule]]\nsum = ["W/8/HOH", "W/17/HOH"]\nat_most = 1\nname = "waters"\n'
    )
    out = folder / "out"
    called = command(
        "refine", demo / "start.pdb", demo / "1.8.mtz", "--parameters", "occupancy,b_group",
        "--rules", rules, "--out", out,
    )  # fmt: skip
    assert called.status == 0, called.err
    return out


@pytest.fixture(scope="module")
def page(run):
    return (run / "report.html").read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(page):
    """No address that a browser would fetch: everything is inside."""
    assert not re.search(r"<(?:script|img|iframe)[^>]+src=", page)
    assert not re.search(r"<link[^>]+href=", page)
    assert "@import" not in page
    assert len(page.encode()) < 1.5e6


def test_sections_and_figures_are_there(page):
    for section in ("todo", "groups", "view", "figures", "validation", "repeat"):
        assert f'id="{section}"' in page
    for figure in ("occupancies", "sets", "b_correlation", "resolution", "convergence",
                   "correlations"):  # fmt: skip
        assert f'id="figure-{figure}"' in page


def test_every_refined_group_is_a_row(run, page):
    record = read_record(run / "result.json")
    rows = re.findall(r'<tr data-site="[^"]*" data-name="([^"]*)"', page)
    assert rows == [g.name for g in record.groups if g.refined]


def test_it_says_what_its_uncertainties_are(page):
    assert "su is marginal: coordinates and B of the group" in page
    assert "su, atoms held" in page
    assert 'id="geometry"' not in page


def test_it_is_headed_by_its_data_set(run, page):
    record = read_record(run / "result.json")
    place = "/".join(Path(record.inputs.model).parts[-2:])
    found = read_run(run)
    assert found.place == place
    assert f"<h1>{found.code or place}" in page
    assert f"<title>{found.code or place}: occupancies</title>" in page
    assert page.index('id="ligands"') < page.index('id="todo"') < page.index('id="groups"')


def test_title_and_code_of_the_model_stand_at_the_top(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    header = f"{'HEADER    LIGASE':50}07-OCT-12   4HG7\n{'TITLE     ONE OF'}\n{'TITLE    2 TWO'}\n"
    model = folder / "refined.pdb"
    model.write_text(header + model.read_text())
    page = make_page(read_run(folder))
    assert "<h1>4HG7 " in page
    assert ">ONE OF TWO<" in page


def test_shifts_of_b_stand_in_the_table(run, page):
    record = read_record(run / "result.json")
    group = next(g for g in record.groups if g.delta_b is not None)
    row = page.split(
        f'<th scope="row"><button type="button" class="pick" data-name="{group.name}"'
    )[1]
    row = row.split("</tr>")[0]
    for value in (group.delta_b, group.delta_b_su, group.b_correlation):
        assert f'data-value="{value}"' in row


def test_geometry_and_moves_of_a_joint_refinement(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    record = json.loads((folder / "result.json").read_text())
    record["geometry"] = {
        "weight": 0.4, "rms_shift": 0.0512, "rms_b_change": 2.345,
        "kinds": [{"kind": "chirality", "n": 7, "unit": "A^3", "rms_before": 0.0784,
                   "rms_after": 0.0512, "rms_z_before": 1.2345, "rms_z_after": 0.8765}],
        "outliers": [{"kind": "bonds", "atoms": ["A/1/GLY/CA", "A/1/GLY/C"], "deviation": 0.11,
                      "unit": "A", "z": 5.43}],
        "largest_moves": [{"atom": "A/2/ASP/OD1:B", "shift": 0.4321, "b_change": -12.34}],
    }  # fmt: skip
    record["history"][-1] |= {"rms_shift": 0.0123, "rms_b_change": 0.456, "bond_z": 0.78,
                              "restraint_weight": 0.4}  # fmt: skip
    for group in record["groups"]:
        if group["refined"]:
            group.update(su_xyz=0.0334, b_su=1.23)
    (folder / "result.json").write_text(json.dumps(record))
    page = make_page(read_run(folder))
    section = page.split('id="geometry"')[1].split("</section>")[0]
    for text in ("0.051 Å", "2.3 Å²", "0.0784 Å³", "1.23", "0.88", "A/1/GLY/CA, A/1/GLY/C", "5.4",
                 "A/2/ASP/OD1:B", "0.432", "-12.3", "0.012", "0.78"):  # fmt: skip
        assert text in section, text
    assert page.count('data-value="0.0334"') == sum(g["refined"] for g in record["groups"])


def test_what_is_left_of_a_long_list_opens(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    record = json.loads((folder / "result.json").read_text())
    refined = [g for g in record["groups"] if g["refined"]]
    for group in refined:
        group["flags"] = ["correlated_with_b"]
    (folder / "result.json").write_text(json.dumps(record))
    page = make_page(read_run(folder))
    assert f"<summary>and {len(refined) - 12} more</summary>" in page
    item = page.split("Occupancies that are B factors as much")[1].split("</li>")[0]
    assert item.count('class="pick"') == len(refined)


def test_the_page_says_how_to_repeat_the_run(run, page):
    record = read_record(run / "result.json")
    assert record.provenance is not None
    assert "--parameters occupancy,b_group --rules" in " ".join(record.provenance.command)
    assert re.search(r"multicopy-refine refine \S+start\.pdb", page)
    assert len(record.provenance.sha256) == 3
    assert all(re.fullmatch("[0-9a-f]{64}", d) for d in record.provenance.sha256.values())
    assert all(digest in page for digest in record.provenance.sha256.values())


def test_history_and_correlations_are_in_the_record(run):
    record = read_record(run / "result.json")
    assert [c.number for c in record.history] == list(range(record.status.cycles + 1))
    assert record.history[0].largest_change is None
    assert record.history[-1].largest_change < 0.001
    assert record.history[0].r_work == pytest.approx(record.statistics.initial.r_work, abs=1e-6)
    assert record.history[-1].r_work == pytest.approx(record.statistics.final.r_work, abs=1e-3)
    matrix = np.array(record.correlations.matrix)
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 1, atol=1e-3)
    assert np.abs(matrix).max() <= 1.001


def test_it_can_be_made_again(command, run, page, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(run, again)
    (again / "report.html").unlink()
    called = command("report", again)
    assert (called.status, called.out, called.err) == (0, "", "")
    found = (again / "report.html").read_text(encoding="utf-8")
    identity = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|p\d+")  # Bokeh's own numbers
    assert identity.sub("", found) == identity.sub("", page)


def test_it_can_be_left_out(command, demo, tmp_path):
    called = command(
        "refine", demo / "start.pdb", demo / "2.5.mtz", "--no-report", "--out", tmp_path / "out"
    )
    assert called.status == 0
    assert not (tmp_path / "out" / "report.html").exists()
    assert "report.html" not in called.out


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (shutil.rmtree, "no such folder"),
        (lambda d: (d / "result.json").unlink(), "result.json: cannot be read: No such file"),
        (lambda d: (d / "result.json").write_text("{"), "result.json: not readable as JSON"),
        (lambda d: (d / "result.json").write_text('{"schema": 9}'), "not a result of schema 1"),
        (lambda d: (d / "result.json").write_text('{"schema": 1}'), "not a result of this version"),
        (lambda d: (d / "refined.pdb").unlink(), "refined.pdb: no such file"),
        (lambda d: (d / "refined.mtz").write_text("x"), "refined.mtz: damaged MTZ file"),
    ],
)
def test_broken_runs_are_one_line(command, run, tmp_path, broken, message):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    before = (folder / "report.html").read_bytes()
    broken(folder)
    called = command("report", folder)
    assert called.status == 2
    assert message in called.err
    assert called.err.count("\n") == 1
    if folder.exists():
        assert (folder / "report.html").read_bytes() == before


def test_names_cannot_break_the_page(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    record = json.loads((folder / "result.json").read_text())
    record["warnings"].append(
        {"code": "x", "message": "</script><script>alert(1)</script>", "atoms": []}
    )
    (folder / "result.json").write_text(json.dumps(record))
    assert "<script>alert(1)" not in make_page(read_run(folder))


def test_a_model_without_refined_groups_has_a_page(command, demo, tmp_path):
    out = tmp_path / "out"
    rules = tmp_path / "none.toml"
    rules.write_text("automatic = false\n")
    called = command("refine", demo / "start.pdb", demo / "2.5.mtz", "--rules", rules, "--out", out)
    assert called.status == 0, called.err
    page = (out / "report.html").read_text()
    assert "Nothing was refined" in page
    assert "--refine SELECTION" in page
    assert "1  Nothing was refined" in called.out
    assert "groups refined" not in called.out


# ---------------------------------------------------------------------- figures of the groups


def test_density_is_that_of_the_maps(run):
    """The correlation of one group, from maps made by gemmi and points found one by one."""
    record, table = read_record(run / "result.json"), read_structure(run / "refined.pdb").table
    group = next(g for g in record.groups if g.name == "A/201/GOL")
    atoms = np.array(group.atom_indices)
    (found,) = describe_groups(read_maps(run / "refined.mtz"), table, [atoms])
    mtz = gemmi.read_mtz_file(str(run / "refined.mtz"))
    maps = [
        mtz.transform_f_phi_to_map(*labels, sample_rate=3.0)
        for labels in (("FWT", "PHWT"), ("FC_ALL", "PHIC_ALL"), ("DELFWT", "PHDELWT"))
    ]
    near, around = (maps[0].clone() for _ in range(2))
    for grid, reach in ((near, 1.5), (around, 2.0)):
        grid.fill(0)
        for xyz in table.xyz[atoms]:
            grid.set_points_around(gemmi.Position(*xyz), reach, 1)
    inside = np.array(near.array) == 1
    x, y = (np.array(m.array)[inside] for m in maps[:2])
    assert found.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-5)
    difference = np.array(maps[2].array)
    values = difference[np.array(around.array) == 1] / difference.std()
    assert found.highest == pytest.approx(values.max(), abs=1e-4)
    assert found.lowest == pytest.approx(values.min(), abs=1e-4)
    assert found.b_mean == pytest.approx(table.b_iso[atoms].mean())


def test_shells_add_up(run):
    record = read_record(run / "result.json")
    labels = (record.inputs.labels[0], record.inputs.free_label, record.inputs.free_value)
    group = SpaceGroup(record.data.spacegroup)
    found = shells(read_amplitudes(run / "refined.mtz", labels, group))
    assert sum(s.n for s in found) == record.data.n_work + record.data.n_free
    assert all(0.9 < s.completeness <= 1 for s in found)
    mean = sum(s.r_work * s.n for s in found) / sum(s.n for s in found)
    assert mean == pytest.approx(record.statistics.final.r_work, abs=0.02)


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium, where it and its driver are installed."""
    driver = shutil.which("chromedriver")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not driver or not program:
        pytest.skip("no Chromium with chromedriver on this machine")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run",
        "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
        "--window-size=1400,1000",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def opened(browser, run):
    """The page as it is loaded once: no test depends on what another did, but for the first."""
    browser.get((run / "report.html").as_uri())
    return browser


def column(browser, number):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('#table tbody tr')).filter(r => !r.hidden)"
        ".map(r => r.cells[arguments[0]].dataset.value)", number
    )  # fmt: skip


def errors(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def wait_for(browser, script, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = browser.execute_script(script)
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {script}")


def test_it_opens_on_the_first_item_of_advice_and_goes_on(opened, run):
    """Stands first: the page is as it was loaded."""
    from selenium.webdriver.common.by import By

    advice = read_run(run).advice
    record = read_record(run / "result.json")
    site_of = {g.name: g.set or g.name for g in record.groups}
    named = [site_of[name] for one in advice for name in one.groups if name in site_of]
    order = list(dict.fromkeys(named))
    shown = wait_for(opened, "return document.getElementById('view-caption').dataset.shown")
    assert shown == order[0]
    opened.find_element(By.ID, "next").click()
    assert opened.find_element(By.ID, "site").get_property("value") == order[1]
    opened.find_element(By.ID, "previous").click()
    assert opened.find_element(By.ID, "site").get_property("value") == order[0]


def test_the_table_sorts(opened):
    from selenium.webdriver.common.by import By

    button = opened.find_element(By.CSS_SELECTOR, "#table thead button[data-column='1']")
    button.click()
    values = [float(v) for v in column(opened, 1)]
    assert values == sorted(values)
    head = button.find_element(By.XPATH, "..")
    assert head.get_attribute("aria-sort") == "ascending"
    button.click()
    assert [float(v) for v in column(opened, 1)] == sorted(values, reverse=True)
    assert not errors(opened)


def test_the_table_sorts_by_keyboard(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    button = opened.find_element(By.CSS_SELECTOR, "#table thead button[data-column='2']")
    button.send_keys(Keys.ENTER)
    values = column(opened, 2)
    known = [float(v) for v in values if v]
    assert known == sorted(known)
    assert values[len(known) :] == [""] * (len(values) - len(known))


def test_the_table_filters(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    words = opened.find_element(By.ID, "filter")
    words.send_keys("hoh")
    names = opened.execute_script(
        "return Array.from(document.querySelectorAll('#table tbody tr')).filter(r => !r.hidden)"
        ".map(r => r.dataset.name)"
    )
    assert names == ["W/8/HOH", "W/17/HOH"]
    assert opened.find_element(By.ID, "shown").text == "2 groups"
    words.send_keys(Keys.BACKSPACE * 3)
    assert len(column(opened, 1)) > 2
    assert not errors(opened)


def test_the_3d_view_shows_the_chosen_group(opened):
    from selenium.webdriver.common.by import By

    opened.execute_script(
        "document.querySelector('#table .pick[data-name=\"A/17/GLU:B\"]').click()"
    )
    wait_for(opened, "return document.getElementById('view-caption').dataset.shown === 'A/17/GLU'")
    caption = opened.find_element(By.ID, "view-caption").text
    assert "altlocs A, B" in caption
    assert "mFo-DFc at" in caption
    legend = opened.find_element(By.ID, "legend").text
    assert "altloc A" in legend
    chosen = opened.execute_script(
        "return Array.from(document.querySelectorAll('tr.chosen')).map(r => r.dataset.name)"
    )
    assert chosen == ["A/17/GLU:A", "A/17/GLU:B"]
    # something is drawn: the canvas is not of one colour
    colours = opened.execute_script(
        "const c = document.querySelector('#viewer canvas'); const d = document.createElement("
        "'canvas'); d.width = c.width; d.height = c.height; const x = d.getContext('2d');"
        "x.drawImage(c, 0, 0); const p = x.getImageData(0, 0, d.width, d.height).data;"
        "const s = new Set(); for (let i = 0; i < p.length; i += 4) "
        "s.add(65536 * p[i] + 256 * p[i + 1] + p[i + 2]); return s.size"
    )
    assert colours > 20
    assert not errors(opened)


def test_contours_follow_their_sliders(opened):
    wait_for(opened, "return document.getElementById('view-caption').dataset.shown")
    opened.execute_script(
        "const s = document.getElementById('weighted-level'); s.value = 2.4;"
        "s.dispatchEvent(new Event('input'))"
    )
    wait_for(
        opened,
        "return document.getElementById('view-caption').textContent.includes('2mFo-DFc at 2.4')",
    )
    assert opened.execute_script("return document.getElementById('weighted-at').value") == "2.4"
    assert not errors(opened)


def test_the_view_is_beside_the_table_on_a_wide_screen(opened):
    places = opened.execute_script(
        "return ['view', 'groups'].map(i => document.getElementById(i).getBoundingClientRect()"
        ".left)"
    )
    assert places[0] > places[1] + 400


def test_figures_are_drawn(opened):
    count = wait_for(
        opened,
        "const n = Array.from(document.querySelectorAll('figure')).filter(f => {"
        "const w = f.querySelector('[data-root-id]'); return w && w.shadowRoot !== undefined &&"
        "w.children.length + (w.shadowRoot ? 1 : 0) > 0}).length; return n === "
        "document.querySelectorAll('figure').length ? n : 0",
    )
    assert count == 6
    assert not errors(opened)


@pytest.mark.parametrize("width", [400, 1400])
def test_it_fits_narrow_and_dark_windows(opened, width):
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        for scheme in ("light", "dark"):
            opened.execute_cdp_cmd(
                "Emulation.setEmulatedMedia",
                {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
            )
            if scheme == "light":  # drawn in this width; colours follow as they are changed
                opened.refresh()
            time.sleep(0.5)
            wide, window = opened.execute_script(
                "return [document.documentElement.scrollWidth, window.innerWidth]"
            )
            assert wide <= window
            paper, ink = opened.execute_script(
                "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
                ".map(c => c.match(/\\d+/g).slice(0, 3).map(Number))"
            )
            assert _contrast(paper, ink) > 7
            assert (sum(paper) < 150) == (scheme == "dark")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def _contrast(one, other):
    """Return the contrast ratio of WCAG 2.2."""

    def luminance(colour):
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4
            for c in (v / 255 for v in colour)
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.alone
def test_1g8a_is_small_and_quick(command, shared_data, tmp_path):
    folder = shared_data / "1g8a"
    out = tmp_path / "out"
    called = command(
        "refine", folder / "model.pdb", folder / "data.mtz", "--no-report", "--out", out,
        "--max-cycles", 1, "--uncertainty", "conditional", "--decoys", 0,
    )  # fmt: skip
    assert called.status == 0
    start = time.perf_counter()
    assert command("report", out).status == 0
    assert time.perf_counter() - start < 5.0
    assert (out / "report.html").stat().st_size < 2.2e6
