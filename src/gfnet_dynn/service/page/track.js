/** The network as a line from input to final exit: what was computed is filled, what was saved is hatched. */

import { make, setWidth } from "./dom.js";

/** A picture for the eye only: the same is always said in words beside it. */
export function makeTrack() {
  const done = make("div.done");
  const element = make("div.track", { "aria-hidden": "true" }, done);
  let ticks = [];
  return {
    element,
    /** Exits of the model, and the index of the one taken; −1: none. */
    update(exits, taken) {
      const last = exits.at(-1).macs;
      if (ticks.length !== exits.length) {
        ticks.forEach((tick) => tick.remove());
        ticks = exits.map(() => make("span.tick"));
        element.append(...ticks);
      }
      exits.forEach((exit, index) => {
        ticks[index].style.left = `${(100 * exit.macs) / last}%`;
        ticks[index].className = `tick${index === taken ? " taken" : index < taken ? " passed" : ""}`;
      });
      setWidth(done, taken < 0 ? 0 : exits[taken].macs / last);
    },
  };
}

/** All exits of a model as a list, for who has not dropped anything yet. */
export function describeExits(model) {
  const track = makeTrack();
  track.update(model.exits, -1);
  const last = model.exits.at(-1).macs;
  const rows = model.exits.map((exit) =>
    make(
      "li",
      {},
      make("strong", {}, exit.name),
      ` ${Math.round((100 * exit.macs) / last)}%`,
      exit.ms == null ? null : make("span.quiet", {}, ` ${exit.ms.toFixed(1)} ms`),
    ),
  );
  return [track.element, make("ul.exit-list", { "aria-label": "Computation and time of each exit" }, ...rows)];
}
