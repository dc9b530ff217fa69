// The training examples of a prediction by influence and by an artifact, with the fitted quadratic.

import { h, s } from "./dom.js";
import { number, plural, signed, zValue } from "./format.js";
import { axisOf, drawingOf, ticks } from "./histogram.js";

const HEIGHT = 180;
const FOOT = 20;
const MARGIN = 32; // for the values
let chosen = 0; // stays what it is from one prediction to the next

/** A figure for one of the artifacts, and a selector; nothing if none were measured. */
export function artifactsOf(query, data) {
  if (!data.artifacts?.length) return null;
  const caption = h("figcaption");
  const { place, redraw } = drawingOf((width) => scatter(query, data.artifacts[chosen], fitOf(query, data), width));
  const select = h(
    "select",
    {
      id: "artifact",
      onchange: () => {
        chosen = select.selectedIndex;
        redraw();
        describe();
      },
    },
    data.artifacts.map(({ name }) => h("option", null, name)),
  );
  select.selectedIndex = chosen;
  const describe = () => caption.replaceChildren(inWords(fitOf(query, data), data.artifacts[chosen].name));
  describe();
  return h("section", null, h("h3", null, "Artifact ", select), h("figure", null, place, caption));
}

function fitOf(query, data) {
  return data.artifacts[chosen].fits[data.queries.indexOf(query)];
}

function inWords(fit, name) {
  if (fit === undefined) return "The curves of later predictions are not in this page; fits.csv has their coefficients.";
  if (fit === null) return "Too few different scores for a curve.";
  const { c, low, high } = fit;
  const where = low > 0 ? "more where influence is strong" : high < 0 ? "more where influence is weak" : "not clearly tied to influence";
  return `${name} ≈ a + b z + c z² over all training examples: c = ${signed(c)}, 95 % interval ${signed(low)} to ${signed(high)}: ${where}. The stronger a place, the more of them.`;
}

function scatter(query, feature, fit, outerWidth) {
  const [width, height] = [outerWidth - MARGIN, HEIGHT + FOOT];
  const drawing = s("svg", { viewBox: `0 0 ${outerWidth} ${height}`, width: outerWidth, height, role: "img", "aria-label": `${feature.name} against influence` });
  if (!fit) return drawing;
  const { lowest, highest, levels } = feature;
  const bins = query.histogram.counts[0].length;
  const { z } = axisOf(query, width);
  const row = HEIGHT / levels;
  const most = Math.log1p(Math.max(...fit.cells.filter((_, i) => i % 3 === 2)));
  for (let i = 0; i < fit.cells.length; i += 3) {
    const [bin, level, count] = fit.cells.slice(i, i + 3);
    drawing.append(
      s(
        "rect",
        {
          class: "cell",
          x: ((bin + 0.06) * width) / bins,
          y: HEIGHT - (level + 1) * row + 0.08 * row,
          width: (0.88 * width) / bins,
          height: 0.84 * row,
          "fill-opacity": (0.12 + (0.6 * Math.log1p(count)) / most).toFixed(3),
        },
        s("title", null, `${plural(count, "example")}, z ${zValue(z(bin))} to ${zValue(z(bin + 1))}`),
      ),
    );
  }
  // the middles of the outermost levels are the extreme values
  const y = (value) => HEIGHT - row / 2 - ((value - lowest) / (highest - lowest)) * (HEIGHT - row);
  const points = Array.from({ length: 4 * bins + 1 }, (_, i) => i / 4).map((bin) => {
    const at = z(bin);
    const value = Math.min(Math.max(y(fit.a + fit.b * at + fit.c * at * at), 0), HEIGHT);
    return `${((bin * width) / bins).toFixed(1)} ${value.toFixed(1)}`;
  });
  drawing.append(s("path", { class: "curve", d: `M${points.join("L")}` }));
  for (const value of [lowest, highest]) {
    drawing.append(s("text", { class: "level", x: outerWidth - 2, y: y(value) + 4 }, number(value, 3)));
  }
  drawing.append(...ticks(query, width, height - 4));
  return drawing;
}
