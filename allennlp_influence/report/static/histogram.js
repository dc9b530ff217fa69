// All scores of a prediction: a row of bars for each class of the training examples, the listed ones marked.

import { h, s } from "./dom.js";
import { number, percent, plural, zValue } from "./format.js";

const ROW = 56; // the name of the class in its uppermost part
const BAR = 38;
const MARKS = 16;
const LABELS = 20;
const TICKS = [-300, -100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100, 300];

/** The drawing for a page of this width, in pixels. */
export function histogram(query, data, width, onMark) {
  const { counts, first } = query.histogram;
  const bins = counts[0].length;
  const { x, z: zAt } = axisOf(query, width);
  const highest = Math.log1p(Math.max(...counts.flat()));
  const base = data.rows.length * ROW;
  const height = base + MARKS + LABELS;
  const drawing = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": inWords(query, data) });
  data.rows.forEach((label, i) => {
    const floor = (i + 1) * ROW;
    counts[i].forEach((count, bin) => {
      if (!count) return;
      const size = (Math.log1p(count) / highest) * BAR;
      drawing.append(
        s(
          "rect",
          {
            class: first + bin >= 0 ? "sup" : "opp",
            x: ((bin + 0.08) * width) / bins,
            y: floor - size,
            width: (0.84 * width) / bins,
            height: size,
          },
          s("title", null, `${plural(count, "example")} of “${label}”, z ${zValue(zAt(bin))} to ${zValue(zAt(bin + 1))}`),
        ),
      );
    });
    drawing.append(s("line", { x1: 0, x2: width, y1: floor, y2: floor }));
    drawing.append(s("text", { class: "class", x: 2, y: floor - ROW + 13 }, `gold ${label}`));
  });
  drawing.append(s("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: base }));
  for (const item of query.listed) {
    const at = x(item.score);
    drawing.append(
      s("path", {
        class: `mark ${item.score > 0 ? "sup" : "opp"}`,
        "data-example": item.example.index,
        d: `M${at} ${base + 3}l-4.5 9h9z`,
        onclick: () => onMark(item),
      }),
    );
  }
  drawing.append(...ticks(query, width, height - 4));
  return drawing;
}

/** Where a score is on an axis of this width, and the z-score at the beginning of a bin. */
export function axisOf(query, width) {
  const { counts, first, width: step, unit } = query.histogram;
  return {
    x: (score) => ((Math.asinh(score / unit) / step - first) / counts[0].length) * width,
    z: (bin) => (Math.sinh((first + bin) * step) * unit - query.mean) / (query.std || 1),
  };
}

/** Round z-scores, where they are on the axis. */
export function ticks(query, width, y) {
  const { x } = axisOf(query, width);
  const places = (query.std > 0 ? TICKS : []).map((z) => [z, x(query.mean + z * query.std)]);
  return places
    .filter(([, at]) => at > 10 && at < width - 10)
    .map(([z, at]) => s("text", { x: at, y }, z ? zValue(z).replace(".0", "") : "z 0"));
}

/** A place for a drawing, which is drawn again when its width changes. */
export function drawingOf(draw) {
  const place = h("div", { class: "drawing" });
  const redraw = () => place.replaceChildren(draw(Math.max(240, place.clientWidth)));
  new ResizeObserver(redraw).observe(place);
  return { place, redraw };
}

function inWords(query, data) {
  const total = query.histogram.counts.flat().reduce((sum, count) => sum + count, 0);
  return `Histogram of the scores of all ${plural(total, "training example")} by gold label: ${data.rows.join(", ")}`;
}

/** The drawing with a line on how few training examples carry how much. */
export function distribution(query, data, onMark) {
  const { place } = drawingOf((width) => histogram(query, data, width, onMark));
  const { positive, negative } = query.mass;
  return h(
    "figure",
    null,
    place,
    h(
      "figcaption",
      null,
      `The scores of all ${plural(data.run.trainingExamples, "training example")}, by their gold label; ▲ are the ones `,
      `listed. Heights are logarithmic, and so is the axis beyond one standard deviation. The top ${data.run.massOf} carry `,
      h("b", null, percent(positive)),
      ` of the positive mass, the bottom ${data.run.massOf} `,
      h("b", null, percent(negative)),
      " of the negative. ",
      `The strongest score is ${number(strongest(query))} standard deviations from the mean.`,
    ),
  );
}

function strongest(query) {
  return Math.max(0, ...query.listed.map(({ z }) => Math.abs(z)));
}
