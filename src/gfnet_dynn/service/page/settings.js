/** Choice of model, policy and threshold. */

import { byId, make, setText } from "./dom.js";
import { NEVER, policyThreshold } from "./exits.js";
import { capital, counted, percent } from "./words.js";

const FULL = 101; // of the slider: beyond 100%, where no image stops early

/**
 * Fill the panel from the answer of /models.
 * `onChoice` hears of another model or policy, `onThreshold` of another threshold.
 * @returns {{model: object, policy: object, threshold: number|null, maps: boolean}} the choice, always as it is now
 */
export function makeSettings({ models, maps }, { onChoice, onThreshold }) {
  const chosen = { maps, model: models[0], policy: null, threshold: null };
  const slider = byId("threshold");
  const toPolicy = () => {
    chosen.threshold = null;
    showThreshold(chosen, slider);
  };
  const choosePolicy = (name) => {
    chosen.policy = chosen.model.policies.find((each) => each.name === name) ?? chosen.model.policies[0];
    setText(byId("chosen"), `${chosen.model.name}, ${chosen.policy.name}`);
    toPolicy();
  };
  const chooseModel = (name) => {
    chosen.model = models.find((each) => each.name === name) ?? models[0];
    describeModel(chosen.model);
    const start = chosen.model.default_policy;
    byId("policies").replaceChildren(...chosen.model.policies.map((policy) => policyOption(policy, start, pick)));
    choosePolicy(start);
  };
  const pick = (name) => (choosePolicy(name), onChoice());
  byId("model").replaceChildren(...models.map((model) => make("option", { value: model.name }, model.title || model.name)));
  byId("model").onchange = (event) => (chooseModel(event.target.value), onChoice());
  slider.oninput = () => {
    chosen.threshold = Number(slider.value) >= FULL ? NEVER : Number(slider.value) / 100;
    showThreshold(chosen, slider);
    onThreshold();
  };
  byId("reset").onclick = () => (toPolicy(), slider.focus(), onThreshold());
  chooseModel(chosen.model.name);
  return chosen;
}

function describeModel(model) {
  const facts = [counted(model.classes.length, "class", "classes"), `${model.input_size} px`, model.precision];
  if (model.gsd_m) facts.push(`for ${[...new Set(model.gsd_m)].join(" to ")} m per pixel`);
  setText(byId("model-facts"), `${model.model}: ${facts.join(", ")}`);
  byId("model").value = model.name;
}

function policyOption(policy, start, pick) {
  const never = policy.thresholds.every((each) => each === null);
  const cost = never || policy.macs_share == null ? "" : `about ${percent(policy.macs_share)} of the computation`;
  const words = policy.statement || (never ? "Never: each image passes the full network" : "No guarantee");
  const radio = make("input", { type: "radio", name: "policy", value: policy.name, checked: policy.name === start, change: () => pick(policy.name) });
  return make(
    "label.option", {}, radio,
    make("span", {}, make("strong", {}, policy.name), make("span", {}, capital(words)), cost && make("span.quiet", {}, cost)),
  );
}

function showThreshold(chosen, slider) {
  const { value, single } = chosen.threshold === null ? policyThreshold(chosen.policy) : { value: chosen.threshold, single: true };
  const never = value === NEVER;
  slider.value = never ? FULL : Math.round(100 * value);
  const number = never ? "never early" : single ? `${+(100 * value).toFixed(1)}%` : `about ${Math.round(100 * value)}%, another at each exit`;
  const text = chosen.threshold === null ? `${number}, by the policy` : number;
  setText(byId("threshold-text"), text);
  slider.setAttribute("aria-valuetext", text);
  slider.style.setProperty("--at", `${(100 * slider.value) / FULL}%`);
  byId("reset").hidden = chosen.threshold === null;
}
