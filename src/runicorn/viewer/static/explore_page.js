// @ts-check
/** The Explore page: config and summary of many runs against a result; brushes choose runs, and the table shows those. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, goTo, hrefOf, runHref, useAddress } from "./address.js";
import { EXPLORE_FACTS, brushIn, brushText, brushWords, brushedRuns, exploreAxis, exploreColumn, fieldName, axisNamesIn, axisNamesText, notShownText, scaleText } from "./explore_axes.js";
import { ImportanceTable, useConfigCells, useImportances } from "./explore_importance.js";
import { ParallelPlot } from "./explore_lines.js";
import { exploreColours, rampGround } from "./explore_paint.js";
import { ScatterPlot } from "./explore_scatter.js";
import { askedRuns, columnOf, inOrder, parseFilter } from "./filter.js";
import { countOf, countText } from "./format.js";
import { serverNow } from "./live.js";
import { Popover, Trouble, useDark, useKeys } from "./parts.js";
import { RunsTable, STATUSES, listOf, useOtherColumns, useRuns } from "./runs_page.js";

const FIRST_AXES = 8;
const MOST_AXES = 24;
const KEEP_BRUSH_MS = 250;
const MOST_NAMED_RUNS = 500;
const BRUSH = "b.";
const NOT_IN_TABLE = ["path", "trend", "step", "last", "age", "took", "tags"];
const HALF_CHARACTER = /\p{Surrogate}/u;

/** What the address has chosen, and what stands for what it has not. @param {URLSearchParams} query @param {any[]} fields @param {boolean} hasBest whether a run has a best value */
function exploreChoice(query, fields, hasBest) {
  const names = fields.map((each) => each.name);
  const facts = EXPLORE_FACTS.map((each) => each[0]);
  const resolved = (name) => [columnOf(name, names)].find((each) => names.includes(each) || facts.includes(each)) ?? null;
  const differing = fields.filter((each) => each.differs && each.name.startsWith("config."));
  const numbers = fields.filter((each) => each.differs && each.numbers * 2 > each.runs);
  const numeric = differing.find((each) => each.numbers * 2 > each.runs) ?? differing[0];
  const result = hasBest ? "best_metric_value" : numbers.find((each) => each.name.startsWith("summary."))?.name;
  const chosen = (name) => resolved(query.get(name) ?? "");
  const x = chosen("x") ?? numeric?.name ?? "created_at";
  const y = chosen("y") ?? result ?? "duration_s";
  const named = axisNamesIn(query.get("axes")).map(resolved).filter((each) => each !== null);
  const axes = named.length ? named : [...differing.slice(0, FIRST_AXES).map((each) => each.name), y];
  const brushed = [...query].filter(([name]) => name.startsWith(BRUSH)).map(([name, text]) => ({ id: resolved(name.slice(BRUSH.length)), name, text }));
  const brushes = brushed.filter((each) => each.id !== null);
  return { x, y, colour: chosen("colour") ?? y, axes: [...new Set(axes)].slice(0, MOST_AXES), brushes, resolved, log: axisNamesIn(query.get("log")).map(resolved), linear: axisNamesIn(query.get("linear")).map(resolved) };
}

/** Brushes of the address; what is being moved is ahead of it, for a browser counts how often the address changes. */
function useDraft(/** @type {{ id: string, name: string }[]} */ named) {
  const [draft, setDraft] = useState(/** @type {Map<string, any>} */ (new Map()));
  const timer = useRef(0);
  const pending = useRef(/** @type {Record<string, string | null>} */ ({}));
  const keep = () => {
    clearTimeout(timer.current);
    const changes = pending.current;
    pending.current = {};
    if (Object.keys(changes).length) changeQuery(changes);
    setDraft(new Map());
  };
  const setBrush = (axis, brush, isDone) => {
    if (!axis.shown && brush) return;
    clearTimeout(timer.current);
    // An address that a person wrote may have the column by a shorter name.
    for (const { id, name } of named) if (id === axis.column.id) pending.current[name] = null;
    pending.current[BRUSH + axis.column.address] = (brush && brushText(axis, brush)) || null;
    setDraft((before) => new Map(before).set(axis.column.id, brush));
    timer.current = window.setTimeout(keep, isDone ? 0 : KEEP_BRUSH_MS);
  };
  useEffect(() => keep, []);
  return { draft, setBrush };
}

/** @param {any} choice every column that it takes */
function columnsOf(choice) {
  return [...new Set([choice.x, choice.y, choice.colour, ...choice.axes, ...choice.brushes.map((each) => each.id)])];
}

/** The page: it stands still until it has what the address names, at its start and after each choice. */
export function ExplorePage() {
  const { query } = useAddress();
  const [added, setAdded] = useState(0);
  const others = useOtherColumns(added);
  const noColumns = useRef(others);
  const fields = useMemo(() => others.filter((each) => !HALF_CHARACTER.test(each.name)), [others]);
  const names = useMemo(() => fields.map((each) => each.name), [fields]);
  const filterText = query.get("q") ?? "";
  const filter = useMemo(() => parseFilter(filterText), [filterText]);
  const [hasBest, setHasBest] = useState(true);
  const wish = useMemo(() => exploreChoice(query, fields, hasBest), [query.toString(), fields, hasBest]);
  const order = query.get("sort") ?? (wish.y === "best_metric_value" ? "best" : "-created_at");
  const asked = [...filter.conditions.map((each) => columnOf(each.name, names)), ...order.split(",").map((part) => columnOf(part.replace(/^-/, ""), names))];
  const wanted = [...new Set([...columnsOf(wish), ...asked])].filter((name) => names.includes(name)).sort();
  const { rows, error } = useRuns(wanted);
  const all = useMemo(() => [...(rows?.values() ?? [])], [rows]);
  useEffect(() => void (rows && setHasBest(all.some((run) => run.best_metric_name))), [all]);
  const counted = useRef(-1);
  useEffect(() => {
    // A run that has come may have fields that none had.
    if (counted.current >= 0 && counted.current !== all.length) setAdded((before) => before + 1);
    counted.current = rows ? all.length : -1;
  }, [all]);
  const settled = useRef(/** @type {any} */ (null));
  const isBestKnown = hasBest === all.some((run) => run.best_metric_name);
  if (rows && others !== noColumns.current && isBestKnown && wanted.every((name) => name in all[0])) settled.current = wish;
  useEffect(() => void (document.title = "Explore · Runicorn"), []);
  if (error && !rows) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  if (rows && !rows.size) return html`<main id="main" class="empty"><h2>No runs here yet</h2><p><a href=${hrefOf("")}>To the runs</a></p></main>`;
  if (!settled.current) return html`<main id="main" class="explore" aria-busy="true"><div class="bar"></div></main>`;
  return html`<${ExploreBody} ...${{ query, fields, names, filter, order, rows, all, wish, choice: settled.current }} />`;
}

/** What the page shows of runs and a choice; `wish` is what is chosen, while its values are on their way. @param {any} props */
function ExploreBody({ query, fields, names, filter, order, rows, all, wish: wished, choice }) {
  const isDark = useDark();
  const used = columnsOf(choice);
  const status = listOf(query.get("status"));
  const named = query.get("runs");
  const within = useMemo(() => askedRuns(all, { path: query.get("path") ?? "", status, only: named ?? query.get("only"), filter }, names, serverNow()), [all, query.get("path"), status.join(), named, query.get("only"), filter, names]);
  // What a run that goes on has reached is not its result yet.
  const runs = useMemo(() => (named || status.length ? within : within.filter((run) => run.status !== "running")), [within, named, status.join()]);
  const metric = useMemo(() => commonest(runs.map((run) => run.best_metric_name)), [runs]);
  const axes = useMemo(() => {
    const wish = (id) => (choice.log.includes(id) ? true : choice.linear.includes(id) ? false : null);
    return new Map(used.map((id) => [id, exploreAxis(exploreColumn(id, metric), runs, wish(id))]));
  }, [runs, metric, used.join("\n"), choice.log.join("\n"), choice.linear.join("\n")]);
  const axisOf = (id) => /** @type {import("./explore_axes.js").ExploreAxis} */ (axes.get(id));
  const { draft, setBrush } = useDraft(choice.brushes);
  const brushes = useMemo(() => {
    const found = new Map(choice.brushes.map(({ id, text }) => [id, brushIn(text, axisOf(id))]));
    for (const [id, brush] of draft) if (axes.has(id)) found.set(id, brush);
    return new Map([...found].filter(([, brush]) => brush));
  }, [axes, choice, draft]);
  const kept = useMemo(() => brushedRuns(runs.length, [...brushes].map(([id, brush]) => ({ axis: axisOf(id), brush }))), [runs, axes, brushes]);
  const shown = useMemo(() => inOrder(runs.filter((_, index) => kept[index]), order, names), [runs, kept, order, names]);
  const colours = useMemo(() => exploreColours(axisOf(choice.colour), isDark), [axes, choice.colour, isDark]);
  const lines = useMemo(() => choice.axes.map(axisOf), [axes, choice.axes.join("\n")]);
  const [lit, setLit] = useState("");
  const [chosen, setChosen] = useState(/** @type {Set<string>} */ (new Set()));
  const at = useMemo(() => runs.findIndex((run) => run.key === lit), [runs, lit]);
  const config = useMemo(() => fields.filter((each) => each.name.startsWith("config.") && each.differs).map((each) => each.name), [fields]);
  const constant = fields.filter((each) => each.name.startsWith("config.") && !each.differs).length;
  const cells = useConfigCells(config, rows);
  const found = useImportances(config, cells, runs, axisOf(choice.y).column);
  useKeys({ "/": () => document.getElementById("search")?.focus(), c: () => chosen.size > 1 && goTo(hrefOf("compare", { runs: [...chosen].join(",") })) });
  const put = (role, id) => changeQuery({ [role]: exploreColumn(id, metric).address });
  const setLog = (axis, isLog) => changeQuery({ log: axisNamesText(flippedTo(axisNamesIn(query.get("log")), axis, isLog, choice)), linear: axisNamesText(flippedTo(axisNamesIn(query.get("linear")), axis, !isLog, choice)) });
  const setAxes = (ids) => changeQuery({ axes: axisNamesText(ids.map((id) => exploreColumn(id, metric).address)) });
  const change = {
    move: (from, to) => from !== to && setAxes(moved(choice.axes, from, to)),
    take: (index) => choice.axes.length > 1 && setAxes(choice.axes.filter((_, each) => each !== index)),
    log: (axis) => setLog(axis, !axis.isLog),
    as: (role, axis) => put(role, axis.column.id),
  };
  const plot = { runs, colours, kept, brushes, setBrush, lit: at, setLit: (index) => setLit(runs[index]?.key ?? ""), openRun: (index) => goTo(runHref(runs[index].key)), isDark };
  const [x, y, colour] = [choice.x, choice.y, choice.colour].map(axisOf);
  const inTable = used.filter((id) => names.includes(id));
  return html`<main id="main" class="explore">
    <h1 class="hidden-text">Explore</h1>
    <${ExploreBar} ...${{ query, all, within, runs, shown, brushes, axes, named, status, chosen, setChosen, clear: (ids) => ids.forEach((id) => setBrush(axisOf(id), null, true)) }} />
    <div class="explore-top">
      <section aria-label="Points" class="explore-points">
        <div class="explore-tools">
          ${[["x", x], ["y", y], ["colour", colour]].map(([role, axis]) => html`<${ColumnPick} key=${role} ...${{ role, axis, value: wished[role], fields, runs: all, put, setLog, hasLog: role !== "colour" }} />`)}
          <${ColourKey} axis=${colour} colours=${colours} isDark=${isDark} />
        </div>
        <${ScatterPlot} ...${plot} x=${x} y=${y} />
        <p class="foot">${plottedText(runs, x, y)}</p>
      </section>
      <${ImportanceTable} found=${found} result=${y.column.name} constant=${constant} choose=${(name) => put("x", name)} />
    </div>
    <section aria-label="Lines">
      <div class="explore-tools"><h2>Parallel coordinates</h2>
        <span class="quiet wide-only">Drag on an axis to choose runs, drag its name to move it.</span><span class="grow"></span>
        <${AxesPick} ...${{ fields, axes: wished.axes, setAxes }} /></div>
      <${ParallelPlot} ...${plot} axes=${lines} change=${change} />
    </section>
    <${AxesTable} axes=${[...axes.values()]} brushes=${brushes} runs=${runs.length} />
    <div class="explore-runs">
      <${RunsTable} ...${{ all: runs, runs: shown, chosen, setChosen, order, chosenColumns: inTable, otherNames: names, hidden: NOT_IN_TABLE, path: "", lit, setLit }} />
    </div>
  </main>`;
}

/** @param {(string | null)[]} names */
function commonest(names) {
  const counts = new Map();
  for (const name of names) if (name) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].sort((first, second) => second[1] - first[1])[0]?.[0] ?? "";
}

/** @param {string[]} ids @param {number} from @param {number} to */
function moved(ids, from, to) {
  const next = ids.filter((_, index) => index !== from);
  next.splice(to, 0, ids[from]);
  return next;
}

/** A list of names with that of an axis in it, or not. @param {string[]} names @param {any} axis @param {boolean} isIn @param {any} choice */
function flippedTo(names, axis, isIn, choice) {
  const rest = names.filter((name) => choice.resolved(name) !== axis.column.id);
  return isIn ? [...rest, axis.column.address] : rest;
}

/** How many points there are, and why the others are none. @param {any[]} runs @param {any} x @param {any} y */
function plottedText(runs, x, y) {
  const count = x.shares.filter((share, index) => !Number.isNaN(share + y.shares[index])).length;
  const why = [x, y].filter((axis, index, both) => notShownText(axis) && both.indexOf(axis) === index).map((axis) => `${axis.column.name}: ${notShownText(axis)}`);
  return `${countText(count)} of ${countOf(runs.length, "run")}${why.length ? ` · ${why.join(" · ")}` : ""}`;
}

/** @param {any} props */
function ExploreBar({ query, all, within, runs, shown, brushes, axes, named, status, chosen, setChosen, clear }) {
  const counts = new Map();
  for (const run of all) counts.set(run.status, (counts.get(run.status) ?? 0) + 1);
  const isOn = (name) => (status.length ? status.includes(name) : Boolean(named) || name !== "running");
  const toggle = (name) => {
    const before = STATUSES.filter((each) => counts.has(each) && isOn(each));
    changeQuery({ status: (isOn(name) ? before.filter((each) => each !== name) : [...before, name]).join(",") });
  };
  const absent = useMemo(() => {
    const keys = new Set(all.map((run) => run.key));
    return named ? [...new Set(named.split(","))].filter((key) => !keys.has(key)).length : 0;
  }, [named, all]);
  const left = within.length - runs.length;
  return html`<div class="bar" role="search">
    <input id="search" type="search" placeholder="Search, or lr<1e-3 status=failed" aria-label="Search runs" value=${query.get("q") ?? ""}
      onInput=${(event) => changeQuery({ q: event.target.value })} onKeyDown=${(event) => event.key === "Escape" && event.target.blur()} />
    ${!chosen.size && html`<span class="wide-only">${STATUSES.filter((name) => counts.has(name)).map((name) => html`<button key=${name} aria-pressed=${String(isOn(name))} onClick=${() => toggle(name)}>
      <span class=${`status ${name}`}>${name}</span> <span class="quiet">${countText(counts.get(name))}</span></button>`)}</span>`}
    ${chosen.size > 0 && html`<span>${countText(chosen.size)} selected
      ${chosen.size > 1 && chosen.size <= MOST_NAMED_RUNS && html`<a class="as-button" href=${hrefOf("compare", { runs: [...chosen].join(",") })}>Compare</a>`}
      ${chosen.size <= MOST_NAMED_RUNS && html`<button onClick=${() => changeQuery({ runs: [...chosen].join(",") }, true)}>Only these</button>`}
      <button onClick=${() => setChosen(new Set())}>Clear</button></span>`}
    ${[...brushes].map(([id, brush]) => html`<span class="chip cut" key=${id}>${axes.get(id).column.name} ${brushWords(axes.get(id), brush)}
      <button aria-label=${`Remove the brush of ${axes.get(id).column.name}`} onClick=${() => clear([id])}>×</button></span>`)}
    <span class="grow"></span>
    ${left > 0 && html`<span class="quiet wide-only">${countOf(left, "running run")} left out</span>`}
    ${absent > 0 && html`<span class="bad wide-only">${countOf(absent, "run")} of the address not found</span>`}
    <span class="quiet" aria-live="polite">${shown.length !== runs.length ? `${countText(shown.length)} of ${countOf(runs.length, "run")}` : countOf(runs.length, "run")}</span>
    ${brushes.size > 0 && html`<button onClick=${() => clear([...brushes.keys()])}>Clear brushes</button>`}
    ${(query.get("q") || named || status.length > 0 || query.get("path") || query.get("only")) && html`<button onClick=${() => changeQuery({ q: null, status: null, only: null, path: null, runs: null })}>All runs</button>`}
  </div>`;
}

/** Which column a role has, and whether its axis is a log one. @param {any} props */
function ColumnPick({ role, axis, value, fields, runs, put, setLog, hasLog }) {
  const groups = [["Config", "config."], ["Summary", "summary."]].map(([title, start]) => ({ title, listed: fields.filter((each) => each.name.startsWith(start) && !/^summary\.best_metric_/.test(each.name)) }));
  const facts = EXPLORE_FACTS.filter(([id]) => runs.some((run) => run[id] !== null && run[id] !== undefined && run[id] !== "") || id === value);
  return html`<label class="pick"><span class="quiet">${role}</span>
    <select aria-label=${role} value=${value} onChange=${(event) => put(role, event.target.value)}>
      <optgroup label="Run">${facts.map(([id, name]) => html`<option value=${id}>${id === axis.column.id ? axis.column.name : name}</option>`)}</optgroup>
      ${groups.filter((each) => each.listed.length).map(({ title, listed }) => html`<optgroup label=${title}>${listed.map((each) => html`<option value=${each.name}>${fieldName(each.name)}</option>`)}</optgroup>`)}
    </select></label>
    ${hasLog && !axis.isCategory && html`<label class="check"><input type="checkbox" aria-label=${`log ${role}`} checked=${axis.isLog} onChange=${(event) => setLog(axis, event.target.checked)} />log</label>`}`;
}

/** What the colours mean. @param {any} props */
function ColourKey({ axis, colours, isDark }) {
  const { isCategory, low, high, column, shown } = axis;
  if (!shown) return html`<span class="quiet">no values</span>`;
  if (!isCategory) {
    return html`<span class="colour-key"><span>${column.text(low)}</span><span class="ramp" style=${{ background: rampGround(isDark) }}></span><span>${column.text(high)}${axis.isLog ? " log" : ""}</span></span>`;
  }
  return html`<span class="colour-key cut">${colours.legend.map(({ text, colour, shape }) => html`<span key=${text} class="cut"><span class=${`dot shape${shape}`} style=${{ background: colour }}></span>${text}</span>`)}
    ${axis.categories.length > colours.legend.length && html`<span>and ${countText(axis.categories.length - colours.legend.length)} more, whose colours repeat</span>`}</span>`;
}

/** Which axes the lines have. @param {any} props */
function AxesPick({ fields, axes, setAxes }) {
  const [text, setText] = useState("");
  const all = [...EXPLORE_FACTS.map(([id, name]) => ({ name: id, label: name })), ...fields.map((each) => ({ name: each.name, label: each.name }))];
  const found = all.filter((each) => each.label.toLowerCase().includes(text.toLowerCase())).slice(0, 200);
  const flip = (name) => (axes.includes(name) ? axes.length > 1 && setAxes(axes.filter((each) => each !== name)) : setAxes([...axes, name].slice(0, MOST_AXES)));
  return html`<${Popover} label="Axes of the lines">
    <input type="search" aria-label="Find an axis" placeholder="Find an axis" value=${text} onInput=${(event) => setText(event.target.value)} />
    ${found.map((each) => html`<label class="check" key=${each.name}><input type="checkbox" checked=${axes.includes(each.name)} onChange=${() => flip(each.name)} /><span class="cut">${each.label}</span></label>`)}
  <//>`;
}

/** What is plotted, for who does not see it. The runs are in the table below. @param {any} props */
function AxesTable({ axes, brushes, runs }) {
  return html`<div class="hidden-text"><table class="figures">
    <caption>The axes of both plots, over ${countOf(runs, "run")}; the table that follows has the runs</caption>
    <thead><tr><th scope="col">Axis</th><th scope="col">Scale</th><th scope="col">From</th><th scope="col">To</th><th scope="col">Runs</th><th scope="col">Not shown</th><th scope="col">Brush</th></tr></thead>
    <tbody>${axes.map((axis) => html`<tr key=${axis.column.id}><th scope="row">${axis.column.name}</th><td>${scaleText(axis)}</td>
      <td>${axis.shown ? (axis.isCategory ? axis.categories[0] : axis.low) : ""}</td><td>${axis.shown ? (axis.isCategory ? axis.categories[axis.high] : axis.high) : ""}</td>
      <td>${axis.shown}</td><td>${notShownText(axis)}</td><td>${brushes.has(axis.column.id) ? brushWords(axis, brushes.get(axis.column.id)) : ""}</td></tr>`)}</tbody>
  </table></div>`;
}
