// @ts-check
/** Changes that a person makes: sent to the server, told at the foot of the page, and undone from there. */
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { hrefOf, viewerRoot } from "./address.js";
import { countOf } from "./format.js";
import { tellEdited } from "./live.js";
import { runName, useKeys } from "./parts.js";
import { SourceError, source } from "./source.js";

const MOST_AT_ONCE = 500;
/** What is refused for a run that another host may have open says so with this word; labels may be changed all the same. */
const FORCIBLE = "--force-other-host";

/**
 * @typedef {{ name: string, what: string }} EditProblem
 * @typedef {object} Notice what was done
 * @property {string} text
 * @property {EditProblem[]} [problems] what was not done, run by run
 * @property {() => any} [undo]
 * @property {() => any} [force] do what was refused because another host may have a run open
 * @property {boolean} [toBin] whether the way to the recycle bin is shown
 */

/** @type {Notice | null} */
let notice = null;
/** @type {Set<(notice: Notice | null) => void>} */
const noticeListeners = new Set();

/** Tell what was done; it stays until the next change. @param {Notice | null} next */
export function setNotice(next) {
  notice = next;
  for (const listener of noticeListeners) listener(next);
}

/** The line at the foot of every page. */
export function NoticeBar() {
  const [shown, setShown] = useState(notice);
  useEffect(() => {
    noticeListeners.add(setShown);
    return () => void noticeListeners.delete(setShown);
  }, []);
  const undo = shown?.undo;
  useKeys({ u: () => undo?.() });
  return html`<div role="status">${shown && html`<div class="notice">
    <div class="notice-line"><span>${shown.text}</span>
      ${undo && html`<button class="link" title="Undo (u)" onClick=${undo}>Undo</button>`}
      ${shown.force && html`<button class="link" onClick=${shown.force}>Do it anyway</button>`}
      ${shown.toBin && html`<a class="quiet" href=${hrefOf("deleted")}>Recycle bin</a>`}
      <span class="grow"></span><button aria-label="Close this line" onClick=${() => setNotice(null)}>×</button></div>
    ${(shown.problems ?? []).length > 0 && html`<ul aria-label="What was not done" tabindex="0">${shown.problems?.map((each) => html`<li><b>${each.name}</b> <span class="bad">${each.what}</span></li>`)}</ul>`}
  </div>`}</div>`;
}

/** What went wrong, in words. @param {any} error */
export function errorText(error) {
  return error instanceof SourceError ? `${error.message} ${error.hint}`.trim() : "The viewer does not answer. Nothing was changed.";
}

/** Whether a change was refused only because another host may have the run open. @param {string} what */
export function isForcible(what) {
  return what.includes(FORCIBLE);
}

/** Change labels of a run. @param {string} key @param {object} changes */
export async function editRun(key, changes) {
  const answer = await source.send("PATCH", `runs/${encodeURIComponent(key)}`, changes);
  const others = answer.same_alias.length;
  const remark = answer.remark ? `The row in runicorn.db was not changed: ${answer.remark}.` : "";
  const same = others && "alias" in changes ? `${others === 1 ? "Another run has" : `${countOf(others, "other run")} have`} the alias ${answer.alias} too.` : "";
  setNotice(same || remark ? { text: `Saved. ${same} ${remark}` } : null);
  tellEdited();
  return answer;
}

/** @param {string} place @param {any[]} runs @param {object} [more] @returns {Promise<any[]>} what became of each */
async function sendInParts(place, runs, more) {
  const results = [];
  for (let at = 0; at < runs.length; at += MOST_AT_ONCE) {
    const keys = runs.slice(at, at + MOST_AT_ONCE).map((run) => run.key);
    try {
      results.push(...(await source.send("POST", place, { runs: keys, ...more })).results);
    } catch (error) {
      results.push(...keys.map((key) => ({ key, done: false, problem: { what: errorText(error), hint: "" } })));
    }
  }
  tellEdited();
  return results;
}

/** @param {any[]} runs @param {any[]} results @returns {EditProblem[]} */
function problemsOf(runs, results) {
  const names = new Map(runs.map((run) => [run.key, runName(run)]));
  return results.filter((each) => !each.done).map((each) => ({ name: names.get(each.key) ?? each.key, what: `${each.problem.what} ${each.problem.hint}`.trim() }));
}

/** Move runs to the recycle bin; the keys of those that stayed. @param {any[]} runs */
export async function deleteRuns(runs) {
  setNotice({ text: `Moving ${countOf(runs.length, "run")} to the recycle bin…` });
  const results = await sendInParts("runs/delete", runs);
  const problems = problemsOf(runs, results);
  const names = new Map(runs.map((run) => [run.key, run]));
  const gone = results.filter((each) => each.done).map((each) => ({ ...names.get(each.key), key: each.deleted }));
  const text = problems.length ? `${gone.length} of ${countOf(runs.length, "run")} moved to the recycle bin.` : `${countOf(gone.length, "run")} moved to the recycle bin.`;
  setNotice({ text, problems, toBin: true, undo: gone.length ? () => restoreRuns(gone) : undefined });
  return problems.length ? results.filter((each) => !each.done).map((each) => each.key) : [];
}

/** Bring runs back from the recycle bin. @param {any[]} runs with their keys there */
export async function restoreRuns(runs) {
  setNotice({ text: `Restoring ${countOf(runs.length, "run")}…` });
  const problems = problemsOf(runs, await sendInParts("runs/restore", runs));
  const done = runs.length - problems.length;
  setNotice({ text: problems.length ? `${done} of ${countOf(runs.length, "run")} restored.` : `${countOf(done, "run")} restored.`, problems });
}

/**
 * Add tags to runs, or take them away; whether all was done.
 * @param {any[]} runs @param {string[]} add @param {string[]} remove @param {boolean} [force]
 */
export async function tagRuns(runs, add, remove, force = false) {
  const results = await sendInParts("runs/tags", runs, { add, remove, force_other_host: force });
  const problems = problemsOf(runs, results);
  const done = new Set(results.filter((each) => each.done).map((each) => each.key));
  const has = (run, tags) => tags.filter((tag) => (run.tags ?? []).includes(tag));
  const lacks = (run, tags) => tags.filter((tag) => !(run.tags ?? []).includes(tag));
  const changed = runs.filter((run) => done.has(run.key) && (lacks(run, add).length || has(run, remove).length));
  const back = () => undoTags(changed.map((run) => ({ run, add: has(run, remove), remove: lacks(run, add) })));
  const what = add.length ? `${add.join(", ")} added to` : `${remove.join(", ")} removed from`;
  const count = add.length ? done.size : changed.length;
  const of = problems.length ? `${count} of ${countOf(runs.length, "run")}` : countOf(count, "run");
  const elsewhere = results.filter((each) => !each.done && isForcible(each.problem.what)).map((each) => each.key);
  const again = () => tagRuns(runs.filter((run) => elsewhere.includes(run.key)), add, remove, true);
  setNotice({ text: `${what} ${of}.`, problems, undo: changed.length ? back : undefined, force: elsewhere.length ? again : undefined });
  return !problems.length;
}

/** Give each run the tags that it had: a request for each change that is the same. @param {{ run: any, add: string[], remove: string[] }[]} changes */
async function undoTags(changes) {
  /** @type {Map<string, any>} */
  const groups = new Map();
  for (const { run, add, remove } of changes) {
    const group = JSON.stringify([add, remove]);
    groups.set(group, { add, remove, runs: [...(groups.get(group)?.runs ?? []), run] });
  }
  const problems = [];
  for (const { add, remove, runs } of groups.values()) problems.push(...problemsOf(runs, await sendInParts("runs/tags", runs, { add, remove, force_other_host: true })));
  setNotice({ text: "The tags are as they were.", problems });
}

/** Have the browser save a run's folder as a ZIP file. @param {any} run */
export async function saveFolder(run) {
  try {
    const { ticket } = await source.send("POST", "tickets", { run: run.key, kind: "folder" });
    const link = document.createElement("a");
    link.href = new URL(`api/v1/files/${ticket}`, viewerRoot()).href;
    link.download = `${run.id}.zip`;
    link.click();
  } catch (error) {
    setNotice({ text: "The folder was not saved.", problems: [{ name: runName(run), what: errorText(error) }] });
  }
}
