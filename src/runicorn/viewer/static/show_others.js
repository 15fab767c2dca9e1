// @ts-check
/** How to show runs to somebody who has no access to this viewer: the command that writes them as one file. */
import { html, useState } from "./vendor/htm-preact.js";
import { useCanEdit, useServer } from "./live.js";
import { Popover } from "./parts.js";

const PLAIN_WORD = /^[\w.@%+=:,/-]+$/;
const MOST_REPORTED = 100;

/** A word of a command, for a POSIX shell. @param {string} word */
export function shellWord(word) {
  return PLAIN_WORD.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A button with that command; a report has none, nor has a viewer of several storages, whose ids may be equal. @param {{ runs: any[], quiet?: boolean }} props */
export function ReportHint({ runs, quiet }) {
  const server = useServer();
  const { canAsk } = useCanEdit();
  const [told, setTold] = useState("");
  if (!canAsk || server.storages.length !== 1 || !runs.length || runs.length > MOST_REPORTED) return null;
  const command = ["runicorn", "report", ...runs.map((run) => run.id), "--storage", server.storages[0].root, "-o", "report.html"].map(shellWord);
  const copy = () => navigator.clipboard.writeText(command.join(" ")).then(() => setTold("Copied."), () => setTold("This browser copies nothing from here: select it."));
  return html`<${Popover} label="Report" name="Report for a colleague" plain=${quiet}>
    <p>Writes ${runs.length === 1 ? "this run" : "these runs"} as one HTML file. It opens without a viewer, so you can pass it on. In a terminal on ${server.hostname}:</p>
    <code class="command" tabindex="0">${command.map((word) => html`<span>${word}</span> `)}</code>
    <span class="row"><button class="plain" onClick=${copy}>Copy</button> <span class="quiet" role="status">${told}</span></span>
  <//>`;
}
