// @ts-check
/** The legend of a comparison is a table of what differs: each row shows, hides, pins or singles out its curve. */
import { html, useMemo } from "./vendor/htm-preact.js";
import { changeQuery, currentQuery, hrefOf, runHref } from "./address.js";
import { Swatch, lightCurves } from "./chart_card.js";
import { flipped, namesText } from "./charts_tab.js";
import { GROUP_COLUMNS } from "./compare_groups.js";
import { inOrder } from "./filter.js";
import { countText, shortNumber, stepText } from "./format.js";
import { Popover, Status } from "./parts.js";

const MOST_LEGEND_COLUMNS = 16;

/** By what runs are grouped, and what the band of a group is. @param {{ query: URLSearchParams, answer: any }} props */
export function GroupChoice({ query, answer }) {
  const by = query.get("group") ?? "";
  const options = ["config", "summary"].flatMap((part) => answer[part].names.map((name) => `${part}.${name}`));
  const known = ["", ...GROUP_COLUMNS, ...options];
  const isShort = !known.includes(by);
  return html`<label>Group <select value=${by} onChange=${(event) => changeQuery({ group: event.target.value, off: null, top: null, solo: null }, true)}>
      <option value="">none</option>
      ${isShort && html`<option value=${by}>${by}</option>`}
      ${[...GROUP_COLUMNS, ...options].map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select></label>
    ${by && html`<label>Band <select value=${query.get("band") ?? "std"} onChange=${(event) => changeQuery({ band: event.target.value === "std" ? null : event.target.value })}>
      <option value="std">± std deviation</option><option value="minmax">min to max</option></select></label>`}`;
}

/** @param {any} props */
export function CompareLegend({ owners, groups, compared, answer, picked, query }) {
  const rows = useMemo(() => new Map(compared.map((run) => [run.key, run.row])), [compared]);
  const place = useMemo(() => new Map(answer.runs.map((row, at) => [row.key, at])), [answer]);
  const config = groups ? [] : answer.config.names.map((name, at) => ({ name, values: answer.config.values[at], align: answer.config.values[at].every((value) => value === null || typeof value === "number") ? "num" : "" })).slice(0, MOST_LEGEND_COLUMNS);
  const more = groups ? 0 : answer.config.names.length - config.length;
  const best = useMemo(() => bestOfAll(compared.map((run) => run.row)), [compared]);
  const order = groups ? "" : query.get("order") ?? "";
  const sorted = useMemo(() => (order ? inLegendOrder(owners, order, rows, config, place) : owners), [owners, order, rows, answer]);
  const heading = (name, text, align, title) => html`<th scope="col" class=${align} key=${name} title=${title} aria-sort=${order === name ? "ascending" : order === `-${name}` ? "descending" : null}>
    <button onClick=${() => changeQuery({ order: order === name ? `-${name}` : order === `-${name}` ? null : name })}>${text}${order === name ? " ↑" : order === `-${name}` ? " ↓" : ""}</button></th>`;
  const hidden = owners.filter((owner) => (picked.solo ? owner.id !== picked.solo : picked.off.includes(owner.id))).length;
  const all = hidden || picked.solo ? html`<button class="link" onClick=${() => changeQuery({ off: null, solo: null })}>show all ${countText(owners.length)}</button>` : null;
  return html`<div class="legend" role="region" aria-label="Legend" tabindex="0"><table>
    <caption class="hidden-text">The curves, and what differs between their runs</caption>
    <thead><tr>
      <th scope="col" class="pick"><input type="checkbox" aria-label="Show all" checked=${!hidden} onClick=${() => changeQuery({ solo: null, off: hidden ? null : namesText(owners.map((owner) => owner.id)) })} /></th>
      <th scope="col">${groups ? "Group" : "Run"} ${hidden > 0 && html`<span class="quiet">${countText(hidden)} hidden, </span>`}${all}</th>
      ${groups ? html`<th scope="col" class="num">Runs</th><th scope="col" class="num">Best, mean</th>` : html`<th scope="col">Status</th>
      ${config.map(({ name, align }) => heading(`config.${name}`, shortName(name, config), align, `config.${name}`))}
      ${more > 0 && html`<th scope="col"><a href=${hrefOf("compare", withTab(query))}>${countText(more)} more</a></th>`}
      ${heading("best", best.name ? `Best ${best.name}` : "Best", "num", "Best first; once more turns it round")}${heading("last_step", "Step", "num", "The last step")}`}
      <th scope="col"><span class="hidden-text">Menu</span></th>
    </tr></thead>
    <tbody>${sorted.map((owner) => html`<${LegendRow} key=${owner.id} ...${{ owner, row: groups ? null : rows.get(owner.id), rows, config, more, at: place.get(owner.id), picked, isBest: best.keys.includes(owner.id) }} />`)}</tbody>
  </table></div>`;
}

/** Which runs have the best value, if all that have one mean the same by it. @param {any[]} rows */
function bestOfAll(rows) {
  const having = rows.filter((row) => Number.isFinite(row.best_metric_value));
  const { best_metric_name: name, best_metric_mode: mode } = having[0] ?? {};
  if (!having.every((row) => row.best_metric_name === name && row.best_metric_mode === mode)) return { name: "", keys: [] };
  const values = having.map((row) => row.best_metric_value);
  const best = values.reduce((found, value) => (mode === "max" ? Math.max(found, value) : Math.min(found, value)), values[0]);
  return { name: name ?? "", keys: having.length > 1 ? having.filter((row) => row.best_metric_value === best).map((row) => row.key) : [] };
}

/** Only the rows move: a run keeps its colour. @param {any[]} owners @param {string} order @param {Map<string, any>} rows @param {any[]} config @param {Map<string, number>} place */
function inLegendOrder(owners, order, rows, config, place) {
  const cells = owners.map((owner) => ({ ...rows.get(owner.id), ...Object.fromEntries(config.map(({ name, values }) => [`config.${name}`, values[place.get(owner.id) ?? -1] ?? null])), owner }));
  return inOrder(cells, order, config.map(({ name }) => `config.${name}`)).map((each) => each.owner);
}

/** The query with the table of all that differs. @param {URLSearchParams} query */
function withTab(query) {
  const other = new URLSearchParams(query);
  other.set("tab", "differences");
  return other;
}

/** The last part of a name, unless two would be the same. @param {string} name @param {{ name: string }[]} all */
function shortName(name, all) {
  const last = (text) => text.split(".").pop() ?? text;
  return all.filter((each) => last(each.name) === last(name)).length > 1 ? name : last(name);
}

/** @param {any} props */
function LegendRow({ owner, row, rows, config, more, at, picked, isBest }) {
  const isOn = picked.solo ? picked.solo === owner.id : !picked.off.includes(owner.id);
  const light = (id) => () => lightCurves(id);
  const flip = () => (picked.solo ? changeQuery({ solo: null }) : changeQuery({ off: flipped(picked.off, owner.id) }));
  const name = html`<${Swatch} slot=${owner.slot} /> ${owner.isPinned && html`<span title="pinned: drawn thicker, on top">▲ </span>`}`;
  return html`<tr class=${isOn ? "" : "off"} onPointerEnter=${light(owner.id)} onPointerLeave=${light(null)} onFocusIn=${light(owner.id)} onFocusOut=${light(null)}>
    <td class="pick"><input type="checkbox" aria-label=${`Show ${owner.name}`} checked=${isOn} onClick=${flip} /></td>
    <th scope="row">${name}${row ? html`<a href=${runHref(row.key)} title=${row.id}>${owner.name}</a>` : html`<span title=${owner.runs.join("\n")}>${owner.id}</span>`}</th>
    ${row ? html`<td><${Status} run=${row} /></td>
      ${config.map(({ name: column, values, align }) => html`<td class=${align} key=${column} title=${values[at] === null ? "" : String(values[at])}>${shortNumber(values[at])}</td>`)}
      ${more > 0 && html`<td></td>`}
      <td class="num" title=${isBest ? "The best of these runs" : row.best_metric_name ?? ""} data-exact=${row.best_metric_value}>${isBest ? html`<b>${shortNumber(row.best_metric_value)}<span class="hidden-text"> (the best)</span></b>` : shortNumber(row.best_metric_value)}</td>
      <td class="num">${stepText(row.last_step)}</td>` : html`<td class="num">${countText(owner.runs.length)}</td><td class="num">${meanOfBest(owner.runs.map((key) => rows.get(key)))}</td>`}
    <td><${Popover} label="⋯" name=${`Menu of ${owner.name}`} kind="menu" plain=${true}>${(close) => html`<${LegendMenu} ...${{ owner, picked, close, isRun: Boolean(row) }} />`}<//></td>
  </tr>`;
}

/** @param {any[]} runs */
function meanOfBest(runs) {
  const values = runs.map((run) => run?.best_metric_value).filter((value) => typeof value === "number");
  const isOne = new Set(runs.map((run) => run?.best_metric_name)).size === 1;
  if (!values.length || !isOne) return "";
  const mean = values.reduce((total, value) => total + value, 0) / values.length;
  const spread = Math.sqrt(values.reduce((total, value) => total + (value - mean) ** 2, 0) / Math.max(1, values.length - 1));
  return `${shortNumber(mean)} ± ${shortNumber(spread)}`;
}

/** @param {any} props */
function LegendMenu({ owner, picked, close, isRun }) {
  const item = (text, changes, keep) => html`<button onClick=${() => { changeQuery(changes, keep); lightCurves(null); close(); }}>${text}</button>`;
  const isSolo = picked.solo === owner.id;
  return html`
    ${item(isSolo ? "Show all" : "Only this", { solo: isSolo ? null : owner.id })}
    ${item(owner.isPinned ? "Unpin" : "Pin to the top", { top: flipped(picked.top, owner.id) })}
    ${isRun && item("Remove from the comparison", { runs: without(owner.id), top: null, solo: null }, true)}`;
}

/** The runs of the address but for one, whose place stays empty: so the others keep their colours. @param {string} key */
function without(key) {
  const places = (currentQuery().get("runs") ?? "").split(",");
  return places.map((each) => (each === key ? "" : each)).join(",").replace(/,+$/, "");
}

