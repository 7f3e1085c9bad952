"""Scripts of pages, run in node where it is installed, on the few parts that they touch."""

import json
import shutil
import subprocess
from importlib.resources import files

import pytest

TEMPLATES = files("multicopy_refinement.report") / "templates"
#: Elements with what the scripts read and write, and rows of a table by [text, data-value] cells.
STUBS = """
class Element {
  constructor(fields = {}) { Object.assign(this, { value: "", textContent: "", checked: false,
    hidden: false, dataset: {}, listeners: {}, attributes: {} }, fields); }
  addEventListener(kind, act) { (this.listeners[kind] ||= []).push(act); }
  fire(kind) { for (const act of this.listeners[kind] || []) act(); }
  getAttribute(name) { return this.attributes[name]; }
  setAttribute(name, value) { this.attributes[name] = value; }
}
function makeTable(cells, columns) {
  const rows = cells.map(({ cells, ...data }) => new Element({ dataset: data,
    textContent: cells.map((c) => c[0]).join(" "),
    cells: cells.map(([text, value]) => new Element({ textContent: text,
      dataset: value === null ? {} : { value } })) }));
  const body = new Element({ rows, order: rows, append(...sorted) { this.order = sorted; } });
  const buttons = Array.from({ length: columns }, (_, i) =>
    new Element({ dataset: { column: String(i) },
      parentElement: new Element({ attributes: { "aria-sort": "none" } }) }));
  const heads = buttons.map((b) => b.parentElement);
  return new Element({ tBodies: [body], buttons, tHead: {
    querySelectorAll: (what) => what === "button" ? buttons : heads } });
}
const names = (table) => table.tBodies[0].order.map((r) => r.cells[0].textContent.trim());
const shown = (table) => table.tBodies[0].rows.filter((r) => !r.hidden)
  .map((r) => r.cells[0].textContent.trim());
"""


def in_node(script, *templates, **constants):
    """Return what a script prints, as JSON, with constants and the pages' scripts put in."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine")
    code = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in templates)
    for name, value in constants.items():
        script = script.replace(name, json.dumps(value))
    text = script.replace("SCRIPTS", code)
    done = subprocess.run(
        [node, "-e", STUBS + text], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
