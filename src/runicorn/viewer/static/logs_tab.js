// @ts-check
/** The Logs tab: windows of a file of any size, live at its end, with its colours, and a search on the server. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, runHref } from "./address.js";
import { bytesText, countText } from "./format.js";
import { useLive } from "./live.js";
import { Trouble, useKeys } from "./parts.js";
import { source } from "./source.js";

const WINDOW_BYTES = 65536;
const MOST_LINES = 4000;
const NEAR_PX = 600;
const END_PX = 24;
const ESCAPE = /\x1b(?:\[([0-9;:]*)([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])/g;
const lineBytes = new TextEncoder();

/** @typedef {{ offset: number, text: string }} LogLine */
/** @typedef {{ lines: LogLine[], from: number, to: number, size: number, atStart: boolean, atEnd: boolean }} LogWindow */

/** @param {any} answer @returns {LogWindow} */
function logWindow(answer) {
  const texts = answer.text.split("\n");
  if (texts[texts.length - 1] === "") texts.pop();
  let offset = answer.offset;
  const lines = texts.map((text, index) => {
    const at = answer.offsets?.[index] ?? offset;
    offset = at + lineBytes.encode(text).length + 1;
    return { offset: at, text };
  });
  return { lines, from: answer.offset, to: answer.next, size: answer.size, atStart: answer.at_start, atEnd: answer.at_end };
}

/** @param {LogWindow} before @param {LogWindow} more @param {boolean} isLater @returns {LogWindow} */
function joinedWindows(before, more, isLater) {
  const lines = isLater ? [...before.lines, ...more.lines] : [...more.lines, ...before.lines];
  const cut = Math.max(0, lines.length - MOST_LINES);
  if (isLater) {
    const kept = cut ? lines.slice(cut) : lines;
    return { lines: kept, from: kept[0]?.offset ?? before.from, to: more.to, size: more.size, atStart: before.atStart && !cut, atEnd: more.atEnd };
  }
  const kept = cut ? lines.slice(0, MOST_LINES) : lines;
  return { lines: kept, from: more.from, to: cut ? lines[MOST_LINES].offset : before.to, size: more.size, atStart: more.atStart, atEnd: before.atEnd && !cut };
}

/** @param {{ head: any, row: any, query: URLSearchParams }} props */
export function LogsTab({ head, row, query }) {
  const number = Number(query.get("source") ?? head.logs[0]?.source ?? 0);
  const at = query.get("at") === null ? null : Number(query.get("at"));
  const search = query.get("q") ?? "";
  useKeys({ "/": () => document.getElementById("search")?.focus() });
  if (!head.logs.length) return html`<p class="empty quiet">This run has no log. <code>run.log_text()</code>, a logging handler or <code>init(capture_console=True)</code> write one.</p>`;
  const file = head.logs.find((each) => each.source === number) ?? head.logs[0];
  return html`<div class="logs">
    <div class="bar">
      <input id="search" type="search" placeholder="Search the whole log" aria-label="Search the whole log" value=${search}
        onChange=${(event) => changeQuery({ q: event.target.value })} onKeyDown=${(event) => event.key === "Escape" && event.target.blur()} />
      ${head.logs.length > 1 && html`<select aria-label="Log of" value=${number} onChange=${(event) => changeQuery({ source: event.target.value, at: null })}>
        ${head.logs.map((each) => html`<option value=${each.source}>${each.host ?? each.name}</option>`)}</select>`}
      <span class="quiet wide-only">${file.name}, ${bytesText(file.size)}</span>
    </div>
    ${search && html`<${LogHits} key=${`${number} ${search}`} row=${row} number=${number} search=${search} />`}
    <${LogView} key=${`${row.key} ${number}`} row=${row} number=${number} at=${at} search=${search} />
  </div>`;
}

/** @param {{ row: any, number: number, at: number | null, search: string }} props */
function LogView({ row, number, at, search }) {
  const [shown, setShown] = useState(null);
  const [error, setError] = useState(null);
  const [follows, setFollows] = useState(at === null);
  const box = useRef(null);
  const busy = useRef(false);
  const goal = useRef(at);
  const queued = useRef(/** @type {(() => Promise<void>) | null} */ (null));
  const hold = useRef(null);
  const latest = useRef(shown);
  latest.current = shown;
  const follow = useRef(follows);
  follow.current = follows;
  const ask = (from) => source.get(`runs/${encodeURIComponent(row.key)}/logs?source=${number}&${from}&bytes=${WINDOW_BYTES}`).then(logWindow);
  const attempt = async (act) => {
    if (busy.current) return void (queued.current = act);
    busy.current = true;
    try {
      await act();
      setError(null);
    } catch (problem) {
      setError(problem);
    } finally {
      busy.current = false;
      const next = queued.current;
      queued.current = null;
      if (next) attempt(next);
    }
  };
  const open = () => attempt(async () => {
    const window = await ask(`offset=${at === null ? -WINDOW_BYTES : Math.max(0, at - WINDOW_BYTES / 4)}`);
    setShown(window);
  });
  const later = () => attempt(async () => {
    const before = latest.current;
    if (!before) return;
    const more = await ask(`offset=${before.to}`);
    if (more.to > before.to) setShown(joinedWindows(before, more, true));
    // The last line is not whole yet: there is nothing to ask for until the file has grown.
    else setShown({ ...before, size: more.size, atEnd: true });
  });
  const earlier = () => attempt(async () => {
    const before = latest.current;
    if (!before || before.atStart || before.from <= 0) return;
    const more = await ask(`before=${before.from}`);
    hold.current = box.current?.scrollHeight ?? 0;
    setShown(joinedWindows(before, more, false));
  });
  useEffect(() => {
    goal.current = at;
    const isIn = at !== null && shown && at >= shown.from && at < shown.to;
    if (!isIn) open();
    if (at !== null) setFollows(false);
  }, [at]);
  useLive({ logs: row.key }, (name, data) => {
    const isMine = name === "log" && data.key === row.key && data.source === number;
    if (!isMine && name !== "again") return;
    const before = latest.current;
    if (!before) open();
    else if (follow.current) later();
    else if (isMine) setShown({ ...before, size: data.size, atEnd: false });
  });
  useLayoutEffect(() => {
    const view = box.current;
    if (!view || !shown) return;
    if (hold.current !== null) view.scrollTop += view.scrollHeight - hold.current;
    else if (follows) view.scrollTop = view.scrollHeight;
    hold.current = null;
    if (follows && !shown.atEnd) later();
  }, [shown, follows]);
  useLayoutEffect(() => {
    const line = goal.current === at ? box.current?.querySelector(".at") : null;
    if (!line) return;
    line.scrollIntoView({ block: "center" });
    goal.current = null;
  }, [at, shown]);
  const scrolled = () => {
    const view = box.current;
    if (!view || !shown) return;
    const below = view.scrollHeight - view.scrollTop - view.clientHeight;
    if (follows && below > END_PX) setFollows(false);
    if (!follows && below <= 2 && shown.atEnd && at === null) setFollows(true);
    if (view.scrollTop < NEAR_PX && !shown.atStart) earlier();
    if (below < NEAR_PX && !shown.atEnd) later();
  };
  const toEnd = () => {
    changeQuery({ at: null });
    setFollows(true);
    attempt(async () => setShown(await ask(`offset=${-WINDOW_BYTES}`)));
  };
  if (error && !shown) return html`<${Trouble} error=${error} />`;
  return html`
    <div class="log-view mono" ref=${box} tabindex="0" role="log" aria-label="Log" aria-live="off" onScroll=${scrolled}>
      ${shown && !shown.lines.length && html`<p class="empty quiet">The log is empty.</p>`}
      ${(shown?.lines ?? []).map((line) => html`<${LogRow} key=${line.offset} line=${line} isAt=${at !== null && isLineAt(shown, line, at)} runKey=${row.key} number=${number} search=${search} />`)}
    </div>
    <div class="bar">
      ${follows ? html`<span class="quiet">${row.status === "running" ? "Following the end; scroll up to pause." : "The end of the log."}</span>` : html`<button class="plain" onClick=${toEnd}>To the end</button>`}
      <span class="grow"></span>
      <span class="quiet cut">${shown ? `${bytesText(shown.from)} to ${bytesText(shown.to)} of ${bytesText(Math.max(shown.size, shown.to))}` : ""}</span>
    </div>`;
}

/** @param {LogWindow | null} shown @param {LogLine} line @param {number} at */
function isLineAt(shown, line, at) {
  return at >= line.offset && at <= line.offset + lineBytes.encode(line.text).length && Boolean(shown);
}

/** @param {{ line: LogLine, isAt: boolean, runKey: string, number: number, search: string }} props */
function LogRow({ line, isAt, runKey, number, search }) {
  const link = runHref(runKey, "logs", { .../** @type {Record<string, string>} */ (number ? { source: String(number) } : {}), at: String(line.offset), q: search });
  return html`<div class=${`log-line ${isAt ? "at" : ""}`}><a href=${link} aria-label="Link to this line" tabindex="-1">#</a><span class="text">${colouredText(line.text)}</span></div>`;
}

/** @param {{ row: any, number: number, search: string }} props */
function LogHits({ row, number, search }) {
  const [hits, setHits] = useState([]);
  const [state, setState] = useState({ next: /** @type {number | null} */ (0), scanned: 0, size: 0, busy: false });
  const isMine = useRef(true);
  const more = async (after) => {
    setState((before) => ({ ...before, busy: true }));
    let next = /** @type {number | null} */ (after);
    let found = 0;
    // One answer looks through a part of a large file only.
    while (next !== null && found < 200 && isMine.current) {
      const answer = await source.get(`runs/${encodeURIComponent(row.key)}/logs/search?source=${number}&q=${encodeURIComponent(search)}&limit=200&after=${next}`);
      if (!isMine.current) return;
      found += answer.hits.length;
      next = answer.next;
      setHits((before) => [...before, ...answer.hits]);
      setState({ next, scanned: answer.next ?? answer.size, size: answer.size, busy: next !== null && found < 200 });
    }
  };
  useEffect(() => {
    more(0).catch(() => setState((before) => ({ ...before, busy: false })));
    return () => void (isMine.current = false);
  }, []);
  const link = (offset) => runHref(row.key, "logs", { .../** @type {Record<string, string>} */ (number ? { source: String(number) } : {}), at: String(offset), q: search });
  return html`<div class="hits mono" tabindex="0" role="region" aria-label="Lines found">
    ${hits.map((hit) => html`<a key=${hit.offset} href=${link(hit.offset)}>${markedText(plainLine(hit.text), search)}</a>`)}
    <p class="empty quiet" role="status">${state.busy ? `searched ${bytesText(state.scanned)} of ${bytesText(state.size)}` : hits.length ? `${countText(hits.length)} lines found` : "No line has that."}
      ${!state.busy && state.next !== null && html` <button class="link" onClick=${() => more(state.next)}>find more</button>`}</p>
  </div>`;
}

/** What a terminal would show at last of a line. @param {string} text */
function lastOverwrite(text) {
  const whole = text.replace(/\r+$/, "");
  return whole.includes("\r") ? whole.slice(whole.lastIndexOf("\r") + 1) : whole;
}

/** @param {string} text */
function plainLine(text) {
  return lastOverwrite(text).replace(ESCAPE, "");
}

/** @param {string} text @param {string} search */
function markedText(text, search) {
  const at = text.toLowerCase().indexOf(search.toLowerCase());
  return at < 0 ? text : [text.slice(0, at), html`<mark>${text.slice(at, at + search.length)}</mark>`, text.slice(at + search.length)];
}

/** A line with its colours as elements; nothing of it is ever read as markup. @param {string} line */
function colouredText(line) {
  const text = lastOverwrite(line);
  if (!text.includes("\x1b")) return text;
  const parts = [];
  let style = plainStyle();
  let at = 0;
  for (const found of text.matchAll(ESCAPE)) {
    if (found.index > at) parts.push(styledText(text.slice(at, found.index), style));
    at = found.index + found[0].length;
    if (found[2] === "m") style = nextStyle(style, found[1]);
  }
  if (at < text.length) parts.push(styledText(text.slice(at), style));
  return parts;
}

/** @typedef {{ classes: Record<string, boolean>, front: string, back: string }} TextStyle */

/** @returns {TextStyle} */
function plainStyle() {
  return { classes: {}, front: "", back: "" };
}

/** @param {string} text @param {TextStyle} style */
function styledText(text, style) {
  const classes = Object.keys(style.classes).filter((name) => style.classes[name]);
  for (const [name, colour] of [["f", style.front], ["g", style.back]]) if (/^\d$/.test(colour)) classes.push(name + colour);
  if (!classes.length && !style.front && !style.back) return text;
  const direct = { color: style.front.startsWith("#") ? style.front : "", backgroundColor: style.back.startsWith("#") ? style.back : "" };
  return html`<span class=${classes.join(" ")} style=${direct}>${text}</span>`;
}

/** @param {TextStyle} before @param {string} codes @returns {TextStyle} */
function nextStyle(before, codes) {
  let style = { ...before, classes: { ...before.classes } };
  const numbers = (codes || "0").split(/[;:]/).map(Number);
  for (let index = 0; index < numbers.length; index++) {
    const code = numbers[index];
    if (code === 0) style = plainStyle();
    else if (code === 1) style.classes.b = true;
    else if (code === 2) style.classes.d = true;
    else if (code === 3) style.classes.i = true;
    else if (code === 4) style.classes.u = true;
    else if (code === 22) style.classes.b = style.classes.d = false;
    else if (code === 23) style.classes.i = false;
    else if (code === 24) style.classes.u = false;
    else if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) style.front = String(code % 10);
    else if ((code >= 40 && code <= 47) || (code >= 100 && code <= 107)) style.back = String(code % 10);
    else if (code === 39) style.front = "";
    else if (code === 49) style.back = "";
    else if (code === 38 || code === 48) {
      const { colour, used } = largeColour(numbers.slice(index + 1, index + 5));
      if (code === 38) style.front = colour;
      else style.back = colour;
      index += used;
    }
  }
  return style;
}

/** A colour of 256, or of 16 million. @param {number[]} rest */
function largeColour(rest) {
  const hex = (parts) => `#${parts.map((part) => Math.min(255, part || 0).toString(16).padStart(2, "0")).join("")}`;
  if (rest[0] === 2) return { colour: hex([rest[1], rest[2], rest[3]]), used: 4 };
  if (rest[0] !== 5) return { colour: "", used: 0 };
  const number = rest[1] ?? 0;
  if (number < 16) return { colour: String(number % 8), used: 2 };
  const grey = 8 + (number - 232) * 10;
  const level = (part) => (part ? 55 + 40 * part : 0);
  const cube = number - 16;
  const parts = number >= 232 ? [grey, grey, grey] : [level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)];
  return { colour: hex(parts), used: 2 };
}
