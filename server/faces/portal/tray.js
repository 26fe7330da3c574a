// @ts-check
/** The downloads of this sign-in, at the edge of the page; they go on while one browses. */

import { isQuiet } from "../shared/api.js";
import { h, onActions, show } from "../shared/dom.js";
import { bytes } from "../shared/format.js";
import { progress } from "../shared/parts.js";
import { sentence } from "../shared/shell.js";
import { download } from "./download.js";

const KEPT_MAX = 20;
const AT_ONCE_MAX = 3; // of the six connections a browser has for one host
const DRAW_MS = 150;

/**
 * @typedef {{
 *   number: number, name: string, received: number, total: number | null,
 *   state: "waiting" | "running" | "done" | "failed", error: string, stop: AbortController,
 *   work: () => Promise<string>,
 * }} Entry
 */

/** @type {Entry[]} */
let entries = [];
let numbers = 0;
/** @type {AbortSignal} */
let life = AbortSignal.abort();
/** @type {HTMLElement} */
let tray = h("section");
let list = h("div");
let status = h("div");

/** Show the tray until `signal` aborts; then every download stops. */
export async function trayWhileSignedIn(/** @type {AbortSignal} */ signal) {
  life = signal;
  entries = [];
  list = h("div");
  status = h("div.unseen", { role: "status" });
  tray = h("section.tray", { "aria-label": "Downloads" }, list, status);
  document.body.append(tray);
  signal.addEventListener("abort", () => entries.forEach((entry) => entry.stop.abort()));
  onActions(
    tray,
    {
      dismiss: (button) => {
        const entry = entries.find(({ number }) => String(number) === button.dataset.number);
        entry?.stop.abort();
        entries = entries.filter((other) => other !== entry);
        draw();
        startNext();
      },
    },
    signal,
  );
}

/**
 * @param {string} repository
 * @param {string} point
 * @param {import("./download.js").Item} item
 */
export function addDownload(repository, point, item) {
  const stop = new AbortController();
  let drawn = 0;
  numbers += 1;
  /** @type {Entry} */
  const entry = {
    number: numbers,
    name: item.name,
    received: 0,
    total: item.size || null,
    state: "waiting",
    error: "",
    stop,
    work: () =>
      download(
        repository,
        point,
        item,
        (received, total) => {
          entry.received = received;
          entry.total = total ?? entry.total;
          if (performance.now() - drawn < DRAW_MS) return;
          drawn = performance.now();
          draw();
        },
        AbortSignal.any([life, stop.signal]),
      ),
  };
  const over = entries.filter(({ state }) => state === "done" || state === "failed");
  if (entries.length >= KEPT_MAX && over.length)
    entries = entries.filter((other) => other !== over[0]);
  entries.push(entry);
  startNext();
  draw();
}

function startNext() {
  const running = entries.filter(({ state }) => state === "running").length;
  const waiting = entries.filter(({ state }) => state === "waiting");
  for (const entry of waiting.slice(0, Math.max(0, AT_ONCE_MAX - running))) void run(entry);
}

async function run(/** @type {Entry} */ entry) {
  entry.state = "running";
  try {
    entry.name = await entry.work();
    entry.state = "done";
  } catch (error) {
    entry.state = "failed";
    entry.error = isQuiet(error) ? "Cancelled." : broken(error);
  }
  if (life.aborted) return;
  status.textContent =
    entry.state === "done" ? `${entry.name} was downloaded.` : `${entry.name}: ${entry.error}`;
  draw();
  startNext();
}

function broken(/** @type {unknown} */ error) {
  // What fetch says when the connection goes in the middle of a body.
  return error instanceof TypeError ? "The download broke off. Try it again." : sentence(error);
}

function draw() {
  show(list, entries.length ? [h("h2", {}, "Downloads"), h("ul", {}, entries.map(line))] : null);
}

function line(/** @type {Entry} */ entry) {
  const open = entry.state === "running" || entry.state === "waiting";
  const share = entry.total ? Math.min(1, entry.received / entry.total) : null;
  return h(
    "li",
    { "data-key": String(entry.number), "data-state": entry.state },
    h("span.tray-name", { title: entry.name }, entry.name),
    h(
      "button.plain",
      {
        type: "button",
        "data-action": "dismiss",
        "data-number": entry.number,
        "aria-label": `${open ? "Cancel" : "Dismiss"} ${entry.name}`,
      },
      open ? "Cancel" : "Dismiss",
    ),
    open ? progress(entry.state === "waiting" ? 0 : share, `Download of ${entry.name}`) : null,
    entry.state === "failed"
      ? h("span.bad-text", {}, entry.error)
      : h("span.quiet", {}, stateText(entry)),
  );
}

function stateText(/** @type {Entry} */ entry) {
  if (entry.state === "waiting") return "Waiting";
  if (entry.state === "done") return `Saved, ${bytes(entry.received)}`;
  return entry.total ? `${bytes(entry.received)} of ${bytes(entry.total)}` : bytes(entry.received);
}
