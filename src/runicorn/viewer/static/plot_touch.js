// @ts-check
/** Fingers on a chart: uPlot hears a mouse only. A finger that moves to the side is told as a drag of one; a tap is one by itself. */

/** @param {HTMLElement} over what uPlot listens at; its style leaves movements up and down, and two fingers, to the page */
export function hearTouches(over) {
  /** @type {PointerEvent | null} */
  let pressed = null;
  const tell = (type, at, target = over) => {
    const told = new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: at.clientX, clientY: at.clientY });
    Object.defineProperty(told, "movementX", { value: 1 }); // uPlot passes over a mouse that has not moved
    target.dispatchEvent(told);
  };
  const end = (event, at) => {
    if (event.pointerId !== pressed?.pointerId) return;
    pressed = null;
    tell("mousemove", at);
    tell("mouseup", at, document);
  };
  over.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !event.isPrimary) return;
    pressed = event;
    tell("mousemove", event);
    tell("mousedown", event);
  });
  over.addEventListener("pointermove", (event) => event.pointerId === pressed?.pointerId && tell("mousemove", event));
  over.addEventListener("pointerup", (event) => end(event, event));
  over.addEventListener("pointercancel", (event) => end(event, pressed)); // the page is scrolled instead
}
