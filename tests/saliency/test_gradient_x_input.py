import random

import numpy
import pytest
import torch
from allennlp.common import Params
from allennlp.common.checks import ConfigurationError
from allennlp.data import DatasetReader, Instance, Vocabulary
from allennlp.data.fields import LabelField, MetadataField, TextField
from allennlp.data.token_indexers import PretrainedTransformerIndexer, SingleIdTokenIndexer
from allennlp.data.tokenizers import PretrainedTransformerTokenizer, Token, WhitespaceTokenizer
from allennlp.interpret.saliency_interpreters import SaliencyInterpreter
from allennlp.models import Model
from allennlp.modules import TextFieldEmbedder
from allennlp.nn.util import get_text_field_mask
from allennlp.predictors import Predictor

from allennlp_influence.saliency import GradientXInput, token_saliency
from allennlp_influence.saliency.embeddings import find_word_embeddings

TRANSFORMERS = ["bert", "roberta", "distilbert", "electra"]
KINDS = TRANSFORMERS + ["bert-mismatched", "roberta-mismatched", "lstm"]
TEXTS = [
    "a film sometimes tedious .",
    "good",
    "the film is not good and not bad , the man sleeps and the film is bad .",
    "tedious tedious",
]


@pytest.fixture
def predictor_of(tiny_transformer):
    """Gives a predictor over a random classifier in double precision, for one of `KINDS`."""

    def make(kind: str) -> Predictor:
        vocabulary = Vocabulary()
        vocabulary.add_tokens_to_namespace(["neg", "pos", "none"], "labels")
        if kind == "lstm":
            vocabulary.add_tokens_to_namespace(" ".join(TEXTS).split(), "tokens")
            tokenizer, indexer = "whitespace", "single_id"
            embedder = {"type": "embedding", "embedding_dim": 6, "vocab_namespace": "tokens"}
            encoder = {"type": "lstm", "input_size": 6, "hidden_size": 8}
        else:
            architecture, _, mismatched = kind.partition("-")
            name = {"model_name": tiny_transformer(architecture)}
            embedder = {"type": "pretrained_transformer", **name}
            tokenizer, indexer = dict(embedder), dict(embedder)
            encoder = {"type": "cls_pooler", "embedding_dim": 8}
            if mismatched:
                tokenizer = "whitespace"
                embedder["type"] = indexer["type"] = "pretrained_transformer_mismatched"
                encoder = {"type": "bag_of_embeddings", "embedding_dim": 8, "averaged": True}
        reader = DatasetReader.from_params(
            Params(
                {
                    "type": "text_classification_json",
                    "tokenizer": tokenizer,
                    "token_indexers": {"tokens": indexer},
                }
            )
        )
        torch.manual_seed(3)
        model = Model.from_params(
            Params(
                {
                    "type": "basic_classifier",
                    "text_field_embedder": {"token_embedders": {"tokens": embedder}},
                    "seq2vec_encoder": encoder,
                    "dropout": 0.5,
                    "namespace": "tokens" if kind == "lstm" else "tags",
                }
            ),
            vocab=vocabulary,
        )
        for parameter in model._classification_layer.parameters():
            torch.nn.init.normal_(parameter)
        return Predictor.by_name("text_classifier")(model.double(), reader)

    return make


def instances_of(predictor, texts=TEXTS):
    instances = [predictor._dataset_reader.text_to_instance(text) for text in texts]
    for instance in instances:
        predictor._dataset_reader.apply_token_indexers(instance)
    return instances


# -- the formula ----------------------------------------------------------------------------------


class MeanOfEmbeddings(Model):
    """logits = W · (mean of the embeddings of each text field): all of it in closed form."""

    def __init__(self, vocab, embedder):
        super().__init__(vocab)
        self.embedder = TextFieldEmbedder.from_params(
            Params({"token_embedders": {"tokens": {"type": "embedding", **embedder}}}), vocab=vocab
        )
        self.linear = torch.nn.Linear(self.embedder.get_output_dim(), 3)

    def forward(self, premise, hypothesis, label=None):
        total = 0
        for text in (premise, hypothesis):
            mask = get_text_field_mask(text).unsqueeze(-1)
            total = total + (self.embedder(text) * mask).sum(1) / mask.sum(1)
        return {"logits": self.linear(total)}


@pytest.mark.parametrize("projection", [None, 4])
@pytest.mark.parametrize("hypothesis", ["c d", "a b c"])
def test_equals_the_closed_form_of_a_linear_model(projection, hypothesis):
    torch.manual_seed(1)
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(list("abcd"), "tokens")
    vocabulary.add_tokens_to_namespace(["x", "y", "z"], "labels")
    embedder = {"embedding_dim": 5, "num_embeddings": 6}
    if projection:
        embedder["projection_dim"] = projection
    model = MeanOfEmbeddings(vocabulary, embedder).double()
    texts = {"premise": "a b c".split(), "hypothesis": hypothesis.split()}
    indexers = {"tokens": SingleIdTokenIndexer()}
    instance = Instance(
        {name: TextField([Token(w) for w in words], indexers) for name, words in texts.items()}
    )
    table = find_word_embeddings(model)
    weight = model.linear.weight @ (
        table._projection.weight if projection else torch.eye(5).double()
    )
    for label, name in enumerate("xyz"):
        saliency = token_saliency(model, [instance], [name])[0]
        with torch.no_grad():
            logits = model(**_tensors(instance, vocabulary))["logits"][0]
            residual = logits.softmax(-1) - torch.eye(3).double()[label]
            expected = []
            for words in texts.values():
                ids = torch.tensor([vocabulary.get_token_index(word) for word in words])
                expected.append(-(table.weight[ids] @ weight.T @ residual) / len(words))
        expected = torch.cat(expected) / torch.cat(expected).abs().sum()
        torch.testing.assert_close(torch.tensor(saliency.scores).double(), expected)
        assert saliency.tokens == tuple(texts["premise"] + texts["hypothesis"])
        assert saliency.fields == ("premise",) * 3 + ("hypothesis",) * len(texts["hypothesis"])
        assert [word.field for word in saliency.words] == list(saliency.fields)
        assert saliency.label == name and saliency.loss == pytest.approx(
            -logits.log_softmax(-1)[label].item()
        )


def test_a_text_that_is_embedded_twice_counts_with_both():
    class Squared(MeanOfEmbeddings):
        """logits = W · (mean of the embeddings)², as a product of two calls of the table."""

        def forward(self, premise, label=None):
            return {
                "logits": self.linear(
                    self.embedder(premise).mean(1) * self.embedder(premise).mean(1)
                )
            }

    torch.manual_seed(1)
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(list("abc"), "tokens")
    model = Squared(vocabulary, {"embedding_dim": 5, "num_embeddings": 5}).double()
    indexers = {"tokens": SingleIdTokenIndexer()}
    instance = Instance({"premise": TextField([Token(word) for word in "abc"], indexers)})
    saliency = token_saliency(model, [instance], ["1"])[0]
    weight = find_word_embeddings(model).weight.detach()[2:]
    embedded = weight.clone().requires_grad_()
    model.linear(embedded.mean(0) ** 2).log_softmax(-1)[1].backward()
    expected = (embedded.grad * weight).sum(-1)
    assert saliency.norm == pytest.approx(expected.abs().sum().item())
    assert saliency.scores == pytest.approx((expected / expected.abs().sum()).tolist())


def _tensors(instance, vocabulary):
    instance.index_fields(vocabulary)
    return {
        name: {"tokens": {"tokens": tensor["tokens"]["tokens"].unsqueeze(0)}}
        for name, tensor in instance.as_tensor_dict().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_lengthening_an_embedding_moves_the_log_probability_as_the_score_says(kind, predictor_of):
    predictor = predictor_of(kind)
    model = predictor._model
    (instance,) = instances_of(predictor, TEXTS[:1])
    saliency = token_saliency(model, [instance])[0]
    table = find_word_embeddings(model)
    assert sum(map(abs, saliency.scores)) == pytest.approx(1)
    for position, score in enumerate(saliency.scores):
        change = []
        for step in (1e-5, -1e-5):
            scale = torch.ones(1, len(saliency.scores), 1).double()
            scale[0, position] += step
            handle = table.register_forward_hook(lambda module, args, output: output * scale)
            probabilities = model.forward_on_instance(instance)["probs"]
            handle.remove()
            change.append(numpy.log(probabilities[saliency.labels.index(saliency.label)]))
        slope = (change[0] - change[1]) / 2e-5
        assert slope == pytest.approx(score * saliency.norm, abs=1e-6)


@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_special_tokens_are_in_the_normaliser(kind, predictor_of):
    saliency = token_saliency(predictor_of(kind)._model, instances_of(predictor_of(kind)))[0]
    assert {saliency.tokens[0], saliency.tokens[-1]} <= {"[CLS]", "[SEP]", "<s>", "</s>"}
    assert abs(saliency.scores[0]) > 1e-3 and sum(map(abs, saliency.scores)) == pytest.approx(1)


def test_allennlps_simple_gradient_multiplies_by_the_first_token_instead(predictor_of):
    predictor = predictor_of("bert")
    inputs = {"sentence": TEXTS[0]}
    explained = GradientXInput(predictor).saliency_interpret_from_json(inputs)["instance_1"]
    ours = numpy.abs(explained["scores"])
    simple = SaliencyInterpreter.by_name("simple-gradient")(predictor)
    theirs = simple.saliency_interpret_from_json(inputs)["instance_1"]["grad_input_1"]

    (instance,) = predictor.json_to_labeled_instances(inputs)
    gradient = predictor.get_gradients([instance])[0]["grad_input_1"][0]
    ids = torch.tensor(instance["tokens"]._indexed_tokens["tokens"]["token_ids"])
    embedded = find_word_embeddings(predictor._model)(ids).detach().numpy()

    def normalised(products):
        return numpy.abs(products) / numpy.abs(products).sum()

    assert normalised((gradient * embedded).sum(-1)) == pytest.approx(ours)
    assert normalised(gradient @ embedded[0]) == pytest.approx(theirs)
    assert numpy.abs(theirs - ours).max() > 0.02


# -- what it does not depend on -------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_scores_do_not_depend_on_the_batch(kind, predictor_of):
    predictor = predictor_of(kind)
    alone = token_saliency(predictor._model, instances_of(predictor), batch_size=1)
    assert len(alone[0].scores) != len(alone[2].scores)  # so that there is padding below
    for batch_size in (2, 4):
        together = token_saliency(
            predictor._model, instances_of(predictor)[::-1], batch_size=batch_size
        )
        for one, other in zip(alone, together[::-1]):
            assert one.tokens == other.tokens and one.label == other.label
            assert one.scores == pytest.approx(other.scores, abs=1e-9)
            assert one.probabilities == pytest.approx(other.probabilities)
            assert one.norm == pytest.approx(other.norm)


def test_a_frozen_table_gives_the_same_scores(predictor_of):
    predictor = predictor_of("bert")
    before = token_saliency(predictor._model, instances_of(predictor))
    predictor._model.requires_grad_(False)
    after = token_saliency(predictor._model, instances_of(predictor))
    assert before == after
    assert not any(parameter.requires_grad for parameter in predictor._model.parameters())


def test_gold_labels_change_neither_the_scores_nor_the_models_metrics(predictor_of):
    predictor = predictor_of("bert")
    labelled = instances_of(predictor)
    for instance in labelled:
        instance.add_field("label", LabelField("neg"))
    mixed = labelled[:2] + instances_of(predictor)[2:]
    assert token_saliency(predictor._model, mixed) == token_saliency(
        predictor._model, instances_of(predictor)
    )
    assert predictor._model.get_metrics() == {"accuracy": 0.0}


# -- the model is left as it came -----------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_and_all_generators_are_left_as_they_came(fails, predictor_of):
    predictor = predictor_of("bert")
    model = predictor._model
    in_eval_mode = token_saliency(model, instances_of(predictor))
    model.train()
    model._text_field_embedder.eval()  # a mixture, which model.train(mode) would not restore
    for number, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(number % 2 == 0)
        parameter.grad = torch.full_like(parameter, 7.0)

    def draw_and_fail(module, args):
        random.random(), numpy.random.rand(), torch.rand(1)
        if fails:
            raise RuntimeError("out of memory")

    model._classification_layer.register_forward_pre_hook(draw_and_fail)
    before = _state(model)
    with torch.no_grad():  # gradients are computed here too
        if fails:
            with pytest.raises(RuntimeError, match="out of memory"):
                token_saliency(model, instances_of(predictor))
        else:
            # Dropout was off, though the model came in train mode.
            assert token_saliency(model, instances_of(predictor)) == in_eval_mode
    assert _state(model) == before


def _state(model):
    hooks = [
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    ]
    return (
        [module.training for module in model.modules()],
        [
            (parameter.requires_grad, parameter.grad.sum().item())
            for parameter in model.parameters()
        ],
        hooks,
        random.getstate(),
        str(numpy.random.get_state()),
        torch.get_rng_state().tolist(),
    )


# -- labels ---------------------------------------------------------------------------------------


def test_the_label_can_be_named(predictor_of):
    predictor = predictor_of("bert")
    interpreter = GradientXInput(predictor)
    inputs = {"sentence": TEXTS[0]}
    default = interpreter.saliency_interpret_from_json(inputs)["instance_1"]
    labels, probabilities = default["labels"], default["probabilities"]
    assert default["label"] == default["predicted"] == labels[numpy.argmax(probabilities)]
    # Σ_y p(y) ∂(−log p(y))/∂e = 0: the scores of all labels cancel, weighted by probability.
    total = numpy.zeros(len(default["tokens"]))
    for label, probability in zip(labels, probabilities):
        named = interpreter.saliency_interpret_from_json(inputs, label=label)["instance_1"]
        assert (named["label"], named["probability"]) == (label, probability)
        assert named["predicted"] == default["predicted"]
        total += probability * named["norm"] * numpy.array(named["scores"])
        by_constructor = GradientXInput(predictor, label=label)
        assert by_constructor.saliency_interpret_from_json(inputs)["instance_1"] == named
    assert total == pytest.approx(0, abs=1e-9)

    with pytest.raises(ConfigurationError, match='no label "maybe".*neg, pos, none'):
        interpreter.saliency_interpret_from_json(inputs, label="maybe")
    with pytest.raises(ConfigurationError, match="example 1 has none"):
        interpreter.saliency_interpret_from_json(inputs, label="gold")
    (instance,) = instances_of(predictor, TEXTS[:1])
    instance.add_field("label", LabelField("none"))
    gold = interpreter.saliency_interpret_instances([instance], "gold")["instance_1"]
    assert gold["label"] == "none"


def test_a_model_that_ignores_the_words_gets_zeros_not_nans(predictor_of):
    predictor = predictor_of("bert")
    torch.nn.init.zeros_(predictor._model._classification_layer.weight)
    saliency = token_saliency(predictor._model, instances_of(predictor))[0]
    assert saliency.norm == 0
    assert set(saliency.scores) == {0.0} and {word.score for word in saliency.words} == {0.0}


# -- AllenNLP's shape -----------------------------------------------------------------------------


def test_keeps_allennlps_shape_for_one_and_for_many(predictor_of):
    predictor = predictor_of("roberta")
    interpreter = SaliencyInterpreter.by_name("gradient-x-input")(predictor)
    many = interpreter.saliency_interpret_from_json([{"sentence": text} for text in TEXTS])
    assert list(many) == ["instance_1", "instance_2", "instance_3", "instance_4"]
    assert many == interpreter.saliency_interpret_instances(instances_of(predictor))
    for text, instance in zip(TEXTS, many.values()):
        one = interpreter.saliency_interpret_from_json({"sentence": text})["instance_1"]
        assert one["grad_input_1"] == pytest.approx(instance["grad_input_1"])
        assert "grad_input_2" not in one
        assert instance["tokens"] == predictor.predict_json({"sentence": text})["tokens"]


def test_several_text_fields_come_in_allennlps_reverse_order():
    vocabulary = Vocabulary()
    vocabulary.add_tokens_to_namespace(["x", "y", "z"], "labels")
    model = MeanOfEmbeddings(vocabulary, {"embedding_dim": 5, "num_embeddings": 2})
    reader = DatasetReader.by_name("text_classification_json")(tokenizer=WhitespaceTokenizer())
    indexers = {"tokens": SingleIdTokenIndexer()}
    instance = Instance(
        {
            "premise": TextField([Token("a")] * 3, indexers),
            "hypothesis": TextField([Token("a")] * 2, indexers),
        }
    )
    reader.apply_token_indexers = lambda instance: None
    interpreter = GradientXInput(Predictor.by_name("text_classifier")(model, reader))
    explained = interpreter.saliency_interpret_instances([instance])["instance_1"]
    assert len(explained["grad_input_1"]) == 2 and len(explained["grad_input_2"]) == 3
    assert explained["scores"] == explained["grad_input_2"] + explained["grad_input_1"]


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_words_sum_their_pieces(kind, predictor_of):
    predictor = predictor_of(kind)
    for text, saliency in zip(TEXTS, token_saliency(predictor._model, instances_of(predictor))):
        is_special = [t in ("[CLS]", "[SEP]", "<s>", "</s>") for t in saliency.tokens]
        assert sum(is_special) == (0 if kind == "lstm" else 2)
        known = [word.text for word in saliency.words if word.text != "[UNK]"]
        assert known == [word for word in text.split() if word in known]
        assert len(saliency.words) == len(text.split())
        in_words = sum(word.score for word in saliency.words)
        special = sum(s for s, is_special in zip(saliency.scores, is_special) if is_special)
        assert in_words + special == pytest.approx(sum(saliency.scores))
        if kind != "lstm" and "tedious" in text:
            pieces = dict(zip(saliency.tokens, saliency.scores))
            if "##ious" in pieces and text == TEXTS[0]:
                (tedious,) = [word for word in saliency.words if word.text == "tedious"]
                assert tedious.score == pytest.approx(pieces["ted"] + pieces["##ious"])


@pytest.mark.parametrize("with_offsets", [True, False])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_words_of_a_pair_read_as_in_the_original_text(
    kind, with_offsets, predictor_of, tiny_transformer
):
    name = tiny_transformer(kind)
    texts = {
        "premise": "A  Sometimes TEDIOUS [SEP] film zebra",
        "hypothesis": "the film\tis café . ",
    }
    tokenizer = PretrainedTransformerTokenizer(name, add_special_tokens=False)
    tokens = tokenizer.add_special_tokens(*map(tokenizer.tokenize, texts.values()))
    if with_offsets:
        # Not what the tokenizer would make of the texts: only the offsets say what is where.
        unknown = tokenizer.tokenizer
        tokens[1] = Token(
            unknown.unk_token, tokens[1].idx, tokens[1].idx_end, text_id=unknown.unk_token_id
        )
    else:
        tokens = [Token(t.text, text_id=t.text_id) for t in tokens]
    example = {"id": 5, "text": texts, "label": None, "columns": {}}
    instance = Instance(
        {
            "tokens": TextField(tokens, {"tokens": PretrainedTransformerIndexer(name)}),
            "metadata": MetadataField({"example": example}),
        }
    )
    words = token_saliency(predictor_of(kind)._model, [instance])[0].words
    assert [(word.field, word.text) for word in words] == [
        (field, word) for field, text in texts.items() for word in text.split()
    ]


# -- what it cannot explain -----------------------------------------------------------------------


def test_what_cannot_be_explained_is_said(predictor_of):
    predictor = predictor_of("bert-mismatched")
    predictor._model._text_field_embedder.second_table = torch.nn.Embedding(3, 3)
    with pytest.raises(ConfigurationError, match="exactly one word-embedding table; found 2"):
        token_saliency(predictor._model, instances_of(predictor))

    predictor = predictor_of("bert")
    embedder = predictor._model._text_field_embedder.token_embedder_tokens
    embedder._max_length = predictor._dataset_reader._token_indexers["tokens"]._max_length = 6
    predictor._dataset_reader._token_indexers["tokens"]._effective_max_length = 4
    with pytest.raises(ConfigurationError, match="longer than the embedder's `max_length`"):
        token_saliency(predictor._model, instances_of(predictor))

    predictor = predictor_of("bert")
    torch.nn.init.constant_(predictor._model._classification_layer.bias, float("nan"))
    with pytest.raises(ConfigurationError, match="not finite for the input .*sometimes"):
        token_saliency(predictor._model, instances_of(predictor))
