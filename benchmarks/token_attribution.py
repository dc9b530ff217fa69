"""
Do the words that token attribution points at make a training example influential? Takes them away and scores it again.

    .venv/bin/python benchmarks/token_attribution.py demo/model/model.tar.gz fixtures/demo/sentiment/train.tsv \
        fixtures/demo/sentiment/test.tsv --queries 9 --listed 5

For the strongest supporters and opponents of some queries: the Spearman correlation, over the words of an example,
between what a method gives a word and what the score loses without it; and the share of the score that is lost
without the three words that the method finds strongest in the score's direction. Words are taken away in two ways,
neither of which is that of our attribution (the attention mask): deleted, and replaced by [MASK].

Beside it the derivatives of the score by the word vectors, times these and integrated from [MASK] (16 points of
Gauss-Legendre quadrature), and random numbers. For BERT-like models of one text field.
"""

import argparse
import json
import time
from contextlib import contextmanager
from typing import Dict, Iterator, List, Sequence

import numpy
import torch
from allennlp.common.plugins import import_plugins
from allennlp.data import Instance, Token
from allennlp.data.fields import TextField
from allennlp.interpret import InfluenceInterpreter
from allennlp.models.archival import load_archive
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from allennlp_influence.influence.token_attribution import _scores, token_attributions
from allennlp_influence.saliency import RemovableWords
from allennlp_influence.saliency.embeddings import find_word_embeddings, undisturbed
from allennlp_influence.saliency.token_scores import FieldTokens

import_plugins()


class Text:
    """A training example and the places of the pieces of its words."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.tokens = list(instance["tokens"].tokens)
        (indexer,) = instance["tokens"].token_indexers
        pieces = FieldTokens(instance, "tokens", indexer).pieces
        self.mask_token = self.indexer(indexer).mask_token_id
        self.words: Dict[int, List[int]] = {}
        for place, piece in enumerate(pieces):
            if piece.word is not None:
                self.words.setdefault(piece.word, []).append(place)

    def indexer(self, name: str):
        return self.instance["tokens"].token_indexers[name]._tokenizer

    def deleted(self, words: Sequence[int]) -> Instance:
        gone = {place for word in words for place in self.words[word]}
        return self._with([token for i, token in enumerate(self.tokens) if i not in gone])

    def masked(self, words: Sequence[int]) -> Instance:
        gone = {place for word in words for place in self.words[word]}
        mask = Token("[MASK]", text_id=self.mask_token, type_id=0)
        return self._with([mask if i in gone else token for i, token in enumerate(self.tokens)])

    def by_word(self, values: Tensor) -> numpy.ndarray:
        return numpy.array([sum(values[place].item() for place in own) for own in self.words.values()])

    def _with(self, tokens: List[Token]) -> Instance:
        fields = {name: field for name, field in self.instance.fields.items() if name != "metadata"}
        return Instance({**fields, "tokens": TextField(tokens, fields["tokens"].token_indexers)})


class Derivatives:
    """∂s_i/∂e of training examples by double backward through the interpreter's whole model."""

    def __init__(self, interpreter) -> None:
        self.model, self.classifier = interpreter.model, interpreter.classifier
        self.space = interpreter.objective.space
        self.table = find_word_embeddings(self.model)

    def times_input(self, texts: Sequence[Text], labels: Sequence[int], x: Tensor) -> Tensor:
        def record(module, args, output):
            return output.detach().requires_grad_()

        vectors, slopes = self._slopes(texts, labels, x, record)
        return (vectors * slopes).sum(-1).detach()

    def integrated(self, texts: Sequence[Text], labels: Sequence[int], x: Tensor) -> Tensor:
        is_word = torch.zeros(len(texts), max(len(text.tokens) for text in texts), 1)
        for row, text in enumerate(texts):
            is_word[row, [place for own in text.words.values() for place in own]] = 1
        total = 0.0
        for point, weight in zip(*numpy.polynomial.legendre.leggauss(16)):
            share = (point + 1) / 2

            def mix(module, args, output):
                masked = module.weight[texts[0].mask_token]
                step = is_word * (output - masked)
                mix.difference = step.detach()
                return (output - (1 - share) * step).detach().requires_grad_()

            _, slopes = self._slopes(texts, labels, x, mix)
            total = total + weight / 2 * (mix.difference * slopes).sum(-1).detach()
        return total

    def _slopes(self, texts, labels, x, hook):
        calls = []

        def keep(module, args, output):
            calls.append(hook(module, args, output))
            return calls[-1]

        batch = self.classifier.collate([text.instance for text in texts], labels)
        named = dict(self.model.named_parameters())
        theta = [named[name] for name in self.space.shapes]
        handle = self.table.register_forward_hook(keep)
        with undisturbed(self.model), self._trained(theta), sdpa_kernel(SDPBackend.MATH):
            logits = self.model(**batch.inputs)["logits"]
            loss = torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum")
            gradients = torch.autograd.grad(loss, theta, create_graph=True)
            views = self.space.unflatten(x).values()
            along = sum((g * v).sum() for g, v in zip(gradients, views))
            (slopes,) = torch.autograd.grad(along, calls)
        handle.remove()
        return calls[0], slopes

    @contextmanager
    def _trained(self, theta: Sequence[Tensor]) -> Iterator[None]:
        before = [parameter.requires_grad for parameter in theta]
        for parameter in theta:
            parameter.requires_grad_()
        yield
        for parameter, value in zip(theta, before):
            parameter.requires_grad_(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("archive_file")
    parser.add_argument("train_data")
    parser.add_argument("input_file")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=9)
    parser.add_argument("--listed", type=int, default=5)
    parser.add_argument("--solver", default='{"type": "ek-fac", "damping": 1}')
    args = parser.parse_args()
    sizes = {
        "dataset_reader.max_instances": args.examples,
        "validation_dataset_reader.max_instances": args.queries,
    }
    archive = load_archive(args.archive_file, overrides=json.dumps(sizes))
    interpreter = InfluenceInterpreter.from_archive(
        archive,
        interpreter_name="influence-functions",
        train_data_path=args.train_data,
        solver=json.loads(args.solver),
    )
    queries = list(archive.validation_dataset_reader.read(args.input_file))
    (checkpoint,) = interpreter.checkpoints
    batches = [interpreter.prepared_query(query).batch for query in queries]
    scores, (solved, _) = checkpoint.influence_by_solution(checkpoint.gradients(batches))
    derivatives = Derivatives(interpreter)
    generator = numpy.random.default_rng(0)
    size = len(interpreter.instances)

    def scored(instances, labels, x):
        training_set, classifier = interpreter.training_set, interpreter.classifier
        return numpy.array(_scores(training_set, classifier, instances, labels, x))

    correlations: Dict[str, List[List[float]]] = {}
    lost: Dict[str, List[List[float]]] = {}
    seconds: Dict[str, float] = {}
    count = 0
    for row, x in zip(scores.numpy(), solved):
        order = numpy.argsort(-row, kind="stable")
        listed = [int(i) for i in (*order[: args.listed], *order[::-1][: args.listed])]
        interpreter._collate(listed)  # indexes them
        places = [i for i in listed if len(Text(interpreter.instances[i]).words) >= 4]
        texts = [Text(interpreter.instances[i]) for i in places]
        labels = [interpreter.training_labels[i] for i in places]

        def timed(name, compute):
            start = time.perf_counter()
            result = compute()
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
            return result

        removable = [RemovableWords(text.instance, interpreter.vocab) for text in texts]
        own = timed(
            "token attribution",
            lambda: token_attributions(
                interpreter.training_set, interpreter.classifier, removable, labels, x
            ),
        )
        at_text = timed("gradient × input", lambda: derivatives.times_input(texts, labels, x)) / size
        path = timed("integrated gradients", lambda: derivatives.integrated(texts, labels, x)) / size
        found = {
            "token attribution": [numpy.array([w.score for w in a.words]) for a in own],
            "gradient × input": [text.by_word(v) for text, v in zip(texts, at_text)],
            "integrated gradients": [text.by_word(v) for text, v in zip(texts, path)],
            "random": [generator.normal(size=len(text.words)) for text in texts],
        }
        whole = row[places]
        for t, text in enumerate(texts):
            words = list(text.words)
            ways = (text.deleted, text.masked)
            singles = [without([word]) for without in ways for word in words]
            strongest = {
                name: [words[i] for i in numpy.argsort(-numpy.sign(whole[t]) * values[t])[:3]]
                for name, values in found.items()
            }
            joint = [without(top) for top in strongest.values() for without in ways]
            after = scored(singles + joint, [labels[t]] * len(singles + joint), x)
            losses = whole[t] - after[: len(singles)].reshape(2, -1)
            shares = 1 - after[len(singles) :].reshape(-1, 2) / whole[t]
            for name, share in zip(found, shares):
                correlations.setdefault(name, []).append([spearmanr(found[name][t], l)[0] for l in losses])
                lost.setdefault(name, []).append(share)
        count += len(texts)
        print(f"{count} training examples", flush=True)
    print(f"\n{count} training examples of {len(queries)} queries, of {size:,}; solver {args.solver}")
    print("method | Spearman: deleted | masked | lost without three words: deleted | masked | s an example")
    for name, values in correlations.items():
        mean, error = numpy.nanmean(values, axis=0), numpy.nanstd(values, axis=0) / len(values) ** 0.5
        print(
            name,
            *(f"{m:.2f} ± {e:.2f}" for m, e in zip(mean, error)),
            *(f"{share:.2f}" for share in numpy.median(lost[name], axis=0)),
            f"{seconds.get(name, 0) / count:.2f}",
            sep=" | ",
        )


if __name__ == "__main__":
    main()
