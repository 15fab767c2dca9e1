// @ts-check
/** The page of all runs: the tree of their paths, and the table, of which only the rows in view exist. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, goTo, hrefOf, runHref, useAddress, viewerRoot } from "./address.js";
import { askedRuns, columnOf, inOrder, parseFilter } from "./filter.js";
import { countOf, countText, shortNumber, stepText } from "./format.js";
import { serverNow, setServerNow, useLive } from "./live.js";
import { Ago, Duration, Popover, Status, Tags, Trouble, runName, silence, useKeys, useSize } from "./parts.js";
import { SelectionEdits, ViewsPopover, exportTable } from "./selection.js";
import { source } from "./source.js";
import { Sparkline } from "./sparkline.js";

const ROW_HEIGHT = 26;
const EXTRA_ROWS = 8;
const MOST_EXPLORED = 500;
const LOAD_AGAIN_MS = 3000;
const COLUMNS_KEPT = `runicorn-columns ${viewerRoot().pathname}`;
export const STATUSES = ["running", "lost", "finished", "failed", "interrupted", "unknown"];
const FIRST_RUN = `import runicorn as rn

with rn.init(path="first") as run:
    for step in range(100):
        run.log(loss=1 / (step + 1))`;

/**
 * @typedef {object} RunsColumn
 * @property {string} id as in the address
 * @property {string} name in the head
 * @property {string} by what it is sorted by
 * @property {number} least pixels
 * @property {number} [share] of the room that is left
 * @property {boolean} [right]
 * @property {boolean} [narrow] whether a telephone shows it
 * @property {(run: any) => any} cell
 */

/** The rows of all runs, kept up to date. @param {string[]} wanted columns of config and summary */
export function useRuns(wanted) {
  const [state, setState] = useState(/** @type {{ rows: Map<string, any> | null, error: any }} */ ({ rows: null, error: null }));
  const version = useRef("");
  const told = useRef("");
  const cols = wanted.map((name) => `col=${encodeURIComponent(name)}`).join("&");
  const asked = useRef(0);
  const load = async (full) => {
    if (full) asked.current++;
    const mine = asked.current; // an answer to what was asked before has other columns
    const query = [full || !version.current ? "" : `since=${encodeURIComponent(version.current)}`, cols];
    try {
      const answer = await source.get(`runs?${query.filter(Boolean).join("&")}`);
      if (mine === asked.current) merge(answer);
    } catch (error) {
      if (mine !== asked.current) return;
      setState((before) => ({ rows: before.rows, error }));
      setTimeout(() => mine === asked.current && load(full), LOAD_AGAIN_MS);
    }
  };
  const merge = (answer) => {
    version.current = answer.version;
    setServerNow(answer.now);
    if (told.current && told.current !== answer.version) {
      told.current = "";
      load(false);
    }
    setState((before) => ({ rows: mergedRows(answer.full ? null : before.rows, answer), error: null }));
  };
  useEffect(() => void load(true), [cols]);
  useEffect(() => () => void asked.current++, []);
  useLive({ list: true }, (name, data) => {
    // What has changed before the stream was open, as while the tab was hidden, does not come by it.
    if (name === "hello" && !version.current) told.current = data.version;
    else if (name === "hello" && version.current !== data.version) load(false);
    if (name === "edited" || (name === "runs" && cols)) load(false);
    else if (name === "runs") merge(data);
  });
  return state;
}

/** @param {Map<string, any> | null} before @param {any} answer */
function mergedRows(before, answer) {
  const names = Object.keys(answer.columns);
  const changed = new Map();
  (answer.columns.key ?? []).forEach((key, index) => {
    const row = ({ ...before?.get(key) });
    for (const name of names) row[name] = answer.columns[name][index];
    changed.set(key, row);
  });
  const rows = new Map(before ?? []);
  for (const key of answer.removed ?? []) rows.delete(key);
  for (const [key, row] of changed) rows.set(key, row);
  return rows;
}

/** Names of config and summary that there are. @param {unknown} [of] another one asks again */
export function useOtherColumns(of) {
  const [others, setOthers] = useState([]);
  useEffect(() => void source.get("runs/columns").then((answer) => setOthers(answer.columns), () => undefined), [of]);
  return others;
}

/** The page of all runs. */
export function RunsPage() {
  const { query } = useAddress();
  const others = useOtherColumns();
  const otherNames = useMemo(() => others.map((each) => each.name), [others]);
  const chosenColumns = listOf(query.get("cols"));
  const filterText = query.get("q") ?? "";
  const filter = useMemo(() => parseFilter(filterText), [filterText]);
  const order = query.get("sort") ?? "-created_at";
  const needed = [...chosenColumns, ...filter.conditions.map((each) => each.name), ...order.split(",").map((part) => part.replace(/^-/, ""))];
  const wanted = [...new Set(needed.map((name) => columnOf(name, otherNames)))].filter((name) => otherNames.includes(name)).sort();
  const { rows, error } = useRuns(wanted);
  const [chosen, setChosen] = useState(/** @type {Set<string>} */ (new Set()));
  const only = query.get("only");
  const path = query.get("path") ?? "";
  const status = listOf(query.get("status"));
  const all = useMemo(() => [...(rows?.values() ?? [])], [rows]);
  const shown = useMemo(() => inOrder(askedRuns(all, { path, status, only, filter }, otherNames, serverNow()), order, otherNames), [all, only, path, status.join(), filter, otherNames, order]);
  const paths = useMemo(() => pathsOf(all), [all]);
  useKeptColumns(query.get("cols"));
  useKeys({ "/": () => document.getElementById("search")?.focus() });
  useEffect(() => void (document.title = path ? `${path} · Runicorn` : "Runs · Runicorn"), [path]);
  if (error && !rows) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  if (rows && !rows.size) return html`<main id="main"><${EmptyStorage} /></main>`;
  const hasTree = paths.length > 1;
  return html`<div class=${`runs ${hasTree ? "with-tree" : ""}`}>
    ${hasTree && html`<${PathTree} paths=${paths} total=${all.length} path=${path} query=${query} />`}
    <main class="runs-main" id="main">
      <h1 class="hidden-text">Runs</h1>
      <${RunsBar} ...${{ query, paths, shown, all, chosen, setChosen, others, chosenColumns, status }} />
      <${RunsTable} ...${{ all, runs: rows ? shown : null, chosen, setChosen, order, chosenColumns, otherNames, hidden: listOf(query.get("hide")), path }} />
    </main>
  </div>`;
}

/** @param {string | null} text */
export function listOf(text) {
  return text ? text.split(",").filter(Boolean) : [];
}

/** The columns that were chosen last come back where the address names none. @param {string | null} cols */
function useKeptColumns(cols) {
  const first = useRef(true);
  useEffect(() => {
    if (source.report) return; // what is kept is the viewer's; a frame may keep nothing at all
    const kept = localStorage.getItem(COLUMNS_KEPT);
    if (first.current && !cols && kept) changeQuery({ cols: kept });
    else if (!first.current || cols) localStorage.setItem(COLUMNS_KEPT, cols ?? "");
    first.current = false;
  }, [cols]);
}

function EmptyStorage() {
  useKeys({});
  return html`<div class="empty">
    <h2>No runs here yet</h2>
    <p>These lines make one; it appears here by itself:</p>
    <pre tabindex="0">${FIRST_RUN}</pre>
    <p class="quiet">Run them in the directory of this storage, or with RUNICORN_DIR set to it. <code>runicorn demo</code> trains a small model for ten seconds.</p>
  </div>`;
}

/** @param {any[]} runs @returns {{ path: string, count: number, depth: number }[]} every path with those above it */
function pathsOf(runs) {
  const counts = new Map();
  for (const run of runs) {
    const parts = run.path ? run.path.split("/") : [];
    for (let depth = 1; depth <= parts.length; depth++) {
      const path = parts.slice(0, depth).join("/");
      counts.set(path, (counts.get(path) ?? 0) + 1);
    }
  }
  const order = (path) => path.replaceAll("/", "\u0001");
  const sorted = [...counts].sort(([first], [second]) => (order(first) < order(second) ? -1 : 1));
  return sorted.map(([path, count]) => ({ path, count, depth: path.split("/").length }));
}

/** @param {{ paths: any[], total: number, path: string, query: URLSearchParams }} props */
function PathTree({ paths, total, path, query }) {
  const link = (to) => hrefOf("", { ...Object.fromEntries(query), path: to });
  const item = (to, name, count, depth) => html`<li key=${to}>
    <a href=${link(to)} aria-current=${path === to ? "true" : null} style=${{ paddingLeft: `${16 + depth * 12}px` }} title=${to || name}>
      <span class="grow cut">${name}</span><span class="count">${countText(count)}</span>
    </a>
  </li>`;
  return html`<nav class="tree" aria-label="Paths"><ul>
    ${item("", "All runs", total, 0)}
    ${paths.map((each) => item(each.path, each.path.split("/").pop(), each.count, each.depth - 1))}
  </ul></nav>`;
}

/** @param {any} props */
function RunsBar({ query, paths, shown, all, chosen, setChosen, others, chosenColumns, status }) {
  const counts = new Map();
  for (const run of all) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  const toggle = (name) => changeQuery({ status: (status.includes(name) ? status.filter((each) => each !== name) : [...status, name]).join(",") });
  const chosenRuns = all.filter((run) => chosen.has(run.key));
  const columns = chosenColumns.map((name) => columnOf(name, others.map((each) => each.name)));
  const save = () => exportTable(chosen.size ? chosenRuns : shown, columns);
  useKeys({ e: save });
  const isNarrowed = Boolean(query.get("q") || query.get("only") || status.length);
  return html`<div class="bar" role="search">
    <input id="search" type="search" placeholder="Search, or lr<1e-3 status=failed" aria-label="Search runs" value=${query.get("q") ?? ""}
      onInput=${(event) => changeQuery({ q: event.target.value })}
      onKeyDown=${(event) => event.key === "Escape" && event.target.blur()} />
    ${!chosen.size && html`<span class="wide-only">${STATUSES.filter((name) => counts.has(name)).map((name) => html`<button key=${name} aria-pressed=${String(status.includes(name))} onClick=${() => toggle(name)}>
      <span class=${`status ${name}`}>${name}</span> <span class="quiet">${countText(counts.get(name))}</span></button>`)}</span>`}
    ${chosen.size > 0 && html`<span class="selection wide-only">${countText(chosen.size)} selected
      <${SelectionEdits} runs=${chosenRuns} all=${all} setChosen=${setChosen} columns=${columns} />
      <button onClick=${() => compareRuns(chosen)}>Compare</button>
      <button class="extra" onClick=${() => changeQuery({ only: [...chosen].join(",") }, true)}>Only these</button>
      <button class="extra" onClick=${() => navigator.clipboard?.writeText([...chosen].join("\n"))}>Copy ids</button>
      <button onClick=${() => setChosen(new Set())}>Clear</button></span>`}
    <span class="grow"></span>
    <select class="narrow-only" aria-label="Path" value=${query.get("path") ?? ""} onChange=${(event) => changeQuery({ path: event.target.value })}>
      <option value="">All paths</option>${paths.map((each) => html`<option value=${each.path}>${each.path}</option>`)}</select>
    <span class="quiet wide-only" aria-live="polite">${isNarrowed || shown.length !== all.length ? `${countText(shown.length)} of ${countOf(all.length, "run")}` : countOf(all.length, "run")}</span>
    ${isNarrowed && html`<button onClick=${() => changeQuery({ q: null, status: null, only: null })}>Show all</button>`}
    ${!chosen.size && html`<button class="plain wide-only" title="All runs that are shown, as CSV (e)" onClick=${save}>Export</button>`}
    ${!source.report && html`<${ViewsPopover} />`}
    <a class="as-button plain" href=${exploreHref(query, chosen)}>Explore</a>
    <${ColumnsPopover} all=${all} others=${others} chosen=${chosenColumns} hidden=${listOf(query.get("hide"))} />
  </div>`;
}

/** @param {Set<string>} chosen */
function compareRuns(chosen) {
  goTo(hrefOf("compare", { runs: [...chosen].join(",") }));
}

/** What is selected or filtered, on the Explore page. @param {URLSearchParams} query @param {Set<string>} chosen */
function exploreHref(query, chosen) {
  if (chosen.size > 1 && chosen.size <= MOST_EXPLORED) return hrefOf("explore", { runs: [...chosen].join(",") });
  return hrefOf("explore", { q: query.get("q"), path: query.get("path"), status: query.get("status"), only: query.get("only") });
}

/** @param {{ all: any[], others: { name: string, runs: number }[], chosen: string[], hidden: string[] }} props */
function ColumnsPopover({ all, others, chosen, hidden }) {
  const [text, setText] = useState("");
  const flip = (list, name) => (list.includes(name) ? list.filter((each) => each !== name) : [...list, name]).join(",");
  const names = others.map((each) => each.name);
  const isOn = (name) => chosen.some((each) => columnOf(each, names) === name);
  const found = others.filter((each) => !/^summary\.(best_metric_|runicorn\.)/.test(each.name) && each.name.toLowerCase().includes(text.toLowerCase())).slice(0, 200);
  return html`<${Popover} label="Columns">
    <div class="row"><h2>Columns</h2></div>
    ${standardColumns(all, "", false).filter((each) => each.id !== "name").map((each) => html`<label class="check" key=${each.id}>
      <input type="checkbox" checked=${!hidden.includes(each.id)} onChange=${() => changeQuery({ hide: flip(hidden, each.id) })} />${each.name}</label>`)}
    ${others.length > 0 && html`<h2>Config and summary</h2>
      ${others.length > 12 && html`<input type="search" aria-label="Find a column" placeholder="Find a column" value=${text} onInput=${(event) => setText(event.target.value)} />`}
      ${found.map((each) => html`<label class="check" key=${each.name}>
        <input type="checkbox" checked=${isOn(each.name)} onChange=${() => changeQuery({ cols: isOn(each.name) ? chosen.filter((name) => columnOf(name, names) !== each.name).join(",") : [...chosen, each.name].join(",") })} />
        <span class="cut">${each.name}</span></label>`)}`}
  <//>`;
}

/** @param {any[]} runs @param {string} path @param {boolean} isNarrow @returns {RunsColumn[]} */
function standardColumns(runs, path, isNarrow) {
  const metrics = [...new Set(runs.map((run) => run.best_metric_name).filter(Boolean))];
  const one = metrics.length === 1 ? metrics[0] : null;
  const hasReason = !isNarrow && runs.some((run) => run.reason || silence(run));
  const groups = runs.some((run) => run.group) ? [{ id: "group", name: "Group", by: "group", least: 84, share: 0.5, cell: (run) => run.group && html`<a class="quiet" href=${hrefOf("", { q: `group="${run.group}"` })} title=${`only runs of ${run.group}`}>${run.group}</a>` }] : [];
  const tail = (run) => (path && run.path.startsWith(`${path}/`) ? run.path.slice(path.length + 1) : run.path === path && path ? "" : run.path);
  return [
    { id: "status", name: "Status", by: "status", least: hasReason ? 150 : isNarrow ? 104 : 108, share: hasReason ? 1 : 0, narrow: true, cell: (run) => html`<${Status} run=${run} />${hasReason && html`<span class="more" title=${run.reason ?? ""}> ${run.reason ?? silence(run)}</span>`}` },
    { id: "name", name: "Run", by: "name", least: isNarrow ? 100 : 176, share: 0.6, narrow: true, cell: (run) => html`<a class="name" href=${runHref(run.key)} title=${run.id}>${runName(run)}</a>` },
    { id: "path", name: "Path", by: "path", least: 84, share: 1, cell: (run) => html`<span class="quiet" title=${run.path}>${tail(run)}</span>` },
    ...groups,
    { id: "best", name: one ?? "Best", by: "best", least: one || isNarrow ? 84 : 140, share: one ? 0 : 0.5, right: true, narrow: true, cell: (run) => bestCell(run, one || isNarrow) },
    { id: "trend", name: "Trend", by: "", least: 108, cell: (run) => html`<${Sparkline} run=${run} />` },
    { id: "step", name: "Step", by: "step", least: 80, right: true, cell: (run) => stepText(run.last_step) },
    { id: "last", name: "Last data", by: "last", least: source.report ? 124 : 88, right: true, cell: (run) => html`<${Ago} time=${run.last_data_at} />` },
    { id: "age", name: "Started", by: "created_at", least: source.report ? 124 : 86, right: true, narrow: true, cell: (run) => html`<${Ago} time=${run.started_at ?? run.created_at} />` },
    { id: "took", name: "Took", by: "took", least: 92, right: true, cell: (run) => html`<${Duration} run=${run} />` },
    { id: "tags", name: "Tags", by: "tags", least: 56, share: 0.5, cell: (run) => html`<${Tags} tags=${run.tags} />` },
  ];
}

/** @param {any} run @param {any} isNamed */
function bestCell(run, isNamed) {
  if (run.best_metric_value === null || run.best_metric_value === undefined) return null;
  const place = run.best_metric_step === null ? "" : ` at step ${stepText(run.best_metric_step)}`;
  const title = `best ${run.best_metric_name} (${run.best_metric_mode}): ${run.best_metric_value}${place}`;
  return html`<span title=${title}>${!isNamed && html`<span class="quiet">${run.best_metric_name} </span>`}<span data-exact=${run.best_metric_value}>${shortNumber(run.best_metric_value)}</span></span>`;
}

/** @param {string[]} chosen @param {string[]} others @returns {RunsColumn[]} */
function chosenColumnsOf(chosen, others) {
  return chosen.map((name) => {
    const full = columnOf(name, others);
    const short = full.split(".").pop() ?? full;
    return { id: full, name: short, by: name, least: 100, right: true, cell: (run) => html`<span title=${`${full}: ${run[full] ?? ""}`} data-exact=${run[full]}>${shortNumber(run[full])}</span>` };
  });
}

/** @param {any} props */
export function RunsTable({ all, runs, chosen, setChosen, order, chosenColumns, otherNames, hidden, path, lit = "", setLit = null }) {
  const box = useRef(null);
  const size = useSize(box);
  const [scroll, setScroll] = useState(0);
  const [at, setAt] = useState(-1);
  const lastChosen = useRef(-1);
  const isNarrow = size.width > 0 && size.width < 640;
  const sample = runs ?? [];
  const standard = useMemo(() => standardColumns(all, path, isNarrow), [all, path, isNarrow]);
  const columns = [...standard.filter((each) => !hidden.includes(each.id)), ...chosenColumnsOf(chosenColumns, otherNames)].filter((each) => !isNarrow || each.narrow);
  const wide = (each) => (each.share ? `minmax(${each.least}px, ${each.share}fr)` : `${each.least}px`);
  const template = `${isNarrow ? "" : "32px "}${columns.map(wide).join(" ")}`;
  // Each row is a grid of its own: only an equal width makes their columns meet.
  const least = `${columns.reduce((total, each) => total + each.least, isNarrow ? 16 : 48)}px`;
  const first = Math.max(0, Math.floor(scroll / ROW_HEIGHT) - EXTRA_ROWS);
  const last = Math.min(sample.length, Math.ceil((scroll + size.height) / ROW_HEIGHT) + EXTRA_ROWS);
  const choose = (index, stretch) => {
    const next = new Set(chosen);
    const from = stretch && lastChosen.current >= 0 ? lastChosen.current : index;
    const isOn = !next.has(sample[index].key);
    for (let each = Math.min(from, index); each <= Math.max(from, index); each++) isOn ? next.add(sample[each].key) : next.delete(sample[each].key);
    lastChosen.current = index;
    setChosen(next);
  };
  const move = (by) => {
    const next = Math.min(sample.length - 1, Math.max(0, at + by));
    setAt(next);
    setLit?.(sample[next]?.key ?? "");
    reveal(next);
  };
  const reveal = (next) => {
    const view = box.current;
    if (!view || next < 0) return;
    const top = next * ROW_HEIGHT;
    if (top < view.scrollTop) view.scrollTop = top;
    if (top + ROW_HEIGHT > view.scrollTop + view.clientHeight - 28) view.scrollTop = top + ROW_HEIGHT - view.clientHeight + 28;
  };
  // What is lit elsewhere comes into view; what the pointer lights here is there.
  const litHere = useRef("");
  const hover = (key) => setLit((litHere.current = key));
  useEffect(() => {
    if (lit && lit !== litHere.current) reveal(sample.findIndex((run) => run.key === lit));
    litHere.current = "";
  }, [lit]);
  const pick = (event) => at >= 0 && at < sample.length && choose(at, event.shiftKey);
  useKeys({
    j: () => move(1),
    k: () => move(-1),
    x: pick,
    X: pick,
    Enter: () => at >= 0 && at < sample.length && goTo(runHref(sample[at].key)),
    c: () => chosen.size && compareRuns(chosen),
    Escape: () => setChosen(new Set()),
  });
  return html`<div class="table" ref=${box} role="table" aria-label="Runs" aria-rowcount=${sample.length + 1} tabindex="0" onScroll=${(event) => setScroll(event.currentTarget.scrollTop)}>
    <div role="rowgroup"><div class="head" role="row" aria-rowindex="1" style=${{ gridTemplateColumns: template, minWidth: least }}>
      ${!isNarrow && html`<span class="cell" role="columnheader"><span class="hidden-text">Selected</span></span>`}
      ${columns.map((each) => html`<${HeadCell} key=${each.id} column=${each} order=${order} />`)}
    </div></div>
    <div class="body" role="rowgroup" style=${{ height: `${sample.length * ROW_HEIGHT}px` }}>
      ${runs === null && [...Array(12).keys()].map((index) => html`<div class="row" role="row" key=${index} style=${{ gridTemplateColumns: template, minWidth: least, top: `${index * ROW_HEIGHT}px` }}>
        <span class="cell" role="cell"></span>${columns.map((each) => html`<span class="cell" role="cell" key=${each.id}><span class="skeleton"></span></span>`)}</div>`)}
      ${sample.slice(first, last).map((run, offset) => {
        const index = first + offset;
        const isChosen = chosen.has(run.key);
        return html`<div key=${run.key} role="row" aria-rowindex=${index + 2} class=${`row ${isChosen ? "chosen" : ""} ${index === at ? "at" : ""} ${run.key === lit ? "lit" : ""}`} onMouseEnter=${setLit && (() => hover(run.key))}
          style=${{ gridTemplateColumns: template, minWidth: least, top: `${index * ROW_HEIGHT}px` }} onClick=${() => setAt(index)} onDblClick=${() => goTo(runHref(run.key))}>
          ${!isNarrow && html`<span class="cell" role="cell"><input type="checkbox" aria-label=${`Select ${runName(run)}`} checked=${isChosen}
            onClick=${(event) => { event.stopPropagation(); choose(index, event.shiftKey); }} /></span>`}
          ${columns.map((each) => html`<span key=${each.id} role="cell" class=${`cell ${each.right ? "right" : ""}`}>${each.cell(run)}</span>`)}
        </div>`;
      })}
    </div>
    ${runs !== null && !runs.length && html`<p class="empty quiet">No run is like that.</p>`}
  </div>`;
}

/** @param {{ column: RunsColumn, order: string }} props */
function HeadCell({ column, order }) {
  const parts = order.split(",");
  const found = parts.find((part) => part.replace(/^-/, "") === column.by);
  const direction = found ? (found.startsWith("-") ? "descending" : "ascending") : null;
  const sort = (event) => {
    const startsHigh = ["created_at", "last", "step", "took"].includes(column.by);
    const next = found ? (found.startsWith("-") ? column.by : `-${column.by}`) : `${startsHigh ? "-" : ""}${column.by}`;
    const rest = parts.filter((part) => part !== found);
    changeQuery({ sort: event.shiftKey ? [...rest, next].join(",") : next === "-created_at" ? null : next });
  };
  const text = column.by
    ? html`<button onClick=${sort} title=${`${column.name}: sort; Shift adds to the order`}>${column.name}${found ? (direction === "ascending" ? " ↑" : " ↓") : ""}</button>`
    : html`<span class="quiet">${column.name}</span>`;
  return html`<span class=${`cell ${column.right ? "right" : ""}`} role="columnheader" aria-sort=${direction}>${text}</span>`;
}
