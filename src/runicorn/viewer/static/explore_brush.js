// @ts-check
/** The ends of a brush as two sliders, for the keyboard; and drags with the pointer. */
import { html, useRef } from "./vendor/htm-preact.js";
import { axisText, brushShares, brushBetween, valueAtShare } from "./explore_axes.js";

const SMALL_STEP = 0.02;
const LARGE_STEP = 0.1;
const DRAG_FROM_PX = 4;

/**
 * @typedef {import("./explore_axes.js").ExploreAxis} ExploreAxis
 * @typedef {import("./explore_axes.js").ExploreBrush} ExploreBrush
 * @typedef {(axis: ExploreAxis, brush: ExploreBrush | null, isDone: boolean) => void} SetBrush
 */

/**
 * @param {{ axis: ExploreAxis, brush: ExploreBrush | undefined, setBrush: SetBrush, length: number, isUpright: boolean }} props
 * `length`: of the axis in pixels
 */
export function BrushEnds({ axis, brush, setBrush, length, isUpright }) {
  if (axis.shown < 2 || axis.low === axis.high) return null;
  const shares = brushShares(axis, brush);
  const at = (share) => (isUpright ? { top: `${(1 - share) * length}px` } : { left: `${share * length}px` });
  const step = axis.isCategory ? 1 / (axis.categories.length - 1) : SMALL_STEP;
  const move = (end, share) => {
    const next = [...shares];
    next[end] = Math.max(0, Math.min(1, share));
    // An end does not go past the other one: it takes that along.
    if (next[0] > next[1]) next[1 - end] = next[end];
    const [low, high] = next.map((each) => (each < 1e-9 ? 0 : each > 1 - 1e-9 ? 1 : each));
    setBrush(axis, low === 0 && high === 1 ? null : brushBetween(axis, low, high), false);
  };
  const press = (end) => (event) => {
    const large = Math.max(step, LARGE_STEP);
    const to = { ArrowUp: shares[end] + step, ArrowRight: shares[end] + step, ArrowDown: shares[end] - step, ArrowLeft: shares[end] - step, PageUp: shares[end] + large, PageDown: shares[end] - large, Home: 0, End: 1 }[event.key];
    const clears = event.key === "Escape" || event.key === "Delete" || event.key === "Backspace";
    if (to === undefined && !clears) return;
    event.preventDefault();
    event.stopPropagation();
    if (clears) setBrush(axis, null, true);
    else move(end, to);
  };
  const [low, high] = shares;
  const end = (number, share, word) => html`<span class=${`brush-end ${number ? "high" : "low"} ${brush ? "set" : ""}`} role="slider" tabindex="0" key=${word}
    aria-label=${`${axis.column.name}: ${word}`} aria-orientation=${isUpright ? "vertical" : "horizontal"} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round(share * 100)} aria-valuetext=${axisText(axis, valueAtShare(axis, share))}
    title=${`${axis.column.name}: ${word}; arrow keys move it, Escape removes the brush`} style=${at(share)} onKeyDown=${press(number)}></span>`;
  const span = isUpright ? { top: `${(1 - high) * length}px`, height: `${(high - low) * length}px` } : { left: `${low * length}px`, width: `${(high - low) * length}px` };
  return html`<span class=${`brush-ends ${isUpright ? "upright" : ""}`}>
    ${brush && html`<span class="brush-span" style=${span}></span>`}
    ${end(0, low, "lower bound")}${end(1, high, "upper bound")}
  </span>`;
}

/**
 * A drag of the pointer from a press to where it is let go; a click if it has hardly moved.
 * @param {object} wish
 * @param {(event: PointerEvent) => any} wish.begin what is dragged; null if nothing is
 * @param {(event: PointerEvent, dragged: any, isDone: boolean) => void} wish.move
 * @param {(event: PointerEvent, dragged: any) => void} wish.click
 */
export function useDrag(wish) {
  const latest = useRef(wish);
  latest.current = wish;
  const begun = useRef(/** @type {{ x: number, y: number, dragged: any, isMoving: boolean } | null} */ (null));
  const down = (event) => {
    if (event.button) return;
    begun.current = { x: event.clientX, y: event.clientY, dragged: latest.current.begin(event), isMoving: false };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const move = (event) => {
    const drag = begun.current;
    if (!drag) return false;
    drag.isMoving ||= Math.hypot(event.clientX - drag.x, event.clientY - drag.y) >= DRAG_FROM_PX;
    if (drag.isMoving && drag.dragged !== null) latest.current.move(event, drag.dragged, false);
    return true;
  };
  const up = (event) => {
    const drag = begun.current;
    begun.current = null;
    if (!drag) return;
    if (!drag.isMoving) latest.current.click(event, drag.dragged);
    else if (drag.dragged !== null) latest.current.move(event, drag.dragged, true);
  };
  return { down, move, up, cancel: () => void (begun.current = null) };
}

/** Where the pointer is within what has heard it. @param {PointerEvent} event @returns {[number, number]} */
export function placeWithin(event) {
  const box = /** @type {HTMLElement} */ (event.currentTarget).getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
