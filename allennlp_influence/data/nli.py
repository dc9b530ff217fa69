"""Pairs of a premise and a hypothesis, in the layouts in which they are published."""

import json
import logging
from typing import Dict, Iterable, Iterator, Optional, Tuple

from allennlp.data import DatasetReader, Instance
from allennlp.data.fields import LabelField
from allennlp.data.token_indexers import TokenIndexer
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.data.example import Example
from allennlp_influence.data.text_encoding import TextEncoding
from allennlp_influence.data.tsv import Row, fail, read_lines, read_tsv, text_of

logger = logging.getLogger(__name__)

LABELS = ("entailment", "neutral", "contradiction", "non-entailment")
NO_LABEL = "-"  # SNLI and MultiNLI: the annotators did not agree

# The names under which premise, hypothesis and label are published; parses are left out of `Example.columns`.
_PREMISE = ("premise", "sentence1")
_HYPOTHESIS = ("hypothesis", "sentence2")
_LABEL = ("gold_label", "label")


@DatasetReader.register("nli")
class NliReader(DatasetReader):
    """
    Reads pairs from GLUE's MNLI files, from TSV files with the columns `premise`, `hypothesis` and `label`, from
    MultiNLI's and SNLI's JSON lines (a name that ends in .jsonl), and from HANS's files with their 11 columns. A
    file without a label column is read without labels; rows whose label is "-" are no examples, and it is said
    how many there were. Fields: `tokens`, `label`, and `metadata` with the `Example`.

    Registered as a `DatasetReader` with name "nli".

    # Parameters

    collapse_labels : `bool`, optional (default = `False`)
        Neutral and contradiction are `non-entailment`, HANS's word for both.
    encoder, max_length, tokenizer, token_indexers
        See `TextEncoding`.
    """

    def __init__(
        self,
        encoder: Optional[str] = None,
        max_length: int = 128,
        collapse_labels: bool = False,
        tokenizer: Optional[Tokenizer] = None,
        token_indexers: Optional[Dict[str, TokenIndexer]] = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.encoding = TextEncoding(encoder, max_length, tokenizer, token_indexers)
        self.collapse_labels = collapse_labels

    def _read(self, file_path: str) -> Iterable[Instance]:
        rows = _read_jsonl(file_path) if file_path.endswith(".jsonl") else read_tsv(file_path)
        undecided = 0
        for row in rows:
            premise, hypothesis = (
                _first(file_path, row, names) for names in (_PREMISE, _HYPOTHESIS)
            )
            label = next((row.columns[name] for name in _LABEL if name in row.columns), None)
            if label == NO_LABEL:
                undecided += 1
                continue
            if label is not None and label not in LABELS:
                fail(file_path, row.line, f"label {label!r}; expected one of {', '.join(LABELS)}")
            columns = {n: v for n, v in row.columns.items() if n not in _READ and "parse" not in n}
            yield self.text_to_instance(premise, hypothesis, label, row.number, columns)
        if undecided:
            logger.warning(
                "%s: %d rows have the label '-' (no majority of the annotators) and are left out",
                file_path,
                undecided,
            )

    def text_to_instance(  # type: ignore[override]
        self,
        premise: str,
        hypothesis: str,
        label: Optional[str] = None,
        id: Optional[int] = None,
        columns: Optional[Dict[str, str]] = None,
    ) -> Instance:
        """
        # Parameters

        premise, hypothesis : `str`
        label : `str`, optional (default = `None`)
        id, columns : optional
            See `Example`; 1 for a text that stands in no file.
        """
        if label is not None and self.collapse_labels and label != "entailment":
            label = "non-entailment"
        text = {"premise": premise, "hypothesis": hypothesis}
        example = Example(1 if id is None else id, text, label, columns or {})
        tokens = self.encoding.field(premise, hypothesis)
        instance = Instance({"tokens": tokens, "metadata": example.as_field()})
        if label is not None:
            instance.add_field("label", LabelField(label))
        return instance

    def apply_token_indexers(self, instance: Instance) -> None:
        instance["tokens"].token_indexers = self.encoding.token_indexers


_READ = {*_PREMISE, *_HYPOTHESIS, *_LABEL}


def _first(path: str, row: Row, names: Tuple[str, ...]) -> str:
    for name in names:
        if name in row.columns:
            return text_of(path, row.line, row.columns, name)
    found = ", ".join(row.columns)
    fail(path, row.line, f"expected a column {' or '.join(map(repr, names))}; there are: {found}")


def _read_jsonl(path: str) -> Iterator[Row]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            columns = json.loads(line)
        except json.JSONDecodeError as error:
            fail(path, number, f"not JSON ({error}); expected one object a line")
        if not isinstance(columns, dict):
            fail(path, number, "not a JSON object; expected the keys sentence1, sentence2, gold_label")
        texts = {name: value for name, value in columns.items() if isinstance(value, str)}
        yield Row(number, number, texts)
