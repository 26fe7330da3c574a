// @ts-check
/** Proxies and what their heartbeats say. */

import { all } from "../shared/api.js";
import { h } from "../shared/dom.js";
import { keepFresh } from "../shared/feed.js";
import { countOf } from "../shared/format.js";
import { badge, empty, moment, table } from "../shared/parts.js";

/**
 * @typedef {{
 *   id: string, pool: string, online: boolean, version: string | null, host: string | null,
 *   started_at: string | null, tasks: string[],
 * }} Proxy
 */

/** @type {import("../shared/shell.js").View} */
export async function proxiesView(stage) {
  async function refresh() {
    try {
      const proxies = await all(["proxies"], stage.signal);
      stage.content("refresh");
      stage.show(page(proxies));
    } catch (error) {
      stage.complain(error, "refresh");
    }
  }
  const matters = (/** @type {string} */ kind) => ["leased", "finished"].includes(kind);
  await keepFresh(refresh, ({ kind }) => matters(kind), stage.signal);
}

function page(/** @type {Proxy[]} */ proxies) {
  const head = h("div.head", {}, h("h1", {}, "Proxies"));
  if (!proxies.length) {
    const advice =
      "Let one join with POST /api/v1/pools/default/proxies and start it with `strongroom proxy --join FILE`.";
    return [head, empty("There are no proxies yet", advice)];
  }
  /** @type {import("../shared/parts.js").Column<Proxy>[]} */
  const columns = [
    {
      title: "Proxy",
      cell: (p) => [h("span.name", {}, p.host ?? p.id), h("span.quiet.path", {}, p.id)],
    },
    { title: "Pool", cell: (p) => p.pool },
    { title: "State", cell: (p) => badge(p.online ? "online" : "offline") },
    {
      title: "Works on",
      cell: (p) => (p.tasks.length ? countOf(p.tasks.length, "task") : "nothing"),
    },
    { title: "Version", cell: (p) => p.version ?? "–" },
    { title: "Since", cell: (p) => moment(p.started_at) },
  ];
  return [head, table("Proxies", columns, proxies, (p) => p.id)];
}
