// Shows the people in an image: a box and a card each, which are highlighted together.

import { element, inkOn } from "./elements.js";
import { SHOWN_AT_FIRST, describe, drawLookedAt, kindsIn, legend } from "./looked_at.js";

const BORDERS = ["solid", "dashed", "dotted"]; // tell a second and a third round of colours apart
const EMOTIONS_AT_FIRST = 7;
const pointer = matchMedia("(hover: hover) and (pointer: fine)"); // a mouse, so that there is a keyboard, too
const hint = () =>
  pointer.matches
    ? "Point at a person to see where the model looked. Click to keep it selected, Escape to clear."
    : "Tap a person to see where the model looked. Tap elsewhere to clear the selection.";

const byId = (id) => document.getElementById(id);
const [view, image, svg, boxes] = ["view", "image", "looked-at", "boxes"].map(byId);
const [caption, layers, marks, meaning, cards] = ["caption", "layers", "marks", "meaning", "cards"].map(byId);

const shown = new Set(SHOWN_AT_FIRST);
let people = [];
let size = { width: 1, height: 1 };
let colors = ["#000000"];
let hovered = null;
let kept = null;
let layerFromEnd = 0; // the last layer, whatever their number

const percent = (value) => (value > 0 && value < 0.005 ? "<1 %" : `${Math.round(100 * value)} %`);
const colorOf = (index) => colors[index % colors.length];

/** Names of the reported emotions of a person, most probable first. */
export const reported = ({ labels, probabilities }) => [...labels].sort((a, b) => probabilities[b] - probabilities[a]);

/** Shows an answer of the server in place of the previous one. */
export function showPeople(answer, personColors) {
  ({ people } = answer);
  size = { width: answer.width, height: answer.height };
  colors = personColors;
  hovered = kept = null;
  image.src = answer.preview;
  image.width = answer.width;
  image.height = answer.height;
  view.style.setProperty("--aspect", String(size.width / size.height));
  svg.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  boxes.replaceChildren(...people.map(box));
  cards.replaceChildren(...people.map(card));
  for (const part of [layers, marks, meaning]) part.hidden = people.length === 0;
  if (people.length) {
    legend(marks, kindsIn(people), shown, refresh);
    layerChoice(people[0].layers.length);
  }
  refresh();
}

function box(person, index) {
  const [x1, y1, x2, y2] = person.box;
  const { width, height } = size;
  const [first, ...more] = reported(person);
  const tag = [index + 1, first, more.length ? `+${more.length}` : null].filter((part) => part != null).join(" ");
  const made = element("button", { type: "button", className: "box" }, element("span", { className: "tag", textContent: tag }));
  made.setAttribute("aria-label", `Person ${index + 1}: ${reported(person).join(", ") || "no emotion reported"}`);
  made.classList.add(BORDERS[Math.floor(index / colors.length) % BORDERS.length]);
  made.classList.toggle("low", y1 < 0.08 * height);
  made.classList.toggle("end", x1 + x2 > 1.3 * width);
  Object.assign(made.style, {
    left: `${(100 * x1) / width}%`,
    top: `${(100 * y1) / height}%`,
    width: `${(100 * (x2 - x1)) / width}%`,
    height: `${(100 * (y2 - y1)) / height}%`,
    zIndex: String(1 + people.filter((other) => area(other) > area(person)).length), // small ones stay reachable
  });
  return highlighting(made, index);
}

const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);

function card(person, index) {
  const names = reported(person);
  const rest = Object.keys(person.probabilities).filter((name) => !names.includes(name));
  rest.sort((a, b) => person.probabilities[b] - person.probabilities[a]);
  const rows = [...names, ...rest].map((name) => emotion(name, person.probabilities[name], names.includes(name)));
  const atFirst = Math.max(EMOTIONS_AT_FIRST, names.length);
  const made = element(
    "li",
    { className: "card", tabIndex: 0 },
    element(
      "h3",
      {},
      element("span", { className: "chip", textContent: index + 1 }),
      element("span", { className: "names", textContent: names.join(", ") || "no emotion above its threshold" }),
    ),
    element("p", { className: "score", textContent: `person score ${person.score.toFixed(3)}` }),
    element("ul", { className: "emotions" }, ...rows.slice(0, atFirst)),
  );
  if (rows.length > atFirst) {
    const more = element("ul", { className: "emotions" }, ...rows.slice(atFirst));
    made.append(element("details", {}, element("summary", { textContent: `${rows.length - atFirst} more` }), more));
  }
  return highlighting(made, index);
}

function emotion(name, probability, isReported) {
  const length = element("span");
  length.style.width = `${100 * probability}%`;
  const label = element("span", { textContent: name });
  if (isReported) label.append(element("span", { className: "unseen", textContent: " (reported)" }));
  return element(
    "li",
    { className: isReported ? "reported" : "" },
    label,
    element("div", { className: "bar", ariaHidden: "true" }, length),
    element("span", { className: "number", textContent: percent(probability) }),
  );
}

/** Makes a box or a card highlight its person: while pointed at, or kept after a click or keyboard focus. */
function highlighting(made, index) {
  made.style.setProperty("--color", colorOf(index));
  made.style.setProperty("--on-color", inkOn(colorOf(index)));
  made.addEventListener("pointerenter", () => refresh((hovered = index)));
  made.addEventListener("pointerleave", () => refresh((hovered = null)));
  made.addEventListener("focusin", () => refresh((kept = index)));
  made.addEventListener("click", () => refresh((kept = index)));
  return made;
}

function layerChoice(count) {
  const entries = Array.from({ length: count }, (_, index) => {
    const fromEnd = count - 1 - index;
    const radio = element("input", { type: "radio", name: "layer", value: String(index + 1) });
    radio.checked = fromEnd === Math.min(layerFromEnd, count - 1);
    radio.addEventListener("change", () => refresh((layerFromEnd = fromEnd)));
    return element("label", {}, radio, fromEnd ? String(index + 1) : `${index + 1} (last)`);
  });
  layers.replaceChildren(layers.querySelector("legend"), ...entries);
}

/** Draws the state: who is highlighted, and where the model looked for them. */
function refresh() {
  const active = hovered ?? kept;
  view.classList.toggle("active", active !== null);
  for (const list of [boxes, cards]) {
    [...list.children].forEach((child, index) => child.classList.toggle("active", index === active));
  }
  if (active === null) {
    svg.replaceChildren();
    caption.textContent = people.length ? hint() : "Nobody was found in this image.";
    return;
  }
  const all = people[active].layers;
  const layer = all[Math.max(0, all.length - 1 - layerFromEnd)];
  drawLookedAt(svg, layer, shown, colorOf(active));
  caption.textContent = `Person ${active + 1}: ${describe(layer, size.width, size.height)}`;
}

function clearSelection() {
  hovered = kept = null;
  if (boxes.contains(document.activeElement) || cards.contains(document.activeElement)) document.activeElement.blur();
  refresh();
}

pointer.addEventListener("change", refresh);
document.addEventListener("keydown", (event) => event.key === "Escape" && clearSelection());
view.addEventListener("click", (event) => boxes.contains(event.target) || clearSelection());

// Marks keep their size on the screen, whatever the size of the image.
new ResizeObserver(() => {
  if (image.clientWidth) svg.style.setProperty("--pixel", String(size.width / image.clientWidth));
}).observe(image);
