"use strict";
(function () {
  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const filter = document.getElementById("filter");
  const flagged = document.getElementById("flagged");
  const shown = document.getElementById("shown");

  function applyFilter() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const keep = words.every((w) => text.includes(w)) && (!flagged.checked || row.dataset.flagged);
      row.hidden = !keep;
      count += keep ? 1 : 0;
    }
    shown.textContent = count + (count === 1 ? " group" : " groups");
  }
  filter.addEventListener("input", applyFilter);
  flagged.addEventListener("change", applyFilter);

  function key(row, column) {
    const cell = row.cells[column];
    const text = column === 0 ? cell.textContent.trim() : cell.dataset.value;
    const number = parseFloat(text);
    return text !== "" && !isNaN(number) && String(text).match(/^[-+\d.e]+$/i) ? number : text;
  }
  function compare(a, b) {
    if (a === "" || b === "") return (a === "") - (b === "");  // what is unknown goes last
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }
  for (const button of table.tHead.querySelectorAll("button")) {
    button.addEventListener("click", () => {
      const column = Number(button.dataset.column);
      const head = button.parentElement;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sorted = rows.slice().sort((r, s) => {
        const a = key(r, column), b = key(s, column);
        const order = compare(a, b);
        return up || a === "" || b === "" ? order : -order;
      });
      body.append(...sorted);
    });
  }

  // ------------------------------------------------------------------ 3D view
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const colours = { A: "#0072b2", B: "#e69f00", C: "#009e73", D: "#cc79a7", E: "#56b4e9", F: "#d55e00" };
  const others = ["#f0e442", "#999999", "#7b4fa3", "#a65628"];
  const site = document.getElementById("site");
  const caption = document.getElementById("view-caption");
  const legend = document.getElementById("legend");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const lines = scene.pdb.split("\n");
  let viewer = null, busy = 0, conformers = [];

  function add(text) {
    return viewer.addModel(text, "pdb", { keepH: true, altLoc: "*" });
  }

  function colour(letter) {
    return colours[letter] || others[(letter || " ").charCodeAt(0) % others.length];
  }
  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }
  async function cube(patch, name) {
    const bytes = await unpack(patch[name]);
    const bohr = 1 / 0.52917721, [nx, ny, nz] = patch.size;
    const step = (patch.spacing * bohr).toFixed(6);
    const lines = ["", "", ["0", ...patch.origin.map((x) => (x * bohr).toFixed(5))].join(" "),
      `${nx} ${step} 0 0`, `${ny} 0 ${step} 0`, `${nz} 0 0 ${step}`];
    const values = new Array(bytes.length);
    for (let i = 0; i < bytes.length; i++) values[i] = ((bytes[i] - 127.5) * 8 / 127.5).toFixed(2);
    return lines.join("\n") + "\n" + values.join(" ");
  }
  async function show(name) {
    const places = scene.sites[name];
    if (!places) return;
    site.value = name;
    for (const row of rows) row.classList.toggle("chosen", row.dataset.site === name);
    const letters = Array.from(new Set(places.map((i) => scene.altloc[i]))).sort();
    legend.replaceChildren(...letters.map((letter) => {
      const key = document.createElement("span"), mark = document.createElement("i");
      key.className = "key";
      mark.style.background = letter ? colour(letter) : "#808890";
      key.append(mark, letter ? "altloc " + letter : "no altloc");
      return key;
    }));
    if (typeof $3Dmol === "undefined") { caption.textContent = name + ": the viewer is not at hand."; return; }
    const turn = ++busy;
    if (!viewer) {
      viewer = $3Dmol.createViewer("viewer", { backgroundColor: dark.matches ? "#15191d" : "#ffffff" });
      add(scene.pdb).setStyle({}, { line: { color: "#9aa3ab", linewidth: 1 } });
    }
    viewer.removeAllShapes();
    for (const model of conformers) viewer.removeModel(model);
    conformers = letters.map((letter) => {  // a model each: opacity belongs to a model
      const mine = places.filter((i) => scene.altloc[i] === letter);
      const look = { opacity: 0.35 + 0.65 * scene.occupancy[mine[0]] };
      if (letter) look.color = colour(letter);
      const model = add(mine.map((i) => lines[i]).join("\n") + "\nEND\n");
      model.setStyle({}, { stick: { radius: 0.12, ...look }, sphere: { scale: 0.18, ...look } });
      return model;
    });
    viewer.zoomTo({ model: conformers });
    viewer.render();
    const patch = scene.patches[name];
    if (patch && typeof DecompressionStream !== "undefined") {
      if (document.getElementById("map").checked) await surface(patch, "weighted", scene.levels.weighted, "#4a7fc1", turn);
      if (document.getElementById("difference").checked) {
        await surface(patch, "difference", scene.levels.difference, "#2ca02c", turn);
        await surface(patch, "difference", -scene.levels.difference, "#d62728", turn);
      }
      if (patch.omit && document.getElementById("omit").checked) await surface(patch, "omit", scene.levels.omit, "#e0a000", turn);
    }
    if (turn === busy) { viewer.render(); caption.dataset.shown = name; caption.textContent = description(name, letters, !!patch); }
  }
  function description(name, letters, mapped) {
    return name + ": " + (letters.filter(Boolean).length ? "altlocs " + letters.filter(Boolean).join(", ") : "no altlocs") +
      (mapped ? "; 2mFo-DFc at " + scene.levels.weighted + ", mFo-DFc at ±" + scene.levels.difference + " standard deviations" : "; no map patch") +
      (mapped && scene.patches[name].omit ? "; omit map at " + scene.levels.omit + " (yellow)." : ".");
  }
  async function surface(patch, map, level, tint, turn) {
    const data = new $3Dmol.VolumeData(await cube(patch, map), "cube");
    if (turn === busy) viewer.addIsosurface(data, { isoval: level, color: tint, wireframe: true, linewidth: 1, opacity: 0.7 });
  }
  document.addEventListener("click", (event) => {
    const pick = event.target.closest(".pick");
    if (!pick) return;
    const row = rows.find((r) => r.dataset.name === pick.dataset.name);
    if (row) { show(row.dataset.site); document.getElementById("view").scrollIntoView({ behavior: "smooth", block: "nearest" }); }
  });
  site.addEventListener("change", () => show(site.value));
  for (const name of ["map", "difference", "omit"]) document.getElementById(name).addEventListener("change", () => show(site.value));
  dark.addEventListener("change", () => { if (viewer) { viewer.setBackgroundColor(dark.matches ? "#15191d" : "#ffffff"); viewer.render(); } });
  window.multicopyShow = show;
})();
