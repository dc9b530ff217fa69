"""
Writes lengths.json: how long the first 10,000 training examples of GLUE's SST-2 and of MultiNLI are in word pieces.

    .venv/bin/python benchmarks/lengths.py ../shared/data/sst2/train.tsv ../shared/data/mnli/train_10k.tsv
"""

import json
import sys
from pathlib import Path

import numpy
from allennlp.common import Params
from allennlp.common.plugins import import_plugins
from allennlp.data import DatasetReader

import_plugins()


def quantiles(reader: str, path: str) -> list:
    """0, 5, … 100 % of the number of tokens."""
    params = Params({"type": reader, "encoder": "minilm", "max_instances": 10_000})
    instances = DatasetReader.from_params(params).read(path)
    lengths = [len(instance.fields["tokens"].tokens) for instance in instances]
    return numpy.quantile(lengths, numpy.linspace(0, 1, 21)).round().astype(int).tolist()


if __name__ == "__main__":
    found = {"sst2": quantiles("sst2", sys.argv[1]), "mnli": quantiles("nli", sys.argv[2])}
    Path(__file__).with_name("lengths.json").write_text(json.dumps(found) + "\n")
