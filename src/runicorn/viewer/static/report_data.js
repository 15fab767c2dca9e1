// @ts-check
/** What a report holds: a page without a server has its data in itself. */

/**
 * @typedef {object} PackedCurve
 * @property {import("./source.js").CurveHead} head
 * @property {string} data the arrays, packed
 * @property {string} rank that it was asked for with, of `ranks`
 * @property {string} stage as above, of `stages`
 *
 * @typedef {object} ReportData
 * @property {number} made_at epoch seconds
 * @property {string} start the page that it opens with
 * @property {string[]} lines what the report is made of, in words
 * @property {string[]} axes that its curves have; a page begins with the first, as with ranks and stages
 * @property {string[]} ranks numbers, `each`, `mean`, `minmax`, `slowest`
 * @property {string[]} stages names, and `all`
 * @property {Record<string, any>} places answers of the interface, by place
 * @property {Record<string, { type: string, data: string }>} blobs bytes in base64, by place
 * @property {PackedCurve[]} curves
 */

/** What is embedded in this page; null where a server answers. @type {ReportData | null} */
export const reportData = embeddedData();

/** Whether a report stands in a frame of another page, such as a notebook: it has no address there, and saves no files. */
export const isFramed = reportData !== null && window.parent !== window;

function embeddedData() {
  const element = document.getElementById("report-data");
  return element ? JSON.parse(element.textContent ?? "null") : null;
}
