// @ts-check
/** The card of one metric: its name and the value under the crosshair, the chart, and what is shown of how much. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { saveCsv, savePng, saveSvg } from "./chart_save.js";
import { useCurves } from "./curve_store.js";
import { countText, shortNumber } from "./format.js";
import { Popover, curveStyle, useSize } from "./parts.js";
import { Plot, placeText, plotData } from "./plot.js";
import { isFramed } from "./report_data.js";

/** A bucket is as wide as a line is thick: more of them would make a noisy curve a solid block. */
const PX_A_BUCKET = 1.5;

/**
 * @typedef {import("./source.js").Curve} Curve
 * @typedef {object} CardActions
 * @property {(from: number | null, to: number | null) => void} zoom
 * @property {(metric: string) => void} logY
 * @property {(metric: string) => void} only
 * @property {(metric: string) => void} pin
 * @property {(metric: string) => void} hide
 * @property {() => void} old
 */

/**
 * @param {{ metric: string, name: string, version: string, settings: any, view: import("./plot.js").PlotView, isPinned: boolean, isOnly: boolean, actions: CardActions }} props
 */
export function ChartCard({ metric, name, version, settings, view, isPinned, isOnly, actions }) {
  const box = useRef(null);
  const read = useRef(null);
  const plot = useRef(null);
  const size = useSize(box);
  const [hovered, setHovered] = useState(null);
  const buckets = size.width ? Math.min(2000, Math.ceil(size.width / PX_A_BUCKET / 50) * 50) : 0;
  const kept = useCurves({ ...settings, log: view.logY, buckets }, metric, version, true);
  const curves = useMemo(() => (kept?.curves ?? []).filter((each) => !each.head.error), [kept]);
  const drawn = useMemo(() => plotData(curves, view.logY), [curves, view.logY]);
  const several = curves.length > 1;
  const latest = useRef(null);
  latest.current = { drawn, view, several, curves };
  useEffect(() => {
    if (!box.current || !size.width || !curves.length) return;
    if (plot.current && !plot.current.fits(drawn, view)) dropPlot(plot);
    if (plot.current) plot.current.update(drawn, view);
    else plot.current = new Plot(box.current, size, drawn, view, eventsOf(actions, read, latest, setHovered));
    showReading(read.current, latest.current, plot.current.chart.cursor.idx ?? null);
  }, [drawn, view, size.width > 0]);
  useEffect(() => void (plot.current && size.width && plot.current.resize(size)), [size.width, size.height]);
  useEffect(() => () => dropPlot(plot), []);
  const keys = (event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    plot.current?.step(event.shiftKey ? by * 10 : by);
  };
  const trouble = kept?.error || kept?.curves.find((each) => each.head.error)?.head.error || "";
  return html`<figure class="card" aria-label=${metric} data-metric=${metric}>
    <div class="card-head">
      <h3 class="cut" title=${metric}>${metric}</h3><span class="grow"></span>
      <span class="read" ref=${read}></span>
      <${Popover} label="⋯" name=${`Menu of ${metric}`} kind="menu" plain=${true}>${(close) => html`<${CardMenu} ...${{ metric, view, curves, drawn, plot, name, isPinned, isOnly, settings, actions, close }} />`}<//>
    </div>
    <div class="plot" ref=${box} tabindex="0" role="img" aria-label=${`Chart of ${metric}; its figures are in the table below`} onKeyDown=${keys}>
      ${!curves.length && html`<span class="frame"></span>${trouble && html`<span class="note">${trouble}</span>`}`}
      ${several && hovered !== null && html`<${Tip} curves=${curves} drawn=${drawn} index=${hovered} plot=${plot.current} x=${view.x} />`}
    </div>
    <${Foot} curves=${curves} logY=${view.logY} superseded=${settings.superseded} />
    <${FiguresTable} metric=${metric} name=${name} curves=${curves} />
  </figure>`;
}

/** @param {any} actions @param {any} read @param {any} latest @param {any} setHovered */
function eventsOf(actions, read, latest, setHovered) {
  return {
    zoom: actions.zoom,
    reset: () => actions.zoom(null, null),
    hover: (index) => {
      showReading(read.current, latest.current, index);
      if (latest.current.several) setHovered(index);
    },
  };
}

/** @param {{ current: Plot | null }} plot */
function dropPlot(plot) {
  plot.current?.destroy();
  plot.current = null;
}

/**
 * What is under the crosshair, or the last value; written straight into its place, for it follows the mouse.
 * @param {HTMLElement | null} element @param {any} shown @param {number | null} index
 */
function showReading(element, { drawn, view, curves }, index) {
  if (!element) return;
  const main = curves.findIndex((each) => !each.head.superseded);
  const value = index === null ? curves[main]?.head.last_value : valueAt(drawn, main, index);
  const strong = document.createElement("b");
  strong.textContent = shortNumber(value);
  strong.title = strong.dataset.exact = value === null || value === undefined ? "" : String(value);
  element.replaceChildren(strong, index === null || value === null ? "" : ` at ${placeText(drawn.data[0][index], view.x)}`);
}

/** @param {import("./plot.js").PlotData} drawn @param {number} curve @param {number} index */
function valueAt(drawn, curve, index) {
  const at = drawn.series.findIndex((part) => part.curve === curve && part.role === "line");
  if (at < 0) return null;
  const values = drawn.data[at + 1];
  let near = index;
  while (near > 0 && values[near] === undefined) near--;
  return values[near] ?? null;
}

/** What is under the crosshair, the greatest first. @param {any} props */
function Tip({ curves, drawn, index, plot, x }) {
  const rows = curves.map((curve, at) => ({ at, name: curveName(curve), value: valueAt(drawn, at, index) }));
  const sorted = rows.filter((row) => row.value !== null).sort((first, second) => second.value - first.value).slice(0, 12);
  const isLeft = (plot?.chart.cursor.left ?? 0) > (plot?.chart.over.clientWidth ?? 0) / 2;
  return html`<div class="tip" style=${isLeft ? { left: "60px" } : { right: "12px" }}>
    <div class="quiet">${placeText(drawn.data[0][index], x)}</div>
    ${sorted.map((row) => html`<div key=${row.at}><span style=${{ color: curveStyle(row.at).colour }}>■</span> ${row.name} <b>${shortNumber(row.value)}</b></div>`)}
  </div>`;
}

/** @param {Curve} curve */
function curveName({ head }) {
  const rank = head.rank === null || head.rank === undefined ? "" : typeof head.rank === "number" ? `rank ${head.rank}` : String(head.rank);
  return head.superseded ? `${rank} before the resume`.trim() : rank || head.group || "now";
}

/** "1,000 of 10,000,000 points, min to max shown". @param {{ curves: Curve[], logY: boolean, superseded: boolean }} props */
function Foot({ curves, logY }) {
  const heads = curves.filter((each) => !each.head.superseded).map((each) => each.head);
  const head = heads[0];
  if (!head) return html`<figcaption class="foot"> </figcaption>`;
  const sum = (name) => heads.reduce((total, each) => total + (each[name] ?? 0), 0);
  const odd = [
    sum("nan") ? `${countText(sum("nan"))} NaN` : "",
    sum("inf") ? `${countText(sum("inf"))} infinite` : "",
    logY && sum("log_hidden") ? `${countText(sum("log_hidden"))} ≤ 0 not on a log axis` : "",
  ].filter(Boolean).join(" · ");
  const replaced = sum("replaced");
  const indexed = Math.min(...heads.map((each) => each.indexed ?? 1));
  return html`<figcaption class="foot cut">
    ${shownText(head)}${heads.length > 1 ? `, ${heads.length} curves` : ""}${indexed < 1 ? ` · ${Math.floor(indexed * 100)} % indexed` : ""}${odd && html` · <span class="warn">${odd}</span>`}${replaced > 0 && ` · ${countText(replaced)} replaced by a resume`}
  </figcaption>`;
}

/** @param {import("./source.js").CurveHead} head */
function shownText(head) {
  if (!head.in_range && head.total) return `none of ${countText(head.total)} points in this range`;
  const whole = head.in_range < head.total ? `${countText(head.in_range)} in view of ${countText(head.total)}` : countText(head.total);
  if (head.finest) return `${countText(head.n)} of ${whole} points, min to max shown; the report holds no more`;
  if (head.kind === "points") return head.in_range < head.total ? `${whole} points, each shown` : `${whole} point${head.total === 1 ? "" : "s"}, each shown`;
  return `${countText(head.n)} of ${whole} points, min to max shown`;
}

/** The figures of a chart for those who do not see it. @param {{ metric: string, name: string, curves: Curve[] }} props */
function FiguresTable({ metric, name, curves }) {
  return html`<div class="hidden-text"><table class="figures">
    <caption>${metric}</caption>
    <thead><tr><th>Run</th><th>Last</th><th>Min</th><th>Max</th><th>n</th></tr></thead>
    <tbody>${curves.map((curve) => html`<tr>
      <th scope="row">${curves.length > 1 ? `${name}, ${curveName(curve)}` : name}</th>
      <td>${exactText(curve.head.last_value)}</td><td>${exactText(curve.head.low)}</td><td>${exactText(curve.head.high)}</td><td>${curve.head.in_range}</td>
    </tr>`)}</tbody>
  </table></div>`;
}

/** @param {number | null} value */
function exactText(value) {
  return value === null || value === undefined ? "none" : String(value);
}

/** @param {any} props */
function CardMenu({ metric, view, curves, drawn, plot, name, isPinned, isOnly, settings, actions, close }) {
  const item = (text, act) => html`<button onClick=${() => { act(); close(); }}>${text}</button>`;
  const replaced = curves.some((each) => each.head.replaced > 0);
  const what = { title: `${metric} · ${name}`, metric, curves, drawn, view, chart: plot.current?.chart };
  const file = `${name}-${metric}`;
  return html`
    ${item(view.logY ? "Linear y" : "Log y", () => actions.logY(metric))}
    ${item(isOnly ? "Show all charts" : "Only this chart", () => actions.only(metric))}
    ${item(isPinned ? "Unpin" : "Pin to the top", () => actions.pin(metric))}
    ${item("Hide", () => actions.hide(metric))}
    ${(replaced || settings.superseded) && item(settings.superseded ? "Hide what the resume replaced" : "Show what the resume replaced", actions.old)}
    ${!isFramed && item("Save as PNG", () => savePng(what, `${file}.png`))}
    ${!isFramed && item("Save as SVG", () => saveSvg(what, `${file}.svg`))}
    ${!isFramed && item("Save as CSV", () => saveCsv(what, `${file}.csv`))}
`;
}
