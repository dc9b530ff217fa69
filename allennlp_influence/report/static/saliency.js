// The words of an input in colour.

import { h } from "./dom.js";
import { saliency } from "./format.js";

/** The strongest word's score: the end of the scale. */
export function scaleOf(query) {
  const scores = query.texts.flatMap(({ parts }) => parts.map(([, score]) => Math.abs(score ?? 0)));
  return Math.max(0, ...scores);
}

/** A word on a colour that grows with its score; none at zero. */
export function coloured(part, score, scale, attributes) {
  if (!score || !scale) return h("span", attributes, part);
  return h(
    "span",
    { class: score > 0 ? "sup" : "opp", "--a": (Math.abs(score) / scale).toFixed(3), ...attributes },
    part,
  );
}

/** The texts with their words, a line that says the value of the word under the pointer, and the scale. */
export function saliencyOf(query) {
  const scale = scaleOf(query);
  const readout = h("span", { class: "readout" });
  const said = (part, score) => {
    const verb = score > 0 ? "supports" : score < 0 ? "opposes" : "is neutral to";
    readout.replaceChildren(h("bdi", null, part), ` ${saliency(score)}: ${verb} “${query.explained}”`);
  };
  const texts = query.texts.map(({ field, parts, unread }) =>
    h(
      "p",
      { class: "words", dir: "auto", tabindex: 0, role: "group", "aria-label": field },
      query.texts.length > 1 && h("span", { class: "field" }, field, " "),
      parts.map(([part, score]) =>
        score === null
          ? part
          : coloured(part, score, scale, {
              "data-word": part.toLowerCase(),
              onpointerenter: () => said(part, score),
              onpointerleave: () => readout.replaceChildren(),
            }),
      ),
      unread && h("span", { class: "unread" }, unread),
    ),
  );
  if (query.texts.some(({ unread }) => unread)) {
    texts.push(h("p", { class: "note" }, "What is struck through was cut off before the model read it."));
  }
  if (!query.hasSaliency) return [texts, h("p", { class: "note" }, "The words were not scored.")];
  return [texts, legend(query, scale, readout), table(query)];
}

function legend(query, scale, readout) {
  return h(
    "p",
    { class: "scale" },
    h("span", null, `opposes “${query.explained}”`),
    h("span", { class: "num" }, saliency(-scale)),
    h("span", { class: "ramp", "aria-hidden": "true" }),
    h("span", { class: "num" }, saliency(scale)),
    h("span", null, `supports “${query.explained}”`),
    readout,
  );
}

function table(query) {
  const rows = query.texts.flatMap(({ field, parts }) =>
    parts.filter(([, score]) => score !== null).map(([part, score]) => [field, part, score]),
  );
  const several = query.texts.length > 1;
  const head = ["Word", several && "In", "Saliency"].filter(Boolean);
  return h(
    "details",
    { class: "small" },
    h("summary", null, "The words as a table"),
    h(
      "table",
      null,
      h("thead", null, h("tr", null, head.map((name) => h("th", { scope: "col" }, name)))),
      h(
        "tbody",
        null,
        rows.map(([field, part, score]) =>
          h(
            "tr",
            null,
            h("td", null, h("bdi", null, part)),
            several && h("td", null, field),
            h("td", { class: "num" }, saliency(score)),
          ),
        ),
      ),
    ),
  );
}
