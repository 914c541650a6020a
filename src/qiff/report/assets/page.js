// The plots, viewers and players of a report.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const decode = (q) => Float32Array.from(new Int16Array(bytes(q.i16).buffer), (v) => (v === -32768 ? NaN : v * q.unit));
const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? v.toExponential(0).replace("e+", "e") : String(+v.toPrecision(4)));
const SERIES = ["--first", "--second", "--third", "--fourth", "--fifth", "--sixth"];
const plots = [], viewers = [];

class Plot {
  // spec: x, y: {label, log}; series: [{name, x, y, kind: "points" | "line", colour}]; diagonal; pick(point)
  constructor(canvas, spec) {
    Object.assign(this, { canvas, spec, marker: null, chosen: [] });
    plots.push(this);
    new ResizeObserver(() => this.draw()).observe(canvas);
    if (spec.pick) {
      canvas.style.cursor = "crosshair";
      canvas.addEventListener("click", (event) => this.click(event));
    }
  }
  range(axis) {
    let low = Infinity, high = -Infinity;
    const log = this.spec[axis].log, axes = this.spec.diagonal ? ["x", "y"] : [axis];
    for (const one of this.spec.series) for (const name of axes) for (const v of one[name])
      if (Number.isFinite(v) && (!log || v > 0)) { if (v < low) low = v; if (v > high) high = v; }
    if (low > high) return [log ? 0.1 : 0, 1];
    if (log) return [low / 1.15, high * 1.15];
    const pad = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
    return [low - pad, high + pad];
  }
  ticks([low, high], log, most) {
    if (log) {
      const found = [];
      for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) for (const m of high / low < 50 ? [1, 2, 5] : [1])
        if (m * 10 ** e >= low && m * 10 ** e <= high) found.push(m * 10 ** e);
      return found.filter((_, i) => i % Math.ceil(found.length / most) === 0);
    }
    const raw = (high - low) / most, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw), found = [];
    for (let n = Math.ceil(low / step); n * step <= high; n++) found.push(n * step);
    return found;
  }
  draw() {
    const { canvas, spec } = this, ratio = devicePixelRatio || 1;
    const w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w || !h) return;
    canvas.width = w * ratio; canvas.height = h * ratio;
    const c = canvas.getContext("2d");
    c.scale(ratio, ratio); c.font = "12px system-ui, sans-serif";
    const named = spec.series.filter((one) => one.name);
    const left = 62, right = 12, top = named.length > 1 || spec.legend ? 26 : 10, bottom = 40;
    const xs = this.range("x"), ys = this.range("y");
    const scale = (range, log, from, to) => {
      const f = log ? Math.log10 : (v) => v, a = f(range[0]), b = f(range[1]);
      return (v) => from + ((f(v) - a) / (b - a)) * (to - from);
    };
    this.px = scale(xs, spec.x.log, left, w - right); this.py = scale(ys, spec.y.log, h - bottom, top);
    const ink = colour("--muted"), grid = colour("--line");
    c.lineWidth = 1; c.textBaseline = "middle"; c.fillStyle = ink; c.strokeStyle = grid;
    c.textAlign = "right";
    for (const v of this.ticks(ys, spec.y.log, Math.max(2, h / 55))) {
      const y = this.py(v); c.beginPath(); c.moveTo(left, y); c.lineTo(w - right, y); c.stroke(); c.fillText(short(v), left - 6, y);
    }
    c.textAlign = "center";
    for (const v of this.ticks(xs, spec.x.log, Math.max(3, w / 90))) {
      const x = this.px(v); c.beginPath(); c.moveTo(x, top); c.lineTo(x, h - bottom); c.stroke(); c.fillText(short(v), x, h - bottom + 12);
    }
    c.fillText(spec.x.label, (left + w - right) / 2, h - 9);
    c.save(); c.translate(11, (top + h - bottom) / 2); c.rotate(-Math.PI / 2); c.fillText(spec.y.label, 0, 0); c.restore();
    c.save(); c.beginPath(); c.rect(left, top, w - left - right, h - top - bottom); c.clip();
    if (spec.diagonal) {
      c.strokeStyle = ink; c.beginPath(); c.moveTo(this.px(xs[0]), this.py(xs[0])); c.lineTo(this.px(xs[1]), this.py(xs[1])); c.stroke();
    }
    spec.series.forEach((one, n) => this.series(c, one, colour(one.colour || SERIES[n % SERIES.length])));
    if (this.marker !== null) {
      c.strokeStyle = colour("--accent"); c.lineWidth = 2; c.beginPath(); c.moveTo(this.px(this.marker), top); c.lineTo(this.px(this.marker), h - bottom); c.stroke();
    }
    c.restore();
    this.legend(c, named, left, w - right, spec.legend);
  }
  series(c, one, ink) {
    c.fillStyle = c.strokeStyle = ink; c.lineWidth = 1.6;
    if (one.kind === "points") {
      const size = one.x.length > 4000 ? 2.2 : one.x.length > 400 ? 3.2 : 5;
      c.globalAlpha = one.x.length > 400 ? 0.55 : 0.85;
      for (let i = 0; i < one.x.length; i++)
        if (Number.isFinite(one.x[i])) c.fillRect(this.px(one.x[i]) - size / 2, this.py(one.y[i]) - size / 2, size, size);
      const few = this.chosen.length <= 40;
      c.globalAlpha = 1; c.strokeStyle = colour("--accent"); c.lineWidth = few ? 2 : 1;
      for (const i of this.chosen) { c.beginPath(); c.arc(this.px(one.x[i]), this.py(one.y[i]), few ? 5 : 1.5, 0, 7); c.stroke(); }
      return;
    }
    const good = (i) => Number.isFinite(one.x[i]) && Number.isFinite(one.y[i]);
    c.beginPath();
    for (let i = 0; i < one.x.length; i++) {
      if (!good(i)) continue;
      const [x, y] = [this.px(one.x[i]), this.py(one.y[i])];
      c[good(i - 1) ? "lineTo" : "moveTo"](x, y);
      if (!good(i - 1) && !good(i + 1)) c.fillRect(x - 2.5, y - 2.5, 5, 5);
    }
    c.stroke();
  }
  legend(c, named, left, right, always) {
    if (named.length < 2 && !always) return;
    let x = left;
    c.textAlign = "left";
    this.spec.series.forEach((one, n) => {
      const width = c.measureText(one.name || "").width + 24;
      if (!one.name || x + width > right + 10) return;
      c.fillStyle = colour(one.colour || SERIES[n % SERIES.length]); c.fillRect(x, 9, 10, 10);
      c.fillStyle = colour("--ink"); c.fillText(one.name, x + 14, 15);
      x += width;
    });
  }
  click(event) {
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const one = this.spec.series[0];
    let best = -1, least = 24 ** 2;
    for (let i = 0; i < one.x.length; i++) {
      const d = (this.px(one.x[i]) - x) ** 2 + (this.py(one.y[i]) - y) ** 2;
      if (d < least) { least = d; best = i; }
    }
    if (best >= 0) this.spec.pick(best);
  }
}

class Viewer {
  constructor(element) {
    this.element = element; this.n = -1; this.view = null;
    try { this.view = $3Dmol.createViewer(element, { backgroundColor: colour("--surface"), antialias: true }); } catch (error) { this.view = null; }
    if (!this.view) { element.textContent = "This browser shows no 3-D pictures (no WebGL)."; return; }
    viewers.push(this);
    new ResizeObserver(() => this.view.resize()).observe(element);
  }
  show(symbols, positions, cell, arrows = []) {
    if (!this.view) return;
    const lines = symbols.map((s, i) => [s, ...positions.slice(3 * i, 3 * i + 3)].join(" "));
    this.view.removeAllModels(); this.view.removeAllShapes();
    this.view.addModel([symbols.length, "", ...lines].join("\n"), "xyz");
    this.view.setStyle({}, { stick: { radius: 0.1 }, sphere: { scale: 0.25 } });
    const point = (v) => ({ x: v[0], y: v[1], z: v[2] });
    for (const [from, to, name] of arrows)
      this.view.addArrow({ start: point(from), end: point(to), radius: 0.05, color: colour(name) });
    if (cell) this.box(cell, point);
    if (this.n !== symbols.length) { this.view.zoomTo(); this.view.zoom(this.closer(positions)); this.n = symbols.length; }
    this.view.render();
  }
  closer(positions) { // zoomTo leaves small molecules small
    let reach = 0;
    for (let i = 0; i < positions.length; i++) reach = Math.max(reach, Math.abs(positions[i] - positions[i % 3]));
    return Math.min(3, Math.max(1, 6 / (reach + 1)));
  }
  box(cell, point) {
    const corner = (i, j, k) => [0, 1, 2].map((d) => i * cell[d] + j * cell[3 + d] + k * cell[6 + d]);
    for (const [a, b] of [[0, 1], [0, 2], [0, 4], [1, 3], [1, 5], [2, 3], [2, 6], [3, 7], [4, 5], [4, 6], [5, 7], [6, 7]]) {
      const ends = [a, b].map((n) => point(corner(n & 1, (n >> 1) & 1, n >> 2)));
      this.view.addLine({ start: ends[0], end: ends[1], color: colour("--muted") });
    }
  }
}

function parity(s) {
  const keys = Object.keys(s.properties), start = [0];
  s.n_atoms.forEach((n) => start.push(start[start.length - 1] + n));
  const frameOfAtom = s.n_atoms.flatMap((n, k) => new Array(n).fill(k));
  const numbers = bytes(s.numbers), positions = decode(s.positions), values = {};
  for (const key of keys) values[key] = { labelled: decode(s.properties[key].labelled), predicted: decode(s.properties[key].predicted) };
  const viewer = new Viewer(byId("viewer")), canvas = byId("parity"), slider = byId("frame");
  let key = keys[0], frame = 0;
  const frameOf = (point) => { const p = s.properties[key], row = Math.floor(point / p.size); return p.per_atom ? frameOfAtom[row] : row; };
  const plot = new Plot(canvas, { x: {}, y: {}, series: [], diagonal: true, pick: (point) => go(frameOf(point)) });
  function choose(name) {
    key = name;
    const p = s.properties[key];
    plot.spec.x = { label: `reference ${p.components} (${p.unit})` }; plot.spec.y = { label: `predicted (${p.unit})` };
    plot.spec.series = [{ x: values[key].labelled, y: values[key].predicted, kind: "points" }];
    byId("worst").replaceChildren(...p.worst.map((k) => {
      const button = document.createElement("button");
      button.textContent = s.indices[k]; button.title = `frame ${s.indices[k]}: ${short(1000 * p.frame_errors[k])} m${p.unit}`;
      button.onclick = () => go(k);
      return button;
    }));
    document.querySelectorAll("#properties button").forEach((b) => b.setAttribute("aria-pressed", b.dataset.key === key));
    go(p.worst.length ? p.worst[0] : 0);
  }
  function arrows(k) { // of all atoms, or of those with the largest errors
    const forces = values.forces, found = [];
    if (!forces || !byId("arrows").checked) return found;
    const vector = (kind, i) => [0, 1, 2].map((d) => forces[kind][3 * i + d] || 0);
    const error = (i) => Math.hypot(...vector("labelled", i).map((v, d) => v - vector("predicted", i)[d]));
    const atoms = Array.from({ length: s.n_atoms[k] }, (_, n) => start[k] + n);
    const worst = atoms.length > 40 ? atoms.sort((a, b) => error(b) - error(a)).slice(0, 20) : atoms;
    const largest = Math.max(1e-9, ...worst.map((i) => Math.max(...vector("labelled", i).map(Math.abs))));
    for (const i of worst) for (const [kind, name] of [["labelled", "--first"], ["predicted", "--second"]]) {
      const from = [0, 1, 2].map((d) => positions[3 * i + d]), step = vector(kind, i).map((v) => (1.2 * v) / largest);
      if (Math.hypot(...step) > 0.1) found.push([from, from.map((v, d) => v + step[d]), name]);
    }
    return found;
  }
  function go(k) {
    frame = k; slider.value = k;
    const symbols = Array.from(numbers.slice(start[k], start[k + 1]), (z) => s.symbols[z]);
    const cell = s.cells && s.cells.slice(9 * k, 9 * k + 9);
    viewer.show(symbols, Array.from(positions.slice(3 * start[k], 3 * start[k + 1])), cell && cell.some((v) => v) ? cell : null, arrows(k));
    const errors = keys.map((name) => `${name} ${s.properties[name].frame_errors[k] === null ? "no label" : short(1000 * s.properties[name].frame_errors[k]) + " m" + s.properties[name].unit}`);
    byId("structure").textContent = `Frame ${s.indices[k]} of the data: RMS errors ${errors.join(", ")}`;
    byId("structure").dataset.frame = s.indices[k];
    const p = s.properties[key], from = p.size * (p.per_atom ? start[k] : k), to = p.size * (p.per_atom ? start[k + 1] : k + 1);
    plot.chosen = Array.from({ length: Math.min(to - from, 300) }, (_, i) => from + i);
    plot.draw();
  }
  slider.max = s.n_atoms.length - 1;
  slider.oninput = () => go(+slider.value);
  byId("arrows").onchange = () => go(frame);
  byId("arrows").parentElement.hidden = !values.forces;
  document.querySelectorAll("#properties button").forEach((b) => { b.onclick = () => choose(b.dataset.key); });
  redraw.push(() => go(frame));
  choose(keys.includes("forces") ? "forces" : keys[0]);
}

function distributions(s) {
  for (const [key, p] of Object.entries(s.properties)) {
    const h = p.histograms, x = h.edges.slice(1).map((v, i) => (500 * (v + h.edges[i])));
    const series = Object.entries(h.series).map(([name, y]) => ({ name: name === "all" ? "" : name, x, y, kind: "line" }));
    new Plot(byId(`histogram-${key}`), { x: { label: `error of the ${key} (m${p.unit})` }, y: { label: "share of values" }, series, legend: p.per_atom });
    if (!p.calibration) continue;
    const scale = (values) => values.map((v) => 1000 * v);
    new Plot(byId(`calibration-${key}`), { x: { label: `expected standard deviation (m${p.unit})` }, y: { label: `RMS error (m${p.unit})` }, diagonal: true, series: [{ x: scale(p.calibration.expected), y: scale(p.calibration.error), kind: "points" }] });
  }
}

function learning(runs) {
  const one = runs.length === 1;
  const lines = (column, factor = 1, name = null) => runs.flatMap((run, n) => !run.curves[column] ? [] : [{
    name: name || (one ? "" : run.name), colour: name ? undefined : SERIES[n % SERIES.length], kind: "line",
    x: run.curves.step, y: run.curves[column].map((v) => (v === null ? NaN : factor * v)),
  }]);
  const losses = one ? [...lines("loss", 1, "training"), ...lines("valid_loss", 1, "validation")] : lines("valid_loss");
  new Plot(byId("losses"), { x: { label: "step" }, y: { label: one ? "loss" : "validation loss", log: true }, series: losses, legend: !one });
  for (const canvas of document.querySelectorAll("canvas[data-column]")) {
    const { column, unit } = canvas.dataset;
    new Plot(canvas, { x: { label: "step" }, y: { label: unit, log: true }, series: lines(column, 1000), legend: !one });
  }
}

function player(t, n) {
  const find = (name) => byId(`${name}-${n}`), positions = decode(t.positions), size = 3 * t.symbols.length;
  const viewer = new Viewer(find("movie")), slider = find("time"), button = find("play");
  const energies = new Plot(find("energies"), { x: { label: "time (ps)" }, y: { label: "energy − start (meV)" }, series: [{ name: "total", x: t.time, y: t.energy, kind: "line" }, { name: "potential", x: t.time, y: t.potential, kind: "line" }] });
  const temperatures = new Plot(find("temperatures"), { x: { label: "time (ps)" }, y: { label: "temperature (K)" }, series: [{ x: t.time, y: t.temperature, kind: "line", colour: "--third" }] });
  let timer = 0, frame = 0;
  function go(k) {
    frame = k; slider.value = k;
    viewer.show(t.symbols, Array.from(positions.slice(k * size, (k + 1) * size)), t.cells && t.cells.slice(9 * k, 9 * k + 9));
    energies.marker = temperatures.marker = t.time[k];
    energies.draw(); temperatures.draw();
    find("state").textContent = `${short(t.time[k])} ps, ${short(t.energy[k])} meV, ${Math.round(t.temperature[k])} K`;
    find("state").dataset.frame = k;
  }
  function stop() { clearInterval(timer); timer = 0; button.textContent = "Play"; }
  button.onclick = () => {
    if (timer) return stop();
    button.textContent = "Pause";
    timer = setInterval(() => go((frame + 1) % t.time.length), 50);
  };
  slider.max = t.time.length - 1;
  slider.oninput = () => { stop(); go(+slider.value); };
  redraw.push(() => go(frame));
  go(0);
}

const redraw = [];
if (data.structures) { parity(data.structures); distributions(data.structures); }
if (data.runs.some((run) => run.curves.step)) learning(data.runs);
(data.trajectories || []).forEach(player);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  viewers.forEach((one) => one.view.setBackgroundColor(colour("--surface")));
  redraw.forEach((action) => action()); plots.forEach((plot) => plot.draw());
});
document.body.dataset.ready = "yes";
