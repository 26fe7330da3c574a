// @ts-check
/** Jobs with their last session; starting one. */

import { all, get, path, post } from "../shared/api.js";
import { h, onActions } from "../shared/dom.js";
import { keepFresh } from "../shared/feed.js";
import { countOf, word } from "../shared/format.js";
import { badge, empty, moment, table } from "../shared/parts.js";
import { progressOf, sessionLink } from "./run.js";

const RECENT = 100;

/** @typedef {import("./run.js").Session} Session */
/**
 * @typedef {{
 *   id: string, name: string, organization: string, repository: string,
 *   workloads: string[], users: string[],
 * }} Job
 */

/** @type {import("../shared/shell.js").View} */
export async function jobsView(stage) {
  const { signal } = stage;
  /** @type {{ jobs: Job[], names: Map<string, string>, last: Map<string, Session>, busy: Set<string> }} */
  const state = { jobs: [], names: new Map(), last: new Map(), busy: new Set() };
  const draw = () => stage.show(page(state, stage.may("jobs:run")));

  onActions(stage.root, { start: (button) => void start(button.dataset.id ?? "") }, signal);

  async function start(/** @type {string} */ id) {
    stage.content();
    state.busy.add(id);
    draw();
    try {
      state.last.set(id, await post(path(["jobs", id, "start"])));
      stage.say(`${state.last.get(id)?.job_name} was started.`, true);
    } catch (error) {
      stage.complain(error);
    }
    state.busy.delete(id);
    draw();
  }

  async function refresh() {
    try {
      const [jobs, names, recent] = await Promise.all([
        all(["jobs"], signal),
        namesOf(["organizations", "repositories"], signal),
        get(path(["sessions"], { limit: RECENT }), signal),
      ]);
      Object.assign(state, { jobs, names });
      await noteLast(state.last, jobs, recent.items, signal);
      stage.content("refresh");
      draw();
    } catch (error) {
      stage.complain(error, "refresh");
    }
  }
  await keepFresh(refresh, () => true, signal);
}

/**
 * @param {Map<string, Session>} last
 * @param {Job[]} jobs
 * @param {Session[]} recent newest first
 * @param {AbortSignal} signal
 */
async function noteLast(last, jobs, recent, signal) {
  for (const session of [...recent].reverse()) if (session.job) last.set(session.job, session);
  if (recent.length < RECENT) return;
  for (const job of jobs.filter(({ id }) => !last.has(id))) {
    const page = await get(path(["sessions"], { job: job.id, limit: 1 }), signal);
    if (page.items.length) last.set(job.id, page.items[0]);
  }
}

/**
 * Names by id.
 *
 * @param {string[]} resources
 * @param {AbortSignal} signal
 */
async function namesOf(resources, signal) {
  const lists = await Promise.all(resources.map((resource) => all([resource], signal)));
  return new Map(lists.flat().map((item) => [item.id, item.name]));
}

/**
 * @param {{ jobs: Job[], names: Map<string, string>, last: Map<string, Session>, busy: Set<string> }} state
 * @param {boolean} mayStart
 */
function page({ jobs, names, last, busy }, mayStart) {
  const head = h("div.head", {}, h("h1", {}, "Jobs"));
  if (!jobs.length) {
    const advice =
      "A job says what is backed up and where to. Make one with POST /api/v1/jobs, and start it here.";
    return [head, empty("There are no jobs yet", advice)];
  }
  /** @type {import("../shared/parts.js").Column<Job>[]} */
  const columns = [
    {
      title: "Job",
      cell: (job) => [h("span.name", {}, job.name), h("span.quiet", {}, scope(job))],
    },
    {
      title: "From",
      cell: (job) => [
        names.get(job.organization) ?? "–",
        h("span.quiet", {}, `to ${names.get(job.repository) ?? "–"}`),
      ],
    },
    { title: "Last session", wide: true, cell: (job) => lastSession(last.get(job.id)) },
  ];
  if (mayStart)
    columns.push({ title: "", cell: (job) => startButton(job, last.get(job.id), busy) });
  return [head, table("Jobs and their last session", columns, jobs, (job) => job.id)];
}

function scope(/** @type {Job} */ job) {
  const users = job.users.length ? countOf(job.users.length, "user") : "everybody";
  return `${job.workloads.map(word).join(", ")} of ${users}`;
}

function lastSession(/** @type {Session | undefined} */ session) {
  if (!session) return h("span.quiet", {}, "Never started");
  const line = h(
    "div.line",
    {},
    badge(session.state),
    moment(session.created_at),
    sessionLink(session, "Details"),
  );
  if (!session.ended_at) return h("div.stack", {}, line, progressOf(session));
  return h("div.stack", {}, line, session.error ? h("span.bad-text", {}, session.error) : null);
}

/**
 * @param {Job} job
 * @param {Session | undefined} last
 * @param {Set<string>} busy
 */
function startButton(job, last, busy) {
  const runs = Boolean(last && !last.ended_at) || busy.has(job.id);
  const attributes = {
    type: "button",
    "data-action": "start",
    "data-id": job.id,
    "aria-label": runs ? `${job.name} runs` : `Start ${job.name}`,
    "aria-disabled": runs ? "true" : null,
  };
  return h("button", attributes, runs ? "Runs" : "Start");
}
