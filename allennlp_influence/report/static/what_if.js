// What if these training examples were not there? A bar at the foot of the page sums it up.

import { byId, h } from "./dom.js";
import { confidenceAfter } from "./confidence.js";
import { plural, points, probability, signed } from "./format.js";
import { copy, download } from "./download.js";

/** The ticked training examples, on whatever page they were. */
const ticked = new Set();
let current = null;
let run = null;

/** A box that puts a training example among the ticked. */
export function tickBox(example, label) {
  const box = h("input", {
    type: "checkbox",
    "aria-label": `what if training example ${example.id} were removed`,
    "data-tick": example.index,
    onchange: () => {
      if (box.checked) ticked.add(example);
      else ticked.delete(example);
      for (const other of document.querySelectorAll(`[data-tick="${example.index}"]`)) other.checked = box.checked;
      update();
    },
  });
  box.checked = ticked.has(example);
  return h("label", { class: "tick", title: "what if it were removed?" }, box, h("span", { class: "rank" }, label));
}

/** Scores of the ticked ones that a prediction lists; they add up. */
export function summed(query, examples) {
  const listed = query.listed.filter(({ example }) => examples.has(example));
  const scores = new Map(listed.map(({ example, score }) => [example, score])); // one may stand on both sides
  return { count: scores.size, change: [...scores.values()].reduce((sum, score) => sum + score, 0) };
}

/** Another prediction is on the page. */
export function showFor(query, data) {
  current = query;
  run = data.run;
  update();
}

function update() {
  const bar = byId("what-if");
  bar.hidden = ticked.size === 0;
  if (bar.hidden) return;
  byId("what-if-sum").replaceChildren(...sum());
  const code = byId("what-if-command"); // a page without a result directory has none
  if (code) code.textContent = `${code.dataset.command} --retrain --remove ${ids().join(" ")}`;
}

function ids() {
  return [...ticked].map(({ id }) => id).sort((a, b) => a - b);
}

function sum() {
  const who = h("b", null, plural(ticked.size, "training example"));
  if (run.normalisation) return [who, ` ticked. Scores by ${run.normalisation} do not add up.`];
  const { count, change } = summed(current, ticked);
  const of = ticked.size === count ? "" : ` (the ${count} of them listed here)`;
  const before = current.confidence;
  const after = confidenceAfter(current.loss, change);
  return [
    "Without ",
    who,
    `${of}, confidence in “${current.explained}”${current.id === null ? "" : ` of prediction ${current.id}`} is predicted to go `,
    `from ${probability(before)} to `,
    h("b", { id: "what-if-after" }, probability(after)),
    ` (${points(after - before)}; loss ${signed(change)} nats).`,
  ];
}

/** Buttons of the bar. */
export function listen() {
  byId("what-if-clear").addEventListener("click", () => {
    ticked.clear();
    for (const box of document.querySelectorAll("[data-tick]")) box.checked = false;
    update();
  });
  byId("what-if-copy")?.addEventListener("click", ({ target }) => copy(byId("what-if-command").textContent, target));
  byId("what-if-ids").addEventListener("click", () => {
    download("training_ids.txt", "text/plain", ids().map((id) => `${id}\n`).join(""));
  });
}
