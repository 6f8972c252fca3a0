/** Which exit an image takes at a threshold, and what that saves. No page, no requests: sums only. */

/** A threshold that no score reaches. */
export const NEVER = Infinity;

/** Index of the exit that an image takes: the first whose score reaches the threshold, otherwise the last one. */
export function exitTaken(exits, threshold) {
  const index = exits.findIndex((exit) => exit.score !== null && exit.score >= threshold);
  return index < 0 ? exits.length - 1 : index;
}

/** The answer for an image as the page shows it, by the slider's threshold, or as the policy decided where that is null. */
export function answerAt(prediction, model, threshold) {
  const own = threshold !== null && Boolean(prediction.exits?.length);
  const taken = own ? prediction.exits[exitTaken(prediction.exits, threshold)] : prediction;
  const index = Math.max(0, model.exits.findIndex((exit) => exit.name === taken.exit));
  const last = model.exits.at(-1);
  const full = prediction.exits?.find((exit) => exit.exit === last.name) ?? null;
  return {
    own,
    index,
    label: taken.label,
    confidence: taken.confidence,
    probabilities: taken.probabilities,
    share: taken.macs / last.macs,
    ms: model.exits[index].ms ?? null,
    savedMs: last.ms == null || model.exits[index].ms == null ? null : last.ms - model.exits[index].ms,
    fullLabel: full?.label ?? null,
    // Sets of classes, the rule for unknown images and the guarantee belong to the policy's own thresholds.
    unknown: !own && prediction.unknown === true,
    set: own ? null : prediction.prediction_set ?? null,
    promise: own ? "none" : prediction.promise,
  };
}

/** Over all shown answers: how many, their mean computation, and how many labels differ from the full network's. */
export function summary(answers) {
  const compared = answers.filter((each) => each.fullLabel !== null);
  return {
    images: answers.length,
    share: answers.reduce((sum, each) => sum + each.share, 0) / Math.max(1, answers.length),
    compared: compared.length,
    changed: compared.filter((each) => each.label !== each.fullLabel).length,
  };
}

/** What the slider shows for a policy: its threshold where all exits have the same, and otherwise their mean. */
export function policyThreshold(policy) {
  const finite = policy.thresholds.filter((each) => each !== null);
  if (!finite.length) return { value: NEVER, single: true };
  const single = finite.length === policy.thresholds.length && new Set(finite).size === 1;
  return { value: finite.reduce((a, b) => a + b, 0) / finite.length, single };
}
