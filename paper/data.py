"""The files that everything is run on, and the inputs that are explained."""

import hashlib
import shutil
from itertools import islice
from pathlib import Path
from typing import Dict, NamedTuple

from allennlp.common.checks import ConfigurationError
from allennlp.data.token_indexers import SingleIdTokenIndexer
from allennlp.data.tokenizers import WhitespaceTokenizer

from allennlp_influence.data.example import example_of
from allennlp_influence.data.hans import negate_file
from allennlp_influence.data.nli import NliReader

_FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class Data(NamedTuple):
    """Paths; `hans` has the pairs that are explained, `hans_evaluation` those that accuracy is measured on."""

    sst2_train: Path
    sst2_dev: Path
    mnli_train: Path
    mnli_dev: Path
    hans: Path
    hans_evaluation: Path

    def hashes(self) -> Dict[str, str]:
        """Hex digests of the files."""
        return {
            name: hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in self._asdict().items()
        }


def fixtures() -> Data:
    """Our own small texts."""
    demo, hans = _FIXTURES / "demo", _FIXTURES / "paper" / "hans.txt"
    return Data(
        *(demo / "sentiment" / name for name in ("train.tsv", "test.tsv")),
        *(demo / "nli" / name for name in ("train.tsv", "test.tsv")),
        hans,
        hans,
    )


def data_in(folder: Path) -> Data:
    """
    SST-2, MultiNLI and HANS in a folder, under the names in README.md.

    # Raises

    `ConfigurationError` naming what is missing.
    """
    names = (
        ("sst2/train.tsv",),
        ("sst2/dev.tsv",),
        ("mnli/train_10k.tsv", "mnli/train.tsv"),
        ("mnli/dev_matched.tsv",),
        ("hans/small_heuristics_evaluation_set.txt",),
        ("hans/heuristics_evaluation_set.txt", "hans/heuristics_evaluation_set.sample3000.txt"),
    )
    found = []
    for alternatives in names:
        there = [folder / name for name in alternatives if (folder / name).exists()]
        if not there:
            raise ConfigurationError(
                f"{folder} has no {' or '.join(alternatives)}; paper/README.md says where it is published"
            )
        found.append(there[0])
    return Data(*found)


def write_inputs(data: Data, folder: Path, sst2_queries: int, natural_queries: int) -> Dict[str, Path]:
    """
    The files of the explained inputs, by the names of the runs: `sst2`, the first rows of the dev file; `hans`;
    `others`, the entailed pairs of HANS with negated hypotheses, and natural pairs, in one file whose column `set`
    says which (so that their influence takes one run).
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.tsv" for name in ("sst2", "hans", "others")}
    with open(data.sst2_dev, encoding="utf-8") as rows:
        paths["sst2"].write_text("".join(islice(rows, 1 + sst2_queries)), encoding="utf-8")
    shutil.copy(data.hans, paths["hans"])
    negated = folder / "negated_hans.tsv"
    negate_file(data.hans, negated)
    reader = NliReader(
        collapse_labels=True,
        tokenizer=WhitespaceTokenizer(),
        token_indexers={"tokens": SingleIdTokenIndexer()},
    )
    rows = ["\t".join(("premise", "hypothesis", "label", "set", "number"))]
    for name, path, count in (("negated", negated, None), ("natural", data.mnli_dev, natural_queries)):
        for i, instance in enumerate(islice(reader.read(path), count)):
            example = example_of(instance, i)
            rows.append("\t".join((*example.text.values(), example.label, name, str(example.id))))
    paths["others"].write_text("\n".join(rows) + "\n", encoding="utf-8")
    return paths
