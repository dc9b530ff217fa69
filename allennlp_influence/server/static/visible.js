// Texts that nobody has checked.

/**
 * A text without what could act on the reader's screen: each control character, mark of writing direction and unpaired
 * surrogate becomes U+FFFD, each kind of white space a space; as `visible` does in Python.
 */
export function visible(text) {
  return String(text)
    .replace(/[\s\u001c-\u001f\u0085]/gu, " ")
    .replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Cc}|\p{Cs}/gu, "\ufffd");
}
