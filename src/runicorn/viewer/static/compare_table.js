// @ts-check
/** What differs between runs: a table of names and runs, of which only the cells in view exist. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, runHref } from "./address.js";
import { Swatch } from "./chart_card.js";
import { countText, shortNumber } from "./format.js";
import { Trouble, runName, useKeys, useSize } from "./parts.js";
import { source } from "./source.js";

const LINE_HEIGHT = 26;
const NAME_WIDTH = 300;
const CELL_WIDTH = 136;
const EXTRA_LINES = 6;
const EXTRA_CELLS = 2;
const PARTS = [["summary", "Summary"], ["config", "Config"], ["environment", "Environment"], ["packages", "Packages"]];
const WITH_ENV = "; init(capture_env=True) does";
const HOW_TO_RECORD = /** @type {Record<string, string>} */ ({ config: "; run.log_config() does", summary: "; run.summary() does", environment: WITH_ENV, packages: WITH_ENV });

/** @typedef {{ part: string, name: string, values: any[], isTitle?: boolean, text?: string }} TableLine */

/**
 * All that there is, not only what differs; asked for when it is wished.
 * @param {string} keys @param {boolean} isWished @param {any} differing what is known already
 */
function useAll(keys, isWished, differing) {
  const [all, setAll] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (!isWished) return undefined;
    let isMine = true;
    source.get(`compare?runs=${encodeURIComponent(keys)}`).then((answer) => isMine && setAnswer(answer), (problem) => isMine && setError(problem));
    const setAnswer = (answer) => setAll(answer);
    return () => void (isMine = false);
  }, [keys, isWished, differing]);
  return { answer: isWished ? all : differing, error };
}

/** @param {any} props */
export function CompareTable({ compared, query, answer: differing }) {
  const isAll = query.get("all") === "1";
  const search = (query.get("q") ?? "").toLowerCase();
  const { answer, error } = useAll(compared.map((run) => run.key).join(","), isAll, differing);
  const slots = useMemo(() => new Map(compared.map((run) => [run.key, run])), [compared]);
  const shown = answer?.runs.map((row, at) => ({ at, run: slots.get(row.key) })).filter((each) => each.run) ?? [];
  const lines = useMemo(() => (answer ? linesIn(answer, search, isAll) : []), [answer, search, isAll]);
  useKeys({ "/": () => document.getElementById("search")?.focus() });
  if (error && !answer) return html`<${Trouble} error=${error} />`;
  return html`<div class="bar">
      <input id="search" type="search" placeholder="Find a name or a value" aria-label="Find a name or a value" value=${query.get("q") ?? ""} onInput=${(event) => changeQuery({ q: event.target.value })} />
      <label class="check"><input type="checkbox" checked=${!isAll} onChange=${() => changeQuery({ all: isAll ? null : "1" })} />Only what differs</label>
      <span class="grow"></span><span class="quiet" role="status">${answer ? toldOf(lines, answer) : ""}</span>
    </div>
    ${answer ? html`<${ValuesTable} lines=${lines} runs=${shown} />` : html`<div class="sheet"><span class="skeleton"></span></div>`}`;
}

/** @param {TableLine[]} lines @param {any} answer */
function toldOf(lines, answer) {
  const left = PARTS.reduce((total, [part]) => total + answer[part].left_out, 0);
  return `${countText(lines.filter((line) => !line.isTitle).length)} shown${left ? `, ${countText(left)} left out` : ""}`;
}

/** The lines of all parts that are searched for, with a title before each part. @param {any} answer @param {string} search @param {boolean} isAll @returns {TableLine[]} */
function linesIn(answer, search, isAll) {
  return PARTS.flatMap(([part, title]) => {
    const { names, values, differs, equal } = answer[part];
    const total = isAll ? names.length : names.length + equal;
    const different = differs.filter(Boolean).length;
    const found = names.map((name, at) => ({ part, name, values: values[at] }));
    const wanted = search ? found.filter((line) => line.name.toLowerCase().includes(search) || line.values.some((value) => value !== null && String(value).toLowerCase().includes(search))) : found;
    const text = answer[part].told ?? (!total ? `nothing was recorded${HOW_TO_RECORD[part] ?? ""}` : !different ? `all ${countText(total)} are equal` : `${countText(different)} of ${countText(total)} differ`);
    return [{ part, name: title, values: [], isTitle: true, text }, ...wanted];
  });
}

/** @param {{ lines: TableLine[], runs: { at: number, run: any }[] }} props */
function ValuesTable({ lines, runs }) {
  const box = useRef(null);
  const size = useSize(box);
  const [view, setView] = useState({ top: 0, left: 0 });
  const nameWidth = Math.round(Math.min(NAME_WIDTH, size.width * 0.4));
  const first = Math.max(0, Math.floor(view.top / LINE_HEIGHT) - EXTRA_LINES);
  const last = Math.min(lines.length, Math.ceil((view.top + size.height) / LINE_HEIGHT) + EXTRA_LINES);
  const from = Math.max(0, Math.floor(view.left / CELL_WIDTH) - EXTRA_CELLS);
  const to = Math.min(runs.length, Math.ceil((view.left + size.width - nameWidth) / CELL_WIDTH) + EXTRA_CELLS);
  const seen = runs.slice(from, Math.max(from, to));
  const width = nameWidth + runs.length * CELL_WIDTH;
  const place = (at) => ({ left: `${nameWidth + at * CELL_WIDTH}px`, width: `${CELL_WIDTH}px` });
  return html`<div class="values" ref=${box} role="table" aria-label="What differs" aria-rowcount=${lines.length + 1} aria-colcount=${runs.length + 1} tabindex="0" style=${{ "--name-width": `${nameWidth}px` }}
    onScroll=${(event) => setView({ top: event.currentTarget.scrollTop, left: event.currentTarget.scrollLeft })}>
    <div role="rowgroup" class="values-head" style=${{ width: `${width}px` }}><div role="row" aria-rowindex="1">
      <span role="columnheader" aria-colindex="1" class="name">Name</span>
      ${seen.map(({ run }, index) => html`<span role="columnheader" aria-colindex=${from + index + 2} class="value" key=${run.key} style=${place(from + index)} title=${run.row.id}><${Swatch} slot=${run.slot} /> <a href=${runHref(run.key)}>${runName(run.row)}</a></span>`)}
    </div></div>
    <div role="rowgroup" class="values-body" style=${{ width: `${width}px`, height: `${lines.length * LINE_HEIGHT}px` }}>
      ${lines.slice(first, last).map((line, index) => html`<div role="row" aria-rowindex=${first + index + 2} key=${`${line.part} ${line.isTitle ? "" : `.${line.name}`}`} class=${line.isTitle ? "title" : ""} style=${{ top: `${(first + index) * LINE_HEIGHT}px` }}>
        <span role="rowheader" aria-colindex="1" class="name" title=${line.name}>${line.name}${line.isTitle && html` <span class="quiet">${line.text}</span>`}</span>
        ${!line.isTitle && seen.map(({ at }, offset) => html`<${ValueCell} key=${at} value=${line.values[at]} usual=${usualOf(line)} index=${from + offset} place=${place(from + offset)} />`)}
      </div>`)}
    </div>
  </div>`;
}

/** @type {WeakMap<any[], any>} */
const usualValues = new WeakMap();

/** The value that more than half of the runs have; undefined if there is none. @param {TableLine} line */
function usualOf({ values }) {
  if (usualValues.has(values)) return usualValues.get(values);
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const [usual, count] = [...counts].reduce((best, each) => (each[1] > best[1] ? each : best), [undefined, 0]);
  usualValues.set(values, count > values.length / 2 ? usual : undefined);
  return usualValues.get(values);
}

/** @param {{ value: any, usual: any, index: number, place: any }} props */
function ValueCell({ value, usual, index, place }) {
  const isNumber = typeof value === "number";
  const text = value === null ? "–" : isNumber ? shortNumber(value) : String(value);
  return html`<span role="cell" aria-colindex=${index + 2} class=${`value cut ${isNumber ? "num" : ""} ${value === usual || value === null ? "quiet" : ""}`} style=${place}
    title=${value === null ? "this run has none" : String(value)} data-exact=${isNumber ? value : null}>${text}</span>`;
}
