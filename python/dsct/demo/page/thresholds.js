// Who is shown and which emotions are reported: as the model says until a threshold is moved.

const byId = (id) => document.getElementById(id);
const [least, leastValue, above, aboveLabel, aboveValue, reset] = [
  "least", "least-value", "above", "above-label", "above-value", "reset",
].map(byId);

// null: as the model says. They hold for the next image, too.
let leastScore = null;
let aboveProbability = null;
let changed = () => {};

/** The people of an answer who are shown, with the emotions that are reported. */
export function chosenPeople({ people }, { score_threshold }) {
  const limit = leastScore ?? score_threshold ?? -Infinity;
  const shown = people.filter(({ score }) => score >= limit);
  if (aboveProbability === null) return shown;
  return shown.map((person) => ({
    ...person,
    labels: Object.keys(person.probabilities).filter((name) => person.probabilities[name] > aboveProbability),
  }));
}

/** Sets the controls for an answer; `show` is called after each change. */
export function offerThresholds({ people }, about, show) {
  const scores = people.map(({ score }) => score);
  const usual = about.score_threshold ?? Math.min(0, ...scores);
  least.min = String(Math.min(0, ...scores));
  least.max = String(Math.max(...scores, usual));
  least.step = "any";
  least.value = String(leastScore ?? usual);
  above.value = String(aboveProbability ?? 0.5);
  aboveLabel.hidden = !about.multi_label;
  changed = () => {
    say();
    show();
  };
  const say = () => {
    leastValue.textContent = (leastScore ?? usual).toFixed(3);
    aboveValue.textContent = aboveProbability === null ? "as stored" : aboveProbability.toFixed(2);
    reset.disabled = leastScore === null && aboveProbability === null;
  };
  reset.onclick = () => {
    leastScore = aboveProbability = null;
    least.value = String(usual);
    above.value = "0.5";
    changed();
  };
  say();
}

/** The thresholds that the user has moved, by the names that `dsct.predict` has for them. */
export function thresholdsChanged() {
  return {
    ...(leastScore === null ? {} : { score_threshold: leastScore }),
    ...(aboveProbability === null ? {} : { threshold: aboveProbability }),
  };
}

least.addEventListener("input", () => {
  leastScore = Number(least.value);
  changed();
});
above.addEventListener("input", () => {
  aboveProbability = Number(above.value);
  changed();
});
