"use strict";
(function () {
  const flagged = document.getElementById("flagged");
  const listed = multicopyTable(document.getElementById("table"), {
    filter: document.getElementById("filter"), shown: document.getElementById("shown"), noun: "group",
    controls: [flagged], keep: (row) => !flagged.checked || row.dataset.flagged,
  });
  const rows = listed.rows;

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
