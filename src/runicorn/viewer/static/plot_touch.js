// @ts-check
/** Fingers on a chart. uPlot handles only a mouse, so a finger that moves to the side becomes a drag of the mouse. The browser makes a click of a tap. */

/** @param {HTMLElement} over the element on which uPlot listens; its style leaves moves up and down, and moves of two fingers, to the page */
export function hearTouches(over) {
  /** @type {PointerEvent | null} */
  let pressed = null;
  const tell = (type, at, target = over) => {
    const told = new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: at.clientX, clientY: at.clientY });
    Object.defineProperty(told, "movementX", { value: 1 }); // uPlot ignores a mouse that has not moved
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
  over.addEventListener("pointercancel", (event) => end(event, pressed)); // the browser scrolls the page instead
}
