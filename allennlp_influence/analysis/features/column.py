"""A column of the user's own."""

from typing import Dict, Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.features.artifact_feature import ArtifactFeature
from allennlp_influence.data.example import Example
from allennlp_influence.data.tsv import fail, read_tsv


@ArtifactFeature.register("column")
class Column(ArtifactFeature):
    """
    A further column of the training file, or of another one: its numbers, or whether it has a value.

    Registered as an `ArtifactFeature` with name "column".

    # Parameters

    name : `str`
    equals : `str`, optional (default = `None`)
        For columns of texts: 1 where this stands, 0 elsewhere. By default the column has numbers.
    file : `str`, optional (default = `None`)
        A TSV file with a header whose row n is about training example n. Where it has the examples' texts too, they
        must be those of the results.
    """

    def __init__(
        self, name: str, equals: Optional[str] = None, file: Optional[str] = None
    ) -> None:
        self.name = name
        self.equals = equals
        self.file = file

    def values(self, examples: Sequence[Example]) -> numpy.ndarray:
        if self.file is None:
            texts = [self._text(example) for example in examples]
        else:
            in_file = self._read(self.file, {example.id: example for example in examples})
            texts = [in_file[example.id] for example in examples]
        return numpy.array(
            [self._number(text, example) for text, example in zip(texts, examples)]
        )

    def _text(self, example: Example) -> str:
        if self.name not in example.columns:
            there = ", ".join(example.columns) or "none"
            raise ConfigurationError(
                f"training example {example.id} has no column {self.name!r}; further columns of the training "
                f"file: {there}"
            )
        return example.columns[self.name]

    def _read(self, file: str, examples: Dict[int, Example]) -> Dict[int, str]:
        found = {}
        for row in read_tsv(file):
            if self.name not in row.columns:
                fail(file, row.header, f"no column {self.name!r}; there is: {', '.join(row.columns)}")
            example = examples.get(row.number)
            if example is None:  # a row that the model's reader leaves out
                continue
            for name, text in example.text.items():
                if row.columns.get(name, text) != text:
                    fail(
                        file,
                        row.line,
                        f"the {name} is not that of training example {row.number}: the results were made with "
                        "another training file",
                    )
            found[row.number] = row.columns[self.name]
        missing = examples.keys() - found.keys()
        if missing:
            raise ConfigurationError(
                f"{file} has no row {min(missing)}, but the results have a training example of that number: they "
                "were made with another training file"
            )
        return found

    def _number(self, text: str, example: Example) -> float:
        if self.equals is not None:
            return float(text == self.equals)
        try:
            return float(text)
        except ValueError as error:
            raise ConfigurationError(
                f"column {self.name!r} is {text!r} for training example {example.id}, no number; for columns of texts, "
                f'say which: {{"type": "column", "name": "{self.name}", "equals": "{text}"}}'
            ) from error
