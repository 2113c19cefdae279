// Takes images (chosen, dropped, pasted or synthetic), sends them to the server and shows the answer.

import { drawAnnotated } from "./annotated.js";
import { offerCamera } from "./camera.js";
import { element } from "./elements.js";
import { showPeople } from "./people.js";
import { chosenPeople, offerThresholds, thresholdsChanged } from "./thresholds.js";

const byId = (id) => document.getElementById(id);
const [status, error, result, file, scenes] = ["status", "error", "result", "file", "scenes"].map(byId);
const downloads = ["download", "download-image"].map(byId);
const GONE = "dsct demo does not answer; is it still running in its terminal?";

let about = null;
let request = new AbortController(); // of the current image
let answer = null;

class Refused extends Error {}

async function start() {
  about = await fetched("/api/about");
  byId("note").textContent = about.note ?? "";
  byId("note").hidden = !about.note;
  byId("model").textContent = `Model: ${about.model}`;
  byId("limits").textContent = `up to ${about.max_bytes / 1e6} MB and ${about.max_pixels / 1e6} megapixels`;
  const buttons = about.scenes.map(({ url, title }, index) => {
    const button = element("button", { type: "button", title }, element("img", { src: url, alt: `Synthetic scene: ${title}` }));
    button.addEventListener("click", () => lookAtScene(index, button));
    return button;
  });
  scenes.append(...buttons.map((button) => element("li", {}, button)));
  // Something to see at once, unless somebody was faster.
  if (answer === null && !status.textContent) lookAtScene(0, buttons[0], false);
}

function lookAtScene(index, button, scrolls = true) {
  look(`synthetic scene ${index + 1}`, () => fetchedBlob(about.scenes[index].url), button, scrolls);
}

/** Shows the people in an image; `read` gives its bytes, `button` is the synthetic scene it came from. */
async function look(name, read, button = null, scrolls = true) {
  request.abort();
  const mine = (request = new AbortController());
  error.hidden = true;
  status.textContent = `Looking at ${name} …`;
  setBusy(true);
  for (const other of scenes.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
  try {
    const body = await read();
    const found = await fetched("/api/people?everyone=1", { method: "POST", body, signal: mine.signal });
    if (mine !== request) return;
    answer = { image: name, ...found };
    result.hidden = false;
    offerThresholds(answer, about, show);
    show();
    // Only where it would not be seen, as on a phone: the scenes stay under the pointer, to try one after another.
    if (scrolls && result.getBoundingClientRect().top > 0.6 * innerHeight) status.scrollIntoView();
  } catch (problem) {
    if (mine !== request) return;
    result.hidden = true;
    status.textContent = "";
    fail(problem instanceof Refused ? `${name}: ${problem.message}` : GONE);
  }
  setBusy(false);
}

/** While the model looks at an image, what can be seen and downloaded is of the previous one. */
function setBusy(busy) {
  status.classList.toggle("busy", busy);
  result.setAttribute("aria-busy", String(busy));
  for (const button of downloads) button.disabled = busy;
}

/** Shows those people of the answer who pass the thresholds. */
function show() {
  const shown = chosen();
  showPeople(shown, about.colors);
  status.textContent = `${shown.image} (${shown.width} x ${shown.height}): ${count(shown.people.length)}`;
}

const chosen = () => ({ ...answer, people: chosenPeople(answer, about) });

function fail(sentence) {
  error.textContent = sentence;
  error.hidden = false;
  error.scrollIntoView({ block: "nearest" }); // on a small phone it is below the scenes
}

const count = (number) => (number === 1 ? "1 person found" : `${number || "nobody"} ${number ? "people " : ""}found`);

/** The JSON at an address; an error of the server is thrown with its message. */
async function fetched(url, options) {
  const response = await fetch(url, options);
  const content = await response.json();
  if (!response.ok) throw new Refused(content.error);
  return content;
}

const fetchedBlob = async (url) => (await fetch(url)).blob();

/** Looks at the first file of several. */
function take(files, source) {
  if (!files.length) {
    fail(`There is no image file in what was ${source}.`);
    return;
  }
  const [first] = files;
  const name = files.length > 1 ? `${first.name} (the first of ${files.length} files)` : first.name;
  look(name, async () => {
    // The server refuses it too, but a browser that is still sending does not receive the reason.
    if (first.size > about.max_bytes) {
      const size = (first.size / 1e6).toFixed(1);
      throw new Refused(`This file is too large: the limit is ${about.max_bytes / 1e6} MB, this one has ${size} MB.`);
    }
    try {
      return await first.arrayBuffer();
    } catch {
      throw new Refused("This file cannot be read. Is it a folder?");
    }
  });
}

file.addEventListener("change", () => {
  take([...file.files], "chosen");
  file.value = ""; // so that the same file can be chosen again
});
document.addEventListener("paste", (event) => take([...event.clipboardData.files], "pasted"));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take([...event.dataTransfer.files], "dropped");
});

offerCamera((photo) => look("photo", () => photo), fail);

byId("download").addEventListener("click", () => {
  const { preview, ...numbers } = { ...chosen(), ...thresholdsChanged() };
  download(new Blob([JSON.stringify(numbers, null, 2)], { type: "application/json" }), ".json");
});
byId("download-image").addEventListener("click", async () => {
  download(await drawAnnotated(byId("image"), chosen(), about.colors), ".people.png");
});

/** Saves a file under the name of the image with another ending. */
function download(content, ending) {
  const url = URL.createObjectURL(content);
  element("a", { href: url, download: answer.image.replace(/\.[^.]*$/, "") + ending }).click();
  URL.revokeObjectURL(url);
}

start().catch(() => fail(GONE));
