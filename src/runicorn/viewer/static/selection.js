// @ts-check
/** What is done with the selected runs, and with the table: tag, delete, export; and views that are kept. */
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { hrefOf, useAddress } from "./address.js";
import { deleteRuns, errorText, setNotice, tagRuns } from "./edits.js";
import { useCanEdit } from "./live.js";
import { Popover, saveFile, useKeys } from "./parts.js";
import { tagsOf } from "./run_edits.js";
import { source } from "./source.js";
import { tableCsv } from "./table_csv.js";

/** @param {string} opener */
function press(opener) {
  /** @type {HTMLElement | null} */ (document.querySelector(opener))?.click();
}

/**
 * Tag, Delete and Export of the selected runs.
 * @param {{ runs: any[], all: any[], setChosen: (chosen: Set<string>) => void, columns: string[] }} props
 */
export function SelectionEdits({ runs, all, setChosen, columns }) {
  const { canEdit } = useCanEdit();
  const isBusy = useRef(false);
  const remove = async () => {
    if (isBusy.current) return;
    isBusy.current = true;
    const left = await deleteRuns(runs);
    isBusy.current = false;
    setChosen(new Set(left));
  };
  useKeys({ t: () => press(".tag-pop button"), d: () => canEdit && remove() });
  return html`${canEdit && html`<span class="tag-pop"><${Popover} label="Tag" kind="left" plain=${true}>${(close) => html`<${TagForm} runs=${runs} all=${all} close=${close} />`}<//></span>
    <button title="To the recycle bin (d)" onClick=${remove}>Delete</button>`}
    <button title="As CSV (e)" onClick=${() => exportTable(runs, columns)}>Export</button>`;
}

/** @param {any[]} runs @param {string[]} columns */
export function exportTable(runs, columns) {
  saveFile(new Blob([tableCsv(runs, columns)], { type: "text/csv" }), "runs.csv");
}

/** @param {{ runs: any[], all: any[], close: () => void }} props */
function TagForm({ runs, all, close }) {
  const [text, setText] = useState("");
  const field = useRef(null);
  useLayoutEffect(() => void field.current?.focus(), []);
  const known = [...new Set(all.flatMap((run) => run.tags ?? []))].sort();
  const count = (tag) => runs.filter((run) => run.tags?.includes(tag)).length;
  const send = async (add, remove) => (add.length || remove.length) && (await tagRuns(runs, add, remove)) && close();
  return html`<form onSubmit=${(event) => { event.preventDefault(); send(tagsOf(text), []); }}>
      <input ref=${field} type="text" list="known-tags" aria-label="Tags to add, with commas between them" placeholder="Tags to add" value=${text} onInput=${(event) => setText(event.target.value)} />
      <datalist id="known-tags">${known.map((tag) => html`<option value=${tag}></option>`)}</datalist>
      <button class="plain">Add</button></form>
    ${known.filter(count).map((tag) => html`<div class="row" key=${tag}><span class="cut"><span class="tag">${tag}</span> <span class="quiet">${count(tag)} of ${runs.length}</span></span>
      <button class="link" aria-label=${`Remove ${tag}`} onClick=${() => send([], [tag])}>Remove</button></div>`)}`;
}

/** What was chosen on this page, kept under names. */
export function ViewsPopover() {
  useKeys({ v: () => press(".views-pop button") });
  return html`<span class="views-pop wide-only"><${Popover} label="Views" name="Saved views">${(close) => html`<${Views} close=${close} />`}<//></span>`;
}

/** @param {{ close: () => void }} props */
function Views({ close }) {
  const { query } = useAddress();
  const { canEdit } = useCanEdit();
  const [views, setViews] = useState(/** @type {any[] | null} */ (null));
  const [name, setName] = useState("");
  const [trouble, setTrouble] = useState("");
  const field = useRef(null);
  const load = () => source.get("views").then((answer) => setViews(answer.views), (error) => setTrouble(errorText(error)));
  useEffect(() => void load(), []);
  useLayoutEffect(() => void field.current?.focus(), []);
  const tried = async (act) => {
    setTrouble("");
    await act().then(load, (error) => setTrouble(errorText(error)));
  };
  const put = (view) => source.send("PUT", `views/${encodeURIComponent(view.name)}`, { query: view.query });
  const save = (event) => {
    event.preventDefault();
    tried(() => put({ name: name.trim(), query: location.search.slice(1) }).then(() => setName("")));
  };
  const remove = (view) => tried(async () => {
    const was = await source.send("DELETE", `views/${encodeURIComponent(view.name)}`, {});
    setNotice({ text: `The view ${view.name} was removed.`, undo: () => put(was).then(() => setNotice({ text: `The view ${view.name} is back.` }), (error) => setNotice({ text: errorText(error) })) });
  });
  const here = query.toString();
  const isThere = views?.some((view) => view.name === name.trim());
  return html`<h2>Views</h2>
    ${views?.map((view) => html`<div class="row" key=${view.name}>
      <a class="grow cut" href=${hrefOf("", new URLSearchParams(view.query))} aria-current=${new URLSearchParams(view.query).toString() === here ? "true" : null} title=${view.query} onClick=${() => setTimeout(close)}>${view.name}</a>
      ${canEdit && html`<button class="link" aria-label=${`Remove the view ${view.name}`} onClick=${() => remove(view)}>Remove</button>`}</div>`)}
    ${views && !views.length && html`<p class="quiet">None yet. A view keeps what is chosen on this page: search, path, order, columns.</p>`}
    ${canEdit && html`<form class="row" onSubmit=${save}><input ref=${field} class="grow" type="text" aria-label="Name of the view" placeholder="Name of this view" value=${name} onInput=${(event) => setName(event.target.value)} />
      <button class="plain">${isThere ? "Replace" : "Save"}</button></form>`}
    ${trouble && html`<p class="bad" role="alert">${trouble}</p>`}`;
}
