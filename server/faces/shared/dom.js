// @ts-check
/**
 * Elements from descriptions, and changing a page into its next state.
 *
 * Views are functions of their state: they build a tree with `h` and `show` makes the page equal to
 * it, keeping elements that stay (focus, scroll place, transitions). Text is only ever a text node.
 * Rendered elements carry no listeners: `data-action` names what a click does (`onActions`).
 */

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false} Piece */
/** @typedef {Record<string, string | number | boolean | null | undefined>} Attributes */

/**
 * @param {string} tag element name, classes after dots: "p.quiet"
 * @param {Attributes} [attributes] false, null and undefined are left out, true is an empty value
 * @param {...(Piece | Piece[])} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  fill(element, attributes, children);
  return element;
}

/**
 * @param {string} name
 * @param {Attributes} attributes
 * @param {...(Piece | Piece[])} children
 */
export function svg(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  fill(element, attributes, children);
  return element;
}

/**
 * @param {Element} element
 * @param {Attributes} attributes
 * @param {(Piece | Piece[])[]} children
 */
function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...pieces(children));
}

/** @param {(Piece | Piece[])[]} children */
function pieces(children) {
  return children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * Make the children of `root` equal to `children`.
 *
 * @param {Element} root
 * @param {...(Piece | Piece[])} children
 */
export function show(root, ...children) {
  const next = document.createElement("div");
  next.append(...pieces(children));
  morphChildren(root, next);
}

/** Elements with another key or action are never the same element. */
function identity(/** @type {Node} */ node) {
  if (!(node instanceof Element)) return node.nodeName;
  const data = /** @type {HTMLElement} */ (node).dataset;
  return `${node.nodeName} ${data.key ?? ""} ${data.action ?? ""}`;
}

/**
 * @param {Element} from
 * @param {Element} to
 */
function morphChildren(from, to) {
  /** @type {Map<string, Node>} */
  const keyed = new Map();
  for (const node of from.children) {
    if (/** @type {HTMLElement} */ (node).dataset?.key) keyed.set(identity(node), node);
  }
  let place = from.firstChild;
  for (const wanted of [...to.childNodes]) {
    const key = wanted instanceof HTMLElement && wanted.dataset.key ? identity(wanted) : "";
    let present = key ? (keyed.get(key) ?? null) : place;
    if (present && identity(present) !== identity(wanted)) present = null;
    if (!present) {
      from.insertBefore(wanted, place);
      continue;
    }
    if (present === place) place = place.nextSibling;
    else from.insertBefore(present, place);
    morph(present, wanted);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

/**
 * @param {Node} from
 * @param {Node} to
 */
function morph(from, to) {
  if (!(from instanceof Element) || !(to instanceof Element)) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) {
    if (!to.hasAttribute(name) && !(name === "open" && from instanceof HTMLDetailsElement)) {
      from.removeAttribute(name);
    }
  }
  for (const { name, value } of to.attributes) {
    if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  }
  morphChildren(from, to);
}

/**
 * Let clicks on elements with `data-action` call the action of that name with the element.
 *
 * @param {Element} root
 * @param {Record<string, (element: HTMLElement) => void>} actions
 * @param {AbortSignal} signal
 */
export function onActions(root, actions, signal) {
  root.addEventListener(
    "click",
    (event) => {
      const target = event.target instanceof Element ? event.target.closest("[data-action]") : null;
      if (!(target instanceof HTMLElement) || target.getAttribute("aria-disabled") === "true")
        return;
      actions[target.dataset.action ?? ""]?.(target);
    },
    { signal },
  );
}
