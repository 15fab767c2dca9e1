// @ts-check
/** Curves of the charts in view: asked for together, kept, and gone on with from their last bucket as a run grows. */
import { useEffect, useState } from "./vendor/htm-preact.js";
import { source } from "./source.js";

/**
 * @typedef {import("./source.js").Curve} Curve
 * @typedef {object} CurveWish what all curves of a page have in common
 * @property {string} run
 * @property {string} x
 * @property {number | null} from
 * @property {number | null} to
 * @property {number} smooth
 * @property {string | null} stage
 * @property {string | null} rank
 * @property {boolean} superseded
 * @property {boolean} log whether values at or below zero are counted
 * @property {number} buckets
 * @typedef {{ curves: Curve[], version: string, error: string, at?: number }} KeptCurves
 */

const KEPT_CURVES = 400;
const LIVE_PAUSE_MS = 300;
const AGAIN_MS = 3000;
/** @type {Map<string, KeptCurves>} */
const keptCurves = new Map();
/** @type {Map<string, { wish: CurveWish, metric: string, tell: Set<() => void>, again: boolean }>} */
const wantedCurves = new Map();
/** @type {Set<string>} */
const askedCurves = new Set();
let curvesTimer = 0;

/** @param {CurveWish} wish @param {string} metric */
function curveKey(wish, metric) {
  return JSON.stringify([metric, wish]);
}

/**
 * The curves of one metric as far as they are known; null before the first answer. What was shown stays until what
 * is asked for has come, so that a zoom does not empty the chart.
 * @param {CurveWish} wish
 * @param {string} metric
 * @param {string} version of the run's files: another one asks again
 * @param {boolean} inView
 */
export function useCurves(wish, metric, version, inView) {
  const [told, tellAgain] = useState(0);
  const [shown, setShown] = useState(null);
  const key = curveKey(wish, metric);
  const ready = wish.buckets > 0;
  useEffect(() => {
    const kept = keptCurves.get(key);
    if (kept && kept !== shown) setShown(kept);
    if (!inView || !ready || kept?.version === version) return undefined;
    const tell = () => {
      setShown(keptCurves.get(key) ?? null);
      tellAgain((count) => count + 1);
    };
    // Since the last answer, not since the last news: those may come faster than that.
    const pause = kept ? (kept.at ?? 0) + (kept.error ? AGAIN_MS : LIVE_PAUSE_MS) - performance.now() : 0;
    const timer = setTimeout(() => wantCurves(key, wish, metric, tell), pause);
    return () => {
      clearTimeout(timer);
      wantedCurves.get(key)?.tell.delete(tell);
    };
  }, [key, version, inView, shown?.version, shown?.error ? told : 0]);
  return keptCurves.get(key) ?? shown;
}

/** @param {string} key @param {CurveWish} wish @param {string} metric @param {() => void} tell */
function wantCurves(key, wish, metric, tell) {
  const wanted = wantedCurves.get(key) ?? { wish, metric, tell: new Set(), again: false };
  wanted.tell.add(tell);
  wanted.again = askedCurves.has(key); // the answer that is under way may be older than this wish
  wantedCurves.set(key, wanted);
  if (!curvesTimer) curvesTimer = window.setTimeout(fetchWanted, 15);
}

function fetchWanted() {
  curvesTimer = 0;
  const batches = new Map();
  for (const [key, wanted] of wantedCurves) {
    if (askedCurves.has(key)) continue;
    wanted.again = false;
    const part = tailOf(keptCurves.get(key), wanted.wish);
    const sort = JSON.stringify([wanted.wish, part]);
    const batch = batches.get(sort) ?? { wish: wanted.wish, part, keys: new Map() };
    batch.keys.set(wanted.metric, key);
    batches.set(sort, batch);
  }
  for (const batch of batches.values()) fetchBatch(batch);
}

/**
 * What is enough to ask for: of a growing curve of buckets only what comes from its last bucket on.
 * @param {KeptCurves | undefined} kept @param {CurveWish} wish
 */
function tailOf(kept, wish) {
  const curve = kept?.curves[0];
  if (!curve || kept.curves.length > 1 || wish.log || wish.smooth || wish.to !== null || wish.x.startsWith("metric:")) return null;
  const { head, data } = curve;
  if (head.error || !head.version || head.indexed < 1 || !head.n || head.n > wish.buckets * 1.5) return null;
  return head.kind === "buckets" ? { from: data.x[head.n - 1], width: head.width } : null;
}

/** @param {{ wish: CurveWish, part: any, keys: Map<string, string> }} batch */
async function fetchBatch({ wish, part, keys }) {
  const asked = { runs: [wish.run], metrics: [...keys.keys()], x: wish.x, from: wish.from, to: wish.to, buckets: wish.buckets, smooth: wish.smooth, stage: wish.stage, rank: rankOf(wish.rank), superseded: wish.superseded, log: wish.log, ...part };
  const came = new Map();
  for (const key of keys.values()) askedCurves.add(key);
  try {
    await source.curves(asked, (curve) => {
      const key = keys.get(curve.head.metric);
      if (!key) return;
      came.set(key, [...(came.get(key) ?? []), curve]);
      // Of several curves of a metric the first may be drawn before the last has come.
      if (part) mergeTail(key, curve);
      else keepCurves(key, { curves: came.get(key), version: curve.head.version ?? "", error: curve.head.error ?? "" });
    });
  } catch (error) {
    for (const key of keys.values()) if (!keptCurves.get(key)?.curves.length) keepCurves(key, { curves: [], version: "", error: error instanceof Error ? error.message : String(error) });
  }
  for (const key of keys.values()) {
    askedCurves.delete(key);
    const wanted = wantedCurves.get(key);
    if (!wanted?.again) wantedCurves.delete(key);
    else if (!curvesTimer) curvesTimer = window.setTimeout(fetchWanted, 15);
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
  if (keptCurves.size > KEPT_CURVES) keptCurves.delete(keptCurves.keys().next().value ?? "");
  for (const tell of wantedCurves.get(key)?.tell ?? []) tell();
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
