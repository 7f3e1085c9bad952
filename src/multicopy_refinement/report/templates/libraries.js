// What the page carries deflated, in base 64.
async function inflate(packed) {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const text = async (packed) => new TextDecoder().decode(await inflate(packed));
// Bytes of a box: along each axis in turn, each was written less the one before it.
async function unpack(text, [nx, ny, nz]) {
  const found = await inflate(text), rows = nx * ny * nz;
  for (const [step, n] of [[1, nz], [nz, ny], [ny * nz, nx]])
    for (let i = step; i < rows; i++) if (Math.floor(i / step) % n) found[i] += found[i - step];
  return new Int8Array(found.buffer);
}
// Runs a library that the page carries; one that came from a file is there already.
async function library(name) {
  const carried = document.getElementById("library-" + name);
  if (!carried) return;
  const script = document.createElement("script");
  script.textContent = await text(carried.textContent);
  document.head.append(script);
}
