// Files from what is on the page.

import { changeOfConfidence } from "./confidence.js";
import { announce, h } from "./dom.js";

/** Hands a file to the browser. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

/** Puts a text on the clipboard, and says whether that went well. */
export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    button.textContent = "not allowed here: copy it by hand";
  }
  announce(button.textContent);
  setTimeout(() => (button.textContent = before), 2000);
}

const COLUMNS = [
  "query", "gold", "predicted", "explained", "confidence", "loss", "side", "rank", "training_example", "score", "z",
  "change_of_confidence", "label", "model_predicts", "training_loss", "self_influence", "text",
];

/** A row for every listed training example of every one of these predictions. */
export function toCsv(queries) {
  const rows = queries.flatMap((query) =>
    ["supporters", "opponents"].flatMap((side) =>
      query[side].map(({ example, rank, score, z }) => [
        query.id, query.gold, query.predicted, query.explained, query.confidence, query.loss, side, rank, example.id,
        score, z, changeOfConfidence(query.loss, score), example.label, example.predicted, example.loss,
        example.selfInfluence, example.texts.join(" ‖ "),
      ]),
    ),
  );
  return [COLUMNS, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** A cell that no spreadsheet takes for a formula. */
export function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The same with its structure. */
export function toJson(queries) {
  const content = queries.map((query) => ({
    id: query.id,
    text: Object.fromEntries(query.texts.map(({ field, parts, unread }) => [field, parts.map(([part]) => part).join("") + unread])),
    gold: query.gold,
    predicted: query.predicted,
    explained: query.explained,
    confidence: query.confidence,
    loss: query.loss,
    saliency: query.hasSaliency
      ? query.texts.flatMap(({ field, parts }) =>
          parts.filter(([, score]) => score !== null).map(([word, score]) => ({ field, word, score })))
      : null,
    ...Object.fromEntries(["supporters", "opponents"].map((side) => [side, query[side].map(listed)])),
  }));
  return `${JSON.stringify(content, null, 2)}\n`;
}

function listed({ example, rank, score, z }) {
  const { id, texts, label, predicted, loss, selfInfluence } = example;
  return { rank, id, score, z, label, predicted, loss, self_influence: selfInfluence, text: texts };
}
