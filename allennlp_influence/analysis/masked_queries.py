"""Inputs without their salient tokens, explained by the interpreter that explained them whole."""

from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple

import numpy
from allennlp.common import Tqdm
from allennlp.common.util import JsonDict
from allennlp.data import Instance

from allennlp_influence.analysis.masking import masked
from allennlp_influence.analysis.salient_tokens import SalientToken
from allennlp_influence.influence import InfluenceFunctions
from allennlp_influence.influence.results import ResultWriter

Positions = Tuple[int, ...]


class MaskedQuery(NamedTuple):
    """An input without the tokens at some positions, and the label that is explained."""

    row: int
    """Of the input among the scores."""
    positions: Positions
    instance: Instance
    explained: str
    predicted: str
    """Without the tokens."""


class MaskedScores(NamedTuple):
    """What the interpreter says of an input without its tokens."""

    predicted: str
    scores: Mapping[str, numpy.ndarray]
    """Of the training examples `(N,)`, by the label that is explained."""


def masked_queries(
    interpreter: InfluenceFunctions,
    instances: Sequence[Instance],
    explanations: Sequence[JsonDict],
    tokens: Sequence[Mapping[str, SalientToken]],
) -> List[MaskedQuery]:
    """
    Each input without each of its chosen tokens, once for every label that is to be explained: that which the
    interpreter explains, and that which was explained of the whole input. They differ where the prediction flips.

    # Parameters

    interpreter : `InfluenceFunctions`, required
    instances, explanations, tokens : required
        Aligned: the inputs, their lines of explanations.jsonl and their `salient_tokens`.

    # Raises

    `ConfigurationError` if a token can't be masked.
    """
    found = []
    for row, (instance, line, chosen) in enumerate(zip(instances, explanations, tokens)):
        interpreter._test_dataset_reader.apply_token_indexers(instance)
        for positions in sorted({token.positions for token in chosen.values()}):
            hidden = masked(instance, line["saliency"]["tokens"], positions)
            query = interpreter.prepared_query(hidden, f"example {line['id']}")
            for label in dict.fromkeys([query.names[query.explained], line["explained"]]):
                predicted = query.names[query.predicted]
                found.append(MaskedQuery(row, positions, hidden, label, predicted))
    return found


def explain_masked(
    interpreter: InfluenceFunctions, queries: Sequence[MaskedQuery], writer: ResultWriter
) -> None:
    """Writes a line and the scores of each masked query that `writer` has none of yet, block by block."""
    block = interpreter.queries_at_once
    # blocks stay what they were, so do the bits
    writer.truncate(writer.num_done // block * block)
    with Tqdm.tqdm(total=len(queries), initial=writer.num_done, desc="masked inputs") as progress:
        for begin in range(writer.num_done, len(queries), block):
            part = queries[begin : begin + block]
            explanations = interpreter.explain(
                [query.instance for query in part],
                0,
                [f"masked input {begin + i + 1}" for i in range(len(part))],
                [query.explained for query in part],
            )
            for query, explanation in zip(part, explanations):
                line = {
                    "row": query.row,
                    "positions": query.positions,
                    "explained": explanation.explained,
                    "predicted": explanation.predicted,
                    "labels": explanation.labels,
                    "probabilities": explanation.probabilities,
                    "residual": explanation.diagnosis.residual,
                    "converged": explanation.diagnosis.converged,
                }
                writer.add(line, explanation.scores)
            progress.update(len(part))


def by_position(
    lines: Sequence[Mapping[str, Any]], scores: numpy.ndarray
) -> Dict[Tuple[int, Positions], MaskedScores]:
    """The written lines and scores of masked queries, by row of the input and positions."""
    found: Dict[Tuple[int, Positions], MaskedScores] = {}
    for line, row in zip(lines, scores):
        key = line["row"], tuple(line["positions"])
        found.setdefault(key, MaskedScores(line["predicted"], {})).scores[line["explained"]] = row
    return found
