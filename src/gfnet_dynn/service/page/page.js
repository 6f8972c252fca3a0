/** Where the page begins: what comes in by drop, paste, chooser and camera goes to the results. */

import { askForToken, offerCamera } from "./dialogs.js";
import { announce, byId, make } from "./dom.js";
import { follow } from "./live.js";
import { Results } from "./results.js";
import { getJson, onTokenNeeded, persist } from "./service.js";
import { makeSettings } from "./settings.js";
import { describeExits } from "./track.js";

onTokenNeeded(askForToken);
byId("settings").open = matchMedia("(min-width: 62rem)").matches;
const ready = start();
takeFiles(async (files) => (await ready).add(files));

/** The results, once the models are known; what was dropped before that waits. */
async function start() {
  const models = await firstModels();
  let results;
  const chosen = makeSettings(models, {
    onChoice: () => (byId("exits").replaceChildren(...describeExits(chosen.model)), results.askAgain()),
    onThreshold: () => oncePerFrame(() => (results.refresh(), announce(byId("sum").textContent, "sum"))),
  });
  results = new Results(chosen);
  byId("exits").replaceChildren(...describeExits(chosen.model));
  offerCamera((file) => results.add([file]));
  document.documentElement.dataset.ready = "";
  follow(chosen);
  return results;
}

/** The models, however long the device takes to be there; without its token there is nothing to show. */
async function firstModels() {
  const say = (text) => (byId("connection").textContent = text);
  for (;;) {
    try {
      const found = await persist(() => getJson("models"), (error) => say(`${error.message} Trying again.`));
      say("");
      return found;
    } catch (error) {
      await new Promise((resolve) => {
        const retry = make("button.small", { type: "button", click: resolve }, "Try again");
        byId("connection").replaceChildren(make("span", {}, error.message), retry);
      });
    }
  }
}

function takeFiles(take) {
  const marked = document.body.classList;
  byId("files").onchange = (event) => {
    take([...event.target.files]);
    event.target.value = ""; // so that the same file can be chosen again
  };
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    marked.add("dragging");
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? marked.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    marked.remove("dragging");
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take([...event.clipboardData.files]);
  });
}

let frame = 0;

function oncePerFrame(work) {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(work);
}
