// The server's answers, as the modules of the explorer take them.

import { load } from "./data.js";
import { visible } from "./visible.js";

const NOTHING = { supporters: [], opponents: [], distribution: { mean: 0, std: 0 }, diagnosis: {} };

/** A prediction with its words, and its training examples if they are known: the query, and the data around it. */
export function dataOf(answer, info) {
  const influence = answer.influence ?? NOTHING;
  const listed = new Map([...influence.supporters, ...influence.opponents].map((item) => [item.id, item]));
  const examples = [...listed.values()];
  const place = new Map(examples.map(({ id }, i) => [id, i]));
  const side = (items) => items.map(({ id, score }) => [place.get(id), score]);
  const column = (make) => examples.map(make);
  const { rows = [], mass, mean, std, ...histogram } = influence.distribution;
  const data = load(
    JSON.stringify({
      run: { trainingExamples: influence.num_train, normalisation: influence.normalisation, massOf: mass?.of, suspicion: "loss" },
      labels: info.labels.map(visible),
      rows: rows.map(visible),
      fields: info.fields,
      examples: {
        id: column(({ id }) => id),
        texts: column(({ text }) => Object.values(text).map(visible)),
        label: column(({ label }) => info.labels.indexOf(label)),
        predicted: column(({ predicted }) => info.labels.indexOf(predicted)),
        p: column(({ probability }) => probability),
        loss: column(({ loss }) => loss),
        selfInfluence: column(() => null),
        percentile: column(({ loss_percentile: percentile }) => percentile),
      },
      queries: [
        {
          id: null,
          texts: answer.texts,
          hasSaliency: true,
          gold: null,
          predicted: info.labels.indexOf(answer.predicted),
          explained: info.labels.indexOf(answer.label),
          probabilities: answer.probabilities,
          loss: answer.loss,
          columns: {},
          mean,
          std,
          histogram,
          mass,
          converged: influence.diagnosis.converged,
          diagnosis: influence.diagnosis.in_words,
          supporters: side(influence.supporters),
          opponents: side(influence.opponents),
        },
      ],
    }),
  );
  return { data, query: data.queries[0] };
}
