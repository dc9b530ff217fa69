"""The journal of retrainings, and what fills it."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy
import pytest
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis.retrainings import Journal, Retraining, make_retrainer, retrain
from tests.analysis.planted_retrainer import PlantedRetrainer

INPUTS = {"retrainer": "planted", "fraction": 0.1}
WORK = [Retraining(seed, (seed, 5)) for seed in range(6)] + [Retraining(1, (), ((2, 1),))]


def filled(directory, work=WORK, config=None, **options):
    config = {"type": "planted", **(config or {})}
    with Journal(directory, INPUTS) as journal:
        list(retrain(work, journal, make_retrainer(config), config, **options))
        return {r: journal[r] for r in work if r in journal}


def expected(work=WORK):
    planted = PlantedRetrainer()
    return {r: planted.log_probabilities(r.leave_out, r.seed, dict(r.labels)) for r in work}


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    assert all((found[key] == wanted[key]).all() for key in wanted)


def num_lines(path):
    return len(path.read_text().splitlines())


def test_what_was_trained_is_kept_to_the_bit_and_not_trained_again(tmp_path):
    log = tmp_path / "log"
    for _ in range(2):
        assert_equal(filled(tmp_path / "out", config={"log": str(log)}), expected())
    assert num_lines(log) == len(WORK)
    lines = [json.loads(line) for line in open(tmp_path / "out" / "retrainings.jsonl")]
    assert lines[0] == {"inputs": INPUTS}
    assert [line["seed"] for line in lines[1:]] == [r.seed for r in WORK]
    assert [line["left_out"] for line in lines[1:]] == [2] * 5 + [1] + [0]
    same = [Retraining(1, (5, 1, 5))]  # in another order
    filled(tmp_path / "out", same, config={"log": str(log)})
    assert num_lines(log) == len(WORK)


def test_any_end_of_the_file_is_survived(tmp_path):
    filled(tmp_path / "whole")
    whole = (tmp_path / "whole" / "retrainings.jsonl").read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    for size in {0, 1, len(whole) - 1, *numpy.random.default_rng(0).integers(0, len(whole), 20)}:
        (out / "retrainings.jsonl").write_bytes(whole[:size])
        log = tmp_path / f"log{size}"
        assert_equal(filled(out, config={"log": str(log)}), expected())
        assert num_lines(log) == len(WORK) - max(0, whole[:size].count(b"\n") - 1)


def test_several_processes_give_the_same_in_any_order(tmp_path):
    log = tmp_path / "log"
    config = {"log": str(log), "pause": 0.5}
    found = filled(tmp_path / "out", config=config, processes=2)
    assert_equal(found, expected())
    workers = {line.split()[0] for line in log.read_text().splitlines()}
    assert len(workers) == 2 and str(os.getpid()) not in workers
    dying = [Retraining(98), Retraining(99)]
    with pytest.raises(ConfigurationError, match="died, perhaps for want of memory; what is done"):
        filled(tmp_path / "out", dying, processes=2)
    with pytest.raises(ConfigurationError, match="13 can't be trained"):
        filled(tmp_path / "failed", [Retraining(13), *WORK], config={"pause": 0.1}, processes=2)
    kept = num_lines(tmp_path / "failed" / "retrainings.jsonl") - 1
    assert kept > 0  # by the other process, which was at work when this one failed


def test_it_stops_in_time_and_goes_on(tmp_path):
    config = {"type": "planted", "pause": 0.1}
    assert filled(tmp_path / "out", config=config, max_seconds=0) == {}
    begun = filled(tmp_path / "out", config=config, max_seconds=0.25)
    assert list(begun) == WORK[: len(begun)] and 0 < len(begun) < len(WORK)
    with Journal(tmp_path / "out", INPUTS) as journal:
        seconds = list(retrain(WORK, journal, make_retrainer(config), config))
        assert len(seconds) == len(WORK) - len(begun) and min(seconds) >= 0.1
        assert len(journal) == len(journal.seconds) == len(WORK)
        assert set(journal.devices.values()) == {"cpu"}
    assert_equal(filled(tmp_path / "out"), expected())


KILLED = """
import sys
from tests.analysis.test_retrainings import filled
if __name__ == "__main__":
    config = {"log": sys.argv[2], "pause": 0.05}
    filled(sys.argv[1], config=config, processes=2)
"""


def test_a_killed_run_goes_on_and_its_processes_end(tmp_path):
    log, journal = tmp_path / "log", tmp_path / "out" / "retrainings.jsonl"
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    command = [sys.executable, str(script), str(tmp_path / "out"), str(log)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": ":".join(sys.path)})
    while not journal.exists() or num_lines(journal) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with journal.open("a") as file:
        file.write('{"key": "half a li')
    done = num_lines(journal) - 2
    assert_equal(filled(tmp_path / "out", config={"log": str(tmp_path / "log2")}), expected())
    assert num_lines(tmp_path / "log2") == len(WORK) - done
    workers = {int(line.split()[0]) for line in log.read_text().splitlines()} - {process.pid}
    assert workers
    for _ in range(100):  # a child of a killed process is not ours to wait for
        if not any(os.path.exists(f"/proc/{worker}/stat") and state(worker) != "Z" for worker in workers):
            break
        time.sleep(0.1)
    else:
        pytest.fail("a process outlives the one that started it")


def state(pid: int) -> str:
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]


def test_what_is_refused(tmp_path):
    filled(tmp_path / "out", WORK[:1])
    with pytest.raises(ConfigurationError, match=r"made with other inputs \(fraction differ\)"):
        Journal(tmp_path / "out", {**INPUTS, "fraction": 0.2})
    with Journal(tmp_path / "out", INPUTS):
        with pytest.raises(ConfigurationError, match="being written by another process"):
            Journal(tmp_path / "out", INPUTS)
    path = tmp_path / "out" / "retrainings.jsonl"
    path.write_text(path.read_text() + '{"key": 1}\n')
    for _ in range(2):  # the lock is gone
        with pytest.raises(ConfigurationError, match="is damaged"):
            Journal(tmp_path / "out", INPUTS)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be written"):
        Journal(tmp_path / "file", INPUTS)
    with pytest.raises(ConfigurationError, match="nothing"):
        make_retrainer({"type": "nothing"})
    with pytest.raises(ConfigurationError, match="depth"):
        make_retrainer({"type": "planted", "depth": 3})
