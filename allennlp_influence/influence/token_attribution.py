"""Which words of a training example made it influential for a query."""

import random
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Dict, FrozenSet, List, Sequence, Tuple

import torch
from allennlp.data import Instance
from torch import Tensor

from allennlp_influence.engine import TrainingSet, bucket, inner_products_with_losses
from allennlp_influence.influence.classifier import Classifier
from allennlp_influence.saliency import RemovableWords, TokenScores

_PAIRS_OF_ORDERS = 2


@dataclass(frozen=True)
class TokenAttribution(TokenScores):
    """
    What each word of a training example adds to the example's score for one query.

    # Parameters

    tokens, fields, words
        See `TokenScores`.
    scores : `Tuple[float, ...]`
        In nats, like the score; they sum to `score` − `rest` (see `token_attributions`). Positive: with the word the
        example supports the explained label more, or opposes it less. Special tokens have 0.
    score : `float`
        The example's score, before any normalisation.
    rest : `float`
        The score of the example without its words: what its label does by itself.
    """

    score: float
    rest: float

    def to_json(self) -> Dict[str, Any]:
        """The "token_attribution" of a listed training example in a line of explanations.jsonl."""
        return {**super().to_json(), "score": self.score, "rest": self.rest}


def token_attributions(
    training_set: TrainingSet,
    classifier: Classifier,
    texts: Sequence[RemovableWords],
    labels: Sequence[int],
    solved: Tensor,
) -> List[TokenAttribution]:
    """
    With s_i(W) = ⟨∇L_i(W), x_q⟩ / N the score of training example i if its text had only the words W,

        attribution_w = mean over orders π of [s_i(w and what follows it in π) − s_i(what follows w in π)]

    so that Σ_w attribution_w = s_i(all words) − s_i(no word), whatever the orders: the Shapley value of w (Shapley 1953;
    Štrumbelj & Kononenko 2010) estimated from two random orders and their reverses (Mitchell et al. 2022, antithetic
    sampling), the same for all texts of as many words.

    The derivative of the score by the word vectors (times these, or integrated along a path) is not used: on trained
    classifiers it hardly predicts what taking a word away does, and takes longer (`benchmarks/token_attribution.py`).

    # Parameters

    training_set : `TrainingSet`, required
        Its objective, and N.
    classifier : `Classifier`, required
    texts : `Sequence[RemovableWords]`, required
        Of training examples.
    labels : `Sequence[int]`, required
        Their classes.
    solved : `Tensor`, required
        x_q, `(space.size,)`.

    # Returns

    `List[TokenAttribution]`
        One for each of the texts, whatever the others are.
    """
    places: Dict[Tuple[int, FrozenSet[int]], int] = {}
    for i, text in enumerate(texts):
        for hidden in (hidden for order in _orders(len(text)) for hidden in _less_and_less(order)):
            places.setdefault((i, hidden), len(places))
    variants = [texts[i].without(hidden) for i, hidden in places]
    scores = _scores(training_set, classifier, variants, [labels[i] for i, _ in places], solved)
    result = []
    for i, text in enumerate(texts):
        orders = _orders(len(text))
        by_word = [0.0] * len(text)
        for order in orders:
            steps = [scores[places[i, hidden]] for hidden in _less_and_less(order)]
            for word, before, after in zip(order, steps, steps[1:]):
                by_word[word] += (before - after) / len(orders)
        ends = (scores[places[i, frozenset(hidden)]] for hidden in ((), range(len(text))))
        result.append(TokenAttribution(**vars(text.scores(by_word)), **dict(zip(("score", "rest"), ends))))
    return result


def mean_attribution(attributions: Sequence[TokenAttribution]) -> TokenAttribution:
    """Of one training example and query at several checkpoints."""
    return replace(
        attributions[0],
        scores=tuple(map(fmean, zip(*(own.scores for own in attributions)))),
        words=tuple(
            replace(same[0], score=fmean(word.score for word in same))
            for same in zip(*(own.words for own in attributions))
        ),
        score=fmean(own.score for own in attributions),
        rest=fmean(own.rest for own in attributions),
    )


def _scores(
    training_set: TrainingSet,
    classifier: Classifier,
    instances: Sequence[Instance],
    labels: Sequence[int],
    solved: Tensor,
) -> List[float]:
    """⟨∇L_i, x_q⟩ / N of examples that are not in the training set; the frozen layers are run."""
    result = torch.zeros(len(instances), dtype=torch.float64)
    lengths = [classifier.length(instance) for instance in instances]
    for group in bucket(lengths, training_set.token_budget):
        batch = classifier.collate([instances[i] for i in group], [labels[i] for i in group])
        prepared = training_set.objective.prepare(batch)
        inner = inner_products_with_losses(training_set, prepared, solved[None])
        result[group] = inner[:, 0].detach().double().cpu() / len(training_set)
    return result.tolist()


def _orders(count: int) -> List[List[int]]:
    generator = random.Random(0)
    drawn = (generator.sample(range(count), count) for _ in range(_PAIRS_OF_ORDERS))
    return [order for one in drawn for order in (one, one[::-1])]


def _less_and_less(order: Sequence[int]) -> List[FrozenSet[int]]:
    """What is hidden when words are taken away one by one: from none to all."""
    return [frozenset(order[:count]) for count in range(len(order) + 1)]
