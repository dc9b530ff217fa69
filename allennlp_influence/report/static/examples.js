// The training examples that carried a prediction: two columns on one axis.

import { foldable, h } from "./dom.js";
import { changeOfConfidence } from "./confidence.js";
import { number, percent, plural, points, probability, signed, zValue } from "./format.js";
import { coloured } from "./saliency.js";
import { tickBox } from "./what_if.js";
import { grouped, partsOf } from "./words.js";

const SIDES = [
  ["supporters", "Supporting", "falls"],
  ["opponents", "Opposing", "rises"],
];

/** What a bar is long by: the change of confidence, or a score that is not in nats. */
export function valueOf(query, item, data) {
  return data.run.normalisation ? item.score : changeOfConfidence(query.loss, item.score);
}

/** Both columns of a prediction. */
export function examplesOf(query, data) {
  const values = query.listed.map((item) => Math.abs(valueOf(query, item, data)));
  const widest = Math.max(0, ...values);
  return [
    attributionLegend(query),
    h(
      "div",
      { class: "columns" },
      SIDES.map(([side, heading, verb]) => column(query, data, side, heading, verb, widest)),
    ),
  ];
}

function column(query, data, side, heading, verb, widest) {
  const items = query[side];
  const groups = grouped(items, (item) => item.example.words);
  const wrongSide = items.length && (side === "supporters" ? items[0].score <= 0 : items[0].score >= 0);
  const end = data.run.normalisation ? signed(widest) : points(widest).replace("+", "");
  return h(
    "section",
    { class: side, "aria-label": `${heading} training examples` },
    h("h3", null, heading),
    h(
      "p",
      { class: "note" },
      data.run.normalisation
        ? `Scores relative to each example's own strength (${data.run.normalisation}).`
        : `Without it, confidence in “${query.explained}” ${verb}.`,
    ),
    h("p", { class: "axis", "aria-hidden": "true" }, h("span", null, "0"), h("span", null, end)),
    wrongSide ? h("p", { class: "note" }, `No training example is ${heading.toLowerCase()}; these come nearest.`) : null,
    h(
      "ol",
      null,
      groups.map(([head, ...others]) =>
        item(query, data, head, widest, others.length ? duplicates(query, data, others, widest) : null),
      ),
    ),
  );
}

function duplicates(query, data, others, widest) {
  const sum = others.reduce((total, { score }) => total + score, 0);
  return h(
    "details",
    { class: "duplicates" },
    h("summary", null, `${plural(others.length, "near-duplicate")}, together ${signed(sum)}`),
    h("ol", null, others.map((other) => item(query, data, other, widest, null))),
  );
}

function item(query, data, entry, widest, more) {
  const { example, score } = entry;
  const value = valueOf(query, entry, data);
  const sign = score > 0 ? "sup" : "opp";
  return h(
    "li",
    { "data-example": example.index },
    h("div", { class: "bar", "aria-hidden": "true" }, h("i", { class: sign, "--share": widest ? Math.abs(value) / widest : 0 })),
    h(
      "div",
      { class: "meta" },
      tickBox(example, `${entry.rank}`),
      h("span", { class: "label" }, h("span", null, "gold "), example.label),
      model(example),
      suspicion(example, data),
      h("span", { class: "num delta" }, data.run.normalisation ? signed(score) : points(value)),
    ),
    example.texts.map((text, i) =>
      exampleText(query, text, example.texts.length > 1 ? data.fields[i] : null, entry.tokens?.[i] ?? []),
    ),
    h(
      "p",
      { class: "source" },
      `training example ${example.id} · z ${zValue(entry.z)} · score ${signed(score)}${data.run.normalisation ? "" : " nats"} · its loss ${number(example.loss)}`,
    ),
    more,
  );
}

/** What the model itself says of a training example. */
export function model(example) {
  const wrong = example.predicted !== example.label;
  return h(
    "span",
    { class: wrong ? "model wrong" : "model", title: "the model's own prediction on this training example" },
    `${wrong ? `model: ${example.predicted}` : "model agrees"} (${probability(example.p)})`,
  );
}

/** A flag on an example whose label is doubtful. */
export function suspicion(example, data) {
  if (!example.isSuspect) return null;
  const title = `${data.run.suspicion} above ${percent(example.percentile)} of the training examples`;
  return h("span", { class: "flag", title }, "label suspect?", h("span", { class: "sr-only" }, ` ${title}`));
}

/** A text with the words underlined that the query shares, on the colours of what each adds to the example's score. */
function exampleText(query, text, field, spans) {
  const shared = (part) =>
    partsOf(part).map(([word, folded]) =>
      folded !== null && query.words.has(folded) ? h("u", { "data-word": folded }, word) : word,
    );
  const scale = attributionScale(query);
  const render = (beginning) => {
    const parts = [];
    let end = 0;
    for (let i = 0; i < spans.length && spans[i] < beginning.length; i += 3) {
      const [from, to, score] = spans.slice(i, i + 3);
      const title = `${signed(score)} of the score`;
      parts.push(shared(beginning.slice(end, from)), coloured(shared(beginning.slice(from, to)), score, scale, { title }));
      end = to;
    }
    return [parts, shared(beginning.slice(end))];
  };
  const prefix = field && h("span", { class: "field" }, field, " ");
  return h("p", { class: "text", dir: "auto" }, prefix, foldable(text, render));
}

/** The strongest word of all listed training examples; 0 if their words were not scored. */
function attributionScale(query) {
  const scores = query.listed.flatMap(({ tokens }) => (tokens ?? []).flat().filter((_, i) => i % 3 === 2));
  return scores.reduce((most, score) => Math.max(most, Math.abs(score)), 0);
}

function attributionLegend(query) {
  const scale = attributionScale(query);
  if (!scale) return null;
  return h(
    "p",
    { class: "scale attribution" },
    "What each word adds to its example's score:",
    h("span", { class: "num" }, signed(-scale)),
    h("span", { class: "ramp", "aria-hidden": "true" }),
    h("span", { class: "num" }, `${signed(scale)} nats`),
  );
}
