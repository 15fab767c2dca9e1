// @ts-check
/** A chart as a file: PNG, SVG, CSV of what it shows. */
import { curveStyle, saveFile, themeColour } from "./parts.js";

const SAVE_HEAD = 28;
const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

/**
 * @typedef {object} SavedChart
 * @property {string} title
 * @property {string} metric
 * @property {import("./plot.js").Curve[]} curves
 * @property {import("./plot.js").PlotData} drawn
 * @property {import("./plot.js").PlotView} view
 * @property {any} chart the one of uPlot
 */

/** @param {SavedChart} saved @param {string} file */
export function savePng({ title, chart }, file) {
  if (!chart) return;
  const from = /** @type {HTMLCanvasElement} */ (chart.ctx.canvas);
  const head = SAVE_HEAD * devicePixelRatio;
  const canvas = document.createElement("canvas");
  canvas.width = from.width;
  canvas.height = from.height + head;
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.fillStyle = themeColour("--bg");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = themeColour("--ink");
  ctx.font = `600 ${13 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "middle";
  ctx.fillText(title, 8 * devicePixelRatio, head / 2);
  ctx.drawImage(from, 0, head);
  canvas.toBlob((blob) => blob && saveFile(blob, file));
}

/** @param {SavedChart} saved @param {string} file */
export function saveCsv({ curves }, file) {
  const names = [...new Set(curves.flatMap((curve) => curve.head.arrays))];
  const several = curves.length > 1;
  const lines = [[...(several ? ["curve", "rank", "superseded"] : []), ...names].join(",")];
  for (const { head, data, name } of curves) {
    for (let row = 0; row < head.n; row++) {
      const cells = names.map((name) => (data[name] ? String(data[name][row]) : ""));
      lines.push([...(several ? [csvText(name), head.rank ?? "", head.superseded] : []), ...cells].join(","));
    }
  }
  saveFile(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }), file);
}

/** A text in a cell; what a spreadsheet would take for a formula is none. @param {string} text */
export function csvText(text) {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}

/** @param {SavedChart} saved @param {string} file */
export function saveSvg(saved, file) {
  if (!saved.chart) return;
  const text = new XMLSerializer().serializeToString(drawnSvg(saved));
  saveFile(new Blob([text], { type: "image/svg+xml" }), file);
}

/** @param {SavedChart} saved */
function drawnSvg({ title, drawn, chart }) {
  const { width, height } = chart;
  const svg = svgPart("svg", { viewBox: `0 0 ${width} ${height + SAVE_HEAD}`, width, height: height + SAVE_HEAD, "font-family": "system-ui, sans-serif", "font-size": 11 });
  svg.append(svgPart("rect", { width, height: height + SAVE_HEAD, fill: themeColour("--bg") }));
  svg.append(svgText(title, { x: 8, y: 18, "font-size": 13, "font-weight": 600, fill: themeColour("--ink") }));
  const body = svgPart("g", { transform: `translate(0 ${SAVE_HEAD})` });
  const box = { left: chart.bbox.left / devicePixelRatio, top: chart.bbox.top / devicePixelRatio, width: chart.bbox.width / devicePixelRatio, height: chart.bbox.height / devicePixelRatio };
  const place = { x: (value) => box.left + chart.valToPos(value, "x"), y: (value) => box.top + chart.valToPos(value, "y") };
  const clip = svgPart("clipPath", { id: "plot" });
  clip.append(svgPart("rect", { x: box.left, y: box.top, width: box.width, height: box.height }));
  body.append(clip, ...svgAxes(chart, box, place));
  const curves = svgPart("g", { "clip-path": "url(#plot)" });
  drawn.series.forEach((part, index) => {
    const { colour, dash } = curveStyle(part.slot);
    if (part.role === "high") curves.append(svgPart("path", { d: bandPath(drawn.data, index + 1, place), fill: colour, opacity: 0.2 }));
    const isLine = part.role === "line";
    curves.append(svgPart("path", { d: linePath(drawn.data[0], drawn.data[index + 1], place), fill: "none", stroke: colour, "stroke-width": isLine ? 1.5 : 1, opacity: isLine ? 1 : 0.4, "stroke-dasharray": isLine ? dash.join(" ") : "" }));
  });
  body.append(curves);
  svg.append(body);
  return svg;
}

/** @param {any} chart @param {any} box @param {any} place */
function svgAxes(chart, box, place) {
  const parts = [];
  const ink = themeColour("--quiet");
  const [ticksX, ticksY] = [0, 1].map((axis) => ({ at: chart.axes[axis]._splits ?? [], texts: chart.axes[axis]._values ?? [] }));
  const bottom = box.top + box.height;
  ticksX.at.forEach((value, index) => {
    parts.push(svgPart("line", { x1: place.x(value), x2: place.x(value), y1: box.top, y2: bottom, stroke: themeColour("--grid") }));
    parts.push(svgText(ticksX.texts[index] ?? "", { x: place.x(value), y: bottom + 15, fill: ink, "text-anchor": "middle" }));
  });
  ticksY.at.forEach((value, index) => {
    parts.push(svgPart("line", { x1: box.left, x2: box.left + box.width, y1: place.y(value), y2: place.y(value), stroke: themeColour("--grid") }));
    parts.push(svgText(ticksY.texts[index] ?? "", { x: box.left - 6, y: place.y(value) + 4, fill: ink, "text-anchor": "end" }));
  });
  parts.push(svgPart("path", { d: `M${box.left} ${box.top}V${bottom}H${box.left + box.width}`, fill: "none", stroke: themeColour("--line") }));
  return parts;
}

/** @param {number[]} x @param {(number | null | undefined)[]} y @param {any} place */
function linePath(x, y, place) {
  let path = "";
  let isOpen = false;
  x.forEach((value, index) => {
    const height = y[index];
    if (height === undefined) return;
    if (height !== null) path += `${isOpen ? "L" : "M"}${place.x(value).toFixed(2)} ${place.y(height).toFixed(2)}`;
    isOpen = height !== null;
  });
  return path;
}

/** @param {any[]} data @param {number} high @param {any} place */
function bandPath(data, high, place) {
  const known = data[0].map((_x, index) => index).filter((index) => typeof data[high][index] === "number");
  const along = (indexes, values) => indexes.map((index) => `${place.x(data[0][index]).toFixed(2)} ${place.y(values[index]).toFixed(2)}`).join("L");
  return known.length ? `M${along(known, data[high])}L${along([...known].reverse(), data[high + 1])}Z` : "";
}

/** @param {string} name @param {Record<string, any>} attributes */
function svgPart(name, attributes) {
  const part = document.createElementNS(SVG_NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== "") part.setAttribute(key, String(value));
  return part;
}

/** @param {string} text @param {Record<string, any>} attributes */
function svgText(text, attributes) {
  const part = svgPart("text", attributes);
  part.textContent = text;
  return part;
}
