// @ts-check
/**
 * The way to the server: the access token, problems as errors, cursor pages.
 *
 * Neighbours: `events.js` and `download.js` open streams through `open`; views use `get`, `post`, `all`.
 * Invariant: the token lives in this module's variable and nowhere else, so it is gone with the page.
 */

const BASE = "/api/v1";
const PAGE = 200;
/** A view never asks for more than this many items of one list. */
export const ITEMS_MAX = 5000;

let token = "";
/** @type {(reason: string) => void} */
let tellSignedOut = () => {};

/** An error that says, in one sentence for people, what went wrong. */
export class Problem extends Error {
  /**
   * @param {number} status HTTP status; 0 when there was no answer
   * @param {string} code stable word of the problem
   * @param {string} detail one sentence
   */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Whether an error only says that the work is no longer wanted or nobody is signed in. */
export function isQuiet(/** @type {unknown} */ error) {
  return (
    (error instanceof DOMException && error.name === "AbortError") ||
    (error instanceof Problem && error.status === 401)
  );
}

/** Called with a sentence when the server no longer accepts the token. */
export function onSignedOut(/** @type {(reason: string) => void} */ listener) {
  tellSignedOut = listener;
}

/**
 * Path with each part escaped and the query added; empty members are left out.
 *
 * @param {string[]} parts
 * @param {Record<string, string | number | undefined>} [query]
 */
export function path(parts, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") search.set(name, String(value));
  }
  const tail = search.size ? `?${search}` : "";
  return `${BASE}/${parts.map(encodeURIComponent).join("/")}${tail}`;
}

/**
 * Exchange name and password for a token.
 *
 * @param {string} name
 * @param {string} password
 */
export async function signIn(name, password) {
  const form = new URLSearchParams({ grant_type: "password", username: name, password });
  const response = await send(path(["token"]), { method: "POST", body: form });
  if (!response.ok) throw await problemOf(response);
  token = (await response.json()).access_token;
}

/** Forget the token here, then make the server forget it. */
export async function signOut() {
  const old = token;
  token = "";
  if (!old) return;
  const headers = { Authorization: `Bearer ${old}` };
  await send(path(["token", "revoke"]), { method: "POST", headers });
}

/**
 * Send a request with the token.
 *
 * @param {string} target from `path`
 * @param {RequestInit} [init]
 * @returns {Promise<Response>} one that is ok
 * @throws {Problem}
 */
export async function open(target, init = {}) {
  const used = token;
  const headers = new Headers(init.headers);
  headers.set("Authorization", `Bearer ${used}`);
  const response = await send(target, { ...init, headers });
  if (response.ok) return response;
  const problem = await problemOf(response);
  // An answer to a request of an earlier sign-in must not end the present one.
  if (problem.status === 401 && used && used === token) {
    token = "";
    tellSignedOut("Your sign-in has expired. Please sign in again.");
  }
  throw problem;
}

/**
 * @param {string} target
 * @param {AbortSignal} [signal]
 */
export async function get(target, signal) {
  return (await open(target, { signal })).json();
}

/**
 * @param {string} target
 * @param {object} [body] sent as JSON
 */
export async function post(target, body) {
  /** @type {RequestInit} */
  const init = { method: "POST" };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "Content-Type": "application/json" };
  }
  const response = await open(target, init);
  return response.status === 204 ? null : response.json();
}

/**
 * The items of all pages of a list, at most ITEMS_MAX.
 *
 * @param {string[]} parts
 * @param {AbortSignal} [signal]
 * @param {Record<string, string | number | undefined>} [query]
 * @returns {Promise<any[]>}
 */
export async function all(parts, signal, query = {}) {
  /** @type {any[]} */
  const items = [];
  let after = "";
  do {
    const page = await get(path(parts, { ...query, limit: PAGE, after }), signal);
    items.push(...page.items);
    after = page.next ?? "";
  } while (after && items.length < ITEMS_MAX);
  return items;
}

/**
 * @param {string} target
 * @param {RequestInit} init
 */
async function send(target, init) {
  try {
    return await fetch(target, { cache: "no-store", credentials: "omit", ...init });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Problem(0, "unreachable", "The server cannot be reached. Check that it is running.");
  }
}

/** @param {Response} response */
async function problemOf(response) {
  const fallback = `The server answered ${response.status} ${response.statusText}`.trim() + ".";
  try {
    const body = await response.json();
    const where = body.errors?.[0];
    const more = where ? ` ${where.location}: ${where.message}.` : "";
    return new Problem(response.status, body.code ?? "", (body.detail || fallback) + more);
  } catch {
    return new Problem(response.status, "", fallback);
  }
}
