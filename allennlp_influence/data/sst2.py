"""Single sentences with a label, in the layout of GLUE's SST-2."""

from typing import Dict, Iterable, Optional

from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Instance
from allennlp.data.fields import LabelField
from allennlp.data.token_indexers import TokenIndexer
from allennlp.data.tokenizers import Tokenizer

from allennlp_influence.data.example import Example
from allennlp_influence.data.text_encoding import TextEncoding
from allennlp_influence.data.tsv import fail, read_tsv, text_of

LABELS = ("0", "1")  # negative, positive


@DatasetReader.register("sst2")
class Sst2Reader(DatasetReader):
    """
    Reads a TSV file with the columns `sentence` and `label` (`0` negative, `1` positive; without the column the
    examples have no label). Fields: `tokens`, `label`, and `metadata` with the `Example`.

    Registered as a `DatasetReader` with name "sst2".

    # Parameters

    encoder, max_length, tokenizer, token_indexers
        See `TextEncoding`.
    """

    def __init__(
        self,
        encoder: Optional[str] = None,
        max_length: int = 128,
        tokenizer: Optional[Tokenizer] = None,
        token_indexers: Optional[Dict[str, TokenIndexer]] = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.encoding = TextEncoding(encoder, max_length, tokenizer, token_indexers)

    def _read(self, file_path: str) -> Iterable[Instance]:
        for row in read_tsv(str(file_path)):
            sentence = text_of(file_path, row, "sentence")
            columns = {n: v for n, v in row.columns.items() if n not in ("sentence", "label")}
            try:
                instance = self.text_to_instance(
                    sentence, row.columns.get("label"), row.number, columns
                )
            except ConfigurationError as error:
                fail(file_path, row.line, error.message)
            yield instance

    def text_to_instance(  # type: ignore[override]
        self,
        sentence: str,
        label: Optional[str] = None,
        id: Optional[int] = None,
        columns: Optional[Dict[str, str]] = None,
    ) -> Instance:
        """
        # Parameters

        sentence : `str`
        label : `str`, optional (default = `None`)
        id, columns : optional
            See `Example`; 1 for a text that stands in no file.

        # Raises

        `ConfigurationError` if the label is unknown.
        """
        if label is not None and label not in LABELS:
            raise ConfigurationError(f"label {label!r}; expected {' or '.join(LABELS)}")
        example = Example(1 if id is None else id, {"sentence": sentence}, label, columns or {})
        instance = Instance(
            {"tokens": self.encoding.field(sentence), "metadata": example.as_field()}
        )
        if label is not None:
            instance.add_field("label", LabelField(label))
        return instance

    def apply_token_indexers(self, instance: Instance) -> None:
        instance["tokens"].token_indexers = self.encoding.token_indexers
