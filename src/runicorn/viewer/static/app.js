// @ts-check
/** The page: its header, its help, and which part is shown. */
import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { followLinks, hrefOf, useAddress } from "./address.js";
import { ComparePage } from "./compare_page.js";
import { DeletedPage } from "./deleted_page.js";
import { NoticeBar } from "./edits.js";
import { ExplorePage } from "./explore_page.js";
import { tellServer, useLinkState } from "./live.js";
import { ReportLine, useKeys } from "./parts.js";
import { ProblemsPage } from "./problems_page.js";
import { isFramed } from "./report_data.js";
import { RunPage } from "./run_page.js";
import { RunsPage } from "./runs_page.js";
import { askForToken, keepToken, source, takeToken } from "./source.js";

const HELP = [
  ["/", "search on this page"],
  ["j k", "next and previous run or chart"],
  ["Enter", "open the run"],
  ["x", "select the run; Shift selects from the last one"],
  ["c", "compare the selected runs"],
  ["t d e", "tag, delete, export the selected runs (export: all that are shown, if none is selected)"],
  ["u", "undo the last change"],
  ["v", "saved views"],
  ["a t n", "alias, tags, notes of the run"],
  ["l", "log y, on all charts"],
  ["r", "reset the zoom"],
  ["← →", "move the crosshair of the chart that has the focus"],
  ["[ ]", "image step before and after"],
  ["g", "to the table of runs"],
  ["?", "this help"],
];

const KEYS_OF_EDITS = ["t d e", "u", "v", "a t n"];

/** Everything that the page shows. */
function App() {
  const address = useAddress();
  const [server, setServer] = useState(null);
  const [error, setError] = useState(null);
  const help = useRef(null);
  const enter = async () => {
    if (!source.report && !takeToken()) await askForToken();
    try {
      const answer = await source.get("server");
      tellServer(answer);
      setError(null);
      setServer(answer);
    } catch (problem) {
      setError(problem);
    }
  };
  useEffect(() => void enter(), []);
  useKeys({
    "?": () => (help.current?.open ? help.current.close() : help.current?.showModal()),
    g: () => document.querySelector(/** @type {"a"} */ ("a.runs-link"))?.click(),
  });
  if (error && !server) return html`<${Entrance} error=${error} enter=${enter} />`;
  const here = (pages) => (pages.includes(address.page) ? "page" : null);
  return html`<a class="skip" href="#main" onClick=${skipToMain}>To the content</a>
    <header class="top">
      <a class="brand" href=${hrefOf(source.report?.start ?? "")}>Runicorn</a>
      <nav aria-label="Pages">
        ${source.report && source.has("compare") && html`<a href=${hrefOf(source.report.start)} aria-current=${here(["compare"])}>Comparison</a>`}
        ${source.has("runs") && html`<a class="runs-link" href=${hrefOf("")} aria-current=${here(["runs"])}>Runs</a>`}
        ${source.has("runs") && html`<a href=${hrefOf("explore")} aria-current=${here(["explore"])}>Explore</a>`}
        ${source.has("problems") && html`<a href=${hrefOf("problems")} aria-current=${here(["problems"])}>Problems</a>`}
        ${!source.report && html`<a class="wide-only" href=${hrefOf("deleted")} aria-current=${here(["deleted"])}>Recycle bin</a>`}
      </nav>
      ${!source.report && html`<span class="where quiet cut" title=${server?.storages.map((each) => each.root).join("\n")}>${server?.storages.map((each) => each.root).join(", ")}${server?.read_only ? " (read-only)" : ""}</span>`}
      <span class="grow"></span>
      <${LinkWord} />
      <button aria-label="Keys and help" title="Keys and help" onClick=${() => help.current?.showModal()}>?</button>
    </header>
    <${ReportLine} />
    ${server && html`<${Page} address=${address} />`}
    <${NoticeBar} />
    <dialog ref=${help} aria-label="Keys and help" onClose=${leaveDialog} onClick=${(event) => event.target === help.current && help.current?.close()}>
      <h2>Keys</h2>
      <dl>${HELP.filter(([keys]) => !source.report || !KEYS_OF_EDITS.includes(keys)).map(([keys, what]) => html`<dt>${keys.split(" ").map((key) => html`<kbd>${key}</kbd> `)}</dt><dd>${what}</dd>`)}</dl>
      <p class="quiet">Drag on a chart to zoom, on all of them; double-click shows everything again.<br />The address of the page holds all that you have chosen: copy it to come back.</p>
      <p class="quiet">Runicorn ${server?.version ?? ""} on ${server?.hostname ?? ""}</p>
      <form method="dialog"><button class="plain" autofocus=${!isFramed}>Close</button></form>
    </dialog>`;
}

/** The button that closed it has the focus until the next frame, and would take a key that comes before. */
function leaveDialog() {
  if (document.activeElement instanceof HTMLElement && document.activeElement.closest("dialog")) document.activeElement.blur();
}

/** @param {Event} event */
function skipToMain(event) {
  event.preventDefault();
  const main = document.getElementById("main");
  main?.setAttribute("tabindex", "-1");
  main?.focus();
}

/** @param {{ address: import("./address.js").Address }} props */
function Page({ address }) {
  if (address.page === "runs") return html`<${RunsPage} />`;
  if (address.page === "run") return html`<${RunPage} key=${address.key} runKey=${address.key} tab=${address.tab} />`;
  if (address.page === "compare") return html`<${ComparePage} />`;
  if (address.page === "explore") return html`<${ExplorePage} />`;
  if (address.page === "problems") return html`<${ProblemsPage} />`;
  if (address.page === "deleted") return html`<${DeletedPage} />`;
  return html`<main id="main" class="empty"><h2>There is no such page</h2><p><a href=${hrefOf("")}>To the runs</a></p></main>`;
}

/** Whether what is shown is up to date. */
function LinkWord() {
  const state = useLinkState();
  if (state === "refused") return html`<span class="link-state off" role="status">the viewer was started again: open its new link</span>`;
  if (state === "lost") return html`<span class="link-state off" role="status">not connected, trying again</span>`;
  return state === "live" ? html`<span class="link-state quiet wide-only">live</span>` : null;
}

/** Without the token of the viewer nothing is shown. @param {{ error: any, enter: () => void }} props */
function Entrance({ error, enter }) {
  const field = useRef(null);
  const send = (event) => {
    event.preventDefault();
    keepToken(field.current?.value ?? "");
    enter();
  };
  if (error.status !== 401) {
    return html`<main class="empty"><h2>The viewer does not answer</h2><p>${error.message} ${error.hint ?? ""}</p><p><button class="plain" onClick=${enter}>Try again</button></p></main>`;
  }
  return html`<main class="empty">
    <h2>This page needs its link</h2>
    <p>Open the link that <code>runicorn viewer</code> printed; it ends with a token. <code>runicorn viewer --list</code> shows it again.</p>
    <form onSubmit=${send}><p><input ref=${field} type="text" aria-label="Link or token" placeholder="Link or token" /> <button class="plain">Open</button></p></form>
  </main>`;
}

/** A number that is copied alone has all its digits. @param {ClipboardEvent} event */
function copyExact(event) {
  const selection = getSelection();
  const node = selection?.anchorNode;
  const exact = (node instanceof Element ? node : node?.parentElement)?.closest("[data-exact]");
  if (!exact || selection?.toString().trim() !== exact.textContent?.trim()) return;
  event.clipboardData?.setData("text/plain", exact.getAttribute("data-exact") ?? "");
  event.preventDefault();
}

followLinks();
document.addEventListener("copy", copyExact);
// The icon is asked for again at each new address, and then relative to that.
for (const link of document.querySelectorAll("link[rel=icon]")) link.setAttribute("href", Object(link).href);
render(html`<${App} />`, /** @type {HTMLElement} */ (document.getElementById("app")));
