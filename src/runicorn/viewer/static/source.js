// @ts-check
/**
 * The data layer: one interface, and two sources: the server, and what is embedded in a report.
 */
import { viewerRoot } from "./address.js";
import { embeddedSource } from "./embedded_source.js";
import { reportData } from "./report_data.js";

/**
 * @typedef {object} CurveHead
 * @property {string} run
 * @property {string} metric
 * @property {number | null} rank
 * @property {string | null} group
 * @property {boolean} superseded
 * @property {"points" | "buckets"} kind
 * @property {number} n
 * @property {string[]} arrays
 * @property {number} width of a bucket
 * @property {number} total
 * @property {number} in_range
 * @property {number} shown
 * @property {number} nan
 * @property {number} inf
 * @property {number} replaced
 * @property {number | null} low
 * @property {number | null} high
 * @property {number | null} first_x
 * @property {number | null} last_x
 * @property {number | null} last_value
 * @property {number | null} log_hidden
 * @property {string} version
 * @property {number} indexed
 * @property {boolean} [finest] of a report: more was asked for than is in it
 * @property {string} [error]
 * @property {boolean} [end]
 *
 * @typedef {{ head: CurveHead, data: Record<string, Float64Array> }} Curve
 *
 * @typedef {object} Source where runs come from
 * @property {(place: string) => Promise<any>} get JSON of a place of the interface, such as `runs/abc`
 * @property {(place: string) => Promise<Blob>} blob the bytes of a place, such as those of an image
 * @property {(method: string, place: string, content: object) => Promise<any>} send a change; what is answered
 * @property {(wish: object, each: (curve: Curve) => void, signal?: AbortSignal) => Promise<void>} curves
 * @property {(wish: string, each: (name: string, data: any) => void, signal: AbortSignal) => Promise<void>} live
 * @property {(place: string) => boolean} has whether there is an answer to a place; a server always has one
 * @property {import("./report_data.js").ReportData | null} report what a report says of itself
 */

/** What went wrong, in the words of who answered. */
export class SourceError extends Error {
  /** @param {number} status @param {string} what @param {string} [hint] */
  constructor(status, what, hint) {
    super(what);
    this.status = status;
    this.hint = hint ?? "";
  }
}

const JSON_HEADERS = { "Content-Type": "application/json" };
const TOKEN = "runicorn-token";
const tokenPlace = `${TOKEN} ${viewerRoot().pathname}`;

/** The token of this tab: from the address, which then forgets it, or from an earlier page of the tab. */
export function takeToken() {
  const found = /[#&]t=([^&]+)/.exec(location.hash);
  if (found) {
    sessionStorage.setItem(tokenPlace, found[1]);
    history.replaceState(null, "", location.pathname + location.search);
  }
  shareToken();
  return sessionStorage.getItem(tokenPlace);
}

/** @param {string} text a token, or a link that ends with one */
export function keepToken(text) {
  sessionStorage.setItem(tokenPlace, text.trim().replace(/^.*#t=/, ""));
}

/** A tab that was opened by a link has no token of its own: another tab of this viewer tells it. */
export function askForToken() {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(tokenPlace);
    const timer = setTimeout(() => done(false), 400);
    const done = (got) => {
      clearTimeout(timer);
      channel.close();
      resolve(got);
    };
    channel.onmessage = ({ data }) => {
      if (typeof data !== "object" || !data?.token) return;
      sessionStorage.setItem(tokenPlace, data.token);
      done(true);
    };
    channel.postMessage("token?");
  });
}

/** @type {BroadcastChannel | null} */
let tokenChannel = null;

function shareToken() {
  if (tokenChannel || !sessionStorage.getItem(tokenPlace)) return;
  tokenChannel = new BroadcastChannel(tokenPlace);
  tokenChannel.onmessage = ({ data }) => {
    const token = sessionStorage.getItem(tokenPlace);
    if (data === "token?" && token) tokenChannel?.postMessage({ token });
  };
}

/** @param {string} place @param {RequestInit} [init] */
async function ask(place, init = {}) {
  const headers = { "X-Runicorn-Token": sessionStorage.getItem(tokenPlace) ?? "", ...init.headers };
  const wished = { credentials: /** @type {const} */ ("same-origin"), ...init, headers };
  const answer = await fetch(new URL(`api/v1/${place}`, viewerRoot()), wished);
  if (answer.ok) return answer;
  let told = null;
  try {
    told = (await answer.json()).error;
  } catch {
    // A proxy has answered, and not the viewer.
  }
  throw new SourceError(answer.status, told?.what ?? `The server answered ${answer.status}.`, told?.hint);
}

/** @returns {Source} */
function serverSource() {
  return {
    get: async (place) => (await ask(place)).json(),
    blob: async (place) => (await ask(place)).blob(),
    send: async (method, place, content) => (await ask(place, { method, body: JSON.stringify(content), headers: JSON_HEADERS })).json(),
    curves: async (wish, each, signal) => {
      const headers = { "Content-Type": "application/json" };
      const answer = await ask("curves", { method: "POST", body: JSON.stringify(wish), headers, signal });
      await readFrames(/** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader(), each);
    },
    live: async (wish, each, signal) => {
      const answer = await ask(`live?${wish}`, { signal, headers: { Accept: "text/event-stream" } });
      await readEvents(/** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader(), each);
    },
    has: () => true,
    report: null,
  };
}

/** The source of this page. */
export const source = reportData ? embeddedSource(reportData, (what, hint) => new SourceError(404, what, hint)) : serverSource();

/**
 * Take frames apart: u32 bytes of the head, u32 bytes of the body, head, body.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {(curve: Curve) => void} each
 */
async function readFrames(reader, each) {
  let kept = new Uint8Array(0);
  let isWhole = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done && isWhole) return;
    if (done) throw new SourceError(0, "The answer was cut.");
    kept = joinedBytes(kept, value);
    let at = 0;
    while (kept.length - at >= 8) {
      const view = new DataView(kept.buffer, kept.byteOffset + at);
      const headBytes = view.getUint32(0, true);
      const bodyBytes = view.getUint32(4, true);
      const bodyAt = at + 8 + headBytes;
      if (kept.length < bodyAt + bodyBytes) break;
      const head = JSON.parse(new TextDecoder().decode(kept.subarray(at + 8, bodyAt)));
      if (head.end) isWhole = true;
      else each({ head, data: arraysOf(head, kept.slice(bodyAt, bodyAt + bodyBytes)) });
      at = bodyAt + bodyBytes;
    }
    kept = kept.slice(at);
  }
}

/** @param {CurveHead} head @param {Uint8Array} body a copy, so that it begins where a float may */
function arraysOf(head, body) {
  /** @type {Record<string, Float64Array>} */
  const data = {};
  (head.error ? [] : head.arrays).forEach((name, index) => {
    data[name] = new Float64Array(body.buffer, index * head.n * 8, head.n);
  });
  return data;
}

/** @param {Uint8Array} first @param {Uint8Array} second */
function joinedBytes(first, second) {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}

/**
 * Server-sent events out of a stream; whatever comes is a `ping` too, for the server says every 15 s that it is there.
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {(name: string, data: any) => void} each
 */
async function readEvents(reader, each) {
  const decoder = new TextDecoder();
  let kept = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    each("ping", {});
    kept += decoder.decode(value, { stream: true }).replace(/\r\n/g, "\n");
    const blocks = kept.split("\n\n");
    kept = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n");
      const name = lines.find((line) => line.startsWith("event:"))?.slice(6).trim();
      const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("\n");
      if (name && data) each(name, JSON.parse(data));
    }
  }
}
