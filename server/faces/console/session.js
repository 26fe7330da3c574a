// @ts-check
/** One session: progress, what happened to each object and workload, items that were not stored. */

import { get, path, post } from "../shared/api.js";
import { h, onActions } from "../shared/dom.js";
import { keepFresh } from "../shared/feed.js";
import { bytes, count, countOf, duration, word } from "../shared/format.js";
import { badge, empty, facts, moment, progress, table } from "../shared/parts.js";
import { place } from "../shared/shell.js";
import { progressText, shareOf } from "./run.js";

const PAGE = 200;
const FRAMES = /** @type {Record<string, string>} */ ({
  discover: "Find protected objects",
  "seal-point": "Write the restore point",
  verify: "Verify the repository",
});

/** @typedef {import("./run.js").Session} Session */
/** @typedef {import("./run.js").Task} Task */
/**
 * @typedef {{
 *   id: string, object_name: string, workload: string, name: string, result: string,
 *   cause: string, detail: string,
 * }} Outcome
 */

/** A list of which the first pages are shown; a refresh reads again what is shown. */
class Shown {
  items = /** @type {any[]} */ ([]);
  next = "";
  pages = 1;

  constructor(/** @type {string[]} */ parts) {
    this.parts = parts;
  }

  async refresh(/** @type {AbortSignal} */ signal) {
    const items = [];
    let after = "";
    for (let number = 0; number < this.pages && (number === 0 || after); number += 1) {
      const answer = await get(path(this.parts, { limit: PAGE, after }), signal);
      items.push(...answer.items);
      after = answer.next ?? "";
    }
    this.items = items;
    this.next = after;
  }
}

/** @type {import("../shared/shell.js").View} */
export async function sessionView(stage) {
  const { signal } = stage;
  const id = stage.parts[0] ?? "";
  const tasks = new Shown(["sessions", id, "tasks"]);
  const outcomes = new Shown(["sessions", id, "outcomes"]);
  /** @type {Session | null} */
  let session = null;
  let over = false;

  const draw = () => session && stage.show(page(session, tasks, outcomes, stage.may));
  const more = async (/** @type {Shown} */ list) => {
    list.pages += 1;
    over = false;
    await refresh();
  };
  const stop = async () => {
    stage.content();
    try {
      session = await post(path(["sessions", id, "stop"]));
      draw();
    } catch (error) {
      stage.complain(error);
    }
  };
  onActions(
    stage.root,
    {
      stop: () => void stop(),
      "more-tasks": () => void more(tasks),
      "more-outcomes": () => void more(outcomes),
    },
    signal,
  );

  async function refresh() {
    if (over) return; // An ended session changes no more.
    try {
      const seen = await get(path(["sessions", id]), signal);
      await Promise.all([tasks.refresh(signal), outcomes.refresh(signal)]);
      session = seen;
      over = Boolean(seen.ended_at);
      stage.content("refresh");
      draw();
      stage.say(over ? `The session has ended: ${seen.state}.` : progressText(seen), over);
    } catch (error) {
      stage.complain(error, "refresh");
      if (!session)
        stage.show(back(), empty("There is nothing to show", "Choose a session from the list."));
    }
  }
  await keepFresh(refresh, (happening) => happening.session === id, signal);
}

function back() {
  return h("p.back", {}, h("a", { href: place("sessions") }, "‹ All sessions"));
}

/**
 * @param {Session} session
 * @param {Shown} tasks
 * @param {Shown} outcomes
 * @param {(scope: string) => boolean} may
 */
function page(session, tasks, outcomes, may) {
  const stoppable = !session.ended_at && session.state !== "stopping" && may("sessions:stop");
  return [
    back(),
    h(
      "div.head",
      {},
      h("h1", {}, session.job_name),
      badge(session.state),
      stoppable ? h("button", { type: "button", "data-action": "stop" }, "Stop") : null,
    ),
    session.error ? h("p.note", { "data-tone": "bad" }, session.error) : null,
    summary(session, tasks.items),
    h("h2", {}, session.kind === "backup" ? "Objects" : "Tasks"),
    taskTable(session, tasks.items),
    moreButton(tasks, "more-tasks", "Show more objects"),
    outcomes.items.length || session.kind === "backup"
      ? h("h2", {}, "Skipped and failed items")
      : null,
    outcomeTable(session, outcomes.items),
    moreButton(outcomes, "more-outcomes", "Show more items"),
  ];
}

/**
 * @param {Shown} list
 * @param {string} action
 * @param {string} text
 */
function moreButton(list, action, text) {
  if (!list.next) return null;
  return h("div.more", {}, h("button", { type: "button", "data-action": action }, text));
}

/**
 * @param {Session} session
 * @param {Task[]} tasks
 */
function summary(session, tasks) {
  const { totals } = session;
  const share = shareOf(session, tasks);
  const bar = progress(share, "Progress");
  bar.dataset.state = session.state;
  const percent = share === null ? "" : `${Math.floor(share * 100)} %`;
  /** @type {[string, import("../shared/dom.js").Piece][]} */
  const figures = [
    ["Began", moment(session.created_at)],
    ["Took", duration(session.created_at, session.ended_at ?? new Date())],
    ["Stored", countOf(totals.items_stored, "item")],
    ["Unchanged", countOf(totals.items_unchanged, "item")],
    ["Skipped or failed", countOf(totals.items_skipped + totals.items_failed, "item")],
    ["Read", bytes(totals.bytes_read)],
    ["Added to the repository", bytes(totals.bytes_stored)],
    [
      "Requests",
      `${count(totals.requests)}${totals.throttled ? `, ${count(totals.throttled)} throttled` : ""}`,
    ],
  ];
  const shown = session.kind === "backup" ? figures : figures.slice(0, 2);
  const browsable =
    session.point && session.ended_at && ["success", "warning"].includes(session.state);
  return h(
    "section.card",
    { "aria-label": "Progress and totals" },
    h("div.bar", {}, h("span", {}, progressText(session)), h("span.share", {}, percent)),
    bar,
    facts([...shown, ...reportOf(tasks)]),
    browsable
      ? h(
          "p.last",
          {},
          h(
            "a",
            { href: `/portal/${place("points", session.repository ?? "", session.point ?? "")}` },
            "Browse the restore point in the Portal",
          ),
        )
      : null,
  );
}

/** What a verification found. */
function reportOf(/** @type {Task[]} */ tasks) {
  const report = tasks.find((task) => task.kind === "verify")?.report ?? {};
  return Object.entries(report).map(([name, value]) => {
    const title = name.replaceAll("_", " ");
    const number = name.startsWith("bytes") ? bytes : count;
    const text = typeof value === "number" ? number(value) : value;
    return /** @type {[string, string]} */ ([title.charAt(0).toUpperCase() + title.slice(1), text]);
  });
}

/**
 * @param {Session} session
 * @param {Task[]} tasks
 */
function taskTable(session, tasks) {
  if (!tasks.length) return empty("No tasks yet", "They appear when a proxy begins.");
  const counter = (/** @type {string} */ name) => (/** @type {Task} */ task) =>
    task.kind in FRAMES ? "" : count(task.counters[name] ?? 0);
  /** @type {import("../shared/parts.js").Column<Task>[]} */
  const columns = [
    { title: "Object", cell: (task) => h("span.name", {}, FRAMES[task.kind] ?? task.object_name) },
    { title: "Workload", cell: (task) => (task.workload ? word(task.workload) : "") },
    { title: "State", cell: (task) => stateOf(task) },
  ];
  if (session.kind === "backup") {
    columns.push(
      { title: "Stored", number: true, cell: counter("items_stored") },
      { title: "Unchanged", number: true, cell: counter("items_unchanged") },
      { title: "Removed", number: true, cell: counter("items_removed") },
      { title: "Skipped", number: true, cell: counter("items_skipped") },
      { title: "Failed", number: true, cell: counter("items_failed") },
      {
        title: "Read",
        number: true,
        cell: (t) => (t.kind in FRAMES ? "" : bytes(t.counters.bytes_read ?? 0)),
      },
      {
        title: "Requests",
        number: true,
        cell: (t) => (t.counters.requests ? count(t.counters.requests) : ""),
      },
    );
  }
  return table("Tasks of the session", columns, tasks, (task) => task.id);
}

function stateOf(/** @type {Task} */ task) {
  const share =
    task.state === "leased" && task.todo ? `${count(task.done ?? 0)} of ${count(task.todo)}` : "";
  const again = task.deliveries > 1 ? `begun ${task.deliveries} times` : "";
  const notes = [share, again].filter(Boolean).join(", ");
  return h(
    "div.stack",
    {},
    badge(task.state),
    notes ? h("span.quiet", {}, notes) : null,
    task.error ? h("span.bad-text", {}, task.error) : null,
  );
}

/**
 * @param {Session} session
 * @param {Outcome[]} outcomes
 */
function outcomeTable(session, outcomes) {
  if (!outcomes.length) {
    if (session.kind !== "backup") return null;
    const advice = session.ended_at ? "Every item was stored or had not changed." : "None so far.";
    return h("p.quiet", {}, advice);
  }
  /** @type {import("../shared/parts.js").Column<Outcome>[]} */
  const columns = [
    { title: "Item", cell: (o) => h("span.name", {}, o.name || "(no name)") },
    { title: "Of", cell: (o) => [o.object_name, h("span.quiet", {}, word(o.workload))] },
    { title: "Result", cell: (o) => badge(o.result) },
    {
      title: "Cause",
      wide: true,
      cell: (o) => [o.cause.replaceAll("-", " "), o.detail ? h("span.quiet", {}, o.detail) : null],
    },
  ];
  return table("Skipped and failed items", columns, outcomes, (o) => o.id);
}
