// @ts-check
/** Images of runs side by side, by key and step. */
import { html } from "./vendor/htm-preact.js";

/** @param {any} props */
export function CompareImages({ compared }) {
  return html`<p class="empty quiet">${compared.length}</p>`;
}
