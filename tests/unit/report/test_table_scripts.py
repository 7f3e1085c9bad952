"""Scripts of pages, in node where it is installed, on the few parts of a page that they touch."""

from page_scripts import in_node

ROWS = [
    {"cells": [[" x10 ", None], ["A/1", "A/1"], ["0.3", "0.31"], ["-", ""]], "p": "0.2",
     "q": "0.31"},
    {"cells": [["x9", None], ["A/2", "A/2"], ["0.8", "0.80"], ["2e-9", "2e-9"]], "p": "2e-9",
     "q": "0.8", "supported": "1"},
    {"cells": [["x1", None], ["A/2", "A/2"], ["0.1", "0.05"], ["0.5", "0.5"]], "p": "",
     "q": "0.05"},
]  # fmt: skip


def test_tables_sort_by_numbers_then_names_and_what_is_unknown_goes_last():
    found = in_node(
        """
        SCRIPTS
        const table = makeTable(ROWS, 4), out = {};
        multicopyTable(table, { filter: new Element(), shown: new Element(), noun: "group",
          controls: [], keep: () => true });
        for (const [key, column] of [["name", 0], ["again", 0], ["q", 2], ["p", 3], ["down", 3]]) {
          table.buttons[column].fire("click");
          out[key] = names(table);
        }
        out.heads = table.buttons.map((b) => b.parentElement.attributes["aria-sort"]);
        console.log(JSON.stringify(out));
        """,
        "tables.js", ROWS=ROWS,
    )  # fmt: skip
    assert found == {
        "name": ["x1", "x9", "x10"], "again": ["x10", "x9", "x1"], "q": ["x1", "x10", "x9"],
        "p": ["x9", "x1", "x10"], "down": ["x1", "x9", "x10"],
        "heads": ["none", "none", "none", "descending"],
    }  # fmt: skip


def test_hits_of_a_campaign_are_filtered_by_words_p_and_occupancy():
    found = in_node(
        """
        const page = {}, out = [];
        for (const name of ["hits", "across", "sets"]) {
          page[name + "-table"] = makeTable(ROWS, 4);
          for (const part of ["filter", "shown", "p", "q", "supported", "open"])
            page[name + "-" + part] = new Element();
        }
        page["hits-shown"].textContent = "3 ligands";
        const document = { getElementById: (id) => page[id] };
        SCRIPTS
        function set(id, field, value) {
          page[id][field] = value;
          page[id].fire("input");
          out.push([shown(page["hits-table"]), page["hits-shown"].textContent]);
        }
        set("hits-filter", "value", "a/2");
        set("hits-q", "value", "0.5");
        set("hits-q", "value", "");
        set("hits-filter", "value", "");
        set("hits-p", "value", "0.3");
        set("hits-supported", "checked", true);
        console.log(JSON.stringify(out));
        """,
        "tables.js", "campaign.js", ROWS=ROWS,
    )  # fmt: skip
    assert found == [
        [["x9", "x1"], "2 ligands"], [["x9"], "1 ligand"], [["x9", "x1"], "2 ligands"],
        [["x10", "x9", "x1"], "3 ligands"], [["x10", "x9"], "2 ligands"], [["x9"], "1 ligand"],
    ]  # fmt: skip


def test_the_report_shows_its_flagged_groups():
    found = in_node(
        """
        const page = { table: makeTable(ROWS, 4), viewer: new Element() };
        for (const id of ["filter", "flagged", "shown", "site", "view-caption", "legend", "map",
          "difference", "omit"]) page[id] = new Element();
        page.scene = new Element({ textContent: '{"pdb": "", "sites": {}}' });
        page.table.tBodies[0].rows[2].dataset.flagged = "1";
        const document = Object.assign(new Element(), { getElementById: (id) => page[id] });
        const window = { matchMedia: () => new Element({ matches: false }) };
        SCRIPTS
        page.flagged.checked = true;
        page.flagged.fire("input");
        console.log(JSON.stringify([shown(page.table), page.shown.textContent]));
        """,
        "tables.js", "report.js", ROWS=ROWS,
    )  # fmt: skip
    assert found == [["x1"], "1 group"]
