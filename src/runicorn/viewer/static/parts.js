// @ts-check
/** Small parts that every page uses: status, times, a popover, keys, colours of curves. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { viewerRoot } from "./address.js";
import { agoText, momentText, spanText } from "./format.js";
import { serverNow } from "./live.js";
import { source } from "./source.js";

export const CURVE_COLOURS = 7;
const SECOND_BLUE = 4;
const CURVE_DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
/** @type {Set<() => void>} */
const tickers = new Set();
setInterval(() => {
  if (!document.hidden) for (const tick of tickers) tick();
}, 1000);

/** A text that goes with the clock; it is drawn again only if it changes. @param {() => string} make */
export function useTicking(make) {
  const latest = useRef(make);
  latest.current = make;
  const [, setText] = useState("");
  useEffect(() => {
    const tick = () => setText(latest.current());
    tickers.add(tick);
    return () => void tickers.delete(tick);
  }, []);
  return make();
}

/** "3 min ago", with the moment itself on hover; in a report, which is read later, the moment. @param {{ time: number | null | undefined }} props */
export function Ago({ time }) {
  const text = useTicking(() => (source.report ? momentText(time).slice(0, 16) : agoText(time, serverNow())));
  return html`<span title=${momentText(time)}>${text}</span>`;
}

/** How long a run took, or takes so far. @param {{ run: any }} props */
export function Duration({ run }) {
  const goesOn = run.status === "running" && run.started_at !== null;
  const text = useTicking(() => spanText(goesOn ? Math.max(0, serverNow() - run.started_at) : run.duration_s));
  return html`<span>${text}</span>`;
}

/** A dot and a word. @param {{ run: any }} props */
export function Status({ run }) {
  return html`<span class=${`status ${run.status}`} title=${run.reason ?? ""}>${run.status}</span>`;
}

/** @param {{ tags: string[] | null | undefined }} props */
export function Tags({ tags }) {
  return (tags ?? []).map((tag) => html`<span class="tag" key=${tag}>${tag}</span>`);
}

/** What a person calls a run. @param {any} run */
export function runName(run) {
  return run.alias || run.id;
}

/** How long a run of which this host knows nothing was silent. @param {any} run */
export function silence(run) {
  if (run.status !== "running" || run.here || run.last_data_at === null) return "";
  const seconds = serverNow() - run.last_data_at;
  return seconds > 60 ? `no data for ${spanText(seconds)}` : "";
}

/**
 * Settings or a menu where they act: opened by a button, closed by Escape or a click elsewhere.
 * @param {{ label: any, name?: string, kind?: string, plain?: boolean, children?: any }} props
 */
export function Popover({ label, name, kind, plain, children }) {
  const [open, setOpen] = useState(false);
  const box = useRef(null);
  useLayoutEffect(() => {
    // At once, as in useKeys: the next key may be meant for it.
    if (!open) return undefined;
    const shut = (event) => {
      if (event instanceof KeyboardEvent && event.key !== "Escape") return;
      if (event.type === "pointerdown" && box.current?.contains(/** @type {Node} */ (event.target))) return;
      if (event instanceof KeyboardEvent) {
        event.stopPropagation();
        box.current?.querySelector("button")?.focus();
      }
      setOpen(false);
    };
    addEventListener("pointerdown", shut);
    addEventListener("keydown", shut, true);
    return () => {
      removeEventListener("pointerdown", shut);
      removeEventListener("keydown", shut, true);
    };
  }, [open]);
  const close = () => setOpen(false);
  return html`<span class="pop" ref=${box}>
    <button class=${plain ? "" : "plain"} aria-expanded=${String(open)} aria-label=${name} title=${name} onClick=${() => setOpen(!open)}>${label}</button>
    ${open && html`<div class=${`pop-box ${kind ?? ""}`} role="group" aria-label=${name ?? label}>${typeof children === "function" ? children(close) : children}</div>`}
  </span>`;
}

/**
 * Keys of a page, while no field has the focus.
 * @param {Record<string, (event: KeyboardEvent) => void>} keys
 */
export function useKeys(keys) {
  const latest = useRef(keys);
  latest.current = keys;
  useLayoutEffect(() => {
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const at = event.target instanceof HTMLElement ? event.target : null;
      if (at?.matches("input:not([type=checkbox]):not([type=range]), textarea, select, dialog *")) return;
      if (event.key === "Enter" && at?.matches("a, button")) return;
      const act = latest.current[event.key];
      if (!act) return;
      event.preventDefault();
      act(event);
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

/** Colour and dashes of the n-th curve: colours first, then the same with dashes; the second blue never without. @param {number} index */
export function curveStyle(index) {
  if (index < 0) return { colour: themeColour("--unknown"), dash: [] };
  const nth = index % CURVE_COLOURS;
  const round = Math.floor(index / CURVE_COLOURS) + Number(nth === SECOND_BLUE);
  return { colour: themeColour(`--c${nth}`), dash: CURVE_DASHES[round % CURVE_DASHES.length] };
}

/** A colour of the style sheet, as it is now. @param {string} name */
export function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Whether the system is dark; a change draws again. */
export function useDark() {
  const [wish] = useState(() => matchMedia("(prefers-color-scheme: dark)"));
  const [dark, setDark] = useState(wish.matches);
  useEffect(() => {
    const change = () => setDark(wish.matches);
    wish.addEventListener("change", change);
    return () => wish.removeEventListener("change", change);
  }, []);
  useEffect(() => void document.documentElement.classList.toggle("drawn-dark", dark), [dark]); // on paper the canvases are turned
  return dark;
}

/** The size of an element, kept up to date. @param {{ current: HTMLElement | null }} ref */
export function useSize(ref) {
  const [size, setSize] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return undefined;
    // The first size is known before the first picture, so that nothing moves after it.
    const measure = () => setSize({ width: element.clientWidth, height: element.clientHeight });
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return size;
}

/** @param {{ error: any }} props */
export function Trouble({ error }) {
  return html`<div class="empty" role="alert"><h2>${error.message}</h2><p class="quiet">${error.hint ?? ""}</p></div>`;
}

/** Save bytes as a file of the reader's. @param {Blob} blob @param {string} name */
export function saveFile(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replace(/[^\w.@+=-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** When and from what a report was made, and what is not in it. */
export function ReportLine() {
  const { report } = source;
  return report && html`<section class="report-line quiet" aria-label="About this report">Report made ${momentText(report.made_at)}${report.lines.map((line) => html` · <span key=${line}>${line}</span>`)}</section>`;
}

/** Download a file of a run: a link carries no token, so it has a ticket. @param {object} wish `run`, `kind`, `number`, ... */
export async function saveByTicket(wish) {
  const { ticket, name } = await source.send("POST", "tickets", wish);
  const link = document.createElement("a");
  link.href = new URL(`api/v1/files/${ticket}`, viewerRoot()).href;
  link.download = name;
  link.click();
}
