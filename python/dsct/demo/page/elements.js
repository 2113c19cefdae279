// Builds elements. Text only ever becomes text: whatever a file is called, it cannot become part of the page.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element with properties (`className`, `textContent`, …) and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** An SVG element with attributes and children. */
export function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Black or white, whichever reads better on `color` (#RRGGBB; Rec. 709 luma). */
export function inkOn(color) {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16) / 255);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.4 ? "#000" : "#fff";
}
