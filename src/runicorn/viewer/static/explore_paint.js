// @ts-check
/** Colours, points and lines of the Explore page on a canvas. */
import { useLayoutEffect } from "./vendor/htm-preact.js";
import { axisText } from "./explore_axes.js";
import { themeColour } from "./parts.js";

/** Stops of viridis: they differ in lightness too. */
const RAMP_STOPS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const RAMP_BINS = 32;
const CATEGORY_COLOURS = 7;
const CATEGORY_SHAPES = 4;
const CATEGORY_BINS = CATEGORY_COLOURS * CATEGORY_SHAPES;
/** A path of thousands of lines takes a canvas much longer than as many in several. */
const LINES_AT_ONCE = 300;
const FULL_TURN = 2 * Math.PI;
export const EXPLORE_FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif';

/**
 * @typedef {object} ExploreColours
 * @property {Uint8Array} bins of each run: which of the colours
 * @property {string[]} colours the last is of runs without a value
 * @property {boolean} hasShapes whether each bin has a shape of its own
 * @property {{ text: string, colour: string, shape: number }[]} legend of categories
 */

/** A colour between dark and bright, within what can be seen on this ground. @param {number} share @param {boolean} isDark */
function rampColour(share, isDark) {
  const place = (isDark ? 0.25 + 0.75 * share : 0.7 * share) * (RAMP_STOPS.length - 1);
  const first = Math.min(RAMP_STOPS.length - 2, Math.floor(place));
  const part = (stop, at) => parseInt(RAMP_STOPS[stop].slice(at, at + 2), 16);
  const mixed = [1, 3, 5].map((at) => Math.round(part(first, at) * (first + 1 - place) + part(first + 1, at) * (place - first)));
  return `rgb(${mixed.join(" ")})`;
}

/** The ramp as a background. @param {boolean} isDark */
export function rampGround(isDark) {
  return `linear-gradient(to right, ${[0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => rampColour(share, isDark)).join(", ")})`;
}

/** @param {import("./explore_axes.js").ExploreAxis} axis @param {boolean} isDark @returns {ExploreColours} */
export function exploreColours(axis, isDark) {
  const { isCategory, shares, values, categories } = axis;
  const count = isCategory ? Math.max(1, Math.min(CATEGORY_BINS, categories.length)) : RAMP_BINS;
  const inRamp = (share) => rampColour(share / (RAMP_BINS - 1), isDark);
  const colours = [...Array(count).keys()].map((bin) => (isCategory ? themeColour(`--c${bin % CATEGORY_COLOURS}`) : inRamp(bin)));
  const binOf = (share, at) => (Number.isNaN(share) ? count : isCategory ? values[at] % count : Math.round(share * (count - 1)));
  const legend = isCategory ? categories.slice(0, CATEGORY_BINS).map((_, place) => ({ text: axisText(axis, place), colour: colours[place % count], shape: place % CATEGORY_SHAPES })) : [];
  return { bins: Uint8Array.from(shares, binOf), colours: [...colours, themeColour("--quiet")], hasShapes: isCategory, legend };
}

/**
 * Draw on a canvas, whenever its size or what it shows changes.
 * @param {{ current: HTMLCanvasElement | null }} ref @param {{ width: number, height: number }} size
 * @param {(context: CanvasRenderingContext2D) => void} draw @param {unknown[]} of what it depends on
 */
export function useCanvas(ref, size, draw, of) {
  useLayoutEffect(() => {
    const canvas = ref.current;
    if (!canvas || !size.width || !size.height) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(size.width * ratio);
    canvas.height = Math.round(size.height * ratio);
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    context.font = EXPLORE_FONT;
    draw(context);
  }, [size.width, size.height, ...of]);
}

/** Runs by their colour, so that each colour is drawn in one go. @param {ExploreColours} colours @param {Uint8Array} kept */
function runsByBin({ bins, colours }, kept) {
  const found = /** @type {number[][]} */ (colours.map(() => []));
  bins.forEach((bin, at) => kept[at] && found[bin].push(at));
  return found;
}

/** So faint that many runs do not hide each other. @param {number} count */
function opacityOf(count) {
  return Math.max(0.12, Math.min(0.9, 8 / Math.sqrt(count)));
}

/**
 * The points of the runs that the brushes keep.
 * @param {CanvasRenderingContext2D} context @param {Float32Array} across @param {Float32Array} down NaN if a run has no place
 * @param {ExploreColours} colours @param {Uint8Array} kept
 */
export function paintPoints(context, across, down, colours, kept) {
  context.globalAlpha = Math.max(0.5, opacityOf(kept.length));
  runsByBin(colours, kept).forEach((indexes, bin) => {
    context.fillStyle = colours.colours[bin];
    fillPoints(context, across, down, indexes, colours.hasShapes ? bin % CATEGORY_SHAPES : 0);
  });
  context.globalAlpha = 1;
}

/** All points, pale. @param {CanvasRenderingContext2D} context @param {Float32Array} across @param {Float32Array} down */
export function paintPalePoints(context, across, down) {
  context.globalAlpha = 0.25;
  context.fillStyle = themeColour("--quiet");
  fillPoints(context, across, down, [...across.keys()], 0);
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {Float32Array} across @param {Float32Array} down @param {number[]} indexes @param {number} shape */
function fillPoints(context, across, down, indexes, shape) {
  const size = across.length > 2000 ? 2 : across.length > 300 ? 3 : 4;
  context.beginPath();
  for (const index of indexes) {
    if (!Number.isNaN(across[index] + down[index])) shapePath(context, across[index], down[index], size, shape);
  }
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} size @param {number} shape */
function shapePath(context, x, y, size, shape) {
  if (shape === 1) return context.rect(x - size * 0.9, y - size * 0.9, size * 1.8, size * 1.8);
  const foot = shape === 2 ? y + size * 0.7 : y;
  context.moveTo(x + size, foot);
  if (shape === 0) return context.arc(x, y, size, 0, FULL_TURN);
  if (shape === 3) context.lineTo(x, y + size * 1.2);
  context.lineTo(x - size, foot);
  context.lineTo(x, y - size * 1.2);
  return context.closePath();
}

/**
 * The lines of the runs that the brushes keep, over all axes.
 * @param {CanvasRenderingContext2D} context @param {number[]} across places of the axes
 * @param {Float32Array[]} down by axis the places of the runs @param {ExploreColours} colours @param {Uint8Array} kept
 */
export function paintLines(context, across, down, colours, kept) {
  const byBin = runsByBin(colours, kept);
  const count = byBin.reduce((total, each) => total + each.length, 0);
  context.globalAlpha = opacityOf(count);
  context.lineWidth = count > 300 ? 1 : 1.5;
  byBin.forEach((indexes, bin) => indexes.length && strokeRuns(context, across, down, indexes, colours.colours[bin]));
  context.globalAlpha = 1;
}

/** All lines, pale. @param {CanvasRenderingContext2D} context @param {number[]} across @param {Float32Array[]} down @param {number} count */
export function paintPaleLines(context, across, down, count) {
  context.lineWidth = 1;
  context.globalAlpha = opacityOf(count);
  const all = [...Array(count).keys()];
  for (let first = 0; first < count; first += LINES_AT_ONCE) strokeRuns(context, across, down, all.slice(first, first + LINES_AT_ONCE), themeColour("--line"));
  context.globalAlpha = 1;
}

/** A run's line has a gap at an axis on which the run has no place. @param {CanvasRenderingContext2D} context @param {number[]} across @param {Float32Array[]} down @param {number[]} indexes @param {string} colour */
export function strokeRuns(context, across, down, indexes, colour) {
  context.beginPath();
  for (const index of indexes) {
    let isDrawing = false;
    for (let axis = 0; axis < across.length; axis++) {
      const y = down[axis][index];
      const isThere = !Number.isNaN(y);
      const hasNext = axis + 1 < across.length && !Number.isNaN(down[axis + 1][index]);
      if (isThere && isDrawing) context.lineTo(across[axis], y);
      else if (isThere && hasNext) context.moveTo(across[axis], y);
      else if (isThere) {
        context.moveTo(across[axis] - 4, y);
        context.lineTo(across[axis] + 4, y);
      }
      isDrawing = isThere;
    }
  }
  context.strokeStyle = colour;
  context.stroke();
}

/** Text that can be read over lines. @param {CanvasRenderingContext2D} context @param {string} text @param {number} x @param {number} y */
export function paintText(context, text, x, y) {
  context.lineJoin = "round";
  context.lineWidth = 3;
  context.strokeStyle = themeColour("--bg");
  context.globalAlpha = 0.8;
  context.strokeText(text, x, y);
  context.globalAlpha = 1;
  context.fillText(text, x, y);
}

/** A text that is no wider than that. @param {CanvasRenderingContext2D} context @param {string} text @param {number} width */
export function fittingText(context, text, width) {
  let shown = text.slice(0, 200);
  if (context.measureText(shown).width <= width) return shown;
  while (shown.length > 1 && context.measureText(`${shown}…`).width > width) shown = shown.slice(0, Math.max(1, Math.floor(shown.length * 0.9)));
  return `${shown}…`;
}
