// @ts-check
/** Repositories; starting a verification. */

import { all, get, path, post } from "../shared/api.js";
import { h, onActions } from "../shared/dom.js";
import { keepFresh } from "../shared/feed.js";
import { badge, empty, moment, table } from "../shared/parts.js";
import { place } from "../shared/shell.js";
import { sessionLink } from "./run.js";

const RECENT = 200;

/** @typedef {import("./run.js").Session} Session */
/** @typedef {{ id: string, name: string, url: string, pool: string }} Repository */

/** @type {import("../shared/shell.js").View} */
export async function repositoriesView(stage) {
  const { signal } = stage;
  /** @type {Repository[]} */
  let repositories = [];
  /** @type {Session[]} */
  let checks = [];
  const draw = () => stage.show(page(repositories, checks, stage.may("repositories:verify")));

  async function verify(/** @type {string} */ id) {
    stage.content();
    const select = stage.root.querySelector("select");
    try {
      const session = await post(path(["repositories", id, "verify"]), {
        level: select?.value ?? "read",
      });
      location.hash = place("session", session.id);
    } catch (error) {
      stage.complain(error);
    }
  }
  onActions(stage.root, { verify: (button) => void verify(button.dataset.id ?? "") }, signal);

  async function refresh() {
    try {
      const [listed, recent] = await Promise.all([
        all(["repositories"], signal),
        get(path(["sessions"], { limit: RECENT }), signal),
      ]);
      repositories = listed;
      checks = recent.items.filter((/** @type {Session} */ session) => session.kind === "verify");
      stage.content("refresh");
      draw();
    } catch (error) {
      stage.complain(error, "refresh");
    }
  }
  await keepFresh(refresh, ({ kind }) => kind === "session", signal);
}

/**
 * @param {Repository[]} repositories
 * @param {Session[]} checks newest first
 * @param {boolean} mayVerify
 */
function page(repositories, checks, mayVerify) {
  const title = h("h1", {}, "Repositories");
  if (!repositories.length) {
    const advice =
      "Make one with `strongroom repo init`, then add it with POST /api/v1/repositories.";
    return [h("div.head", {}, title), empty("There are no repositories yet", advice)];
  }
  /** @type {import("../shared/parts.js").Column<Repository>[]} */
  const columns = [
    {
      title: "Repository",
      cell: (r) => [h("span.name", {}, r.name), h("span.quiet.path", {}, r.url)],
    },
    { title: "Proxy pool", cell: (r) => r.pool },
    {
      title: "Last verification",
      wide: true,
      cell: (r) => lastCheck(checks.find((c) => c.repository === r.id)),
    },
  ];
  if (mayVerify) {
    columns.push({
      title: "",
      cell: (r) =>
        h(
          "button",
          {
            type: "button",
            "data-action": "verify",
            "data-id": r.id,
            "aria-label": `Verify ${r.name}`,
          },
          "Verify",
        ),
    });
  }
  const depth = [
    h("label", { for: "level" }, "Verification reads"),
    h(
      "select",
      { id: "level" },
      h("option", { value: "read" }, "everything"),
      h("option", { value: "directory" }, "directories of packs"),
      h("option", { value: "listing" }, "names and sizes"),
    ),
  ];
  return [
    h("div.head", {}, title, mayVerify ? h("div.choice", {}, depth) : null),
    table("Repositories", columns, repositories, (r) => r.id),
  ];
}

function lastCheck(/** @type {Session | undefined} */ check) {
  if (!check) return h("span.quiet", {}, "None lately");
  return h(
    "div.line",
    {},
    badge(check.state),
    moment(check.created_at),
    sessionLink(check, "Details"),
  );
}
