// @ts-check
/** What the Console knows of sessions: their progress and how it is drawn. */

import { h } from "../shared/dom.js";
import { bytes, count, countOf } from "../shared/format.js";
import { progress } from "../shared/parts.js";
import { place } from "../shared/shell.js";

/** @typedef {Record<string, number>} Totals as the server sums them over a session's tasks */
/**
 * @typedef {{
 *   id: string, kind: string, job: string | null, job_name: string, repository: string | null,
 *   pool: string, workloads: string[], state: string, created_at: string, ended_at: string | null,
 *   error_code: string, error: string, point: string | null, totals: Totals,
 * }} Session
 */
/**
 * @typedef {{
 *   id: string, kind: string, state: string, object_name: string, workload: string,
 *   proxy: string | null, deliveries: number, counters: Record<string, number>,
 *   done: number | null, todo: number | null, error: string, report: Record<string, string | number>,
 * }} Task
 */

/**
 * How far a session is, 0 to 1; null while it is not known how much there is to do.
 *
 * @param {Session} session
 * @param {Task[]} [tasks] those of the session that are known: the share of each that runs counts
 */
export function shareOf(session, tasks = []) {
  if (session.ended_at) return 1;
  const { tasks: total, tasks_ended: ended } = session.totals;
  const running = tasks.filter((task) => task.state === "leased" && task.todo);
  const parts = running.map((task) => Math.min(1, (task.done ?? 0) / (task.todo ?? 1)));
  if (total <= 1 && !parts.length) return null;
  const share = (ended + parts.reduce((sum, part) => sum + part, 0)) / total;
  return Math.min(share, 0.99);
}

/** What a session does now, or did. */
export function progressText(/** @type {Session} */ session) {
  const { tasks, tasks_ended: ended } = session.totals;
  if (session.ended_at) return countOf(ended, "task");
  if (session.state === "queued") return "Waiting for a proxy";
  if (session.kind === "backup" && tasks <= 1) return "Finding protected objects";
  return `${count(ended)} of ${countOf(tasks, "task")}`;
}

/** Bar with a line below. */
export function progressOf(/** @type {Session} */ session, /** @type {Task[]} */ tasks = []) {
  const bar = progress(shareOf(session, tasks), `Progress of ${session.job_name}`);
  bar.dataset.state = session.state;
  return h("div.progress", {}, bar, h("span.quiet", {}, progressText(session)));
}

/** Items and bytes of a session in one line. */
export function amountText(/** @type {Totals} */ totals) {
  const items = totals.items_stored + totals.items_unchanged;
  return `${countOf(items, "item")}, ${bytes(totals.bytes_read)} read`;
}

/** Link to a session. */
export function sessionLink(/** @type {Session} */ session, /** @type {string} */ text) {
  return h("a", { href: place("session", session.id) }, text);
}
