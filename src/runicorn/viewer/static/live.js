// @ts-check
/** One stream of events a tab, for what its parts watch; closed while the tab is hidden. */
import { useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { SourceError, source } from "./source.js";

/**
 * @typedef {object} Wish
 * @property {string[]} [runs] keys
 * @property {boolean} [list] the table of runs
 * @property {string} [logs] a key
 * @typedef {{ wish: Wish, hear: (name: string, data: any) => void }} Watcher
 * @typedef {"none" | "connecting" | "live" | "lost" | "refused"} LinkState
 */

const SILENCE_MS = 40_000;
/** @type {Set<Watcher>} */
const watchers = new Set();
/** @type {Set<(state: LinkState) => void>} */
const linkListeners = new Set();
/** @type {LinkState} */
let linkState = "none";
/** @type {AbortController | null} */
let stream = null;
let streamWish = "";
let failures = 0;
/** @type {number | undefined} */
let streamTimer;
let clockAhead = 0;
let heardAt = 0;

/** What `GET server` has answered; null before. @type {any} */
let knownServer = null;
/** @type {Set<(server: any) => void>} */
const serverListeners = new Set();

/** @param {any} server */
export function tellServer(server) {
  knownServer = server;
  setServerNow(server.now);
  for (const listener of serverListeners) listener(server);
}

/** The server: its storages, its limits, and whether it may be asked to change anything. */
export function useServer() {
  const [server, setServer] = useState(knownServer);
  useEffect(() => {
    serverListeners.add(setServer);
    setServer(knownServer);
    return () => void serverListeners.delete(setServer);
  }, []);
  return server;
}

/** Whether this page has a server, and may have it change anything. */
export function useCanEdit() {
  const server = useServer();
  return { canAsk: Boolean(server) && !isReport(), canEdit: Boolean(server) && !server.read_only && !isReport() };
}

function isReport() {
  return source.report !== null;
}

/** Epoch seconds by the server's clock, to which the times of runs belong; in a report it stands still. */
export function serverNow() {
  return source.report?.made_at ?? Date.now() / 1000 + clockAhead;
}

/** @param {number} now of an answer that has just come */
export function setServerNow(now) {
  clockAhead = now - Date.now() / 1000;
}

/** @param {LinkState} state */
function setLinkState(state) {
  linkState = state;
  for (const listener of linkListeners) listener(state);
}

function wishedText() {
  const wishes = [...watchers].map((watcher) => watcher.wish);
  const runs = [...new Set(wishes.flatMap((wish) => wish.runs ?? []))];
  const logs = wishes.find((wish) => wish.logs)?.logs;
  const parts = [];
  if (runs.length) parts.push(`runs=${runs.map(encodeURIComponent).join(",")}`);
  if (wishes.some((wish) => wish.list)) parts.push("list=1");
  if (logs) parts.push(`logs=${encodeURIComponent(logs)}`);
  return parts.join("&");
}

function renewStream() {
  clearTimeout(streamTimer);
  streamTimer = setTimeout(openStream, 30);
}

async function openStream() {
  const wish = document.hidden || source.report ? "" : wishedText();
  if (wish === streamWish && stream) return;
  stream?.abort();
  stream = null;
  streamWish = wish;
  if (!wish) return setLinkState("none");
  const mine = (stream = new AbortController());
  heardAt = Date.now();
  if (linkState !== "lost") setLinkState("connecting");
  try {
    await source.live(wish, (name, data) => heard(mine, name, data), mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    if (error instanceof SourceError && error.status === 401) return setLinkState("refused");
  }
  if (mine.signal.aborted) return;
  stream = null;
  setLinkState("lost");
  clearTimeout(streamTimer);
  streamTimer = setTimeout(openStream, Math.min(10_000, 500 * 2 ** failures++));
}

/** @param {AbortController} mine @param {string} name @param {any} data */
function heard(mine, name, data) {
  if (mine.signal.aborted) return;
  heardAt = Date.now();
  if (name === "ping") return;
  if (name === "hello") {
    failures = 0;
    setServerNow(data.now);
    const again = linkState === "lost";
    setLinkState("live");
    if (again) tellWatchers("again", {});
  }
  tellWatchers(name, data);
}

/** @param {string} name @param {any} data */
function tellWatchers(name, data) {
  for (const watcher of [...watchers]) watcher.hear(name, data);
}

/** Runs were changed on this page: what shows them looks again. */
export function tellEdited() {
  tellWatchers("edited", {});
}

/** A stream that says nothing for long is dead, though nobody has told: a laptop that slept, a cable. */
function watchStream() {
  if (!stream || Date.now() - heardAt < SILENCE_MS) return;
  stream.abort();
  stream = null;
  setLinkState("lost");
  openStream();
}

document.addEventListener("visibilitychange", renewStream);
setInterval(watchStream, 5000);

/**
 * Hear what happens to runs, for as long as the component stands.
 * @param {Wish} wish
 * @param {(name: string, data: any) => void} hear `hello`, `runs`, `run`, `log`, `gone`; `again` after a break; `edited` here
 */
export function useLive(wish, hear) {
  const latest = useRef(hear);
  latest.current = hear;
  useEffect(() => {
    const watcher = { wish, hear: (name, data) => latest.current(name, data) };
    watchers.add(watcher);
    renewStream();
    return () => {
      watchers.delete(watcher);
      renewStream();
    };
  }, [JSON.stringify(wish)]);
}

/** @returns {LinkState} */
export function useLinkState() {
  const [state, setState] = useState(linkState);
  useEffect(() => {
    linkListeners.add(setState);
    setState(linkState);
    return () => void linkListeners.delete(setState);
  }, []);
  return state;
}
