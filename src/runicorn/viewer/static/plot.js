// @ts-check
/** One chart drawn by uPlot: a line over a band, marks, a crosshair that all charts share. No page in it. */
import { QUIET_SLOT, uplotClass } from "./curve_columns.js";
import { byteTexts, momentText, shortNumber, spanText, stepText, valueText } from "./format.js";
import { curveStyle, themeColour } from "./parts.js";
import { hearTouches } from "./plot_touch.js";

/**
 * @typedef {import("./source.js").Curve & { slot: number, name: string, isPinned?: boolean }} Curve its slot gives colour and dashes
 * @typedef {object} PlotView
 * @property {string} x
 * @property {number | null} from
 * @property {number | null} to
 * @property {boolean} logX
 * @property {boolean} logY
 * @property {boolean} dark colours are read when a chart is made
 * @property {{ stage: string, from: number, to: number }[]} stages
 * @property {{ step: number, value: number } | null} best
 * @property {string} [band] of groups: `std`, or least to greatest
 * @property {boolean} [isBytes] its values are sizes
 * @property {boolean} [isShare] its values are percentages, of which all is 100
 *
 * @typedef {object} PlotEvents
 * @property {(from: number, to: number) => void} zoom
 * @property {() => void} reset
 * @property {(index: number | null) => void} hover
 *
 * @typedef {{ x: number, kind: "NaN" | "inf" | "-inf" }} OddMark
 * @typedef {{ data: any[], series: SeriesPart[], odd: OddMark[], lines: number[] }} PlotData `lines`: of each curve the column of its line
 * @typedef {{ curve: number, role: "line" | "raw" | "low" | "high", slot: number, isOld: boolean, isPinned: boolean }} SeriesPart
 */

const AXIS_FONT = '11px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif';
const AXIS_WIDTH = 52;
const AXIS_HEIGHT = 24;
const TIME_STEPS = [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000];
const BYTE_STEPS = [...Array(60).keys()].map((power) => 2 ** power);
const MOST_DOTS_PX = 7;
const MOST_POINTERS = 16;
const LOG_TICKS = 6;
const LOG_AXIS = {
  splits: (_chart, _axis, low, high) => logSplits(low, high),
  filter: (_chart, splits) => splits,
};

/** A chart that stands, and is given new data and other views. */
export class Plot {
  /**
   * @param {HTMLElement} element @param {{ width: number, height: number }} size
   * @param {PlotData} drawn @param {PlotView} view @param {PlotEvents} events
   */
  constructor(element, size, drawn, view, events) {
    this.view = view;
    this.drawn = drawn;
    this.events = events;
    this.shape = plotShape(drawn, view);
    this.chart = new (uplotClass())(this.options(size), drawn.data, element);
    hearTouches(this.chart.over);
  }

  /** Whether the same chart can go on with it. @param {PlotData} drawn @param {PlotView} view */
  fits(drawn, view) {
    return this.shape === plotShape(drawn, view);
  }

  /** @param {PlotData} drawn @param {PlotView} view */
  update(drawn, view) {
    this.view = view;
    this.drawn = drawn;
    this.chart.setData(drawn.data);
  }

  /** @param {{ width: number, height: number }} size */
  resize(size) {
    this.chart.setSize(size);
  }

  destroy() {
    this.chart.destroy();
  }

  /** Move the crosshair by values, as an arrow key does. @param {number} by */
  step(by) {
    const { chart } = this;
    const count = chart.data[0].length;
    if (!count) return;
    const at = Math.min(count - 1, Math.max(0, (chart.cursor.idx ?? (by > 0 ? -1 : count)) + by));
    chart.setCursor({ left: chart.valToPos(chart.data[0][at], "x"), top: 10 }, true, true);
  }

  /** @param {{ width: number, height: number }} size */
  options(size) {
    const view = this.view;
    return {
      ...size,
      pxAlign: 0,
      padding: [6, 18, 0, 0],
      legend: { show: false },
      focus: { alpha: 1 },
      cursor: this.cursorOptions(),
      scales: {
        x: { time: false, distr: view.logX ? 3 : 1, range: (_chart, low, high) => this.rangeX(low, high) },
        y: { distr: view.logY ? 3 : 1, range: (_chart, low, high) => rangeY(low, high, this.view) },
      },
      axes: [this.axisX(), this.axisY()],
      series: [{}, ...this.drawn.series.map((part) => this.seriesOptions(part))],
      bands: bandsOf(this.drawn.series),
      hooks: {
        draw: [() => this.drawMarks()],
        setSelect: [() => this.selected()],
        setCursor: [() => this.events.hover(this.chart?.cursor.idx ?? null)],
      },
    };
  }

  cursorOptions() {
    const moves = (type) => type === "mousemove" || type === "mouseleave";
    return {
      y: false,
      drag: { x: true, y: false, setScale: false, dist: 4 },
      points: { size: 7, show: (chart, index) => this.pointer(chart, index) },
      sync: { key: "runicorn", setSeries: false, scales: ["x", null], filters: { pub: moves, sub: moves } },
      bind: { dblclick: () => () => this.events.reset() },
    };
  }

  /** The dot of a line under the crosshair; of many lines none has one. @param {any} _chart @param {number} index */
  pointer(_chart, index) {
    const lines = this.drawn.series.filter((part) => part.role === "line");
    const part = this.drawn.series[index - 1];
    if (part?.role !== "line" || lines.length > MOST_POINTERS) return null;
    const dot = document.createElement("div");
    dot.className = "pointer";
    return dot;
  }

  /** Light some curves; the others fade. @param {((curve: number) => boolean) | null} isLit */
  highlight(isLit) {
    this.drawn.series.forEach(({ curve }, index) => (this.chart.series[index + 1].alpha = !isLit || isLit(curve) ? 1 : 0.12));
    this.chart.redraw(false, false);
  }

  selected() {
    const { select } = this.chart;
    if (select.width < 4) return;
    const [from, to] = [this.chart.posToVal(select.left, "x"), this.chart.posToVal(select.left + select.width, "x")];
    this.chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (Number.isFinite(from) && Number.isFinite(to)) this.events.zoom(from, to);
  }

  /** @param {number} low @param {number} high */
  rangeX(low, high) {
    let from = this.view.from ?? low;
    let to = this.view.to ?? high;
    if (from === null || from === undefined || to === null || to === undefined) return this.view.logX ? [1, 10] : [0, 1];
    if (this.view.logX && from <= 0) from = Math.min(1, to / 10);
    if (from >= to) [from, to] = this.view.logX ? [from / 2, to * 2] : [from - 0.5, to + 0.5];
    return [from, to];
  }

  axisX() {
    const isTime = this.view.x === "time" || this.view.x === "wall";
    return {
      ...axisLook(),
      ...(this.view.logX ? LOG_AXIS : {}),
      size: AXIS_HEIGHT,
      gap: 3,
      space: 60,
      ...(isTime && !this.view.logX ? { incrs: TIME_STEPS } : {}),
      values: (chart, splits, _axis, _space, step) => tickTexts(splits, this.view.x, step, chart),
    };
  }

  axisY() {
    return {
      ...axisLook(),
      ...(this.view.logY ? LOG_AXIS : {}),
      gap: 4,
      space: 28,
      size: (_chart, texts) => Math.max(AXIS_WIDTH, 16 + 6.3 * Math.max(0, ...(texts ?? []).map((text) => text?.length ?? 0))),
      ...(this.view.isBytes && !this.view.logY ? { incrs: BYTE_STEPS } : {}),
      values: (_chart, splits) => (this.view.isBytes ? byteTexts(splits) : distinctTexts(splits)),
    };
  }

  /** @param {SeriesPart} part */
  seriesOptions({ slot, role, isOld, isPinned }) {
    const { colour, dash } = curveStyle(slot);
    const isEdge = role === "low" || role === "high";
    const isFaint = isEdge || role === "raw" || isOld;
    return {
      stroke: isFaint ? transparent(colour, isEdge ? 0.2 + 0.1 * paleness(this.drawn.series) : isOld ? 0.6 : 0.35) : colour,
      width: role === "line" ? (isPinned ? 3 : 1.5) : 1,
      dash: isEdge ? undefined : isOld ? [4, 3] : dash.length ? dash : undefined,
      points: isEdge ? { show: false, filter: (chart, at) => alone(chart.data[at]), size: 3, fill: colour } : { show: dotsFit, filter: (chart, at, show) => (show ? null : alone(chart.data[at])), size: 4, width: 1, fill: colour, stroke: colour },
    };
  }

  drawMarks() {
    const { ctx, bbox } = this.chart;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top - 8 * devicePixelRatio, bbox.width + 8 * devicePixelRatio, bbox.height + 8 * devicePixelRatio);
    ctx.clip();
    if (this.view.x === "step" && this.view.stages.length > 1) this.drawStages(ctx, bbox);
    this.drawOdd(ctx, bbox);
    if (this.view.x === "step" && this.view.best) this.drawBest(ctx, this.view.best);
    ctx.restore();
  }

  /** @param {any} ctx @param {any} bbox */
  drawStages(ctx, bbox) {
    const ratio = devicePixelRatio;
    let free = -Infinity;
    ctx.strokeStyle = themeColour("--quiet");
    ctx.fillStyle = themeColour("--quiet");
    ctx.lineWidth = ratio;
    ctx.globalAlpha = 0.6;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.font = `${10 * ratio}px ${AXIS_FONT.slice(5)}`;
    ctx.textBaseline = "top";
    ctx.textAlign = "left";
    for (const { stage, from } of this.view.stages) {
      const x = this.chart.valToPos(from, "x", true);
      if (!Number.isFinite(x) || x < bbox.left || x > bbox.left + bbox.width || (x < free && free - x > 4 * ratio)) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(stage).width;
      if (x > free && x + width + 4 * ratio < bbox.left + bbox.width) {
        ctx.globalAlpha = 1;
        ctx.fillText(stage, x + 3 * ratio, bbox.top);
        ctx.globalAlpha = 0.6;
        free = x + width + 8 * ratio;
      }
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  /** NaN and infinities stand at the edge: a cross below, a triangle above or below. @param {any} ctx @param {any} bbox */
  drawOdd(ctx, bbox) {
    const size = 3.5 * devicePixelRatio;
    ctx.strokeStyle = ctx.fillStyle = themeColour("--failed");
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const { x, kind } of this.drawn.odd) {
      const at = this.chart.valToPos(x, "x", true);
      if (!(at >= bbox.left && at <= bbox.left + bbox.width)) continue;
      const y = kind === "inf" ? bbox.top + size : bbox.top + bbox.height - size - devicePixelRatio;
      ctx.beginPath();
      if (kind === "NaN") {
        ctx.moveTo(at - size, y - size);
        ctx.lineTo(at + size, y + size);
        ctx.moveTo(at + size, y - size);
        ctx.lineTo(at - size, y + size);
        ctx.stroke();
      } else {
        const tip = kind === "inf" ? -size : size;
        ctx.moveTo(at, y + tip);
        ctx.lineTo(at - size, y - tip);
        ctx.lineTo(at + size, y - tip);
        ctx.fill();
      }
    }
  }

  /** @param {any} ctx @param {{ step: number, value: number }} best */
  drawBest(ctx, { step, value }) {
    const ratio = devicePixelRatio;
    const { left, top, width, height } = this.chart.bbox;
    const [x, y] = [this.chart.valToPos(step, "x", true), this.chart.valToPos(value, "y", true)];
    if (!(x >= left - 1 && x <= left + width + 1 && y >= top - 1 && y <= top + height + 1)) return;
    const text = `best ${valueText(value, this.view.isBytes)}`;
    ctx.font = `600 ${11 * ratio}px ${AXIS_FONT.slice(5)}`;
    ctx.lineWidth = 2 * ratio;
    ctx.strokeStyle = themeColour("--ink");
    ctx.fillStyle = themeColour("--bg");
    ctx.beginPath();
    ctx.arc(x, y, 4 * ratio, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
    const across = ctx.measureText(text).width;
    const textX = Math.min(x + 8 * ratio, left + width - across);
    const textY = y > top + height / 2 ? y - 10 * ratio : y + 12 * ratio;
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    ctx.strokeStyle = themeColour("--bg");
    ctx.lineWidth = 3 * ratio;
    ctx.strokeText(text, textX, textY);
    ctx.fillStyle = themeColour("--ink");
    ctx.fillText(text, textX, textY);
  }
}

/** What a chart cannot change while it stands. @param {PlotData} drawn @param {PlotView} view */
function plotShape(drawn, view) {
  return JSON.stringify([drawn.series, view.logX, view.logY, view.x, view.dark, view.isBytes, view.isShare]);
}

/** @param {SeriesPart[]} series */
function bandsOf(series) {
  return series.flatMap(({ role, slot }, index) => (role === "high" ? [{ series: [index + 1, index + 2], fill: transparent(curveStyle(slot).colour, slot === QUIET_SLOT ? 0.06 : 0.2 * paleness(series)) }] : []));
}

/** Bands lie over each other: the more there are, the paler each, or they would be a block. @param {SeriesPart[]} series */
function paleness(series) {
  return Math.min(1, 2 / series.filter((part) => part.role === "high").length);
}

/** @param {string} colour `#rrggbb` @param {number} alpha */
function transparent(colour, alpha) {
  return colour + Math.round(alpha * 255).toString(16).padStart(2, "0");
}

function axisLook() {
  const grid = { stroke: themeColour("--grid"), width: 1 };
  return { stroke: themeColour("--quiet"), font: AXIS_FONT, grid, ticks: { show: false }, border: { show: true, stroke: themeColour("--line"), width: 1 } };
}

/** @param {number} low @param {number} high @param {PlotView} view */
function rangeY(low, high, { logY: isLog, isShare }) {
  if (low === null || high === null || low === undefined || high === undefined) return isLog ? [0.1, 1] : [0, 1];
  if (isLog) return low === high ? [low / 2, high * 2] : [low / (high / low) ** 0.06, high * (high / low) ** 0.06];
  if (isShare && low >= 0 && high <= 100) return [0, 100];
  const pad = low === high ? Math.abs(low) * 0.1 || 1 : (high - low) * 0.06;
  return [low - pad, high + pad];
}

/** Whether the values in view are few enough to be dots. @param {any} chart @param {number} _at @param {number} first @param {number} last */
function dotsFit(chart, _at, first, last) {
  return (last - first + 1) * MOST_DOTS_PX * devicePixelRatio < chart.bbox.width;
}

/** The values that no line can show, for both neighbours are gaps. @param {(number | null | undefined)[]} values */
function alone(values) {
  const found = [];
  /** @type {(number | null)[]} */
  const known = [];
  const places = [];
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (value === undefined) continue;
    known.push(value);
    places.push(index);
  }
  for (let index = 0; index < known.length; index++) {
    if (known[index] !== null && (known[index - 1] ?? null) === null && (known[index + 1] ?? null) === null) found.push(places[index]);
  }
  return found.length ? found : null;
}

/** Powers of ten; of a short range 1, 2, 5; of a shorter one round steps. @param {number} low @param {number} high */
function logSplits(low, high) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const skip = Math.max(1, Math.ceil((last - first) / LOG_TICKS));
  const parts = last - first > 3 ? [1] : [1, 2, 5];
  const splits = [];
  for (let power = first; power <= last; power += skip) splits.push(...parts.map((part) => Number(`${part}e${power}`)));
  const shown = splits.filter((value) => value >= low && value <= high);
  if (shown.length > 1) return shown;
  const step = 10 ** Math.floor(Math.log10((high - low) / 2));
  return [...Array(20).keys()].map((index) => (Math.ceil(low / step) + index) * step).filter((value) => value <= high);
}

/** Labels with as many digits as it takes to tell them apart. @param {number[]} splits @param {(value: number) => string} [short] */
function distinctTexts(splits, short = shortNumber) {
  const texts = splits.map((value) => (value === null ? "" : short(value)));
  const given = texts.filter(Boolean);
  if (new Set(given).size === given.length) return texts;
  for (let digits = 5; digits <= 15; digits++) {
    const longer = splits.map((value) => (value === null ? "" : String(Number(value.toPrecision(digits)))));
    if (new Set(longer.filter(Boolean)).size === given.length) return longer;
  }
  return texts;
}

/** @param {number[]} splits @param {string} x @param {number} step @param {any} _chart */
function tickTexts(splits, x, step, _chart) {
  if (x === "wall") return splits.map((value) => clockText(value, step));
  if (x === "time") return splits.map((value) => (value === null ? "" : value === 0 ? "0" : spanText(value)));
  return splits.some((value) => Math.abs(value) >= 1e4) ? distinctTexts(splits, roundText) : distinctTexts(splits);
}

/** A large round step: 200k, 1.5M. @param {number} value */
function roundText(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return shortNumber(value);
  return size >= 1e6 ? `${shortNumber(value / 1e6)}M` : size >= 1e3 ? `${shortNumber(value / 1e3)}k` : shortNumber(value);
}

/** @param {number} value @param {number} step */
function clockText(value, step) {
  if (value === null) return "";
  const text = momentText(value);
  return step >= 86400 ? text.slice(5, 10) : step >= 60 ? text.slice(11, 16) : text.slice(11);
}

/** A place on the x axis in words. @param {number} value @param {string} x */
export function placeText(value, x) {
  if (x === "wall") return momentText(value);
  if (x === "time") return `after ${spanText(value)}`;
  return x.startsWith("metric:") ? `${x.slice(7)} ${shortNumber(value)}` : `step ${stepText(Math.round(value))}`;
}
