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
    free: str
    """The label that the interpreter explains if none is given."""
    predicted: str
    """Without the tokens."""


class MaskedScores(NamedTuple):
    """What the interpreter says of an input without its tokens."""

    predicted: str
    free: str
    """The label that the interpreter explains if none is given."""
    scores: Dict[str, numpy.ndarray]
    """Of the training examples `(N,)`, by the label that is explained, up to a positive factor: in the order that counts."""


def masked_queries(
    interpreter: InfluenceFunctions,
    instances: Sequence[Instance],
    explanations: Sequence[JsonDict],
    tokens: Sequence[Mapping[str, SalientToken]],
) -> List[MaskedQuery]:
    """
    Each input without each of its chosen tokens, once for every label that is to be explained: that which was explained
    of the whole input, and that which the interpreter explains. They differ where the prediction flips. Of two classes
    the first is enough: the gradients of −log p and −log(1 − p) are opposite, and so are rankings by influence.

    # Parameters

    interpreter : `InfluenceFunctions`, required
    instances, explanations, tokens : required
        Aligned: the inputs, their lines of explanations.jsonl and their `salient_tokens`.

    # Raises

    `ConfigurationError` if a token can't be masked.
    """
    # an average over checkpoints mixes different p
    one_is_enough = len(interpreter.label_names) == 2 and not interpreter.weights
    found = []
    for row, (instance, line, chosen) in enumerate(zip(instances, explanations, tokens)):
        interpreter._test_dataset_reader.apply_token_indexers(instance)
        for positions in sorted({token.positions for token in chosen.values()}):
            hidden = masked(instance, line["saliency"]["tokens"], positions)
            query = interpreter.prepared_query(hidden, f"example {line['id']}")
            free, predicted = query.names[query.explained], query.names[query.predicted]
            labels = [line["explained"]] if one_is_enough else dict.fromkeys([line["explained"], free])
            for label in labels:
                found.append(MaskedQuery(row, positions, hidden, label, free, predicted))
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
                    "free": query.free,
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
        own = found.setdefault(key, MaskedScores(line["predicted"], line["free"], {}))
        own.scores[line["explained"]] = row
    for own in found.values():
        if own.free not in own.scores:
            (opposite,) = own.scores.values()
            own.scores[own.free] = -opposite
    return found
