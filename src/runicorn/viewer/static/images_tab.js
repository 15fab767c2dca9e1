// @ts-check
/** The images of a run: a grid by key, one step for the whole page, and one of them large. Only what is near the view is loaded. */
import { html, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { changeQuery, runHref } from "./address.js";
import { useView } from "./charts_tab.js";
import { bytesText, countOf, countText, stepText } from "./format.js";
import { Trouble, saveByTicket, saveFile, useKeys, useSize } from "./parts.js";
import { source } from "./source.js";

/**
 * @typedef {object} LoggedImage
 * @property {number} number that addresses it
 * @property {string} key
 * @property {number | null} step
 * @property {number | null} time
 * @property {string | null} caption
 * @property {string | null} stage
 * @property {number | null} rank
 * @property {number | null} width
 * @property {number | null} height
 * @property {number | null} bytes
 * @property {string | null} kind such as `PNG`
 * @property {string | null} reason why it is not shown
 * @property {boolean} superseded a later session of the run has images of the key from that step on
 *
 * @typedef {{ users: number, url: string, blob: Blob | null, coming: Promise<void> }} HeldImage
 */

const MOST_UNUSED = 24;
const PAGE_IMAGES = 2000;
const SETTLE_MS = 60;
const STEP_MS = 80;
const AROUND_PX = 400;
const GRID_GAP = 16;
const WORDS_HEIGHT = 60;
const TINY_PX = 96;
/** At most so many cells, and then their least width and the height of their images. */
const CELL_SIZES = [[2, 420, 380], [6, 300, 240], [Infinity, 200, 160]];
/** @type {Map<string, HeldImage>} */
const heldImages = new Map();

/** @param {string} runKey @param {LoggedImage} image */
function placeOfImage(runKey, image) {
  return `runs/${encodeURIComponent(runKey)}/images/${image.number}`;
}

/** Hold the bytes of an image; those that nobody uses are let go, the oldest first. @param {string} place */
function holdImage(place) {
  const known = heldImages.get(place);
  heldImages.delete(place);
  /** @type {HeldImage} */
  const held = known ?? { users: 0, url: "", blob: null, coming: Promise.resolve() };
  if (!known) {
    held.coming = source.blob(place).then((blob) => {
      held.blob = blob;
      if (heldImages.get(place) === held) held.url = URL.createObjectURL(blob);
    }, (error) => {
      heldImages.delete(place);
      throw error;
    });
    held.coming.catch(() => undefined);
  }
  held.users += 1;
  heldImages.set(place, held);
  return held;
}

/** @param {HeldImage} held */
function leaveImage(held) {
  held.users -= 1;
  const unused = [...heldImages].filter(([, each]) => each.users < 1);
  for (const [place, each] of unused.slice(0, Math.max(0, unused.length - MOST_UNUSED))) {
    heldImages.delete(place);
    if (each.url) URL.revokeObjectURL(each.url);
  }
}

/**
 * An image as an address for `<img>`; what was shown stays until the next one has come.
 * @param {string} place empty = none is wanted
 */
function useHeldImage(place) {
  const [shown, setShown] = useState({ place: "", url: "", blob: null, error: "" });
  useEffect(() => {
    if (!place) return undefined;
    let held = null;
    let isMine = true;
    // A step that is only passed on the way is not loaded.
    const timer = setTimeout(() => {
      const mine = (held = holdImage(place));
      mine.coming.then(
        () => isMine && setShown({ place, url: mine.url, blob: mine.blob, error: "" }),
        (error) => isMine && setShown({ place, url: "", blob: null, error: error.message }),
      );
    }, heldImages.has(place) ? 0 : SETTLE_MS);
    return () => {
      isMine = false;
      clearTimeout(timer);
      // The picture stays on the screen until another one is there.
      if (held) setTimeout(() => leaveImage(held), 1000);
    };
  }, [place]);
  return shown;
}

/** Whether an element is in the view or near it. @param {{ current: HTMLElement | null }} ref */
function useNear(ref) {
  const [isNear, setNear] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => setNear(entries[entries.length - 1].isIntersecting), { rootMargin: `${AROUND_PX}px` });
    if (ref.current) observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return isNear;
}

/** What an image is called where it is not seen. @param {LoggedImage} image */
function imageText(image) {
  return `${image.key}${image.step === null ? "" : `, step ${stepText(image.step)}`}${image.caption ? `: ${image.caption}` : ""}`;
}

/**
 * An image of a run in a box of a fixed height (`--image-height`), loaded when it is near the view; why it is not shown, if so.
 * @param {{ runKey: string, image: LoggedImage, caption?: any, isAt?: boolean, onOpen?: () => void }} props
 */
export function RunImage({ runKey, image, caption, isAt, onOpen }) {
  const box = useRef(null);
  const isNear = useNear(box);
  const shown = useHeldImage(isNear && !image.reason ? placeOfImage(runKey, image) : "");
  const picture = html`<${Picture} image=${image} shown=${shown} />`;
  return html`<figure class=${`image ${isAt ? "at" : ""}`} ref=${box}>
    ${onOpen ? html`<button class="image-box" aria-label=${`Show large: ${imageText(image)}`} onClick=${onOpen}>${picture}</button>` : html`<div class="image-box">${picture}</div>`}
    <figcaption>${caption ?? html`<${ImageWords} image=${image} />`}</figcaption>
  </figure>`;
}

/** @param {{ image: LoggedImage, shown: { url: string, error: string } }} props */
function Picture({ image, shown }) {
  const [broken, setBroken] = useState("");
  const why = image.reason ?? (shown.error || (shown.url && broken === shown.url ? "the browser cannot draw this image" : ""));
  if (why) return html`<span class="image-none">Not shown: ${why.replace(/^The image cannot be shown: |\.$/g, "")}</span>`;
  const isTiny = image.width !== null && image.width <= TINY_PX && (image.height ?? 0) <= TINY_PX;
  return shown.url ? html`<img class=${isTiny ? "tiny" : ""} src=${shown.url} alt=${imageText(image)} onError=${() => setBroken(shown.url)} />` : html`<span class="hidden-text">${imageText(image)}</span>`;
}

/** Caption, step, stage and size. @param {{ image: LoggedImage, href?: string, isOfKey?: boolean }} props */
function ImageWords({ image, href, isOfKey }) {
  const step = image.step === null ? "no step" : `step ${stepText(image.step)}`;
  const size = image.width && image.height ? `${image.width} × ${image.height}` : "";
  const facts = [
    isOfKey ? "" : step, image.stage, image.rank === null ? "" : `rank ${image.rank}`, size, bytesText(image.bytes), image.superseded ? "replaced by a resume" : "",
  ].filter(Boolean).join(" · ");
  return html`<div class="cut">${isOfKey ? step : href && image.key ? html`<a href=${href} title=${`All of ${image.key}`}>${image.key}</a>` : image.key || "(no key)"}</div>
    <div class="cut quiet facts-line" title=${facts}>${facts}</div>
    <div class="cut" title=${image.caption ?? ""}>${image.caption ?? ""}</div>`;
}

/** What is asked again if one of its words changes; an answer that comes too late is not shown. @param {() => Promise<any>} load @param {any[]} words */
function useAsked(load, words) {
  const [state, setState] = useState({ answer: null, error: null });
  useEffect(() => {
    let isMine = true;
    load().then((answer) => isMine && setState({ answer, error: null }), (error) => isMine && setState((before) => ({ ...before, error })));
    return () => void (isMine = false);
  }, words);
  return state;
}

/** Which keys a run has images of, and at which steps. @param {string} runKey @param {any} version another one = ask again */
export function useImageKeys(runKey, version) {
  return useAsked(() => source.get(`runs/${encodeURIComponent(runKey)}/images`), [runKey, version]);
}

/** All images of a key, by step; none without a key. @param {string} runKey @param {string} key @param {any} version @param {boolean} [old] also what a resume replaced */
export function useImages(runKey, key, version, old = false) {
  const place = `runs/${encodeURIComponent(runKey)}/images?key=${encodeURIComponent(key)}&limit=${PAGE_IMAGES}${old ? "&superseded=1" : ""}`;
  const load = async () => {
    const images = [];
    for (;;) {
      const answer = await source.get(images.length ? `${place}&offset=${images.length}` : place);
      images.push(...answer.images);
      if (!answer.images.length || images.length >= answer.count) return { images };
    }
  };
  const { answer, error } = useAsked(() => (key ? load() : Promise.resolve(null)), [runKey, key, version, old]);
  return { images: /** @type {LoggedImage[] | null} */ (answer?.images ?? null), error };
}

/** Of each key the images of the nearest step at or below one. @param {string} runKey @param {number | null} step null = the last @param {any} version @param {boolean} old */
function useImagesAt(runKey, step, version, old) {
  const at = `at=${step ?? ""}${old ? "&superseded=1" : ""}`;
  const { answer, error } = useAsked(() => source.get(`runs/${encodeURIComponent(runKey)}/images?${at}&limit=5000`), [runKey, step, version, old]);
  return { images: /** @type {LoggedImage[] | null} */ (answer?.images ?? null), error };
}

/** Those of the nearest step at or below one; of the last without a step. @param {LoggedImage[]} images of one key, by step @param {number | null} step */
export function imagesAt(images, step) {
  const before = images.filter((each) => each.step === null || step === null || each.step <= step);
  const last = before[before.length - 1];
  return last ? before.filter((each) => each.step === last.step) : [];
}

/** @param {{ head: any, row: any, query: URLSearchParams }} props */
export function ImagesTab({ head, row, query }) {
  const key = query.get("key") ?? "";
  const given = query.get("step");
  const step = given !== null && /^-?\d+$/.test(given) ? Number(given) : null;
  const old = query.has("old");
  // A file may come later than the line that names it, as in a copy that is under way.
  const isIncomplete = useRef(false);
  const version = `${head.images} ${isIncomplete.current ? head.version : ""}`;
  const known = useImageKeys(row.key, head.images);
  const ofKey = useImages(row.key, key, version, old);
  const ofStep = useImagesAt(row.key, step, version, old);
  const { images, error } = key ? ofKey : ofStep;
  isIncomplete.current = (images ?? []).some((each) => each.bytes === null);
  const steps = useMemo(() => /** @type {number[]} */ (key ? [...new Set((ofKey.images ?? []).map((each) => each.step).filter((each) => each !== null))] : known.answer?.steps ?? []), [key, ofKey.images, known.answer]);
  const { index, goTo, goStep } = useStep(steps, step);
  const search = (query.get("q") ?? "").toLowerCase();
  const shown = useMemo(() => (images ?? []).filter((each) => key || !search || each.key.toLowerCase().includes(search)), [images, search, key]);
  const [opened, setOpened] = useState(/** @type {{ key: string, nth: number } | null} */ (null));
  // An image that is shown large stays that of its key when the step is another one.
  const ofOpened = opened ? shown.flatMap((each, place) => (each.key === opened.key ? [place] : [])) : [];
  const openedAt = opened && ofOpened.length ? ofOpened[Math.min(opened.nth, ofOpened.length - 1)] : -1;
  const open = (place) => setOpened(shown[place] ? { key: shown[place].key, nth: shown.slice(0, place).filter((each) => each.key === shown[place].key).length } : null);
  const goLargeStep = (by) => (key ? open(nextStepAt(shown, openedAt, by)) : goStep(by));
  useKeys({ "[": () => goStep(-1), "]": () => goStep(1), "/": () => document.getElementById("search")?.focus() });
  useEffect(() => setOpened(null), [key]);
  if (known.error && !known.answer) return html`<${Trouble} error=${known.error} />`;
  const current = key && steps.length ? steps[Math.max(0, index)] : null;
  return html`<div class="images">
    <h2 class="hidden-text">Images</h2>
    <${StepBar} ...${{ keys: known.answer?.keys ?? [], replaced: known.answer?.superseded ?? 0, chosen: key, query, steps, index, goTo, goStep }} />
    ${error && !images && html`<${Trouble} error=${error} />`}
    ${images && !shown.length && html`<p class="quiet">${noImages(key, known.answer?.keys.length ?? 0, step, search)}</p>`}
    <${ImageGrid} ...${{ images: shown, runKey: row.key, query, current, isOfKey: Boolean(key), scrolls: step !== null, open }} />
    ${openedAt >= 0 && html`<${LargeImage} ...${{ images: shown, at: openedAt, go: open, runKey: row.key, goStep: goLargeStep }} />`}
  </div>`;
}

/**
 * Which of the steps is shown, and how to go to another one. A step that is only passed is not written into the
 * address: browsers refuse more than some twenty changes of it a second.
 * @param {number[]} steps rising @param {number | null} step of the address; null = the last
 */
function useStep(steps, step) {
  const [draft, setDraft] = useState(/** @type {number | null} */ (null));
  const latest = useRef(/** @type {number | null} */ (null));
  const timer = useRef(/** @type {number | undefined} */ (undefined));
  const ofAddress = step === null ? steps.length - 1 : lastAtOrBelow(steps, step);
  useEffect(() => () => clearTimeout(timer.current), []);
  const write = () => {
    const to = latest.current ?? 0;
    timer.current = undefined;
    latest.current = null;
    setDraft(null);
    // The last step is not written down: what comes later is then shown as it comes.
    changeQuery({ step: to >= steps.length - 1 ? null : steps[to] });
  };
  const goTo = (to) => {
    latest.current = Math.max(0, Math.min(steps.length - 1, to));
    setDraft(latest.current);
    timer.current ??= window.setTimeout(write, STEP_MS);
  };
  return { index: draft ?? ofAddress, goTo, goStep: (by) => goTo((latest.current ?? ofAddress) + by) };
}

/** Where the first image of the next step is. @param {LoggedImage[]} images of one key @param {number} at @param {number} by */
function nextStepAt(images, at, by) {
  let next = at;
  while (images[next] && images[next].step === images[at].step) next += by;
  return images[next] ? images.findIndex((each) => each.step === images[next].step) : at;
}

/** @param {number[]} steps rising @param {number} step */
function lastAtOrBelow(steps, step) {
  const next = steps.findIndex((each) => each > step);
  return (next < 0 ? steps.length : next) - 1;
}

/** @param {string} key @param {number} keys @param {number | null} step @param {string} search */
function noImages(key, keys, step, search) {
  if (!keys) return "No image was logged.";
  if (key) return "No image has this key.";
  return search ? `No key of ${countText(keys)} has such a name.` : `No image was logged at or before step ${stepText(step)}.`;
}

/** Which key, and which step. @param {any} props */
function StepBar({ keys, replaced, chosen, query, steps, index, goTo, goStep }) {
  const text = steps.length ? `step ${stepText(steps[Math.max(0, index)])}` : "no steps";
  return html`<div class="bar step-bar">
    <select aria-label="Key" value=${chosen} onChange=${(event) => changeQuery({ key: event.target.value }, true)}>
      <option value="">All keys (${countText(keys.length)})</option>
      ${keys.filter((each) => each.key).map((each) => html`<option key=${each.key} value=${each.key}>${each.key} (${countText(each.count)})</option>`)}
      ${chosen && !keys.some((each) => each.key === chosen) && html`<option value=${chosen}>${chosen}</option>`}
    </select>
    ${!chosen && keys.length > 6 && html`<input id="search" type="search" placeholder="Find keys" aria-label="Find keys" value=${query.get("q") ?? ""} onInput=${(event) => changeQuery({ q: event.target.value })} />`}
    <button class="plain" aria-label="Step before" title="Step before ( [ )" disabled=${index < 1} onClick=${() => goStep(-1)}>‹</button>
    <input type="range" aria-label="Step" aria-valuetext=${text} min="0" max=${Math.max(0, steps.length - 1)} value=${Math.max(0, index)} disabled=${steps.length < 2} onInput=${(event) => goTo(Number(event.target.value))} />
    <button class="plain" aria-label="Step after" title="Step after ( ] )" disabled=${index >= steps.length - 1} onClick=${() => goStep(1)}>›</button>
    <output class="step-text" aria-live="polite">${text}</output>
    <span class="quiet wide-only">${steps.length ? `${countText(Math.max(0, index) + 1)} of ${countOf(steps.length, "step")}` : ""}</span>
    ${replaced > 0 && html`<button class="wide-only" aria-pressed=${String(query.has("old"))} title="A later session of the run has images at these steps" onClick=${() => changeQuery({ old: query.has("old") ? null : "1" })}>${countText(replaced)} replaced by a resume</button>`}
  </div>`;
}

/** Cells in lines, of which those near the view stand. @param {any} props */
function ImageGrid({ images, runKey, query, current, isOfKey, scrolls, open }) {
  const lane = useRef(null);
  const { width } = useSize(lane);
  const view = useView(lane);
  const [, least, boxHeight] = CELL_SIZES.find(([most]) => images.length <= most) ?? CELL_SIZES[2];
  const columns = Math.max(1, Math.floor((width + GRID_GAP) / (least + GRID_GAP)));
  const lineHeight = boxHeight + WORDS_HEIGHT + GRID_GAP;
  const lines = Math.ceil(images.length / columns);
  const first = Math.max(0, Math.floor((view.top - AROUND_PX) / lineHeight));
  const last = Math.min(lines, Math.ceil((view.bottom + AROUND_PX) / lineHeight));
  const at = current === null ? -1 : images.findLastIndex((each) => each.step !== null && each.step <= current);
  useEffect(() => {
    if (!scrolls || at < 0 || !width || !lane.current) return;
    const top = lane.current.getBoundingClientRect().top + Math.floor(at / columns) * lineHeight;
    if (top < 130 || top + lineHeight > innerHeight) scrollBy({ top: top - 130 });
  }, [scrolls ? current : null, images.length > 0, width > 0]);
  const lineAt = (line) => html`<div class="line" key=${line} style=${{ top: `${line * lineHeight}px`, gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))`, gap: `${GRID_GAP}px` }}>
    ${images.slice(line * columns, (line + 1) * columns).map((image, index) => html`<${RunImage} key=${isOfKey ? image.number : line * columns + index} ...${{
      runKey,
      image,
      isAt: isOfKey && image.step === current,
      onOpen: () => open(line * columns + index),
      caption: html`<${ImageWords} ...${{ image, isOfKey }} href=${isOfKey ? "" : runHref(runKey, "images", { key: image.key, step: query.get("step") ?? "" })} />`,
    }} />`)}
  </div>`;
  const numbers = width ? [...Array(Math.max(0, last - first)).keys()].map((index) => first + index) : [];
  return html`<div class="lane" ref=${lane} style=${{ height: `${lines * lineHeight}px`, "--image-height": `${boxHeight}px` }}>${numbers.map(lineAt)}</div>`;
}

/** One image in a dialog: arrows go to the next one, brackets to another step. @param {any} props */
function LargeImage({ images, at, go, runKey, goStep }) {
  const dialog = useRef(null);
  const image = images[at];
  const shown = useHeldImage(image.reason ? "" : placeOfImage(runKey, image));
  const isThere = shown.place === placeOfImage(runKey, image) && shown.blob;
  const move = (by) => go(Math.min(images.length - 1, Math.max(0, at + by)));
  // One that is not shown, as a TIFF or a very large one, comes by a ticket.
  const save = () => (isThere ? saveFile(shown.blob, imageFileName(image)) : saveByTicket({ run: runKey, kind: "image", number: image.number, name: image.key }));
  const press = (event) => {
    const act = { ArrowLeft: () => move(-1), ArrowRight: () => move(1), "[": () => goStep(-1), "]": () => goStep(1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  };
  useEffect(() => dialog.current?.showModal(), []);
  return html`<dialog class="large" ref=${dialog} aria-label=${imageText(image)} onKeyDown=${press} onClose=${() => go(-1)} onClick=${(event) => event.target === dialog.current && dialog.current.close()}>
    <div class="large-box"><${Picture} image=${image} shown=${shown} /></div>
    <div class="large-foot">
      <div class="image-words"><${ImageWords} image=${image} /></div>
      <span class="grow"></span>
      <span class="quiet">${countText(at + 1)} of ${countText(images.length)}</span>
      <button class="plain" aria-label="Image before" title="Image before (←)" disabled=${at < 1} onClick=${() => move(-1)}>‹</button>
      <button class="plain" aria-label="Image after" title="Image after (→)" disabled=${at >= images.length - 1} onClick=${() => move(1)}>›</button>
      <button class="plain" disabled=${!isThere && (!image.reason || image.bytes === null)} onClick=${save}>Download</button>
      <button class="plain" onClick=${() => dialog.current?.close()}>Close</button>
    </div>
  </dialog>`;
}

/** @param {LoggedImage} image */
function imageFileName(image) {
  const endings = { JPEG: "jpg" };
  return `${image.key}${image.step === null ? "" : `_step${image.step}`}.${endings[image.kind ?? ""] ?? (image.kind ?? "bin").toLowerCase()}`;
}
