// @ts-check
/** What is asked of the table of runs: the words of the search field, and the order. No page in it. */
import { parseSpan } from "./format.js";

/**
 * @typedef {{ name: string, operator: string, value: string }} Condition
 * @typedef {{ words: string[], conditions: Condition[] }} Filter
 */

const CONDITION = /^([\w.\-/ ]+?)(<=|>=|!=|=|<|>|~)(.+)$/;
const TEXT_COLUMNS = ["id", "alias", "path", "group", "notes", "reason", "hostname", "status"];
/** Short names of columns, as people write them. */
const SHORT_NAMES = /** @type {Record<string, string>} */ ({
  best: "best_metric_value",
  metric: "best_metric_name",
  step: "last_step",
  took: "duration_s",
  duration: "duration_s",
  host: "hostname",
  tag: "tags",
  age: "created_at",
  last: "last_data_at",
  name: "alias",
});
const TIMES = ["created_at", "started_at", "ended_at", "last_data_at"];
/** Columns that every run has; a field of config or summary of the same name is called by its full name. */
const OWN_COLUMNS = new Set([...TEXT_COLUMNS, ...TIMES, ...Object.values(SHORT_NAMES)]);

/** `lr<1e-3 status=failed resnet` as words and conditions; a text in quotes is one word. @param {string} text @returns {Filter} */
export function parseFilter(text) {
  const parts = text.match(/(?:[^\s"]|"[^"]*"?)+/g) ?? [];
  /** @type {Filter} */
  const filter = { words: [], conditions: [] };
  for (const part of parts) {
    const found = CONDITION.exec(part.replace(/"/g, ""));
    if (found) filter.conditions.push({ name: found[1], operator: found[2], value: found[3] });
    else filter.words.push(part.replace(/"/g, "").toLowerCase());
  }
  return filter;
}

/**
 * The full name of a column that a person calls `lr`.
 * @param {string} name
 * @param {string[]} others the names of config and summary
 */
export function columnOf(name, others) {
  const known = SHORT_NAMES[name] ?? name;
  if (OWN_COLUMNS.has(known) || others.includes(known)) return known;
  const found = others.find((other) => other.endsWith(`.${known}`));
  return found ?? others.find((other) => /^config\./.test(known) && /^config\./.test(other) && other.endsWith(known.slice(6))) ?? known;
}

/**
 * The runs below a path, of some statuses, of some keys, that a filter wants.
 * @param {any[]} all @param {{ path: string, status: string[], only: string | null, filter: Filter }} wish @param {string[]} others @param {number} now
 */
export function askedRuns(all, { path, status, only, filter }, others, now) {
  const named = only ? new Set(only.split(",")) : null;
  const isBelow = (run) => !path || run.path === path || run.path.startsWith(`${path}/`);
  const isOf = (run) => !status.length || status.includes(run.status);
  return all.filter((run) => isBelow(run) && isOf(run) && (!named || named.has(run.key)) && isWanted(run, filter, others, now));
}

/** Whether a run is asked for. @param {any} run @param {Filter} filter @param {string[]} others @param {number} now */
export function isWanted(run, filter, others, now) {
  const holds = (condition) => conditionHolds(run, condition, others, now);
  return filter.conditions.every(holds) && (!filter.words.length || wordsAreIn(run, filter.words));
}

/** @param {any} run @param {string[]} words */
function wordsAreIn(run, words) {
  const text = [...TEXT_COLUMNS.map((name) => run[name] ?? ""), ...(run.tags ?? [])].join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** @param {any} run @param {Condition} condition @param {string[]} others @param {number} now */
function conditionHolds(run, { name, operator, value }, others, now) {
  const column = columnOf(name, others);
  const has = run[column];
  if (Array.isArray(has)) return (operator === "!=") !== has.some((each) => matchesText(String(each), operator, value));
  if (has === null || has === undefined) return operator === "!=";
  const span = parseSpan(value);
  const compared = TIMES.includes(column) && span !== null ? now - has : has;
  const wanted = span !== null && (TIMES.includes(column) || column === "duration_s") ? span : Number(value);
  if (typeof compared === "number" && !Number.isNaN(wanted) && operator !== "~") return compares(compared, operator, wanted);
  return (operator === "!=") !== matchesText(String(has), operator, value);
}

/** @param {number} has @param {string} operator @param {number} wanted */
function compares(has, operator, wanted) {
  return { "<": has < wanted, ">": has > wanted, "<=": has <= wanted, ">=": has >= wanted, "=": has === wanted, "!=": has !== wanted }[operator];
}

/** @param {string} has @param {string} operator @param {string} value */
function matchesText(has, operator, value) {
  if (operator === "~") return has.toLowerCase().includes(value.toLowerCase());
  if (operator === "<" || operator === "<=") return has < value;
  if (operator === ">" || operator === ">=") return has > value;
  return has.toLowerCase() === value.toLowerCase();
}

/**
 * Runs in the order of `-created_at,best`: a minus turns one round; who has no value comes last, and of equal ones the oldest.
 * @param {any[]} runs @param {string} order @param {string[]} others
 */
export function inOrder(runs, order, others) {
  const keys = order.split(",").map((part) => ({ name: columnOf(part.replace(/^-/, ""), others), turn: part.startsWith("-") ? -1 : 1 }));
  return [...runs].sort((first, second) => {
    for (const { name, turn } of keys) {
      const by = name === "best_metric_value" ? compareBest(first, second, turn) : compareCells(first[name], second[name], turn);
      if (by) return by;
    }
    return compareCells(first.created_at, second.created_at, -1) || compareCells(first.id, second.id, -1);
  });
}

/** The best first, metric by metric, by each metric's mode. @param {any} first @param {any} second @param {number} turn */
function compareBest(first, second, turn) {
  const names = compareCells(first.best_metric_name, second.best_metric_name, 1);
  const better = first.best_metric_mode === "max" ? -1 : 1;
  return names || compareCells(first.best_metric_value, second.best_metric_value, turn * better);
}

/** @param {any} first @param {any} second @param {number} turn */
function compareCells(first, second, turn) {
  const lacks = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (lacks(first) || lacks(second)) return Number(lacks(first)) - Number(lacks(second));
  if (typeof first === "number" && typeof second === "number") return turn * (first - second);
  const [left, right] = [String(first), String(second)];
  return turn * (left < right ? -1 : Number(left > right));
}
