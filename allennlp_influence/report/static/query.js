// One prediction: its words, its probabilities, and the training examples that carried it.

import { artifactsOf } from "./artifacts.js";
import { byId, h } from "./dom.js";
import { download, toCsv, toJson } from "./download.js";
import { examplesOf } from "./examples.js";
import { number, plural, probability } from "./format.js";
import { distribution } from "./histogram.js";
import { saliencyOf } from "./saliency.js";
import { showFor } from "./what_if.js";

const MOST_CLASSES = 6;

/** Puts a prediction on the page. */
export function showQuery(query, data) {
  const place = byId("query");
  place.replaceChildren(
    heading(query),
    h("div", { class: "card" }, saliencyOf(query), result(query, data)),
    examplesSection(query, data),
  );
  connect(place);
  showFor(query, data);
}

function heading(query) {
  const button = (name, type, make) =>
    h("button", { type: "button", onclick: () => download(`prediction-${query.id}.${name}`, type, make([query])) }, name.toUpperCase());
  return h(
    "header",
    null,
    h("a", { class: "back", href: "#predictions" }, "← all predictions"),
    h("h2", { tabindex: -1, id: "query-title" }, h("a", { href: `#query-${query.id}`, title: "link to this prediction" }, `Prediction ${query.id}`)),
    h("span", { class: `badge ${query.outcome.split(" ")[0]}` }, query.outcome),
    h(
      "span",
      { class: "tools" },
      h("button", { type: "button", "data-step": -1, title: "previous (k)" }, "← previous"),
      h("button", { type: "button", "data-step": 1, title: "next (j)" }, "next →"),
      button("csv", "text/csv", toCsv),
      button("json", "application/json", toJson),
    ),
  );
}

function fact(name, value) {
  return h("div", null, h("dt", null, name), h("dd", null, value));
}

/** The labels, the loss and the probabilities of a prediction. */
export function result(query, data) {
  const classes = query.probabilities.map((p, i) => [data.labels[i], p]).sort((a, b) => b[1] - a[1]);
  const more = classes.length - MOST_CLASSES;
  return h(
    "div",
    { class: "result" },
    h(
      "dl",
      { class: "facts" },
      query.id !== null && fact("Gold", query.gold ?? "none"), // a text that was just typed has none
      fact("Predicted", query.predicted),
      fact("Explained", query.explained),
      fact("Loss of it", `${number(query.loss)} nats`),
      Object.entries(query.columns).map(([name, value]) => fact(name, h("bdi", null, value))),
    ),
    h(
      "ul",
      { class: "classes", "aria-label": "Probabilities" },
      classes.slice(0, MOST_CLASSES).map(([label, p]) =>
        h(
          "li",
          null,
          h("span", { class: "name" }, h("bdi", null, label)),
          h("span", { class: "track", "aria-hidden": "true" }, h("i", { "--share": p })),
          h("span", { class: "num" }, probability(p)),
        ),
      ),
      more > 0 && h("li", null, h("span", { class: "note" }, `${plural(more, "label")} more, less probable`)),
    ),
  );
}

function examplesSection(query, data) {
  const scrollTo = ({ example }) => {
    const item = byId("query").querySelector(`li[data-example="${example.index}"]`);
    item.closest("details")?.setAttribute("open", "");
    item.scrollIntoView({ block: "center" });
    item.querySelector("input").focus();
  };
  return h(
    "div",
    null,
    h("h3", { class: "wide" }, "Which training examples carried it"),
    h("p", { class: query.converged ? "note" : "warning" }, query.diagnosis),
    distribution(query, data, scrollTo),
    examplesOf(query, data),
    artifactsOf(query, data),
  );
}

/** What the pointer is on shows up wherever it stands: a word in the training examples, an example in the drawing. */
export function connect(place) {
  place.onpointerover = place.onfocusin = ({ target }) => {
    for (const other of place.querySelectorAll(".hot")) other.classList.remove("hot");
    const [name, owner] = target.closest("[data-word]")
      ? ["word", target.closest("[data-word]")]
      : ["example", target.closest("[data-example]")];
    if (!owner) return;
    const same = (other) => other.dataset[name] === owner.dataset[name];
    for (const other of [...place.querySelectorAll(`[data-${name}]`)].filter(same)) other.classList.add("hot");
  };
}
