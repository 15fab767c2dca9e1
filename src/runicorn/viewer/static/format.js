// @ts-check
/** Numbers, times and sizes in the words that people use. Nothing here knows the page. */

const plainNumber = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const UNITS = /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]);

/**
 * A number with 4 significant digits; integers below a million with all of theirs.
 * @param {unknown} value a number, or the text of one that JSON has not
 */
export function shortNumber(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
  const size = Math.abs(value);
  if ((Number.isInteger(value) || size >= 1e3) && size < 1e6) return plainNumber.format(Number.isInteger(value) ? value : Number(value.toPrecision(4)));
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? exponent(value.toExponential(3)) : trimmed(value.toPrecision(4));
}

/** @param {string} text */
function exponent(text) {
  const [digits, power] = text.split("e");
  return `${trimmed(digits)}e${power.replace("+", "")}`;
}

/** @param {string} text */
function trimmed(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** A whole number with its thousands apart. @param {number | null | undefined} value */
export function countText(value) {
  return value === null || value === undefined ? "" : plainNumber.format(value);
}

/** A step or another place on an x axis. @param {number | null | undefined} value */
export function stepText(value) {
  if (value === null || value === undefined) return "";
  return Number.isInteger(value) && Math.abs(value) < 1e15 ? plainNumber.format(value) : shortNumber(value);
}

/** A span of time by its two largest units. @param {number | null | undefined} seconds */
export function spanText(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 10) return `${trimmed(Math.max(0, seconds).toFixed(1))} s`;
  const at = UNITS.findIndex(([size]) => seconds >= size);
  const [size, name] = UNITS[at];
  const next = UNITS[at + 1];
  const whole = Math.floor(seconds / size);
  const rest = next ? Math.floor((seconds - whole * size) / next[0]) : 0;
  return next && rest ? `${whole} ${name} ${rest} ${next[1]}` : `${whole} ${name}`;
}

/** How long ago, by one unit. @param {number | null | undefined} time epoch seconds @param {number} now */
export function agoText(time, now) {
  if (time === null || time === undefined) return "";
  const seconds = now - time;
  if (seconds < 1) return "now";
  const [size, name] = UNITS.find(([unit]) => seconds >= unit) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${name} ago`;
}

/** A moment in full, in the reader's time zone. @param {number | null | undefined} time epoch seconds */
export function momentText(time) {
  if (time === null || time === undefined) return "";
  const date = new Date(time * 1000);
  if (Number.isNaN(date.getTime())) return String(time);
  const two = (part) => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** @param {number | null | undefined} bytes @param {number} [digits] */
export function bytesText(bytes, digits = 3) {
  if (bytes === null || bytes === undefined) return "";
  const size = Math.abs(bytes);
  if (!Number.isFinite(size)) return shortNumber(bytes);
  const power = size < 1024 ? 0 : Math.min(4, Math.floor(Math.log2(size) / 10));
  const value = bytes / 2 ** (10 * power);
  // Between 1,000 and 1,024 three digits would be an exponent.
  return `${Math.abs(value) < 1000 ? Number(value.toPrecision(digits)) : Math.round(value)} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

/** Sizes with as many digits as it takes to tell them apart. @param {(number | null)[]} sizes */
export function byteTexts(sizes) {
  const given = sizes.filter((size) => size !== null).length;
  const texts = (digits) => sizes.map((size) => bytesText(size, digits));
  const enough = [3, 4, 5, 6, 8].find((digits) => new Set(texts(digits).filter(Boolean)).size === given);
  return texts(enough ?? 12);
}

/** Whether the values of a metric are sizes: so say names such as `memory_bytes`. @param {string} metric */
export function isBytesName(metric) {
  return /(^|[_/.])bytes$/.test(metric);
}

/** A value of a metric in short. @param {unknown} value @param {boolean} [isBytes] */
export function valueText(value, isBytes) {
  return isBytes && typeof value === "number" ? bytesText(value, 4) : shortNumber(value);
}

/** "1 run", "3 runs". @param {number} count @param {string} word */
export function countOf(count, word) {
  return `${plainNumber.format(count)} ${word}${count === 1 ? "" : "s"}`;
}

/** The seconds of "3h", "2d", "90s", "15m", "1w"; null if it is no span. @param {string} text */
export function parseSpan(text) {
  const found = /^(\d+(?:\.\d+)?)(s|m|min|h|d|w)$/.exec(text);
  if (!found) return null;
  return Number(found[1]) * { s: 1, m: 60, min: 60, h: 3600, d: 86400, w: 604800 }[/** @type {"s"} */ (found[2])];
}
