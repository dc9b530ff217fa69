"""Every word of the training data as an artifact: which of them are where influence is strong."""

import math
from typing import List, NamedTuple, Sequence, Tuple

import numpy
from allennlp.common import Tqdm
from allennlp.common.checks import ConfigurationError
from scipy.sparse import csr_matrix
from scipy.stats import false_discovery_control
from sklearn.feature_extraction.text import CountVectorizer

from allennlp_influence.analysis.features.texts import words_of
from allennlp_influence.analysis.quadratic import NOTHING
from allennlp_influence.analysis.scales import RANKS, scaled
from allennlp_influence.data.example import Example
from allennlp_influence.data.words import WordTokenizer

SIGNIFICANT = 0.05
_LEAST_PERMUTATIONS = 9_999
_ELEMENTS_AT_ONCE = 1 << 22
_ROUNDING = 1e-9  # of sums that are equal


class WordFit(NamedTuple):
    """A word in one of the texts as a feature: 1 for the training examples that have it, 0 for others."""

    field: str
    """Which text, as `hypothesis`."""
    word: str
    num_examples: int
    """How many training examples have it."""
    coefficients: List[float]
    """The mean c of its fits a + b z + c z² on the scale of ranks, over each group of queries."""
    p: float
    """Two-sided, that the mean over all queries is 0."""
    adjusted_p: float
    """After Benjamini & Hochberg (1995): the false share to expect among all words up to this one."""


def search_words(
    scores: numpy.ndarray,
    examples: Sequence[Example],
    groups: Sequence[Sequence[int]],
    min_count: int = 10,
    seed: int = 0,
) -> List[WordFit]:
    """
    The fits of every word that is neither too rare nor almost everywhere, the most significant first.

    Influence is on the scale of ranks: on the other the strongest few examples decide, and no word is significant. The
    quadratic coefficient of a feature y is linear in it: c = ⟨y, u⟩ with u = p / ‖p‖² and p what of z² is no linear
    function of z. So the mean over queries is ⟨y, ū⟩, and for all words one sparse product. Were the word given to as
    many training examples at random, ⟨y, ū⟩ would be the sum of so many values drawn from ū without replacement. One
    permutation of ū has such a draw of every size as its prefix sums: p is the share of permutations with an absolute
    sum at least as large (plus one in both, Phipson & Smyth 2010). Examples are permuted, not queries, whose scores
    depend on one another.

    # Parameters

    scores : `numpy.ndarray`
        `(Q, N)`
    examples : `Sequence[Example]`
        The N training examples.
    groups : `Sequence[Sequence[int]]`
        The places of the queries of each group; the first group is tested.
    min_count : `int`, optional (default = `10`)
        A word is a feature if so many training examples have it, and so many do not.
    seed : `int`, optional (default = `0`)
        Of the permutations, of which there are enough for one word alone to be significant.

    # Raises

    `ConfigurationError` if there is no such word, or no query has scores that differ.
    """
    words, has_word = word_matrix(examples, min_count)
    if not words:
        raise ConfigurationError(
            f"no word is in at least {min_count} of the {len(examples):,} training examples and missing in as many"
        )
    contrasts = _mean_contrasts(scores, groups)  # (groups, N)
    coefficients = has_word.T @ contrasts.T  # (V, groups)
    counts = numpy.asarray(has_word.sum(0)).ravel().astype(int)
    generator = numpy.random.default_rng(seed)
    p = _permutation_p(contrasts[0], counts, coefficients[:, 0], generator)
    adjusted = false_discovery_control(p)
    order = numpy.lexsort((-abs(coefficients[:, 0]), p))
    return [
        WordFit(*words[v], int(counts[v]), coefficients[v].tolist(), float(p[v]), float(adjusted[v]))
        for v in order
    ]


def word_matrix(
    examples: Sequence[Example], min_count: int
) -> Tuple[List[Tuple[str, str]], csr_matrix]:
    """Text and word of every feature, V of them, and which examples have it, `(N, V)`, of zeros and ones."""
    tokenizer = WordTokenizer()

    def words(example: Example) -> List[Tuple[str, str]]:
        return [
            (field, word) for field, text in example.text.items() for word in words_of(text, tokenizer)
        ]

    vectorizer = CountVectorizer(analyzer=words, binary=True)
    has_word = vectorizer.fit_transform(examples)
    counts = numpy.asarray(has_word.sum(0)).ravel()
    kept = numpy.flatnonzero((counts >= min_count) & (len(examples) - counts >= min_count))
    names = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
    return [names[v] for v in kept], has_word[:, kept]


def _mean_contrasts(scores: numpy.ndarray, groups: Sequence[Sequence[int]]) -> numpy.ndarray:
    """
    What the quadratic coefficient is the inner product with, in the mean over each group, `(groups, N)`; queries
    whose scores have no three values are left out.
    """
    member = numpy.zeros((len(groups), len(scores)))
    for row, positions in zip(member, groups):
        row[list(positions)] = 1
    sums = numpy.zeros((len(groups), scores.shape[1]))
    for block, z in scaled(scores, RANKS):
        z2 = z * z
        contrast = z2 - z2.mean(1, keepdims=True) - (z2 * z).mean(1, keepdims=True) * z
        squares = (contrast**2).sum(1)
        usable = squares > NOTHING * (z2**2).sum(1)
        member[:, block] *= usable
        sums += member[:, block] @ (contrast / numpy.where(usable, squares, 1)[:, None])
    sizes = member.sum(1, keepdims=True)
    if sizes[0] == 0:
        raise ConfigurationError("no query has scores that differ, so there is nothing to fit")
    return sums / numpy.maximum(sizes, 1)


def _permutation_p(
    contrast: numpy.ndarray,
    counts: numpy.ndarray,
    sums: numpy.ndarray,
    generator: numpy.random.Generator,
) -> numpy.ndarray:
    """How often as many values of the contrast `(N,)` as `counts` `(V,)` have an absolute sum as large as `sums`."""
    num_permutations = max(_LEAST_PERMUTATIONS, math.ceil(len(counts) / SIGNIFICANT))
    # the others sum to the opposite
    sizes, of_word = numpy.unique(
        numpy.minimum(counts, len(contrast) - counts), return_inverse=True
    )
    least = abs(sums) * (1 - _ROUNDING)
    at_least = numpy.zeros(len(counts), dtype=int)
    at_once = max(1, _ELEMENTS_AT_ONCE // len(contrast))
    with Tqdm.tqdm(total=num_permutations, desc="permutations") as progress:
        for start in range(0, num_permutations, at_once):
            number = min(at_once, num_permutations - start)
            permuted = generator.permuted(numpy.tile(contrast, (number, 1)), axis=1)
            null = abs(permuted[:, : sizes[-1]].cumsum(1)[:, sizes - 1])  # (number, sizes)
            at_least += (null[:, of_word] >= least).sum(0)
            progress.update(number)
    return (at_least + 1) / (num_permutations + 1)
