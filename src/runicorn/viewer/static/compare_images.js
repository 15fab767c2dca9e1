// @ts-check
/** Images of runs side by side: one key, one step for all of them, a cell for each run. */
import { html, useEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { changeQuery, runHref } from "./address.js";
import { Swatch } from "./chart_card.js";
import { countOf, countText, stepText } from "./format.js";
import { RunImage, imagesAt, useImages } from "./images_tab.js";
import { Trouble, runName, useKeys } from "./parts.js";
import { source } from "./source.js";

const MOST_IMAGE_RUNS = 60;

/** The keys of images of each run; a run that cannot be asked has none. @param {string[]} runs @param {Record<string, string>} versions */
function useKeysOfRuns(runs, versions) {
  const [found, setFound] = useState(/** @type {Map<string, any[]> | null} */ (null));
  const [error, setError] = useState(null);
  useEffect(() => {
    let isMine = true;
    const ask = (run) => source.get(`runs/${encodeURIComponent(run)}/images`).then((answer) => [run, answer.keys], (problem) => (setError(problem), [run, []]));
    Promise.all(runs.map(ask)).then((pairs) => isMine && setFound(new Map(pairs)));
    return () => void (isMine = false);
  }, [runs.join(), runs.map((run) => versions[run] ?? "").join()]);
  return { found, error };
}

/** @param {any} props */
export function CompareImages({ compared, query, versions }) {
  const all = compared.map((run) => run.key);
  const { found, error } = useKeysOfRuns(all.slice(0, MOST_IMAGE_RUNS), versions);
  const keys = useMemo(() => {
    const counts = new Map();
    for (const listed of found?.values() ?? []) for (const { key } of listed) counts.set(key, (counts.get(key) ?? 0) + 1);
    return [...counts].sort(([first, some], [second, others]) => others - some || (first < second ? -1 : 1));
  }, [found]);
  const key = query.get("key") || keys[0]?.[0] || "";
  const [stepsOf, setSteps] = useState(/** @type {Record<string, number[]>} */ ({}));
  const tell = (run, steps) => setSteps((before) => (before[run]?.join() === steps.join() ? before : { ...before, [run]: steps }));
  const steps = useMemo(() => [...new Set(all.flatMap((run) => stepsOf[run] ?? []))].sort((first, second) => first - second), [stepsOf, all.join()]);
  const given = query.get("step");
  const step = given !== null && /^-?\d+$/.test(given) ? Number(given) : null;
  const next = step === null ? -1 : steps.findIndex((each) => each > step);
  const at = next < 0 ? steps.length - 1 : next - 1;
  const go = (to) => changeQuery({ step: to >= steps.length - 1 ? null : steps[Math.max(0, to)] });
  useKeys({ "[": () => go(at - 1), "]": () => go(at + 1) });
  if (!found) return html`<div class="sheet"><span class="skeleton"></span></div>`;
  if (error && !keys.length) return html`<${Trouble} error=${error} />`;
  if (!keys.length) return html`<p class="empty quiet">These runs have logged no image.</p>`;
  const having = compared.filter((run) => (found.get(run.key) ?? []).some((each) => each.key === key));
  const text = steps.length ? `step ${stepText(steps[Math.max(0, at)])}` : "no steps";
  const left = compared.length - MOST_IMAGE_RUNS;
  return html`<div class="images">
    <div class="bar step-bar">
      <select aria-label="Key" value=${key} onChange=${(event) => changeQuery({ key: event.target.value }, true)}>
        ${keys.map(([name, count]) => html`<option key=${name} value=${name}>${name} (${countOf(count, "run")})</option>`)}
        ${!keys.some(([name]) => name === key) && html`<option value=${key}>${key}</option>`}
      </select>
      <button class="plain" aria-label="Step before" title="Step before ( [ )" disabled=${at < 1} onClick=${() => go(at - 1)}>‹</button>
      <input type="range" aria-label="Step" aria-valuetext=${text} min="0" max=${Math.max(0, steps.length - 1)} value=${Math.max(0, at)} disabled=${steps.length < 2} onInput=${(event) => go(Number(event.target.value))} />
      <button class="plain" aria-label="Step after" title="Step after ( ] )" disabled=${at >= steps.length - 1} onClick=${() => go(at + 1)}>›</button>
      <output class="step-text" aria-live="polite">${text}</output>
      <span class="quiet wide-only">${having.length < compared.length ? `${countText(having.length)} of ${countOf(compared.length, "run")} have this key` : ""}${left > 0 ? ` among the first ${MOST_IMAGE_RUNS}` : ""}</span>
    </div>
    <div class="side-by-side">${having.map((run) => html`<${ImagesOfRun} key=${`${run.key} ${key}`} ...${{ run, imageKey: key, step, version: versions[run.key], tell }} />`)}</div>
  </div>`;
}

/** The images of one run at the step, or at the last one before. @param {any} props */
function ImagesOfRun({ run, imageKey, step, version, tell }) {
  const { images, error } = useImages(run.key, imageKey, version);
  useEffect(() => {
    if (images) tell(run.key, [...new Set(images.map((each) => each.step).filter((each) => each !== null))]);
  }, [images]);
  const shown = images ? imagesAt(images, step) : [];
  const at = shown[0]?.step ?? null;
  const name = html`<${Swatch} slot=${run.slot} /> <a href=${runHref(run.key, "images", { key: imageKey })}>${runName(run.row)}</a>`;
  return html`<section aria-label=${`Images of ${runName(run.row)}`}>
    <h2 class="cut">${name} <span class="quiet">${at === null ? "" : `step ${stepText(at)}`}</span></h2>
    ${error && html`<p class="quiet">${error.message}</p>`}
    ${images && !shown.length && html`<div class="image-box"><span class="image-none">nothing at or before step ${stepText(step)}</span></div>`}
    ${shown.map((image) => html`<${RunImage} key=${image.number} runKey=${run.key} image=${image} caption=${html`<div class="cut" title=${image.caption ?? ""}>${image.caption ?? ""}</div>`} />`)}
  </section>`;
}
