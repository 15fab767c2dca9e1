// @ts-check
/** An axis of the Explore page: where each run lies on it, what it cannot show, and what a brush on it keeps. No page in it. */
import { momentText, shortNumber, spanText, stepText } from "./format.js";
import { areNumbers, isNothing, numberIn } from "./importance.js";

const LOG_FROM = 100;
/** Of the values at each end: one alone that is far from the others makes no log axis. */
const LOG_APART = 0.05;
const naturalOrder = new Intl.Collator("en", { numeric: true });

/**
 * @typedef {object} ExploreColumn
 * @property {string} id as the table of runs has it
 * @property {string} name as a person calls it
 * @property {string} address as the address has it
 * @property {(run: any) => unknown} read
 * @property {(value: number) => string} text
 *
 * @typedef {object} ExploreAxis
 * @property {ExploreColumn} column
 * @property {boolean} isCategory
 * @property {boolean} isLog
 * @property {boolean} isChosen whether a person wanted it so
 * @property {string[]} categories in their order
 * @property {Float64Array} values of each run: a number, or the place of its category; NaN if it has none
 * @property {Float32Array} shares of each run: 0 at the low end to 1; NaN if it cannot be shown
 * @property {number} low
 * @property {number} high
 * @property {number} shown
 * @property {number} none runs without a value
 * @property {number} odd NaN and infinities
 * @property {number} hidden at 0 or below, on a log axis
 * @property {number} texts that are no numbers
 *
 * @typedef {{ low: number, high: number }} ExploreBrush of values, or places of categories; infinite where it is open
 */

/** What of a run there is beside config and summary. */
export const EXPLORE_FACTS = /** @type {[string, string, string, (value: number) => string][]} */ ([
  ["best_metric_value", "best", "best", shortNumber],
  ["duration_s", "took", "took", spanText],
  ["last_step", "step", "step", stepText],
  ["created_at", "started", "started", (value) => momentText(value).slice(0, 16)],
  ["status", "status", "status", shortNumber],
  ["path", "path", "path", shortNumber],
  ["group", "group", "group", shortNumber],
]);

/** @param {string} name of a field @returns {string} without what most of them begin with */
export function fieldName(name) {
  return name.replace(/^(config\.(args\.|extra\.)?|summary\.)(?=.)/, "");
}

/**
 * The column of a fact or a field. The best value is that of one metric: runs with another one have no value there.
 * @param {string} id @param {string} metric
 * @returns {ExploreColumn}
 */
export function exploreColumn(id, metric) {
  const fact = EXPLORE_FACTS.find((each) => each[0] === id);
  if (!fact) return { id, name: fieldName(id), address: id, read: (run) => run[id], text: shortNumber };
  const [, name, address, text] = fact;
  if (id !== "best_metric_value") return { id, name, address, read: (run) => run[id], text };
  return { id, name: metric ? `best ${metric}` : name, address, text, read: (run) => (run.best_metric_name === metric ? run.best_metric_value : null) };
}

/**
 * @param {ExploreColumn} column @param {any[]} runs @param {boolean | null} wish for a log axis; null = as the values are
 * @returns {ExploreAxis}
 */
export function exploreAxis(column, runs, wish) {
  const cells = runs.map(column.read);
  const none = cells.filter(isNothing).length;
  if (none < cells.length && !areNumbers(cells)) return categoryAxis(column, cells, none);
  const numbers = cells.map(numberIn);
  const values = Float64Array.from(numbers, (number) => number ?? NaN);
  const texts = numbers.filter((number) => number === null).length - none;
  const [least, high, lowest] = boundsOf(values);
  const isLog = wish ?? (least > 0 && spansDecades(values));
  const low = isLog ? lowest : least;
  const axis = { column, isCategory: false, isLog, isChosen: wish !== null, categories: [], values, low, high, none, texts };
  const shares = Float32Array.from(values, (value) => shareOf(axis, value));
  const shown = shares.filter((share) => !Number.isNaN(share)).length;
  const finite = values.filter(Number.isFinite).length;
  return { ...axis, shares, shown, odd: cells.length - none - texts - finite, hidden: finite - shown };
}

/** @param {Float64Array} values */
function spansDecades(values) {
  const sorted = values.filter(Number.isFinite).sort();
  const apart = Math.floor(sorted.length * LOG_APART);
  return sorted.length > 1 && sorted[sorted.length - 1 - apart] / sorted[apart] > LOG_FROM;
}

/** @param {ExploreColumn} column @param {unknown[]} cells @param {number} none @returns {ExploreAxis} */
function categoryAxis(column, cells, none) {
  const texts = cells.map((cell) => (isNothing(cell) ? null : String(cell)));
  const categories = [...new Set(texts.filter((text) => text !== null))].sort(compareNames);
  const places = new Map(categories.map((name, place) => [name, place]));
  const values = Float64Array.from(texts, (text) => (text === null ? NaN : places.get(text)));
  const axis = { column, isCategory: true, isLog: false, isChosen: false, categories, values, low: 0, high: categories.length - 1 };
  return { ...axis, shares: Float32Array.from(values, (value) => shareOf(axis, value)), shown: cells.length - none, none, odd: 0, hidden: 0, texts: 0 };
}

/** @param {string} first @param {string} second */
function compareNames(first, second) {
  return naturalOrder.compare(first, second) || (first < second ? -1 : Number(first > second));
}

/** The least, the greatest, and the least above 0. @param {Float64Array} values */
function boundsOf(values) {
  let [least, high, lowest] = [Infinity, -Infinity, Infinity];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < least) least = value;
    if (value > high) high = value;
    if (value > 0 && value < lowest) lowest = value;
  }
  return [least, high, lowest];
}

/** Where a value lies: 0 at the low end to 1; NaN if the axis cannot show it. @param {any} axis @param {number} value */
export function shareOf({ low, high, isLog }, value) {
  if (!Number.isFinite(value) || (isLog && value <= 0)) return NaN;
  if (high === low) return 0.5;
  // Halves: the span of all numbers that there are is none.
  const place = isLog ? Math.log10 : (number) => number / 2;
  return (place(value) - place(low)) / (place(high) - place(low));
}

/** The value at a share of an axis; the nearest category. @param {ExploreAxis} axis @param {number} share */
export function valueAtShare({ low, high, isLog, isCategory }, share) {
  if (isLog) return 10 ** (Math.log10(low) * (1 - share) + Math.log10(high) * share);
  const value = low * (1 - share) + high * share;
  return isCategory ? Math.round(value) : value;
}

/** A value as the axis and its brush say it. @param {ExploreAxis} axis @param {number} value */
export function axisText({ isCategory, categories, column }, value) {
  return isCategory ? categories[value] || "(empty)" : column.text(value);
}

/** A run's value as it is shown. @param {ExploreAxis} axis @param {number} index of the run */
export function cellText(axis, index) {
  const value = axis.values[index];
  return Number.isNaN(value) ? "none" : axisText(axis, value);
}

/**
 * Values to write on an axis.
 * @param {ExploreAxis} axis @param {number} most
 * @returns {{ share: number, text: string }[]}
 */
export function axisTicks(axis, most) {
  if (!axis.shown) return [];
  const places = axis.isCategory ? categoryTicks(axis, most) : axis.isLog ? logTicks(axis, most) : roundTicks(axis, most);
  return places.map((value) => ({ share: shareOf(axis, value), text: axisText(axis, value) }));
}

/** @param {ExploreAxis} axis @param {number} most */
function categoryTicks({ categories }, most) {
  const skip = Math.max(1, Math.ceil(categories.length / most));
  return [...categories.keys()].filter((place) => place % skip === 0);
}

/** @param {ExploreAxis} axis @param {number} most */
function logTicks({ low, high }, most) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const skip = Math.max(1, Math.ceil((last - first) / most));
  const parts = (last - first) * 3 <= most ? [1, 2, 5] : [1];
  const found = [];
  for (let power = first; power <= last; power += skip) found.push(...parts.map((part) => Number(`${part}e${power}`)));
  const within = found.filter((value) => value >= low && value <= high);
  return within.length > 1 ? within : [...new Set([low, high])];
}

/** @param {ExploreAxis} axis @param {number} most */
function roundTicks({ low, high }, most) {
  const rough = (high / 2 - low / 2) * 2 / most;
  if (!(rough > 0) || !Number.isFinite(rough)) return [...new Set([low, high])];
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = size * ([1, 2, 5].find((part) => part * size >= rough * 0.7) ?? 10);
  const found = [...Array(most + 2).keys()].map((at) => Number(((Math.ceil(low / step) + at) * step).toPrecision(12)));
  return [...new Set(found)].filter((value) => value >= low && value <= high);
}

/** What of the runs an axis does not show, in words; empty if it shows all. @param {ExploreAxis} axis */
export function notShownText({ none, odd, hidden, texts }) {
  const parts = [[none, "without a value"], [odd, "NaN or infinite"], [hidden, "at 0 or below, which a log axis cannot show"], [texts, "no number"]];
  return parts.filter(([count]) => count).map(([count, words]) => `${count} ${words}`).join(", ");
}

/** How an axis is divided, in words. @param {ExploreAxis} axis */
export function scaleText({ isCategory, isLog, isChosen }) {
  if (isCategory) return "categories";
  return isLog ? (isChosen ? "log" : "log, automatic") : "linear";
}

/**
 * The brush that an address names: `0.001..0.01`, `0.1..`, `..adam`, or one value.
 * @param {string} text @param {ExploreAxis} axis
 * @returns {ExploreBrush | null} null if it is none
 */
export function brushIn(text, axis) {
  const cut = text.indexOf("..");
  const [first, last] = cut < 0 ? [text, text] : [text.slice(0, cut), text.slice(cut + 2)];
  if (cut === 0 && !last) return null;
  if (axis.isCategory) return { low: first ? placeOfName(axis, first) : -Infinity, high: last ? placeOfName(axis, last) : Infinity };
  const [low, high] = [first.trim() ? Number(first) : -Infinity, last.trim() ? Number(last) : Infinity];
  if (Number.isNaN(low) || Number.isNaN(high)) return null;
  return { low: Math.min(low, high), high: Math.max(low, high) };
}

/** The place of a category; between two if there is none of that name. @param {ExploreAxis} axis @param {string} text */
function placeOfName({ categories }, text) {
  const name = text.replace(/%2E/g, ".").replace(/%25/g, "%");
  const at = categories.indexOf(name);
  if (at >= 0) return at;
  const next = categories.findIndex((each) => compareNames(each, name) > 0);
  return (next < 0 ? categories.length : next) - 0.5;
}

/** A brush as the address has it; empty if it keeps everything. @param {ExploreAxis} axis @param {ExploreBrush} brush */
export function brushText(axis, { low, high }) {
  const text = (value, whole) => (Number.isFinite(value) ? (axis.isCategory ? escapedName(axis.categories[whole(value)] ?? "") : String(value)) : "");
  const [first, last] = [text(low, Math.ceil), text(high, Math.floor)];
  return first || last ? `${first}..${last}` : "";
}

/** @param {string} name */
function escapedName(name) {
  return name.replace(/%/g, "%25").replace(/\.(?=\.)|^\.|\.$/g, "%2E");
}

/** A brush between two shares; an end beyond the axis is open. @param {ExploreAxis} axis @param {number} from @param {number} to @returns {ExploreBrush} */
export function brushBetween(axis, from, to) {
  const [first, last] = [Math.min(from, to), Math.max(from, to)];
  const low = first <= 0 ? -Infinity : shortValue(axis, valueAtShare(axis, Math.min(1, first)));
  return { low, high: last >= 1 ? Infinity : shortValue(axis, valueAtShare(axis, Math.max(0, last))) };
}

/** With as many digits as it takes to tell a thousandth of the axis. @param {ExploreAxis} axis @param {number} value */
function shortValue({ low, high, isCategory, isLog }, value) {
  const span = isLog ? value * Math.log(high / low) : high - low;
  if (isCategory || !(span > 0) || !Number.isFinite(span)) return value;
  const digits = Math.ceil(Math.log10(Math.abs(value) / span)) + 4;
  return Number(value.toPrecision(Math.min(17, Math.max(1, digits))));
}

/** The ends of a brush as shares; those of the axis if there is none. @param {ExploreAxis} axis @param {ExploreBrush | null | undefined} brush */
export function brushShares(axis, brush) {
  const share = (value, open) => (value === undefined || !Number.isFinite(value) ? open : Math.max(0, Math.min(1, shareOf(axis, value) || 0)));
  return [share(brush?.low, 0), share(brush?.high, 1)];
}

/** A brush in words. @param {ExploreAxis} axis @param {ExploreBrush} brush */
export function brushWords(axis, { low, high }) {
  const text = (value) => axisText(axis, axis.isCategory ? Math.min(axis.categories.length - 1, Math.max(0, Math.round(value))) : value);
  if (!Number.isFinite(high)) return `from ${text(low)}`;
  return Number.isFinite(low) ? `${text(low)} to ${text(high)}` : `up to ${text(high)}`;
}

/**
 * 1 for each run that all brushes keep; a run without a value is in no brush.
 * @param {number} count of runs @param {{ axis: ExploreAxis, brush: ExploreBrush }[]} brushes
 */
export function brushedRuns(count, brushes) {
  const kept = new Uint8Array(count).fill(1);
  for (const { axis, brush } of brushes) {
    for (let at = 0; at < count; at++) {
      const value = axis.values[at];
      if (!(value >= brush.low && value <= brush.high)) kept[at] = 0;
    }
  }
  return kept;
}

/** Names as one text of the address: a comma in one of them is told from those between. @param {string[]} names */
export function axisNamesText(names) {
  return names.map((name) => name.replace(/%/g, "%25").replace(/,/g, "%2C")).join(",");
}

/** @param {string | null} text @returns {string[]} */
export function axisNamesIn(text) {
  return (text ?? "").split(",").filter(Boolean).map((name) => name.replace(/%2C/g, ",").replace(/%25/g, "%"));
}
