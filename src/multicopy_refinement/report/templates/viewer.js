// The 3D view: conformers and maps at each site.
(function () {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const names = Object.keys(scene.sites);
  if (!names.length) return;
  const rows = Array.from(document.getElementById("table").tBodies[0].rows);
  const byId = (id) => document.getElementById(id);
  const letterColours = { A: "#0072b2", B: "#e69f00", C: "#009e73", D: "#cc79a7", E: "#56b4e9", F: "#d55e00" };
  const otherColours = ["#f0e442", "#999999", "#7b4fa3", "#a65628"];
  const elementColours = { N: "#3b5bff", O: "#e8251f", S: "#c9a400", P: "#ff8000", H: "#a8b0b8", F: "#53b847", CL: "#2fb52f",
    BR: "#a62929", I: "#940094", SE: "#d08a00", FE: "#d0602f", ZN: "#7d80b0", MG: "#58b000", CA: "#3da03d", NA: "#8a5cf6", K: "#8f40d4" };
  const maps = { weighted: ["#4a7fc1"], difference: ["#2ca02c", "#d62728"], omit: ["#e0a000"] };
  const site = byId("site"), caption = byId("view-caption"), legend = byId("legend");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let pdb = "", lines = [], viewer = null, turn = 0, drawn = [], meshes = [], current = null;
  const densities = new Map();
  const ready = library("viewer").then(() => text(scene.pdb)).then((unpacked) => { pdb = unpacked; lines = pdb.split("\n"); }, () => {});

  const colour = (letter) => letterColours[letter] || otherColours[(letter || " ").charCodeAt(0) % otherColours.length];
  const carbon = (one) => (one.letters[0] ? colour(one.letters[0]) : "#808890");
  const paper = () => (dark.matches ? "#15191d" : "#ffffff");
  const byElement = (grey) => (atom) => (atom.elem.toUpperCase() === "C" ? grey : elementColours[atom.elem.toUpperCase()] || "#b06fb0");
  const add = (text) => viewer.addModel(text, "pdb", { keepH: true, altLoc: "*" });

  async function density(name, map) {
    const key = name + "\n" + map, patch = scene.patches[name];
    if (!densities.has(key)) {
      const bytes = await unpack(patch[map], patch.size);
      const bohr = 1 / 0.52917721, [nx, ny, nz] = patch.size, step = (patch.spacing * bohr).toFixed(6);
      const head = ["", "", ["0", ...patch.origin.map((x) => (x * bohr).toFixed(5))].join(" "),
        `${nx} ${step} 0 0`, `${ny} 0 ${step} 0`, `${nz} 0 0 ${step}`];
      const values = Array.from(bytes, (b) => ((b + 0.5) * scene.step).toFixed(2));
      densities.set(key, new $3Dmol.VolumeData(head.join("\n") + "\n" + values.join(" "), "cube"));
    }
    return densities.get(key);
  }
  async function contour() {
    const mine = ++turn, name = current, patch = scene.patches[name], made = [];
    const near = drawn.flatMap((model) => model.selectedAtoms({}));  // what is far away only hides the site
    if (patch) {
      for (const map of Object.keys(maps)) {
        if (!patch[map] || !byId(map).checked) continue;
        const volume = await density(name, map), level = Number(byId(map + "-level").value);
        maps[map].forEach((tint, i) => made.push([volume, { isoval: i ? -level : level, color: tint, wireframe: true, linewidth: 1, opacity: 0.75, coords: near, seldist: scene.reach }]));
      }
    }
    if (mine !== turn) return;
    for (const mesh of meshes) viewer.removeShape(mesh);
    meshes = made.map(([volume, look]) => viewer.addIsosurface(volume, look));
    viewer.render();
    caption.dataset.shown = name;
    caption.textContent = description(name);
  }
  function description(name) {
    const patch = scene.patches[name], one = scene.sites[name];
    const letters = one.conformers.flatMap((c) => c.letters).filter(Boolean).sort();
    const at = (map) => byId(map + "-level").value;
    return name + ": " + (letters.length ? "altlocs " + letters.join(", ") : "no altlocs") +
      (patch ? "; 2mFo-DFc at " + at("weighted") + ", mFo-DFc at ±" + at("difference") + " standard deviations" +
        (patch.omit ? ", omit map at " + at("omit") + " (yellow)" : "") : "; no map here") + "." +
      (one.why ? " " + one.why + "." : "");
  }
  function writeLegend(one) {
    legend.replaceChildren(...one.conformers.map((c) => {
      const key = document.createElement("span"), mark = document.createElement("i");
      key.className = "key";
      mark.style.background = carbon(c);
      const words = c.letters[0] ? "altloc " + c.letters.join(" = ") : "no altloc";
      key.append(mark, words + " " + c.occupancy.toFixed(2));
      return key;
    }));
  }
  function writeLabels(one) {
    viewer.removeAllLabels();
    if (!byId("labels").checked) return;
    for (const [places, ink, size] of [[one.own, dark.matches ? "#ffffff" : "#000000", 14], [one.beside, "#808890", 11]]) {
      for (const i of places) {
        const [text, place] = scene.labels[i], line = lines[place];
        const [x, y, z] = [30, 38, 46].map((k) => Number(line.slice(k, k + 8)));
        viewer.addLabel(text, { position: { x, y, z }, fontColor: ink, fontSize: size, showBackground: false, inFront: true, alignment: "bottomCenter" });
      }
    }
  }
  async function show(name) {
    const one = scene.sites[name];
    if (!one) return;
    current = name;
    site.value = name;
    for (const row of rows) row.classList.toggle("chosen", row.dataset.site === name);
    const patch = scene.patches[name];
    for (const map of Object.keys(maps)) byId(map).disabled = byId(map + "-level").disabled = !(patch && patch[map]);
    writeLegend(one);
    await ready;
    if (name !== current) return;
    if (typeof $3Dmol === "undefined" || !pdb) { caption.textContent = name + ": the viewer is not at hand."; return; }
    if (!viewer) {
      try {
        viewer = $3Dmol.createViewer("viewer", { backgroundColor: paper() });
      } catch (fault) { viewer = null; }
      if (!viewer) { caption.textContent = name + ": this browser does not draw in 3D (WebGL is off)."; return; }
      add(pdb).setStyle({}, { line: { colorfunc: byElement("#9aa3ab"), linewidth: 1 } });
    }
    for (const model of drawn) viewer.removeModel(model);
    drawn = one.conformers.map((c) => {  // a model each: opacity belongs to a model
      const look = { opacity: 0.35 + 0.65 * c.occupancy, colorfunc: byElement(carbon(c)) };
      const model = add(c.atoms.map((i) => lines[i]).join("\n") + "\nEND\n");
      model.setStyle({}, { stick: { radius: 0.12, ...look }, sphere: { scale: c.atoms.length < 3 ? 0.3 : 0.18, ...look } });
      return model;
    });
    writeLabels(one);
    const few = drawn.reduce((n, model) => n + model.selectedAtoms({}).length, 0) < 4;
    viewer.zoomTo({ model: drawn });
    if (few) viewer.zoom(0.7);  // a water would fill the view
    await contour();
  }
  const step = (by) => show(names[(names.indexOf(current) + by + names.length) % names.length]);
  byId("next").addEventListener("click", () => step(1));
  byId("previous").addEventListener("click", () => step(-1));
  document.addEventListener("click", (event) => {
    const pick = event.target.closest(".pick");
    if (!pick || !scene.site_of[pick.dataset.name]) return;
    show(scene.site_of[pick.dataset.name]);
    byId("view").scrollIntoView({ behavior: "smooth", block: "nearest" });
  });
  site.addEventListener("change", () => show(site.value));
  for (const map of Object.keys(maps)) {
    const level = byId(map + "-level");
    byId(map).addEventListener("change", () => contour());
    level.addEventListener("input", () => { byId(map + "-at").textContent = Number(level.value).toFixed(1); contour(); });
  }
  byId("labels").addEventListener("change", () => { if (viewer) { writeLabels(scene.sites[current]); viewer.render(); } });
  dark.addEventListener("change", () => { if (viewer) { viewer.setBackgroundColor(paper()); writeLabels(scene.sites[current]); viewer.render(); } });
  window.multicopyShow = show;
  show(names[0]);
})();
