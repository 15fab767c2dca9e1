// @ts-check
/** The recycle bin: what was deleted, and the way back. */
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { restoreRuns } from "./edits.js";
import { countOf, shortNumber } from "./format.js";
import { useCanEdit, useLive } from "./live.js";
import { Ago, Status, Tags, Trouble, runName, useKeys } from "./parts.js";
import { source } from "./source.js";

export function DeletedPage() {
  const { canEdit } = useCanEdit();
  const [bin, setBin] = useState(/** @type {any} */ (null));
  const [error, setError] = useState(null);
  const [chosen, setChosen] = useState(/** @type {Set<string>} */ (new Set()));
  const load = () => source.get("runs/deleted").then((answer) => { setBin(answer); setError(null); }, setError);
  useEffect(() => {
    document.title = "Recycle bin · Runicorn";
    load();
  }, []);
  useLive({}, (name) => name === "edited" && load());
  const picked = (bin?.runs ?? []).filter((run) => chosen.has(run.key));
  const restore = async (runs) => {
    setChosen(new Set());
    await restoreRuns(runs);
  };
  useKeys({ r: () => canEdit && picked.length && restore(picked) });
  if (error) return html`<main id="main"><${Trouble} error=${error} /></main>`;
  if (!bin) return html`<main id="main" class="empty"><span class="skeleton"></span></main>`;
  const flip = (key) => setChosen((before) => new Set(before.has(key) ? [...before].filter((each) => each !== key) : [...before, key]));
  const all = chosen.size < bin.runs.length;
  return html`<main id="main" class="sheet one">
    <section aria-label="Recycle bin">
      <h1>Recycle bin <span class="quiet">${countOf(bin.count, "run")}${bin.count > bin.runs.length ? `, the last ${bin.runs.length} are shown` : ""}</span></h1>
      ${canEdit && bin.runs.length > 0 && html`<p class="bin-bar"><button class="plain" disabled=${!picked.length} title="Restore (r)" onClick=${() => restore(picked)}>Restore ${picked.length ? countOf(picked.length, "run") : "selected"}</button>
        <button onClick=${() => setChosen(new Set(all ? bin.runs.map((run) => run.key) : []))}>${all ? "Select all" : "Select none"}</button></p>`}
      ${bin.runs.length > 0 && html`<table class="facts-table bin"><thead><tr>${canEdit && html`<th class="check"><span class="hidden-text">Selected</span></th>`}<th>Run</th><th class="wide-only">Path</th><th>Status</th><th class="num wide-only">Best</th><th class="wide-only">Tags</th><th>Deleted</th>${canEdit && html`<th><span class="hidden-text">Restore</span></th>`}</tr></thead>
        <tbody>${bin.runs.map((run) => html`<tr key=${run.key}>
          ${canEdit && html`<td><input type="checkbox" aria-label=${`Select ${runName(run)}`} checked=${chosen.has(run.key)} onClick=${() => flip(run.key)} /></td>`}
          <td title=${run.id}>${runName(run)}</td><td class="quiet wide-only">${run.path}</td><td><${Status} run=${run} /></td>
          <td class="num wide-only" title=${run.best_metric_name ?? ""}>${shortNumber(run.best_metric_value)}</td><td class="wide-only"><${Tags} tags=${run.tags} /></td><td><${Ago} time=${run.deleted_at} /></td>
          ${canEdit && html`<td><button class="link" aria-label=${`Restore ${runName(run)}`} onClick=${() => restore([run])}>Restore</button></td>`}</tr>`)}</tbody></table>`}
      ${!bin.count && html`<p class="quiet">The recycle bin is empty.</p>`}
      <p class="quiet bin-where">Nothing is removed for good from here. These are folders in ${bin.folders.map((folder) => html`<code key=${folder}>${folder}</code> `)}: remove them there.</p>
    </section>
  </main>`;
}
