"use strict";
// All texts go into the page as text nodes: nothing that somebody typed or a data set holds is ever parsed as HTML.

const $ = (id) => document.getElementById(id);

function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

function drawn(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// Control characters and marks of writing direction can't act on the page: each becomes U+FFFD.
const visible = (text) =>
  String(text).replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cc}|\p{Cs}/gu, (character) =>
    /\s/.test(character) ? " " : "\ufffd");

const minus = (text) => text.replace(/-/g, "−");
const signed = (value) => (value ? (value > 0 ? "+" : "") + minus(value.toExponential(2)).replace("e+", "e") : "0");
const plain = (value) =>
  value && Math.abs(value) < 1e-3 ? minus(value.toExponential(1)) : minus(String(Number(value.toPrecision(2))));
const probability = (value) => (value > 0.999 && value < 1 ? "> 0.999" : value.toFixed(value > 0.99 ? 3 : 2));
const percent = (share) => (share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`);
const count = (number) => number.toLocaleString("en");

const WORD = /[\p{L}\p{N}_]+(?:['’][\p{L}\p{N}_]+)*/gu;
const INTERPRETERS = {
  gradient_x_input: "gradient × input (signed)",
  integrated_gradient: "integrated gradient (AllenNLP)",
  simple_gradient: "simple gradient (AllenNLP)",
  smooth_gradient: "smooth gradient (AllenNLP)",
};
const PLACEHOLDERS = {
  sentence: "a sometimes tedious film .",
  premise: "The man is playing a guitar.",
  hypothesis: "A man plays music.",
};
const SHOWN_AT_FIRST = 8;

let info = null;
let running = null; // the AbortController of the influence query
let latest = 0; // the number of the last request for words

const inputs = () => Object.fromEntries(info.fields.map((field) => [field, $(`field-${field}`).value]));
const isEmpty = () => Object.values(inputs()).some((text) => !text.trim());
const chosenLabel = () => ($("label").value ? `?label=${encodeURIComponent($("label").value)}` : "");

async function post(path, body, options = {}) {
  let response;
  try {
    response = await fetch(path, { method: "POST", body: JSON.stringify(body), ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer; is it still running?");
  }
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error || `status ${response.status}`);
  return response;
}

function complain(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? visible(error.message) : "";
}

// ---- the words and the prediction

async function explainWords() {
  const number = ++latest;
  if (isEmpty()) {
    $("prediction").replaceChildren();
    return;
  }
  $("prediction").classList.add("stale");
  const asked = inputs();
  const interpreter = $("interpreter").value;
  const isSigned = interpreter === "gradient_x_input";
  const instance = async (path) => (await (await post(path, asked)).json()).instance_1;
  try {
    const [answer, unsigned] = await Promise.all([
      instance(`interpret/gradient_x_input${chosenLabel()}`),
      isSigned ? null : instance(`interpret/${interpreter}`),
    ]);
    if (number !== latest) return; // something else was typed meanwhile
    if (isSigned) showWords(asked, answer, true);
    else showWords(asked, { ...answer, label: answer.predicted, words: tokensOf(answer, unsigned) }, false);
    complain(null);
  } catch (error) {
    if (number === latest) complain(error);
  } finally {
    if (number === latest) $("prediction").classList.remove("stale");
  }
}

// AllenNLP's interpreters give numbers without tokens, the last text field first; the tokens are those of ours.
function tokensOf(answer, unsigned) {
  const keys = Object.keys(unsigned).sort((a, b) => Number(b.split("_").pop()) - Number(a.split("_").pop()));
  const scores = keys.flatMap((key) => unsigned[key]);
  return answer.tokens.map((text, i) => ({ text, score: scores[i] || 0 }));
}

function showWords(asked, answer, isSigned) {
  const scale = Math.max(...answer.words.map((word) => Math.abs(word.score)), 0);
  const label = `“${visible(answer.label)}”`;
  const texts = isSigned
    ? Object.entries(asked).map(([field, text]) => wordsInText(field, text, answer.words, scale))
    : [el("p", { className: "words", dir: "auto" }, ...answer.words.flatMap((word) => [coloured(word, scale, plain), " "]))];
  const key = isSigned
    ? [`opposes ${label}`, number(minus(plain(-scale))), el("span", { className: "ramp signed", ariaHidden: "true" }),
      number(`+${plain(scale)}`), `supports ${label}`]
    : ["0", el("span", { className: "ramp unsigned", ariaHidden: "true" }), number(plain(scale)), `matters to ${label}`];
  $("prediction").replaceChildren(
    classes(answer), ...texts, el("div", { className: "scale" }, ...key),
    el("details", {}, el("summary", {}, `The ${isSigned ? "words" : "tokens"} as a table`), tableOf(answer.words, isSigned)));
}

const number = (text) => el("span", { className: "num" }, text);

function tableOf(words, isSigned) {
  const head = el("tr", {}, el("th", { scope: "col" }, isSigned ? "Word" : "Token"),
    el("th", { scope: "col", className: "num" }, "Saliency"));
  const rows = words.map((word) => el("tr", {}, el("td", {}, el("bdi", {}, visible(word.text))),
    el("td", { className: "num" }, isSigned ? signed(word.score) : plain(word.score))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows));
}

function bar(share) {
  const length = el("i");
  length.style.width = `${100 * share}%`;
  return length;
}

function classes(answer) {
  const pairs = answer.labels.map((label, i) => [label, answer.probabilities[i]]).sort((a, b) => b[1] - a[1]);
  return el("ul", { className: "classes", ariaLabel: "Probabilities" }, ...pairs.map(([label, p]) =>
    el("li", { className: label === answer.predicted ? "predicted" : "" }, el("bdi", {}, visible(label)),
      el("span", { className: "track", ariaHidden: "true" }, bar(p)), number(probability(p)))));
}

function coloured(word, scale, inNumbers = signed) {
  const share = scale ? word.score / scale : 0;
  if (!share) return visible(word.text);
  const span = el("span", { className: share > 0 ? "supports" : "opposes", title: inNumbers(word.score) }, visible(word.text));
  span.style.setProperty("--a", Math.abs(share).toFixed(2));
  return span;
}

// The words with their scores where they stand in the text; what the model did not read stays without.
function wordsInText(field, text, words, scale) {
  const paragraph = el("p", { className: "words", dir: "auto", tabIndex: 0, ariaLabel: field });
  if (info.fields.length > 1) paragraph.append(el("span", { className: "field" }, field));
  let end = 0;
  for (const word of words.filter((one) => one.field === field || !info.fields.includes(one.field))) {
    const start = text.indexOf(word.text, end);
    if (start < 0) continue;
    paragraph.append(visible(text.slice(end, start)), coloured(word, scale));
    end = start + word.text.length;
  }
  paragraph.append(visible(text.slice(end)));
  return paragraph;
}

// ---- the training examples

async function findExamples() {
  if (running || isEmpty()) return;
  complain(null);
  running = new AbortController();
  waiting(true);
  const asked = inputs();
  try {
    const response = await post(`interpret/influence_functions${chosenLabel()}`, asked,
      { headers: { Accept: "text/event-stream" }, signal: running.signal });
    for await (const [name, data] of events(response)) {
      if (name === "progress") showProgress(data);
      if (name === "error") throw new Error(data.error);
      if (name === "result") showInfluence(asked, data.instance_1);
    }
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  } finally {
    running = null;
    waiting(false);
  }
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const [, name, data] = block.match(/^event: (.*)\ndata: (.*)$/);
      yield [name, JSON.parse(data)];
    }
  }
}

function waiting(isWaiting) {
  $("waiting").hidden = $("stop").hidden = !isWaiting;
  $("ask").disabled = isWaiting;
  $("step").textContent = "Waiting";
  $("bar").removeAttribute("value");
}

function showProgress({ before, seconds, expected, stage, done, total }) {
  const usual = expected ? `, about ${expected < 10 ? expected.toFixed(1) : expected.toFixed(0)} s in all` : "";
  $("step").textContent = before
    ? `${before} ${before === 1 ? "query" : "queries"} before this one: ${seconds.toFixed(0)} s so far`
    : `${stage ? stage[0].toUpperCase() + stage.slice(1) : "Starting"}: ${seconds.toFixed(1)} s so far${usual}`;
  if (total) $("bar").value = done / total;
  else $("bar").removeAttribute("value");
}

function showInfluence(asked, answer) {
  const influence = answer.influence;
  const shared = new Set(Object.values(asked).flatMap((text) => text.match(WORD) || []).map((word) => word.toLowerCase()));
  const widest = Math.max(...[...influence.supporters, ...influence.opponents].map((one) => Math.abs(one.score)), 0);
  const label = `“${visible(influence.explained)}”`;
  const column = (kind, title, verb, examples) =>
    el("section", { className: `side-${kind}`, ariaLabel: `${title} training examples` },
      el("h3", {}, `${title} `, el("span", {}, `removing one is predicted to ${verb} the loss of ${label}`)),
      ...listOf(examples, shared, widest));
  $("influence").replaceChildren(
    el("h2", {}, `Training examples behind ${label}`),
    el("p", { className: "note" }, `${count(influence.num_train)} training examples scored in ` +
      `${influence.seconds.toFixed(1)} s. Bars of both columns: 0 to ${signed(widest)} nats.`),
    el("div", { className: "columns" },
      column("supports", "Supporting", "raise", influence.supporters),
      column("opposes", "Opposing", "lower", influence.opponents)),
    distributionOf(influence),
    el("p", { className: influence.diagnosis.converged ? "note" : "warning" }, visible(influence.diagnosis.in_words)),
    el("div", { className: "downloads" },
      download("Download as JSON", "influence.json", "application/json",
        () => JSON.stringify({ inputs: asked, ...answer }, null, 1)),
      download("Download as CSV", "influence.csv", "text/csv", () => csv(influence))));
}

function listOf(examples, shared, widest) {
  const list = el("ol", { className: "examples" }, ...examples.map((one, i) => {
    const texts = Object.entries(one.text);
    return el("li", { hidden: i >= SHOWN_AT_FIRST },
      el("div", { className: "meta" }, el("span", { className: "rank" }, String(one.rank)),
        el("b", {}, el("bdi", {}, visible(one.label))),
        el("span", { className: "num faint" }, `z ${one.z > 0 ? "+" : ""}${minus(one.z.toFixed(1))}`),
        el("span", { className: "num score", title: "predicted change of the loss if removed" }, signed(one.score))),
      el("div", { className: "length", ariaHidden: "true" }, bar(widest ? Math.abs(one.score) / widest : 0)),
      ...texts.map(([field, text]) => el("p", { className: "text", dir: "auto" },
        texts.length > 1 ? el("span", { className: "field" }, visible(field)) : null, ...underlined(text, shared))),
      el("p", { className: "note" }, `training example ${one.id}, loss ${plain(one.loss)}`));
  }));
  if (examples.length <= SHOWN_AT_FIRST) return [list];
  const more = el("button", { type: "button", className: "more" }, `Show all ${examples.length}`);
  more.addEventListener("click", () => {
    const rest = [...list.children].slice(SHOWN_AT_FIRST);
    rest.forEach((item) => (item.hidden = false));
    rest[0].tabIndex = -1;
    rest[0].focus();
    more.remove();
  });
  return [list, more];
}

function underlined(text, shared) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    if (!shared.has(match[0].toLowerCase())) continue;
    parts.push(visible(text.slice(end, match.index)), el("u", {}, visible(match[0])));
    end = match.index + match[0].length;
  }
  return [...parts, visible(text.slice(end))];
}

// A histogram a label over one axis, heights logarithmic; dots are the examples listed.
function distributionOf({ distribution: { low, high, counts, supporting, opposing }, supporters, opponents }) {
  const width = 720, height = 60, left = 96, tall = 42;
  const place = (score) => left + ((score - low) / (high - low)) * (width - left);
  const most = Math.log1p(Math.max(...Object.values(counts).flat()));
  const bottom = Object.keys(counts).length * height;
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${bottom + 16}`, role: "img",
    "aria-label": "Histograms of the scores of all training examples by their label" });
  Object.entries(counts).forEach(([label, bins], row) => {
    const base = row * height + tall + 4;
    const step = (width - left) / bins.length;
    const paths = { supports: "", opposes: "" };
    bins.forEach((some, i) => {
      const up = (Math.log1p(some) / most) * tall;
      const x = left + i * step;
      if (some) paths[x > place(0) - step / 2 ? "supports" : "opposes"] +=
        `M${x.toFixed(1)} ${base}v-${up.toFixed(1)}h${(step * 0.86).toFixed(1)}v${up.toFixed(1)}z`;
    });
    for (const [kind, d] of Object.entries(paths)) svg.append(drawn("path", { class: `bars ${kind}`, d }));
    const name = visible(label);
    svg.append(drawn("line", { x1: left, x2: width, y1: base, y2: base }),
      drawn("text", { x: 0, y: base - 2 }, name.length > 14 ? `${name.slice(0, 13)}…` : name));
    for (const one of [...supporters, ...opponents].filter((some) => String(some.label) === label)) {
      svg.append(drawn("circle", { class: "mark", cx: place(one.score).toFixed(1), cy: base + 6, r: 2.5 }));
    }
  });
  const axis = (x, text, anchor) => drawn("text", { x, y: bottom + 12, "text-anchor": anchor }, text);
  svg.append(drawn("line", { class: "zero", x1: place(0), x2: place(0), y1: 0, y2: bottom }), axis(place(0), "0", "middle"));
  if (place(0) - left > 90) svg.append(axis(left, signed(low), "start"));
  if (width - place(0) > 90) svg.append(axis(width, signed(high), "end"));
  const sum = (examples, sign) => examples.reduce((total, one) => total + Math.max(0, sign * one.score), 0);
  const shares = [];
  if (supporting > 0) shares.push(`The top ${supporters.length} carry ${percent(sum(supporters, 1) / supporting)} of the positive mass.`);
  if (opposing < 0) shares.push(`The bottom ${opponents.length} carry ${percent(sum(opponents, -1) / -opposing)} of the negative mass.`);
  return el("figure", {}, svg, el("figcaption", {}, "The scores of all training examples, by their label " +
    `(heights are logarithmic; dots: the examples listed). ${shares.join(" ")}`));
}

function csv({ supporters, opponents }) {
  // text that begins so would be a formula to a spreadsheet
  const cell = (value) => `"${String(value).replace(/^(?=[=+@\t\r]|-(?![\d.]))/, "'").replace(/"/g, '""')}"`;
  const examples = [...supporters, ...opponents];
  const rows = examples.map((one) => [one.id, one.label, one.score, one.z, one.loss, ...Object.values(one.text)]);
  const head = ["id", "label", "score", "z", "loss", ...Object.keys(examples[0].text)];
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n");
}

function download(title, name, type, content) {
  const button = el("button", { type: "button" }, title);
  button.addEventListener("click", () => {
    const link = el("a", { href: URL.createObjectURL(new Blob([content()], { type })), download: name });
    link.click();
    URL.revokeObjectURL(link.href);
  });
  return button;
}

// ---- the form

// What is asked stands in the address, so that a link shows it again.
function remember() {
  const parameters = new URLSearchParams(inputs());
  if ($("label").value) parameters.set("label", $("label").value);
  history.replaceState(null, "", `#${parameters}`);
}

function restore() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const field of info.fields) $(`field-${field}`).value = (parameters.get(field) || "").slice(0, info.most_characters);
  $("label").value = info.labels.includes(parameters.get("label")) ? parameters.get("label") : "";
}

function build() {
  for (const field of info.fields) {
    const area = el("textarea", { id: `field-${field}`, rows: 2, maxLength: info.most_characters, dir: "auto",
      placeholder: PLACEHOLDERS[field], spellcheck: false });
    $("fields").append(el("label", {}, field[0].toUpperCase() + field.slice(1), area));
  }
  $("label").append(el("option", { value: "" }, "the predicted one"),
    ...info.labels.map((label) => el("option", { value: label }, visible(label))));
  $("interpreter").append(...Object.entries(INTERPRETERS).filter(([id]) => info.interpreters.includes(id))
    .map(([id, name]) => el("option", { value: id }, name)));
  const { num_train, solver, damping, version, trained_parameters } = info.influence;
  $("about").textContent = `Model ${visible(info.id)}, ${count(num_train)} training examples`;
  $("method").textContent = `allennlp-influence ${version}, AllenNLP ${info.allennlp}. Influence functions over ` +
    `${count(trained_parameters)} trained parameters, solver ${solver.type}, damping λ = ${plain(damping)}.`;
}

function ask() {
  if (isEmpty()) { // the placeholders are an example
    for (const field of info.fields) $(`field-${field}`).value ||= $(`field-${field}`).placeholder;
  }
  remember();
  explainWords();
  findExamples();
}

function listen() {
  let timer = null;
  $("fields").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { remember(); explainWords(); }, 250);
  });
  for (const id of ["label", "interpreter"]) $(id).addEventListener("change", () => { remember(); explainWords(); });
  $("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("stop").addEventListener("click", () => running && running.abort());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
    if (event.key === "Escape" && running) running.abort();
  });
  window.addEventListener("hashchange", () => { restore(); explainWords(); });
}

function chooseTheme() {
  const apply = () => { document.documentElement.dataset.theme = $("theme").value; };
  $("theme").value = localStorage.getItem("theme") || "";
  $("theme").addEventListener("change", () => { localStorage.setItem("theme", $("theme").value); apply(); });
  apply();
}

async function main() {
  chooseTheme();
  try {
    info = await (await fetch("./", { headers: { Accept: "application/json" } })).json();
    build();
    restore();
    listen();
    explainWords();
  } catch (error) {
    complain(error);
  }
}

main();
