// @ts-check
/** The page of problems: lost runs, leftovers, unreadable lines, storage errors, what tracking has cost. */
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { runHref } from "./address.js";
import { bytesText, countOf, spanText } from "./format.js";
import { useLive } from "./live.js";
import { Ago, Status, Trouble } from "./parts.js";
import { source } from "./source.js";

/** The page of problems. */
export function ProblemsPage() {
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState(null);
  const load = () => void source.get("problems").then(setAnswer, setError);
  useEffect(load, []);
  useEffect(() => void (document.title = "Problems · Runicorn"), []);
  useLive({ list: true }, (name) => (name === "runs" || name === "hello") && load());
  if (error && !answer) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  if (!answer) return html`<main id="main" class="sheet one"><span class="skeleton"></span></main>`;
  return html`<main id="main" class="sheet one">
    <h1 class="hidden-text">Problems</h1>
    <section>
      <h2>Runs with problems</h2>
      ${answer.runs.length ? html`<${RunsWithProblems} runs=${answer.runs} />` : html`<p class="quiet">None: every run could be read, and none is lost.</p>`}
    </section>
    <section>
      <h2>Left in memory by runs that are gone</h2>
      ${answer.leftovers.length ? html`<${Leftovers} leftovers=${answer.leftovers} />` : html`<p class="quiet">Nothing.</p>`}
    </section>
    <section>
      <h2>Status checker</h2>
      <p>${checkerText(answer.checker)} ${answer.checker?.looked_at && html`<span class="quiet">Last look: <${Ago} time=${answer.checker.looked_at} />.</span>`}</p>
      <ul>${(answer.checker?.troubles ?? []).map((each) => html`<li class="bad">${plainText(each)}</li>`)}</ul>
    </section>
    <section>
      <h2>What tracking has cost</h2>
      <p>${answer.cost?.runs ? `${spanText(answer.cost.seconds)} of the training processes' time, over ${countOf(answer.cost.runs, "run")}.` : html`<span class="quiet">No run has noted it yet.</span>`}</p>
    </section>
  </main>`;
}

/** @param {any} checker */
function checkerText(checker) {
  if (!checker?.on) return "Off: nothing is ended by this viewer.";
  const ended = checker.ended?.length ?? 0;
  return ended ? `On: ${countOf(ended, "lost run")} ended by it since it started.` : "On: it has ended no run since it started.";
}

/** What a field holds, as one line of text. @param {any} value */
export function plainText(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  return Array.isArray(value) ? value.map(plainText).join("; ") : Object.entries(value).map(([name, each]) => `${name}: ${plainText(each)}`).join(", ");
}

/** @param {{ runs: any[] }} props */
function RunsWithProblems({ runs }) {
  return html`<table class="facts-table">
    <thead><tr><th>Run</th><th>Status</th><th>What</th></tr></thead>
    <tbody>${runs.map((run) => html`<tr key=${run.key}>
      <td><a href=${runHref(run.key, "summary")}>${run.key}</a></td>
      <td><${Status} run=${run} /> <span class="quiet">${run.reason ?? ""}</span></td>
      <td>${problemLines(run).map((line) => html`<div>${line}</div>`)}</td>
    </tr>`)}</tbody>
  </table>`;
}

/** @param {any} run */
function problemLines(run) {
  return [
    run.status === "lost" ? "Its processes are gone. runicorn recover stores what they left, and ends it." : "",
    run.problems ? `${countOf(run.problems, "place")} of its files could not be read` : "",
    run.damaged?.length ? `damaged: ${run.damaged.join(", ")}` : "",
    run.lost_records ? `${countOf(run.lost_records, "record")} were not stored` : "",
    ...(run.storage_errors ?? []).map(plainText),
    ...(run.remarks ?? []).map(plainText),
  ].filter(Boolean);
}

/** @param {{ leftovers: any[] }} props */
function Leftovers({ leftovers }) {
  return html`<p>They are stored when the run is ended by the status checker, or by <code>runicorn recover</code>.</p>
    <table class="facts-table">
      <thead><tr><th>Run</th><th>Place</th><th class="num">Size</th></tr></thead>
      <tbody>${leftovers.map((each) => html`<tr key=${each.spool}>
        <td>${each.key ? html`<a href=${runHref(each.key)}>${each.run}</a>` : each.run}</td><td>${each.spool}</td>
        <td class="num">${bytesText(each.bytes)}</td></tr>`)}</tbody>
    </table>`;
}
