// @ts-check
/**
 * What happens on the server, for views that keep themselves up to date.
 *
 * One stream a page (browsers allow six connections a host). An event is only a nudge: views read
 * the state again, so an event that is missed or comes twice does no harm; a slow poll is the net.
 */

import { path } from "./api.js";
import { follow, pause } from "./events.js";

const GAP_MS = 700;
const POLL_MS = 10_000;

/** @typedef {{ kind: string, session: string, task: string | null, state?: string }} Happening */

/** @type {Set<(happening: Happening) => void>} */
const listeners = new Set();

/** Follow the server's events until `signal` aborts. */
export function openFeed(/** @type {AbortSignal} */ signal) {
  const tell = (/** @type {import("./events.js").ServerEvent} */ event) => {
    const happening = JSON.parse(event.data);
    for (const listener of listeners) listener(happening);
  };
  return follow(path(["events"]), tell, signal);
}

/**
 * Call `refresh` now, soon after each event that matters and every POLL_MS; never twice at once and
 * not more often than every GAP_MS. Resolves when `signal` aborts.
 *
 * @param {() => Promise<void>} refresh
 * @param {(happening: Happening) => boolean} matters
 * @param {AbortSignal} signal
 */
export async function keepFresh(refresh, matters, signal) {
  let nudge = () => {};
  let pending = false;
  const listener = (/** @type {Happening} */ happening) => {
    if (!matters(happening)) return;
    pending = true;
    nudge();
  };
  const seen = () => {
    if (!document.hidden) nudge();
  };
  listeners.add(listener);
  document.addEventListener("visibilitychange", seen, { signal });
  try {
    while (!signal.aborted) {
      pending = false;
      await refresh();
      await pause(GAP_MS, signal);
      if (!pending) await nextNudge((wake) => (nudge = wake), signal);
    }
  } finally {
    listeners.delete(listener);
  }
}

/**
 * @param {(wake: () => void) => void} give
 * @param {AbortSignal} signal
 */
async function nextNudge(give, signal) {
  const early = new AbortController();
  give(() => early.abort());
  do {
    await pause(POLL_MS, AbortSignal.any([signal, early.signal]));
    // Nobody looks: wait for an event or a look rather than poll.
  } while (document.hidden && !signal.aborted && !early.signal.aborted);
}
