// The image with boxes and tags as a file, as `dsct predict --annotate` draws it.

import { inkOn } from "./elements.js";
import { reported } from "./people.js";

const DARK = "#1a1a1a";
const LINES_PER_IMAGE = 30;
const LEAST_TEXT = 11; // pixels

/** Draws the people of an answer onto the image that the page shows; gives a PNG. */
export function drawAnnotated(image, { width, people }, colors) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.naturalWidth, height: image.naturalHeight });
  const draw = canvas.getContext("2d");
  draw.drawImage(image, 0, 0);
  const scale = image.naturalWidth / width; // the page shows large images smaller
  const size = Math.max(Math.min(canvas.width, canvas.height) / LINES_PER_IMAGE, LEAST_TEXT);
  people.forEach((person, index) => box(draw, corners(person, scale), Math.max(Math.round(size / 5), 2), colors[index % colors.length]));
  people.forEach((person, index) => tag(draw, canvas, corners(person, scale), size, index, person, colors[index % colors.length]));
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const corners = (person, scale) => person.box.map((value) => Math.round(value * scale)); // sharp edges

function box(draw, [x1, y1, x2, y2], line, color) {
  // A dark outline keeps light colours readable on light images.
  for (const [style, wide] of [[DARK, line + 2], [color, line]]) {
    draw.strokeStyle = style;
    draw.lineWidth = wide;
    draw.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
}

/** Above the box if there is room, else inside it; within the image. */
function tag(draw, canvas, [x1, y1], size, index, person, color) {
  const [first, ...more] = reported(person);
  const parts = [index + 1, first, first && person.probabilities[first].toFixed(2), more.length && `+${more.length}`];
  const text = parts.filter(Boolean).join(" ");
  draw.font = `bold ${size}px sans-serif`;
  const pad = size / 4;
  const wide = draw.measureText(text).width + 2 * pad;
  const high = 1.3 * size;
  const left = Math.max(Math.min(x1, canvas.width - wide), 0);
  const top = y1 >= high ? y1 - high : Math.max(Math.min(y1, canvas.height - high), 0);
  draw.fillStyle = color;
  draw.fillRect(left, top, wide, high);
  draw.fillStyle = inkOn(color);
  draw.textBaseline = "middle";
  draw.fillText(text, left + pad, top + high / 2);
}
