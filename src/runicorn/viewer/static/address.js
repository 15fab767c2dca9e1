// @ts-check
/** The address is the state: which page, which run, and everything that was chosen on it. */
import { useEffect, useState } from "./vendor/htm-preact.js";
import { isFramed, reportData } from "./report_data.js";

/**
 * @typedef {object} Address
 * @property {string} page `runs`, `run`, `problems`, `deleted`, `compare`, `explore` or `unknown`
 * @property {string} key of the run; empty on the other pages
 * @property {string} tab of the run: `charts`, `logs`, `summary`, `system`, ...
 * @property {URLSearchParams} query
 */

// A report is one file, wherever it lies: its pages are behind the # of its address.
const rootUrl = reportData ? new URL(location.href) : new URL(document.documentElement.dataset.root ?? "./", location.href);
const REPORT_ROOT = "#/";
let reportPlace = location.hash;
/** @type {Set<(address: Address) => void>} */
const addressListeners = new Set();

/** The address of the viewer itself, whatever prefix it lies below; it ends with a slash. */
export function viewerRoot() {
  return rootUrl;
}

/** @returns {Address} */
function readAddress() {
  const [page, key, tab] = placeBelow().split("/");
  const query = currentQuery();
  if (!page || page === "index.html") return { page: "runs", key: "", tab: "", query };
  if (page === "run" && key) return { page, key: decoded(key), tab: tab || "charts", query };
  return { page: ["problems", "compare", "explore", "deleted"].includes(page) ? page : "unknown", key: "", tab: "", query };
}

/** Where the page is below its root, without what is chosen on it. */
function placeBelow() {
  if (reportData) return reportText().split("?")[0];
  return location.pathname.startsWith(rootUrl.pathname) ? location.pathname.slice(rootUrl.pathname.length) : "";
}

/** What is chosen on this page, as it stands in the address. */
export function currentQuery() {
  return new URLSearchParams(reportData ? reportText().split("?").slice(1).join("?") : location.search);
}

/** Place and choices of a report. */
function reportText() {
  return reportPlace.startsWith(REPORT_ROOT) ? reportPlace.slice(REPORT_ROOT.length) : reportData?.start ?? "";
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
  const text = queryText(query ?? {});
  if (reportData) return `${REPORT_ROOT}${place}${text ? `?${text}` : ""}`;
  const url = new URL(place || "./", rootUrl);
  url.search = text;
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
  setAddress(href, true);
}

/** @param {string} href @param {boolean} keep whether the browser's back comes back to what was before */
function setAddress(href, keep) {
  if (reportData) reportPlace = href;
  try {
    // What a frame adds would be undone by the back of the page around it.
    if (keep && !isFramed) history.pushState(null, "", absoluteHref(href));
    else history.replaceState(null, "", absoluteHref(href));
  } catch (error) {
    if (!reportData) throw error; // a frame may have no address that can be changed
  }
  tellAddress();
}

/** Of a report that has no base of its own, as in a frame. @param {string} href */
function absoluteHref(href) {
  return reportData ? location.href.split("#")[0] + href : href;
}

/**
 * Change what is chosen on this page.
 * @param {Record<string, string | number | null | undefined>} changes null or empty takes a member away
 * @param {boolean} [keep] whether the browser's back undoes it
 */
export function changeQuery(changes, keep = false) {
  const query = currentQuery();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") query.delete(name);
    else query.set(name, String(value));
  }
  const text = queryText(query);
  setAddress((reportData ? REPORT_ROOT + placeBelow() : location.pathname) + (text ? `?${text}` : ""), keep);
}

function tellAddress() {
  const address = readAddress();
  for (const listener of addressListeners) listener(address);
}

/** Follow links of this page without loading it again. */
export function followLinks() {
  addEventListener("popstate", () => {
    reportPlace = location.hash;
    tellAddress();
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest("a[href]") : null;
    if (!(link instanceof HTMLAnchorElement) || link.download || link.target) return;
    const href = hrefToFollow(link);
    if (href === null) return;
    event.preventDefault();
    if (reportData ? href !== reportPlace : link.href !== location.href) goTo(href);
  });
}

/** Where a link leads below the page's root; null if it leads elsewhere. @param {HTMLAnchorElement} link */
function hrefToFollow(link) {
  if (reportData) {
    const href = link.getAttribute("href") ?? "";
    return href.startsWith(REPORT_ROOT) ? href : null;
  }
  return link.origin === location.origin && link.pathname.startsWith(rootUrl.pathname) ? link.pathname + link.search : null;
}

/** @returns {Address} */
export function useAddress() {
  const [address, tell] = useState(readAddress);
  useEffect(() => {
    addressListeners.add(tell);
    return () => void addressListeners.delete(tell);
  }, []);
  return address;
}
