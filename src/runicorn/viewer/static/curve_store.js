// @ts-check
/**
 * Curves of the charts in view. A chart wishes a metric of some runs, or of groups of runs; each of those is a part: it
 * is kept by itself, asked for together with others, and gone on with from its last bucket as its run grows.
 */
import { useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { source } from "./source.js";

/**
 * @typedef {import("./source.js").Curve} Curve
 * @typedef {{ name: string, runs: string[] }} RunGroup
 * @typedef {object} CurveWish what all curves of a page have in common, and whose they are
 * @property {string[]} [runs]
 * @property {RunGroup[]} [groups] instead of runs: a curve for each
 * @property {string} x
 * @property {number | null} from
 * @property {number | null} to
 * @property {number} smooth
 * @property {string | null} stage
 * @property {string | null} rank
 * @property {boolean} superseded
 * @property {boolean} log whether values at or below zero are counted
 * @property {number} buckets
 * @typedef {{ key: string, id: string, metric: string, run: string | null, group: RunGroup | null, common: any, version: string }} CurvePart
 * @typedef {{ curves: Curve[], version: string, error: string, at?: number }} KeptCurves
 */

const KEPT_CURVES = 1500;
const MOST_CURVES_ASKED = 2000;
const MOST_RUNS_ASKED = 500;
const LIVE_PAUSE_MS = 300;
const GROUP_PAUSE_MS = 1500;
const AGAIN_MS = 3000;
const TELL_MS = 30;
/** The more curves are on their way, the seldomer are they drawn meanwhile. */
const TELL_MS_A_CURVE = 0.5;
const LONGEST_TELL_MS = 2000;
/** @type {Map<string, KeptCurves>} */
const keptCurves = new Map();
/** @type {Map<string, CurvePart>} what is asked for next */
const wantedParts = new Map();
/** @type {Set<string>} what is under way */
const askedParts = new Set();
/** @type {Map<string, Set<() => void>>} who shows a part */
const partListeners = new Map();
/** @type {Set<() => void>} */
const toldListeners = new Set();
let curvesTimer = 0;
let tellTimer = 0;

/** @param {CurveWish} wish @param {string} metric @param {Record<string, string>} versions @returns {CurvePart[]} */
function partsOf({ runs, groups, ...common }, metric, versions) {
  const start = JSON.stringify([metric, common]);
  const version = (run) => versions[run] ?? "";
  if (!groups) return (runs ?? []).map((run) => ({ key: `${start} ${run}`, id: run, metric, run, group: null, common, version: version(run) }));
  return groups.map((group) => ({ key: `${start} ${JSON.stringify(group)}`, id: group.name, metric, run: null, group, common, version: group.runs.map(version).join(" ") }));
}

/** Whether what is kept is what there is. @param {KeptCurves | undefined} kept @param {string} version */
function isFresh(kept, version) {
  return Boolean(kept) && (kept?.version === version || (!version && !kept?.error));
}

/**
 * The curves of one metric as far as they are known. What was shown of a run stays until what is asked for has come, so
 * that a zoom does not empty the chart.
 * @param {CurveWish} wish
 * @param {string} metric
 * @param {Record<string, string>} versions of the runs' files: another one asks again
 * @returns {{ curves: Curve[], error: string }}
 */
export function useCurves(wish, metric, versions) {
  const [told, tellAgain] = useState(0);
  const shown = useRef(/** @type {Map<string, KeptCurves>} */ (new Map()));
  const wished = JSON.stringify([metric, wish]);
  const parts = useMemo(() => partsOf(wish, metric, versions), [wished, versions]);
  const ready = wish.buckets > 0;
  useEffect(() => (ready ? listenTo(parts, () => tellAgain((count) => count + 1)) : undefined), [wished, ready]);
  useEffect(() => {
    if (!ready) return undefined;
    if (parts.some((part) => keptCurves.has(part.key) && keptCurves.get(part.key) !== shown.current.get(part.id))) tellAgain((count) => count + 1);
    const pause = Math.min(...parts.map((part) => wantPart(part)));
    if (!Number.isFinite(pause)) return undefined;
    const timer = setTimeout(() => tellAgain((count) => count + 1), pause);
    return () => clearTimeout(timer);
  }, [parts, ready, told]);
  return useMemo(() => {
    const before = shown.current;
    shown.current = new Map(parts.flatMap((part) => {
      const kept = keptCurves.get(part.key) ?? before.get(part.id);
      return kept ? [[part.id, kept]] : [];
    }));
    const all = [...shown.current.values()];
    const curves = all.flatMap((kept) => kept.curves).filter((curve) => !curve.head.error);
    return { curves, error: curves.length ? "" : all.find((kept) => kept.error)?.error ?? "" };
  }, [parts, told]);
}

/** @param {CurvePart[]} parts @param {() => void} tell */
function listenTo(parts, tell) {
  for (const { key } of parts) partListeners.set(key, (partListeners.get(key) ?? new Set()).add(tell));
  return () => {
    toldListeners.delete(tell);
    for (const { key } of parts) {
      const left = partListeners.get(key);
      left?.delete(tell);
      if (left?.size) continue;
      partListeners.delete(key);
      wantedParts.delete(key);
    }
  };
}

/** Ask for a part, unless it is fresh or under way. @param {CurvePart} part @returns {number} when to look again, in ms */
function wantPart(part) {
  const kept = keptCurves.get(part.key);
  if (isFresh(kept, part.version) || askedParts.has(part.key)) return Infinity;
  // Since the last answer, not since the last news: those may come faster than that.
  const pause = kept ? (kept.at ?? 0) + (kept.error ? AGAIN_MS : part.group ? GROUP_PAUSE_MS : LIVE_PAUSE_MS) - performance.now() : 0;
  if (pause > 0) return pause;
  wantedParts.set(part.key, part);
  if (!curvesTimer) curvesTimer = window.setTimeout(fetchWanted, 15);
  return Infinity;
}

function fetchWanted() {
  curvesTimer = 0;
  /** @type {Map<string, { common: any, tail: any, byOwner: Map<string, CurvePart[]> }>} */
  const batches = new Map();
  for (const part of wantedParts.values()) {
    const tail = part.run === null ? null : tailOf(keptCurves.get(part.key), part.common);
    const sort = JSON.stringify([part.common, tail, part.run === null]);
    const batch = batches.get(sort) ?? { common: part.common, tail, byOwner: new Map() };
    batch.byOwner.set(part.id, [...(batch.byOwner.get(part.id) ?? []), part]);
    batches.set(sort, batch);
  }
  wantedParts.clear();
  for (const { common, tail, byOwner } of batches.values()) {
    // Runs of which the same metrics are asked for are one request.
    const requests = new Map();
    for (const parts of byOwner.values()) {
      const names = JSON.stringify(parts.map((part) => part.metric));
      requests.set(names, [...(requests.get(names) ?? []), parts]);
    }
    for (const owners of requests.values()) for (const some of portions(owners)) fetchParts(common, tail, some);
  }
}

/** No more at once than the server answers. @param {CurvePart[][]} owners @returns {CurvePart[][][]} */
function portions(owners) {
  const found = [[]];
  let [curves, runs] = [0, 0];
  for (const parts of owners) {
    const more = parts[0].group?.runs.length ?? 1;
    if (curves && (curves + parts.length > MOST_CURVES_ASKED || runs + more > MOST_RUNS_ASKED)) {
      found.push([]);
      [curves, runs] = [0, 0];
    }
    found[found.length - 1].push(parts);
    curves += parts.length;
    runs += more;
  }
  return found;
}

/**
 * What is enough to ask for: of a growing curve of buckets only what comes from its last bucket on.
 * @param {KeptCurves | undefined} kept @param {any} common
 */
function tailOf(kept, common) {
  const curve = kept?.curves[0];
  if (!curve || kept.curves.length > 1 || common.log || common.smooth || common.to !== null || common.x.startsWith("metric:")) return null;
  const { head, data } = curve;
  if (head.error || !head.version || head.indexed < 1 || !head.n || head.n > common.buckets * 1.5) return null;
  return head.kind === "buckets" ? { from: data.x[head.n - 1], width: head.width } : null;
}

/** @param {any} common @param {any} tail @param {CurvePart[][]} owners each with the same metrics */
async function fetchParts(common, tail, owners) {
  const parts = owners.flat();
  const whose = owners[0][0].group ? { groups: owners.map(([part]) => part.group) } : { runs: owners.map(([part]) => part.run) };
  const asked = { ...whose, metrics: owners[0].map((part) => part.metric), ...common, rank: rankOf(common.rank), ...tail };
  const place = (metric, id) => JSON.stringify([metric, id]);
  const byPlace = new Map(parts.map((part) => [place(part.metric, part.id), part]));
  const came = new Map();
  for (const { key } of parts) askedParts.add(key);
  try {
    await source.curves(asked, (curve) => {
      const { head } = curve;
      const part = byPlace.get(place(head.metric, head.run ?? head.group));
      if (!part) return;
      came.set(part.key, [...(came.get(part.key) ?? []), curve]);
      // Of several curves of a part the first may be drawn before the last has come.
      if (tail) mergeTail(part.key, curve);
      else keepCurves(part.key, { curves: came.get(part.key), version: part.group ? part.version : head.version ?? "", error: head.error ?? "" });
    });
  } catch (error) {
    // What is shown stays, and is asked for again.
    const message = error instanceof Error ? error.message : String(error);
    for (const { key } of parts) {
      askedParts.delete(key);
      keepCurves(key, { curves: keptCurves.get(key)?.curves ?? [], version: "", error: message });
    }
    return;
  }
  for (const { key } of parts) {
    askedParts.delete(key);
    // What was asked for meanwhile is newer than this answer: who shows it looks again.
    tellListeners(key);
  }
}

/** @param {string | null} rank */
function rankOf(rank) {
  return rank === null || rank === "" ? null : /^\d+$/.test(rank) ? Number(rank) : rank;
}

/** @param {string} key @param {KeptCurves} kept */
function keepCurves(key, kept) {
  keptCurves.delete(key);
  keptCurves.set(key, { ...kept, at: performance.now() });
  if (keptCurves.size > KEPT_CURVES) dropUnseen();
  tellListeners(key);
}

/** What nobody shows goes, the oldest first. */
function dropUnseen() {
  for (const key of keptCurves.keys()) {
    if (keptCurves.size <= KEPT_CURVES) return;
    if (!partListeners.has(key)) keptCurves.delete(key);
  }
}

/** Charts are told together: of twenty curves that come at once each would draw the others again. @param {string} key */
function tellListeners(key) {
  for (const tell of partListeners.get(key) ?? []) toldListeners.add(tell);
  if (!tellTimer && toldListeners.size) tellTimer = window.setTimeout(() => {
    tellTimer = 0;
    const telling = [...toldListeners];
    toldListeners.clear();
    for (const tell of telling) tell();
  }, Math.min(LONGEST_TELL_MS, TELL_MS + askedParts.size * TELL_MS_A_CURVE));
}

/** The last bucket is replaced, the rest appended. @param {string} key @param {Curve} tail */
function mergeTail(key, tail) {
  const before = keptCurves.get(key)?.curves[0];
  if (!before) return;
  const isOfOneKind = !tail.head.error && !tail.head.nan && !tail.head.inf && tail.head.kind === "buckets" && tail.head.width === before.head.width && tail.head.replaced === before.head.replaced;
  // Points instead of buckets, or values that were superseded: the whole is asked for at the next look.
  const curve = isOfOneKind ? joinedCurve(before, tail) : { ...before, head: { ...before.head, version: "" } };
  keepCurves(key, { curves: [curve], version: curve.head.version, error: "" });
}

/** @param {Curve} before @param {Curve} tail @returns {Curve} */
function joinedCurve(before, tail) {
  const from = tail.head.n ? tail.data.x[0] : Infinity;
  let kept = before.head.n;
  while (kept > 0 && before.data.x[kept - 1] >= from) kept--;
  const n = kept + tail.head.n;
  /** @type {Record<string, Float64Array>} */
  const data = {};
  for (const name of new Set([...before.head.arrays, ...tail.head.arrays])) {
    data[name] = new Float64Array(n);
    if (before.data[name]) data[name].set(before.data[name].subarray(0, kept));
    if (tail.data[name]) data[name].set(tail.data[name], kept);
  }
  return { head: { ...tail.head, ...sumsOf(data, before.head, tail.head), n, shown: n, arrays: Object.keys(data) }, data };
}

/** What the head says of the range, for the whole of it. @param {Record<string, Float64Array>} data @param {any} before @param {any} tail */
function sumsOf(data, before, tail) {
  const finite = (values) => values.filter((value) => Number.isFinite(value));
  const least = finite(data.min).reduce((low, value) => Math.min(low, value), Infinity);
  const greatest = finite(data.max).reduce((high, value) => Math.max(high, value), -Infinity);
  return { in_range: data.count.reduce((total, value) => total + value, 0), low: Number.isFinite(least) ? least : null, high: Number.isFinite(greatest) ? greatest : null, nan: before.nan, inf: before.inf, last_value: tail.last_value ?? before.last_value };
}
