// @ts-check
/**
 * Choose a repository, a restore point, then walk down to an item.
 *
 * Address: #/points/<repository>/<point>/<segment>/<segment>...; what is on the page follows from it.
 */

import { all, get, path } from "../shared/api.js";
import { h, onActions, svg } from "../shared/dom.js";
import { bytes, count, countOf, when, word } from "../shared/format.js";
import { badge, empty, moment, table } from "../shared/parts.js";
import { place } from "../shared/shell.js";
import { addDownload } from "./tray.js";

const PAGE = 500;

/** @typedef {{ id: string, name: string }} Repository */
/**
 * @typedef {{
 *   id: string, name: string, created_at: string, result?: string,
 *   objects?: number, items?: number, bytes?: number,
 * }} Point
 */
/**
 * @typedef {{
 *   name: string, path: string, kind: string, size?: number, items?: number, title?: string,
 *   modified_at?: string | null, received?: string,
 *   start?: { dateTime: string },
 * }} Listed `name` is a piece of the path, `title` what people call it
 */
/** @typedef {{ items: Listed[], next: string, path: string[] }} Level */
/**
 * @typedef {{
 *   repositories: Repository[], points: Point[] | null, cached: boolean,
 *   repository: string, point: string, level: Level | null,
 * }} State
 */

/** Lists stay for the next address of the same sign-in: walking down asks for the level only. */
/** @type {{ owner: object | null, repositories: Repository[], of: string, points: Point[], cached: boolean }} */
let kept = { owner: null, repositories: [], of: "", points: [], cached: false };

/** @type {import("../shared/shell.js").View} */
export async function pointsView(stage) {
  const { signal } = stage;
  if (kept.owner !== stage.me) {
    const repositories = await all(["repositories"], signal);
    kept = { owner: stage.me, repositories, of: "", points: [], cached: false };
  }
  const repository = stage.parts[0] || kept.repositories[0]?.id || "";
  /** @type {State} */
  const state = {
    repositories: kept.repositories,
    points: kept.of === repository ? kept.points : null,
    cached: kept.cached,
    repository,
    point: stage.parts[1] ?? "",
    level: null,
  };
  const draw = () => {
    stage.show(page(state, stage.may("points:download")));
    // What a person chose last would outlive the attribute when going back.
    const select = stage.root.querySelector("select");
    if (select && !signal.aborted) select.value = repository;
  };

  stage.root.addEventListener(
    "change",
    (event) => {
      if (event.target instanceof HTMLSelectElement)
        location.hash = place("points", event.target.value);
    },
    { signal },
  );
  onActions(
    stage.root,
    {
      download: (button) =>
        addDownload(state.repository, state.point, {
          path: button.dataset.path ?? "",
          name: button.dataset.name ?? "",
          kind: button.dataset.kind ?? "",
          size: Number(button.dataset.size ?? 0),
        }),
      more: () => void more().catch((error) => stage.complain(error)),
      again: () => void listPoints().catch((error) => stage.complain(error)),
    },
    signal,
  );

  async function listPoints() {
    stage.content();
    const answer = await get(path(["restore-points"], { repository }), signal);
    kept = { ...kept, of: repository, points: answer.items, cached: answer.cached };
    state.points = answer.items;
    state.cached = answer.cached;
    draw();
  }

  async function readLevel(/** @type {string[]} */ segments, /** @type {string} */ after) {
    const parts = ["restore-points", repository, state.point, "browse"];
    return get(path(parts, { path: segments.join("/"), after, limit: PAGE }), signal);
  }

  async function more() {
    const level = state.level;
    if (!level?.next) return;
    const answer = await readLevel(level.path, level.next);
    level.items = [...level.items, ...answer.items];
    level.next = answer.next ?? "";
    draw();
  }

  draw();
  if (!repository) return;
  if (!state.points) await listPoints();
  if (!state.point) return;
  const segments = stage.parts.slice(2);
  const answer = await readLevel(segments, "");
  state.level = { items: answer.items, next: answer.next ?? "", path: segments };
  stage.say(
    `${segments.at(-1) ?? "Restore point"}: ${countOf(answer.items.length, "entry").replace("entrys", "entries")}`,
  );
  draw();
}

/**
 * @param {State} state
 * @param {boolean} mayDownload
 */
function page(state, mayDownload) {
  if (!state.repositories.length) {
    return empty(
      "There is no repository yet",
      "Restore points appear here when a job has run. Ask your administrator.",
    );
  }
  return h(
    "div.split",
    { "data-chosen": state.point ? "yes" : "no" },
    h(
      "aside.side",
      { "aria-label": "Repository and restore points" },
      chooser(state),
      pointList(state),
    ),
    h("section.main", { "aria-label": "Contents" }, contents(state, mayDownload)),
  );
}

function chooser(/** @type {State} */ state) {
  const options = state.repositories.map((repository) =>
    h(
      "option",
      { value: repository.id, selected: repository.id === state.repository },
      repository.name,
    ),
  );
  return h(
    "div.choose",
    {},
    h("label", { for: "repository" }, "Repository"),
    h("select", { id: "repository" }, options),
  );
}

function pointList(/** @type {State} */ state) {
  const title = h(
    "div.side-head",
    {},
    h("h2", {}, "Restore points"),
    h("button.plain", { type: "button", "data-action": "again" }, "Refresh"),
  );
  if (!state.points)
    return [title, h("div.loading", { "aria-hidden": "true" }, h("span"), h("span"), h("span"))];
  if (!state.points.length) {
    return [
      title,
      empty("No restore points yet", "One appears when a job into this repository ends."),
    ];
  }
  const links = state.points.map((point) =>
    h(
      "li",
      { "data-key": point.id },
      h(
        "a.point",
        {
          href: place("points", state.repository, point.id),
          "aria-current": isChosen(state, point) ? "true" : null,
        },
        h(
          "span.point-when",
          {},
          moment(point.created_at),
          point.result && point.result !== "success" ? badge(point.result) : null,
        ),
        h("span.quiet", {}, `${point.name} · ${amounts(point)}`),
      ),
    ),
  );
  const stale = h(
    "p.note",
    { "data-tone": "warn" },
    "No proxy answers now: this is the list as last seen.",
  );
  return [title, state.cached ? stale : null, h("ul.points", {}, links)];
}

/**
 * Whether the address names a point: by its id, or the newest as "latest".
 *
 * @param {State} state
 * @param {Point} point
 */
function isChosen(state, point) {
  return state.point === "latest" ? point === state.points?.[0] : point.id === state.point;
}

function amounts(/** @type {Point} */ point) {
  const parts = [];
  if (point.objects !== undefined) parts.push(countOf(point.objects, "object"));
  if (point.items !== undefined) parts.push(countOf(point.items, "item"));
  if (point.bytes !== undefined) parts.push(bytes(point.bytes));
  return parts.join(", ");
}

/**
 * @param {State} state
 * @param {boolean} mayDownload
 */
function contents(state, mayDownload) {
  if (!state.point) {
    if (state.points && !state.points.length) return null;
    return empty("Choose a restore point", "Then walk down to a mail or a file and download it.");
  }
  const found = state.points?.find((point) => isChosen(state, point));
  const title = found ? when(found.created_at) : "Restore point";
  if (!state.level) {
    return [
      h("h1", {}, title),
      h("div.loading", { "aria-hidden": "true" }, h("span"), h("span"), h("span")),
    ];
  }
  const level = state.level;
  const button = h("button", { type: "button", "data-action": "more" }, "Show more");
  return [
    h("h1", {}, title),
    crumbs(state, level.path),
    level.items.length
      ? listing(state, level, mayDownload)
      : empty("This folder is empty", "Go up with the path above."),
    level.next ? h("div.more", {}, button) : null,
  ];
}

/**
 * @param {State} state
 * @param {string[]} segments
 */
function crumbs(state, segments) {
  const names = [
    "All objects",
    ...segments.map((segment, depth) => (depth === 1 ? word(segment) : shown(segment))),
  ];
  const steps = names.map((name, depth) => {
    const here = depth === names.length - 1;
    const target = place("points", state.repository, state.point, ...segments.slice(0, depth));
    return h(
      "li",
      {},
      here ? h("span", { "aria-current": "location" }, name) : h("a", { href: target }, name),
    );
  });
  return h("nav.crumbs", { "aria-label": "Path" }, h("ol", {}, steps));
}

/** Segments of paths escape the slash and mark messages with a piece of their id. */
function shown(/** @type {string} */ segment, kind = "container") {
  const name = kind === "message" ? segment.replace(/~[0-9a-f]{8}$/, "") : segment;
  return name.replaceAll("%2F", "/").replaceAll("%25", "%");
}

const CONTAINERS = new Set(["user", "group", "site", "team", "workload", "container", "folder"]);

/**
 * @param {State} state
 * @param {Level} level
 * @param {boolean} mayDownload
 */
function listing(state, level, mayDownload) {
  const depth = level.path.length;
  const isContainer = (/** @type {Listed} */ item) => depth < 2 || CONTAINERS.has(item.kind);
  const nameOf = (/** @type {Listed} */ item) =>
    item.kind === "workload" ? word(item.name) : item.title || shown(item.name, item.kind);
  const isMail = level.items.some(({ kind }) => kind === "message");
  const isCalendar = level.items.some(({ kind }) => kind === "event");
  /** @type {import("../shared/parts.js").Column<Listed>[]} */
  const columns = [
    {
      title: "Name",
      cell: (item) => {
        const target = place(
          "points",
          state.repository,
          state.point,
          ...level.path,
          lastSegment(item),
        );
        const label = h("span", {}, nameOf(item));
        const name = isContainer(item) ? h("a", { href: target }, label) : label;
        return h("span.entry", {}, icon(item.kind), name);
      },
    },
  ];
  if (level.items.some((item) => item.items)) {
    columns.push({
      title: "Items",
      number: true,
      cell: (item) => (item.items ? count(item.items) : ""),
    });
  }
  if (level.items.some(timeOf)) {
    columns.push({
      title: isMail ? "Received" : isCalendar ? "Begins" : "Changed",
      cell: (item) => (timeOf(item) ? moment(timeOf(item)) : ""),
    });
  }
  columns.push({
    title: "Size",
    number: true,
    cell: (item) => (item.size ? bytes(item.size) : isContainer(item) ? "" : bytes(0)),
  });
  if (mayDownload && level.items.some((item) => !isContainer(item))) {
    columns.push({
      title: "",
      cell: (item) => (isContainer(item) ? "" : downloadButton(item, nameOf(item))),
    });
  }
  // Newest first needs all of a folder; until then the order is the server's, by name.
  const isByTime = isMail || isCalendar;
  const items = isByTime && !level.next ? [...level.items].sort(newestFirst) : level.items;
  return table("Contents of this place", columns, items, (item) => item.path);
}

function lastSegment(/** @type {Listed} */ item) {
  return item.path.split("/").at(-1) ?? item.name;
}

function timeOf(/** @type {Listed} */ item) {
  if (item.start) return `${item.start.dateTime}Z`; // the service gives events in UTC
  return item.received ?? item.modified_at ?? "";
}

/**
 * @param {Listed} a
 * @param {Listed} b
 */
function newestFirst(a, b) {
  const isFolder = (/** @type {Listed} */ item) => Number(item.kind === "container");
  return isFolder(b) - isFolder(a) || timeOf(b).localeCompare(timeOf(a));
}

/**
 * @param {Listed} item
 * @param {string} name
 */
function downloadButton(item, name) {
  const attributes = {
    type: "button",
    "data-action": "download",
    "data-path": item.path,
    "data-name": name,
    "data-kind": item.kind,
    "data-size": item.size ?? 0,
    "aria-label": `Download ${name}`,
  };
  return h("button", attributes, "Download");
}

/** @type {Record<string, string>} */
const DRAWINGS = {
  container:
    "M1.5 4.5a1 1 0 0 1 1-1h3.6l1.6 1.7h5.8a1 1 0 0 1 1 1v6.3a1 1 0 0 1-1 1h-11a1 1 0 0 1-1-1z",
  message: "M1.5 4h13v8.5h-13zM1.5 4.4 8 9l6.5-4.6",
  file: "M3.5 1.5h5.7l3.3 3.4v9.6h-9zM9 1.6V5.2h3.4",
  event: "M2 3.5h12v10.5H2zM2 6.8h12M5 1.8v3M11 1.8v3",
  contact: "M1.5 3h13v10.5h-13zM5.5 8a1.5 1.5 0 1 0 0-3 1.5 1.5 0 0 0 0 3M3 11.5c.3-1.5 1.2-2.2 2.5-2.2S7.7 10 8 11.5M10 6.5h3M10 9h3",
  task: "M2 2.5h12v11.5H2zM4.8 8.2l2.2 2.3 4.3-4.7",
  user: "M8 8.2a2.9 2.9 0 1 0 0-5.8 2.9 2.9 0 0 0 0 5.8M2.6 14c.4-2.6 2.5-4 5.4-4s5 1.4 5.4 4",
  workload: "M2 5 8 2l6 3-6 3zM2 8l6 3 6-3M2 11l6 3 6-3",
};

function icon(/** @type {string} */ kind) {
  const name = kind in DRAWINGS ? kind : CONTAINERS.has(kind) ? "container" : "file";
  return svg(
    "svg",
    { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" },
    svg("path", { d: DRAWINGS[name] }),
  );
}
