// Words of texts: shared ones, and texts that are nearly the same.

const WORD = /[\p{L}\p{N}_]+(?:['’][\p{L}\p{N}_]+)*/gu;
const NEAR_DUPLICATE = 0.8;

/** The words of some texts, in lower case. */
export function wordsOf(texts) {
  const words = new Set();
  for (const text of texts) for (const [word] of text.matchAll(WORD)) words.add(word.toLowerCase());
  return words;
}

/** The parts of a text in order: [part, the word in lower case or null]. */
export function partsOf(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(WORD)) {
    if (match.index > end) parts.push([text.slice(end, match.index), null]);
    parts.push([match[0], match[0].toLowerCase()]);
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push([text.slice(end), null]);
  return parts;
}

/** The share of all words of two texts that stand in both (Jaccard); 1 if both have none. */
export function overlap(some, others) {
  let shared = 0;
  for (const word of some) shared += others.has(word);
  const all = some.size + others.size - shared;
  return all ? shared / all : 1;
}

/**
 * Items in their order, near-duplicates of an earlier one put under it: a list of lists. Two texts are
 * near-duplicates if four fifths of their words are shared.
 */
export function grouped(items, wordsOfItem) {
  const groups = [];
  for (const item of items) {
    const words = wordsOfItem(item);
    const group = groups.find(([head]) => overlap(wordsOfItem(head), words) >= NEAR_DUPLICATE);
    if (group) group.push(item);
    else groups.push([item]);
  }
  return groups;
}
