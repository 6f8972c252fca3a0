/** What is shown of one dropped file. */

import { make, setText, setWidth } from "./dom.js";
import { makeTrack } from "./track.js";
import { capital, counted, milliseconds, percent, sure } from "./words.js";

let numbers = 0;

/** Frame of a card: name, thumbnail, a line that says what is going on, and room for what is found. */
export function makeCard(file, onRemove) {
  const id = `item-${(numbers += 1)}`;
  const status = make("p.note", { hidden: true });
  const retry = make("button.small", { type: "button", hidden: true }, "Try again");
  const body = make("div.body");
  const remove = make("button.plain.remove", { type: "button", click: onRemove, "aria-label": `Remove ${file.name}` }, "×");
  const title = make("h3.name", { id }, file.name);
  const thumbnail = makeThumbnail(file);
  const element = make(
    "li.card",
    { "aria-labelledby": id },
    make("div.thumb", {}, thumbnail.element),
    make("div.head", {}, title, remove),
    body,
    make("div.row.state", {}, status, retry),
  );
  return {
    element,
    body,
    remove,
    discard: thumbnail.discard,
    /** Something is going on; what was shown before stays, dimmed. */
    waiting(text) {
      element.setAttribute("aria-busy", "true");
      status.className = "note quiet";
      setText(status, text);
      retry.hidden = true;
    },
    settled() {
      element.removeAttribute("aria-busy");
      setText(status, "");
      retry.hidden = true;
    },
    /** An error in words; onRetry: null where another try would say the same. */
    failed(error, onRetry) {
      element.removeAttribute("aria-busy");
      status.className = "note error";
      setText(status, capital(error.message));
      body.replaceChildren();
      retry.hidden = onRetry === null;
      retry.onclick = onRetry;
    },
  };
}

function makeThumbnail(file) {
  const kind = (/\.([a-z0-9]{1,5})$/i.exec(file.name)?.[1] ?? "file").toUpperCase();
  const placeholder = make("span.placeholder", { "aria-hidden": "true" }, kind);
  const address = URL.createObjectURL(file);
  const image = make("img", { src: address, alt: "", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(placeholder)); // a format that browsers cannot show
  return { element: image, discard: () => URL.revokeObjectURL(address) };
}

const ROWS = 5;

/** The answer for an image. `update` changes it in place, as the slider does many times a second. */
export function makeAnswer() {
  const part = (kind) => make(kind, { hidden: true });
  const parts = {
    label: part("p.label"), confidence: part("p.quiet"), set: part("p"), exit: part("p.exit-text"),
    saved: part("p.quiet"), differs: part("p.note.doubt"), lowered: part("p.note.doubt"), promise: part("p.promise"),
    times: part("p.quiet.times"),
  };
  const track = makeTrack();
  const bars = Array.from({ length: ROWS }, makeBar);
  const list = make("ol.bars", { "aria-label": "Most probable classes" }, ...bars.map((bar) => bar.element));
  const main = make("div.main", {}, parts.label, parts.confidence, parts.set);
  const route = make(
    "div.route", {}, track.element, make("div.row.spread", {}, parts.exit, parts.saved), parts.differs, parts.lowered,
    make("div.row.spread", {}, parts.promise, parts.times),
  );
  return {
    elements: [main, list, route],
    update(answer, prediction, model) {
      for (const [name, text] of Object.entries(inWords(answer, prediction, model))) setText(parts[name], text);
      parts.label.classList.toggle("unknown", answer.unknown);
      parts.promise.className = `promise ${answer.promise.replace(" ", "-")}`;
      track.update(model.exits, answer.index);
      const ranked = Object.entries(answer.probabilities).sort((a, b) => b[1] - a[1]);
      bars.forEach((bar, index) => bar.update(ranked[index]));
    },
  };
}

function makeBar() {
  const [name, fill, value] = [make("span.class"), make("span.fill"), make("span.value")];
  const element = make("li", {}, name, make("span.rail", { "aria-hidden": "true" }, fill), value);
  return {
    element,
    update(entry) {
      element.hidden = !entry;
      if (!entry) return;
      setText(name, entry[0]);
      setText(value, sure(entry[1]));
      setWidth(fill, entry[1]);
    },
  };
}

/** The text of each part; empty: the part is not shown. */
function inWords(answer, prediction, model) {
  const policy = model.policies.find((each) => each.name === prediction.policy);
  return {
    label: answer.unknown ? "Unknown" : answer.label,
    confidence: answer.unknown
      ? `Unlike the training images; nearest class: ${answer.label}, ${sure(answer.confidence)}`
      : `${sure(answer.confidence)} confident`,
    set: setInWords(answer.set, policy?.coverage),
    exit: exitInWords(answer, model),
    saved: savedInWords(answer, model),
    differs: answer.fullLabel !== null && answer.fullLabel !== answer.label ? `The full network says ${answer.fullLabel}.` : "",
    lowered: loweredInWords(answer, prediction, model),
    promise: promiseInWords(answer, policy),
    times: timesInWords(prediction.times_ms),
  };
}

function setInWords(set, coverage) {
  if (!set) return "";
  const among = set.length ? `One of: ${set.join(", ")}` : "No class is probable enough";
  return coverage ? `${among}. The true class is included with ${percent(coverage)} coverage.` : `${among}.`;
}

function exitInWords(answer, model) {
  const name = answer.index === model.exits.length - 1 ? "Final exit" : capital(model.exits[answer.index].name);
  const spent = [`${percent(answer.share)} of the computation`, ...(answer.ms === null ? [] : [milliseconds(answer.ms)])];
  return `${name} of ${model.exits.length}: ${spent.join(", ")}`;
}

function savedInWords(answer, model) {
  if (answer.index === model.exits.length - 1) return "Nothing saved: it needed the full network";
  const time = answer.savedMs === null ? "" : `, ${milliseconds(Math.max(0, answer.savedMs))}`;
  return `Saved against the full network: ${percent(1 - answer.share)}${time}`;
}

function loweredInWords(answer, prediction, model) {
  if (answer.own || !prediction.lowered) {
    const known = prediction.exits?.length ?? 0;
    return known < model.exits.length ? `Only ${counted(known, "exit")} computed: the slider has no effect beyond.` : "";
  }
  const swap = prediction.policy === prediction.asked_policy ? "" : ` Policy ${prediction.policy} answered in place of ${prediction.asked_policy}.`;
  return (prediction.lowered === "deadline" ? "An earlier exit, to be in time." : "An earlier exit, as the device is busy.") + swap;
}

function promiseInWords(answer, policy) {
  if (answer.own) return "No guarantee: you set the threshold";
  const statement = policy?.statement ? `: ${policy.statement}` : "";
  return { holds: `Guarantee holds${statement}`, "in doubt": `Guarantee in doubt${statement}` }[answer.promise] ?? "No guarantee";
}

function timesInWords(times) {
  if (!times) return "";
  const parts = [["decoding", times.decode], ["queue", times.queue], ["network", times.network]];
  const told = parts.filter(([, value]) => value != null).map(([name, value]) => `${name} ${milliseconds(value)}`);
  return `${milliseconds(times.total)} in all, with every exit: ${told.join(", ")}`;
}
