// Draws where the model looked for one person in one decoder layer: points, context and reference point.

import { element, shape } from "./elements.js";

/** The marks: name, explanation, and shape around (0, 0) at a size in pixels of the screen. */
export const MARKS = {
  sampling: {
    label: "sampling points: where it read the image (opaque: more weight)",
    draw: () => shape("circle", { class: "fill", r: 3.5 }),
  },
  reference: {
    label: "reference point: where it started",
    draw: () => shape("path", { class: "outline", d: "M-8 0H8M0-8V8" }),
  },
  spatial: {
    label: "context chosen by place (larger: more weight)",
    draw: (size) => shape("circle", { class: "outline", r: size }),
  },
  semantic: {
    label: "context chosen by content (larger: more weight)",
    draw: (size) => shape("rect", { class: "outline", x: -size, y: -size, width: 2 * size, height: 2 * size }),
  },
  all: {
    label: "context (larger: more weight)",
    draw: (size) => shape("path", { class: "outline", d: `M0 ${-size}L${size} 0L0 ${size}L${-size} 0Z` }),
  },
  beyond: {
    label: "sampling points of that context (those with the most weight)",
    draw: () => shape("path", { class: "fill", d: "M0 -4L4 3L-4 3Z" }),
  },
};

/** Shown until the user chooses otherwise. */
export const SHOWN_AT_FIRST = ["sampling", "reference", "spatial", "semantic", "all"];

/** A mark as a small symbol for the legend. */
export function symbolOf(kind) {
  const symbol = shape("svg", { class: "symbol", viewBox: "-10 -10 20 20", "aria-hidden": "true" });
  symbol.append(MARKS[kind].draw(6));
  return symbol;
}

/** The kinds of marks that occur in any layer of any of `people`. */
export function kindsIn(people) {
  const kinds = new Set(["sampling", "reference"]);
  for (const layer of people.flatMap(({ layers }) => layers)) {
    layer.context_relation.forEach((kind) => kinds.add(kind));
    if (layer.context_points.length) kinds.add("beyond");
  }
  return Object.keys(MARKS).filter((kind) => kinds.has(kind));
}

/** Replaces what is drawn in `svg` by `layer`, of which the kinds in `shown` are drawn. */
export function drawLookedAt(svg, layer, shown, color) {
  const marks = shape("g", { class: "marks" });
  marks.style.setProperty("--color", color);
  const place = (kind, [x, y], size, opacity) => {
    if (!shown.has(kind)) return;
    marks.append(shape("g", { class: `mark ${kind}`, transform: `translate(${x} ${y})`, opacity }, MARKS[kind].draw(size)));
  };
  const points = (kind, at, weights) => {
    const heaviest = Math.max(...weights, 1e-9);
    at.forEach((point, index) => place(kind, point, 0, (0.2 + 0.8 * Math.sqrt(weights[index] / heaviest)).toFixed(3)));
  };
  const heaviest = Math.max(...layer.context_weights, 1e-9);
  points("beyond", layer.context_sampling_points, layer.context_sampling_weights);
  layer.context_points.forEach((point, index) => {
    const share = Math.sqrt(layer.context_weights[index] / heaviest);
    place(layer.context_relation[index], point, 4 + 9 * share, 1);
  });
  points("sampling", layer.sampling_points, layer.sampling_weights);
  place("reference", layer.reference_point, 0, 1);
  svg.replaceChildren(marks);
}

/** How many of each mark, and how many of them lie outside the image. */
export function describe(layer, width, height) {
  const outside = layer.sampling_points.filter(([x, y]) => x < 0 || y < 0 || x > width || y > height).length;
  const beyond = outside ? ` (${outside} outside the image)` : "";
  const context = layer.context_points.length;
  const parts = [`${layer.sampling_points.length} sampling points${beyond}`];
  parts.push(context ? `${context} context queries` : "no context in this layer");
  return parts.join(", ");
}

/** The legend, whose entries switch marks on and off; `changed` is called with the kinds that are on. */
export function legend(fieldset, kinds, shown, changed) {
  const entries = kinds.map((kind) => {
    const box = element("input", { type: "checkbox", name: kind, checked: shown.has(kind) });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(kind);
      else shown.delete(kind);
      changed();
    });
    return element("label", {}, box, symbolOf(kind), MARKS[kind].label);
  });
  fieldset.replaceChildren(fieldset.querySelector("legend"), ...entries);
}
