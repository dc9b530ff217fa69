"""Archives that others made: each one's scores are those written out, whatever path the engine takes."""

import json

import numpy
import pytest
import torch
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Vocabulary
from allennlp.interpret import InfluenceInterpreter
from allennlp.models import Model
from allennlp.models.archival import Archive, load_archive
from allennlp.modules import TextFieldEmbedder
from allennlp.nn.util import get_text_field_mask

from allennlp_influence.influence import InfluenceFunctions
from tests.influence.archives import QUERIES, make_archive
from tests.influence.others import WORDS, kinds, texts, words_classifier
from tests.influence.reference import exact, interpreter_of, queries_of, reference_of

KINDS = list(kinds(lambda architecture: architecture))
WHOLE = {"bert with folded texts", "lstm", "lstm below a bag", "bag of embeddings"}
WHOLE |= {"gru, embeddings frozen"}
REVERSE = {"lstm", "lstm below a bag", "gru, embeddings frozen"}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_written_out(kind, tiny_transformer, tmp_path):
    reader, model, frozen, write, queries = kinds(tiny_transformer)[kind]
    archive = make_archive(
        tmp_path / "model",
        reader=reader,
        model=model,
        train_data=write(tmp_path),
        trainer={"no_grad": frozen},
    )
    reference = reference_of(archive, queries, frozen)
    eigenvalues = torch.linalg.eigvalsh(reference.hessian)
    damping = 2 * max(-eigenvalues[0].item(), 0.1 * eigenvalues[-1].item())
    expected = {
        "conjugate-gradient": reference.scores(damping).numpy(),
        "identity": reference.dot_products(damping).numpy(),
    }
    for solver, scores in expected.items():
        config = exact(damping) if solver == "conjugate-gradient" else {"damping": damping}
        interpreter = interpreter_of(archive, solver={**config, "type": solver})
        explanations = interpreter.interpret_instances(queries_of(interpreter, queries))
        found = numpy.stack([explanation.scores for explanation in explanations])
        numpy.testing.assert_allclose(found, scores, rtol=0, atol=2e-6 * abs(scores).max())
        assert [e.loss for e in explanations] == pytest.approx(reference.query_losses.tolist())
    scale = abs(expected["identity"]).max()
    assert abs(expected["identity"] - expected["conjugate-gradient"]).max() > 0.02 * scale
    assert (interpreter.objective.prefix is None) == (kind in WHOLE)
    notes = "; ".join(interpreter.objective.notes)
    assert ("no forward-mode derivative of this model" in notes) == (kind in REVERSE)


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
def test_single_precision_takes_the_same_paths(kind, tmp_path):
    """
    Kernels of oneDNN, which double precision does not use, have no second derivative; AllenNLP's CNN gives NaN in
    double precision.
    """
    encoder = {"type": "lstm", "input_size": 4, "hidden_size": 3}
    if kind == "cnn":
        encoder = {"type": "cnn", "embedding_dim": 4, "num_filters": 2, "ngram_filter_sizes": [1]}
    archive = make_archive(
        tmp_path / "model",
        reader=WORDS,
        model=words_classifier(encoder),
        train_data=texts(tmp_path),
    )
    dtype = torch.float32 if kind == "cnn" else torch.float64
    expected = reference_of(archive, QUERIES, dtype=dtype).scores(5.0).numpy()
    interpreter = InfluenceFunctions.from_archive(
        load_archive(archive), solver={**exact(5.0), "tolerance": 1e-5}
    )
    explanations = interpreter.interpret_instances(queries_of(interpreter, QUERIES))
    found = numpy.stack([explanation.scores for explanation in explanations])
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * abs(expected).max())


# -- models of other people's making --------------------------------------------------------------


class Custom(Model):
    """A linear classifier of the mean word, whose output is what `give` makes of the logits and the label."""

    give = staticmethod(lambda logits, label: {"logits": logits})

    def __init__(self, vocab) -> None:
        super().__init__(vocab)
        embedder = {"token_embedders": {"tokens": {"type": "embedding", "embedding_dim": 4}}}
        self.embedder = TextFieldEmbedder.from_params(Params(embedder), vocab=vocab)
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, tokens, label=None):
        mask = get_text_field_mask(tokens).unsqueeze(-1)
        logits = self.linear((self.embedder(tokens) * mask).sum(1) / mask.sum(1))
        return self.give(logits, label)


def archive_of(model_class, folder, reader=None) -> Archive:
    """As `load_archive` gives it."""
    path = texts(folder)
    reader = reader or DatasetReader.from_params(Params(json.loads(json.dumps(WORDS))))
    torch.manual_seed(0)
    model = model_class(Vocabulary.from_instances(reader.read(path))).double()
    return Archive(model, Params({"train_data_path": str(path)}), reader, reader, None)


def scores_of(archive, **options):
    interpreter = InfluenceFunctions.from_archive(archive, solver=exact(2.0), **options)
    explanations = interpreter.interpret_instances(queries_of(interpreter, QUERIES))
    return interpreter, numpy.stack([explanation.scores for explanation in explanations])


def cross_entropy(logits, label):
    return torch.nn.functional.cross_entropy(logits, label)


def test_probabilities_do_as_well_as_logits(tmp_path):
    class Probabilities(Custom):
        give = staticmethod(lambda logits, label: {"probs": logits.softmax(-1)})

    _, expected = scores_of(archive_of(Custom, tmp_path))
    _, found = scores_of(archive_of(Probabilities, tmp_path))
    numpy.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)


def test_a_model_may_insist_on_its_label(tmp_path):
    class Insistent(Custom):
        def forward(self, tokens, label):
            output = super().forward(tokens)
            return {**output, "loss": cross_entropy(output["logits"], label)}

    _, expected = scores_of(archive_of(Custom, tmp_path))
    interpreter, found = scores_of(archive_of(Insistent, tmp_path))
    numpy.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert not any("own loss" in note for note in interpreter.objective.notes)


def test_another_loss_than_cross_entropy_is_said(tmp_path):
    class Doubled(Custom):
        def forward(self, tokens, label=None):
            output = super().forward(tokens)
            if label is not None:
                output["loss"] = 2 * cross_entropy(output["logits"], label)
            return output

    interpreter, _ = scores_of(archive_of(Doubled, tmp_path))
    assert any("own loss is not the cross-entropy" in note for note in interpreter.objective.notes)


def test_what_cannot_be_explained_is_said_in_one_line(tmp_path):
    class Silent(Custom):
        give = staticmethod(lambda logits, label: {"score": logits[:, 0]})

    class Tokenwise(Custom):
        give = staticmethod(lambda logits, label: {"logits": logits[:, None].expand(-1, 2, -1)})

    class Constant(Custom):
        give = staticmethod(lambda logits, label: {"logits": torch.zeros_like(logits)})

    for model_class, expected in (
        (Silent, r"neither 'logits' nor 'probs' \(it has \['score'\]\): only classifiers"),
        (Tokenwise, "only classifiers of texts"),
        (Constant, "depend on none of the trained parameters"),
    ):
        with pytest.raises(ConfigurationError, match=expected) as error:
            scores_of(archive_of(model_class, tmp_path))
        assert "\n" not in error.value.message


def test_a_tagger_is_refused(tmp_path):
    path = tmp_path / "tags.tsv"
    path.write_text("the###D\tfilm###N\nsleeps###V\n")
    config = {
        "train_data_path": str(path),
        "dataset_reader": {"type": "sequence_tagging"},
        "model": {
            "type": "simple_tagger",
            "text_field_embedder": {
                "token_embedders": {"tokens": {"type": "embedding", "embedding_dim": 4}}
            },
            "encoder": {"type": "lstm", "input_size": 4, "hidden_size": 3},
        },
    }
    reader = DatasetReader.from_params(Params(config["dataset_reader"]))
    model = Model.from_params(
        Params(config["model"]), vocab=Vocabulary.from_instances(reader.read(path))
    )
    archive = Archive(model, Params({"train_data_path": str(path)}), reader, reader, None)
    with pytest.raises(ConfigurationError) as error:
        InfluenceInterpreter.from_archive(archive, interpreter_name="influence-functions")
    assert "\n" not in error.value.message
    assert "has no label (its fields are metadata, tags, tokens)" in error.value.message
    assert "only classifiers of whole texts" in error.value.message
