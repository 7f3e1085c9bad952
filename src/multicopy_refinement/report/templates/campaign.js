(function () {
  const get = (id) => document.getElementById(id);
  function listed(name, noun, controls, keep) {
    multicopyTable(get(name + "-table"), { filter: get(name + "-filter"), shown: get(name + "-shown"), noun, controls, keep });
  }
  const p = get("hits-p"), q = get("hits-q"), supported = get("hits-supported"), open = get("sets-open");
  listed("hits", get("hits-shown").textContent.includes("ligand") ? "ligand" : "group", [p, q, supported], (row) =>
    (p.value === "" || (row.dataset.p !== "" && Number(row.dataset.p) <= Number(p.value))) &&
    (q.value === "" || Number(row.dataset.q) >= Number(q.value)) &&
    (!supported.checked || row.dataset.supported));
  listed("across", "group", [], () => true);
  listed("sets", "data set", [open], (row) => !open.checked || row.dataset.open);
})();
