// @ts-check
/** Curves of a report: the buckets that it holds, put together to as many as a chart takes, as the server does it. */

/** @typedef {import("./source.js").Curve} Curve */
/** @typedef {{ from?: number | null, to?: number | null, buckets?: number, width?: number | null, smooth?: number }} EmbeddedWish */

const DEFAULT_BUCKETS = 1000;
const SMOOTH_UNITS = 1000;

/**
 * A curve as a chart asks for it; what is finer than the report's buckets is not there.
 * @param {Curve} whole @param {EmbeddedWish} wish @returns {Curve}
 */
export function drawnCurve(whole, wish) {
  const { head } = whole;
  if (!head.n) return whole;
  const buckets = wish.buckets ?? DEFAULT_BUCKETS;
  const low = Math.max(wish.from ?? -Infinity, head.first_x ?? -Infinity);
  const high = Math.min(wish.to ?? Infinity, head.last_x ?? Infinity);
  const isPoints = head.kind === "points";
  const [start, stop] = rangeOf(whole, wish.from ?? null, wish.to ?? null);
  const asPoints = isPoints && !wish.width && stop - start <= 2 * buckets;
  const own = isPoints ? 0 : head.width;
  const width = asPoints ? head.width : roundWidth(own, wish.width ?? Math.max(0, high - low) / buckets, !own && Number.isInteger(head.width));
  const made = drawnPart(whole, [start, stop], asPoints ? 0 : width, wish.smooth ?? 0);
  const n = made.data.x.length;
  const finest = !isPoints && width === head.width && n * 2 < buckets;
  return { head: { ...made.head, kind: asPoints ? "points" : "buckets", n, shown: n, width, arrays: Object.keys(made.data), finest }, data: made.data };
}

/**
 * A range of a curve in buckets, smoothed with what is left of it.
 * @param {Curve} whole @param {number[]} range places of its arrays @param {number} width of a bucket; 0 = points @param {number} weight of smoothing; 0 = none
 */
function drawnPart(whole, [start, stop], width, weight) {
  const { head } = whole;
  const part = (from, to) => {
    const data = Object.fromEntries(Object.entries(whole.data).map(([name, values]) => [name, values.subarray(from, to)]));
    return width ? bucketsOf({ head: { ...head, n: to - from }, data }, width) : data;
  };
  const data = part(start, stop);
  if (weight) {
    const before = part(0, start);
    const both = (name) => new Float64Array([...before[name], ...data[name]]);
    const unit = ((head.last_x ?? 0) - (head.first_x ?? 0)) / SMOOTH_UNITS;
    data.smooth = smoothedValues(both("x"), both(width ? "mean" : "y"), weight, unit).subarray(before.x.length);
  }
  return { head: stop - start === head.n ? head : { ...head, ...figuresOf(head, data) }, data };
}

/** The least width that is a round multiple of the report's own, or of 1, and not below what is wished. @param {number} own 0 = none @param {number} wished @param {boolean} isWhole */
function roundWidth(own, wished, isWhole) {
  if (own && wished <= own) return own;
  if (isWhole && wished <= 1) return 1;
  const unit = own || 1;
  const power = Math.floor(Math.log10(wished / unit || 1));
  for (const exponent of [power, power + 1]) {
    const ten = exponent < 0 ? 1 / 10 ** -exponent : 10 ** exponent;
    for (const digit of [1, 2, 5]) if (digit * ten * unit >= wished) return digit * ten * unit;
  }
  return wished || 1;
}

/** Buckets of a width, out of points or of finer buckets. @param {Curve} whole @param {number} width @returns {Record<string, Float64Array>} */
function bucketsOf({ head, data }, width) {
  if (head.kind === "buckets" && width === head.width) return { ...data };
  const isPoints = head.kind === "points";
  /** @type {any[]} */
  const rows = [];
  for (let at = 0; at < head.n; at++) {
    // The bound is a multiple of the narrower width, whose rounding must not put it into the bucket before.
    const number = isPoints ? Math.floor(data.x[at] / width) : Math.floor((data.x[at] + head.width / 2) / width);
    let row = rows[rows.length - 1];
    if (row?.number !== number) rows.push((row = { number, min: Infinity, max: -Infinity, sum: 0, finite: 0, last: NaN, count: 0 }));
    const count = isPoints ? 1 : data.count[at];
    const odd = isPoints ? Number(!Number.isFinite(data.y[at])) : data.nonfinite?.[at] ?? 0;
    if (count > odd) {
      row.min = Math.min(row.min, isPoints ? data.y[at] : data.min[at]);
      row.max = Math.max(row.max, isPoints ? data.y[at] : data.max[at]);
      row.sum += (count - odd) * (isPoints ? data.y[at] : data.mean[at]);
      row.finite += count - odd;
    }
    row.last = isPoints ? data.y[at] : data.last[at];
    row.count += count;
  }
  const column = (read) => Float64Array.from(rows, read);
  const some = (read) => column((row) => (row.finite ? read(row) : NaN));
  const found = { x: column((row) => row.number * width), min: some((row) => row.min), max: some((row) => row.max), mean: some((row) => Math.min(row.max, Math.max(row.min, row.sum / row.finite))), last: column((row) => row.last), count: column((row) => row.count) };
  return rows.some((row) => row.finite < row.count) ? { ...found, nonfinite: column((row) => row.count - row.finite) } : found;
}

/** Which places of a curve's arrays are in a range; a bucket that is partly in it is whole in it. @param {Curve} whole @param {number | null} from @param {number | null} to */
function rangeOf({ head, data: { x } }, from, to) {
  const width = head.kind === "buckets" ? head.width : 0;
  let [start, stop] = [0, x.length];
  while (from !== null && start < stop && (width ? x[start] + width <= from : x[start] < from)) start++;
  while (to !== null && stop > start && x[stop - 1] > to) stop--;
  return [start, stop];
}

/** What the head says of a range. @param {any} head @param {Record<string, Float64Array>} data */
function figuresOf(head, data) {
  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  const finite = (values) => values.filter((value) => Number.isFinite(value));
  const [lows, highs] = [finite(data.min ?? data.y), finite(data.max ?? data.y)];
  const low = lows.length ? lows.reduce((least, value) => Math.min(least, value)) : null;
  const odd = data.y ? data.y.filter((value) => !Number.isFinite(value)) : null;
  const nan = odd ? odd.filter((value) => Number.isNaN(value)).length : head.nan ? total(data.nonfinite ?? data.x.slice(0, 0)) : 0;
  const inf = odd ? odd.length - nan : head.nan ? 0 : total(data.nonfinite ?? data.x.slice(0, 0));
  const last = data.last ?? data.y;
  const hidden = data.y ? data.y.filter((value) => value <= 0 && Number.isFinite(value)).length : low !== null && low > 0 ? 0 : null;
  return { in_range: data.count ? total(data.count) : data.x.length, nan, inf, low, high: highs.length ? highs.reduce((most, value) => Math.max(most, value)) : null, last_value: last.length ? last[last.length - 1] : null, log_hidden: hidden };
}

/**
 * The moving average over x, without the pull of its beginning towards 0.
 * @param {Float64Array} x @param {Float64Array} y @param {number} weight @param {number} unit of x that the weight is for
 */
function smoothedValues(x, y, weight, unit) {
  let [sum, weights, before] = [0, 0, 0];
  return Float64Array.from(x, (here, at) => {
    const value = y[at];
    if (Number.isFinite(value)) {
      const kept = !weights ? 0 : unit <= 0 ? weight : here <= before ? weight ** (1 / SMOOTH_UNITS) : weight ** ((here - before) / unit);
      const share = weights ? 1 - kept : 1 - weight;
      [sum, weights, before] = [kept * sum + share * value, kept * weights + share, here];
    }
    return weights ? sum / weights : NaN;
  });
}

/** One curve over all members of a group, on one grid. @param {Curve[]} members @param {EmbeddedWish} wish @param {string} group @param {string} metric @returns {Curve} */
export function groupCurve(members, wish, group, metric) {
  const drawn = members.filter(({ head }) => head.n);
  const width = groupWidth(drawn, wish);
  const made = drawn.map((each) => drawnPart(each, rangeOf(each, wish.from ?? null, wish.to ?? null), width, wish.smooth ?? 0));
  const buckets = new Map();
  for (const { data } of made) data.x.forEach((x, at) => Number.isFinite(data.mean[at]) && buckets.set(x, [...(buckets.get(x) ?? []), { min: data.min[at], max: data.max[at], mean: data.mean[at], smooth: (data.smooth ?? data.mean)[at] }]));
  const xs = [...buckets.keys()].sort((first, second) => first - second);
  const column = (read) => Float64Array.from(xs, (x) => read(buckets.get(x)));
  const mean = (rows, name) => rows.reduce((sum, row) => sum + row[name] / rows.length, 0);
  const deviation = (rows) => (rows.length < 2 ? 0 : Math.hypot(...rows.map((row) => (row.mean - mean(rows, "mean")) / Math.sqrt(rows.length - 1))));
  /** @type {Record<string, Float64Array>} */
  const data = { x: Float64Array.from(xs), mean: column((rows) => mean(rows, "mean")), min: column((rows) => Math.min(...rows.map((row) => row.min))), max: column((rows) => Math.max(...rows.map((row) => row.max))), std: column(deviation), members: column((rows) => rows.length) };
  if (wish.smooth) data.smooth = column((rows) => mean(rows, "smooth"));
  const figures = (name) => made.map(({ head }) => head[name]).filter((value) => value !== null && value !== undefined);
  const sums = Object.fromEntries(["total", "in_range", "others", "nan", "inf", "replaced", "log_hidden"].map((name) => [name, figures(name).reduce((sum, value) => sum + value, 0)]));
  const head = { run: null, metric, rank: null, group, superseded: false, kind: "group", n: xs.length, shown: xs.length, width, members: made.length, arrays: Object.keys(data), ...sums, low: Math.min(...figures("low")), high: Math.max(...figures("high")), first_x: Math.min(...figures("first_x")), last_x: Math.max(...figures("last_x")), last_value: data.mean[xs.length - 1] ?? null, version: "", indexed: 1 };
  return { head: Object(head), data };
}

/** Round, and no narrower than the member that was logged most seldom has its values apart. @param {Curve[]} members @param {EmbeddedWish} wish */
function groupWidth(members, wish) {
  const clip = (low, high) => [Math.max(low, wish.from ?? -Infinity), Math.min(high, wish.to ?? Infinity)];
  const span = ([low, high]) => Math.max(0, high - low);
  let buckets = wish.buckets ?? DEFAULT_BUCKETS;
  for (const { head } of members) {
    const [first, last] = [head.first_x ?? 0, head.last_x ?? 0];
    const share = last > first ? span(clip(first, last)) / (last - first) : 1;
    buckets = Math.min(buckets, Math.max(1, Math.ceil((head.in_range - 1) * share)));
  }
  const heads = members.map(({ head }) => head);
  const own = Math.max(0, ...heads.filter((head) => head.kind === "buckets").map((head) => head.width));
  const whole = span(clip(Math.min(...heads.map((head) => head.first_x ?? 0)), Math.max(...heads.map((head) => head.last_x ?? 0))));
  return roundWidth(own, wish.width ?? whole / buckets, !own && heads.every((head) => Number.isInteger(head.width)));
}
