// What is shown follows from the address: #query-ID, or the name of a view.

import { load } from "./data.js";
import { byId } from "./dom.js";
import { download, toCsv, toJson } from "./download.js";
import { showPaperTable } from "./paper_table.js";
import { showQuery } from "./query.js";
import { QueryList } from "./query_list.js";
import { showHubs, showLabelErrors } from "./tables.js";
import { chooseTheme } from "./theme.js";
import { listen } from "./what_if.js";

const data = load(byId("data").textContent);
const byAddress = new Map(data.queries.map((query) => [`query-${query.id}`, query]));
const views = new Map([...document.querySelectorAll("section[data-view]")].map((section) => [section.dataset.view, section]));
const title = document.title;
const list = new QueryList(data, (query) => {
  history.replaceState(null, "", `#query-${query.id}`);
  show();
});

const FIRST = {
  "label-errors": () => showLabelErrors(data),
  hubs: () => showHubs(data),
};

function show() {
  const address = decodeURIComponent(location.hash.slice(1));
  const query = byAddress.get(address);
  const view = !query && views.has(address) ? address : "predictions";
  // on a narrow page the list and the prediction take turns
  document.body.dataset.open = query ? "query" : "list";
  document.body.dataset.shown = view;
  for (const [name, section] of views) section.hidden = name !== view;
  for (const link of document.querySelectorAll("#views a")) {
    if (link.hash === `#${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === "predictions") {
    const wanted = query ?? list.current ?? data.queries[0];
    if (wanted !== list.current) showQuery(wanted, data);
    list.mark(wanted);
    document.title = query ? `${query.id}: ${query.summary.slice(0, 60)} · ${title}` : title;
  } else {
    document.title = `${views.get(view).querySelector("h2").textContent} · ${title}`;
    FIRST[view]?.();
    delete FIRST[view];
  }
  if (view === "table-5") showPaperTable(data, list.shown);
}

addEventListener("hashchange", () => {
  show();
  const view = document.body.dataset.shown;
  const heading = view === "predictions" ? byId("query-title") : views.get(view).querySelector("h2");
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
});

addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("filter").elements.search.focus();
  }
  const by = { j: 1, k: -1 }[event.key];
  if (by && document.body.dataset.shown === "predictions") list.step(by);
});

byId("query").addEventListener("click", ({ target }) => {
  if (target.dataset.step) list.step(Number(target.dataset.step));
});

byId("table-5-each").addEventListener("input", () => showPaperTable(data, list.shown));
byId("table-5-print").addEventListener("click", () => print());
byId("all-csv").addEventListener("click", () => download("explanations.csv", "text/csv", toCsv(list.shown)));
byId("all-json").addEventListener("click", () => download("explanations.json", "application/json", toJson(list.shown)));

chooseTheme();

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.querySelector("section:not([hidden]) h2[tabindex]").focus();
});

listen();
show();
