// @ts-check
/**
 * Server-sent events over `fetch`, since EventSource cannot send the token.
 *
 * Reconnects with the id of the last event, so none is missed; the server may send one twice.
 */

import { Problem, isQuiet, open } from "./api.js";

const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 15_000;
const SILENCE_MS = 60_000;
const LINE_CHARS_MAX = 4 * 1024 * 1024;

/** @typedef {{ id: string, type: string, data: string }} ServerEvent */

/** Cuts a stream of text into events (WHATWG HTML, "Server-sent events"). */
export class EventParser {
  #rest = "";
  #data = /** @type {string[]} */ ([]);
  #type = "";
  lastId = "";

  /**
   * @param {string} text the next piece of the stream
   * @returns {ServerEvent[]} events that are complete now
   */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LINE_CHARS_MAX)
      throw new Problem(0, "event-too-long", "An event is too long.");
    const events = [];
    for (const line of lines) {
      const event = this.#line(line);
      if (event) events.push(event);
    }
    return events;
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") {
      const event = { id: this.lastId, type: this.#type || "message", data: this.#data.join("\n") };
      const complete = this.#data.length > 0;
      this.#data = [];
      this.#type = "";
      return complete ? event : null;
    }
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? ["", "", ""];
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.lastId = value;
    return null;
  }
}

/**
 * Follow a stream until `signal` aborts, the sign-in ends or the server says it is not there.
 *
 * @param {string} target from `path`
 * @param {(event: ServerEvent) => void} onEvent
 * @param {AbortSignal} signal
 */
export async function follow(target, onEvent, signal) {
  const parser = new EventParser();
  let wait = RETRY_FIRST_MS;
  while (!signal.aborted) {
    try {
      await readOnce(target, parser, signal, (event) => {
        wait = RETRY_FIRST_MS;
        onEvent(event);
      });
    } catch (error) {
      if (isQuiet(error)) return;
      if (error instanceof Problem && [403, 404].includes(error.status)) return;
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, RETRY_MAX_MS);
  }
}

/**
 * @param {string} target
 * @param {EventParser} parser
 * @param {AbortSignal} signal
 * @param {(event: ServerEvent) => void} onEvent
 */
async function readOnce(target, parser, signal, onEvent) {
  const silence = new AbortController();
  const headers = new Headers({ Accept: "text/event-stream" });
  if (parser.lastId) headers.set("Last-Event-ID", parser.lastId);
  const either = AbortSignal.any([signal, silence.signal]);
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const response = await open(target, { headers, signal: either });
    if (!response.body) return;
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      parser.push(value).forEach(onEvent);
    }
  } catch (error) {
    if (silence.signal.aborted && !signal.aborted)
      throw new Problem(0, "silent", "The stream is silent.");
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Resolves after `ms`, or at once when `signal` aborts.
 *
 * @param {number} ms
 * @param {AbortSignal} signal
 */
export function pause(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve(undefined);
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve(undefined);
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
