// @ts-check
/**
 * The frame around a face: sign-in, navigation, messages, one view at a time.
 *
 * A view is an async function that fills `stage.root` and keeps it up to date until `stage.signal`
 * aborts. Addresses are `#/view/part/part`, so that back, forward and a second sign-in find the place.
 */

import { Problem, get, isQuiet, onSignedOut, path, signIn, signOut } from "./api.js";
import { h, show, svg } from "./dom.js";
import { loading } from "./parts.js";

const ANNOUNCE_MS = 4000;

/** @typedef {{ id: string, name: string, scopes: string[] }} Me */
/**
 * @typedef {{
 *   root: HTMLElement,
 *   signal: AbortSignal,
 *   parts: string[],
 *   me: Me,
 *   may: (scope: string) => boolean,
 *   show: (...children: (import("./dom.js").Piece | import("./dom.js").Piece[])[]) => void,
 *   say: (text: string, urgent?: boolean) => void,
 *   complain: (error: unknown, source?: "action" | "refresh") => void,
 *   content: (source?: "action" | "refresh") => void,
 * }} Stage `say` is for screen readers; `complain` shows a problem; `content` takes the message of the same source away
 */
/** @typedef {(stage: Stage) => Promise<void>} View */
/**
 * @typedef {{
 *   face: string,
 *   needs: string,
 *   refusal: string,
 *   views: Record<string, { title: string, view: View, under?: string }>,
 *   whileSignedIn?: (signal: AbortSignal) => Promise<void>,
 * }} Face `needs`: the scope without which the face is of no use;
 * `under`: the view whose link is marked, for views without one of their own
 */

/** The hash of a place: `place("sessions", id)` -> "#/sessions/<id>". */
export function place(/** @type {string[]} */ ...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

function partsOfHash() {
  const raw = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return raw.map(decodeURIComponent);
  } catch {
    return [""];
  }
}

function logo() {
  return svg(
    "svg",
    { viewBox: "0 0 32 32", "aria-hidden": "true", class: "logo" },
    svg("rect", { x: 3, y: 3, width: 26, height: 26, rx: 7 }),
    svg("circle", { cx: 16, cy: 16, r: 6.5 }),
    svg("path", { d: "M16 6.5v3M16 22.5v3M6.5 16h3M22.5 16h3M16 16l3-3" }),
  );
}

/** Start a face in `document.body`. */
export function startFace(/** @type {Face} */ face) {
  onSignedOut((reason) => showSignIn(face, reason));
  showSignIn(face, "");
}

let life = new AbortController();

/**
 * @param {Face} face
 * @param {string} reason why one has to sign in again
 */
function showSignIn(face, reason) {
  life.abort();
  document.title = `Sign in – Strongroom ${face.face}`;
  const form = h(
    "form.sign-in",
    { "aria-labelledby": "sign-in-title", novalidate: true },
    h("div.brand", {}, logo(), h("span", {}, "Strongroom")),
    h("h1", { id: "sign-in-title" }, `Sign in to the ${face.face}`),
    h("div.message", { role: "alert", id: "sign-in-message" }),
    h("label", { for: "user" }, "User name"),
    h("input", {
      id: "user",
      name: "user",
      autocomplete: "username",
      autocapitalize: "none",
      spellcheck: "false",
      required: true,
      maxlength: 200,
    }),
    h("label", { for: "password" }, "Password"),
    h("input", {
      id: "password",
      name: "password",
      type: "password",
      maxlength: 1000,
      autocomplete: "current-password",
      required: true,
    }),
    h("button.primary", { type: "submit" }, "Sign in"),
  );
  document.body.replaceChildren(h("main.gate", { id: "main" }, form));
  const message = /** @type {HTMLElement} */ (form.querySelector(".message"));
  message.textContent = reason;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void trySignIn(face, /** @type {HTMLFormElement} */ (form), message);
  });
  /** @type {HTMLElement} */ (form.querySelector("#user")).focus();
}

/**
 * @param {Face} face
 * @param {HTMLFormElement} form
 * @param {HTMLElement} message
 */
async function trySignIn(face, form, message) {
  const user = /** @type {HTMLInputElement} */ (form.elements.namedItem("user"));
  const password = /** @type {HTMLInputElement} */ (form.elements.namedItem("password"));
  const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
  const missing = [user, password].find((field) => field.value === "");
  if (missing) {
    message.textContent = "Enter your user name and your password.";
    missing.focus();
    return;
  }
  button.disabled = true;
  message.textContent = "";
  try {
    await signIn(user.value, password.value);
    const me = await get(path(["me"]));
    if (!me.scopes.includes(face.needs)) {
      await signOut();
      throw new Problem(403, "missing-right", face.refusal);
    }
    enter(face, me);
  } catch (error) {
    if (!form.isConnected) return;
    message.textContent = sentence(error);
    password.value = "";
    button.disabled = false;
    password.focus();
  }
}

/** One clear sentence about an error. */
export function sentence(/** @type {unknown} */ error) {
  if (error instanceof Problem) return error.message;
  console.error(error);
  return "Something went wrong in this page. Reload it and sign in again.";
}

/**
 * @param {Face} face
 * @param {Me} me
 */
function enter(face, me) {
  life = new AbortController();
  const { signal } = life;
  const visible = Object.entries(face.views).filter(([, entry]) => !entry.under);
  const links = visible.map(([name, entry]) =>
    h("li", {}, h("a", { href: place(name), "data-view": name }, entry.title)),
  );
  const main = h("main", { id: "main", tabindex: "-1" });
  const alert = h("div.alert", { role: "alert", hidden: true });
  const status = h("div.unseen", { role: "status", "aria-live": "polite" });
  const leave = h("button.plain", { type: "button", id: "sign-out" }, "Sign out");
  document.body.replaceChildren(
    h("a.skip", { href: "#main" }, "Skip to the content"),
    h(
      "header.top",
      {},
      h("div.brand", {}, logo(), h("span", {}, "Strongroom"), h("span.face", {}, face.face)),
      links.length > 1 ? h("nav", { "aria-label": "Views" }, h("ul", {}, links)) : null,
      h("div.me", {}, h("span.who", { title: `Signed in as ${me.name}` }, me.name), leave),
    ),
    alert,
    main,
    status,
  );
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  leave.addEventListener("click", () => {
    const gone = signOut();
    location.hash = "";
    showSignIn(face, "");
    gone.catch(() => {});
  });
  const frame = { main, alert, status };
  const go = () => void openView(face, me, frame, signal);
  window.addEventListener("hashchange", go, { signal });
  void face.whileSignedIn?.(signal);
  go();
}

let turn = new AbortController();

/** @typedef {{ main: HTMLElement, alert: HTMLElement, status: HTMLElement }} Frame */

/**
 * @param {Face} face
 * @param {Me} me
 * @param {Frame} frame
 * @param {AbortSignal} whole
 */
async function openView(face, me, frame, whole) {
  turn.abort();
  turn = new AbortController();
  const signal = AbortSignal.any([whole, turn.signal]);
  const [name, ...parts] = partsOfHash();
  const chosen = face.views[name] ? name : Object.keys(face.views)[0];
  const { title, view, under } = face.views[chosen];
  document.title = `${title} – Strongroom ${face.face}`;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.getAttribute("data-view") === (under ?? chosen))
      link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let root = /** @type {HTMLElement | null} */ (frame.main.firstElementChild);
  if (root?.dataset.view !== chosen) {
    root = h("div.view", { "data-view": chosen }, loading());
    frame.main.replaceChildren(root);
    window.scrollTo(0, 0);
  }
  frame.alert.hidden = true;
  const stage = stageOf(frame, root, signal, chosen === name ? parts : [], me);
  try {
    await view(stage);
  } catch (error) {
    stage.complain(error);
    if (root.querySelector(".loading")) stage.show();
  }
}

/**
 * @param {Frame} frame
 * @param {HTMLElement} root
 * @param {AbortSignal} signal
 * @param {string[]} parts
 * @param {Me} me
 * @returns {Stage}
 */
function stageOf({ alert, status }, root, signal, parts, me) {
  let said = 0;
  return {
    root,
    signal,
    parts,
    me,
    may: (scope) => me.scopes.includes(scope),
    show: (...children) => {
      if (!signal.aborted) show(root, ...children);
    },
    say: (text, urgent = false) => {
      const now = Date.now();
      if (signal.aborted || (!urgent && now - said < ANNOUNCE_MS)) return;
      said = now;
      status.textContent = text;
    },
    complain: (error, source = "action") => {
      if (signal.aborted || isQuiet(error)) return;
      alert.dataset.source = source;
      alert.textContent = sentence(error);
      alert.hidden = false;
    },
    content: (source = "action") => {
      if (!signal.aborted && alert.dataset.source === source) alert.hidden = true;
    },
  };
}
