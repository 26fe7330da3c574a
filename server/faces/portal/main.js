// @ts-check
/** The Restore Portal: restore points, browsing, downloads. */

import { startFace } from "../shared/shell.js";
import { pointsView } from "./points.js";
import { trayWhileSignedIn } from "./tray.js";

startFace({
  face: "Restore Portal",
  needs: "points:read",
  refusal: "You may not see restore points. Ask an administrator for the role restore-operator.",
  views: { points: { title: "Restore points", view: pointsView } },
  whileSignedIn: trayWhileSignedIn,
});
