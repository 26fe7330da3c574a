// @ts-check
/** Pieces of pages that both faces use: states, times, tables, empty places. */

import { h, svg } from "./dom.js";
import { utc, when } from "./format.js";

/** @type {Record<string, [string, string]>} word and tone of each state */
const STATES = {
  queued: ["Queued", "quiet"],
  running: ["Running", "busy"],
  leased: ["Running", "busy"],
  stopping: ["Stopping", "busy"],
  success: ["Success", "good"],
  warning: ["Warning", "warn"],
  failed: ["Failed", "bad"],
  stopped: ["Stopped", "quiet"],
  online: ["Online", "good"],
  offline: ["Offline", "bad"],
  skipped: ["Skipped", "warn"],
};
/** @type {Record<string, string>} drawings in a square of 16, so that a tone is not only a colour */
const MARKS = {
  good: "M4 8.4 7 11.2 12 5.2",
  warn: "M8 4.2v4.6M8 11.6v.2",
  bad: "M5 5l6 6M11 5l-6 6",
  busy: "M8 4.2V8l2.6 1.6",
  quiet: "M5 8h6",
};

/** A state as a word with a mark. */
export function badge(/** @type {string} */ state) {
  const [word, tone] = STATES[state] ?? [state, "quiet"];
  const mark = svg(
    "svg",
    { viewBox: "0 0 16 16", "aria-hidden": "true", class: "mark" },
    svg("circle", { cx: 8, cy: 8, r: 7 }),
    svg("path", { d: MARKS[tone] }),
  );
  return h("span.badge", { "data-tone": tone, "data-state": state }, mark, word);
}

/** A moment in local time; UTC in the title. */
export function moment(/** @type {string | null | undefined} */ time) {
  if (!time) return h("span.quiet", {}, "–");
  return h("time", { datetime: time, title: utc(time) }, when(time));
}

/**
 * @param {number | null} share 0 to 1; null: not known yet
 * @param {string} label
 */
export function progress(share, label) {
  const value = share === null ? null : (Math.floor(share * 1000) / 1000).toString();
  return h("progress", { max: 1, value, "aria-label": label });
}

/** What to show where there is nothing, and what to do about it. */
export function empty(/** @type {string} */ title, /** @type {string} */ advice) {
  return h("div.empty", {}, h("p.empty-title", {}, title), h("p", {}, advice));
}

/** Where content will be, while it is fetched: no jump when it comes. */
export function loading() {
  return h("div.loading", { "aria-hidden": "true" }, h("span"), h("span"), h("span"));
}

/**
 * @template Item
 * @typedef {{
 *   title: string,
 *   cell: (item: Item) => import("./dom.js").Piece | import("./dom.js").Piece[],
 *   number?: boolean,
 *   wide?: boolean,
 * }} Column `wide`: gets a line of its own on small screens
 */

/**
 * A table that becomes a list of cards on small screens; roles keep it a table for readers.
 *
 * @template Item
 * @param {string} caption for screen readers
 * @param {Column<Item>[]} columns the first one names the row
 * @param {Item[]} items
 * @param {(item: Item) => string} keyOf
 */
export function table(caption, columns, items, keyOf) {
  const kind = (/** @type {Column<Item>} */ column) =>
    [column.number ? "number" : "", column.wide ? "wide" : ""].join(" ").trim() || null;
  const head = columns.map((column) =>
    h("th", { scope: "col", role: "columnheader", class: kind(column) }, column.title),
  );
  const rows = items.map((item) =>
    h(
      "tr",
      { role: "row", "data-key": keyOf(item) },
      columns.map((column, place) =>
        place === 0
          ? h("th", { scope: "row", role: "rowheader", class: kind(column) }, column.cell(item))
          : h(
              "td",
              { role: "cell", "data-label": column.title, class: kind(column) },
              column.cell(item),
            ),
      ),
    ),
  );
  return h(
    "div.table",
    {},
    h(
      "table",
      { role: "table" },
      h("caption.unseen", {}, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, rows),
    ),
  );
}

/** A few figures with their names. */
export function facts(/** @type {[string, import("./dom.js").Piece][]} */ pairs) {
  return h(
    "dl.facts",
    {},
    pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}
