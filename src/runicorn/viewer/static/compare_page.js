// @ts-check
/** The comparison of runs: their curves on top of each other, what differs, their code and their images. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, hrefOf, useAddress } from "./address.js";
import { ChartCard } from "./chart_card.js";
import { ChartLanes, ChartsBar, chartSettings, curveSettings, namePattern, namesIn, useChartKeys, viewSettings, wantedNames } from "./charts_tab.js";
import { CompareCode } from "./compare_code.js";
import { groupsOf, looksOf, shownOf } from "./compare_groups.js";
import { CompareImages } from "./compare_images.js";
import { CompareLegend, GroupChoice } from "./compare_legend.js";
import { CompareTable } from "./compare_table.js";
import { countOf, countText } from "./format.js";
import { useLive } from "./live.js";
import { Trouble, useDark, useKeys } from "./parts.js";
import { ReportHint } from "./show_others.js";
import { source } from "./source.js";

const MOST_COMPARED = 500;
const MOST_COMPARED_METRICS = 10_000;
const SYSTEM_METRICS = "system/";
const OPEN_STATUSES = ["running", "lost", "unknown"];
const AGAIN_AFTER_MS = 3000;
const COMPARE_TABS = [["charts", "Charts"], ["differences", "Differences"], ["code", "Code"], ["images", "Images"]].filter(([id]) => id !== "code" || !source.report || Object.keys(source.report.places).some((place) => place.startsWith("compare/code")));

/** The runs of the address, each with the place that its colour is from; an empty place keeps those of the others. @param {string | null} text */
export function comparedRuns(text) {
  const places = (text ?? "").split(",");
  const seen = new Set();
  /** @type {{ key: string, slot: number }[]} */
  const found = [];
  places.forEach((key, slot) => {
    if (!key || seen.has(key)) return;
    seen.add(key);
    found.push({ key, slot });
  });
  return { runs: found.slice(0, MOST_COMPARED), left: Math.max(0, found.length - MOST_COMPARED) };
}

/** What differs between runs; asked for again when a run has another status. @param {string} keys @param {string} statuses */
function useCompared(keys, statuses) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const isOfThese = answer?.keys === keys;
  const isStale = !isOfThese || (statuses !== "" && statuses !== statusesOf(answer.runs));
  useEffect(() => {
    if (!keys || !isStale) return undefined;
    let isMine = true;
    const ask = () => source.get(`compare?differing=1&runs=${encodeURIComponent(keys)}`).then((told) => isMine && (setAnswer({ ...told, keys }), setError(null)), (problem) => isMine && setError(problem));
    const timer = setTimeout(ask, isOfThese ? AGAIN_AFTER_MS : 0);
    return () => {
      isMine = false;
      clearTimeout(timer);
    };
  }, [keys, isStale, isOfThese ? answer : null]);
  return { answer, error };
}

/** @param {any[]} rows */
function statusesOf(rows) {
  return rows.map((row) => row.status).join();
}

/** The rows of the runs as they are now, and how far each was read. @param {string[]} keys @param {any} answer */
function useComparedRows(keys, answer) {
  const [rows, setRows] = useState(/** @type {Map<string, any>} */ (new Map()));
  const [versions, setVersions] = useState(/** @type {Record<string, string>} */ ({}));
  const [indexed, setIndexed] = useState(/** @type {Record<string, number>} */ ({}));
  const [gone, setGone] = useState(/** @type {string[]} */ ([]));
  useEffect(() => void (answer && setRows((before) => new Map([...before, ...answer.runs.map((row) => [row.key, row])]))), [answer]);
  const isOpen = (key) => OPEN_STATUSES.includes(rows.get(key)?.status) || (indexed[key] ?? 1) < 1;
  useLive({ list: true, runs: keys.filter(isOpen) }, (name, data) => {
    if (name === "gone" && keys.includes(data.key)) setGone((before) => [...new Set([...before, data.key])]);
    if (name === "run" && keys.includes(data.key)) {
      setRows((before) => new Map(before).set(data.key, data.row));
      setVersions((before) => (before[data.key] === data.version ? before : { ...before, [data.key]: data.version }));
      setIndexed((before) => (before[data.key] === data.indexed ? before : { ...before, [data.key]: data.indexed }));
    }
    if (name !== "runs") return;
    const removed = (data.removed ?? []).filter((key) => keys.includes(key));
    if (removed.length) setGone((before) => [...new Set([...before, ...removed])]);
    const changed = data.columns.key.map((key, at) => [key, Object.fromEntries(Object.entries(data.columns).map(([column, cells]) => [column, cells[at]]))]);
    const ours = changed.filter(([key]) => keys.includes(key));
    if (!ours.length) return;
    setRows((before) => new Map([...before, ...ours]));
    setGone((before) => before.filter((key) => !ours.some(([other]) => other === key))); // it was put back
  });
  /** What the stream tells of an open run is newer. @param {any} told */
  const hearVersions = (told) => {
    const newer = (before, given) => ({ ...before, ...Object.fromEntries(Object.entries(given).filter(([key]) => !isOpen(key) || before[key] === undefined)) });
    setVersions((before) => newer(before, told.versions));
    setIndexed((before) => newer(before, told.indexed));
  };
  return { rows, versions, indexed, hearVersions, gone };
}

/** The metrics that any of the runs has. @param {string} keys @param {string} search @param {string} stamp @param {(told: any) => void} hear */
function useComparedMetrics(keys, search, stamp, hear) {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  useEffect(() => {
    if (!keys) return undefined;
    let isMine = true;
    const take = (told) => {
      if (!isMine) return;
      setAnswer(told);
      hear(told);
    };
    const ask = () => source.get(`compare/metrics?limit=${MOST_COMPARED_METRICS}${search}&runs=${encodeURIComponent(keys)}`).then(take, (problem) => isMine && setError(problem));
    const timer = setTimeout(ask, answer ? AGAIN_AFTER_MS / 2 : 0);
    return () => {
      isMine = false;
      clearTimeout(timer);
    };
  }, [keys, search, stamp]);
  return { answer, error };
}

/** The page. */
export function ComparePage() {
  const { query } = useAddress();
  const { runs, left } = useMemo(() => comparedRuns(query.get("runs")), [query.get("runs")]);
  useEffect(() => void (document.title = `Compare ${countOf(runs.length, "run")} · Runicorn`), [runs.length]);
  if (!runs.length) return html`<${NothingCompared} />`;
  return html`<${Comparison} runs=${runs} left=${left} query=${query} />`;
}

function NothingCompared() {
  useKeys({});
  return html`<main id="main" class="empty"><h1 class="hidden-text">Comparison</h1><h2>No runs are chosen</h2>
    <p>Select runs in the <a href=${hrefOf("")}>table of runs</a> (<kbd>x</kbd>, or the box of a row), then <kbd>c</kbd> or <b>Compare</b>.</p></main>`;
}

/** @param {{ runs: { key: string, slot: number }[], left: number, query: URLSearchParams }} props */
function Comparison({ runs, left, query }) {
  const keys = useMemo(() => runs.map((run) => run.key), [runs]);
  const [statuses, setStatuses] = useState("");
  const { answer, error } = useCompared(keys.join(","), statuses);
  const live = useComparedRows(keys, answer);
  const tab = COMPARE_TABS.some(([id]) => id === query.get("tab")) ? query.get("tab") : "charts";
  const lost = [...new Set([...(answer?.unknown ?? []), ...live.gone])].filter((key) => keys.includes(key));
  const compared = useMemo(() => runs.filter((run) => live.rows.has(run.key) && !live.gone.includes(run.key)).map((run) => ({ ...run, row: live.rows.get(run.key) })), [runs, live.rows, live.gone]);
  const [search, setSearch] = useState("");
  const stamp = useSlow(JSON.stringify(compared.map((run) => [run.row.last_data_at, live.indexed[run.key]])));
  const here = tab === "charts" && answer ? compared.map((run) => run.key).join(",") : "";
  const { answer: metrics, error: metricsError } = useComparedMetrics(here, search, stamp, live.hearVersions);
  useEffect(() => setStatuses(statusesOf(compared.map((run) => run.row))), [compared]);
  const tabHref = (id) => hrefOf("compare", { ...Object.fromEntries(query), tab: id === "charts" ? null : id });
  if (error && !answer) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  // What the settings of all charts have to know of the runs.
  const head = { metrics: metrics?.total ?? 0, system_metrics: 0, stages: [], ranks: metrics?.ranks ?? [], resumed: compared.filter((run) => run.row.resumed) };
  const isBare = answer && !compared.length && !answer.runs.length;
  return html`<main id="main" class="compare">
    <div class="tabs">
      <h1>${countOf(answer ? compared.length : runs.length, "run")}</h1>
      <nav aria-label="Parts of the comparison">${COMPARE_TABS.map(([id, text]) => html`<a key=${id} class="tab" href=${tabHref(id)} aria-current=${id === tab ? "page" : null}>${text}</a>`)}</nav>
      <span class="grow"></span>
      ${tab === "charts" && answer && html`<${ChartsBar} head=${head} query=${query} isSystem=${false} /><${GroupChoice} query=${query} answer=${answer} />`}
      <${ReportHint} runs=${compared.map((run) => run.row)} />
    </div>
    <${Missing} lost=${lost} left=${left} total=${runs.length} />
    ${isBare && html`<p class="empty quiet">None of these runs was found. <a href=${hrefOf("")}>To the runs</a></p>`}
    ${answer && compared.length > 0 && tab === "charts" && html`<${CompareCharts} ...${{ compared, answer, query, live, metrics, setSearch, error: metricsError }} />`}
    ${answer && compared.length > 0 && tab === "differences" && html`<${CompareTable} ...${{ compared, query, answer }} />`}
    ${answer && compared.length > 0 && tab === "code" && html`<${CompareCode} ...${{ compared, query, answer }} />`}
    ${answer && compared.length > 0 && tab === "images" && html`<${CompareImages} ...${{ compared, query, versions: live.versions }} />`}
    ${!answer && html`<div class="sheet"><span class="skeleton"></span></div>`}
  </main>`;
}

/** What the address names and is not shown. @param {{ lost: string[], left: number, total: number }} props */
function Missing({ lost, left, total }) {
  if (!lost.length && !left) return null;
  const named = lost.slice(0, 5).join(", ") + (lost.length > 5 ? ` and ${countText(lost.length - 5)} more` : "");
  return html`<p class="missing" role="status">
    ${lost.length > 0 && html`<span class="warn">${lost.length === 1 ? "One run of the address was" : `${countText(lost.length)} runs of the address were`} not found:</span> ${named}. `}
    ${left > 0 && html`<span class="warn">${countText(total + left)} runs are named; the first ${countText(MOST_COMPARED)} are compared.</span>`}
  </p>`;
}

/** @param {any} props */
function CompareCharts({ compared, answer, query, live, metrics, setSearch, error }) {
  const chosen = chartSettings(query);
  const isMany = metrics && metrics.total > MOST_COMPARED_METRICS;
  useEffect(() => void (isMany && setSearch(chosen.search ? `&q=${encodeURIComponent(chosen.search)}${chosen.isRegex ? "&regex=1" : ""}` : "")), [isMany, chosen.search, chosen.isRegex]);
  const pattern = useMemo(() => namePattern(chosen.search, chosen.isRegex), [chosen.search, chosen.isRegex]);
  const names = useMemo(() => (metrics?.metrics ?? []).filter((name) => !name.startsWith(SYSTEM_METRICS)), [metrics?.metrics.join("\n")]);
  const wanted = useMemo(() => wantedNames(names, chosen, pattern), [names, pattern, chosen.only, chosen.hidden.join()]);
  const by = query.get("group") ?? "";
  const groups = useMemo(() => (by ? groupsOf(compared, answer, by) : null), [compared, answer, by]);
  const picked = { off: namesIn(query.get("off")), top: namesIn(query.get("top")), solo: query.get("solo") };
  const owners = useMemo(() => looksOf(groups, compared, picked.top), [groups, compared.map((run) => `${run.key} ${run.row.alias}`).join(), picked.top.join()]);
  const shown = useMemo(() => shownOf(owners, picked), [owners, picked.off.join(), picked.solo]);
  const looks = useMemo(() => new Map(shown.map((owner) => [owner.id, owner])), [shown]);
  const dark = useDark();
  useChartKeys(chosen);
  const wish = { ...(groups ? { groups: shown.map((owner) => ({ name: owner.id, runs: owner.runs })) } : { runs: shown.map((owner) => owner.id) }), ...curveSettings(chosen) };
  const primary = useMemo(() => [...new Set(compared.map((run) => run.row.best_metric_name).filter(Boolean))].slice(0, 3), [compared.length, answer]);
  const band = query.get("band") === "minmax" ? "minmax" : "std";
  const card = (metric, actions) => html`<${ChartCard} key=${metric} ...${{
    metric,
    name: "compare",
    wish,
    versions: live.versions,
    looks,
    view: { ...viewSettings(chosen, metric), dark, stages: [], best: null, band: groups ? band : "minmax" },
    isPinned: chosen.pinned.includes(metric),
    isOnly: chosen.only === metric,
    actions,
  }} />`;
  return html`<${CompareLegend} ...${{ owners, groups, compared, answer, picked, query }} />
    ${error && !metrics && html`<${Trouble} error=${error} />`}
    <div class="charts">
      <h2 class="hidden-text">Charts</h2>
      ${metrics && !names.length && html`<p class="quiet">These runs have logged no metric.</p>`}
      ${names.length > 0 && !wanted.length && html`<p class="quiet">No metric of ${countText(names.length)} has such a name.</p>`}
      <${ChartLanes} ...${{ names: metrics ? wanted : null, guess: Math.min(wanted.length || 6, 12), primary, chosen, isSystem: false, card }} />
    </div>`;
}

/** A text that changes at most every few seconds. @param {string} text */
function useSlow(text) {
  const [slow, setSlow] = useState(text);
  const timer = useRef(undefined);
  const latest = useRef(text);
  latest.current = text;
  useEffect(() => {
    if (text === slow || timer.current !== undefined) return;
    timer.current = window.setTimeout(() => {
      timer.current = undefined;
      setSlow(latest.current);
    }, AGAIN_AFTER_MS);
  }, [text, slow]);
  useEffect(() => () => clearTimeout(timer.current), []);
  return slow;
}
