// @ts-check
/** The table of what goes with a result, and the values of config that it takes. */
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { fieldName } from "./explore_axes.js";
import { countOf, countText } from "./format.js";
import { importanceCount } from "./importance.js";
import { source } from "./source.js";

const MOST_ASKED = 150;
const MOST_ASKED_CHARACTERS = 12_000;
const AT_ONCE_MS = 20;

/**
 * The values of many fields, by run: asked for in pieces, and then only what has changed.
 * @param {string[]} names @param {unknown} rows another whenever a run has changed
 * @returns {Map<string, any> | null}
 */
export function useConfigCells(names, rows) {
  const [cells, setCells] = useState(/** @type {Map<string, any> | null} */ (null));
  const kept = useRef({ wanted: "", versions: /** @type {Map<string, string>} */ (new Map()), cells: new Map() });
  useEffect(() => {
    let isWanted = Boolean(rows);
    const wanted = names.join("\n");
    if (kept.current.wanted !== wanted) kept.current = { wanted, versions: new Map(), cells: new Map() };
    const { versions, cells: found } = kept.current;
    const load = async () => {
      for (const piece of piecesOf(names)) {
        const answer = await source.get(`runs?since=${encodeURIComponent(versions.get(piece) ?? "")}&${piece}`);
        if (!isWanted) return;
        versions.set(piece, answer.version);
        const columns = Object.entries(answer.columns).filter(([name]) => name.startsWith("config."));
        answer.columns.key.forEach((key, index) => {
          const row = found.get(key) ?? {};
          for (const [name, values] of columns) row[name] = values[index];
          found.set(key, row);
        });
      }
      setCells(new Map(found));
    };
    if (isWanted) load().catch(() => undefined);
    return () => void (isWanted = false);
  }, [names, rows]);
  return cells;
}

/** Queries that name all columns, none of them too long. @param {string[]} names */
function piecesOf(names) {
  const pieces = /** @type {string[][]} */ ([]);
  let length = Infinity;
  for (const part of names.map((name) => `col=${encodeURIComponent(name)}`)) {
    if (length + part.length > MOST_ASKED_CHARACTERS || pieces[pieces.length - 1].length >= MOST_ASKED) {
      pieces.push([]);
      length = 0;
    }
    pieces[pieces.length - 1].push(part);
    length += part.length;
  }
  return pieces.map((piece) => piece.join("&"));
}

/**
 * What goes with a result, counted a piece at a time, so that the page answers meanwhile.
 * @param {string[]} names @param {Map<string, any> | null} cells @param {any[]} runs @param {import("./explore_axes.js").ExploreColumn} result
 */
export function useImportances(names, cells, runs, result) {
  const [found, setFound] = useState(/** @type {import("./importance.js").Importances | null} */ (null));
  useEffect(() => {
    let isWanted = cells !== null;
    const counting = importanceCount(runs.map(result.read));
    const count = async () => {
      let begun = performance.now();
      for (const name of names) {
        counting.add(name, runs.map((run) => cells?.get(run.key)?.[name]));
        if (performance.now() - begun < AT_ONCE_MS) continue;
        await new Promise((resolve) => setTimeout(resolve));
        if (!isWanted) return;
        begun = performance.now();
      }
      setFound(counting.all());
    };
    if (isWanted) count();
    return () => void (isWanted = false);
  }, [cells, runs, result.id, result.name]);
  return found;
}

/** @param {{ found: import("./importance.js").Importances | null, result: string, constant: number, choose: (name: string) => void }} props */
export function ImportanceTable({ found, result, constant, choose }) {
  const left = found && [
    [found.few, "with fewer than 5 runs"],
    [found.constant + constant, "with only one value"],
    [found.own, "with a different text in each run"],
    [found.level, "whose runs all have the same result"],
  ].filter(([count]) => count).map(([count, why]) => `${countText(Number(count))} ${why}`);
  return html`<section class="importance" aria-label="Importance">
    <h2 class="cut" title=${result}>What goes with ${result}</h2>
    <p class="quiet">Rank correlation over ${countOf(found?.runs ?? 0, "run")}. It does not show a cause.</p>
    <div class="importance-rows" tabindex="0" role="group" aria-label="Fields by rank correlation">
      ${found && found.listed.length > 0 && html`<table>
        <thead><tr><th scope="col">Field</th><th scope="col">Correlation</th><th scope="col" class="right">Runs</th></tr></thead>
        <tbody>${found.listed.map((each) => html`<${ImportanceRow} key=${each.name} each=${each} result=${result} choose=${choose} />`)}</tbody>
      </table>`}
      ${found && !found.listed.length && html`<p class="quiet">No field of the config can be compared.</p>`}
    </div>
    ${left && left.length > 0 && html`<p class="foot">Left out: ${left.join(", ")}</p>`}
  </section>`;
}

/** @param {{ each: import("./importance.js").Importance, result: string, choose: (name: string) => void }} props */
function ImportanceRow({ each, result, choose }) {
  const { name, rho, strength, runs } = each;
  const text = rho === null ? strength.toFixed(2) : `${rho < 0 ? "−" : "+"}${Math.abs(rho).toFixed(2)}`;
  const words = rho === null ? `${result} differs between its values` : `${result} is ${rho < 0 ? "lower" : "higher"} if ${fieldName(name)} is higher`;
  return html`<tr>
    <th scope="row" class="cut"><button class="link" title=${`${name}: as x of the points`} onClick=${() => choose(name)}>${fieldName(name)}</button></th>
    <td title=${`${words}, over ${countOf(runs, "run")}`}><span class="bar-of"><span class=${rho !== null && rho < 0 ? "below" : ""} style=${{ width: `${strength * 100}%` }}></span></span> ${text}</td>
    <td class="right">${countText(runs)}</td>
  </tr>`;
}
