// @ts-check
/** The source of a report: answers of the interface, and curves, out of the page itself. Nothing is asked of anybody. */
import { comparedRunsOf } from "./embedded_compare.js";
import { drawnCurve, groupCurve } from "./embedded_curves.js";

/** @typedef {import("./source.js").Curve} Curve */
/** @typedef {import("./report_data.js").ReportData} ReportData */
/** @typedef {(what: string, hint: string) => Error} MakeError */

const MOST_HITS = 1000;
const OF_MACHINE = "system/";
const OF_WHOLE_RUN = ["0", "all"];

/**
 * @param {ReportData} report @param {MakeError} missing
 * @returns {import("./source.js").Source}
 */
export function embeddedSource(report, missing) {
  const places = Object.keys(report.places).map(placeParts);
  const curves = unpackedCurves(report);
  const refuse = () => missing("This is not in the report.", "runicorn viewer shows the run itself; runicorn report --help says what a report can hold.");
  const get = async (place) => {
    const search = /^(.*\/logs)\/search\?(.*)$/.exec(place);
    if (search) return linesFound(await get(`${search[1]}?${search[2]}`), new URLSearchParams(search[2]).get("q") ?? "");
    const found = nearestPlace(places, place);
    if (!found) throw refuse();
    const answer = structuredClone(report.places[found]);
    if (placeParts(place).path !== "compare") return answer;
    const query = new URLSearchParams(place.split("?")[1]);
    return comparedRunsOf(answer, (query.get("runs") ?? "").split(","), query.has("differing"));
  };
  return {
    get,
    blob: async (place) => {
      const found = report.blobs[place];
      if (!found) throw refuse();
      return new Blob([bytesOf(found.data)], { type: found.type });
    },
    send: async () => {
      throw missing("A report cannot be changed.", "runicorn viewer can change the run.");
    },
    curves: async (wish, each) => answerCurves(curvesAsWished(report, curves, wish), wish, each),
    live: () => new Promise(() => undefined),
    has: (place) => nearestPlace(places, place) !== null,
    report,
  };
}

/** @param {string} place */
function placeParts(place) {
  const [path, query] = place.split("?");
  return { place, path, members: [...new URLSearchParams(query ?? "")].map((each) => each.join("=")) };
}

/**
 * The place with the same path that has most of what is asked for, and nothing else: an answer may hold more than was
 * asked, and never something else.
 * @param {ReturnType<typeof placeParts>[]} places @param {string} place
 */
function nearestPlace(places, place) {
  const asked = placeParts(place);
  const fitting = places.filter((each) => each.path === asked.path && each.members.every((member) => asked.members.includes(member)));
  const most = Math.max(...fitting.map((each) => each.members.length));
  return fitting.find((each) => each.members.length === most)?.place ?? null;
}

/** What the server finds in a log, found in the part of it that is here. @param {any} window @param {string} words */
function linesFound(window, words) {
  const lines = window.text.split("\n").map((text, index) => ({ offset: window.offsets[index], text }));
  const hits = lines.filter(({ text }) => text.toLowerCase().includes(words.toLowerCase())).slice(0, MOST_HITS);
  return { source: window.source, hits, next: null, scanned: window.size, size: window.size };
}

/** @param {string} text base64 */
function bytesOf(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = characters.charCodeAt(at);
  return bytes;
}

/** The curves of a run's metric, each unpacked when it is first asked for. @param {ReportData} report */
function unpackedCurves(report) {
  const byName = new Map();
  for (const packed of report.curves) {
    const name = JSON.stringify([packed.head.run, packed.head.metric, Object(packed.head).x, packed.rank, packed.stage]);
    byName.set(name, [...(byName.get(name) ?? []), packed]);
  }
  const ready = new Map();
  return (...whose) => {
    const name = JSON.stringify(whose);
    if (!ready.has(name)) ready.set(name, Promise.all((byName.get(name) ?? []).map(unpackedCurve)));
    return ready.get(name);
  };
}

/**
 * Returns a function that finds the curves of a run's metric for a page's wish; the machine's have no steps, ranks or stages.
 * @param {ReportData} report @param {(run: string, metric: string, x: string, rank: string, stage: string) => Promise<Curve[]>} curves @param {any} wish
 */
function curvesAsWished(report, curves, wish) {
  const chosen = [String(wish.rank ?? report.ranks[0]), wish.stage ?? report.stages[0]];
  return (run, metric) => curves(run, metric, wish.x ?? report.axes[0], ...(metric.startsWith(OF_MACHINE) ? OF_WHOLE_RUN : chosen));
}

/**
 * Arrays of floats, whose first bytes stand together, then their second bytes, and so on: so they pack well.
 * @param {import("./report_data.js").PackedCurve} packed @returns {Promise<Curve>}
 */
async function unpackedCurve({ head, data }) {
  const stream = new Blob([bytesOf(data)]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / 8;
  const bytes = new Uint8Array(planes.length);
  for (let plane = 0; plane < 8; plane++) for (let at = 0; at < count; at++) bytes[at * 8 + plane] = planes[plane * count + at];
  const arrays = head.arrays.map((name, index) => [name, new Float64Array(bytes.buffer, index * head.n * 8, head.n)]);
  return { head, data: Object.fromEntries(arrays) };
}

/** @param {(run: string, metric: string) => Promise<Curve[]>} curvesOf @param {any} wish @param {(curve: Curve) => void} each */
async function answerCurves(curvesOf, wish, each) {
  for (const metric of wish.metrics) {
    for (const group of wish.groups ?? []) {
      const members = await Promise.all(group.runs.map((run) => curvesOf(run, metric)));
      const having = members.flatMap((found) => found.filter((curve) => !curve.head.superseded && curve.head.total).slice(0, 1)); // the first curve of each rank
      each(having.length ? groupCurve(having, wish, group.name, metric) : noCurve({ group: group.name, metric }));
    }
    for (const run of wish.runs ?? []) {
      const found = (await curvesOf(run, metric)).filter((curve) => wish.superseded || !curve.head.superseded);
      for (const curve of found) each(drawnCurve(curve, wish));
      if (!found.length) each(noCurve({ run, metric }));
    }
  }
}

/** @param {object} whose @returns {Curve} */
function noCurve(whose) {
  return { head: Object({ ...whose, arrays: [], n: 0, error: "not in the report" }), data: {} };
}
