/** The dropped files and their answers. */

import { makeAnswer, makeCard } from "./card.js";
import { announce, byId, setText } from "./dom.js";
import { answerAt, summary } from "./exits.js";
import { isGeoTiff } from "./geotiff.js";
import { mapScene, offer } from "./scene.js";
import { Problem, call, persist } from "./service.js";
import { counted, percent, sure } from "./words.js";

const AT_ONCE = 4; // requests: the service forms batches of them

/** The list of results, by the choice that `makeSettings` returns. */
export class Results {
  constructor(chosen) {
    this.chosen = chosen;
    this.items = [];
    this.queue = [];
    this.running = 0;
    byId("clear").onclick = () => {
      this.items.slice().forEach((item) => this.remove(item));
      byId("files").focus();
    };
  }

  /** Add files, the newest on top. */
  async add(files) {
    const items = [...files].map((file) => this.make(file));
    if (!items.length) return;
    this.items = [...items, ...this.items];
    byId("items").prepend(...items.map((item) => item.card.element));
    this.refresh();
    byId("results").scrollIntoView({ block: "nearest" });
    for (const item of items) {
      if (this.chosen.maps && (await isGeoTiff(item.file))) offer(item.card, () => this.ask(item), () => this.map(item));
      else this.ask(item);
    }
  }

  make(file) {
    const item = { file, prediction: null, model: null, stop: new AbortController(), asked: false, answer: null };
    item.card = makeCard(file, () => this.remove(item));
    return item;
  }

  remove(item) {
    item.stop.abort();
    const place = this.items.indexOf(item);
    this.items = this.items.filter((each) => each !== item);
    item.card.element.remove();
    item.card.discard();
    this.refresh();
    (this.items[place] ?? this.items.at(-1))?.card.remove.focus({ preventScroll: true });
    if (!this.items.length) byId("files").focus();
  }

  /** Another model or policy: every image that was classified is classified anew. */
  askAgain() {
    this.items.filter((item) => item.asked).forEach((item) => this.ask(item));
  }

  ask(item) {
    item.stop.abort();
    item.stop = new AbortController();
    item.asked = true;
    item.card.waiting("Waiting");
    this.queue = [...this.queue.filter((each) => each !== item), item];
    this.work();
  }

  work() {
    while (this.running < AT_ONCE && this.queue.length) {
      this.running += 1;
      this.classify(this.queue.shift()).finally(() => {
        this.running -= 1;
        this.work();
      });
    }
  }

  async classify(item) {
    const { model, policy } = this.chosen;
    const { signal } = item.stop;
    try {
      const prediction = await requestAnswer(item, model, policy, signal);
      if (signal.aborted) return;
      Object.assign(item, { prediction, model });
      item.card.settled();
      this.refresh();
      const { answer } = item;
      announce(`${item.file.name}: ${answer.unknown ? "unknown" : `${answer.label}, ${sure(answer.confidence)}`}`);
    } catch (error) {
      this.failed(item, error, signal, () => this.ask(item));
    }
  }

  async map(item) {
    const query = new URLSearchParams({ model: this.chosen.model.name, policy: this.chosen.policy.name, name: item.file.name });
    const { signal } = item.stop;
    await mapScene(item.card, item.file, query, signal).catch((error) => this.failed(item, error, signal, () => this.map(item)));
  }

  failed(item, error, signal, again) {
    if (error.name === "AbortError" || signal.aborted) return;
    Object.assign(item, { prediction: null, answer: null, shown: null });
    item.card.failed(error, error instanceof Problem && [413, 415, 422].includes(error.status) ? null : again);
    announce(`${item.file.name}: ${error.message}`);
    this.refresh();
  }

  /** Show all answers at the threshold of now. No request: the answers hold every exit. */
  refresh() {
    for (const item of this.items.filter((each) => each.prediction)) {
      item.answer = answerAt(item.prediction, item.model, this.chosen.threshold);
      if (!item.shown) {
        item.shown = makeAnswer();
        item.card.body.replaceChildren(...item.shown.elements);
      }
      item.shown.update(item.answer, item.prediction, item.model);
    }
    const answers = this.items.flatMap((item) => (item.prediction ? [item.answer] : []));
    byId("trade").hidden = !answers.length;
    byId("empty").hidden = this.items.length > 0;
    byId("clear").hidden = this.items.length === 0;
    setText(byId("sum"), sumInWords(answers));
  }
}

function sumInWords(answers) {
  const { images, share, compared, changed } = summary(answers);
  if (!images) return "";
  const labels = compared ? `, ${changed ? counted(changed, "label") : "no label"} changed by early exits` : "";
  return `${counted(images, "image")}: mean computation ${percent(share)}${labels}`;
}

async function requestAnswer(item, model, policy, signal) {
  const { file, card } = item;
  // Also finds out what cannot be sent, such as a folder, which would look like a lost connection.
  await file.slice(0, 1).arrayBuffer().catch(() => {
    throw new Problem(422, { detail: "The file cannot be read: it is a folder, or it was changed." });
  });
  const query = new URLSearchParams({ model: model.name, policy: policy.name, every_exit: "true", top: "5" });
  const send = { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" }, signal };
  const wait = (error, seconds) => card.waiting(`${error.message} Next try in ${Math.round(seconds)} s`);
  return persist(async () => {
    card.waiting("Classifying");
    const { predictions } = await (await call(`classify?${query}`, send)).json();
    const [prediction] = predictions;
    if (prediction.error) throw new Problem(prediction.error.status, prediction.error);
    return prediction;
  }, wait, signal);
}
