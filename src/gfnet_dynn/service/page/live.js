/** What the device does now, by /status every two seconds while the tab is seen. */

import { byId, make, setText, setWidth } from "./dom.js";
import { ConnectionLost, getJson, pause } from "./service.js";
import { counted, milliseconds, percent } from "./words.js";

const EVERY_MS = 2000;

/** Follow the status for as long as the page is open. `chosen.model` says whose figures are shown. */
export async function follow(chosen) {
  for (;;) {
    if (document.hidden) await seen();
    try {
      const status = await getJson("status", { ask: false });
      setText(byId("connection"), "");
      show(status, chosen.model);
    } catch (error) {
      setText(byId("connection"), error instanceof ConnectionLost ? "No connection to the device. Trying again." : "");
      if (!(error instanceof ConnectionLost)) byId("live").replaceChildren(make("p.note", {}, error.message));
    }
    await pause(EVERY_MS);
  }
}

const seen = () =>
  new Promise((resolve) => {
    const heard = () => document.hidden || (document.removeEventListener("visibilitychange", heard), resolve());
    document.addEventListener("visibilitychange", heard);
  });

function show(status, model) {
  const figures = status.models[model.name];
  if (!figures) return;
  const promises = Object.entries(figures.promise ?? {}).filter(([, each]) => each.status !== "none" && each.images);
  const bar = figures.answered ? shares(figures) : [make("p.quiet", {}, "Nothing answered yet.")];
  byId("live").replaceChildren(...bar, facts(figures), ...promises.map(evidence));
}

/** A stacked bar from the first exit to the last one, numbered, and the same in text. */
function shares(figures) {
  const total = figures.exit_names.length;
  const parts = figures.exit_shares.map((share, index) => {
    const part = make(`span.part.p${Math.round((4 * index) / Math.max(1, total - 1))}`, {}, share >= 0.08 ? String(index + 1) : "");
    setWidth(part, share);
    return part;
  });
  const rows = figures.exit_names.map((name, index) =>
    make("li", {}, make("span", {}, `${index + 1}`), make("span", {}, name), make("strong", {}, percent(figures.exit_shares[index]))),
  );
  return [
    make("h3", {}, "Where images exit"),
    make("div.stack", { "aria-hidden": "true" }, ...parts),
    make("ul.shares", { "aria-label": "Share of the last answers that left at each exit" }, ...rows),
  ];
}

function facts(figures) {
  const latency = figures.latency_ms ?? {};
  const rows = [
    ["Median latency", latency.median == null ? "–" : milliseconds(latency.median)],
    ["p99 latency", latency.p99 == null ? "–" : milliseconds(latency.p99)],
    ["Mean computation", figures.macs_share == null ? "–" : percent(figures.macs_share)],
    ["In the queue", String(figures.queue)],
    ["Answered", figures.answered.toLocaleString("en")],
    ["Rejected", figures.rejected.toLocaleString("en")],
    ["Late", figures.late.toLocaleString("en")],
    ["Policy allowed now", figures.level],
  ];
  return make("dl.facts", {}, ...rows.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

/** Evidence against the guarantee of one policy: a bar on a logarithmic scale up to the alarm, and the numbers. */
function evidence([policy, { status, evidence: found, alarm_at: alarm, images }]) {
  const fill = make("span.fill");
  const known = found != null && alarm > 1;
  if (known) setWidth(fill, Math.log(Math.max(1, found)) / Math.log(alarm));
  const numbers = known ? `Evidence against it: ${Number(found.toPrecision(2))} of ${alarm}, from ${counted(images, "image")}` : "";
  return make(
    "div.evidence", {},
    make(`p.promise.${status.replace(" ", "-")}`, {}, `${policy}: guarantee ${status}`),
    known ? make("span.rail", { "aria-hidden": "true" }, fill) : null,
    numbers ? make("p.quiet", {}, numbers) : null,
  );
}
