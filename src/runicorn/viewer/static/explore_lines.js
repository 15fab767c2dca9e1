// @ts-check
/** Runs as lines over many axes: parallel coordinates. */
import { html, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { axisTicks, brushBetween, notShownText, scaleText } from "./explore_axes.js";
import { BrushEnds, placeWithin, useDrag } from "./explore_brush.js";
import { fittingText, paintLines, paintPaleLines, paintText, strokeRuns, useCanvas } from "./explore_paint.js";
import { ExploreTip } from "./explore_scatter.js";
import { countText } from "./format.js";
import { Popover, themeColour, useSize } from "./parts.js";

const LINES_SIDE = 56;
const LINES_TOP = 12;
const LINES_BOTTOM = 12;
const NEAR_AXIS_PX = 12;
const NEAR_LINE_PX = 8;
const LEAST_AXIS_PX = 84;
const MOST_TIP = 12;

/**
 * @param {{ runs: any[], axes: import("./explore_axes.js").ExploreAxis[], colours: any, kept: Uint8Array, brushes: Map<string, any>,
 *   setBrush: import("./explore_brush.js").SetBrush, lit: number, setLit: (index: number) => void, openRun: (index: number) => void, isDark: boolean,
 *   change: { move: (from: number, to: number) => void, take: (index: number) => void, log: (axis: any) => void, as: (role: string, axis: any) => void } }} props
 */
export function ParallelPlot({ runs, axes, colours, kept, brushes, setBrush, lit, setLit, openRun, isDark, change }) {
  const box = useRef(null);
  const pale = useRef(null);
  const base = useRef(null);
  const over = useRef(null);
  const focused = useRef(-1);
  const outer = useSize(box);
  const [dragged, setDragged] = useState(/** @type {{ at: number, left: number } | null} */ (null));
  const [isOver, setOver] = useState(false);
  const isLeft = useRef(false);
  const width = Math.max(outer.width, axes.length * LEAST_AXIS_PX);
  const size = { width, height: outer.height && outer.height - 52 };
  const height = Math.max(1, size.height - LINES_TOP - LINES_BOTTOM);
  const gap = axes.length > 1 ? (width - 2 * LINES_SIDE) / (axes.length - 1) : 0;
  const across = useMemo(() => axes.map((_, at) => (axes.length > 1 ? LINES_SIDE + at * gap : width / 2)), [axes, width]);
  const down = useMemo(() => axes.map((axis) => axis.shares.map((share) => LINES_TOP + (1 - share) * height)), [axes, height]);
  const isBrushed = brushes.size > 0;
  useCanvas(pale, size, (context) => isBrushed && paintPaleLines(context, across, down, runs.length), [across, down, isBrushed, isDark]);
  useCanvas(base, size, (context) => {
    paintLines(context, across, down, colours, kept);
    axes.forEach((axis, at) => paintAxis(context, axis, across[at], height, Math.max(60, gap) - 12, at === axes.length - 1));
  }, [across, down, colours, kept, isDark]);
  useCanvas(over, size, (context) => lit >= 0 && paintLit(context, across, down, lit), [across, down, lit, isDark]);
  const axisNear = (left) => across.findIndex((place) => Math.abs(place - left) <= NEAR_AXIS_PX);
  const shareAt = (top) => 1 - (top - LINES_TOP) / height;
  const nearest = (event) => lineNear(placeWithin(event), across, down, kept);
  const drag = useDrag({
    begin: (event) => {
      const [left, top] = placeWithin(event);
      const at = axisNear(left);
      return at < 0 ? null : { axis: axes[at], from: shareAt(top) };
    },
    move: (event, { axis, from }, isDone) => setBrush(axis, brushBetween(axis, from, shareAt(placeWithin(event)[1])), isDone),
    click: (event, on) => (on ? setBrush(on.axis, null, true) : nearest(event) >= 0 && openRun(nearest(event))),
  });
  const hover = (event) => {
    setOver(true);
    isLeft.current = placeWithin(event)[0] < width / 2;
    if (!drag.move(event)) setLit(nearest(event));
  };
  const order = useDrag({
    begin: (event) => Number(/** @type {HTMLElement} */ (event.currentTarget).dataset.at),
    move: (event, from, isDone) => {
      const left = event.clientX - (box.current?.getBoundingClientRect().left ?? 0) + (box.current?.scrollLeft ?? 0);
      setDragged(isDone ? null : { at: from, left });
      if (isDone) change.move(from, Math.max(0, Math.min(axes.length - 1, Math.round((left - LINES_SIDE) / (gap || 1)))));
    },
    // The press was taken from the button, so the click does not come to it.
    click: (event) => /** @type {HTMLElement} */ (event.currentTarget).querySelector("button")?.click(),
  });
  const keys = (at) => (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || !event.target.matches("button[aria-expanded]")) return;
    event.preventDefault();
    focused.current = Math.max(0, Math.min(axes.length - 1, at + by));
    change.move(at, focused.current);
  };
  // A name that has moved is another place of the document, which takes the focus from it.
  useLayoutEffect(() => {
    if (focused.current >= 0) box.current?.querySelector(`[data-at="${focused.current}"] button`)?.focus();
    focused.current = -1;
  }, [axes]);
  return html`<div class="explore-plot lines" ref=${box} role="group" aria-label="Parallel coordinates">
    <div class="lines-inner" style=${{ width: `${width}px` }}>
      ${axes.map((axis, at) => html`<span key=${axis.column.id} class=${`axis-head ${at * 2 > axes.length ? "late" : ""}`} data-at=${at} onKeyDown=${keys(at)}
        style=${{ left: `${dragged?.at === at ? dragged.left : across[at]}px`, width: `${Math.min(200, (gap || 200) - 4)}px` }}
        onPointerDown=${(event) => event.target.closest("button[aria-expanded]") && order.down(event)} onPointerMove=${order.move} onPointerUp=${order.up} onPointerCancel=${order.cancel}>
        <${AxisMenu} ...${{ axis, at, count: axes.length, change }} /></span>`)}
      <div class="lines-area" style=${{ height: `${size.height}px` }}>
        <canvas ref=${pale}></canvas><canvas ref=${base}></canvas><canvas ref=${over}></canvas>
        <div class=${`explore-surface ${lit >= 0 ? "hot" : ""}`} onPointerDown=${drag.down} onPointerMove=${hover} onPointerUp=${drag.up} onPointerCancel=${drag.cancel} onPointerLeave=${() => { setOver(false); setLit(-1); }}></div>
        ${axes.map((axis, at) => html`<span key=${axis.column.id} class="y-ends" style=${{ left: `${across[at]}px`, top: `${LINES_TOP}px`, height: `${height}px` }}>
          <${BrushEnds} ...${{ axis, brush: brushes.get(axis.column.id), setBrush, length: height, isUpright: true }} /></span>`)}
        ${isOver && lit >= 0 && runs[lit] && html`<${ExploreTip} run=${runs[lit]} index=${lit} axes=${axes.slice(0, MOST_TIP)} left=${isLeft.current ? width - LINES_SIDE : LINES_SIDE} top=${LINES_TOP} width=${width} />`}
      </div>
      ${axes.map((axis, at) => html`<span key=${axis.column.id} class="axis-foot cut" style=${{ left: `${across[at]}px`, width: `${Math.min(200, (gap || 200) - 4)}px` }} title=${notShownText(axis)}>
        ${axis.shares.length > axis.shown ? `${countText(axis.shares.length - axis.shown)} not shown` : axis.isLog ? scaleText(axis) : ""}</span>`)}
    </div>
  </div>`;
}

/** What can be done with an axis. @param {any} props */
function AxisMenu({ axis, at, count, change }) {
  return html`<${Popover} label=${axis.column.name} name=${`Axis ${axis.column.name}`} kind="left menu" plain=${true}>${(close) => {
    const act = (run) => () => {
      close();
      run();
    };
    return html`
      <button onClick=${act(() => change.as("x", axis))}>As x of the points</button>
      <button onClick=${act(() => change.as("y", axis))}>As y of the points</button>
      <button onClick=${act(() => change.as("colour", axis))}>As colour</button>
      ${!axis.isCategory && html`<button onClick=${act(() => change.log(axis))}>${axis.isLog ? "Linear axis" : "Log axis"}</button>`}
      ${at > 0 && html`<button onClick=${act(() => change.move(at, at - 1))}>Move left</button>`}
      ${at < count - 1 && html`<button onClick=${act(() => change.move(at, at + 1))}>Move right</button>`}
      <button onClick=${act(() => change.take(at))}>Take away</button>`;
  }}<//>`;
}

/** The run whose line is nearest; of two it is the one that the brushes keep. @param {[number, number]} place @param {number[]} across @param {Float32Array[]} down @param {Uint8Array} kept */
function lineNear([left, top], across, down, kept) {
  const next = across.findIndex((place) => place > left);
  const at = Math.max(0, (next < 0 ? across.length : next) - 1);
  const to = Math.min(across.length - 1, at + 1);
  const part = to > at ? (left - across[at]) / (across[to] - across[at]) : 0;
  let [found, least] = [-1, NEAR_LINE_PX];
  for (let index = 0; index < kept.length; index++) {
    const far = Math.abs(down[at][index] * (1 - part) + down[to][index] * part - top) + (kept[index] ? 0 : NEAR_LINE_PX / 2);
    if (far < least) [found, least] = [index, far];
  }
  return found;
}

/** @param {CanvasRenderingContext2D} context @param {any} axis @param {number} left @param {number} height @param {number} room @param {boolean} isLast */
function paintAxis(context, axis, left, height, room, isLast) {
  const place = Math.round(left) + 0.5;
  context.beginPath();
  context.moveTo(place, LINES_TOP);
  context.lineTo(place, LINES_TOP + height);
  for (const [width, colour] of /** @type {[number, string][]} */ ([[3, "--bg"], [1, "--ink"]])) {
    context.lineWidth = width;
    context.strokeStyle = themeColour(colour);
    context.stroke();
  }
  context.fillStyle = themeColour("--ink");
  context.textAlign = isLast ? "right" : "left";
  context.textBaseline = "middle";
  const least = axis.isCategory ? 14 : 40;
  for (const { share, text } of axisTicks(axis, Math.max(2, Math.floor(height / least)))) {
    paintText(context, fittingText(context, text, room), left + (isLast ? -8 : 8), LINES_TOP + (1 - share) * height);
  }
}

/** @param {CanvasRenderingContext2D} context @param {number[]} across @param {Float32Array[]} down @param {number} index */
function paintLit(context, across, down, index) {
  context.lineWidth = 5;
  strokeRuns(context, across, down, [index], themeColour("--bg"));
  context.lineWidth = 2.5;
  strokeRuns(context, across, down, [index], themeColour("--ink"));
}
