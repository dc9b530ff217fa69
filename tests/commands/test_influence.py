"""`allennlp influence`: what it writes, how it goes on after an end, and what it refuses."""

import argparse
import json
import os
import subprocess
import sys

import numpy
import pytest
import torch
from allennlp.common.checks import ConfigurationError

import allennlp_influence
from allennlp_influence.commands import influence as command
from allennlp_influence.commands import provenance
from allennlp_influence.commands.influence import InfluenceCommand, explain_archive
from allennlp_influence.influence import InfluenceFunctions, influence_functions
from allennlp_influence.influence.results import ResultWriter, open_results
from tests.influence.archives import QUERIES, TEXTS, make_archive, transformer_classifier
from tests.influence.conftest import FROZEN
from tests.influence.others import kinds
from tests.influence.reference import queries_of

BITS = ("scores.npy", "explanations.jsonl", "training_examples.jsonl")
FILES = {*BITS, "ids.json", "provenance.json", "report.html"}
TRAIN_LABELS = "0100010001"
INPUTS = QUERIES + TEXTS + ["sometimes café ."] * 2
BLOCK = 4  # queries, so that there are several


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    before = influence_functions._MOST_QUERIES_AT_ONCE
    influence_functions._MOST_QUERIES_AT_ONCE = BLOCK
    yield
    influence_functions._MOST_QUERIES_AT_ONCE = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("influence")


@pytest.fixture(scope="module")
def archive(folder, tiny_transformer) -> str:
    return sst2_archive(folder, tiny_transformer("bert"))


@pytest.fixture(scope="module")
def inputs(folder) -> str:
    return str(write_tsv(folder / "dev.tsv", INPUTS, "01" * (len(INPUTS) // 2)))


@pytest.fixture(scope="module")
def whole(folder, archive, inputs):
    """The result directory of a run that nothing disturbed."""
    run(archive, inputs, "-s", str(folder / "whole"), "--top-k", "3")
    return folder / "whole"


def sst2_archive(folder, encoder: str) -> str:
    return make_archive(
        folder / "model",
        reader={"type": "sst2", "encoder": encoder},
        model=transformer_classifier(encoder),
        train_data=write_tsv(folder / "train.tsv", TEXTS, TRAIN_LABELS),
        trainer={"no_grad": FROZEN},
        seed=1,
    )


def write_tsv(path, texts, labels=None):
    rows = [("sentence", "label"), *zip(texts, labels)] if labels else [("sentence",)]
    rows += [] if labels else [(text,) for text in texts]
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(*arguments: str) -> None:
    parser = argparse.ArgumentParser()
    InfluenceCommand().add_subparser(parser.add_subparsers())
    args = parser.parse_args(["influence", *arguments])
    args.func(args)


def bits(directory):
    return [(directory / name).read_bytes() for name in BITS if (directory / name).exists()]


# -- what it writes -------------------------------------------------------------------------------


def test_the_result_directory(archive, inputs, whole, capsys):
    assert {path.name for path in whole.iterdir()} == FILES
    assert not whole.with_name("whole.part").exists()
    results = open_results(whole)
    assert isinstance(results.scores, numpy.memmap)
    assert results.scores.shape == (len(INPUTS), len(TEXTS))
    assert results.scores.dtype == numpy.float32
    assert results.query_ids == list(range(1, len(INPUTS) + 1))
    assert results.train_ids == list(range(1, len(TEXTS) + 1))

    interpreter = InfluenceFunctions.from_path(archive, import_plugins=False)
    explanations = interpreter.interpret_from_file(inputs, k=3)
    for i, (line, row, explanation) in enumerate(
        zip(results.explanations, results.scores, explanations)
    ):
        assert line["id"] == i + 1 and line["text"] == {"sentence": INPUTS[i]}
        assert (line["predicted"], line["explained"]) == (explanation.predicted,) * 2
        assert line["gold"] == explanation.gold == "01"[i % 2]
        assert line["labels"] == explanation.labels
        assert line["probabilities"] == pytest.approx(explanation.probabilities)
        assert line["loss"] == pytest.approx(explanation.loss)
        assert (row == explanation.scores).all()
        assert (line["mean"], line["std"]) == pytest.approx((row.mean(), row.std()), rel=1e-5)
        assert sum(map(abs, line["saliency"]["scores"])) == pytest.approx(1)
        for key, influences in (
            ("supporters", explanation.top_k),
            ("opponents", explanation.bottom_k),
        ):
            assert [listed["id"] for listed in line[key]] == [x.id for x in influences]
            assert [listed["rank"] for listed in line[key]] == [1, 2, 3]
            for listed, influence in zip(line[key], influences):
                assert listed["text"] == {"sentence": TEXTS[influence.position]}
                assert listed["label"] == TRAIN_LABELS[influence.position]
                assert listed["score"] == row[influence.position] == influence.score
                assert listed["z"] == pytest.approx(influence.z)
                assert listed["loss"] == pytest.approx(influence.loss)
        assert line["diagnosis"]["converged"] and line["diagnosis"]["residual"] < 1e-3


def test_the_training_examples(archive, inputs, whole, tmp_path):
    examples = open_results(whole).training_examples
    assert [example["id"] for example in examples] == list(range(1, len(TEXTS) + 1))
    interpreter = InfluenceFunctions.from_path(archive, import_plugins=False)
    predictor = interpreter.explain(interpreter.instances, k=1)
    for text, label, example, explained in zip(TEXTS, TRAIN_LABELS, examples, predictor):
        assert example["text"] == {"sentence": text} and example["columns"] == {}
        assert (example["label"], example["predicted"]) == (label, explained.predicted)
        assert example["probabilities"] == pytest.approx(explained.probabilities, rel=1e-5)
        of_label = example["probabilities"][explained.labels.index(label)]
        assert example["loss"] == pytest.approx(-numpy.log(of_label), rel=1e-5)
    assert {example["predicted"] for example in examples} == {"0", "1"}
    listed = [x for line in open_results(whole).explanations for x in line["supporters"]]
    assert listed and all(x["loss"] == examples[x["id"] - 1]["loss"] for x in listed)

    # its own score, where every training example is explained at its own label
    train = str(write_tsv(tmp_path / "train.tsv", TEXTS, TRAIN_LABELS))
    run(archive, train, "-s", str(tmp_path / "out"), "--solver", "gauss-newton", "--label", "gold")
    results = open_results(tmp_path / "out")
    found = [example["self_influence"] for example in results.training_examples]
    numpy.testing.assert_allclose(found, results.scores.diagonal(), rtol=1e-4)
    assert min(found) > 0


def test_self_influence_is_left_out_where_it_would_multiply_the_time(
    archive, inputs, tmp_path
):
    for name, solver, reason in (
        ("systems", "conjugate-gradient", "would take a system for every training example"),
        ("whole", '{"type": "gauss-newton"}', None),
        ("part", '{"type": "gauss-newton", "num_examples": 5}', "leave out num_examples of gauss-newton"),
    ):
        run(archive, inputs, "-s", str(tmp_path / name), "--solver", solver)
        results = open_results(tmp_path / name)
        stages = {stage["name"] for stage in results.provenance["stages"]}
        assert ("self-influence" in stages) == (reason is None)
        assert (results.provenance["no_self_influence"] is None) == (reason is None)
        assert reason is None or reason in results.provenance["no_self_influence"]
        computed = {x["self_influence"] is not None for x in results.training_examples}
        assert computed == {reason is None}


def test_training_examples_are_read_when_they_are_used(archive, inputs, tmp_path):
    out = tmp_path / "out"
    run(archive, inputs, "-s", str(out), "--solver", "identity")
    file = out / "training_examples.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    for content, said in (
        (lines[:-1], "are not the train_ids"),
        (lines[:-1] + [lines[-1][:-5]], "is damaged"),
        (lines[:-1] + ["[]"], "is damaged"),
        (None, "was made by an earlier version; make it again"),
    ):
        file.write_text("".join(content)) if content else file.unlink()
        results = open_results(out)  # a program that does not need them is not kept waiting
        with pytest.raises(ConfigurationError, match=said):
            results.training_examples


def test_the_provenance(archive, inputs, whole):
    provenance = open_results(whole).provenance
    assert set(provenance["inputs"]) == {
        "archive",
        "overrides",
        "train_data",
        "input",
        "solver",
        "label",
        "normalisation",
        "checkpoints",
        "top_k",
        "token_attribution",
        "matmul_precision",
        "frozen",
    }
    for name in ("archive", "train_data", "input"):
        assert len(provenance["inputs"][name]) == 64
    assert provenance["archive"]["path"] == archive
    assert provenance["input"] == {"path": inputs, "examples": len(INPUTS)}
    assert provenance["train_data"]["examples"] == len(TEXTS)
    assert provenance["versions"]["allennlp-influence"] == allennlp_influence.__version__
    assert provenance["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert provenance["solver"]["type"] == "gauss-newton"
    assert provenance["damping"] == provenance["solver"]["damping"] == 0.1
    assert provenance["damping_chosen_by"] == {"by": "default"}
    assert provenance["curvature"]["kind"] == "gauss-newton"
    assert provenance["curvature"]["examples"] == len(TEXTS)
    assert provenance["curvature"]["lambda_max"] > 0
    checks = provenance["self_checks"]
    assert checks["asymmetry"] < 1e-5 and checks["derivative_error"] < 0.01
    assert len(checks["rank_agreement_with_identity"]) == 4
    assert all(-1 <= value <= 1 for value in checks["rank_agreement_with_identity"])
    assert provenance["matmul_precision"] == "highest" and checks["rank_agreement_with_float32"] == []
    trained = provenance["trained_parameters"]
    assert trained["count"] == (16 * 8 + 8 + 8 + 8) + (2 * 8 + 2)
    assert trained["tensors"] == len(trained["names"]) == 6
    assert trained["frozen_by"] == FROZEN
    assert provenance["seed"] == 0 and provenance["resumed_after"] == 0
    assert provenance["peak_memory_gb"] > 0 and provenance["warnings"] == []
    assert all(stage["seconds"] >= 0 for stage in provenance["stages"])
    assert provenance["command"] and provenance["device"] == "cpu"


def test_less_precise_products_are_asked_for_and_compared(archive, whole, inputs, tmp_path):
    run(archive, inputs, "-s", str(tmp_path / "out"), "--matmul-precision", "medium")
    assert torch.get_float32_matmul_precision() == "highest"
    results = open_results(tmp_path / "out")
    assert results.provenance["matmul_precision"] == "medium"
    agreement = results.provenance["self_checks"]["rank_agreement_with_float32"]
    assert len(agreement) == 4 and min(agreement) > 0.9
    numpy.testing.assert_allclose(results.scores, open_results(whole).scores, rtol=0.1, atol=1e-3)


def test_the_terminal_says_what_it_costs_and_what_came_out(archive, inputs, tmp_path, capsys):
    run(archive, inputs, "-s", str(tmp_path / "out"))
    out = capsys.readouterr().out
    assert "170 trained parameters in 6 tensors" in out and "damping λ = 0.1" in out
    assert "the defaults, which predicted retraining best" in " ".join(out.split())
    assert "4 blocks of up to 4 inputs: expect a minute or less for the solver" in out
    assert "supporting" in out and "report.html" in out


def test_inputs_of_the_predictor_and_of_the_reader_labelled_or_not(archive, whole, tmp_path):
    unlabelled = write_tsv(tmp_path / "unlabelled.tsv", INPUTS)
    by_predictor = tmp_path / "inputs.jsonl"
    rows = [{"sentence": text} for text in INPUTS]
    rows[1]["label"] = "1"
    lines = [json.dumps(row) + "\n" for row in rows]
    lines.insert(1, "\n")
    by_predictor.write_text("\ufeff" + "".join(lines), encoding="utf-8")
    expected = open_results(whole)
    for path, ids, gold in (
        (unlabelled, expected.query_ids, [None] * len(INPUTS)),
        (by_predictor, [1, *range(3, len(INPUTS) + 2)], [None, "1"] + [None] * 12),
    ):
        run(archive, str(path), "-s", str(tmp_path / path.stem), "--top-k", "3")
        results = open_results(tmp_path / path.stem)
        assert results.query_ids == [line["id"] for line in results.explanations] == ids
        assert [line["gold"] for line in results.explanations] == gold
        assert (results.scores == expected.scores).all()
        for line, other in zip(results.explanations, expected.explanations):
            assert {**line, "id": 0, "gold": 0} == {**other, "id": 0, "gold": 0}


def test_options_reach_the_library(archive, inputs, tmp_path):
    def results_of(name, *arguments):
        run(archive, inputs, "-s", str(tmp_path / name), *arguments)
        return open_results(tmp_path / name)

    default = results_of("default", "--solver", "identity")
    doubled = results_of("doubled", "--solver", '{"type": "identity", "damping": 15}')
    numpy.testing.assert_allclose(doubled.scores, 2 * default.scores, rtol=1e-5)
    assert doubled.provenance["damping"] == 15
    gold = results_of("gold", "--solver", "identity", "--label", "gold", "--top-k", "1")
    assert [line["explained"] for line in gold.explanations] == list("01" * (len(INPUTS) // 2))
    assert all(len(line["supporters"]) == 1 for line in gold.explanations)
    named = results_of("named", "--solver", "identity", "--label", "1")
    assert {line["explained"] for line in named.explanations} == {"1"}
    assert (named.scores[1::2] == gold.scores[1::2]).all()
    head = results_of("head", "--solver", "identity", "--params-to-freeze", "_text_field_embedder")
    assert head.provenance["trained_parameters"]["count"] == 2 * 8 + 2
    every = results_of("every", "--solver", "identity", "--params-to-freeze")
    assert every.provenance["trained_parameters"]["frozen_by"] == []
    overridden = results_of(
        "few", "--solver", "identity", "-o", '{"dataset_reader.max_instances": 4}'
    )
    assert overridden.train_ids == [1, 2, 3, 4]
    other = write_tsv(tmp_path / "other.tsv", TEXTS[::-1], TRAIN_LABELS[::-1])
    reversed_ = results_of("reversed", "--solver", "identity", "--train-data", str(other))
    numpy.testing.assert_allclose(reversed_.scores[:, ::-1], default.scores, rtol=1e-4, atol=1e-7)


def test_the_words_of_listed_examples_on_request(archive, inputs, whole, tmp_path, capsys):
    out = str(tmp_path / "out")
    run(archive, inputs, "-s", out, "--top-k", "3", "--token-attribution")
    assert f"words of {2 * 3 * len(INPUTS)} listed training examples: expect a" in capsys.readouterr().out
    results, without = open_results(out), open_results(whole)
    assert numpy.allclose(results.scores, without.scores, rtol=1e-4, atol=1e-9)
    stages = [stage["name"] for stage in results.provenance["stages"]]
    assert "token attribution" in stages
    for line, other in zip(results.explanations, without.explanations):
        for key in ("supporters", "opponents"):
            for listed, plain in zip(line[key], other[key]):
                assert plain["token_attribution"] is None
                found = listed["token_attribution"]
                assert set(found) == {*line["saliency"], "score", "rest"}
                assert found["score"] == pytest.approx(listed["score"], rel=1e-3, abs=1e-9)
                words = sum(word["score"] for word in found["words"])
                assert words == pytest.approx(found["score"] - found["rest"], rel=1e-3, abs=1e-9)
                text = "".join(word["text"] for word in found["words"])
                assert text == listed["text"]["sentence"].replace(" ", "")


def test_checkpoints_are_averaged_over(folder, archive, inputs, whole, tmp_path):
    own, others = folder / "model", tmp_path / "others"
    others.mkdir()
    state = torch.load(own / "weights.th", weights_only=True)
    for epoch, factor in enumerate((1.0, 0.5)):
        state["_classification_layer.weight"] *= factor
        torch.save(state, others / f"model_state_e{epoch}_b0.th")

    def scores(*checkpoints):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        run(archive, inputs, "-s", str(out), "--solver", "identity", "--checkpoints", *map(str, checkpoints))
        results = open_results(out)
        assert len(results.provenance["checkpoints"]) == len(results.provenance["inputs"]["checkpoints"])
        return results.scores

    first, second = scores(others / "model_state_e0_b0.th"), scores(others / "model_state_e1_b0.th")
    assert (first == scores(own)).all() and not numpy.allclose(first, second, rtol=0.1)
    numpy.testing.assert_allclose(scores(others), (first + second) / 2, rtol=1e-4, atol=1e-7)
    with pytest.raises(SystemExit, match="results are not mixed"):
        run(archive, inputs, "-s", str(whole), "--top-k", "3", "--checkpoints", str(others))


def test_a_serialization_directory_does_for_an_archive(folder, archive, inputs, whole, tmp_path):
    run(str(folder / "model"), inputs, "-s", str(tmp_path / "out"), "--top-k", "3")
    assert bits(tmp_path / "out") == bits(whole)
    run(str(folder / "model"), inputs, "-s", str(tmp_path / "out"), "--top-k", "3")


def test_without_saliency_there_is_still_influence(archive, inputs, whole, tmp_path, monkeypatch):
    """As for a model with two tables of embeddings."""

    def only_short(model, instances, labels=None):
        if any(len(instance["tokens"]) > 5 for instance in instances):
            raise ConfigurationError("too long\nfor this")
        return token_saliency(model, instances, labels)

    token_saliency = command.token_saliency
    for module in (command, provenance):  # where it is computed, and where the reason is asked for
        monkeypatch.setattr(module, "token_saliency", only_short)
    run(archive, inputs, "-s", str(tmp_path / "out"), "--top-k", "3")
    results = open_results(tmp_path / "out")
    missing = [line for line in results.explanations if line["saliency"] is None]
    assert 0 < len(missing) < len(INPUTS)
    assert results.provenance["warnings"] == [
        f"no saliency of words for {len(missing)} of {len(INPUTS)} inputs: too long for this"
    ]
    assert (results.scores == open_results(whole).scores).all()


@pytest.mark.parametrize("kind", ["lstm", "snli", "roberta with a feedforward"])
def test_archives_of_others(kind, tiny_transformer, tmp_path):
    reader, model, frozen, write, queries = kinds(tiny_transformer)[kind]
    train = write(tmp_path)
    archive = make_archive(
        tmp_path / "model",
        reader=reader,
        model=model,
        train_data=train,
        trainer={"no_grad": frozen},
    )
    by_predictor = tmp_path / "inputs.jsonl"
    keys = ("premise", "hypothesis") if kind == "snli" else ("sentence",)
    rows = [dict(zip(keys, query if kind == "snli" else (query,))) for query in queries]
    by_predictor.write_text("".join(json.dumps(row) + "\n" for row in rows))
    solver = ("--solver", '{"damping": 60}')
    run(archive, str(by_predictor), "-s", str(tmp_path / "json"), *solver)
    results = open_results(tmp_path / "json")
    interpreter = InfluenceFunctions.from_path(
        archive, import_plugins=False, solver={"damping": 60}
    )
    explanations = interpreter.interpret_instances(queries_of(interpreter, queries))
    assert (results.scores == numpy.stack([e.scores for e in explanations])).all()
    slower = [note for note in results.provenance["warnings"] if "forward-mode" in note]
    assert len(slower) == (kind == "lstm")
    run(archive, str(train), "-s", str(tmp_path / "file"), *solver, "--label", "gold")
    for line in open_results(tmp_path / "file").explanations:
        assert line["explained"] == line["gold"] and line["saliency"]["words"]


# -- ends and new starts --------------------------------------------------------------------------


def count_explained(monkeypatch) -> list:
    explained = []
    explain = InfluenceFunctions.explain

    def counted(self, instances, *args, **kwargs):
        explained.extend(instances)
        return explain(self, instances, *args, **kwargs)

    monkeypatch.setattr(InfluenceFunctions, "explain", counted)
    return explained


@pytest.mark.parametrize(
    "end",
    ["between two lines", "in a line", "at the training examples", "before the report", "at the rename"],
)
def test_a_stopped_run_goes_on_to_the_same_bits(end, archive, inputs, whole, tmp_path, monkeypatch):
    arguments = (archive, inputs, "-s", str(tmp_path / "out"), "--top-k", "3")
    added = []

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    def add_six(self, *args):
        add(self, *args)
        added.append(args)
        if len(added) == 6:
            stop()

    add = ResultWriter.add
    with monkeypatch.context() as patch:
        if end == "at the training examples":
            patch.setattr(command, "training_lines", stop)
        elif end == "before the report":
            patch.setattr(command, "write_report", stop)
        elif end == "at the rename":
            patch.setattr(ResultWriter, "publish", stop)
        else:
            patch.setattr(ResultWriter, "add", add_six)
        with pytest.raises(KeyboardInterrupt):
            run(*arguments)
    part = tmp_path / "out.part"
    assert part.is_dir() and not (tmp_path / "out").exists()
    if end == "in a line":
        with open(part / "explanations.jsonl", "ab") as file:
            file.write('{"text": {"sentence": "sometimes café'.encode()[:-1])  # half of the é
        (part / "explanations.jsonl.tmp").write_text("left over")
    explained = count_explained(monkeypatch)
    run(*arguments)
    done = BLOCK if "line" in end else len(INPUTS)
    assert len(explained) == len(INPUTS) - done
    assert bits(tmp_path / "out") == bits(whole)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES and not part.exists()
    assert open_results(tmp_path / "out").provenance["resumed_after"] == done


# Runs in processes that are forked, since starting one anew takes longer than the run.
KILLED = """
import os, random, shutil, signal, sys, time
from allennlp_influence.commands.influence import explain_archive
from allennlp_influence.influence import influence_functions

influence_functions._MOST_QUERIES_AT_ONCE = 4
archive, inputs, folder, num_kills = *sys.argv[1:4], int(sys.argv[4])

def started(out):
    process = os.fork()
    if process:
        return process
    sys.stdout = sys.stderr = open(os.devnull, "w")
    explain_archive(archive, inputs, out, top_k=3, cache_dir=out + "-cache")
    os._exit(0)

begin = time.monotonic()
assert os.waitpid(started(folder + "/undisturbed"), 0)[1] == 0
duration = time.monotonic() - begin

kills, runs = 0, 0
while kills < num_kills:
    process = started(f"{folder}/killed-{runs}")
    time.sleep(random.uniform(0, duration))
    os.kill(process, signal.SIGKILL)
    if os.waitpid(process, 0)[1] == signal.SIGKILL:
        kills += 1
    else:
        runs += 1
assert os.waitpid(started(f"{folder}/killed-{runs}"), 0)[1] == 0
"""


def test_a_run_killed_twenty_times_gives_the_same_bits(archive, inputs, whole, tmp_path):
    """At random moments; a run that ends before its kill is followed by the next one."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    arguments = [archive, inputs, str(tmp_path), "20"]
    subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, check=True, timeout=300)
    runs = sorted(path for path in tmp_path.glob("killed-*") if "cache" not in path.name)
    assert runs
    for out in runs:
        assert bits(out) == bits(whole)
        assert {path.name for path in out.iterdir()} == FILES


def test_two_processes_do_not_write_one_directory(archive, inputs, tmp_path, monkeypatch):
    def run_another(self, *args):
        run(archive, inputs, "-s", str(tmp_path / "out"), "--top-k", "3")

    with monkeypatch.context() as patch:
        patch.setattr(ResultWriter, "add", run_another)
        with pytest.raises(SystemExit, match="is being written by another process"):
            run(archive, inputs, "-s", str(tmp_path / "out"), "--top-k", "3")
    run(archive, inputs, "-s", str(tmp_path / "out"), "--top-k", "3")  # the lock is gone
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_complete_directory_is_shown_not_recomputed(archive, inputs, whole, monkeypatch, capsys):
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in whole.iterdir()}
    explained = count_explained(monkeypatch)
    run(archive, inputs, "-s", str(whole) + "/", "--top-k", "3")
    assert explained == []
    out = capsys.readouterr().out
    assert "is complete already" in out and "supporting" in out
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in whole.iterdir()}
    assert after == before


@pytest.mark.parametrize("complete", [True, False])
def test_other_results_are_not_mixed_in(
    complete, folder, archive, inputs, whole, tmp_path, tiny_transformer, monkeypatch
):
    out = tmp_path / "out"
    if not complete:
        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(command, "write_report", lambda *args, **kwargs: 1 / 0)
            run(archive, inputs, "-s", str(out), "--top-k", "3")
    directory, shown = (whole, whole) if complete else (out, tmp_path / "out.part")
    before = bits(shown)
    other_inputs = str(write_tsv(tmp_path / "other.tsv", INPUTS[:5]))
    other_training = str(write_tsv(tmp_path / "train.tsv", TEXTS, "1" + TRAIN_LABELS[1:]))
    other_archive = make_archive(
        tmp_path / "model",
        reader={"type": "sst2", "encoder": tiny_transformer("bert")},
        model=transformer_classifier(tiny_transformer("bert")),
        train_data=folder / "train.tsv",
        trainer={"no_grad": FROZEN},
        seed=2,
    )
    usual = {"-s": str(directory), "--top-k": "3"}
    for different, arguments in {
        "solver": (archive, inputs, {"--solver": "identity"}),
        "input": (archive, other_inputs, {}),
        "train_data": (archive, inputs, {"--train-data": other_training}),
        "archive": (other_archive, inputs, {}),
        "label": (archive, inputs, {"--label": "1"}),
        "top_k": (archive, inputs, {"--top-k": "4"}),
        "frozen": (archive, inputs, {"--params-to-freeze": "embedder"}),
    }.items():
        options = {**usual, **arguments[2]}
        with pytest.raises(SystemExit) as exit:
            run(*arguments[:2], *(word for option in options.items() for word in option))
        message = str(exit.value)
        assert f"{shown} was made with other inputs ({different} differ)" in message
        assert "\n" not in message
        assert bits(shown) == before


# -- what is refused ------------------------------------------------------------------------------


def refused(*arguments: str) -> str:
    with pytest.raises(SystemExit) as exit:
        run(*arguments)
    message = str(exit.value)
    assert message.startswith("allennlp influence: ") and "\n" not in message
    return message


def test_an_error_is_one_line_and_leaves_no_directory(archive, inputs, folder, tmp_path):
    out = ("-s", str(tmp_path / "out"))
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"sentence": "good"}\n{not json\n')
    half = tmp_path / "half.jsonl"
    half.write_bytes(b'{"sentence": "good"}\n{"sentence": "\xff"}\n')
    empty = write_tsv(tmp_path / "empty.tsv", [])
    unlabelled = str(write_tsv(tmp_path / "unlabelled.tsv", INPUTS))
    no_archive = tmp_path / "model.tar.gz"
    no_archive.write_text("no archive")
    ends = {
        "the archive nothing.tar.gz does not exist": ("nothing.tar.gz", inputs),
        "model.tar.gz can't be loaded": (str(no_archive), inputs),
        "the input file nothing.tsv does not exist": (archive, "nothing.tsv"),
        "the training file nothing.tsv does not exist; give it with --train-data": (
            archive,
            inputs,
            "--train-data",
            "nothing.tsv",
        ),
        "unlabelled.tsv has no label": (archive, inputs, "--train-data", unlabelled),
        "--solver '{\"type\": ' is not JSON": (archive, inputs, "--solver", '{"type": '),
        "solver 'newton' is none of conjugate-gradient": (archive, inputs, "--solver", "newton"),
        "has no parameter 'depth'": (archive, inputs, "--solver", '{"depth": 3}'),
        "--top-k must be at least 1, not 0": (archive, inputs, "--top-k", "0"),
        "label 'maybe' is none of the model's: 0, 1": (archive, inputs, "--label", "maybe"),
        "example 1 of {0} has none".format(unlabelled): (archive, unlabelled, "--label", "gold"),
        "broken.jsonl, line 2: this is not JSON": (archive, str(broken)),
        "half.jsonl, line 2: not UTF-8": (archive, str(half)),
        "empty.tsv, line 2: expected a row": (archive, str(empty)),
        "'[' is not a regular expression": (archive, inputs, "--params-to-freeze", "["),
        "set damping above": (
            archive,
            inputs,
            *("--solver", "conjugate-gradient", "--damping", "1e-3"),
        ),
        "can't be loaded: ": (archive, inputs, "-o", "{not json"),
    }
    for expected, arguments in ends.items():
        assert expected in refused(*arguments, *out)
        assert not list(tmp_path.glob("out*"))
    with pytest.raises(ConfigurationError, match="must be at least 1"):  # as a function it raises
        explain_archive(archive, inputs, str(tmp_path / "out"), top_k=0)


def test_the_archives_own_training_file_may_be_elsewhere(tiny_transformer, inputs, tmp_path):
    train = write_tsv(tmp_path / "train.tsv", TEXTS, TRAIN_LABELS)
    archive = make_archive(
        tmp_path / "model",
        reader={"type": "sst2", "encoder": tiny_transformer("bert")},
        model=transformer_classifier(tiny_transformer("bert")),
        train_data=train,
    )
    train.rename(tmp_path / "moved.tsv")
    message = refused(archive, inputs, "-s", str(tmp_path / "out"))
    assert f"the training file {train} does not exist; give it with --train-data" in message
    assert not list(tmp_path.glob("out*"))


def test_a_system_that_fails_late_leaves_no_directory(archive, inputs, tmp_path, monkeypatch):
    """The remedy is another solver, which could not go on from there."""
    (tmp_path / "out").mkdir()
    solve = influence_functions.InfluenceFunctions._explain_block

    def fail_late(self, instances, names, *options):
        if names[0].startswith("example 5 "):
            raise influence_functions.NotSolvedError(f"{names[0]}: set damping above 3")
        return solve(self, instances, names, *options)

    monkeypatch.setattr(InfluenceFunctions, "_explain_block", fail_late)
    message = refused(archive, inputs, "-s", str(tmp_path / "out"))
    assert f"example 5 of {inputs}: set damping above 3" in message
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    influence_functions._MOST_QUERIES_AT_ONCE = BLOCK
    run(archive, inputs, "-s", str(tmp_path / "out"), "--solver", '{"damping": 60}')
    assert open_results(tmp_path / "out").provenance["damping"] == 60


def test_a_place_that_is_taken_is_refused(archive, inputs, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "provenance.json").write_text("[]")
    for name, expected in (
        ("notes", "is not empty and no result directory"),
        ("foreign", "is not empty and no result directory"),
        ("file", "is a file, not a directory"),
        ("file/below", "can't be written"),
    ):
        assert expected in refused(archive, inputs, "-s", str(tmp_path / name))
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


def test_the_current_directory_is_not_taken_from_under_the_shell(
    archive, inputs, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert "name one in it" in refused(archive, inputs, "-s", ".")
    run(archive, inputs, "-s", "out", "--solver", "identity")
    assert {path.name for path in (tmp_path / "here" / "out").iterdir()} == FILES
