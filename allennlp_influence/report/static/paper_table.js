// The paper's Table 5: an input with its words, and the training examples at either end. For print.

import { byId, h } from "./dom.js";
import { probability, zValue } from "./format.js";
import { coloured, scaleOf } from "./saliency.js";

/** The table of the predictions that the list shows. */
export function showPaperTable(data, queries) {
  const each = Number(byId("table-5-each").value);
  byId("table-5-count").textContent = `${queries.length} of ${data.queries.length}`;
  byId("table-5-place").replaceChildren(...queries.map((query) => block(query, each)));
}

function block(query, each) {
  const scale = scaleOf(query);
  const rows = (name, items) =>
    items.slice(0, each).map(({ example, z }, i) =>
      h(
        "tr",
        null,
        i === 0 && h("th", { scope: "rowgroup", rowspan: Math.min(each, items.length) }, name),
        h("td", { dir: "auto" }, example.texts.join(" ‖ ")),
        h("td", null, example.label),
        h("td", { class: "num" }, zValue(z)),
      ),
    );
  return h(
    "table",
    { class: "paper" },
    h(
      "caption",
      null,
      query.texts.map(({ parts, unread }, i) => [
        i ? " ‖ " : "",
        h("bdi", null, parts.map(([part, score]) => coloured(part, score, scale)), unread),
      ]),
      h("br"),
      h(
        "span",
        { class: "note" },
        `Prediction ${query.id}: ${query.predicted} (${probability(query.probabilities[query.predictedIndex])})`,
        query.gold === null ? "" : `, gold ${query.gold}`,
        query.explained === query.predicted ? "" : `, explained ${query.explained}`,
      ),
    ),
    h("thead", null, h("tr", null, ["", "Training example", "Label", "z"].map((name) => h("th", { scope: "col", class: name === "z" && "num" }, name)))),
    h("tbody", null, rows("supporting", query.supporters), rows("opposing", query.opponents)),
  );
}
