// @ts-check
/** The page of one run: its head, and its tabs. */
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, hrefOf, runHref, useAddress } from "./address.js";
import { AssetsTab } from "./assets_tab.js";
import { ChartsBar, ChartsTab } from "./charts_tab.js";
import { countOf, countText, momentText, shortNumber, stepText } from "./format.js";
import { ImagesTab } from "./images_tab.js";
import { useLive } from "./live.js";
import { LogsTab } from "./logs_tab.js";
import { Ago, Duration, Status, Trouble, runName, silence, useKeys, useTicking } from "./parts.js";
import { plainText } from "./problems_page.js";
import { RunNotes, RunTags, RunTitle, useRunEdits } from "./run_edits.js";
import { source } from "./source.js";

const HEAD_AGAIN_MS = 1500;

/** A run's head, kept up to date. @param {string} runKey */
function useRun(runKey) {
  const [head, setHead] = useState(null);
  const [error, setError] = useState(null);
  const [live, setLive] = useState(null);
  const timer = useRef(undefined);
  const load = () => source.get(`runs/${encodeURIComponent(runKey)}`).then((answer) => { setHead(answer); setError(null); }, setError);
  useEffect(() => {
    load();
    return () => clearTimeout(timer.current);
  }, [runKey]);
  useLive({ runs: [runKey] }, (name, data) => {
    if (name === "again") load();
    if (name === "edited") load().then(() => setLive(null));
    if (name === "gone" && data.key === runKey) setError({ message: "This run is not there any more.", hint: "It was removed, or moved." });
    if (name !== "run" || data.key !== runKey) return;
    setLive(data);
    // The names of metrics, the stages and the counts come with the head, which need not be asked for at every step.
    timer.current ??= window.setTimeout(() => {
      timer.current = undefined;
      load();
    }, HEAD_AGAIN_MS);
  });
  const row = live?.row ?? head?.run ?? null;
  return { head, row, error, version: live?.version ?? head?.version ?? "", indexed: Math.max(live?.indexed ?? 0, head?.indexed ?? 0) };
}

/** @param {{ runKey: string, tab: string }} props */
export function RunPage({ runKey, tab }) {
  const { query } = useAddress();
  const { head, row, error, version } = useRun(runKey);
  useEffect(() => void (document.title = `${row ? runName(row) : runKey} · Runicorn`), [row && runName(row)]);
  if (error && (!head || error.message?.startsWith("This run is not"))) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  const isCharts = tab === "charts" || tab === "system";
  return html`<main id="main">
    <${RunHead} head=${head} row=${row} runKey=${runKey} version=${version} />
    <div class="tabs">
      <nav aria-label="Parts of the run">${tabsOf(head).map(([id, text]) => html`<a key=${id} class="tab" href=${runHref(runKey, id)} aria-current=${id === tab ? "page" : null}>${text}</a>`)}</nav>
      <span class="grow"></span>
      ${isCharts && head && html`<${ChartsBar} head=${head} query=${query} isSystem=${tab === "system"} />`}
    </div>
    ${head && row && html`<${TabBody} ...${{ tab, head, row, version, query }} />`}
  </main>`;
}

/** @param {any} head */
function tabsOf(head) {
  const tabs = [["charts", "Charts"], ["summary", "Summary and config"]];
  if (!head || source.has(`runs/${encodeURIComponent(head.run.key)}/logs?source=0`)) tabs.push(["logs", "Logs"]);
  if (head?.images) tabs.push(["images", `Images ${countText(head.images)}`]);
  if (head?.assets) tabs.push(["assets", source.report ? "Code" : "Assets"]);
  if (head?.system_metrics) tabs.push(["system", "System"]);
  return tabs;
}

/** @param {any} props */
function TabBody({ tab, head, row, version, query }) {
  if (tab === "charts" || tab === "system") return html`<${ChartsTab} key=${tab} ...${{ head, row, version, query, isSystem: tab === "system" }} />`;
  if (tab === "summary") return html`<${FieldsTab} head=${head} row=${row} query=${query} />`;
  if (tab === "logs") return html`<${LogsTab} head=${head} row=${row} query=${query} />`;
  if (tab === "images") return html`<${ImagesTab} head=${head} row=${row} query=${query} />`;
  if (tab === "assets") return html`<${AssetsTab} head=${head} row=${row} query=${query} />`;
  return html`<p class="empty quiet">This run has no such part. <a href=${runHref(row.key)}>To its charts</a></p>`;
}

/** @param {{ head: any, row: any, runKey: string, version: string }} props */
function RunHead({ head, row, runKey }) {
  const edits = useRunEdits(row);
  if (!row) return html`<div class="run-head"><div class="run-line"><h1>${runKey}</h1></div><div class="facts"><span class="skeleton"></span></div></div>`;
  const problems = head?.problems ?? 0;
  return html`<div class="run-head">
    <div class="run-line">
      <${RunTitle} row=${row} edits=${edits} />
      <${Status} run=${row} />
      ${row.reason && html`<span class=${`cut ${row.status === "failed" ? "bad" : "quiet"}`} title=${row.reason}>${row.reason}</span>`}
      <${Silence} row=${row} />
      <span class="grow"></span><${RunTags} row=${row} edits=${edits} /><span class="run-edits wide-only">${edits.buttons}</span>
    </div>
    <div class="facts">
      ${row.path && html`<span>${source.has("runs") ? html`<a href=${hrefOf("", { path: row.path })}>${row.path}</a>` : row.path}</span>`}
      ${row.alias && html`<span>${row.id}</span>`}
      ${row.best_metric_value !== null && row.best_metric_value !== undefined && html`<span>best ${row.best_metric_name} <b title=${row.best_metric_value} data-exact=${row.best_metric_value}>${shortNumber(row.best_metric_value)}</b>${row.best_metric_step !== null ? ` at step ${stepText(row.best_metric_step)}` : ""}</span>`}
      ${row.last_step !== null && html`<span>step ${stepText(row.last_step)}</span>`}
      <span>started <${Ago} time=${row.started_at ?? row.created_at} /></span>
      <span>${row.status === "running" ? "running for" : "took"} <${Duration} run=${row} /></span>
      <${LastData} row=${row} />
      ${row.hostname && html`<span>on ${row.hostname}</span>`}
      ${row.resumed > 0 && html`<span>resumed ${row.resumed === 1 ? "once" : `${row.resumed} times`}</span>`}
      ${problems > 0 && html`<span><a class="bad" href=${runHref(row.key, "summary")}>${countOf(problems, "problem")}</a></span>`}
    </div>
    <${RunNotes} row=${row} edits=${edits} />
  </div>`;
}

/** @param {{ row: any }} props */
function Silence({ row }) {
  const text = useTicking(() => silence(row));
  return text ? html`<span class="quiet">${text}</span>` : null;
}

/** @param {{ row: any }} props */
function LastData({ row }) {
  if (row.last_data_at === null) return html`<span>no data yet</span>`;
  if (row.status !== "running" && row.status !== "lost") return null;
  return html`<span>last data <${Ago} time=${row.last_data_at} /></span>`;
}

/** @param {{ head: any, row: any, query: URLSearchParams }} props */
function FieldsTab({ head, row, query }) {
  const [parts, setParts] = useState(null);
  const search = (query.get("q") ?? "").toLowerCase();
  const place = `runs/${encodeURIComponent(row.key)}`;
  useEffect(() => {
    let isMine = true;
    const ask = (name) => (source.has(`${place}/${name}`) ? source.get(`${place}/${name}`).catch((error) => ({ error, fields: [] })) : { fields: [] });
    const ofTheStart = parts ? [parts.config, parts.environment] : [ask("config"), ask("environment")];
    Promise.all([...ofTheStart, ask("summary"), ask("problems")]).then(([config, environment, summary, problems]) => isMine && setParts({ config, summary, environment, problems }));
    return () => void (isMine = false);
  }, [row.key, head.version, row.status]);
  useKeys({ "/": () => document.getElementById("search")?.focus() });
  if (!parts) return html`<div class="sheet"><span class="skeleton"></span></div>`;
  const facts = [
    ["id", row.id], ["path", row.path], ["directory", head.run_dir], ["host", row.hostname], ["process", row.pid],
    ["created", momentText(row.created_at)], ["started", momentText(row.started_at)], ["ended", momentText(row.ended_at)],
    ["group", row.group], ["parent", row.parent], ["notes", row.notes], ["tags", (row.tags ?? []).join(", ")],
    ["resumed", (head.resumed ?? []).map((each) => resumeText(each)).join("\n")],
    ["ranks", (head.ranks ?? []).join(", ")], ["other processes", (head.producers ?? []).join(", ")],
    ["metrics", countText(head.metrics)], ["images", head.images ? countText(head.images) : ""],
  ].filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => ({ name, value, text: String(value) }));
  const own = parts.summary.fields.filter((each) => !each.name.startsWith("runicorn."));
  const cost = parts.summary.fields.filter((each) => each.name.startsWith("runicorn."));
  return html`<div class="bar"><input id="search" type="search" placeholder="Find a field" aria-label="Find a field" value=${query.get("q") ?? ""}
      onInput=${(event) => changeQuery({ q: event.target.value })} /></div>
    <div class="sheet">
      <${Fields} title="Summary" fields=${own} search=${search} none="No summary yet." />
      <${Fields} title="Config" fields=${parts.config.fields} search=${search} none="log_config() was not called." />
      <${Fields} title="Run" fields=${facts} search=${search} />
      <${RunProblems} problems=${parts.problems} />
      <${Fields} title="Environment" fields=${parts.environment.fields} search=${search} />
      <${Fields} title="What tracking has cost" fields=${cost} search=${search} />
    </div>`;
}

/** @param {any} resume */
function resumeText(resume) {
  const how = resume.continued ? "gone on with" : "resumed";
  return `${how} ${momentText(resume.time)}${resume.from_step === null || resume.from_step === undefined ? "" : ` from step ${stepText(resume.from_step)}`}`;
}

/** @param {{ title: string, fields: { name: string, value: any, text: string }[], search: string, none?: string }} props */
function Fields({ title, fields, search, none }) {
  const found = fields.filter((each) => !search || each.name.toLowerCase().includes(search) || each.text.toLowerCase().includes(search));
  if (!fields.length && !none) return null;
  return html`<section aria-label=${title}>
    <h2>${title} ${search && html`<span class="quiet">${countText(found.length)} of ${countText(fields.length)}</span>`}</h2>
    ${!fields.length && html`<p class="quiet">${none}</p>`}
    ${found.length > 0 && html`<table class="facts-table fields"><tbody>${found.slice(0, 2000).map((each) => html`<tr key=${each.name}><th scope="row">${each.name}</th><td>${fieldValue(each)}</td></tr>`)}</tbody></table>`}
    ${found.length > 2000 && html`<p class="quiet">and ${countText(found.length - 2000)} more: search for them</p>`}
  </section>`;
}

/** @param {{ value: any, text: string }} field */
function fieldValue({ value, text }) {
  if (typeof value === "number" && !Number.isInteger(value)) return html`<span title=${text} data-exact=${text}>${shortNumber(value)}</span>`;
  if (text.length > 200 || text.includes("\n")) return html`<div class="value-long" tabindex="0">${text}</div>`;
  return text;
}

/** @param {{ problems: any }} props */
function RunProblems({ problems }) {
  const lines = [
    problems.lost_records ? `${countOf(problems.lost_records, "record")} were not stored` : "",
    ...(problems.storage_errors ?? []).map(plainText),
    ...(problems.remarks ?? []).map(plainText),
    ...(problems.problems ?? []).slice(0, 200).map((each) => `${each.file}, byte ${countText(each.offset)}: ${each.reason}`),
  ].filter(Boolean);
  if (!lines.length) return null;
  return html`<section aria-label="Problems"><h2>Problems</h2><ul>${lines.map((line) => html`<li class="bad">${line}</li>`)}</ul>
    ${problems.count > 200 && html`<p class="quiet">${countText(problems.count)} in all</p>`}</section>`;
}
