// @ts-check
/** What a run was made of and has made: hashes, sizes, downloads, who else has the same, and its code member by member. */
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { changeQuery, runHref } from "./address.js";
import { bytesText, countOf, countText, momentText } from "./format.js";
import { Popover, Trouble, saveByTicket, useKeys } from "./parts.js";
import { source } from "./source.js";

/**
 * @typedef {object} Asset
 * @property {number} number
 * @property {string} kind
 * @property {string} name
 * @property {boolean} saved
 * @property {string | null} sha256
 * @property {number | null} bytes
 * @property {number | null} files
 * @property {Record<string, any>} about
 * @property {"file" | "zip" | "folder" | "manifest" | null} form
 * @property {string | null} reason
 */

const ASSET_SECTIONS = [
  ["code", "Code"], ["config", "Configuration"], ["dataset", "Data"], ["pretrained", "Models"], ["output", "Outputs"], ["environment", "Environment"], ["file", "Files of the run"],
];
const USERS_AGAIN_MS = 300;
const SHOWN_ROWS = 500;
const SHORT_HASH = 12;
const MEMBER_LINES = 5000;

/** Who else has what this run has; asked again until all runs were read. @param {string} runKey @param {Asset[] | null} assets */
function useContentUsers(runKey, assets) {
  const [answer, setAnswer] = useState(null);
  const hashes = (assets ?? []).map((each) => each.sha256).filter(Boolean).join();
  useEffect(() => {
    if (!hashes) return undefined;
    let timer = 0;
    let isMine = true;
    const ask = () => source.get(`runs/${encodeURIComponent(runKey)}/assets/users`).then((found) => {
      if (!isMine) return;
      setAnswer(found);
      if (found.left) timer = window.setTimeout(ask, USERS_AGAIN_MS);
    }, () => undefined);
    ask();
    return () => {
      isMine = false;
      clearTimeout(timer);
    };
  }, [runKey, hashes]);
  return answer;
}

/** @param {{ head: any, row: any, query: URLSearchParams }} props */
export function AssetsTab({ head, row, query }) {
  const [state, setState] = useState({ assets: /** @type {Asset[] | null} */ (null), error: null });
  const place = `runs/${encodeURIComponent(row.key)}/assets`;
  useEffect(() => {
    let isMine = true;
    source.get(place).then((found) => isMine && setState({ assets: found.assets, error: null }), (error) => isMine && setState((before) => ({ ...before, error })));
    return () => void (isMine = false);
  }, [row.key, row.status, head.assets, row.status === "running" ? head.version : ""]);
  const users = useContentUsers(row.key, state.assets);
  const search = (query.get("q") ?? "").toLowerCase();
  useKeys({ "/": () => document.getElementById("search")?.focus() });
  if (state.error && !state.assets) return html`<${Trouble} error=${state.error} />`;
  if (!state.assets) return html`<div class="sheet one"><span class="skeleton"></span></div>`;
  const found = state.assets.filter((each) => !search || `${each.name} ${each.sha256 ?? ""} ${Object.values(each.about).join(" ")}`.toLowerCase().includes(search));
  const opened = state.assets.find((each) => String(each.number) === query.get("asset") && each.form !== "file" && each.form);
  return html`<div class="bar"><input id="search" type="search" placeholder="Find an asset or a hash" aria-label="Find assets" value=${query.get("q") ?? ""} onInput=${(event) => changeQuery({ q: event.target.value })} />
      <span class="quiet">${search ? `${countText(found.length)} of ${countText(state.assets.length)}` : ""}</span></div>
    <div class="sheet one assets">
      ${ASSET_SECTIONS.map(([kind, title]) => html`<${AssetSection} key=${kind} ...${{ title, kind, assets: found.filter((each) => each.kind === kind), row, query, users, opened }} />`)}
    </div>`;
}

/** @param {{ title: string, kind: string, assets: Asset[], row: any, query: URLSearchParams, users: any, opened: Asset | undefined }} props */
function AssetSection({ title, kind, assets, row, query, users, opened }) {
  if (!assets.length) return null;
  return html`<section aria-label=${title}>
    <h2>${title}${assets.length > 1 ? html` <span class="quiet">${countText(assets.length)}</span>` : ""}</h2>
    <table class="facts-table asset-table">
      <thead><tr>${["Name", "Size", "SHA-256", "Also in", "Actions"].map((name) => html`<th scope="col" key=${name}><span class="hidden-text">${name}</span></th>`)}</tr></thead>
      <tbody>${assets.slice(0, SHOWN_ROWS).map((asset) => html`<tr key=${asset.number}>
        <td><div class="asset-name">${asset.name}</div>${aboutAsset(asset).map((line) => html`<div class=${line.isBad ? "bad" : "quiet"}>${line.text}</div>`)}
          ${["config", "environment"].includes(kind) && html`<div><a class="to" href=${runHref(row.key, "summary")}>in Summary and config</a></div>`}</td>
        <td class="num">${bytesText(asset.bytes)}${asset.files !== null ? html`<div class="quiet">${countOf(asset.files, "file")}</div>` : ""}</td>
        <td>${asset.sha256 && html`<code title=${asset.sha256} data-exact=${asset.sha256}>${asset.sha256.slice(0, SHORT_HASH)}</code>`}</td>
        <td><${Users} users=${asset.sha256 ? users?.users[asset.sha256] : null} left=${users?.left ?? 0} /></td>
        <td class="right">
          ${asset.form && asset.form !== "file" && html`<button class="plain" aria-pressed=${String(opened?.number === asset.number)} aria-label=${`Members of ${asset.name}`} onClick=${() => changeQuery({ asset: opened?.number === asset.number ? null : asset.number, member: null })}>Members</button> `}
          ${asset.form && html`<${DownloadButton} name=${asset.name} wish=${{ run: row.key, kind: "asset", number: asset.number, name: asset.name }} />`}
        </td></tr>`)}</tbody>
    </table>
    ${assets.length > SHOWN_ROWS && html`<p class="quiet">and ${countText(assets.length - SHOWN_ROWS)} more: search for them</p>`}
    ${opened?.kind === kind && html`<${Members} key=${opened.number} ...${{ asset: opened, row, query }} />`}
  </section>`;
}

/** @param {Asset} asset */
function aboutAsset(asset) {
  const { about } = asset;
  const from = [about.context, about.mode, about.source_type === "unknown" ? "" : about.source_type].filter(Boolean).join(" · ");
  const origin = [from, about.uri ?? about.path_or_uri ?? about.path ?? about.workspace_root].filter(Boolean).join(" · ");
  const when = about.archived_at ?? about.created_at;
  return [
    { text: [origin, typeof when === "number" ? `kept ${momentText(when)}` : ""].filter(Boolean).join(" · ") },
    { text: about.config_files ? `read from ${about.config_files}` : "" },
    { text: about.description ?? "" },
    { text: about.left_out_count ? `${countOf(about.left_out_count, "file")} left out of it` : "" },
    { text: asset.saved ? "" : "recorded, but its content was not kept" },
    { text: asset.reason ? `Kept, but ${asset.reason}` : "", isBad: true },
  ].filter((line) => line.text);
}

/** @param {{ users: any, left: number }} props */
function Users({ users, left }) {
  if (!users) return null;
  if (!users.count) return html`<span class="quiet">${left ? "looking…" : "no other run"}</span>`;
  return html`<${Popover} label=${countOf(users.count, "run")} name="Runs with the same content" plain=${true} kind="left">
    ${users.runs.map((each) => html`<div key=${each.key}><a href=${runHref(each.key, "assets")}>${each.alias || each.key}</a> <span class="quiet">${each.kind}, ${each.name}</span></div>`)}
    ${users.count > users.runs.length && html`<p class="quiet">and ${countText(users.count - users.runs.length)} more</p>`}
    ${left > 0 && html`<p class="quiet">${countText(left)} runs are still to be read</p>`}
  <//>`;
}

/** @param {{ name: string, wish: object }} props */
function DownloadButton({ name, wish }) {
  const [error, setError] = useState("");
  if (source.report) return null;
  const load = () => saveByTicket(wish).then(() => setError(""), (problem) => setError(problem.message));
  return html`<button class="plain" aria-label=${`Download ${name}`} onClick=${load}>Download</button>${error && html`<div class="bad" role="alert">${error}</div>`}`;
}

/** The members of an archive or a folder, and one of them as text. @param {{ asset: Asset, row: any, query: URLSearchParams }} props */
function Members({ asset, row, query }) {
  const [state, setState] = useState({ answer: null, error: null });
  const [shown, setShown] = useState(null);
  const place = `runs/${encodeURIComponent(row.key)}/assets/${asset.number}/members`;
  const chosen = query.get("member");
  const isZip = asset.form === "zip";
  useEffect(() => {
    source.get(`${place}?limit=20000`).then((answer) => setState({ answer, error: null }), (error) => setState({ answer: null, error }));
  }, [place, asset.sha256]);
  useEffect(() => {
    let isMine = true;
    setShown(null);
    if (isZip && chosen !== null) source.get(`${place}/${encodeURIComponent(chosen)}`).then((found) => isMine && setShown(found), (error) => isMine && setShown({ reason: error.message, text: null, name: "" }));
    return () => void (isMine = false);
  }, [place, chosen]);
  const [search, setSearch] = useState("");
  const members = useMemo(() => (state.answer?.members ?? []).filter((each) => each.name.toLowerCase().includes(search.toLowerCase())), [state.answer, search]);
  const total = state.answer?.count ?? 0;
  return html`<div class="members" role="group" aria-label=${`Members of ${asset.name}`}>
    <h3><b>${asset.name}</b> <span class="quiet">${state.answer ? countOf(total, "member") : ""}${total > (state.answer?.listed ?? 0) + 1 ? `, ${countText(state.answer.listed)} listed` : ""}</span> <button class="link" onClick=${() => changeQuery({ asset: null, member: null })}>Close</button></h3>
    ${state.error && html`<p class="bad" role="alert">${state.error.message}</p>`}
    ${state.answer && html`<div class="members-panes">
      <div class="members-list"><input type="search" placeholder="Find members" aria-label="Find members" value=${search} onInput=${(event) => setSearch(event.target.value)} />
        <ul tabindex="0" aria-label="Members">${members.slice(0, SHOWN_ROWS).map((each) => html`<li key=${each.number}>
          ${isZip ? html`<button class="cut" aria-pressed=${String(String(each.number) === chosen)} title=${each.name} onClick=${() => changeQuery({ member: each.number })}>${each.name}</button>` : html`<button class="cut" title=${`Download ${each.name}`} onClick=${() => saveByTicket({ run: row.key, kind: "member", number: asset.number, member: each.number, name: each.name })}>${each.name}</button>`}
          <span class=${each.reason || each.remark ? "bad" : "quiet"} title=${each.reason ?? each.remark ?? ""}>${each.reason || each.remark ? "! " : ""}${bytesText(each.bytes)}</span></li>`)}
          ${members.length > SHOWN_ROWS && html`<li class="quiet">and ${countText(members.length - SHOWN_ROWS)} more: search for them</li>`}</ul></div>
      ${isZip && html`<${MemberText} ...${{ shown, chosen, row, asset, member: (state.answer.members ?? []).find((each) => String(each.number) === chosen) }} />`}
    </div>`}
  </div>`;
}

/** @param {any} props */
function MemberText({ shown, chosen, row, asset, member }) {
  if (chosen === null) return html`<p class="quiet member-text">Choose a member to read it.</p>`;
  if (!shown) return html`<div class="member-text"><span class="skeleton"></span></div>`;
  const lines = (shown.text ?? "").split("\n");
  const isCut = shown.cut || lines.length > MEMBER_LINES;
  return html`<div class="member-text">
    <div class="member-head"><b class="cut" title=${shown.name}>${shown.name}</b> <span class="quiet">${bytesText(shown.bytes)}</span><span class="grow"></span>
      ${member && !member.reason && html`<${DownloadButton} name=${shown.name} wish=${{ run: row.key, kind: "member", number: asset.number, member: member.number, name: member.name }} />`}</div>
    ${member?.remark && html`<p class="bad">Warning: ${member.remark}.</p>`}
    ${shown.reason && html`<p class="quiet">Not shown: ${shown.reason.replace(/\.$/, "")}.</p>`}
    ${shown.text !== null && html`<pre tabindex="0" aria-label=${shown.name}>${lines.slice(0, MEMBER_LINES).join("\n")}</pre>`}
    ${isCut && html`<p class="quiet">This is only the beginning. Download the file to have all of it.</p>`}
  </div>`;
}
