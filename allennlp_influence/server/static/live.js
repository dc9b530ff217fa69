// A text that somebody types: its prediction and words at once, its training examples when they are asked for.

import { dataOf } from "./answers.js";
import { events, post } from "./ask.js";
import { announce, byId, h } from "./dom.js";
import { download, toCsv, toJson } from "./download.js";
import { examplesOf } from "./examples.js";
import { number, plural } from "./format.js";
import { distribution } from "./histogram.js";
import { connect, result } from "./query.js";
import { saliencyOf } from "./saliency.js";
import { chooseTheme } from "./theme.js";
import { tokensOf } from "./tokens.js";
import { visible } from "./visible.js";
import { listen, showFor } from "./what_if.js";

const SIGNED = "gradient_x_input";
const INTERPRETERS = {
  [SIGNED]: "gradient × input (signed)",
  integrated_gradient: "integrated gradient (AllenNLP)",
  simple_gradient: "simple gradient (AllenNLP)",
  smooth_gradient: "smooth gradient (AllenNLP)",
};
const PLACEHOLDERS = {
  sentence: "a sometimes tedious film .",
  premise: "The man is playing a guitar.",
  hypothesis: "A man plays music.",
};
const MILLISECONDS_OF_REST = 250; // after a key, before words are asked for

let info = null;
let running = null; // the AbortController of the influence query
let latest = 0; // the number of the last question for words
let rest = null; // the timer that asks when nothing more is typed

const field = (name) => byId(`field-${name}`);
const inputs = () => Object.fromEntries(info.fields.map((name) => [name, field(name).value]));
const isEmpty = () => Object.values(inputs()).some((text) => !text.trim());
const chosenLabel = () => (byId("label").value ? `?label=${encodeURIComponent(byId("label").value)}` : "");

// Of the words and of the examples: where one question goes well, what the other came to still stands.
const problems = { words: null, examples: null };

function complain(about, error) {
  problems[about] = error;
  const said = Object.values(problems).filter(Boolean);
  byId("problem").hidden = !said.length;
  byId("problem").textContent = said.map(({ message }) => visible(message)).join(" ");
}

// What is shown is of another text from now on, and so is every answer that still comes.
function outdate() {
  latest += 1;
  byId("prediction").classList.add("stale");
  byId("influence").classList.add("old");
}

async function explainWords() {
  outdate();
  const number = latest;
  const place = byId("prediction");
  if (isEmpty()) {
    place.replaceChildren();
    place.classList.remove("stale");
    complain("words", null);
    return;
  }
  const asked = inputs();
  const interpreter = byId("interpreter").value;
  const instance = async (path) => (await (await post(path, asked)).json()).instance_1;
  try {
    const [answer, unsigned] = await Promise.all([
      instance(`interpret/${SIGNED}${chosenLabel()}`),
      interpreter === SIGNED ? null : instance(`interpret/${interpreter}`),
    ]);
    if (number !== latest) return; // something else was typed meanwhile
    const { query, data } = dataOf(answer, info);
    const words = unsigned ? tokensOf(answer, unsigned) : saliencyOf(query);
    place.replaceChildren(h("div", { class: "card" }, words, result(query, data)));
    announce(`Predicted ${query.predicted}`);
    complain("words", null);
  } catch (error) {
    if (number === latest) complain("words", error);
  } finally {
    if (number === latest) place.classList.remove("stale");
  }
}

async function findExamples() {
  if (running || isEmpty()) return;
  complain("examples", null);
  running = new AbortController();
  waiting(true);
  const asked = inputs();
  try {
    const path = `interpret/influence_functions${chosenLabel()}`;
    const stream = { headers: { Accept: "text/event-stream" }, signal: running.signal };
    for await (const [name, found] of events(await post(path, asked, stream))) {
      if (name === "progress") showProgress(found);
      if (name === "error") throw new Error(found.error);
      if (name === "result") showInfluence(found.instance_1);
    }
  } catch (error) {
    if (error.name !== "AbortError") complain("examples", error);
  } finally {
    running = null;
    waiting(false);
  }
}

function waiting(isWaiting) {
  byId("waiting").hidden = byId("stop").hidden = !isWaiting;
  byId("ask").hidden = isWaiting;
  byId("step").textContent = "Waiting";
  byId("bar").removeAttribute("value");
}

function showProgress({ before, seconds, expected, stage, done, total }) {
  const usual = expected ? `, usually ${number(expected)} s in all` : "";
  byId("step").textContent = before
    ? `${plural(before, "query").replace("querys", "queries")} before this one: ${seconds.toFixed(0)} s so far`
    : `${stage ? stage[0].toUpperCase() + stage.slice(1) : "Starting"}: ${seconds.toFixed(1)} s so far${usual}`;
  if (total) byId("bar").value = done / total;
  else byId("bar").removeAttribute("value");
}

function showInfluence(answer) {
  const { query, data } = dataOf(answer, info);
  const place = byId("influence");
  const scrollTo = ({ example }) => {
    const item = place.querySelector(`li[data-example="${example.index}"]`);
    item.closest("details")?.setAttribute("open", "");
    item.scrollIntoView({ block: "center" });
    item.querySelector("input").focus();
  };
  const button = (name, type, make) =>
    h("button", { type: "button", onclick: () => download(`influence.${name}`, type, make([query])) }, name.toUpperCase());
  const { num_train: count, seconds, diagnosis } = answer.influence;
  place.replaceChildren(
    h(
      "header",
      null,
      h("h2", { tabindex: -1 }, `Which training examples speak for and against “${query.explained}”`),
      h("span", { class: "tools" }, button("csv", "text/csv", toCsv), button("json", "application/json", toJson)),
    ),
    h("p", { class: diagnosis.converged ? "note" : "warning" }, `${plural(count, "training example")} scored in ${number(seconds)} s. `, query.diagnosis),
    distribution(query, data, scrollTo),
    h("div", null, examplesOf(query, data)),
  );
  place.classList.remove("old");
  byId("what-if-clear").click(); // what was ticked for another text
  connect(place);
  showFor(query, data);
  announce("The training examples are there");
}

// What is asked stands in the address, so that a link shows it again.
function remember() {
  const parameters = new URLSearchParams(inputs());
  if (byId("label").value) parameters.set("label", byId("label").value);
  history.replaceState(null, "", `#${parameters}`);
}

function restore() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  for (const name of info.fields) field(name).value = (parameters.get(name) ?? "").slice(0, info.most_characters);
  byId("label").value = info.labels.includes(parameters.get("label")) ? parameters.get("label") : "";
}

function build() {
  for (const name of info.fields) {
    const area = h("textarea", {
      id: `field-${name}`,
      rows: 2,
      maxlength: info.most_characters,
      dir: "auto",
      spellcheck: "false",
      placeholder: PLACEHOLDERS[name],
    });
    byId("fields").append(h("label", null, name[0].toUpperCase() + name.slice(1), area));
  }
  const options = (pairs) => pairs.map(([value, name]) => h("option", { value }, name));
  byId("label").append(...options([["", "the predicted label"], ...info.labels.map((label) => [label, visible(label)])]));
  byId("interpreter").append(...options(Object.entries(INTERPRETERS).filter(([id]) => info.interpreters.includes(id))));
  const { num_train: count, solver, damping, version, trained_parameters: parameters } = info.influence;
  byId("about").textContent = `${visible(info.archive_file)}, ${plural(count, "training example")}`;
  byId("method").textContent =
    `allennlp-influence ${version}, AllenNLP ${info.allennlp}. Influence functions over ${plural(parameters, "trained parameter")}, ` +
    `solver ${solver.type}, damping λ = ${number(damping, 3)}.`;
}

function ask() {
  if (isEmpty()) for (const name of info.fields) field(name).value ||= field(name).placeholder;
  changed();
  findExamples();
}

function changed() {
  clearTimeout(rest);
  remember();
  explainWords();
}

function attend() {
  byId("fields").addEventListener("input", () => {
    outdate();
    clearTimeout(rest);
    rest = setTimeout(changed, MILLISECONDS_OF_REST);
  });
  for (const id of ["label", "interpreter"]) byId(id).addEventListener("change", changed);
  byId("form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("stop").addEventListener("click", () => running?.abort());
  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
    if (event.key === "Escape") running?.abort();
  });
  addEventListener("hashchange", () => {
    restore();
    explainWords();
  });
}

async function main() {
  chooseTheme();
  try {
    info = await (await fetch("./", { headers: { Accept: "application/json" } })).json();
    build();
    restore();
    attend();
    listen();
    explainWords();
  } catch (error) {
    complain("words", error);
  }
}

main();
