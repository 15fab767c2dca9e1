// @ts-check
/** The small curve of a run's primary metric in the table of runs: asked for in batches, kept. */
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { source } from "./source.js";

const SPARK_WIDTH = 96;
const SPARK_HEIGHT = 20;
const SPARK_BUCKETS = 48;
const SPARK_LIVE_S = 4;
const SPARK_TRIES = 60;
/** @typedef {{ line: string, band: string }} Spark */
/** @type {Map<string, { spark: Spark | null, stamp: number, at: number }>} */
const sparks = new Map();
/** @type {Map<string, { run: any, stamp: number, tell: () => void, tries: number }>} */
const wantedSparks = new Map();
let sparkTimer = 0;

/** @param {{ run: any }} props */
export function Sparkline({ run }) {
  const [, draw] = useState(0);
  const stamp = run.last_data_at ?? 0;
  useEffect(() => {
    const kept = sparks.get(run.key);
    if (!run.best_metric_name || kept?.stamp === stamp) return undefined;
    const wait = kept ? Math.max(0, kept.at + SPARK_LIVE_S * 1000 - Date.now()) : 0;
    const timer = setTimeout(() => wantSpark(run, stamp, () => draw((count) => count + 1)), wait);
    return () => clearTimeout(timer);
  }, [run.key, run.best_metric_name, stamp]);
  const spark = sparks.get(run.key)?.spark;
  if (!spark) return null;
  return html`<svg class="spark" viewBox="0 0 ${SPARK_WIDTH} ${SPARK_HEIGHT}" preserveAspectRatio="none" role="img" aria-label=${`curve of ${run.best_metric_name}`}>
    <path class="band" d=${spark.band} /><path d=${spark.line} />
  </svg>`;
}

/** @param {any} run @param {number} stamp @param {() => void} tell @param {number} [tries] how often it was not whole */
function wantSpark(run, stamp, tell, tries = 0) {
  wantedSparks.set(run.key, { run, stamp, tell, tries });
  if (!sparkTimer) sparkTimer = window.setTimeout(fetchSparks, 40);
}

async function fetchSparks() {
  sparkTimer = 0;
  const wanted = [...wantedSparks.values()].slice(-60);
  wantedSparks.clear();
  const byMetric = new Map();
  for (const each of wanted) byMetric.set(each.run.best_metric_name, [...(byMetric.get(each.run.best_metric_name) ?? []), each]);
  for (const [metric, group] of byMetric) {
    const wish = { runs: group.map((each) => each.run.key), metrics: [metric], buckets: SPARK_BUCKETS };
    await source.curves(wish, (curve) => keepSpark(group, curve)).catch(() => undefined);
  }
}

/** @param {any[]} group @param {import("./source.js").Curve} curve */
function keepSpark(group, curve) {
  const found = group.find((each) => each.run.key === curve.head.run);
  if (!found) return;
  if (curve.head.indexed < 1 && found.tries < SPARK_TRIES) {
    setTimeout(() => wantSpark(found.run, found.stamp, found.tell, found.tries + 1), SPARK_LIVE_S * 500);
  }
  sparks.set(found.run.key, { spark: curve.head.error ? null : drawnSpark(curve), stamp: found.stamp, at: Date.now() });
  found.tell();
}

/** @param {import("./source.js").Curve} curve @returns {Spark | null} */
function drawnSpark({ head, data }) {
  const line = data.mean ?? data.y;
  const kept = [...line.keys()].filter((index) => Number.isFinite(line[index]));
  if (kept.length < 2) return null;
  const [low, high] = sparkBounds(kept.map((index) => line[index]));
  const [first, last] = [data.x[kept[0]], data.x[kept[kept.length - 1]]];
  const across = (index) => (((data.x[index] - first) / (last - first || 1)) * SPARK_WIDTH).toFixed(1);
  const down = (value) => (SPARK_HEIGHT - 2 - ((Math.min(high, Math.max(low, value)) - low) / (high - low || 1)) * (SPARK_HEIGHT - 4)).toFixed(1);
  const along = (values, indexes) => indexes.map((index) => `${across(index)} ${down(values[index])}`).join("L");
  const band = head.kind === "buckets" ? `M${along(data.max, kept)}L${along(data.min, [...kept].reverse())}Z` : "";
  return { line: `M${along(line, kept)}`, band };
}

/** @param {number[]} values */
function sparkBounds(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}
