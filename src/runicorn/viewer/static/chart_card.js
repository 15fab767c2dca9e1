// @ts-check
/** The card of one metric: its name and the value under the crosshair, the chart, and what is shown of how much. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { saveCsv, savePng, saveSvg } from "./chart_save.js";
import { plotData } from "./curve_columns.js";
import { useCurves } from "./curve_store.js";
import { countOf, countText, valueText } from "./format.js";
import { CURVE_COLOURS, Popover, curveStyle, useSize } from "./parts.js";
import { Plot, placeText } from "./plot.js";
import { isFramed } from "./report_data.js";

/** A bucket is as wide as a line is thick: more of them would make a noisy curve a solid block. */
const PX_A_BUCKET = 1.5;
/** Of several curves the bands lie over each other. */
const PX_A_BUCKET_OF_SEVERAL = 4;
const TOLD_HEIGHT = 16;
const MOST_FIGURES = 100;

/**
 * @typedef {import("./plot.js").Curve} Curve
 * @typedef {object} CardActions
 * @property {(from: number | null, to: number | null) => void} zoom
 * @property {(metric: string) => void} logY
 * @property {(metric: string) => void} only
 * @property {(metric: string) => void} pin
 * @property {(metric: string) => void} hide
 * @property {() => void} old
 */

/**
 * How the curves of a run or a group look where there are several.
 * @typedef {{ name: string, slot: number, isPinned: boolean }} CurveLook
 */

/** @type {Set<(id: string | null) => void>} */
const lightListeners = new Set();

/** Light the curves of a run or a group on all charts; null ends that. @param {string | null} id */
export function lightCurves(id) {
  for (const light of lightListeners) light(id);
}

/** @param {import("./source.js").CurveHead} head */
function ownerOf(head) {
  return head.group ?? head.run;
}

/**
 * Curves with their names, colours and dashes, those on top last.
 * @param {import("./source.js").Curve[]} curves @param {Map<string, CurveLook> | undefined} looks @returns {Curve[]}
 */
function labelled(curves, looks) {
  const counts = new Map();
  const found = curves.map((curve, index) => {
    const part = partName(curve);
    const look = looks?.get(ownerOf(curve.head));
    if (!look) return { ...curve, slot: index, name: part || "now" };
    const nth = counts.get(look) ?? 0;
    counts.set(look, nth + 1);
    // Ranks of one run have its colour, and dashes of their own.
    return { ...curve, slot: look.slot + nth * CURVE_COLOURS, name: part ? `${look.name}, ${part}` : look.name, isPinned: look.isPinned };
  });
  return looks ? found.sort((first, second) => Number(first.isPinned ?? 0) - Number(second.isPinned ?? 0)) : found;
}

/**
 * @param {{ metric: string, name: string, wish: any, versions: Record<string, string>, looks?: Map<string, CurveLook>, view: import("./plot.js").PlotView, isPinned: boolean, isOnly: boolean, actions: CardActions }} props
 */
export function ChartCard({ metric, name, wish, versions, looks, view, isPinned, isOnly, actions }) {
  const box = useRef(null);
  const read = useRef(null);
  const plot = useRef(null);
  const size = useSize(box);
  const [hovered, setHovered] = useState(null);
  const [isNear, setNear] = useState(!looks);
  const isShared = (looks?.size ?? 0) > 1;
  const buckets = size.width ? Math.min(2000, Math.ceil(size.width / (isShared ? PX_A_BUCKET_OF_SEVERAL : PX_A_BUCKET) / 50) * 50) : 0;
  const found = useCurves({ ...wish, log: view.logY, buckets }, metric, versions);
  const curves = useMemo(() => labelled(found.curves, looks), [found.curves, looks]);
  const drawn = useMemo(() => plotData(curves, view.logY, view.band), [curves, view.logY, view.band]);
  const several = looks ? curves.length > 0 : curves.length > 1;
  const latest = useRef(null);
  latest.current = { drawn, view, curves, several, isTold: several && isNear };
  useEffect(() => {
    if (!box.current || !size.width || !curves.length) return dropPlot(plot);
    if (plot.current && !plot.current.fits(drawn, view)) dropPlot(plot);
    if (plot.current) plot.current.update(drawn, view);
    else plot.current = new Plot(box.current, size, drawn, view, eventsOf(actions, read, latest, setHovered));
    showReading(read.current, latest.current, plot.current.chart.cursor.idx ?? null);
  }, [drawn, view, size.width > 0]);
  useEffect(() => void (plot.current && size.width && plot.current.resize(size)), [size.width, size.height]);
  useEffect(() => () => dropPlot(plot), []);
  useEffect(() => {
    const light = (id) => plot.current?.highlight(id === null ? null : (curve) => curve >= 0 && latest.current.curves[curve] && ownerOf(latest.current.curves[curve].head) === id);
    lightListeners.add(light);
    return () => void lightListeners.delete(light);
  }, []);
  const keys = (event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    setNear(true);
    plot.current?.step(event.shiftKey ? by * 10 : by);
  };
  const near = (is) => () => looks && setNear(is);
  // It stays as it is while the mouse moves.
  const below = useMemo(() => html`<${Foot} curves=${curves} logY=${view.logY} band=${view.band} /><${FiguresTable} metric=${metric} name=${name} curves=${curves} isNamed=${Boolean(looks)} />`, [curves, view.logY, view.band, name]);
  return html`<figure class="card" aria-label=${metric} data-metric=${metric}>
    <div class="card-head">
      <h3 class="cut" title=${metric}>${metric}</h3><span class="grow"></span>
      <span class="read" ref=${read}></span>
      <${Popover} label="⋯" name=${`Menu of ${metric}`} kind="menu" plain=${true}>${(close) => html`<${CardMenu} ...${{ metric, view, curves, drawn, plot, name, isPinned, isOnly, wish, actions, close }} />`}<//>
    </div>
    <div class="plot" ref=${box} tabindex="0" role="img" aria-label=${`Chart of ${metric}; its figures are in the table below`} onKeyDown=${keys}
      onPointerEnter=${near(true)} onPointerLeave=${near(false)} onFocus=${near(true)} onBlur=${near(false)}>
      ${!curves.length && html`<span class="frame"></span>${found.error && html`<span class="note">${found.error}</span>`}`}
      ${several && isNear && hovered !== null && html`<${Tip} curves=${curves} drawn=${drawn} index=${hovered} plot=${plot.current} view=${view} />`}
    </div>
    ${below}
  </figure>`;
}

/** @param {any} actions @param {any} read @param {any} latest @param {any} setHovered */
function eventsOf(actions, read, latest, setHovered) {
  return {
    zoom: actions.zoom,
    reset: () => actions.zoom(null, null),
    hover: (index) => {
      showReading(read.current, latest.current, index);
      if (latest.current.isTold) setHovered(index);
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
function showReading(element, { drawn, view, curves, several }, index) {
  if (!element) return;
  if (several && curves.length > 1) return showRange(element, { drawn, view, curves }, index);
  const main = curves.findIndex((each) => !each.head.superseded);
  const value = index === null ? curves[main]?.head.last_value : valueAt(drawn, main, index);
  const strong = document.createElement("b");
  strong.textContent = valueText(value, view.isBytes);
  strong.title = strong.dataset.exact = value === null || value === undefined ? "" : String(value);
  element.replaceChildren(strong, index === null || value === null ? "" : ` at ${placeText(drawn.data[0][index], view.x)}`);
}

/** From where to where several curves go at the crosshair. @param {HTMLElement} element @param {any} shown @param {number | null} index */
function showRange(element, { drawn, view, curves }, index) {
  const values = index === null ? [] : curves.map((_curve, at) => valueAt(drawn, at, index)).filter((value) => value !== null);
  const strong = document.createElement("b");
  if (values.length) strong.textContent = `${valueText(Math.min(...values), view.isBytes)} to ${valueText(Math.max(...values), view.isBytes)}`;
  element.replaceChildren(strong, values.length ? ` at ${placeText(drawn.data[0][index ?? 0], view.x)}` : "");
}

/** @param {import("./plot.js").PlotData} drawn @param {number} curve @param {number} index */
function valueAt(drawn, curve, index) {
  const values = drawn.data[drawn.lines[curve]];
  if (!drawn.lines[curve] || !values) return null;
  let near = index;
  while (near > 0 && values[near] === undefined) near--;
  return values[near] ?? null;
}

/** What is under the crosshair, the greatest first. @param {any} props */
function Tip({ curves, drawn, index, plot, view }) {
  const rows = curves.map((curve, at) => ({ at, curve, value: valueAt(drawn, at, index) })).filter((row) => row.value !== null);
  const sorted = rows.sort((first, second) => second.value - first.value);
  const most = Math.max(3, Math.floor(((plot?.chart.height ?? 0) - 56) / TOLD_HEIGHT));
  const isLeft = (plot?.chart.cursor.left ?? 0) > (plot?.chart.over.clientWidth ?? 0) / 2;
  return html`<div class="tip" style=${isLeft ? { left: "60px" } : { right: "12px" }}>
    <div class="quiet">${placeText(drawn.data[0][index], view.x)}</div>
    ${sorted.slice(0, most).map(({ at, curve, value }) => html`<div key=${at} class="tip-row"><${Swatch} slot=${curve.slot} /><span class="cut">${curve.name}</span><b>${valueText(value, view.isBytes)}</b></div>`)}
    ${sorted.length > most && html`<div class="quiet">and ${countText(sorted.length - most)} below</div>`}
  </div>`;
}

/** A piece of a curve, with its colour and dashes. @param {{ slot: number }} props */
export function Swatch({ slot }) {
  const { colour, dash } = curveStyle(slot);
  return html`<svg class="swatch" viewBox="0 0 20 8" aria-hidden="true"><line x1="0" x2="20" y1="4" y2="4" stroke=${colour} stroke-width="2.5" stroke-dasharray=${dash.join(" ")} /></svg>`;
}

/** Which of a run's curves it is. @param {import("./source.js").Curve} curve */
function partName({ head }) {
  const rank = head.rank === null || head.rank === undefined ? "" : typeof head.rank === "number" ? `rank ${head.rank}` : String(head.rank);
  return head.superseded ? `${rank} before the resume`.trim() : rank;
}

/** "1,000 of 10,000,000 points, min to max shown". @param {{ curves: Curve[], logY: boolean, band?: string }} props */
function Foot({ curves, logY, band }) {
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
    ${heads.length > 1 || head.group ? severalText(heads, sum, band) : shownText(head)}${indexed < 1 ? ` · ${Math.floor(indexed * 100)} % indexed` : ""}${odd && html` · <span class="warn">${odd}</span>`}${replaced > 0 && ` · ${countText(replaced)} replaced by a resume`}
  </figcaption>`;
}

/** @param {import("./source.js").CurveHead[]} heads @param {(name: string) => number} sum @param {string} [band] */
function severalText(heads, sum, band) {
  const curves = countOf(heads.length, "curve");
  if (heads[0].group) return `${curves}: mean of ${countOf(sum("members"), "run")}, ${band === "std" ? "± standard deviation" : "least to greatest"}`;
  const whole = sum("in_range") < sum("total") ? `${countText(sum("in_range"))} in view of ${countText(sum("total"))}` : countText(sum("total"));
  if (heads.every((head) => head.kind === "points")) return `${whole} points of ${curves}, each shown`;
  return `${countText(sum("n"))} of ${whole} points of ${curves}, min to max shown`;
}

/** @param {import("./source.js").CurveHead} head */
function shownText(head) {
  if (!head.in_range && head.total) return `none of ${countText(head.total)} points in this range`;
  const whole = head.in_range < head.total ? `${countText(head.in_range)} in view of ${countText(head.total)}` : countText(head.total);
  if (head.finest) return `${countText(head.n)} of ${whole} points, min to max shown; the report holds no more`;
  if (head.kind === "points") return head.in_range < head.total ? `${whole} points, each shown` : `${whole} point${head.total === 1 ? "" : "s"}, each shown`;
  return `${countText(head.n)} of ${whole} points, min to max shown`;
}

/** The figures of a chart for those who do not see it. @param {{ metric: string, name: string, curves: Curve[], isNamed: boolean }} props */
function FiguresTable({ metric, name, curves, isNamed }) {
  return html`<div class="hidden-text"><table class="figures">
    <caption>${metric}</caption>
    <thead><tr><th>Run</th><th>Last</th><th>Min</th><th>Max</th><th>n</th></tr></thead>
    <tbody>${curves.slice(0, MOST_FIGURES).map((curve) => html`<tr>
      <th scope="row">${isNamed ? curve.name : curves.length > 1 ? `${name}, ${curve.name}` : name}</th>
      <td>${exactText(curve.head.last_value)}</td><td>${exactText(curve.head.low)}</td><td>${exactText(curve.head.high)}</td><td>${curve.head.in_range}</td>
    </tr>`)}</tbody>
  </table>${curves.length > MOST_FIGURES && html`<p>and ${countText(curves.length - MOST_FIGURES)} more curves</p>`}</div>`;
}

/** @param {number | null} value */
function exactText(value) {
  return value === null || value === undefined ? "none" : String(value);
}

/** @param {any} props */
function CardMenu({ metric, view, curves, drawn, plot, name, isPinned, isOnly, wish, actions, close }) {
  const item = (text, act) => html`<button onClick=${() => { act(); close(); }}>${text}</button>`;
  const replaced = curves.some((each) => each.head.replaced > 0);
  const what = { title: `${metric} · ${name}`, metric, curves, drawn, view, chart: plot.current?.chart };
  const file = `${name}-${metric}`;
  return html`
    ${item(view.logY ? "Linear y" : "Log y", () => actions.logY(metric))}
    ${item(isOnly ? "Show all charts" : "Only this chart", () => actions.only(metric))}
    ${item(isPinned ? "Unpin" : "Pin to the top", () => actions.pin(metric))}
    ${item("Hide", () => actions.hide(metric))}
    ${(replaced || wish.superseded) && item(wish.superseded ? "Hide what the resume replaced" : "Show what the resume replaced", actions.old)}
    ${!isFramed && item("Save as PNG", () => savePng(what, `${file}.png`))}
    ${!isFramed && item("Save as SVG", () => saveSvg(what, `${file}.svg`))}
    ${!isFramed && item("Save as CSV", () => saveCsv(what, `${file}.csv`))}
`;
}
