// @ts-check
/** The charts of a run: folders by name, search over thousands of names, and only the cards near the view exist. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, currentQuery } from "./address.js";
import { ChartCard } from "./chart_card.js";
import { countOf, countText, isBytesName, shortNumber } from "./format.js";
import { Ago, Popover, Trouble, runName, useDark, useKeys, useSize } from "./parts.js";
import { source } from "./source.js";

const PACE = "system/steps_per_second";
const CARD_HEIGHT = 204;
const CARD_GAP = 12;
const CARD_WIDTH = 376;
const FOLDER_HEIGHT = 28;
const FEW_CHARTS = 12;
const SMALL_FOLDER = 3;
const AHEAD_PX = 500;
const AT_ONCE_PX = 20_000;
const MOST_NAMES = 10_000;
const SYSTEM = "system/";
const FIRST_AXIS = source.report?.axes[0] ?? "step";
const RANK_WORDS = { each: "each", mean: "mean", minmax: "min to max", slowest: "slowest" };
const AXES = [["step", "Step"], ["time", "Time since the start"], ["wall", "Wall clock"], ["relative_step", "Step since the first"]];

/** @typedef {{ top: number, height: number, folder?: string, count?: number, metrics?: string[] }} Line */

/**
 * The names of a run's metrics, asked for again when there are more.
 * @param {string} runKey @param {boolean} isSystem @param {number} known how many the run is said to have
 * @param {string} search for the server, where there are more than the page takes
 */
function useMetrics(runKey, isSystem, known, search) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    const query = [`limit=${MOST_NAMES}`, isSystem ? `prefix=${SYSTEM}` : "", search].filter(Boolean).join("&");
    let isMine = true;
    source.get(`runs/${encodeURIComponent(runKey)}/metrics?${query}`).then((told) => isMine && setAnswer(told), (problem) => isMine && setError(problem));
    return () => void (isMine = false);
  }, [runKey, isSystem, known, search]);
  return { answer, error };
}

/** The choices for all charts, read from the address. @param {URLSearchParams} query @param {boolean} isSystem */
export function chartSettings(query, isSystem = false) {
  const number = (name) => (query.get(name) && Number.isFinite(Number(query.get(name))) ? Number(query.get(name)) : null);
  const list = (name) => namesIn(query.get(name));
  return {
    x: isSystem ? axisOfMachine(query.get("x")) : query.get("x") ?? FIRST_AXIS,
    from: number("from"),
    to: number("to"),
    smooth: Math.min(0.999, Math.max(0, number("smooth") ?? 0)),
    stage: query.get("stage"),
    rank: query.get("rank"),
    superseded: query.get("old") === "1",
    logX: query.get("logx") === "1",
    logYAll: query.get("logy") === "1",
    logY: list("ly"),
    pinned: list("pin"),
    hidden: list("hide"),
    closed: list("closed"),
    only: query.get("only"),
    search: query.get("m") ?? "",
    isRegex: query.get("regex") === "1",
  };
}

/** The x axis of the machine's curves, which have no steps. @param {string | null} chosen */
function axisOfMachine(chosen) {
  const { report } = source;
  const isWall = chosen === "wall" || (report && !report.axes.includes("time"));
  return isWall && (!report || report.axes.includes("wall")) ? "wall" : "time";
}

/**
 * @param {{ head: any, row: any, version: string, query: URLSearchParams, isSystem: boolean }} props
 */
export function ChartsTab({ head, row, version, query, isSystem }) {
  const chosen = chartSettings(query, isSystem);
  const known = isSystem ? head.system_metrics : head.metrics;
  const isMany = known > MOST_NAMES;
  const serverSearch = isMany && chosen.search ? `q=${encodeURIComponent(chosen.search)}${chosen.isRegex ? "&regex=1" : ""}` : "";
  const { answer, error } = useMetrics(row.key, isSystem, known, serverSearch);
  const names = useMemo(() => (answer?.metrics ?? []).filter((name) => isSystem || !name.startsWith(SYSTEM)), [answer]);
  const pattern = useMemo(() => namePattern(chosen.search, chosen.isRegex), [chosen.search, chosen.isRegex]);
  const wanted = useMemo(() => wantedNames(names, chosen, pattern), [names, pattern, chosen.only, chosen.hidden.join()]);
  useChartKeys(chosen);
  const versions = useMemo(() => ({ [row.key]: version }), [row.key, version]);
  const dark = useDark();
  const wish = { runs: [row.key], ...curveSettings(chosen) };
  const card = (metric, actions) => html`<${ChartCard} key=${metric} ...${{
    metric,
    name: runName(row),
    wish,
    versions,
    view: { ...viewSettings(chosen, metric), dark, stages: head.stages ?? [], best: bestOf(row, metric) },
    isPinned: chosen.pinned.includes(metric),
    isOnly: chosen.only === metric,
    actions,
  }} />`;
  if (error && !answer) return html`<${Trouble} error=${error} />`;
  return html`<div class="charts">
    <h2 class="hidden-text">Charts</h2>
    ${isSystem && head.machine?.map((sentence) => html`<p class="quiet">${sentence}</p>`)}
    ${answer && !names.length && html`<${NoMetrics} row=${row} isSystem=${isSystem} />`}
    ${names.length > 0 && !wanted.length && html`<p class="quiet">No metric of ${countText(names.length)} has such a name.</p>`}
    <${ChartLanes} ...${{ names: answer ? wanted : null, guess: Math.min(known || 6, 12), primary: [isSystem ? PACE : row.best_metric_name], chosen, isSystem, card }} />
  </div>`;
}

/** The keys that every page of charts has. @param {any} chosen */
export function useChartKeys(chosen) {
  useKeys({
    "/": () => document.getElementById("search")?.focus(),
    l: () => changeQuery({ logy: chosen.logYAll ? null : "1" }),
    r: () => changeQuery({ from: null, to: null }),
    j: () => focusChart(1),
    k: () => focusChart(-1),
  });
}

/** What of the settings the curves depend on. @param {any} chosen */
export function curveSettings({ x, from, to, smooth, stage, rank, superseded }) {
  return { x, from, to, smooth, stage, rank, superseded };
}

/** What of the settings a chart is drawn by. @param {any} chosen @param {string} metric */
export function viewSettings({ x, from, to, logX, logYAll, logY }, metric) {
  return { x, from, to, logX, logY: logYAll !== logY.includes(metric), isBytes: isBytesName(metric), isShare: isShareOfMachine(metric) };
}

/** What the machine did is seen against all that it could; what a script logs may be near one value. @param {string} metric */
function isShareOfMachine(metric) {
  return /^system\/.*_percent$/.test(metric);
}

/** The focus goes to the next chart, or to the one before. @param {number} by */
function focusChart(by) {
  const charts = [...document.querySelectorAll(".card .plot")];
  const at = charts.indexOf(document.activeElement);
  const next = charts[at < 0 ? 0 : Math.min(charts.length - 1, Math.max(0, at + by))];
  if (next instanceof HTMLElement) next.focus();
}

/** @param {string} search @param {boolean} isRegex */
export function namePattern(search, isRegex) {
  if (!search) return null;
  try {
    return new RegExp(isRegex ? search : search.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i");
  } catch {
    return null;
  }
}

/** @param {string[]} names @param {any} chosen @param {RegExp | null} pattern */
export function wantedNames(names, chosen, pattern) {
  if (chosen.only) return names.filter((name) => name === chosen.only);
  const hidden = new Set(chosen.hidden);
  return names.filter((name) => !hidden.has(name) && (!pattern || pattern.test(name)));
}

/** @param {{ row: any, isSystem: boolean }} props */
function NoMetrics({ row, isSystem }) {
  if (isSystem) return html`<p class="quiet">No metric of the machine was recorded.</p>`;
  if (row.status !== "running") return html`<p class="quiet">Nothing was logged by this run.</p>`;
  return html`<p class="quiet">Waiting for the first log(); the run began <${Ago} time=${row.started_at ?? row.created_at} />. It appears here by itself.</p>`;
}

/** The settings of all charts, in the bar of the tabs. @param {{ head: any, row: any, query: URLSearchParams, isSystem: boolean }} props */
export function ChartsBar({ head, query, isSystem }) {
  const chosen = chartSettings(query);
  const isBad = chosen.isRegex && chosen.search && !namePattern(chosen.search, true);
  const isZoomed = chosen.from !== null || chosen.to !== null;
  return html`
    ${isZoomed && html`<button class="plain wide-only" onClick=${() => changeQuery({ from: null, to: null })}>Reset zoom</button>`}
    ${chosen.only && html`<button class="plain" onClick=${() => changeQuery({ only: null })}>All charts</button>`}
    ${chosen.hidden.length > 0 && html`<button class="wide-only" onClick=${() => changeQuery({ hide: null })}>${countText(chosen.hidden.length)} hidden: show</button>`}
    <input id="search" type="search" aria-invalid=${isBad ? "true" : null} placeholder=${`Find among ${countText(isSystem ? head.system_metrics : head.metrics)} metrics`} aria-label="Find metrics" value=${chosen.search}
      onInput=${(event) => changeQuery({ m: event.target.value })} onKeyDown=${(event) => event.key === "Escape" && event.target.blur()} />
    <button class="wide-only" aria-pressed=${String(chosen.isRegex)} title="The search is a regular expression" onClick=${() => changeQuery({ regex: chosen.isRegex ? null : "1" })}>Regex</button>
    <button class="wide-only" aria-pressed=${String(chosen.logYAll)} title="Log y on all charts (l)" onClick=${() => changeQuery({ logy: chosen.logYAll ? null : "1" })}>Log y</button>
    <${Popover} label="Axes"><${AxesSettings} chosen=${chosen} head=${head} /><//>`;
}

/** @param {{ chosen: any, head: any }} props */
function AxesSettings({ chosen, head }) {
  const pick = (name) => (event) => changeQuery({ [name]: event.target.value });
  const isOther = !AXES.some(([value]) => value === chosen.x);
  const { report } = source;
  const axes = AXES.filter(([value]) => !report || report.axes.includes(value));
  const flip = (name, is) => () => changeQuery({ [name]: is ? null : "1" });
  return html`
    <label class="row">x axis <select value=${chosen.x} onChange=${(event) => changeQuery({ x: event.target.value === FIRST_AXIS ? null : event.target.value, from: null, to: null })}>
      ${axes.map(([value, text]) => html`<option value=${value}>${text}</option>`)}${isOther && html`<option value=${chosen.x}>${chosen.x.replace("metric:", "")}</option>`}</select></label>
    ${!report && html`<label class="row">or a metric <input type="text" placeholder="name" value=${isOther ? chosen.x.slice(7) : ""} onChange=${(event) => changeQuery({ x: event.target.value ? `metric:${event.target.value}` : null, from: null, to: null })} /></label>`}
    <label class="row">from <input type="number" step="any" value=${chosen.from ?? ""} onChange=${pick("from")} /></label>
    <label class="row">to <input type="number" step="any" value=${chosen.to ?? ""} onChange=${pick("to")} /></label>
    <label class="row"><span>Smooth ${chosen.smooth ? shortNumber(chosen.smooth) : "off"}</span><input type="range" min="0" max="0.99" step="0.01" value=${chosen.smooth} onInput=${(event) => changeQuery({ smooth: Number(event.target.value) || null })} /></label>
    <label class="check"><input type="checkbox" checked=${chosen.logX} onChange=${flip("logx", chosen.logX)} />Log x</label>
    <label class="check"><input type="checkbox" checked=${chosen.logYAll} onChange=${flip("logy", chosen.logYAll)} />Log y</label>
    ${head.resumed?.length > 0 && html`<label class="check"><input type="checkbox" checked=${chosen.superseded} onChange=${flip("old", chosen.superseded)} />Show what a resume replaced</label>`}
    <${LineChoice} label="Stage" chosen=${chosen.stage} lines=${stageChoices(head)} onPick=${pick("stage")} />
    <${LineChoice} label="Ranks" chosen=${chosen.rank} lines=${rankChoices(head)} onPick=${pick("rank")} />`;
}

/** A box to choose which lines are drawn; nothing if there is only one choice. @param {{ label: string, chosen: string | null, lines: string[][], onPick: (event: any) => void }} props */
function LineChoice({ label, chosen, lines, onPick }) {
  if (lines.length < 2) return null;
  return html`<label class="row">${label} <select value=${chosen ?? lines[0][0]} onChange=${onPick}>${lines.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select></label>`;
}

/** @param {any} head */
function stageChoices(head) {
  if (source.report) return source.report.stages.map((stage) => [stage, stage]);
  const stages = [...new Set((head.stages ?? []).map((each) => each.stage))];
  return stages.length > 1 ? [["", "all"], ...stages.map((stage) => [stage, stage])] : [];
}

/** @param {any} head */
function rankChoices(head) {
  if (source.report) return source.report.ranks.map((rank) => [rank, RANK_WORDS[rank] ?? `rank ${rank}`]);
  return head.ranks?.length > 1 ? [["", "rank 0"], ...Object.entries(RANK_WORDS), ...head.ranks.map((rank) => [rank, `rank ${rank}`])] : [];
}

/** Cards in lines, of which those near the view stand. @param {any} props */
export function ChartLanes({ names, guess, primary, chosen, isSystem, card }) {
  const lane = useRef(null);
  const { width } = useSize(lane);
  const view = useView(lane);
  // Two charts have the whole width; one is no wider than that of two.
  const columns = Math.max(1, Math.min(Math.floor((width + CARD_GAP) / (CARD_WIDTH + CARD_GAP)), Math.max(2, guess)));
  const lines = useMemo(
    () => (names ? linesOf(names, chosen, columns, primary, isSystem) : guessedLines(guess, columns)),
    [names, columns, chosen.pinned.join(), chosen.closed.join(), chosen.only, primary.join()],
  );
  const total = lines.length ? lines[lines.length - 1].top + lines[lines.length - 1].height : 0;
  const shown = width ? lines.filter((line) => line.top + line.height > view.top - AHEAD_PX && line.top < view.bottom + AHEAD_PX) : [];
  const actions = useMemo(() => cardActions(), []);
  const place = (line) => ({ top: `${line.top}px`, height: `${line.height - (line.folder === undefined ? CARD_GAP : 0)}px`, gridTemplateColumns: `repeat(${chosen.only ? 1 : columns}, minmax(0, 1fr))` });
  return html`<div class="lane" ref=${lane} style=${{ height: `${total}px` }}>
    ${shown.map((line) => (line.folder !== undefined
      ? html`<div class="folder" key=${`folder ${line.folder}`} style=${{ top: `${line.top}px`, height: `${line.height}px` }}>
          <button aria-expanded=${String(!chosen.closed.includes(line.folder))} onClick=${() => changeQuery({ closed: flipped(chosen.closed, line.folder ?? "") })}>${chosen.closed.includes(line.folder) ? "▸" : "▾"} ${line.folder}</button>
          <span class="quiet">${countOf(line.count ?? 0, "chart")}</span></div>`
      : html`<div class="line" key=${line.metrics?.[0] ?? line.top} style=${place(line)}>${(line.metrics ?? []).map((metric) => (names ? card(metric, actions) : html`<div class="card" key=${metric}><div class="card-head"><span class="skeleton"></span></div><div class="plot"><span class="frame"></span></div></div>`))}</div>`))}
  </div>`;
}

/** The names in a member of the address. @param {string | null} text */
export function namesIn(text) {
  return (text ?? "").split(",").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

/** Names as a member of the address. @param {string[]} names */
export function namesText(names) {
  return names.map((each) => each.replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
}

/** @param {string[]} list @param {string} name */
export function flipped(list, name) {
  return namesText(list.includes(name) ? list.filter((each) => each !== name) : [...list, name]);
}

/** @returns {import("./chart_card.js").CardActions} */
function cardActions() {
  const now = () => chartSettings(currentQuery());
  return {
    zoom: (from, to) => changeQuery({ from: from === null ? null : zoomBound(from, to), to: to === null ? null : zoomBound(to, from) }, true),
    logY: (metric) => changeQuery({ ly: flipped(now().logY, metric) }),
    only: (metric) => changeQuery({ only: now().only === metric ? null : metric }, true),
    pin: (metric) => changeQuery({ pin: flipped(now().pinned, metric) }),
    hide: (metric) => changeQuery({ hide: flipped(now().hidden, metric) }),
    old: () => changeQuery({ old: now().superseded ? null : "1" }),
  };
}

/** A bound with no more digits than the range needs. @param {number} bound @param {number | null} other */
function zoomBound(bound, other) {
  const range = Math.abs(bound - (other ?? 0)) || 1;
  const digits = Math.min(15, Math.max(0, 3 - Math.floor(Math.log10(range))));
  return String(Number(bound.toFixed(digits)));
}

/** @param {any} row @param {string} metric */
function bestOf(row, metric) {
  const isIt = row.best_metric_name === metric && typeof row.best_metric_value === "number" && row.best_metric_step !== null;
  return isIt ? { step: row.best_metric_step, value: row.best_metric_value } : null;
}

/** @param {number} count @param {number} columns @returns {Line[]} */
function guessedLines(count, columns) {
  return cardLines([...Array(count).keys()].map((index) => `${index}`), columns, 0);
}

/** @param {string[]} metrics @param {number} columns @param {number} top @returns {Line[]} */
function cardLines(metrics, columns, top) {
  const lines = [];
  for (let at = 0; at < metrics.length; at += columns) {
    lines.push({ top, height: CARD_HEIGHT + CARD_GAP, metrics: metrics.slice(at, at + columns) });
    top += CARD_HEIGHT + CARD_GAP;
  }
  return lines;
}

/** @param {string[]} names @param {any} chosen @param {number} columns @param {(string | null)[]} primary @param {boolean} isSystem @returns {Line[]} */
function linesOf(names, chosen, columns, primary, isSystem) {
  if (chosen.only) return names.map((name) => ({ top: 0, height: Math.max(320, Math.min(640, innerHeight - 180)), metrics: [name] }));
  const { first, folders } = foldersOf(names, chosen.pinned, primary, isSystem);
  const lines = cardLines(first, columns, 0);
  let top = lines.length ? lines[lines.length - 1].top + CARD_HEIGHT + CARD_GAP : 0;
  for (const [folder, metrics] of folders) {
    lines.push({ top, height: FOLDER_HEIGHT, folder, count: metrics.length });
    top += FOLDER_HEIGHT;
    if (chosen.closed.includes(folder)) continue;
    const more = cardLines(metrics, columns, top);
    lines.push(...more);
    top += more.length * (CARD_HEIGHT + CARD_GAP);
  }
  return lines;
}

/**
 * Pinned ones, the primary metric and what has no folder come first; folders are made where there are many charts.
 * @param {string[]} names @param {string[]} pinned @param {(string | null)[]} primary @param {boolean} isSystem
 */
function foldersOf(names, pinned, primary, isSystem) {
  const early = [...pinned, ...primary].filter((name) => name !== null && names.includes(name));
  const first = /** @type {string[]} */ ([...new Set(early)]);
  const folders = new Map();
  const folderOf = (name) => {
    const own = isSystem ? name.slice(SYSTEM.length) : name;
    return own.includes("/") ? own.slice(0, own.indexOf("/")) : "";
  };
  const isFew = names.length <= FEW_CHARTS;
  for (const name of names) {
    if (first.includes(name)) continue;
    const folder = isFew ? "" : folderOf(name);
    folders.set(folder, [...(folders.get(folder) ?? []), name]);
  }
  for (const [folder, metrics] of folders) {
    if (folder !== "" && metrics.length >= SMALL_FOLDER) continue;
    first.push(...metrics);
    folders.delete(folder);
  }
  return { first, folders };
}

/** Which part of an element is in the window, in pixels from its top. @param {{ current: HTMLElement | null }} ref */
export function useView(ref) {
  const [view, setView] = useState({ top: 0, bottom: innerHeight });
  useEffect(() => {
    const look = () => {
      const top = -(ref.current?.getBoundingClientRect().top ?? 0);
      const step = 50;
      const bottom = Math.ceil((top + innerHeight) / step) * step;
      // A report may be printed: its charts stand before anybody has come to them.
      const next = source.report ? { top: 0, bottom: Math.max(bottom, AT_ONCE_PX) } : { top: Math.floor(top / step) * step, bottom };
      setView((before) => (before.top === next.top && before.bottom === next.bottom ? before : next));
    };
    look();
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, []);
  return view;
}
