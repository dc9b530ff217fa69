"""Fits, averages and intervals: against values computed by hand, by enumeration, and on planted artifacts."""

import dataclasses

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.artifacts import analyse, groups_of, training_examples
from allennlp_influence.analysis.features import ArtifactFeature, ContainsWords
from allennlp_influence.analysis.word_search import search_words
from allennlp_influence.influence.results import open_results
from tests.analysis.made_up import make_results

# z is these by the square root of 2
FIVE = [[-2, -1, 0, 1, 2], [0, 2, 1, -1, -2]]
# Φ⁻¹ of 1/6, 1/3, 1/2: −0.967, −0.431, 0; their squares .936, .186, 0 have a mean of .449 and are uncorrelated with
# them; so z² − 1 is (1.086, −.586, −1, −.586, 1.086), of squared length 4.046, and its product with the feature 2.172
FIVE_RANKS = 0.5368
TEXTS = ["not good", "good", "a film", "film", "it is not"]  # negation: 1 0 0 0 1


class Given(ArtifactFeature):
    """Values of one's choice."""

    def __init__(self, values):
        self.given = numpy.asarray(values, dtype=float)

    def values(self, examples):
        return self.given


@pytest.fixture
def five(tmp_path):
    columns = [{"heuristic": "a"}, {"heuristic": "b"}]
    return open_results(make_results(tmp_path / "five", FIVE, TEXTS, columns=columns))


def negation(results, **options):
    groups = groups_of(results.explanations, options.pop("by", ()))
    features = {"negation": ArtifactFeature.by_name("negation")(), **options.pop("others", {})}
    return analyse(results, features, groups, **options)


# -- by hand --------------------------------------------------------------------------------------


def test_five_examples_by_hand(five):
    """
    s² − 2 is orthogonal to 1 and s: (2, −1, −2, −1, 2), of squared length 14. Its product with the feature is 4, so c
    is 4 / 14 on s and 8 / 14 on z; the total sum of squares is 6 / 5, of which 16 / 14 is explained. For the second
    query the product is 0, and that with s is −2, of 10.
    """
    analysis = negation(five, by=["heuristic"], num_resamples=50)
    fit = analysis.fits["negation"]["z"]
    assert list(fit.values) == [1, 0, 0, 0, 1]
    expected = [[2 / 5 - 4 / 7, 0, 4 / 7], [2 / 5, -(2**0.5) / 5, 0]]
    assert fit.coefficients == pytest.approx(numpy.array(expected))
    assert fit.r_squared == pytest.approx([20 / 21, (4 / 10) / (6 / 5)])
    means = {(a.by, a.group): (a.num_queries, a.mean) for a in analysis.averages if a.scale == "z"}
    assert means == {
        ("all", "all"): (2, pytest.approx(2 / 7)),
        ("predicted", "1"): (2, pytest.approx(2 / 7)),
        ("heuristic", "a"): (1, pytest.approx(4 / 7)),
        ("heuristic", "b"): (1, pytest.approx(0)),
    }


def test_a_words_p_is_the_share_of_random_sets_that_are_as_extreme(five):
    """
    Of the 10 pairs of examples, only the one that has "not" has both ends, whose product with what of z² is no linear
    function of z is the largest.
    """
    (found,) = [
        word
        for word in search_words(five.scores[:1], training_examples(five), [[0]], min_count=2)
        if word.word == "not"
    ]
    assert (found.field, found.num_examples) == ("sentence", 2)
    assert found.coefficients == pytest.approx([FIVE_RANKS], abs=1e-3)
    assert found.p == pytest.approx(1 / 10, abs=0.01)


# -- intervals ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def random_results(tmp_path_factory):
    generator = numpy.random.default_rng(0)
    scores = generator.standard_t(3, size=(20, 60))
    texts = ["not" if i % 4 == 0 else f"word{i}" for i in range(60)]
    return open_results(make_results(tmp_path_factory.mktemp("r") / "random", scores, texts))


def test_intervals_are_of_fits_to_resampled_examples(random_results):
    fit = negation(random_results, num_resamples=200).fits["negation"]["z"]
    assert fit.replicates.shape == (200, 20, 3)
    expected = numpy.percentile(fit.replicates[:, 3, 2], [2.5, 97.5])
    assert fit.intervals[3] == pytest.approx(expected)
    spread = fit.replicates[:, :, 2].std(0)
    generator = numpy.random.default_rng(1)
    row = random_results.scores[3].astype(float)
    z = (row - row.mean()) / row.std()
    one_by_one = []
    for _ in range(400):
        again = generator.integers(60, size=60)
        one_by_one.append(numpy.polyfit(z[again], fit.values[again], 2)[0])
    assert spread[3] == pytest.approx(numpy.std(one_by_one), rel=0.25)


def test_the_seed_decides(random_results):
    first, same, other = (negation(random_results, num_resamples=30, seed=s) for s in (0, 0, 1))
    assert first.averages == same.averages
    for scale, fit in first.fits["negation"].items():
        assert (fit.replicates == same.fits["negation"][scale].replicates).all()
        assert (fit.replicates != other.fits["negation"][scale].replicates).any()
    assert first.averages[0].mean == other.averages[0].mean
    assert first.averages[0].low != other.averages[0].low
    examples = training_examples(random_results)
    words = [search_words(random_results.scores, examples, [range(20)], seed=s) for s in (0, 0, 1)]
    assert words[0] == words[1] != words[2]


def test_a_fit_does_not_depend_on_the_other_features_and_queries(random_results, tmp_path):
    alone = negation(random_results, num_resamples=30).fits["negation"]["z"]
    others = {"other": Given(range(60))}
    beside = negation(random_results, num_resamples=30, others=others).fits["negation"]["z"]
    assert beside.replicates == pytest.approx(alone.replicates, abs=1e-12)
    few = make_results(tmp_path / "few", random_results.scores[18:], ["not", "x", "x", "x"] * 15)
    of_few = negation(open_results(few), num_resamples=30).fits["negation"]["z"]
    assert of_few.replicates == pytest.approx(alone.replicates[:, 18:], abs=1e-9)


def test_the_average_over_one_query_is_its_fit(five):
    analysis = negation(five, by=["heuristic"], num_resamples=200)
    average = next(a for a in analysis.averages if (a.by, a.group) == ("heuristic", "a"))
    fit = analysis.fits["negation"]["z"]
    assert average.mean == fit.coefficients[0, 2]
    assert (average.low, average.high) == pytest.approx(tuple(fit.intervals[0]))


def test_the_interval_of_an_average_is_of_other_examples_and_other_queries(random_results):
    analysis = negation(random_results, num_resamples=2000)
    average, fit = analysis.averages[0], analysis.fits["negation"]["z"]
    width = average.high - average.low
    same_queries = numpy.diff(numpy.percentile(fit.replicates[:, :, 2].mean(1), [2.5, 97.5]))[0]
    same_examples = 2 * 1.96 * fit.coefficients[:, 2].std() / 20**0.5
    assert width > max(same_queries, same_examples)


# -- planted --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """"tuesday" is where influence is strong, on both sides; "supporter" on one; "window" anywhere."""
    generator = numpy.random.default_rng(5)
    common = generator.standard_t(4, size=800)
    scores = common + 0.7 * generator.standard_t(4, size=(6, 800))
    strength = abs(common) + 0.3 * generator.standard_normal(800)
    texts = []
    for i in range(800):
        words = [f"w{v}" for v in numpy.flatnonzero(generator.random(60) < 0.1)]
        words += ["tuesday"] if strength[i] > numpy.quantile(strength, 0.94) else []
        words += ["supporter"] if 0.5 < common[i] < 1.1 else []
        words += ["window"] if i % 16 == 0 else []
        texts.append(" ".join(words))
    return open_results(make_results(tmp_path_factory.mktemp("p") / "planted", scores, texts))


def test_a_planted_artifact_is_found_and_another_feature_is_not(planted):
    words = {word: ContainsWords([word]) for word in ("tuesday", "window")}
    groups = groups_of(planted.explanations, ())
    analysis = analyse(planted, words, groups, num_resamples=300)
    for scale in ("z", "ranks"):
        averages = {a.feature: a for a in analysis.averages if (a.by, a.scale) == ("all", scale)}
        assert averages["tuesday"].low > 0.01
        assert (analysis.fits["tuesday"][scale].intervals[:, 0] > 0).all()
        assert averages["window"].low < 0 < averages["window"].high


def test_the_search_finds_the_planted_word_alone(planted):
    groups = [range(6), [0, 1, 2], [3, 4, 5]]
    found = search_words(planted.scores, training_examples(planted), groups)
    assert len(found) > 50
    first = found[0]
    assert first.word == "tuesday" and first.num_examples == 48
    assert [word.word for word in found if word.adjusted_p <= 0.05 and word.coefficients[0] > 0] == ["tuesday"]
    # Benjamini and Hochberg's step-up, written out
    p = [word.p for word in found]
    expected = [min(p[j] * len(p) / (j + 1) for j in range(i, len(p))) for i in range(len(p))]
    assert [word.adjusted_p for word in found] == pytest.approx(expected)


def test_the_search_fits_as_all_fits_are_made(planted):
    scores = numpy.maximum(planted.scores, 0)  # many are equal, so that ranks are not symmetric
    tied = dataclasses.replace(planted, scores=scores)
    groups = {("all", "all"): range(6), ("predicted", "0"): [0, 1, 2], ("predicted", "1"): [3, 4, 5]}
    found = search_words(scores, training_examples(planted), list(groups.values()))
    for word in found[::20]:
        c = analyse(tied, {"x": ContainsWords([word.word])}, groups, 1).fits["x"]["ranks"]
        c = c.coefficients[:, 2]
        assert word.coefficients == pytest.approx([c.mean(), c[:3].mean(), c[3:].mean()])


def test_p_values_of_words_at_random_are_uniform(tmp_path):
    """Heavy tails make rare words look significant to a t test; permutations know better."""
    generator = numpy.random.default_rng(3)
    scores = generator.standard_t(2.2, size=(1, 400))
    share = generator.uniform(0.03, 0.5, size=400)
    texts = [" ".join(f"w{v}" for v in numpy.flatnonzero(generator.random(400) < share)) for _ in range(400)]
    results = open_results(make_results(tmp_path / "random", scores, texts))
    p = numpy.array([w.p for w in search_words(results.scores, training_examples(results), [[0]], min_count=5)])
    assert len(p) > 390
    for level in (0.01, 0.05, 0.2, 0.5):
        sd = (level * (1 - level) / len(p)) ** 0.5
        assert abs((p <= level).mean() - level) < 4 * sd


# -- what can't be fitted -------------------------------------------------------------------------


def test_queries_without_a_fit_are_left_out_of_averages(tmp_path):
    results = open_results(make_results(tmp_path / "r", [[3] * 5, FIVE[0]], TEXTS))
    analysis = negation(results, num_resamples=50)
    fit = analysis.fits["negation"]["z"]
    assert numpy.isnan(fit.coefficients[0]).all() and numpy.isnan(fit.intervals[0]).all()
    assert analysis.averages[0].num_queries == 1
    assert analysis.averages[0].mean == pytest.approx(4 / 7)
    (word,) = [
        w
        for w in search_words(results.scores, training_examples(results), [[0, 1], [0]], 2)
        if w.word == "not"
    ]
    assert word.coefficients == pytest.approx([FIVE_RANKS, 0], abs=1e-3)


@pytest.mark.parametrize(
    "values, message",
    [
        ([1, 1, 1, 1, 1], "is 1 for all 5 training examples"),
        ([1, 2, numpy.nan, 4, 5], "is nan for training example 3"),
    ],
)
def test_features_without_a_meaning_are_refused(five, values, message):
    with pytest.raises(ConfigurationError, match=message):
        negation(five, others={"mine": Given(values)})


def test_unknown_columns_of_queries_are_refused(five):
    with pytest.raises(ConfigurationError, match="no column 'subcase'; there is: heuristic, predicted"):
        groups_of(five.explanations, ["subcase"])


def test_a_search_without_words_is_refused(five):
    with pytest.raises(ConfigurationError, match="no word is in at least 3 of the 5"):
        search_words(five.scores, training_examples(five), [[0]], min_count=3)
