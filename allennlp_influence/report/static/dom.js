// Elements are made here and nowhere else: a string that reaches the page becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== false));
  return element;
}

/** An element of the page: `on…` are listeners, `--…` properties of its style, the rest attributes. */
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An element of a drawing. */
export function s(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

/** Says something to a screen reader without moving the focus. */
export function announce(text) {
  byId("status").textContent = text;
}

/** A text, folded if it is long; `render` makes nodes of it or of its beginning. */
export function foldable(text, render, longest = 600) {
  if (text.length <= longest) return render(text);
  // not in the middle of a pair of surrogates
  const beginning = Array.from(text.slice(0, longest / 2)).slice(0, -1).join("");
  const place = h("span", null, render(beginning), "… ");
  const all = h("button", { type: "button", class: "link" }, `all ${text.length.toLocaleString("en")} characters`);
  all.addEventListener("click", () => place.replaceChildren(...[render(text)].flat(Infinity)));
  place.append(all);
  return place;
}
