// @ts-check
/** The Console: jobs, sessions, repositories, proxies. */

import { openFeed } from "../shared/feed.js";
import { startFace } from "../shared/shell.js";
import { jobsView } from "./jobs.js";
import { proxiesView } from "./proxies.js";
import { repositoriesView } from "./repositories.js";
import { sessionView } from "./session.js";
import { sessionsView } from "./sessions.js";

startFace({
  face: "Console",
  needs: "sessions:read",
  refusal: "You may not use the Console. Your place is the Restore Portal, at /portal/.",
  views: {
    jobs: { title: "Jobs", view: jobsView },
    sessions: { title: "Sessions", view: sessionsView },
    session: { title: "Session", view: sessionView, under: "sessions" },
    repositories: { title: "Repositories", view: repositoriesView },
    proxies: { title: "Proxies", view: proxiesView },
  },
  whileSignedIn: openFeed,
});
