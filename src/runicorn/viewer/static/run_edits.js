// @ts-check
/** What a person changes on the page of a run, in the place where it stands: alias, tags, notes. */
import { html, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { editRun, errorText, isForcible, saveFolder } from "./edits.js";
import { useCanEdit } from "./live.js";
import { Tags, runName, useKeys } from "./parts.js";
import { ReportHint } from "./show_others.js";
import { source } from "./source.js";

/**
 * Which parts of a run's head are being edited, and the buttons that begin it.
 * @param {any} row
 */
export function useRunEdits(row) {
  const { canAsk, canEdit } = useCanEdit();
  const [open, setOpen] = useState(/** @type {Record<string, boolean>} */ ({}));
  const isReady = canEdit && Boolean(row);
  const begin = (part) => isReady && setOpen((before) => ({ ...before, [part]: true }));
  const end = (part) => {
    setOpen((before) => ({ ...before, [part]: false }));
    // What had the focus is gone: it goes to what stands in its place.
    setTimeout(() => document.getElementById(`edit-${part}`)?.focus());
  };
  useKeys({ a: () => begin("alias"), t: () => begin("tags"), n: () => begin("notes") });
  const button = (part, text, title) => html`<button id=${`edit-${part}`} class="quiet" title=${title} onClick=${() => begin(part)}>${text}</button>`;
  const buttons = html`${isReady && html`${!open.alias && button("alias", row.alias ? "Rename" : "Name", "Another alias (a)")}
    ${!open.tags && button("tags", "Tag", "Change the tags (t)")}
    ${!open.notes && button("notes", row.notes ? "Edit notes" : "Add notes", "Change the notes (n)")}`}
    ${canAsk && row && html`<${ReportHint} runs=${[row]} quiet=${true} />`}
    ${canAsk && row && html`<button class="quiet" title="The run's folder as a ZIP file" onClick=${() => saveFolder(row)}>Folder as zip</button>`}`;
  return { open, end, buttons };
}

/** @param {{ row: any, edits: ReturnType<typeof useRunEdits> }} props */
export function RunTitle({ row, edits }) {
  if (!edits.open.alias) return html`<h1 class="cut" title=${row.id}>${runName(row)}</h1>`;
  return html`<h1 class="hidden-text">${runName(row)}</h1>
    <${FieldEditor} label="Alias" name="alias" row=${row} value=${row.alias ?? ""} hint=${row.id} leave=${() => edits.end("alias")} save=${(text, was, more) => editRun(row.key, { alias: text, was, ...more })} />`;
}

/** @param {{ row: any, edits: ReturnType<typeof useRunEdits> }} props */
export function RunTags({ row, edits }) {
  if (!edits.open.tags) return html`<span class="wide-only"><${Tags} tags=${row.tags} /></span>`;
  const before = row.tags ?? [];
  const save = (text, _was, more, start) => {
    const [wanted, had] = [tagsOf(text), tagsOf(start)];
    return editRun(row.key, { tags: { add: wanted.filter((tag) => !had.includes(tag)), remove: had.filter((tag) => !wanted.includes(tag)) }, ...more });
  };
  return html`<${FieldEditor} label="Tags, with commas between them" row=${row} value=${before.join(", ")} leave=${() => edits.end("tags")} save=${save} />`;
}

/** @param {{ row: any, edits: ReturnType<typeof useRunEdits> }} props */
export function RunNotes({ row, edits }) {
  if (edits.open.notes) {
    return html`<${FieldEditor} label="Notes" name="notes" row=${row} value=${row.notes ?? ""} hint="Ctrl+Enter saves, Escape leaves" lines=${true} leave=${() => edits.end("notes")} save=${(text, was, more) => editRun(row.key, { notes: text, was, ...more })} />`;
  }
  return row.notes ? html`<div class="run-notes" role="note" aria-label="Notes" tabindex="0">${row.notes}</div>` : null;
}

/** The tags in a text with commas. @param {string} text */
export function tagsOf(text) {
  return [...new Set(text.split(",").map((tag) => tag.trim()).filter(Boolean))];
}

/**
 * A field in the place of a text. What cannot be saved stays in it, with the reason; and what somebody else has saved
 * meanwhile is shown before it is replaced.
 * @param {{ label: string, name?: string, row: any, value: string, hint?: string, lines?: boolean, leave: () => void, save: (text: string, was: object, more: object, start: string) => Promise<any> }} props
 */
function FieldEditor({ label, name, row, value, hint, lines, leave, save }) {
  const field = useRef(null);
  const start = useRef(value);
  const was = useRef(name ? { [name]: value } : {});
  const [text, setText] = useState(value);
  const [trouble, setTrouble] = useState("");
  const [isSending, setSending] = useState(false);
  useLayoutEffect(() => {
    // At once: the next key is meant for it.
    field.current?.focus();
    field.current?.setSelectionRange(lines ? value.length : 0, value.length);
  }, []);
  const send = async (event, force = false) => {
    event.preventDefault();
    if (isSending) return;
    setSending(true);
    try {
      await save(text, was.current, force ? { force_other_host: true } : {}, start.current);
      leave();
    } catch (error) {
      setTrouble(`${errorText(error)}${await thereNow(error)}`);
      setSending(false);
      field.current?.focus();
    }
  };
  const thereNow = async (error) => {
    if (error.status !== 409 || !name) return "";
    const now = (await source.get(`runs/${encodeURIComponent(row.key)}`).catch(() => null))?.run[name] ?? "";
    if (now === was.current[name]) return "";
    was.current = { [name]: now };
    return ` It is now: ${now || "nothing"}`;
  };
  const press = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      leave();
    } else if (lines && event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event);
  };
  const common = { ref: field, "aria-label": label, value: text, onInput: (event) => setText(event.target.value), onKeyDown: press, "aria-invalid": trouble ? "true" : null, spellcheck: Boolean(lines) };
  return html`<form class=${`in-place ${lines ? "lines" : ""}`} onSubmit=${send}>
    ${lines ? html`<textarea ...${common} rows=${Math.min(12, Math.max(3, text.split("\n").length + 1))}></textarea>` : html`<input type="text" ...${common} placeholder=${hint ?? ""} />`}
    <button class="plain" disabled=${isSending}>Save</button><button type="button" onClick=${leave}>Cancel</button>
    ${lines && hint && html`<span class="quiet">${hint}</span>`}
    ${trouble && html`<span class="bad trouble" role="alert">${trouble}</span>`}
    ${isForcible(trouble) && html`<button type="button" class="plain" onClick=${(event) => send(event, true)}>Save anyway</button>`}
  </form>`;
}
