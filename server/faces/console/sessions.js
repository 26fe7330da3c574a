// @ts-check
/** Sessions, newest first, live. */

import { get, path } from "../shared/api.js";
import { h, onActions } from "../shared/dom.js";
import { keepFresh } from "../shared/feed.js";
import { bytes, count, duration } from "../shared/format.js";
import { badge, empty, moment, table } from "../shared/parts.js";
import { progressOf, sessionLink } from "./run.js";

const PAGE = 50;

/** @typedef {import("./run.js").Session} Session */

/** @type {import("../shared/shell.js").View} */
export async function sessionsView(stage) {
  const { signal } = stage;
  /** @type {Map<string, Session>} */
  const known = new Map();
  let older = "";
  let pages = 1;

  onActions(stage.root, { older: () => void more() }, signal);

  function draw() {
    // Ids sort by time.
    const sessions = [...known.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
    stage.show(page(sessions, older !== ""));
    const running = sessions.filter((session) => !session.ended_at);
    if (running.length)
      stage.say(
        running
          .map((s) => `${s.job_name}: ${s.totals.tasks_ended} of ${s.totals.tasks} tasks`)
          .join(", "),
      );
  }

  async function more() {
    try {
      const answer = await get(path(["sessions"], { limit: PAGE, after: older }), signal);
      for (const session of answer.items) known.set(session.id, session);
      older = answer.next ?? "";
      pages += 1;
      draw();
    } catch (error) {
      stage.complain(error);
    }
  }

  async function refresh() {
    try {
      const answer = await get(path(["sessions"], { limit: PAGE }), signal);
      for (const session of answer.items) known.set(session.id, session);
      if (pages === 1) older = answer.next ?? "";
      stage.content("refresh");
      draw();
    } catch (error) {
      stage.complain(error, "refresh");
    }
  }
  await keepFresh(refresh, () => true, signal);
}

/**
 * @param {Session[]} sessions
 * @param {boolean} hasOlder
 */
function page(sessions, hasOlder) {
  const head = h("div.head", {}, h("h1", {}, "Sessions"));
  if (!sessions.length) {
    return [head, empty("Nothing has run yet", "Start a job, and its session appears here.")];
  }
  /** @type {import("../shared/parts.js").Column<Session>[]} */
  const columns = [
    {
      title: "Session",
      cell: (s) => [sessionLink(s, s.job_name), h("span.quiet", {}, moment(s.created_at))],
    },
    { title: "State", cell: (s) => badge(s.state) },
    { title: "Progress", wide: true, cell: (s) => progressOf(s) },
    { title: "Stored", number: true, cell: (s) => count(s.totals.items_stored) },
    { title: "Unchanged", number: true, cell: (s) => count(s.totals.items_unchanged) },
    { title: "Read", number: true, cell: (s) => bytes(s.totals.bytes_read) },
    { title: "Took", number: true, cell: (s) => duration(s.created_at, s.ended_at ?? new Date()) },
  ];
  const button = h("button", { type: "button", "data-action": "older" }, "Show older sessions");
  return [
    head,
    table("Sessions, newest first", columns, sessions, (s) => s.id),
    hasOlder ? h("div.more", {}, button) : null,
  ];
}
