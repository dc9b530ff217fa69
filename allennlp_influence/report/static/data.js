// The result directory as the page holds it, made from the columns that it was sent in.

import { wordsOf } from "./words.js";

/** A training example: what is known of it, and which predictions list it. */
class Example {
  constructor(columns, index, data) {
    this.index = index;
    for (const [name, values] of Object.entries(columns)) this[name] = values[index];
    this.label = data.labels[this.label];
    this.predicted = data.labels[this.predicted];
    this.listedBy = []; // {query, score}
  }

  get words() {
    return (this._words ??= wordsOf(this.texts));
  }

  /** Whether its label is among the most doubtful, more so if the model itself predicts another. */
  get isSuspect() {
    return this.percentile >= (this.predicted === this.label ? 0.99 : 0.95);
  }
}

/** A prediction with its listed training examples: `supporters` and `opponents`, strongest first. */
class Query {
  constructor(line, examples, data) {
    Object.assign(this, line);
    this.predictedIndex = line.predicted;
    this.predicted = data.labels[line.predicted];
    this.explained = data.labels[line.explained];
    this.confidence = line.probabilities[line.explained];
    this.summary = line.texts.map(textOf).join(" ‖ ");
    this.isRight = this.gold === null ? null : this.gold === this.predicted;
    this.outcome = this.isRight === null ? "no gold label" : this.isRight ? "right" : "wrong";
    for (const side of ["supporters", "opponents"]) {
      this[side] = line[side].map(([index, score, tokens], i) => {
        examples[index].listedBy.push({ query: this, score });
        const z = line.std > 0 ? (score - line.mean) / line.std : 0;
        return { example: examples[index], rank: i + 1, score, z, tokens };
      });
    }
  }

  get listed() {
    return [...this.supporters, ...this.opponents];
  }

  get words() {
    return (this._words ??= wordsOf(this.texts.map(textOf)));
  }
}

/** A text of a query, whole. */
export function textOf({ parts, unread }) {
  return parts.map(([part]) => part).join("") + unread;
}

/** The page's data from its JSON. */
export function load(json) {
  const data = JSON.parse(json);
  data.examples = data.examples.id.map((_, index) => new Example(data.examples, index, data));
  data.queries = data.queries.map((line) => new Query(line, data.examples, data));
  return data;
}
