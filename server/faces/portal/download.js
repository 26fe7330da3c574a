// @ts-check
/**
 * Bytes of one item to the reader's disk.
 *
 * A plain link cannot carry the token, so the page fetches and saves. Pieces are folded into blobs as
 * they come; a browser keeps large blobs on disk, so the page holds FOLD_BYTES at most. What is larger
 * than BLOB_BYTES_MAX is written straight into a file where the browser can ask for one, else refused.
 */

import { Problem, open, path } from "../shared/api.js";
import { bytes } from "../shared/format.js";

const FOLD_BYTES = 8 * 1024 * 1024;
export const BLOB_BYTES_MAX = 1024 * 1024 * 1024;
const RELEASE_MS = 60_000;

/** @typedef {{ path: string, name: string, kind: string, size: number }} Item */

/**
 * @param {string} repository
 * @param {string} point
 * @param {Item} item
 * @param {(received: number, total: number | null) => void} onProgress
 * @param {AbortSignal} signal
 * @returns {Promise<string>} the name of the file
 */
export async function download(repository, point, item, onProgress, signal) {
  // The browser lets a page ask for a file only right after the click.
  const file = item.size > BLOB_BYTES_MAX ? await askForFile(item) : null;
  const format = item.kind === "message" ? "eml" : "native";
  const target = path(["restore-points", repository, point, "download"], {
    path: item.path,
    format,
  });
  const response = await open(target, { signal });
  const total = lengthOf(response);
  const name = nameOf(response) || item.name || "item";
  if (!response.body) throw new Problem(0, "no-body", "The server sent nothing.");
  const pieces = counted(response.body, total, onProgress);
  if (file) {
    const sink = await file.createWritable();
    await pieces.pipeTo(sink, { signal });
    return file.name;
  }
  save(await collect(pieces), name);
  return name;
}

/**
 * A stream that counts, and fails if it ends early.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @param {number | null} total
 * @param {(received: number, total: number | null) => void} onProgress
 */
function counted(body, total, onProgress) {
  let received = 0;
  return body.pipeThrough(
    new TransformStream({
      transform(piece, controller) {
        received += piece.byteLength;
        onProgress(received, total);
        controller.enqueue(piece);
      },
      flush() {
        if (total !== null && received !== total) {
          throw new Problem(0, "cut-off", "The download broke off. Try it again.");
        }
      },
    }),
  );
}

/**
 * @param {ReadableStream<Uint8Array>} stream
 * @returns {Promise<Blob>}
 */
async function collect(stream) {
  /** @type {Blob[]} */
  const folded = [];
  /** @type {Uint8Array[]} */
  let loose = [];
  let looseBytes = 0;
  let received = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    received += value.byteLength;
    if (received > BLOB_BYTES_MAX) {
      await reader.cancel();
      throw tooLarge(received);
    }
    loose.push(value);
    looseBytes += value.byteLength;
    if (looseBytes >= FOLD_BYTES) {
      folded.push(new Blob(/** @type {BlobPart[]} */ (loose)));
      loose = [];
      looseBytes = 0;
    }
  }
  return new Blob([...folded, .../** @type {BlobPart[]} */ (loose)], {
    type: "application/octet-stream",
  });
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), RELEASE_MS);
}

/** @param {Item} item */
async function askForFile(item) {
  const ask = /** @type {any} */ (window).showSaveFilePicker;
  if (!ask) throw tooLarge(item.size);
  return ask({ suggestedName: item.name });
}

function tooLarge(/** @type {number} */ size) {
  const advice =
    "Use `strongroom export` on the command line, or a browser that can save large files.";
  return new Problem(0, "too-large", `${bytes(size)} is too large for this browser. ${advice}`);
}

function lengthOf(/** @type {Response} */ response) {
  const text = response.headers.get("Content-Length");
  // With a Content-Encoding the length is not that of what the page sees.
  if (!text || response.headers.get("Content-Encoding")) return null;
  return Number(text);
}

/** The file name of Content-Disposition (RFC 6266): the UTF-8 one if there is one. */
export function nameOf(/** @type {Response} */ response) {
  const header = response.headers.get("Content-Disposition") ?? "";
  const wide = /filename\*=UTF-8''([^;]+)/i.exec(header);
  if (wide) {
    try {
      return decodeURIComponent(wide[1]);
    } catch {
      // Not what the standard says: the plain name will do.
    }
  }
  return /filename="([^"]*)"/i.exec(header)?.[1] ?? "";
}
