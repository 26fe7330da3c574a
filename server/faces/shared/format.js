// @ts-check
/** Values as people read them. Pure, but for the reader's language and time zone. */

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const NUMBER = new Intl.NumberFormat();
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** 1536 -> "1.5 KiB" */
export function bytes(/** @type {number | null | undefined} */ count) {
  if (count === null || count === undefined) return "–";
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  const text = new Intl.NumberFormat(undefined, { maximumFractionDigits: digits }).format(value);
  return `${text}\u00a0${UNITS[unit]}`;
}

/** 12345 -> "12,345" */
export function count(/** @type {number | null | undefined} */ value) {
  return value === null || value === undefined ? "–" : NUMBER.format(value);
}

/** "1 item", "2 items" */
export function countOf(/** @type {number} */ value, /** @type {string} */ word) {
  return `${NUMBER.format(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** Local date and time of an RFC 3339 time. */
export function when(/** @type {string} */ time) {
  const date = new Date(time);
  return Number.isNaN(date.valueOf()) ? time : WHEN.format(date);
}

/** The same moment in UTC, for titles. */
export function utc(/** @type {string} */ time) {
  const date = new Date(time);
  if (Number.isNaN(date.valueOf())) return time;
  return `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Time between two moments: "3 s", "4 min 10 s", "2 h 5 min". */
export function duration(/** @type {string} */ from, /** @type {string | Date} */ to) {
  const seconds = Math.max(
    0,
    Math.round((new Date(to).valueOf() - new Date(from).valueOf()) / 1000),
  );
  if (Number.isNaN(seconds)) return "–";
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Words for workloads and kinds of objects and items. */
const WORDS = /** @type {Record<string, string>} */ ({
  mail: "Mail",
  calendar: "Calendar",
  contacts: "Contacts",
  tasks: "To Do",
  drives: "OneDrive",
  tree: "Files",
  user: "User",
  workload: "Workload",
  container: "Folder",
  message: "Message",
  event: "Event",
  contact: "Contact",
  task: "Task",
  file: "File",
  folder: "Folder",
});

export function word(/** @type {string} */ name) {
  return WORDS[name] ?? name.charAt(0).toUpperCase() + name.slice(1);
}
