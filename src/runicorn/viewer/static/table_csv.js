// @ts-check
/** The table of runs as CSV: every row that is shown, every digit. No page in it. */

const CSV_COLUMNS = [
  "id", "alias", "path", "status", "reason", "best_metric_name", "best_metric_value", "best_metric_step", "best_metric_mode", "last_step",
  "created_at", "started_at", "ended_at", "duration_s", "hostname", "group", "parent", "tags", "notes",
];
const CSV_TIMES = ["created_at", "started_at", "ended_at"];

/**
 * @param {any[]} runs in their order
 * @param {string[]} chosen columns of config and summary
 */
export function tableCsv(runs, chosen) {
  const names = [...CSV_COLUMNS, ...chosen];
  const lines = runs.map((run) => names.map((name) => csvCell(csvValue(run, name))).join(","));
  return `${[names.map(csvCell).join(","), ...lines].join("\r\n")}\r\n`;
}

/** @param {any} run @param {string} name */
function csvValue(run, name) {
  const value = run[name];
  if (value === null || value === undefined) return "";
  if (CSV_TIMES.includes(name) && typeof value === "number") return isoTime(value);
  return Array.isArray(value) ? value.join(", ") : value;
}

/** A moment in UTC, to the microsecond. @param {number} seconds */
function isoTime(seconds) {
  const micros = Math.round((seconds - Math.floor(seconds)) * 1e6);
  const date = new Date((Math.floor(seconds) + Math.floor(micros / 1e6)) * 1000);
  if (Number.isNaN(date.getTime())) return String(seconds);
  return date.toISOString().replace(/\.\d+Z$/, `.${String(micros % 1e6).padStart(6, "0")}Z`);
}

/** Quoted where it must be; a text that a spreadsheet would take for a formula has a ' before it. @param {any} value */
function csvCell(value) {
  const text = String(value);
  const isFormula = typeof value === "string" && /^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text));
  const safe = isFormula ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
}
