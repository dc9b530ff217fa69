"""`make paper`: its findings decided by intervals, and all of it at the tiny size."""

import copy
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from allennlp.common.checks import ConfigurationError

from paper.__main__ import run
from paper.collect import NUMBERS
from paper.data import data_in, fixtures, write_inputs
from paper.document import write_document
from paper.findings import (
    FEWEST_INPUTS,
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    Claim,
    Finding,
    removal_claims,
)
from paper.removal import PAPERS_MEASURE
from paper.sizes import SIZES
from paper.work import Work, read


@pytest.mark.parametrize(
    "low,high,margin,verdict",
    [
        (0.1, 0.3, None, REPRODUCED),
        (-0.3, -0.1, None, NOT_REPRODUCED),
        (-0.1, 0.3, None, UNDECIDED),
        (None, None, None, UNDECIDED),
        (-0.1, 0.1, 0.2, REPRODUCED),
        (0.05, 0.1, 0.2, REPRODUCED),  # there is a difference, but a small one
        (-0.1, 0.3, 0.2, UNDECIDED),
        (0.3, 0.5, 0.2, NOT_REPRODUCED),
    ],
)
def test_verdicts(low, high, margin, verdict):
    assert Claim("c", 0.2, low, high, margin).verdict == verdict


def test_a_finding_falls_with_one_claim():
    good, bad, open_ = (
        Claim("c", 0, low, high) for low, high in ((1, 2), (-2, -1), (-1, 1))
    )
    for claims, verdict in (
        ([], UNDECIDED),
        ([good, good], REPRODUCED),
        ([good, open_], UNDECIDED),
        ([good, open_, bad], NOT_REPRODUCED),
    ):
        assert Finding("f", "w", claims).verdict == verdict


@pytest.mark.parametrize("inputs,verdict", [(FEWEST_INPUTS - 1, UNDECIDED), (FEWEST_INPUTS, REPRODUCED)])
def test_removals_of_few_inputs_decide_nothing(inputs, verdict):
    row = {"removed": "positive", "versus": "random", "measure": PAPERS_MEASURE, "clusters": inputs}
    claims = removal_claims({"table": [{**row, "value": -0.1, "low": -0.2, "high": -0.05}]})
    assert Finding("f", "w", claims).verdict == verdict


def test_the_inputs(tmp_path):
    paths = write_inputs(fixtures(), tmp_path, sst2_queries=4, natural_queries=3)
    assert len(paths["sst2"].read_text().splitlines()) == 1 + 4
    header, *rows = (line.split("\t") for line in paths["others"].read_text().splitlines())
    assert header == ["premise", "hypothesis", "label", "set", "number"]
    assert [row[3:] for row in rows] == [["negated", str(i)] for i in (1, 2, 3)] + [
        ["natural", str(i)] for i in (1, 2, 3)
    ]
    assert rows[0][1:3] == ["The pilots did not thank the baker .", "non-entailment"]


def test_data_that_is_missing(tmp_path):
    with pytest.raises(ConfigurationError, match="has no sst2/train.tsv; paper/README.md says"):
        data_in(tmp_path)


@pytest.mark.slow
def test_all_of_it_at_the_tiny_size(tmp_path, monkeypatch):
    work = Work(tmp_path / "work", SIZES["tiny"], fixtures(), {}, 10, 1, tmp_path / "docs")
    run(work)
    document = (tmp_path / "docs" / "paper.md").read_text()
    for number in range(1, 7):
        assert f"able {number}" in document or f"ables {number}" in document
    for name in ("figure_1.svg", "figure_2.svg", "figure_3.svg", "figure_4.png", "figure_5.png"):
        assert (tmp_path / "docs" / "paper" / name).stat().st_size > 1000
        assert f"paper/{name}" in document
    content = json.loads((work.folder / NUMBERS).read_text())
    for found in content["removal"].values():
        for of_run in found.values():
            assert of_run["models"]["trained"] == of_run["models"]["planned"]

    # again: nothing is done twice, and every number is the stored one
    for name in ("explain_archive", "measure_consistency"):
        monkeypatch.setattr(f"paper.explained.{name}", None)
    run(replace(work, docs=tmp_path / "again"))
    assert (tmp_path / "again" / "paper.md").read_text() == document
    changed = copy.deepcopy(content)
    changed["accuracy"]["SST-2 dev"]["value"] = 0.98765
    write_document(changed, tmp_path / "changed.md", "paper")
    assert "98.8" in (tmp_path / "changed.md").read_text() and "98.8" not in document

    with pytest.raises(ConfigurationError, match="was begun with other settings .size differ"):
        run(replace(work, size=SIZES["full"]))

    # where the folder is gone, the models' predictions beside the document are taken up, but not those of other models
    shutil.rmtree(work.folder / "removal")
    run(replace(work, minutes=0))
    assert (tmp_path / "docs" / "paper.md").read_text() == document
    shutil.rmtree(work.folder / "removal")
    other = SimpleNamespace(fingerprint="another")
    monkeypatch.setattr("paper.removal.make_retrainer", lambda config: other)
    run(replace(work, minutes=0))
    assert read(work.folder / NUMBERS)["removal"] == {"30": {}, "0.1": {}}
