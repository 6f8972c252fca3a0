/** A dropped GeoTIFF: classify it as an image, or map it as a job of the service. */

import { announce, make, setText } from "./dom.js";
import { call, getJson, hasToken, pause, persist } from "./service.js";
import { percent } from "./words.js";

const ENDED = new Set(["successful", "failed", "dismissed"]);

/** The question what to do; one of both functions is called. */
export function offer(card, onClassify, onMap) {
  const [classify, map] = [onClassify, onMap].map((chosen, index) =>
    make(index ? "button.primary" : "button", { type: "button", click: chosen }, index ? "Map it" : "Classify as one image"),
  );
  card.body.replaceChildren(make("div.main", {}, make("p", {}, "This is a GeoTIFF."), make("div.row", {}, map, classify)));
}

/** Send the scene, follow the job to its end, and show the map; rejects with what went wrong. */
export async function mapScene(card, file, query, signal) {
  card.waiting("Sending the scene");
  const wait = (error, seconds) => card.waiting(`${error.message} Next try in ${Math.round(seconds)} s`);
  const send = { method: "POST", body: file, headers: { "Content-Type": "image/tiff" }, signal };
  const response = await persist(() => call(`map?${query}`, send), wait, signal);
  const address = response.headers.get("Location") ?? `jobs/${(await response.clone().json()).id}`;
  const job = await followed(card, await response.json(), address, wait, signal);
  if (job.status !== "successful") throw new Error(job.status === "dismissed" ? "The map was cancelled." : job.message || "The map failed.");
  const results = await persist(() => getJson(`${address}/results`, { signal }), wait, signal);
  await showMap(card, file.name, results, signal);
}

async function followed(card, first, address, wait, signal) {
  const progress = make("progress", { max: "100", "aria-label": "Progress of the map" });
  const said = make("p.quiet");
  const cancel = make("button", { type: "button", click: () => stop() }, "Cancel");
  const stop = async () => {
    cancel.disabled = true;
    await call(address, { method: "DELETE" }).catch((error) => setText(said, error.message));
  };
  card.body.replaceChildren(make("div.main", {}, progress, said, make("div.row", {}, cancel)));
  let job = first;
  while (!ENDED.has(job.status)) {
    card.waiting(job.status === "accepted" ? "Waiting for its turn" : "Mapping");
    if (job.status === "running") progress.value = job.progress ?? 0;
    setText(said, [job.status === "running" ? `${Math.round(job.progress ?? 0)}%` : "", job.message ?? ""].filter(Boolean).join(", "));
    await pause(700, signal);
    job = await persist(() => getJson(address, { signal }), wait, signal).catch((error) => {
      if (error.status === 404 && cancel.disabled) return { status: "dismissed" }; // removed at once
      throw error;
    });
  }
  return job;
}

async function showMap(card, name, results, signal) {
  const parts = [];
  if (results.png) {
    const picture = await (await call(results.png.href, { signal })).blob();
    const address = URL.createObjectURL(picture);
    const image = make("img.map", { src: address, alt: `Map of the classes in ${name}, with its legend` });
    parts.push(make("a", { href: address, target: "_blank", "aria-label": "Open the map in a new tab" }, image));
  }
  const areas = [...(results.summary?.areas ?? [])].filter((each) => each.km2 > 0).sort((a, b) => b.km2 - a.km2);
  if (areas.length) parts.push(areaTable(areas));
  parts.push(fileLinks(results), ...(results.summary?.notes ?? []).map((each) => make("p.quiet", {}, each)));
  card.body.replaceChildren(make("div.main.whole", {}, ...parts));
  card.settled();
  announce(`The map of ${name} is finished`);
}

function areaTable(areas) {
  const head = ["class", "km²", "share"].map((each) => make("th", { scope: "col" }, each));
  const rows = areas.map((each) => {
    const km2 = each.km2.toLocaleString("en", { maximumSignificantDigits: 4 });
    return make("tr", {}, make("th", { scope: "row" }, each.name), make("td", {}, km2), make("td", {}, percent(each.share)));
  });
  return make("table", {}, make("caption", {}, "Area of each class"), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

const FILES = { class: "classes", confidence: "confidence", exit: "exits", png: "picture", classes: "names for GDAL", style: "style for QGIS" };

function fileLinks(results) {
  const links = Object.entries(FILES).filter(([key]) => isOwn(results[key]?.href)).map(([key, text]) => {
    const href = results[key].href;
    const link = make("a", { href, download: true }, `${text} (${href.split("/").at(-1)})`);
    // A link of its own sends no token, so then the file is fetched first.
    link.addEventListener("click", (event) => hasToken() && (event.preventDefault(), save(href)));
    return make("li", {}, link);
  });
  return make("ul.files", { "aria-label": "Files of the map" }, ...links);
}

const isOwn = (href) => Boolean(href) && new URL(href, document.baseURI).origin === location.origin;

async function save(href) {
  const address = URL.createObjectURL(await (await call(href)).blob());
  make("a", { href: address, download: href.split("/").at(-1) }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
