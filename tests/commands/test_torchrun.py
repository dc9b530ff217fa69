"""Two processes under `torchrun` write what one writes; when one of them dies the run ends, and goes on later."""

import os
import subprocess
import sys

import numpy
import pytest

from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.influence.results import open_results
from tests.commands.test_influence import INPUTS, sst2_archive, write_tsv

# Inputs come in blocks of four; process `sys.argv[1]` ends, as if killed, when it has explained the first block.
PROGRAM = """
import os, sys
import allennlp_influence
from allennlp.common.checks import ConfigurationError
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.influence import InfluenceFunctions, influence_functions

influence_functions._MOST_QUERIES_AT_ONCE = 4
dying, explain, blocks = int(sys.argv.pop(1)), InfluenceFunctions.explain, []

def explain_until_death(self, *args):
    if blocks and int(os.environ["RANK"]) == dying:
        os.kill(os.getpid(), 9)
    blocks.append(1)
    return explain(self, *args)

InfluenceFunctions.explain = explain_until_death
try:
    explain_archive(*sys.argv[1:], top_k=3, solver="identity")
except ConfigurationError as error:
    sys.exit(f"said: {error.message}")
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory, tiny_transformer):
    folder = tmp_path_factory.mktemp("torchrun")
    archive = sst2_archive(folder, tiny_transformer("bert"))
    return archive, str(write_tsv(folder / "dev.tsv", INPUTS))


def torchrun(folder, archive, inputs, out, dying: int) -> subprocess.CompletedProcess:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0"]
    return subprocess.run(
        [*command, str(program), str(dying), archive, inputs, str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_two_processes_write_what_one_writes(data, tmp_path):
    explain_archive(*data, str(tmp_path / "one"), top_k=3, solver="identity")
    expected = open_results(tmp_path / "one")

    ended = torchrun(tmp_path, *data, tmp_path / "two", dying=1)
    assert ended.returncode != 0 and not (tmp_path / "two").exists()
    assert "exitcode  : -9" in ended.stderr
    written = (tmp_path / "two.part" / "explanations.jsonl").read_text().count("\n")
    assert written == 4

    went_on = torchrun(tmp_path, *data, tmp_path / "two", dying=-1)
    assert went_on.returncode == 0, went_on.stderr
    assert f"resumed after 4 of {len(INPUTS)} inputs" in went_on.stdout
    found = open_results(tmp_path / "two")
    numpy.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-9)
    assert found.train_ids == expected.train_ids and found.query_ids == expected.query_ids
    for line, other in zip(found.explanations, expected.explanations):
        assert line["predicted"] == other["predicted"]
        assert [s["id"] for s in line["supporters"]] == [s["id"] for s in other["supporters"]]
    for example, other in zip(found.training_examples, expected.training_examples):
        assert example["self_influence"] == pytest.approx(other["self_influence"], rel=1e-5)
        assert example["self_influence"] > 0 and example["text"] == other["text"]

    again = torchrun(tmp_path, *data, tmp_path / "two", dying=-1)
    assert again.returncode == 0 and "is complete already" in again.stdout
