// Tables of training examples over all predictions: likely label errors, and hubs.

import { byId, foldable, h } from "./dom.js";
import { model, suspicion } from "./examples.js";
import { number, percent } from "./format.js";
import { tickBox } from "./what_if.js";

const LINKS = 5;

/** The training examples whose label is most doubtful. */
export function showLabelErrors(data) {
  const measure = data.run.suspicion;
  const examples = data.labelErrors.map((index) => data.examples[index]);
  const only = byId("only-disagreeing");
  const fill = () => {
    const shown = only.checked ? examples.filter(({ label, predicted }) => label !== predicted) : examples;
    byId("label-error-table").replaceChildren(
      table(
        ["", "Gold", "Model", "Text", measure, "Above", "Listed by"],
        shown.map((example, i) => [
          tickBox(example, `${i + 1}`),
          example.label,
          [model(example), " ", suspicion(example, data)],
          texts(example),
          number(data.run.suspicion === "loss" ? example.loss : example.selfInfluence),
          percent(example.percentile),
          links(example),
        ]),
      ),
    );
  };
  only.addEventListener("change", fill);
  fill();
}

/** The training examples that influence everything. */
export function showHubs(data) {
  byId("hub-table").replaceChildren(
    table(
      ["", "Gold", "Model", "Text", "RMS z", "Supports", "Opposes", "Listed by"],
      data.hubs.map(([index, rms, supports, opposes], i) => {
        const example = data.examples[index];
        return [
          tickBox(example, `${i + 1}`),
          example.label,
          [model(example), " ", suspicion(example, data)],
          texts(example),
          number(rms, 3),
          percent(supports),
          percent(opposes),
          links(example),
        ];
      }),
    ),
  );
}

function texts(example) {
  return example.texts.map((text) => h("p", { class: "text", dir: "auto" }, foldable(text, (part) => part, 300)));
}

function links(example) {
  if (!example.listedBy.length) return "none";
  const queries = [...new Set(example.listedBy.map(({ query }) => query))];
  const shown = queries.slice(0, LINKS).map((query, i) => [i ? ", " : "", h("a", { href: `#query-${query.id}` }, `${query.id}`)]);
  return [`${queries.length}: `, shown, queries.length > LINKS ? ", …" : ""];
}

function table(head, rows) {
  const numeric = new Set(["RMS z", "Supports", "Opposes", "loss", "self-influence", "Above"]);
  const kind = (i) => (numeric.has(head[i]) ? { class: "num" } : null);
  return h(
    "table",
    { class: "examples" },
    h("thead", null, h("tr", null, head.map((name, i) => h("th", { scope: "col", ...kind(i) }, name || h("span", { class: "sr-only" }, "What if"))))),
    h("tbody", null, rows.map((row) => h("tr", null, row.map((content, i) => h("td", { "data-name": head[i], ...kind(i) }, content))))),
  );
}
