// The list of predictions: search, filter, sort, and one that is chosen.

import { announce, byId, h } from "./dom.js";
import { percent, plural, probability } from "./format.js";

const ORDERS = {
  "as given": () => 0,
  "highest loss": (a, b) => b.loss - a.loss,
  "lowest loss": (a, b) => a.loss - b.loss,
  "least confident": (a, b) => a.confidence - b.confidence,
  "most confident": (a, b) => b.confidence - a.confidence,
  "influence most concentrated": (a, b) => b.mass.positive - a.mass.positive,
  "influence least concentrated": (a, b) => a.mass.positive - b.mass.positive,
};

/** The predictions that pass, in order. */
export function chosen(queries, { search, outcome, label, order }) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = (query) =>
    (outcome === "all" || query.outcome === outcome) &&
    (label === "" || query.predicted === label) &&
    words.every((word) => query.summary.toLowerCase().includes(word) || String(query.id) === word);
  return queries.filter(passes).sort(ORDERS[order]); // the sort is stable
}

/** The list beside the prediction. */
export class QueryList {
  constructor(data, open) {
    this.data = data;
    this.open = open;
    this.form = byId("filter");
    for (const order of Object.keys(ORDERS)) this.form.elements.order.append(h("option", null, order));
    for (const label of data.labels) this.form.elements.label.append(h("option", { value: label }, label));
    this.rows = new Map(data.queries.map((query) => [query, this.row(query)]));
    for (const kind of ["input", "change"]) this.form.addEventListener(kind, () => this.update());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    byId("queries").addEventListener("keydown", (event) => this.onKey(event));
    this.update();
  }

  row(query) {
    return h(
      "li",
      null,
      h(
        "a",
        { href: `#query-${query.id}`, class: query.outcome.split(" ")[0], tabindex: -1 },
        h("span", { class: "id" }, String(query.id)),
        h("span", { class: "text", dir: "auto" }, query.summary.slice(0, 200)),
        h(
          "span",
          { class: "sub" },
          h("bdi", null, query.predicted),
          ` (${probability(query.probabilities[query.predictedIndex])})`,
          query.isRight === false && h("b", null, " wrong", query.gold === null ? "" : `, gold ${query.gold}`),
          h("span", { class: "mass", title: `the top ${this.data.run.massOf} carry ${percent(query.mass.positive)} of the positive mass` }, `top ${this.data.run.massOf}: ${percent(query.mass.positive)}`),
        ),
      ),
    );
  }

  update() {
    const { search, outcome, label, order } = Object.fromEntries(new FormData(this.form));
    this.shown = chosen(this.data.queries, { search, outcome, label, order });
    byId("queries").replaceChildren(...this.shown.map((query) => this.rows.get(query)));
    const all = this.data.queries.length;
    byId("count").textContent = this.shown.length === all ? plural(all, "prediction") : `${this.shown.length} of ${plural(all, "prediction")}`;
    this.mark(this.current);
  }

  /** Shows which prediction is open. Of the list only that one is in the order of the tab key; arrows go on. */
  mark(query) {
    this.current = query;
    const inTabOrder = this.shown.includes(query) ? query : this.shown[0];
    for (const [other, row] of this.rows) {
      const link = row.firstChild;
      link.tabIndex = other === inTabOrder ? 0 : -1;
      if (other === query) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** The prediction so many places further down the list. */
  step(by) {
    const place = this.shown.indexOf(this.current);
    const next = this.shown[Math.min(Math.max(place + by, 0), this.shown.length - 1)];
    if (!next || next === this.current) return;
    this.open(next);
    this.rows.get(next).scrollIntoView({ block: "nearest" });
    announce(`Prediction ${next.id}, ${next.predicted}, ${next.outcome}: ${next.summary.slice(0, 200)}`);
  }

  onKey(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.step(by);
    this.rows.get(this.current).firstChild.focus();
  }
}
