// Tokens in colour for AllenNLP's own interpreters, whose numbers have no sign.

import { h } from "./dom.js";
import { number } from "./format.js";
import { coloured } from "./saliency.js";
import { visible } from "./visible.js";

/** The tokens of a signed answer with the numbers of one of AllenNLP's, which come with the last text field first. */
export function tokensOf(answer, unsigned) {
  const keys = Object.keys(unsigned).sort((a, b) => Number(b.split("_").pop()) - Number(a.split("_").pop()));
  const scores = keys.flatMap((key) => unsigned[key]);
  const scale = Math.max(0, ...scores);
  return [
    h(
      "p",
      { class: "words", dir: "auto", tabindex: 0, role: "group", "aria-label": "tokens" },
      answer.tokens.map((token, i) => [coloured(visible(token), scores[i], scale, { title: number(scores[i]) }), " "]),
    ),
    h(
      "p",
      { class: "scale" },
      h("span", { class: "num" }, "0"),
      h("span", { class: "ramp unsigned", "aria-hidden": "true" }),
      h("span", { class: "num" }, number(scale)),
      h("span", null, `matters to “${visible(answer.predicted)}”`),
    ),
  ];
}
