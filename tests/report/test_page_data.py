"""What the page is given: the numbers of the files, and what is worked out from all of them."""

import dataclasses
import time

import numpy
import pytest
from allennlp.common import Params

from allennlp_influence.analysis.artifacts import analyse, groups_of
from allennlp_influence.analysis.features import ArtifactFeature
from allennlp_influence.influence.results import open_results
from allennlp_influence.report.artifact_data import artifact_data
from allennlp_influence.report.checks import checks_in_words
from allennlp_influence.report.histogram import MASS_OF, histogram_by_class, mass_share
from allennlp_influence.report.html import page
from allennlp_influence.report.page_data import page_data

from .conftest import NUM_TRAIN, TOP_K


@pytest.fixture
def opened(results):
    return open_results(results)


@pytest.fixture
def data(opened):
    return page_data(opened)


def text_of(query):
    return ["".join(part for part, _ in text["parts"]) + text["unread"] for text in query["texts"]]


def test_the_numbers_are_those_of_the_files(data, opened):
    columns = data["examples"]
    for query, line in zip(data["queries"], opened.explanations):
        assert (query["id"], query["gold"]) == (line["id"], line["gold"])
        assert data["labels"][query["predicted"]] == line["predicted"]
        assert data["labels"][query["explained"]] == line["explained"]
        assert (query["loss"], query["probabilities"]) == (line["loss"], line["probabilities"])
        for side in ("supporters", "opponents"):
            assert len(query[side]) == TOP_K
            for (index, score, *_), listed in zip(query[side], line[side]):
                assert columns["id"][index] == listed["id"]
                assert numpy.float32(score) == listed["score"]
                assert data["labels"][columns["label"][index]] == listed["label"]
    for index, id in enumerate(columns["id"]):
        example = opened.training_examples[id - 1]
        assert data["labels"][columns["predicted"][index]] == example["predicted"]
        assert columns["p"][index] == pytest.approx(max(example["probabilities"]), rel=1e-3)
        assert columns["loss"][index] == pytest.approx(example["loss"], rel=1e-3)


def test_a_text_stands_there_once(data, results):
    text = page(open_results(results), None, "results")
    assert text.count("Training sentence 100 is a TEDIOUS film") <= 1
    assert len(set(data["examples"]["id"])) == len(data["examples"]["id"])


def test_words_lie_over_the_original_text(data):
    (text,) = data["queries"][0]["texts"]
    words = [(part, score) for part, score in text["parts"] if score is not None]
    assert words == [("a", 0.0), ("sometimes", 0.1), ("tedious", -0.5), ("film", 0.2), (".", 0.05)]
    assert text_of(data["queries"][0]) == ["a sometimes tedious film ."]
    assert not data["queries"][3]["hasSaliency"]
    assert data["queries"][4]["texts"][0]["unread"].startswith(" tale of one more word")


def test_words_of_training_examples_are_found_by_their_places(data, opened):
    assert all(len(item) == 2 for query in data["queries"][1:] for item in query["supporters"])
    for (index, _, (spans,)), listed in zip(data["queries"][0]["supporters"], opened.explanations[0]["supporters"]):
        units = data["examples"]["texts"][index][0].encode("utf-16-le")  # two bytes each
        found = [
            {"text": units[2 * int(start) : 2 * int(end)].decode("utf-16-le"), "score": score, "field": "sentence"}
            for start, end, score in numpy.reshape(spans, (-1, 3))
        ]
        expected = listed["token_attribution"]["words"]
        assert len(expected) > 3
        assert [{**word, "score": pytest.approx(word["score"])} for word in expected] == found


def test_every_training_example_is_in_the_histogram_of_its_class(data, opened):
    labels = [example["label"] for example in opened.training_examples]
    for query, row in zip(data["queries"], opened.scores):
        histogram = query["histogram"]
        for label, counts in zip(data["labels"], histogram["counts"]):
            own = row[[of == label for of in labels]]
            assert sum(counts) == len(own) == NUM_TRAIN / 2
            # no bin holds scores of both signs
            assert sum(counts[: -histogram["first"]]) == (own < 0).sum()
        edges = histogram["first"] + numpy.arange(len(counts) + 1)
        edges = numpy.sinh(edges * histogram["width"]) * histogram["unit"]
        both = numpy.sum(histogram["counts"], axis=0)
        found, _ = numpy.histogram(row, edges)
        assert numpy.abs(found - both).sum() <= 2  # scores on an edge, to rounding


def test_many_labels_share_a_row(opened):
    examples = [{**x, "label": f"label {min(i, 9)}"} for i, x in enumerate(opened.training_examples)]
    many = dataclasses.replace(opened, explanations=[opened.explanations[0]], scores=opened.scores[:1])
    many.__dict__["training_examples"] = [{**x, "predicted": x["label"]} for x in examples]
    data = page_data(many)
    assert data["rows"] == ["label 0", "label 1", "label 2", "label 3", "label 9", "other labels"]
    counts = data["queries"][0]["histogram"]["counts"]
    assert [sum(row) for row in counts] == [1, 1, 1, 1, NUM_TRAIN - 9, 5]


@pytest.mark.parametrize("row", [[0.0, 0.0], [2e-5, 2e-5], [-1e-9], [1e-3, 2e-3], [-1e-3, 0.0], [1e-42, -1e-42]])
def test_a_histogram_of_few_or_equal_scores(row):
    histogram = histogram_by_class(numpy.array(row, dtype=numpy.float32), numpy.zeros(len(row), int), 1)
    assert sum(histogram["counts"][0]) == len(row)
    assert sum(histogram["counts"][0][: -histogram["first"]]) == sum(score < 0 for score in row)
    assert histogram["unit"] > 0 and histogram["width"] > 0
    assert mass_share(numpy.array(row)) == (1.0 if max(row) > 0 else 0.0)


def test_the_share_of_the_strongest():
    scores = numpy.array([3.0] * MASS_OF + [1.0] * 40 + [-50.0])
    assert mass_share(scores) == pytest.approx(60 / 100)
    assert mass_share(-scores) == 1.0


def test_labels_are_doubted_by_self_influence_or_else_by_the_loss(data, opened, results):
    columns = data["examples"]
    ids = [columns["id"][index] for index in data["labelErrors"]]
    strengths = {example["id"]: example["self_influence"] for example in opened.training_examples}
    assert ids[:50] == sorted(strengths, key=lambda id: -strengths[id])[:50]
    assert data["run"]["suspicion"] == "self-influence"
    # the share of training examples with less of it
    for index in data["labelErrors"][:3]:
        id = columns["id"][index]
        below = sum(other < strengths[id] for other in strengths.values())
        assert columns["percentile"][index] == pytest.approx(below / NUM_TRAIN, rel=1e-3)

    path = results / "training_examples.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"self_influence": 0.0}', '"self_influence": null}'))
    assert path.read_text() != text
    by_loss = page_data(open_results(results))
    assert by_loss["run"]["suspicion"] == "loss"
    assert [by_loss["examples"]["id"][i] for i in by_loss["labelErrors"]][:2] == [NUM_TRAIN, NUM_TRAIN - 1]


def test_hubs_are_strong_for_every_query(data, opened):
    z = numpy.stack([(row - row.mean()) / row.std() for row in opened.scores.astype(float)])
    rms = numpy.sqrt((z**2).mean(0))
    found = [(data["examples"]["id"][index] - 1, value) for index, value, _, _ in data["hubs"]]
    assert [position for position, _ in found[:5]] == numpy.argsort(-rms)[:5].tolist()
    assert [value for _, value in found] == pytest.approx(rms[[p for p, _ in found]], rel=1e-3)
    (index, _, supports, opposes), line = data["hubs"][0], opened.explanations
    id = data["examples"]["id"][index]
    for share, side in ((supports, "supporters"), (opposes, "opponents")):
        assert share == sum(id in [x["id"] for x in own[side]] for own in line) / len(line)


def test_curves_of_artifacts(data, opened):
    features = {"label": ArtifactFeature.from_params(Params({"type": "label", "label": "negative"}))}
    analysis = analyse(opened, features, groups_of(opened.explanations, []), num_resamples=20)
    (found,) = artifact_data(opened, analysis)
    assert (found["name"], found["lowest"], found["highest"], found["levels"]) == ("label", 0, 1, 2)
    assert len(found["fits"]) == len(opened.explanations)
    fits = analysis.fits["label"]["z"]
    for q, fit in enumerate(found["fits"]):
        assert [fit[name] for name in "abc"] == fits.coefficients[q].tolist()
        assert [fit["low"], fit["high"]] == fits.intervals[q].tolist()
        # as many training examples at 1, and in the same bins, as have the label
        bins, levels, counts = numpy.reshape(fit["cells"], (-1, 3)).T
        row = numpy.zeros((2, len(data["queries"][q]["histogram"]["counts"][0])), int)
        row[levels, bins] = counts
        assert row.tolist() == data["queries"][q]["histogram"]["counts"][::-1]


def test_what_was_not_solved_is_said(data, opened):
    assert "NOT solved to the tolerance" in data["queries"][4]["diagnosis"]
    assert "Solved to a residual of 3e−4 in 4 steps" in data["queries"][0]["diagnosis"]
    checks = {check.name: check for check in checks_in_words(opened.provenance, opened.explanations)}
    assert not checks["Linear systems"].fine
    assert checks["Linear systems"].found == "4 of 5 systems solved, largest residual 3e−4"
    assert all(check.fine for name, check in checks.items() if name != "Linear systems")
    assert "0.95" in checks["Does curvature matter?"].found
    for name, value in (("asymmetry", 0.1), ("derivative_error", 0.1), ("rank_agreement_with_float32", [1.0, 0.9])):
        bad = {**opened.provenance["self_checks"], name: value}
        provenance = {**opened.provenance, "self_checks": bad}
        assert sum(not check.fine for check in checks_in_words(provenance, opened.explanations)) == 2


def test_a_thousand_queries_of_fifty_examples_make_a_page_of_a_few_megabytes(opened):
    """And it is written in seconds."""
    generator = numpy.random.default_rng(0)
    size, listed, queries = 10_000, 25, 1000
    texts = [f"training sentence {i}, of a usual length, tells what it tells" for i in range(size)]
    examples = [
        {**opened.training_examples[i % NUM_TRAIN], "id": i + 1, "text": {"sentence": text}}
        for i, text in enumerate(texts)
    ]
    scores = generator.standard_t(3, size=(queries, size)).astype(numpy.float32) * 1e-4
    lines = []
    for q, row in enumerate(scores):
        order = numpy.argsort(-row)
        sides = {
            side: [{"id": int(i) + 1, "score": float(row[i])} for i in own]
            for side, own in (("supporters", order[:listed]), ("opponents", order[::-1][:listed]))
        }
        lines.append({**opened.explanations[0], "id": q + 1, **sides})
    many = dataclasses.replace(
        opened,
        explanations=lines,
        scores=scores,
        query_ids=list(range(1, queries + 1)),
        train_ids=list(range(1, size + 1)),
    )
    many.__dict__["training_examples"] = examples
    begin = time.perf_counter()
    text = page(many, None, "results")
    assert len(text.encode()) < 5e6
    assert time.perf_counter() - begin < 60
