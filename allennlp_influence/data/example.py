"""What stands behind an instance: its row in the file, the original text, the label."""

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, Optional

from allennlp.data import Instance
from allennlp.data.fields import LabelField, MetadataField, TextField
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode


@dataclass(frozen=True)
class Example:
    """
    # Parameters

    id : `int`
        Row in the file: 1 is the first one after the header; for JSON lines the number of the line.
    text : `Dict[str, str]`
        `{"sentence": …}` or `{"premise": …, "hypothesis": …}`, as in the file.
    label : `str`, optional (default = `None`)
    columns : `Dict[str, str]`
        Further columns of the file, as HANS's `heuristic`.
    """

    id: int
    text: Dict[str, str]
    label: Optional[str] = None
    columns: Dict[str, str] = field(default_factory=dict)

    def as_field(self) -> MetadataField:
        """The field in which an instance carries it."""
        return MetadataField({"example": asdict(self)})


def example_of(instance: Instance, position: int) -> Example:
    """
    The example of an instance. For instances of other readers than ours it is made of their tokens and
    label, with the place in the file as id.

    # Parameters

    instance : `Instance`
    position : `int`
        Place among the instances that were read, from 0.
    """
    metadata: Any = getattr(instance.fields.get("metadata"), "metadata", None)
    if isinstance(metadata, dict) and "example" in metadata:
        return Example(**metadata["example"])
    text = {name: _text(f) for name, f in instance.fields.items() if isinstance(f, TextField)}
    label = next((f.label for f in instance.fields.values() if isinstance(f, LabelField)), None)
    return Example(position + 1, text, None if label is None else str(label))


def _text(tokens: TextField) -> str:
    """Words, or word pieces joined (## and Ġ are BERT's and RoBERTa's marks) without the special tokens."""
    if all(getattr(token, "text_id", None) is None for token in tokens):
        return " ".join(map(str, tokens))
    pieces = [text for text in map(str, tokens) if text not in SPECIAL_TOKENS]
    letters = "".join(pieces)
    if "Ġ" in letters and all(letter in _BYTES for letter in letters):
        return bytes(_BYTES[letter] for letter in letters).decode(errors="replace").strip()
    return " ".join(pieces).replace(" ##", "")


SPECIAL_TOKENS = {"[CLS]", "[SEP]", "[PAD]", "<s>", "</s>", "<pad>"}
_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}  # in RoBERTa's pieces
