// @ts-check
/** The address is the state: which page, which run, and everything that was chosen on it. */
import { useEffect, useState } from "./vendor/htm-preact.js";

/**
 * @typedef {object} Address
 * @property {string} page `runs`, `run`, `problems`, `compare`, `explore` or `unknown`
 * @property {string} key of the run; empty on the other pages
 * @property {string} tab of the run: `charts`, `logs`, `summary`, `system`, ...
 * @property {URLSearchParams} query
 */

const rootUrl = new URL(document.documentElement.dataset.root ?? "./", location.href);
/** @type {Set<(address: Address) => void>} */
const addressListeners = new Set();

/** The address of the viewer itself, whatever prefix it lies below; it ends with a slash. */
export function viewerRoot() {
  return rootUrl;
}

/** @returns {Address} */
function readAddress() {
  const below = location.pathname.startsWith(rootUrl.pathname) ? location.pathname.slice(rootUrl.pathname.length) : "";
  const [page, key, tab] = below.split("/");
  const query = new URLSearchParams(location.search);
  if (!page || page === "index.html") return { page: "runs", key: "", tab: "", query };
  if (page === "run" && key) return { page, key: decoded(key), tab: tab || "charts", query };
  return { page: ["problems", "compare", "explore"].includes(page) ? page : "unknown", key: "", tab: "", query };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * A link below the viewer's root.
 * @param {string} place such as `run/abc` or empty
 * @param {Record<string, string | number | null | undefined> | URLSearchParams} [query] empty members are left out
 */
export function hrefOf(place, query) {
  const url = new URL(place || "./", rootUrl);
  url.search = queryText(query ?? {});
  return url.pathname + url.search;
}

/** @param {string} key @param {string} [tab] @param {Record<string, string>} [query] */
export function runHref(key, tab, query) {
  return hrefOf(`run/${encodeURIComponent(key)}${tab && tab !== "charts" ? `/${tab}` : ""}`, query);
}

/**
 * Short and readable: what a query may contain stays as it is.
 * @param {Record<string, string | number | null | undefined> | URLSearchParams} query
 */
function queryText(query) {
  const members = query instanceof URLSearchParams ? [...query] : Object.entries(query);
  const kept = members.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.map(([name, value]) => `${readable(name)}=${readable(String(value))}`).join("&");
}

/** Half a character cannot stand in an address. @param {string} text */
function readable(text) {
  return encodeURIComponent(text.replace(/\p{Surrogate}/gu, "\ufffd")).replace(/%2F/g, "/").replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%20/g, "+");
}

/** Go to another page; the browser's back comes back. @param {string} href */
export function goTo(href) {
  history.pushState(null, "", href);
  tellAddress();
}

/**
 * Change what is chosen on this page.
 * @param {Record<string, string | number | null | undefined>} changes null or empty takes a member away
 * @param {boolean} [keep] whether the browser's back undoes it
 */
export function changeQuery(changes, keep = false) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = queryText(query);
  const href = location.pathname + (text ? `?${text}` : "");
  if (keep) history.pushState(null, "", href);
  else history.replaceState(null, "", href);
  tellAddress();
}

function tellAddress() {
  const address = readAddress();
  for (const listener of addressListeners) listener(address);
}

/** Follow links of this page without loading it again. */
export function followLinks() {
  addEventListener("popstate", tellAddress);
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || link.download || link.target) return;
    if (link.origin !== location.origin || !link.pathname.startsWith(rootUrl.pathname)) return;
    event.preventDefault();
    if (link.href !== location.href) goTo(link.pathname + link.search);
  });
}

/** @returns {Address} */
export function useAddress() {
  const [address, setAddress] = useState(readAddress);
  useEffect(() => {
    addressListeners.add(setAddress);
    return () => void addressListeners.delete(setAddress);
  }, []);
  return address;
}
