"""The attribution of a score to the words of a training example is what it is defined as, by hand."""

from itertools import combinations, permutations
from math import comb

import numpy
import pytest
import torch
from allennlp.common.checks import ConfigurationError
from torch.nn.attention import SDPBackend, sdpa_kernel

from allennlp_influence.influence import token_attribution as module
from allennlp_influence.influence.token_attribution import token_attributions
from allennlp_influence.saliency import RemovableWords
from tests.influence.archives import QUERIES, TEXTS, make_archive
from tests.influence.others import kinds
from tests.influence.reference import Written, interpreter_of, queries_of

KINDS = list(kinds(lambda architecture: architecture))


@pytest.fixture(scope="module")
def interpreter(bert_archive):
    return interpreter_of(bert_archive)


@pytest.fixture(scope="module")
def x(interpreter):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(interpreter.objective.space.size, generator=generator).double()


def attributions_of(interpreter, positions, x):
    return token_attributions(
        interpreter.training_set,
        interpreter.classifier,
        [RemovableWords(interpreter.instances[i], interpreter.vocab) for i in positions],
        [interpreter.training_labels[i] for i in positions],
        x,
    )


class ByHand:
    """⟨∇L_i(W), x⟩ / N of one training example on the archive's own model, with an attention mask made by hand."""

    def __init__(self, archive, interpreter, x, position):
        self.written = Written(archive)
        parameters = dict(self.written.model.named_parameters())
        self.theta = [parameters[name] for name in interpreter.objective.parameters]
        views = interpreter.objective.space.unflatten(x)
        self.x = [views[name] for name in interpreter.objective.parameters]
        self.instance = self.written.training[position]
        self.label = self.written.gold[position]
        tokens = [str(token) for token in self.instance["tokens"].tokens]
        self.words = []  # the places of the pieces of each
        for place, token in enumerate(tokens):
            if token.startswith("##"):
                self.words[-1].append(place)
            elif token not in ("[CLS]", "[SEP]"):
                self.words.append([place])
        embedder = self.written.model._text_field_embedder._token_embedders["tokens"]
        self.transformer = embedder.transformer_model

    def score(self, words):
        hidden = [p for w in set(range(len(self.words))) - set(words) for p in self.words[w]]

        def hide(module, args, kwargs):
            mask = kwargs["attention_mask"].clone()
            mask[:, hidden] = 0
            return args, {**kwargs, "attention_mask": mask}

        handle = self.transformer.register_forward_pre_hook(hide, with_kwargs=True)
        with sdpa_kernel(SDPBackend.MATH):
            (loss,) = self.written.losses([self.instance], [self.label])
            gradients = torch.autograd.grad(loss, self.theta)
        handle.remove()
        return sum((g * v).sum() for g, v in zip(gradients, self.x)).item() / len(TEXTS)

    def shapley_values(self):
        """Σ over the sets S of other words of [s(S + w) − s(S)] / (T · (T − 1 over |S|))."""
        count = len(self.words)
        values = numpy.zeros(count)
        for w in range(count):
            others = [v for v in range(count) if v != w]
            for size in range(count):
                for chosen in combinations(others, size):
                    gain = self.score([*chosen, w]) - self.score(chosen)
                    values[w] += gain / count / comb(count - 1, size)
        return values


def test_over_all_orders_it_is_the_shapley_value(bert_archive, interpreter, x, monkeypatch):
    monkeypatch.setattr(module, "_orders", lambda count: [list(p) for p in permutations(range(count))])
    for position in (4, 5):  # "bad film .", "the man sleeps ."
        by_hand = ByHand(bert_archive, interpreter, x, position)
        (found,) = attributions_of(interpreter, [position], x)
        expected = by_hand.shapley_values()
        assert [word.score for word in found.words] == pytest.approx(expected, rel=1e-6)
        assert found.score == pytest.approx(by_hand.score(range(len(expected))), rel=1e-6)
        assert found.rest == pytest.approx(by_hand.score([]), rel=1e-6)
        alone = [found.score - by_hand.score(set(range(len(expected))) - {w}) for w in range(len(expected))]
        assert abs(expected - alone).max() > 0.05 * abs(expected).max()  # words act together


def test_with_few_orders_it_is_near_and_sums_to_the_same(interpreter, x, monkeypatch):
    few = attributions_of(interpreter, range(len(TEXTS)), x)
    monkeypatch.setattr(module, "_PAIRS_OF_ORDERS", 100)
    many = attributions_of(interpreter, range(len(TEXTS)), x)
    for one, other in zip(few, many):
        assert sum(one.scores) == pytest.approx(one.score - one.rest, abs=1e-12)
        assert (one.score, one.rest) == pytest.approx((other.score, other.rest))
        for attribution in (one, other):
            words = sum(word.score for word in attribution.words)
            assert words == pytest.approx(sum(attribution.scores), abs=1e-12)
            for token, score in zip(attribution.tokens, attribution.scores):
                assert (score == 0) == (token in ("[CLS]", "[SEP]"))
    scores = [numpy.concatenate([a.scores for a in found]) for found in (few, many)]
    assert 0.8 < numpy.corrcoef(*scores)[0, 1] < 0.9999


def test_it_does_not_depend_on_the_batch(interpreter, x):
    together = attributions_of(interpreter, range(len(TEXTS)), x)
    for position, attribution in enumerate(together):
        (alone,) = attributions_of(interpreter, [position], x)
        assert alone.tokens == attribution.tokens
        assert alone.scores == pytest.approx(attribution.scores, rel=1e-6, abs=1e-12)
        assert len(alone.words) == len(TEXTS[position].split())


@pytest.mark.parametrize("solver", ["conjugate-gradient", "gauss-newton"])
def test_listed_examples_have_it_on_request(solver, bert_archive):
    solver = {"type": solver, "damping": 10.0}
    plain = interpreter_of(bert_archive, solver=solver)
    asked = interpreter_of(bert_archive, solver=solver, attribute_tokens=True)
    pairs = zip(*(i.interpret_instances(queries_of(i, QUERIES), k=3) for i in (plain, asked)))
    for query, (without, explanation) in zip(queries_of(asked, QUERIES), pairs):
        numpy.testing.assert_allclose(explanation.scores, without.scores, rtol=1e-4, atol=1e-8)
        listed = explanation.top_k + explanation.bottom_k
        assert all(i.token_attribution is None for i in without.top_k + without.bottom_k)
        again = asked.token_attribution(query, [influence.position for influence in listed])
        for influence, other in zip(listed, again):
            attribution = influence.token_attribution
            assert attribution.score == pytest.approx(influence.score, rel=1e-4)
            assert attribution.scores == pytest.approx(other.scores, rel=1e-4, abs=1e-9)
            assert set(attribution.to_json()) == {"tokens", "scores", "words", "score", "rest"}
    with pytest.raises(ConfigurationError, match="no training example at place 10: there are 10"):
        asked.token_attribution(query, [10])


def test_at_several_checkpoints_it_is_the_mean(bert_archive, tmp_path):
    own = interpreter_of(bert_archive)
    moved = {name: 1.5 * p for name, p in own.objective.parameters.items()}
    torch.save(own.model.state_dict(), tmp_path / "own.th")
    torch.save({**own.model.state_dict(), **moved}, tmp_path / "other.th")
    paths = [str(tmp_path / "own.th"), str(tmp_path / "other.th")]

    def scores(checkpoints):
        options = {"solver": {"type": "identity"}, "label": "pos", "checkpoints": checkpoints}
        interpreter = interpreter_of(bert_archive, **options)
        (found,) = interpreter.token_attribution(queries_of(interpreter, QUERIES)[0], [2])
        words = [word.score for word in found.words]
        return numpy.array([*found.scores, *words, found.score, found.rest])

    first, second = scores(paths[:1]), scores(paths[1:])
    assert abs(first - second).max() > 0.1 * abs(first).max()
    numpy.testing.assert_allclose(scores(paths), (first + second) / 2, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_archives_of_others(kind, tiny_transformer, tmp_path):
    """Whatever the model, but where texts are folded there may be none, and a note says why."""
    reader, model, frozen, write, queries = kinds(tiny_transformer)[kind]
    archive = make_archive(
        tmp_path / "model",
        reader=reader,
        model=model,
        train_data=write(tmp_path),
        trainer={"no_grad": frozen},
    )
    interpreter = interpreter_of(archive, solver="identity", attribute_tokens=True)
    assert interpreter.expected_attribution_seconds(10) > 0
    (explanation,) = interpreter.interpret_instances(queries_of(interpreter, queries[:1]))
    noted = any("no attribution to the words" in note for note in interpreter.objective.notes)
    assert noted == (kind == "bert with folded texts")
    found = [i for i in explanation.top_k if i.token_attribution is not None]
    assert found and (len(found) < len(explanation.top_k)) == noted
    for influence in found:
        attribution = influence.token_attribution
        assert attribution.score == pytest.approx(influence.score, rel=1e-5)
        assert sum(attribution.scores) == pytest.approx(attribution.score - attribution.rest)
        assert any(word.score for word in attribution.words)
