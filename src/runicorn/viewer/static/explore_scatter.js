// @ts-check
/** Runs as points: one column against another. */
import { html, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { axisTicks, brushBetween, brushShares, cellText, scaleText } from "./explore_axes.js";
import { BrushEnds, placeWithin, useDrag } from "./explore_brush.js";
import { fittingText, paintPalePoints, paintPoints, useCanvas } from "./explore_paint.js";
import { Status, runName, themeColour, useSize } from "./parts.js";

/** The axes stand outside of the points, so that none is cut. */
const SCATTER_INSET = 10;
const SCATTER_SIDES = { left: 74, right: 16, top: 24, bottom: 46 };
const NEAR_POINT_PX = 14;

/** @param {{ width: number, height: number }} size */
function scatterBox({ width, height }) {
  const { left, right, top, bottom } = SCATTER_SIDES;
  return { left, top, width: Math.max(1, width - left - right), height: Math.max(1, height - top - bottom) };
}

/**
 * @param {{ runs: any[], x: import("./explore_axes.js").ExploreAxis, y: import("./explore_axes.js").ExploreAxis, colours: any, kept: Uint8Array,
 *   brushes: Map<string, any>, setBrush: import("./explore_brush.js").SetBrush, lit: number, setLit: (index: number) => void, openRun: (index: number) => void, isDark: boolean }} props
 */
export function ScatterPlot({ runs, x, y, colours, kept, brushes, setBrush, lit, setLit, openRun, isDark }) {
  const box = useRef(null);
  const pale = useRef(null);
  const base = useRef(null);
  const over = useRef(null);
  const size = useSize(box);
  const area = scatterBox(size);
  const [isOver, setOver] = useState(false);
  const across = useMemo(() => x.shares.map((share) => area.left + share * area.width), [x, size.width]);
  const down = useMemo(() => y.shares.map((share) => area.top + (1 - share) * area.height), [y, size.height]);
  const isBrushed = brushes.size > 0;
  useCanvas(pale, size, (context) => {
    paintFrame(context, area, x, y);
    if (isBrushed) paintPalePoints(context, across, down);
  }, [across, down, isBrushed, isDark]);
  useCanvas(base, size, (context) => paintPoints(context, across, down, colours, kept), [across, down, colours, kept]);
  useCanvas(over, size, (context) => paintRing(context, across[lit], down[lit]), [across, down, lit, isDark]);
  const nearest = (event) => {
    const [left, top] = placeWithin(event);
    let [found, least] = [-1, NEAR_POINT_PX];
    for (let index = 0; index < runs.length; index++) {
      const far = Math.hypot(across[index] - left, down[index] - top);
      // Of two on one spot it is the one that the brushes keep.
      if (far < least || (far === least && kept[index] && !kept[found])) [found, least] = [index, far];
    }
    return found;
  };
  const shareAt = (event) => {
    const [left, top] = placeWithin(event);
    return [(left - area.left) / area.width, 1 - (top - area.top) / area.height];
  };
  const drag = useDrag({
    begin: shareAt,
    move: (event, from, isDone) => {
      const to = shareAt(event);
      setBrush(x, brushBetween(x, from[0], to[0]), isDone);
      if (y !== x) setBrush(y, brushBetween(y, from[1], to[1]), isDone);
    },
    click: (event) => nearest(event) >= 0 && openRun(nearest(event)),
  });
  const hover = (event) => {
    setOver(true);
    if (!drag.move(event)) setLit(nearest(event));
  };
  const clear = () => [x, y].forEach((axis) => setBrush(axis, null, true));
  const [xBrush, yBrush] = [brushes.get(x.column.id), brushes.get(y.column.id)];
  const [xShares, yShares] = [brushShares(x, xBrush), brushShares(y, yBrush)];
  const frame = {
    left: `${area.left + xShares[0] * area.width}px`, width: `${(xShares[1] - xShares[0]) * area.width}px`,
    top: `${area.top + (1 - yShares[1]) * area.height}px`, height: `${(yShares[1] - yShares[0]) * area.height}px`,
  };
  return html`<div class="explore-plot scatter" ref=${box} role="group" aria-label=${`${y.column.name} against ${x.column.name}`}>
    <canvas ref=${pale}></canvas><canvas ref=${base}></canvas><canvas ref=${over}></canvas>
    ${(xBrush || yBrush) && html`<span class="brush-frame" style=${frame}></span>`}
    <div class=${`explore-surface ${lit >= 0 ? "hot" : ""}`} onPointerDown=${drag.down} onPointerMove=${hover} onPointerUp=${drag.up} onPointerCancel=${drag.cancel}
      onPointerLeave=${() => { setOver(false); setLit(-1); }} onDblClick=${clear}></div>
    <span class="x-ends" style=${{ left: `${area.left}px`, top: `${area.top + area.height + SCATTER_INSET - 8}px`, width: `${area.width}px` }}><${BrushEnds} ...${{ axis: x, brush: xBrush, setBrush, length: area.width, isUpright: false }} /></span>
    <span class="y-ends" style=${{ left: `${area.left - SCATTER_INSET}px`, top: `${area.top}px`, height: `${area.height}px` }}><${BrushEnds} ...${{ axis: y, brush: yBrush, setBrush, length: area.height, isUpright: true }} /></span>
    ${isOver && lit >= 0 && runs[lit] && html`<${ExploreTip} run=${runs[lit]} index=${lit} axes=${[x, y]} left=${across[lit]} top=${down[lit]} width=${size.width} />`}
  </div>`;
}

/** Name and values of the run below the pointer. @param {{ run: any, index: number, axes: any[], left: number, top: number, width: number }} props */
export function ExploreTip({ run, index, axes, left, top, width }) {
  const isRight = left > width / 2;
  const place = { top: `${Math.max(0, top - 8)}px`, [isRight ? "right" : "left"]: `${(isRight ? width - left : left) + 14}px` };
  return html`<div class="tip explore-tip" style=${place}>
    <div><b>${runName(run)}</b> <${Status} run=${run} /></div>
    ${axes.map((axis) => html`<div key=${axis.column.id}><span class="quiet">${axis.column.name}</span> ${cellText(axis, index)}</div>`)}
  </div>`;
}

/** @param {CanvasRenderingContext2D} context @param {any} area @param {any} x @param {any} y */
function paintFrame(context, area, x, y) {
  const { left, top, width, height } = area;
  const [wall, floor] = [left - SCATTER_INSET, top + height + SCATTER_INSET];
  const [ink, grid] = [themeColour("--quiet"), themeColour("--grid")];
  const line = (fromX, fromY, toX, toY, colour) => {
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(Math.round(fromX) + 0.5, Math.round(fromY) + 0.5);
    context.lineTo(Math.round(toX) + 0.5, Math.round(toY) + 0.5);
    context.stroke();
  };
  context.lineWidth = 1;
  context.fillStyle = ink;
  context.textAlign = "center";
  context.textBaseline = "top";
  const ticksX = axisTicks(x, Math.max(2, Math.floor(width / 80)));
  for (const { share, text } of ticksX) {
    const at = left + share * width;
    line(at, top, at, floor, grid);
    context.fillText(fittingText(context, text, width / ticksX.length - 6), at, floor + 6);
  }
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const { share, text } of axisTicks(y, Math.max(2, Math.floor(height / 40)))) {
    const at = top + (1 - share) * height;
    line(wall, at, left + width, at, grid);
    context.fillText(fittingText(context, text, wall - 10), wall - 8, at);
  }
  line(wall, floor, left + width, floor, themeColour("--line"));
  line(wall, top, wall, floor, themeColour("--line"));
  context.textBaseline = "bottom";
  context.fillText(fittingText(context, axisTitle(x), width), left + width, top + height + SCATTER_SIDES.bottom);
  context.textAlign = "left";
  context.textBaseline = "top";
  context.fillText(fittingText(context, axisTitle(y), width), 4, 2);
}

/** @param {any} axis */
function axisTitle(axis) {
  return axis.isLog ? `${axis.column.name} (${scaleText(axis)})` : axis.column.name;
}

/** @param {CanvasRenderingContext2D} context @param {number | undefined} left @param {number | undefined} top */
function paintRing(context, left, top) {
  if (left === undefined || top === undefined || Number.isNaN(left + top)) return;
  context.lineWidth = 2;
  context.strokeStyle = themeColour("--ink");
  context.beginPath();
  context.arc(left, top, 7, 0, 2 * Math.PI);
  context.stroke();
}
