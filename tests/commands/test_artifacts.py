"""`allennlp artifacts`: what it writes, and what it refuses."""

import argparse
import csv
import json
import xml.etree.ElementTree

import numpy
import pytest

from allennlp_influence.commands.artifacts import ArtifactsCommand, feature_config, feature_name
from tests.analysis.made_up import make_results

TUESDAY = '{"type": "contains-words", "words": ["on a Tuesday"]}'


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of three queries and 200 training examples; "on a Tuesday" is where influence is strongest."""
    generator = numpy.random.default_rng(0)
    scores = generator.standard_normal((3, 200))
    scores[:, :12] += numpy.where(numpy.arange(12) % 2, 4, -4)
    texts = ["We ate on a Tuesday" if i < 12 else "We did not eat" for i in range(200)]
    texts = [f"{text} w{i % 7}" for i, text in enumerate(texts)]
    return make_results(
        tmp_path_factory.mktemp("artifacts") / "results",
        scores,
        texts,
        labels=["0", "1"] * 100,
        predicted=["0", "1", "1"],
        columns=[{"heuristic": "$x_{"}, {"heuristic": "subsequence"}, {"heuristic": "subsequence"}],
    )


def run(*arguments) -> None:
    parser = argparse.ArgumentParser()
    ArtifactsCommand().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["artifacts", *map(str, arguments)])
    args.func(args)


@pytest.fixture(scope="module")
def directory(results):
    target = results.with_name("found")
    options = ["--feature", TUESDAY, "--feature", "length", "--by", "heuristic", "--search"]
    run(results, *options, "--resamples", 60, "--figures", 2, "-s", target)
    return target


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_tables_say_the_same(directory):
    content = json.loads((directory / "artifacts.json").read_text())
    assert content["provenance"]["features"]["length"] == {"type": "length"}
    assert [f["feature"] for f in content["features"]] == ["contains-words(words=on a Tuesday)", "length"]
    assert content["features"][0]["mean"] == 0.06

    fits = rows(directory / "fits.csv")
    assert len(fits) == len(content["fits"]) == 2 * 2 * 3  # features, scales, queries
    for row, expected in zip(fits, content["fits"]):
        for name in ("feature", "scale", "predicted"):
            assert row[name] == expected[name]
        for name in ("id", "a", "b", "c", "low", "high", "r_squared"):
            assert float(row[name]) == expected[name]
        assert row["column heuristic"] == expected["columns"]["heuristic"]
        assert expected["low"] < expected["c"] < expected["high"]
    averages = rows(directory / "averages.csv")
    assert len(averages) == len(content["averages"]) == 2 * 2 * 5  # and groups
    of_all = {(a["feature"], a["scale"]): a for a in content["averages"] if a["by"] == "all"}
    mean = numpy.mean([f["c"] for f in content["fits"] if (f["feature"], f["scale"]) == ("length", "z")])
    assert of_all["length", "z"]["mean"] == pytest.approx(mean)
    assert of_all["contains-words(words=on a Tuesday)", "z"]["low"] > 0

    words = rows(directory / "words.csv")
    assert {row["word"] for row in words} >= {"tuesday", "not", "w3"} and "we" not in words
    significant = [row["word"] for row in words if row["significant"] == "True"]
    assert {"tuesday", "on", "a", "ate"} <= set(significant) and "w3" not in significant
    assert [row["word"] for row in content["words"]] == significant


def test_figures(directory):
    names = {path.name for path in directory.iterdir()}
    assert names == {
        *("artifacts.json", "fits.csv", "averages.csv", "words.csv"),
        *("summary.svg", "summary.png", "scatter", "report.html"),
    }
    stems = ["contains-words-words-on-a-Tuesday", "length"]
    figures = {path.name for path in (directory / "scatter").iterdir()}
    assert figures == {f"{s}-{q}.{kind}" for s in stems for q in (10, 11) for kind in ("svg", "png")}
    for path in [directory / "summary.svg", *(directory / "scatter").glob("*.svg")]:
        xml.etree.ElementTree.parse(path)
    for path in [directory / "summary.png", *(directory / "scatter").glob("*.png")]:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000
    assert not directory.with_name("found.part").exists()


def test_the_same_seed_gives_the_same_files(results, directory):
    again = results.with_name("again")
    options = ["--feature", TUESDAY, "--feature", "length", "--by", "heuristic", "--search"]
    run(results, *options, "--resamples", 60, "--figures", 2, "-s", again)
    for name in ("fits.csv", "averages.csv", "words.csv", "summary.svg", "scatter/length-10.svg"):
        assert (again / name).read_bytes() == (directory / name).read_bytes(), name


def test_the_terminal(results, capsys):
    run(results, "--feature", "negation", "--search", "--resamples", 10, "--figures", 0, "-s", results.with_name("t"))
    said = capsys.readouterr().out
    assert "query 0 costs $5" in said and "predicted: 1" in said
    c = json.loads((results.with_name("t") / "artifacts.json").read_text())["fits"][0]["c"]
    assert f" {1000 * c:+.3g} ".replace("-", "−") in said
    assert "significant after correction" in said and "tuesday" in said


def test_features_are_named_by_what_they_are():
    named = {
        "negation": "negation",
        "my.module:feature": "function(function=my.module:feature)",
        TUESDAY: "contains-words(words=on a Tuesday)",
        '{"type": "lexical-overlap", "distinct": true}': "lexical-overlap(distinct=true)",
    }
    assert {text: feature_name(feature_config(text)) for text in named} == named


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give --feature, or --search"),
        (["--feature", "overlap"], "no feature 'overlap'; there is: column, contains-words, "),
        (["--feature", "{type: length}"], "is not JSON"),
        (["--feature", '{"type": "length", "filed": "sentence"}'], "feature length.*filed"),
        (["--feature", '{"type": "contains-words"}'], "feature contains-words: .*words"),
        (["--feature", '{"type": "contains-words", "words": 3}'], "feature contains-words"),
        (["--feature", "lexical-overlap"], "training example 1 has only: sentence"),
        (["--feature", '{"type": "length", "field": "hypothesis"}'], "there is: sentence"),
        (["--feature", '{"type": "column", "name": "year"}'], "no column 'year'.*: row"),
        (["--feature", '{"type": "contains-words", "words": ["cat"]}'], "is 0 for all 200"),
        (["--feature", "length", "--by", "subcase"], "no column 'subcase'; there is: heuristic"),
        (["--feature", "length", "--resamples", "0"], "expected 1 or more"),
        (["--search", "--min-count", "190"], "no word is in at least 190"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(results, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=f"allennlp artifacts: .*{message}") as error:
        run(results, *arguments, "-s", tmp_path / "found")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_columns_of_another_training_file_are_refused(results, tmp_path):
    (tmp_path / "mine.tsv").write_text("sentence\tgrade\n" + "Other text\t1\n" * 200)
    feature = json.dumps({"type": "column", "name": "grade", "file": str(tmp_path / "mine.tsv")})
    with pytest.raises(SystemExit, match="line 2: the sentence .* another training file"):
        run(results, "--feature", feature, "-s", tmp_path / "found")


def test_what_is_there_stays(results, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="exists already; choose another"):
        run(results, "--feature", "length", "-s", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SystemExit, match="not a result directory of `allennlp influence`"):
        run(tmp_path, "--feature", "length", "-s", tmp_path / "found")
