"""Pairs of a premise and a hypothesis, in the layouts in which they are published."""

import json
import logging
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Instance
from allennlp.data.fields import LabelField
from allennlp.data.token_indexers import TokenIndexer
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.data.example import Example
from allennlp_influence.data.text_encoding import TextEncoding
from allennlp_influence.data.tsv import Row, column_of, fail, read_lines, read_tsv, text_of

logger = logging.getLogger(__name__)

LABELS = ("entailment", "neutral", "contradiction", "non-entailment")
NO_LABEL = "-"  # SNLI and MultiNLI: the annotators did not agree

# The names under which premise, hypothesis and label are published.
_PREMISE = ("premise", "sentence1")
_HYPOTHESIS = ("hypothesis", "sentence2")
_LABEL = ("gold_label", "label")
_JSON_LINES = (".jsonl", ".jsonl.gz", ".jsonl.bz2")
_READ = (*_PREMISE, *_HYPOTHESIS, *_LABEL)
_PARSES = tuple(
    f"{name}_{parse}" for name in ("sentence1", "sentence2") for parse in ("parse", "binary_parse")
)


@DatasetReader.register("nli")
class NliReader(DatasetReader):
    """
    Reads pairs from GLUE's MNLI files, from TSV files with the columns `premise`, `hypothesis` and `label`, from
    MultiNLI's and SNLI's JSON lines (a name that ends in .jsonl), and from HANS's files with their 11 columns. A
    file without a label column is read without labels; rows whose label is "-" are no examples, and it is said
    how many there were. Fields: `tokens`, `label`, and `metadata` with the `Example`, whose `columns` are all
    the others but the parses.

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
        file_path = str(file_path)
        undecided = 0
        try:
            for row in _rows(file_path):
                premise = text_of(file_path, row, *_PREMISE)
                hypothesis = text_of(file_path, row, *_HYPOTHESIS)
                name = column_of(file_path, row, *_LABEL)
                label = None if name is None else row.columns[name]
                if label == NO_LABEL:
                    undecided += 1
                    continue
                columns = {
                    n: v for n, v in row.columns.items() if n not in _READ and n not in _PARSES
                }
                try:
                    instance = self.text_to_instance(
                        premise, hypothesis, label, row.number, columns
                    )
                except ConfigurationError as error:
                    fail(file_path, row.line, error.message)
                yield instance
        finally:  # max_instances ends reading before the file does
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

        # Raises

        `ConfigurationError` if the label is unknown.
        """
        if label is not None and label not in LABELS:
            raise ConfigurationError(f"label {label!r}; expected one of {', '.join(LABELS)}")
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


def _rows(path: str) -> Iterator[Row]:
    return _read_jsonl(path) if path.endswith(_JSON_LINES) else read_tsv(path)


def _read_jsonl(path: str) -> Iterator[Row]:
    labelled: Optional[bool] = None
    for number, line in enumerate(read_lines(path), start=1):
        try:
            values = json.loads(line, object_pairs_hook=_unique)
        except ValueError as error:
            fail(path, number, f"not JSON ({error}); expected one object a line")
        if not isinstance(values, dict):
            fail(
                path,
                number,
                "not a JSON object; expected the keys sentence1, sentence2, gold_label",
            )
        for name, value in values.items():
            if name in _READ and not isinstance(value, str):
                fail(
                    path,
                    number,
                    f"{name!r} is {json.dumps(value)}; expected a text in quotation marks",
                )
        has_label = any(name in values for name in _LABEL)
        if labelled not in (None, has_label):
            fail(
                path,
                number,
                "expected a label in all rows or in none; the rows before differ from this",
            )
        labelled = has_label
        columns = {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in values.items()
        }
        yield Row(number, number, columns, header=number)


def _unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key occurs twice in {[name for name, _ in pairs]}")
    return dict(pairs)
