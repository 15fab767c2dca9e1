// @ts-check
/** How the code of runs differs: the files of their archives, and one of them as a unified difference. */
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { changeQuery, hrefOf } from "./address.js";
import { countOf, countText } from "./format.js";
import { Trouble, runName, useKeys } from "./parts.js";
import { source } from "./source.js";

const MOST_FILES_SHOWN = 2000;

/** An answer of the server, asked for again where the place changes. @param {string} place @param {any} stamp */
function useAnswer(place, stamp) {
  const [told, setTold] = useState(/** @type {any} */ ({}));
  useEffect(() => {
    let isMine = true;
    if (place) source.get(place).then((answer) => isMine && setTold({ place, answer }), (error) => isMine && setTold({ place, error }));
    return () => void (isMine = false);
  }, [place, stamp]);
  return told.place === place ? told : {};
}

/** @param {any} props */
export function CompareCode({ compared, query, answer: differing }) {
  const isAll = query.get("all") === "1";
  const keys = compared.map((run) => run.key).join(",");
  const names = useMemo(() => new Map(compared.map((run) => [run.key, runName(run.row)])), [compared]);
  const all = useAnswer(isAll ? `compare?runs=${encodeURIComponent(keys)}` : "", differing);
  const answer = isAll ? all.answer : differing;
  const search = (query.get("q") ?? "").toLowerCase();
  const members = (answer?.code.members ?? []).filter((member) => member.name.toLowerCase().includes(search));
  const at = members.findIndex((member) => String(member.number) === query.get("member"));
  const chosen = members[at] ?? members[0];
  const go = (by) => members.length && changeQuery({ member: members[Math.min(members.length - 1, Math.max(0, (at < 0 ? 0 : at) + by))].number });
  useKeys({ "/": () => document.getElementById("search")?.focus(), j: () => go(1), k: () => go(-1) });
  if (all.error) return html`<${Trouble} error=${all.error} />`;
  if (!answer) return html`<div class="sheet"><span class="skeleton"></span></div>`;
  const has = answer.runs.filter((_row, index) => answer.code.troubles[index] === null);
  const pick = (name) => (event) => changeQuery({ [name]: event.target.value });
  const choice = (name, label) => html`<label>${label} <select value=${query.get(name) ?? ""} onChange=${pick(name)}>
    <option value="">${name === "one" ? "the first run" : "the next that differs"}</option>${has.map((row) => html`<option key=${row.key} value=${row.key}>${names.get(row.key) ?? row.id}</option>`)}</select></label>`;
  return html`<div class="bar">
      <input id="search" type="search" placeholder="Find a file" aria-label="Find a file" value=${query.get("q") ?? ""} onInput=${(event) => changeQuery({ q: event.target.value })} />
      <label class="check"><input type="checkbox" checked=${!isAll} onChange=${() => changeQuery({ all: isAll ? null : "1", member: null })} />Only what differs</label>
      ${!source.report && html`${choice("one", "From")} ${choice("other", "to")}`}
      <span class="grow"></span><span class="quiet" role="status">${codeText(answer.code, has.length)}</span>
    </div>
    <${Troubles} answer=${answer} names=${names} />
    ${members.length > 0 && html`<div class="code">
      <nav class="files" aria-label="Files of the code"><ul>${members.slice(0, MOST_FILES_SHOWN).map((member) => html`<li key=${member.number}>
        <a href=${hrefOf("compare", { ...Object.fromEntries(query), member: member.number })} aria-current=${member === chosen ? "true" : null} title=${member.name}><span class="cut grow">${member.name}</span><span class="quiet">${stateText(member.states, answer.code.troubles)}</span></a></li>`)}</ul></nav>
      <${Difference} ...${{ keys, member: chosen, one: query.get("one") ?? "", other: query.get("other") ?? "", names, stamp: answer }} />
    </div>`}`;
}

/** @param {any} code @param {number} count of runs that have kept code */
function codeText(code, count) {
  if (!count) return "";
  const differing = code.members.filter((member) => member.differs).length;
  const told = differing ? `${countOf(differing, "file")} differ${differing === 1 ? "s" : ""}` : "the code is equal";
  return `${told}, ${countText(code.equal)} equal, in ${countOf(count, "run")}${code.left_out ? `; ${countText(code.left_out)} left out` : ""}`;
}

/** How many versions of a file there are, and where it is missing. @param {(number | null)[]} states @param {(string | null)[]} troubles */
function stateText(states, troubles) {
  const known = states.filter((_state, at) => troubles[at] === null);
  const versions = new Set(known.filter((state) => state !== null)).size;
  const missing = known.filter((state) => state === null).length;
  return [versions > 1 ? `${versions} versions` : "", missing ? `not in ${missing}` : ""].filter(Boolean).join(", ");
}

/** Which runs have no code to compare, and why. @param {{ answer: any, names: Map<string, string> }} props */
function Troubles({ answer, names }) {
  const byReason = new Map();
  answer.code.troubles.forEach((trouble, at) => trouble && byReason.set(trouble, [...(byReason.get(trouble) ?? []), names.get(answer.runs[at].key) ?? answer.runs[at].id]));
  if (!byReason.size) return null;
  return html`<ul class="missing">${[...byReason].map(([reason, runs]) => html`<li key=${reason}><span class="quiet">${runs.length > 6 ? countOf(runs.length, "run") : runs.join(", ")}: ${reason}</span></li>`)}</ul>`;
}

/** @param {any} props */
function Difference({ keys, member, one, other, names, stamp }) {
  const query = [`runs=${encodeURIComponent(keys)}`, `member=${member.number}`, one && `from=${encodeURIComponent(one)}`, other && `to=${encodeURIComponent(other)}`];
  const { answer, error } = useAnswer(`compare/code?${query.filter(Boolean).join("&")}`, stamp);
  if (error) return html`<${Trouble} error=${error} />`;
  if (!answer) return html`<div class="difference"><span class="skeleton"></span></div>`;
  const name = (key) => names.get(key) ?? key;
  return html`<section class="difference" aria-label=${`Difference of ${answer.member}`} tabindex="0">
    <h2><span class="cut">${answer.member}</span> <span class="quiet">${name(answer.from)} → ${name(answer.to)}</span> <span class="added">+${countText(answer.added)}</span> <span class="removed">−${countText(answer.removed)}</span></h2>
    ${answer.reason && html`<p class="quiet">Not shown: ${answer.reason}.</p>`}
    ${!answer.reason && !answer.lines.length && html`<p class="quiet">The file is the same in both.</p>`}
    <pre>${answer.lines.map((line, at) => html`<div key=${at} class=${lineKind(line)}>${line}</div>`)}</pre>
    ${answer.cut && html`<p class="quiet">The rest is left out.</p>`}
  </section>`;
}

/** @param {string} line */
function lineKind(line) {
  return { "+": "added", "-": "removed", "@": "hunk" }[line[0]] ?? "";
}
