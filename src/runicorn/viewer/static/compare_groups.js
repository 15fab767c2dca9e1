// @ts-check
/** Which curves a comparison has: one for each run, or one for each group of them. Nothing here draws. */
import { shortNumber } from "./format.js";
import { runName } from "./parts.js";

/**
 * @typedef {{ key: string, slot: number, row: any }} ComparedRun
 * @typedef {object} CurveOwner whose curve it is: a run's, or a group's
 * @property {string} id key of the run, or name of the group
 * @property {string} name
 * @property {number} slot of its colour and dashes
 * @property {string[]} runs
 * @property {boolean} isPinned
 */

/** What runs may be grouped by, beside config and summary. */
export const GROUP_COLUMNS = ["path", "status", "tags", "group", "hostname"];

/** The values of a column of what differs, one a run; `config.lr` stands for `config.args.lr`. @param {any} answer @param {string} by */
export function differingValues(answer, by) {
  const part = by.split(".")[0];
  const rest = by.slice(part.length + 1);
  const names = part === "config" || part === "summary" ? answer[part].names : [];
  const at = names.includes(rest) ? names.indexOf(rest) : names.findIndex((name) => name.endsWith(`.${rest}`));
  return at < 0 ? null : answer[part].values[at];
}

/**
 * Runs by a column: of config or summary, or one of their own; a run is in the group of each of its tags.
 * @param {ComparedRun[]} compared @param {any} answer @param {string} by @returns {Map<string, string[]>}
 */
export function groupsOf(compared, answer, by) {
  const values = differingValues(answer, by);
  const at = new Map(answer.runs.map((row, index) => [row.key, index]));
  const short = by.split(".").pop() ?? by;
  const named = (value) => (value === null || value === undefined || value === "" ? `no ${short}` : `${short} = ${typeof value === "number" ? shortNumber(value) : String(value)}`);
  /** @type {[any, string][]} */
  const pairs = compared.flatMap(({ key, row }) => {
    const value = GROUP_COLUMNS.includes(by) ? row[by] : values?.[at.get(key) ?? -1];
    const each = Array.isArray(value) && value.length ? value : [Array.isArray(value) ? null : value];
    return each.map((one) => [one, key]);
  });
  const isSmaller = (first, second) => (typeof first === "number" && typeof second === "number" ? first - second : String(first) < String(second) ? -1 : Number(String(first) > String(second)));
  // A column that does not differ has one group; values whose short names are equal have names in full.
  const distinct = [...new Set(pairs.map(([value]) => value))].sort(isSmaller);
  const names = new Map(distinct.map((value) => [value, named(value)]));
  for (const value of distinct) if (distinct.filter((other) => names.get(other) === named(value)).length > 1) names.set(value, `${short} = ${String(value)}`);
  if (!values && !GROUP_COLUMNS.includes(by)) return new Map([["all runs", compared.map((run) => run.key)]]);
  const groups = new Map(distinct.map((value) => [names.get(value) ?? "", /** @type {string[]} */ ([])]));
  for (const [value, key] of pairs) groups.get(names.get(value) ?? "")?.push(key);
  return groups;
}

/** @param {Map<string, string[]> | null} groups @param {ComparedRun[]} compared @param {string[]} top @returns {CurveOwner[]} pinned ones first */
export function looksOf(groups, compared, top) {
  const owners = groups
    ? [...groups].map(([name, runs], slot) => ({ id: name, name: `${name} (${runs.length})`, slot, runs, isPinned: top.includes(name) }))
    : compared.map(({ key, slot, row }) => ({ id: key, name: runName(row), slot, runs: [key], isPinned: top.includes(key) }));
  return [...owners.filter((owner) => owner.isPinned), ...owners.filter((owner) => !owner.isPinned)];
}

/** Those that are drawn. @param {CurveOwner[]} owners @param {{ off: string[], solo: string | null }} picked */
export function shownOf(owners, { off, solo }) {
  if (solo && owners.some((owner) => owner.id === solo)) return owners.filter((owner) => owner.id === solo);
  return owners.filter((owner) => !off.includes(owner.id));
}
