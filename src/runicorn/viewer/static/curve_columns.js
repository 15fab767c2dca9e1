// @ts-check
/** Columns for uPlot out of curves: which lines and bands there are, and what a log axis cannot show. Nothing here draws. */

/**
 * @typedef {import("./plot.js").Curve} Curve
 * @typedef {import("./plot.js").PlotData} PlotData
 * @typedef {import("./plot.js").SeriesPart} SeriesPart
 * @typedef {import("./plot.js").OddMark} OddMark
 */

const MOST_BANDS = 8;
/** Of the band that goes around all curves. */
export const QUIET_SLOT = -1;

/** uPlot is a script of its own. @returns {any} */
export function uplotClass() {
  return window["uPlot"];
}

/**
 * Columns for uPlot out of curves; what a log axis cannot show is left out. Many curves have one band that goes around
 * all of them: so a single outlier is seen there too.
 * @param {Curve[]} curves @param {boolean} logY @param {string} [band] @returns {PlotData}
 */
export function plotData(curves, logY, band) {
  /** @type {OddMark[]} */
  const odd = [];
  // Bands lie below all lines.
  const below = { tables: /** @type {any[][]} */ ([]), series: /** @type {SeriesPart[]} */ ([]) };
  const above = { tables: /** @type {any[][]} */ ([]), series: /** @type {SeriesPart[]} */ ([]) };
  const around = curves.length > MOST_BANDS ? new Map() : null;
  const widest = curves.reduce((width, { head }) => Math.max(width, head.width ?? 0), 0);
  curves.forEach(({ head, data, slot, isPinned }, curve) => {
    const middle = placesOf(head, data);
    const columns = rolesOf(head, data, band);
    const edges = columns.filter(([role]) => role === "high" || role === "low");
    const add = (to, some) => {
      for (const [role] of some) to.series.push({ curve, role, slot, isOld: head.superseded, isPinned: Boolean(isPinned) });
      to.tables.push([middle, ...some.map(([role, values]) => drawable(role === "low" && logY ? aboveZero(values, edges[0][1]) : values, logY))]);
    };
    if (edges.length && around) widen(around, widest, middle, edges[0][1], edges[1][1]);
    else if (edges.length) add(below, edges);
    add(above, columns.filter((column) => !edges.includes(column)));
    odd.push(...oddMarks(head, data, middle));
  });
  if (around?.size) {
    const places = [...around.keys()].sort((first, second) => first - second);
    const bounds = [1, 0].map((at) => Float64Array.from(places, (x) => around.get(x)[at]));
    for (const role of /** @type {const} */ (["high", "low"])) below.series.push({ curve: -1, role, slot: QUIET_SLOT, isOld: false, isPinned: false });
    below.tables.push([places, drawable(bounds[0], logY), drawable(logY ? aboveZero(bounds[1], bounds[0]) : bounds[1], logY)]);
  }
  const series = [...below.series, ...above.series];
  const tables = [...below.tables, ...above.tables];
  const lines = curves.map(() => 0);
  series.forEach((part, index) => part.role === "line" && (lines[part.curve] = index + 1));
  if (!tables.length) return { data: [[]], series, odd, lines };
  return { data: tables.length === 1 ? tables[0] : uplotClass().join(tables), series, odd, lines };
}

/** Take the band of one curve into the one around all, whose buckets are those of the widest. @param {Map<number, number[]>} around @param {number} width @param {number[]} places @param {Float64Array} high @param {Float64Array} low */
function widen(around, width, places, high, low) {
  places.forEach((place, at) => {
    const x = width ? (Math.floor(place / width) + 0.5) * width : place;
    const [least, greatest] = around.get(x) ?? [Infinity, -Infinity];
    if (low[at] <= high[at]) around.set(x, [Math.min(least, low[at]), Math.max(greatest, high[at])]);
  });
}

/** Where the values of a curve stand: a bucket in its middle, but never outside of the curve. @param {any} head @param {Record<string, Float64Array>} data */
function placesOf(head, data) {
  if (head.kind === "points") return [...data.x];
  const [low, high] = [head.first_x ?? -Infinity, head.last_x ?? Infinity];
  const whole = Number.isInteger(head.width) && Number.isInteger(data.x[0]) ? 1 : 0;
  return [...data.x].map((x) => Math.min(high, Math.max(low, x + (head.width - whole) / 2)));
}

/** @param {any} head @param {Record<string, Float64Array>} data @param {string} [band] @returns {[SeriesPart["role"], Float64Array][]} */
function rolesOf(head, data, band) {
  /** @type {[SeriesPart["role"], Float64Array][]} */
  const columns = [];
  const raw = head.kind === "points" ? data.y : data.mean;
  if (data.std && band === "std") columns.push(["high", data.mean.map((mean, at) => mean + data.std[at])], ["low", data.mean.map((mean, at) => mean - data.std[at])]);
  else if (data.max && data.min && head.rank !== "mean") columns.push(["high", data.max], ["low", data.min]);
  if (data.smooth) columns.push(["raw", raw]);
  columns.push(["line", data.smooth ?? raw]);
  return columns;
}

/** On a log axis a band that begins at or below zero begins at its least value above. @param {Float64Array} low @param {Float64Array} high */
function aboveZero(low, high) {
  const least = [...low, ...high].reduce((found, value) => (value > 0 && value < found ? value : found), Infinity);
  return low.map((value, index) => (value <= 0 && high[index] > 0 ? least : value));
}

/** @param {Float64Array} values @param {boolean} logY */
function drawable(values, logY) {
  return Array.from(values, (value) => (Number.isFinite(value) && !(logY && value <= 0) ? value : null));
}

/** @param {any} head @param {Record<string, Float64Array>} data @param {number[]} places @returns {OddMark[]} */
function oddMarks(head, data, places) {
  /** @type {OddMark[]} */
  const marks = [];
  const onlyInf = head.nan === 0 && head.inf > 0;
  places.forEach((x, index) => {
    const value = head.kind === "points" ? data.y[index] : 0;
    if (!Number.isFinite(value)) marks.push({ x, kind: Number.isNaN(value) ? "NaN" : value > 0 ? "inf" : "-inf" });
    else if (data.nonfinite && data.nonfinite[index] > 0) marks.push({ x, kind: onlyInf ? "inf" : "NaN" });
  });
  return marks;
}
