// @ts-check
/** What of the config goes with a result: rank correlations, each with the runs that it is over. No page in it. */

const LEAST_RUNS = 5;
const NUMBER_WORDS = /** @type {Record<string, number>} */ ({ NaN: NaN, Infinity: Infinity, "-Infinity": -Infinity });

/**
 * @typedef {object} Importance
 * @property {string} name of the field
 * @property {"number" | "category"} kind
 * @property {number} strength 0 to 1
 * @property {number | null} rho with its sign; null for a category, which has no order
 * @property {number} runs
 *
 * @typedef {{ listed: Importance[], few: number, constant: number, own: number, level: number, runs: number }} Importances
 */

const WHOLE_NUMBER = /^-?\d{16,400}$/;

/** A number, also as the text for what JSON has not, or not exactly; null if it is none. @param {unknown} cell @returns {number | null} */
export function numberIn(cell) {
  if (typeof cell === "number") return cell;
  if (typeof cell !== "string") return null;
  return WHOLE_NUMBER.test(cell) ? Number(cell) : Object.hasOwn(NUMBER_WORDS, cell) ? NUMBER_WORDS[cell] : null;
}

/** Whether more than half of what is there are numbers. @param {unknown[]} cells @returns {boolean} */
export function areNumbers(cells) {
  const there = cells.filter((cell) => !isNothing(cell));
  return there.filter((cell) => numberIn(cell) !== null).length * 2 > there.length;
}

/** @param {unknown} cell */
export function isNothing(cell) {
  return cell === null || cell === undefined;
}

/** Ranks from 1 on; equal values have the mean of theirs. @param {ArrayLike<number>} values without NaN */
export function meanRanks(values) {
  const sorted = Float64Array.from(values).sort();
  const ranks = new Float64Array(sorted.length);
  for (let first = 0, next = 0; first < sorted.length; first = next) {
    while (next < sorted.length && sorted[next] === sorted[first]) next++;
    ranks.fill((first + next + 1) / 2, first, next);
  }
  return Float64Array.from(values, (value) => ranks[firstPlace(sorted, value)]);
}

/** @param {Float64Array} sorted @param {number} value that is in it */
function firstPlace(sorted, value) {
  let [from, to] = [0, sorted.length - 1];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (sorted[middle] < value) from = middle + 1;
    else to = middle;
  }
  return from;
}

/**
 * Spearman's rank correlation; null if either is constant.
 * @param {number[]} first @param {number[]} second as many, none of them NaN
 * @returns {number | null}
 */
export function rankCorrelation(first, second) {
  const [left, right] = [meanRanks(first), meanRanks(second)];
  const mean = (left.length + 1) / 2;
  let [both, ofLeft, ofRight] = [0, 0, 0];
  for (let at = 0; at < left.length; at++) {
    const [one, other] = [left[at] - mean, right[at] - mean];
    both += one * other;
    ofLeft += one * one;
    ofRight += other * other;
  }
  return ofLeft && ofRight ? Math.max(-1, Math.min(1, both / Math.sqrt(ofLeft * ofRight))) : null;
}

/**
 * How much of the ranks of a result lies between categories and not within them: epsilon squared of Kruskal and Wallis,
 * which is 0 on average if they do not matter, however many they are. Null if the result is constant, or each run has its own.
 * @param {string[]} groups @param {number[]} results as many, none of them NaN
 * @returns {number | null}
 */
export function rankShare(groups, results) {
  const ranks = meanRanks(results);
  const mean = (ranks.length + 1) / 2;
  const sums = /** @type {Map<string, { sum: number, count: number }>} */ (new Map());
  let total = 0;
  groups.forEach((group, at) => {
    const found = sums.get(group) ?? { sum: 0, count: 0 };
    sums.set(group, { sum: found.sum + ranks[at] - mean, count: found.count + 1 });
    total += (ranks[at] - mean) ** 2;
  });
  const free = ranks.length - sums.size;
  if (!total || free < 1) return null;
  const between = [...sums.values()].reduce((sum, each) => sum + each.sum ** 2 / each.count, 0);
  return Math.max(0, 1 - ((1 - between / total) * (ranks.length - 1)) / free);
}

/**
 * @param {string} name @param {unknown[]} cells one a run @param {Float64Array} results one a run; NaN if it has none
 * @returns {Importance | "few" | "constant" | "own" | "level"}
 */
function importanceOf(name, cells, results) {
  const isBoolean = cells.every((cell) => isNothing(cell) || typeof cell === "boolean");
  const isNumber = isBoolean || areNumbers(cells);
  const chosen = /** @type {any[]} */ ([]);
  const found = /** @type {number[]} */ ([]);
  cells.forEach((cell, at) => {
    if (isNothing(cell) || Number.isNaN(results[at])) return;
    const value = isBoolean ? Number(cell) : isNumber ? numberIn(cell) : String(cell);
    if (value === null || Number.isNaN(value)) return;
    chosen.push(value);
    found.push(results[at]);
  });
  if (chosen.length < LEAST_RUNS) return "few";
  const distinct = isNumber ? Number(chosen.some((value) => value !== chosen[0])) + 1 : new Set(chosen).size;
  if (distinct < 2) return "constant";
  if (!isNumber && distinct === chosen.length) return "own";
  const rho = isNumber ? rankCorrelation(chosen, found) : null;
  const share = isNumber ? null : rankShare(chosen, found);
  if (rho === null && share === null) return "level";
  const strength = rho === null ? Math.sqrt(share ?? 0) : Math.abs(rho);
  return { name, kind: isNumber ? "number" : "category", strength, rho, runs: chosen.length };
}

/**
 * Adds field after field; at the end all by their strength, and how many were left out: with fewer than 5 runs,
 * constant, of which each run has a text of its own, or over whose runs the result is level.
 * @param {unknown[]} cells of the result, one a run
 */
export function importanceCount(cells) {
  const results = Float64Array.from(cells, (cell) => (typeof cell === "boolean" ? Number(cell) : numberIn(cell) ?? NaN));
  const found = /** @type {(Importance | string)[]} */ ([]);
  const count = (why) => found.filter((each) => each === why).length;
  return {
    add: (/** @type {string} */ name, /** @type {unknown[]} */ values) => void found.push(importanceOf(name, values, results)),
    /** @returns {Importances} */
    all: () => {
      const listed = /** @type {Importance[]} */ (found.filter((each) => typeof each === "object"));
      listed.sort((first, second) => second.strength - first.strength || (first.name < second.name ? -1 : 1));
      return { listed, few: count("few"), constant: count("constant"), own: count("own"), level: count("level"), runs: results.filter((value) => !Number.isNaN(value)).length };
    },
  };
}
