"""The ways in, what comes out, and what is said when nothing can."""

import functools

import numpy
import pytest
import torch
from allennlp.common import Lazy
from allennlp.common.checks import ConfigurationError
from allennlp.data.data_loaders import MultiProcessDataLoader
from allennlp.data.fields import LabelField
from allennlp.interpret import InfluenceInterpreter
from allennlp.interpret.influence_interpreters import SimpleInfluence
from allennlp.interpret.influence_interpreters.influence_interpreter import (
    InstanceInfluence,
    InterpretOutput,
)
from allennlp.models.archival import load_archive

from allennlp_influence.engine import InverseCurvature, NotSolvedError
from allennlp_influence.influence import InfluenceExplanation, InfluenceFunctions, TrainingInfluence
from tests.influence.archives import (
    LABELS,
    QUERIES,
    TEXTS,
    make_archive,
    transformer_classifier,
    write_texts,
)
from tests.influence.conftest import FROZEN
from tests.influence.reference import exact, interpreter_of, queries_of, reference_of

NAME = "influence-functions"
QUALIFIED = "allennlp_influence.influence.InfluenceFunctions"


@pytest.fixture(scope="module")
def interpreter(bert_archive) -> InfluenceFunctions:
    return interpreter_of(bert_archive)


@pytest.fixture
def queries(interpreter):
    return queries_of(interpreter, QUERIES)


def scores_of(interpreter) -> numpy.ndarray:
    explanations = interpreter.interpret_instances(queries_of(interpreter, QUERIES))
    return numpy.stack([explanation.scores for explanation in explanations])


# -- ways in --------------------------------------------------------------------------------------


def test_all_ways_in_lead_to_the_same(bert_archive):
    def from_archive(cls, **options):
        return cls.from_archive(load_archive(bert_archive), **options)

    # plugins are imported already, and allennlp-models' looks for the network
    path = functools.partial(dict, archive_path=bert_archive, import_plugins=False)
    ways = [
        InfluenceInterpreter.from_path(**path(interpreter_name=NAME)),
        InfluenceInterpreter.from_path(**path(interpreter_name=QUALIFIED)),
        InfluenceFunctions.from_path(**path()),
        InfluenceFunctions.from_path(**path(interpreter_name=NAME)),
        from_archive(InfluenceInterpreter, interpreter_name=NAME),
        from_archive(InfluenceFunctions, solver="gauss-newton"),
        from_archive(InfluenceFunctions, solver={"damping": 0.1}),
        from_archive(InfluenceFunctions, solver=InverseCurvature.by_name("gauss-newton")()),
    ]
    expected = scores_of(ways[0])
    for interpreter in ways:
        assert type(interpreter) is InfluenceFunctions
        assert interpreter.trained == ways[0].trained
        assert (scores_of(interpreter) == expected).all()


def test_a_solver_is_a_name_or_a_configuration(bert_archive):
    by_name = interpreter_of(bert_archive, solver="identity")
    by_config = interpreter_of(bert_archive, solver={"type": "identity", "damping": 15.0})
    numpy.testing.assert_allclose(scores_of(by_config), 2 * scores_of(by_name), rtol=1e-6)
    assert by_name.solver_config["damping"] == 30.0 and by_config.solver_config["damping"] == 15.0


def test_overrides_and_another_training_file(bert_archive, tmp_path):
    path = write_texts(tmp_path / "other.jsonl", TEXTS[:4], LABELS[:4])
    interpreter = InfluenceInterpreter.from_path(
        bert_archive,
        interpreter_name=NAME,
        train_data_path=str(path),
        overrides={"dataset_reader.max_instances": 3},
        import_plugins=False,
    )
    assert scores_of(interpreter).shape == (2, 3)


def test_without_a_training_file_the_remedy_is_said(bert_archive):
    archive = load_archive(bert_archive)
    path = archive.config.params.pop("train_data_path")
    with pytest.raises(ConfigurationError, match="give train_data_path"):
        InfluenceFunctions.from_archive(archive)
    assert len(InfluenceFunctions.from_archive(archive, train_data_path=path).instances) == 10


def test_any_data_loader_will_do(bert_archive):
    options = dict(train_data_loader=Lazy(MultiProcessDataLoader))
    interpreter = interpreter_of(
        bert_archive, test_data_loader=Lazy(MultiProcessDataLoader), **options
    )
    expected = interpreter_of(bert_archive)
    path = expected._train_data_path
    for explanation, other in zip(
        interpreter.interpret_from_file(path), expected.interpret_from_file(path)
    ):
        assert (explanation.scores == other.scores).all()


def test_interpreters_of_others_are_left_alone(bert_archive):
    theirs = InfluenceInterpreter.from_archive(load_archive(bert_archive))
    assert type(theirs) is SimpleInfluence


# -- what comes out -------------------------------------------------------------------------------


def test_an_explanation_has_what_allennlps_has_and_more(bert_archive, interpreter, queries):
    reference = reference_of(bert_archive, QUERIES, FROZEN)
    explanations = interpreter.interpret_instances(queries, k=3)
    assert set(InterpretOutput._fields) < set(InfluenceExplanation._fields)
    assert set(InstanceInfluence._fields) < set(TrainingInfluence._fields)
    for row, (query, explanation) in enumerate(zip(queries, explanations)):
        assert explanation.test_instance is query
        assert explanation.loss == pytest.approx(reference.query_losses[row].item())
        probabilities = dict(zip(explanation.labels, explanation.probabilities))
        assert sorted(probabilities) == ["neg", "none", "pos"]
        assert sum(explanation.probabilities) == pytest.approx(1)
        assert explanation.predicted == max(probabilities, key=probabilities.get)
        assert explanation.explained == explanation.predicted and explanation.gold is None
        assert numpy.exp(-explanation.loss) == pytest.approx(probabilities[explanation.explained])
        order = numpy.argsort(explanation.scores)
        assert [i.position for i in explanation.top_k] == order[::-1][:3].tolist()
        assert [i.position for i in explanation.bottom_k] == order[:3].tolist()
        for influence in explanation.top_k + explanation.bottom_k:
            assert influence.instance is interpreter.instances[influence.position]
            assert influence.score == explanation.scores[influence.position]
            assert influence.z == explanation.z_scores[influence.position]
            assert influence.id == influence.position + 1
            assert influence.loss == pytest.approx(
                reference.training_losses[influence.position].item(), rel=1e-5
            )
        diagnosis = explanation.diagnosis
        assert diagnosis.converged and diagnosis.steps > 1 and diagnosis.residual < 1e-9
        low, high = torch.linalg.eigvalsh(reference.hessian)[[0, -1]].tolist()
        assert low <= diagnosis.lambda_min < diagnosis.lambda_max <= high


@pytest.mark.parametrize("k", [0, 10, 20, 1000])
def test_any_number_can_be_listed(interpreter, queries, k):
    explanation = interpreter.interpret(queries[0], k=k)
    assert len(explanation.top_k) == len(explanation.bottom_k) == min(k, len(TEXTS))
    if k >= len(TEXTS):
        assert explanation.top_k == explanation.bottom_k[::-1]


def test_one_input_many_inputs_and_a_file_agree(interpreter, queries, tmp_path):
    together = interpreter.interpret_instances(queries, k=2)
    for query, explanation in zip(queries, together):
        alone = interpreter.interpret(query, k=2)
        numpy.testing.assert_allclose(alone.scores, explanation.scores, rtol=1e-5, atol=1e-8)
    unlabelled = write_texts(tmp_path / "unlabelled.jsonl", QUERIES)
    labelled = write_texts(tmp_path / "labelled.jsonl", QUERIES, ["none", "unheard of"])
    for path, gold in ((unlabelled, [None, None]), (labelled, ["none", "unheard of"])):
        read = interpreter.interpret_from_file(str(path), k=2)
        assert [explanation.gold for explanation in read] == gold
        for explanation, expected in zip(read, together):
            assert (explanation.scores == expected.scores).all()
            assert explanation.explained == expected.explained
    assert interpreter.interpret_instances([]) == []


def test_texts_have_the_ids_of_their_examples(tiny_transformer, tmp_path):
    """As our own readers give them: rows of the file."""
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\ngood\t1\nbad film\t0\nnot good .\t0\n", encoding="utf-8")
    name = tiny_transformer("bert")
    archive = make_archive(
        tmp_path / "model",
        reader={"type": "sst2", "encoder": name},
        model=transformer_classifier(name),
        train_data=path,
        trainer={"no_grad": FROZEN},
    )
    interpreter = interpreter_of(archive, label="1")
    explanation = interpreter.interpret(*queries_of(interpreter, ["a good film"]))
    assert sorted(i.id for i in explanation.top_k) == [1, 2, 3]
    assert [e.text["sentence"] for e in interpreter.examples] == ["good", "bad film", "not good ."]


# -- the explained label --------------------------------------------------------------------------


def test_the_label_is_predicted_gold_or_named(bert_archive, queries):
    for query in queries:
        query.add_field("label", LabelField("none"))
    explained = {}
    for label in ("predicted", "gold", "none", "pos"):
        explanations = interpreter_of(bert_archive, label=label).interpret_instances(queries)
        explained[label] = explanations
        assert [explanation.gold for explanation in explanations] == ["none", "none"]
        wanted = {"predicted": [e.predicted for e in explanations], "gold": ["none"] * 2}
        assert [e.explained for e in explanations] == wanted.get(label, [label] * 2)
    predicted = {explanation.predicted for explanation in explained["predicted"]}
    assert len(predicted) == 2
    for gold, named, other in zip(explained["gold"], explained["none"], explained["pos"]):
        assert (gold.scores == named.scores).all() and gold.loss == named.loss
        assert (gold.scores != other.scores).any()


# -- what is said ---------------------------------------------------------------------------------


def one_line(error) -> str:
    assert "\n" not in error.value.message
    return error.value.message


def test_a_missing_or_unknown_label_is_said(bert_archive, queries):
    with pytest.raises(ConfigurationError) as error:
        interpreter_of(bert_archive, label="gold").interpret_instances(queries)
    assert "input 1 has none" in one_line(error)
    with pytest.raises(ConfigurationError) as error:
        interpreter_of(bert_archive, label="maybe").interpret(queries[0])
    assert "label 'maybe' is none of the model's: neg, pos, none" in one_line(error)
    queries[1].add_field("label", LabelField("maybe"))
    queries[0].add_field("label", LabelField("pos"))
    with pytest.raises(ConfigurationError) as error:
        interpreter_of(bert_archive, label="gold").interpret_instances(queries)
    assert "input 2: label 'maybe' is none of the model's" in one_line(error)


def test_inputs_are_counted_on_from_block_to_block(bert_archive, queries):
    interpreter = interpreter_of(bert_archive, label="gold", memory_budget=1e-9)
    for query in queries:
        query.add_field("label", LabelField("pos"))
    with pytest.raises(ConfigurationError, match="input 3 has none"):
        interpreter.interpret_instances(queries + queries_of(interpreter, QUERIES))


@pytest.mark.parametrize(
    "rows, expected",
    [
        (["x"], "no examples"),
        ([{"text": "good"}], "training example 1 of .*train.jsonl has no label"),
        (
            [{"text": "good", "label": "pos"}, {"text": "good", "label": "maybe"}],
            "training example 2 of .*train.jsonl: label 'maybe' is none of the model's: neg, pos, none",
        ),
        ([], "there are no training examples in .*train.jsonl"),
    ],
)
def test_unusable_training_examples_are_named(bert_archive, tmp_path, rows, expected):
    path = tmp_path / "train.jsonl"
    if rows == ["x"]:
        path.write_text("this is no JSON\n")
        expected = (
            "train.jsonl can't be read by the model's TextClassificationJsonReader: JSONDecode"
        )
    else:
        write_texts(path, [r["text"] for r in rows], [r["label"] for r in rows if "label" in r])
    with pytest.raises(ConfigurationError, match=expected) as error:
        interpreter_of(bert_archive, train_data_path=str(path))
    one_line(error)


@pytest.mark.parametrize(
    "solver, expected",
    [
        ("newton", "solver 'newton' is none of conjugate-gradient, .*identity, .*lissa"),
        ({"type": "newton"}, "solver 'newton' is none of conjugate-gradient, "),
        ({"type": 3}, "solver 3 is none of"),
        ({"type": "identity", "depth": 3}, "'identity' has no parameter 'depth'; it has damping, "),
        ({"depht": 3}, "'gauss-newton' has no parameter 'depht'"),
        ({"type": "no.such.Solver"}, "no.such.Solver"),
        ({"type": "lissa", "depth": "many"}, "can't be made of .*depth"),
        ({"damping": 0}, "damping must be positive, not 0"),
        ({"type": "spectral", "curvature": "flat"}, "curvature 'flat' is not one of hessian, gauss-newton"),
    ],
)
def test_an_unusable_solver_is_refused(bert_archive, queries, solver, expected):
    with pytest.raises(ConfigurationError, match=expected) as error:
        interpreter_of(bert_archive, solver=solver).interpret(queries[0])
    one_line(error)


def test_negative_curvature_is_said_with_the_remedy(bert_archive, queries):
    with pytest.raises(NotSolvedError, match="set damping above .*, or curvature to gauss-newton"):
        interpreter_of(bert_archive, solver=exact(1e-3)).interpret_instances(queries)
    config = {**exact(1e-3), "curvature": "gauss-newton"}
    explanation = interpreter_of(bert_archive, solver=config).interpret(queries[0])
    assert explanation.diagnosis.lambda_min >= 0


def test_a_loss_that_is_not_finite_is_said(bert_archive, queries):
    archive = load_archive(bert_archive)
    torch.nn.init.constant_(archive.model._classification_layer.bias, float("nan"))
    interpreter = InfluenceFunctions.from_archive(archive, solver="identity")
    with pytest.raises(ConfigurationError, match="input 1 has a gradient that is not finite"):
        interpreter.interpret_instances(queries)


def test_a_negative_k_is_refused(interpreter, queries):
    with pytest.raises(ConfigurationError, match="not -1"):
        interpreter.interpret(queries[0], k=-1)


def test_a_preconditioner_is_configured_and_recorded_like_a_solver(bert_archive):
    preconditioner = {"type": "spectral", "rank": 4}
    solver = {**exact(30.0), "preconditioner": preconditioner}
    interpreter = interpreter_of(bert_archive, solver=solver)
    assert preconditioner == {"type": "spectral", "rank": 4}  # the caller's is as it was
    recorded = interpreter.solver_config["preconditioner"]
    assert recorded["type"] == "spectral" and recorded["rank"] == 4 and recorded["steps"] == 8
    plain = interpreter_of(bert_archive, solver=exact(30.0))
    expected = plain.interpret_instances(queries_of(plain, QUERIES))
    found = interpreter.interpret_instances(queries_of(interpreter, QUERIES))
    for one, other in zip(found, expected):
        numpy.testing.assert_allclose(one.scores, other.scores, rtol=1e-5, atol=1e-9)
    wrong = {"type": "conjugate-gradient", "preconditioner": {"type": "spectral", "ranks": 4}}
    with pytest.raises(ConfigurationError, match="'spectral' has no parameter 'ranks'"):
        interpreter_of(bert_archive, solver=wrong)
