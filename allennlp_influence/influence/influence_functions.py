"""Influence functions as an `InfluenceInterpreter` of AllenNLP."""

import copy
import functools
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Union

import numpy
import torch
from allennlp.common import Lazy, Params
from allennlp.common.checks import ConfigurationError
from allennlp.common.util import int_to_device
from allennlp.data import DataLoader, DatasetReader, Instance
from allennlp.data.data_loaders import SimpleDataLoader
from allennlp.data.dataset_readers.dataset_reader import DatasetReaderInput
from allennlp.interpret import InfluenceInterpreter
from allennlp.models import Model
from torch import Tensor

from allennlp_influence.data.example import Example, example_of
from allennlp_influence.engine import (
    Batch,
    Curvature,
    Diagnosis,
    InverseCurvature,
    MemoryBudget,
    NotSolvedError,
    Objective,
    SelfChecks,
    Store,
    TrainingSet,
    check_normalisation,
    normalised,
    precision_agreement,
    rank_agreement,
    self_checks,
)
from allennlp_influence.engine.matmul_precision import FULL
from allennlp_influence.influence.checkpoints import (
    Checkpoint,
    mean_log_probabilities,
    mean_self_influence,
    read_weights,
    worst,
)
from allennlp_influence.influence.classifier import Classifier
from allennlp_influence.influence.explanation import (
    InfluenceExplanation,
    TrainingInfluence,
    z_scores,
)
from allennlp_influence.influence.fingerprint import fingerprint
from allennlp_influence.influence.queries import Query, explained_class, gold_class
from allennlp_influence.influence.reading import one_line, readable
from allennlp_influence.influence.solver_config import (
    DEFAULT_SOLVER,
    Solver,
    complete_solver_config,
    make_solver,
)
from allennlp_influence.influence.token_attribution import (
    TokenAttribution,
    mean_attribution,
    token_attributions,
)
from allennlp_influence.influence.trained_parameters import trained_parameters
from allennlp_influence.saliency import RemovableWords

_MOST_QUERIES_AT_ONCE = 128
_QUERIES_COMPARED = 4


class Influence(NamedTuple):
    """
    Scores `(num_queries, N)`, a diagnosis for each query, and, where words are attributed, x `(num_queries, space.size)`
    at each checkpoint.
    """

    scores: Tensor
    diagnoses: List[Diagnosis]
    solved: List[Tensor]


@InfluenceInterpreter.register("influence-functions")
class InfluenceFunctions(InfluenceInterpreter):
    """
    Scores every training example by how much the loss of a prediction would rise if the example were removed
    from training, to first order (Koh & Liang 2017; Han et al. 2020, eq. 1):

        score[q, i] = ∇L_q(ŷ)ᵀ (C + λI)⁻¹ ∇L_i(y_i) / N

    over the parameters that training updated, in eval mode. Positive: the example supports the explained
    label. What does not depend on the queries is computed at the first call and kept. The model is left as it came.

    Registered as an `InfluenceInterpreter` with name "influence-functions".

    # Parameters

    model : `Model`, required
        A classifier whose output has `logits` or `probs`.
    train_data_path : `DatasetReaderInput`, required
    train_dataset_reader : `DatasetReader`, required
    test_dataset_reader : `DatasetReader`, optional (default = `train_dataset_reader`)
    train_data_loader, test_data_loader : `Lazy[DataLoader]`, optional
        As AllenNLP's: only their instances are used.
    params_to_freeze : `List[str]`, optional (default = `None`)
        Regular expressions, searched in the names of the parameters that training left alone. By default those of
        the archive's configuration; without one, what the model itself does not freeze counts as trained.
    cuda_device : `int`, optional (default = `-1`)
    solver : `Union[InverseCurvature, str, Dict[str, Any]]`, optional (default = `DEFAULT_SOLVER`)
        How (C + λI)⁻¹ is applied: a registered name, or `{"type": name, ...}` with its parameters.
    label : `str`, optional (default = `"predicted"`)
        The label that is explained: `predicted`, `gold`, or the name of a class.
    checkpoints : `List[str]`, optional (default = `None`)
        Files of weights, archives or serialization directories (see `read_weights`), at all of which influence is
        computed, with the label that the archive's model predicts, and averaged. With the solver `identity` and the
        checkpoints of one training it is TracInCP at a constant learning rate (Pruthi et al. 2020, §3.2); with the
        archives of other seeds an ensemble. By default at the archive's own weights alone.
    normalisation : `str`, optional (default = `None`)
        `relatif` or `cosine`, see `normalised`: scores relative to the training example's own strength. By default
        they are predictions in nats.
    attribute_tokens : `bool`, optional (default = `False`)
        Of every training example that is listed, say which words made it influential (see `token_attributions`).
    memory_budget : `float`, optional (default = `8.0`)
        GB beside the model: for the queries that share a pass over the training examples, for gradients that are held
        while others pass by, and for a matrix as large as the training set (see `MemoryBudget`).
    cache_dir : `str`, optional (default = `None`)
        Folder that keeps what does not depend on the queries (the frozen layers' outputs, a solver's factors, spectrum
        or Gram matrix) for the next time, under a fingerprint of the model and its training data. Without one it is
        kept in memory only.
    archive_config : `Params`, optional (default = `None`)
        `from_path` and `from_archive` fill it in.

    # Raises

    `ConfigurationError` for what can't be explained, with the remedy.
    """

    # for from_path() on this class itself, which is registered under itself too (below)
    default_implementation = "influence-functions"

    def __init__(
        self,
        model: Model,
        train_data_path: DatasetReaderInput,
        train_dataset_reader: DatasetReader,
        *,
        test_dataset_reader: Optional[DatasetReader] = None,
        train_data_loader: Lazy[DataLoader] = Lazy(SimpleDataLoader.from_dataset_reader),
        test_data_loader: Lazy[DataLoader] = Lazy(SimpleDataLoader.from_dataset_reader),
        params_to_freeze: Optional[List[str]] = None,
        cuda_device: int = -1,
        solver: Union[InverseCurvature, Solver] = DEFAULT_SOLVER,
        label: str = "predicted",
        checkpoints: Optional[List[str]] = None,
        normalisation: Optional[str] = None,
        attribute_tokens: bool = False,
        memory_budget: float = 8.0,
        cache_dir: Optional[str] = None,
        archive_config: Optional[Params] = None,
    ) -> None:
        self.solver_config = complete_solver_config(solver)
        self.solver = solver if isinstance(solver, InverseCurvature) else make_solver(solver)
        self.label = label
        check_normalisation(normalisation)
        self.normalisation = normalisation
        self.attribute_tokens = attribute_tokens
        self.memory_budget = MemoryBudget.of(memory_budget)
        self.cache_dir = cache_dir
        config = archive_config.as_dict(quiet=True) if archive_config is not None else None
        self.trained = trained_parameters(model, config, params_to_freeze)
        self._unused_solver = copy.deepcopy(self.solver)
        self.weights = read_weights(checkpoints or [], model, self.trained.names)
        with readable(train_data_path, train_dataset_reader):
            loader = train_data_loader.construct(
                reader=train_dataset_reader, data_path=train_data_path, batch_size=1
            )
            # before the loader is indexed: a label that the vocabulary lacks is a mere KeyError there
            self.instances: List[Instance] = list(loader.iter_instances())
        if not self.instances:
            raise ConfigurationError(f"there are no training examples in {train_data_path}")
        self.examples: List[Example] = [example_of(x, i) for i, x in enumerate(self.instances)]
        self.classifier = Classifier(model, int_to_device(cuda_device))
        self.training_labels = [
            self._training_label(instance, f"training example {example.id} of {train_data_path}")
            for instance, example in zip(self.instances, self.examples)
        ]
        self.seconds: Dict[str, float] = {}  # spent, by stage
        # Spearman correlation of the first few queries' scores with gradient dot products: whether curvature matters
        self.agreement_with_identity: List[float] = []
        # and with the scores if the curvature were of half as many examples, where it is not of all of them
        self.agreement_with_half: List[float] = []
        # and of small curvatures with float32's, where torch multiplies matrices less precisely
        self.agreement_with_float32: List[float] = []
        super().__init__(
            model,
            train_data_path,
            train_dataset_reader,
            test_dataset_reader=test_dataset_reader,
            train_data_loader=Lazy(lambda **kwargs: loader),
            test_data_loader=test_data_loader,
            cuda_device=cuda_device,
        )

    @functools.cached_property
    def objective(self) -> Objective:
        """The training loss over the trained parameters."""
        lengths = [self.classifier.length(instance) for instance in self.instances]
        order = numpy.argsort(lengths, kind="stable")
        spread = sorted({int(order[i * (len(order) - 1) // 3]) for i in range(4)})
        sample = self._collate(spread)
        objective = Objective(self.model, self.trained.names, sample)
        own, ours = objective.own_loss(sample)
        if own is None or abs(own - ours) > 1e-3 * max(1.0, abs(ours)):
            objective.notes.append(
                f"the model's own loss is not the cross-entropy of its logits ({own} against {ours:.4g} on "
                "four training examples): what is explained is the cross-entropy"
            )
        return objective

    @functools.cached_property
    def label_names(self) -> List[str]:
        """The names of the classes in the order of the model's logits."""
        return self.classifier.label_names(self.instances[0], self.objective.num_classes)

    @functools.cached_property
    def training_set(self) -> TrainingSet:
        """The training examples above the frozen layers."""
        objective = self.objective
        lengths = [self.classifier.length(instance) for instance in self.instances]
        with self._timed("frozen layers of the training examples"):
            return TrainingSet(
                objective,
                lengths,
                self._collate,
                store=self._store(objective.parameters),
                memory_budget=self.memory_budget,
            )

    @functools.cached_property
    def training_log_probabilities(self) -> numpy.ndarray:
        """Of the classes for every training example `(N, num_classes)`; over several checkpoints, of mean probabilities."""
        with self._timed("predictions of the training examples"):
            each = [own.training_set.log_probabilities() for own in self.checkpoints]
            return mean_log_probabilities(each).numpy()

    @functools.cached_property
    def training_losses(self) -> numpy.ndarray:
        """Loss of every training example at its own label, `(N,)`, in nats."""
        return 0.0 - self.training_log_probabilities[
            numpy.arange(len(self.examples)), self.training_labels
        ]

    @functools.cached_property
    def checkpoints(self) -> List[Checkpoint]:
        """Where influence is computed."""
        if not self.weights:
            return [Checkpoint(self.training_set, self.solver)]
        return [
            Checkpoint(
                self.training_set.at(parameters, self._store(parameters)),
                copy.deepcopy(self._unused_solver),
            )
            for _, parameters in self.weights
        ]

    @property
    def curvature(self) -> Curvature:
        """The curvature that the solver is configured for, at the first checkpoint."""
        return self.checkpoints[0].curvature

    @functools.cached_property
    def self_influence(self) -> Tensor:
        """
        By how much the loss of every training example would rise if it were itself removed, `(N,)`, in nats; over several
        checkpoints see `mean_self_influence`.

        # Raises

        `ConfigurationError` if the solver has no way to it but a system for each.
        """
        with self._timed("self-influence"):
            return mean_self_influence([own.self_influence for own in self.checkpoints])

    @functools.cached_property
    def no_self_influence(self) -> Optional[str]:
        """Why it is left out of a run's results, see `InverseCurvature.no_self_influence`; `None` if it is not."""
        return self.checkpoints[0].solver.no_self_influence(self.curvature)

    @functools.cached_property
    def self_checks(self) -> SelfChecks:
        """Of curvature products and derivatives, on a few training examples."""
        with self._timed("self-checks"):
            return self_checks(self.curvature)

    @property
    def queries_at_once(self) -> int:
        """How many queries make a block, by the memory budget."""
        element = next(iter(self.objective.parameters.values())).element_size()
        each = self.solver.vectors_per_query * self.objective.space.size * element
        return int(max(1, min(_MOST_QUERIES_AT_ONCE, self.memory_budget.vectors * 1e9 // each)))

    def prepare(self, most_gigabytes: float = 0.0) -> None:
        """
        Computes what no query changes, and what pays off where single queries come one after the other: the training
        gradients, as their factors, if they take no more than `most_gigabytes` (in `cache_dir`; without one, of memory).
        """
        self.training_losses
        for checkpoint in self.checkpoints:
            checkpoint.solver.prepare(checkpoint.curvature, most_gigabytes)
        list(self.explain(self.instances[:1], 0))  # and whatever else the first query would wait for

    def interpret_instances(
        self, test_instances: List[Instance], k: int = 20
    ) -> List[InfluenceExplanation]:
        """
        # Parameters

        test_instances : `List[Instance]`, required
            Need no label, unless the gold one is to be explained.
        k : `int`, optional (default = `20`)
            How many training examples to list at each end; all of them if there are fewer.

        # Raises

        `ConfigurationError` if an instance has no label of the kind asked for; `NotSolvedError` if the
        solver can't solve the system as configured.
        """
        return list(self.explain(test_instances, k))

    def interpret_from_file(
        self, test_data_path: DatasetReaderInput, k: int = 20
    ) -> List[InfluenceExplanation]:
        """`interpret_instances` of the instances in a file, which is read as the archive's validation data."""
        with readable(test_data_path, self._test_dataset_reader):
            loader = self._lazy_test_data_loader.construct(
                reader=self._test_dataset_reader, data_path=test_data_path, batch_size=1
            )
            instances = list(loader.iter_instances())
        return self.interpret_instances(instances, k)

    def explain(
        self,
        instances: Sequence[Instance],
        k: int = 20,
        names: Optional[Sequence[str]] = None,
        labels: Optional[Sequence[str]] = None,
    ) -> Iterator[InfluenceExplanation]:
        """
        Explains block by block, in order; an explanation does not depend on its block. `names` are what the
        instances are called in errors, by default "input 1" and so on; `labels`, one each, are explained in place
        of the interpreter's.
        """
        if k < 0:
            raise ConfigurationError(f"k is the number of examples to list, not {k}")
        names = names or [f"input {i + 1}" for i in range(len(instances))]
        labels = labels or [self.label] * len(instances)
        for start in range(0, len(instances), self.queries_at_once):
            block = slice(start, start + self.queries_at_once)
            yield from self._explain_block(instances[block], names[block], labels[block], k)

    def check_labels(self, instances: Sequence[Instance], names: Sequence[str]) -> None:
        """
        # Raises

        `ConfigurationError` if one of the instances has no label of the kind that is to be explained.
        """
        for instance, name in zip(instances, names):
            explained_class(self.classifier, instance, self.label, 0, self.label_names, name)

    def prepared_query(
        self, instance: Instance, name: str = "the input", label: Optional[str] = None
    ) -> Query:
        """The prediction on an instance, with the class index that is explained: by default the interpreter's `label`."""
        self._test_dataset_reader.apply_token_indexers(instance)
        objective = self.objective
        batch = objective.prepare(self.classifier.collate([instance], [0]))
        with torch.no_grad():
            logits = objective.logits(objective.parameters, batch)[0]
        names = self.label_names
        predicted = int(logits.argmax())
        explained = explained_class(
            self.classifier, instance, label or self.label, predicted, names, name
        )
        labelled = batch._replace(labels=torch.tensor([explained], device=self.device))
        return Query(
            instance,
            labelled,
            names,
            logits.log_softmax(-1).tolist(),
            explained,
            predicted,
            self.classifier.gold_name(instance, names),
        )

    def token_attribution(
        self, instance: Instance, positions: Sequence[int], name: str = "the input"
    ) -> List[TokenAttribution]:
        """
        Which words of some training examples make them influential for a prediction; see `token_attributions`.

        # Parameters

        instance : `Instance`, required
            The input whose prediction is explained.
        positions : `Sequence[int]`, required
            Places of training examples in the training order, from 0.
        name : `str`, optional (default = `"the input"`)
            What the instance is called in errors.

        # Raises

        `ConfigurationError` for a place that is none, and where `explain` and `token_attributions` do.
        """
        for position in positions:
            if not 0 <= position < len(self.instances):
                raise ConfigurationError(
                    f"there is no training example at place {position}: there are {len(self.instances):,}, from 0"
                )
        batch = self.prepared_query(instance, name).batch
        solved = [
            checkpoint.solver.apply(checkpoint.curvature, checkpoint.gradients([batch]))[0]
            for checkpoint in self.checkpoints
        ]
        return self._token_attributions(positions, solved)

    def expected_seconds(self, num_blocks: int) -> float:
        """About how long the solver takes for so many full blocks of queries, without what is kept of it already."""
        solver, curvature = self.solver, self.curvature
        passes = num_blocks * solver.expected_passes(len(curvature.positions))
        seconds = curvature.seconds_per_product(self.queries_at_once) if passes else 0.0
        each = passes * seconds + solver.expected_preparation_seconds(curvature)
        return len(self.checkpoints) * each

    def expected_attribution_seconds(self, num_listed: int) -> float:
        """About how long the words of so many listed examples take, from two of middling length, measured."""
        by_length = numpy.argsort(self.training_set.lengths, kind="stable").tolist()
        middle = [i for i in by_length[len(by_length) // 2 :][:2] if self._has_words(i)]
        like = next(iter(self.objective.parameters.values()))
        start = self.objective.clock()
        self._token_attributions(middle, len(self.checkpoints) * [like.new_zeros(self.objective.space.size)])
        return (self.objective.clock() - start) * num_listed / max(1, len(middle))

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = self.objective.clock()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + self.objective.clock() - start

    def _influence(self, batches: Sequence[Batch], names: Sequence[str]) -> Influence:
        """Over all checkpoints."""
        total, diagnoses, solved = 0.0, [], []
        for number, checkpoint in enumerate(self.checkpoints):
            with self._timed("gradients of the queries"):
                gradients = checkpoint.gradients(batches)
            for gradient, name in zip(gradients, names):
                if not torch.isfinite(gradient).all():
                    raise ConfigurationError(f"the loss of {name} has a gradient that is not finite")
            with self._timed("solver and scores"):
                if self.attribute_tokens:
                    scores, (vectors, own) = checkpoint.influence_by_solution(gradients)
                    solved.append(vectors)
                else:
                    scores, own = checkpoint.influence(gradients)
            if number == 0 and not self.agreement_with_identity:
                with self._timed("self-checks"):
                    some = slice(_QUERIES_COMPARED)
                    self._compare(checkpoint, batches[some], gradients[some], scores)
            if self.normalisation is not None:
                with self._timed("self-influence"):
                    strengths = checkpoint.self_influence
                scores = normalised(self.normalisation, scores, strengths, [d.energy for d in own])
            total = total + scores
            diagnoses.append(own)
        worsts = [worst(of_query) for of_query in zip(*diagnoses)]
        return Influence(total / len(self.checkpoints), worsts, solved)

    def _compare(
        self, checkpoint: Checkpoint, batches: Sequence[Batch], gradients: Tensor, scores: Tensor
    ) -> None:
        training_set = checkpoint.training_set
        self.agreement_with_identity = rank_agreement(training_set, gradients, scores)
        num_examples = len(checkpoint.curvature.positions)
        if num_examples < len(training_set):
            solver = copy.deepcopy(self._unused_solver)
            solver.num_examples = max(1, num_examples // 2)
            vectors = solver.apply(solver.curvature_of(training_set), gradients)
            self.agreement_with_half = rank_agreement(training_set, vectors, scores)
        if torch.get_float32_matmul_precision() != FULL:
            self.agreement_with_float32 = precision_agreement(
                training_set, self._unused_solver, batches
            )

    def _store(self, parameters: Mapping[str, Tensor]) -> Store:
        if self.cache_dir is None:
            return Store()
        name = fingerprint(self.model, parameters, self.instances, self.training_labels)
        precision = torch.get_float32_matmul_precision()
        return Store(Path(self.cache_dir) / (name if precision == FULL else f"{name}-{precision}"))

    def _explain_block(
        self, instances: Sequence[Instance], names: Sequence[str], labels: Sequence[str], k: int
    ) -> Iterator[InfluenceExplanation]:
        queries = [self.prepared_query(*query) for query in zip(instances, names, labels)]
        scores, diagnoses, solved = self._influence([query.batch for query in queries], names)
        scores = scores.float().numpy()
        for number, (query, diagnosis, row, name) in enumerate(
            zip(queries, diagnoses, scores, names)
        ):
            if not numpy.isfinite(row).all():
                raise NotSolvedError(
                    f"scores of {name} are not finite: the loss of a training example, or the solver, overflows"
                )
            z = z_scores(row)
            order = numpy.argsort(-row, kind="stable")
            k = min(k, len(order))
            ends = [*order[:k], *order[::-1][:k]]
            attributions: Dict[int, TokenAttribution] = {}
            if self.attribute_tokens:
                listed = [i for i in dict.fromkeys(ends) if self._has_words(i)]
                own = [vectors[number] for vectors in solved]
                attributions = dict(zip(listed, self._token_attributions(listed, own)))
            yield InfluenceExplanation(
                test_instance=query.instance,
                loss=0.0 - query.log_probabilities[query.explained],
                top_k=[self._of_example(i, row, z, attributions.get(i)) for i in order[:k]],
                bottom_k=[self._of_example(i, row, z, attributions.get(i)) for i in order[::-1][:k]],
                scores=row,
                labels=query.names,
                probabilities=numpy.exp(query.log_probabilities).tolist(),
                explained=query.names[query.explained],
                predicted=query.names[query.predicted],
                gold=query.gold,
                diagnosis=diagnosis,
            )

    def _of_example(
        self,
        position: int,
        scores: numpy.ndarray,
        z: numpy.ndarray,
        attribution: Optional[TokenAttribution],
    ) -> TrainingInfluence:
        return TrainingInfluence(
            instance=self.instances[position],
            loss=float(self.training_losses[position]),
            score=float(scores[position]),
            z=float(z[position]),
            id=self.examples[position].id,
            position=int(position),
            token_attribution=attribution,
        )

    def _token_attributions(
        self, positions: Sequence[int], solved: Sequence[Tensor]
    ) -> List[TokenAttribution]:
        """Of training examples, for one query that is solved at every checkpoint."""
        with self._timed("token attribution"):
            texts = [RemovableWords(self.instances[i], self.vocab) for i in positions]
            labels = [self.training_labels[i] for i in positions]
            of_checkpoints = [
                token_attributions(own.training_set, self.classifier, texts, labels, vector)
                for own, vector in zip(self.checkpoints, solved)
            ]
            return [mean_attribution(same) for same in zip(*of_checkpoints)]

    def _has_words(self, position: int) -> bool:
        """Whether the score of a training example can be shared out; a note says why not."""
        try:
            RemovableWords(self.instances[position], self.vocab)
            return True
        except ConfigurationError as error:
            note = f"no attribution to the words of some training examples: {one_line(error)}"
            if note not in self.objective.notes:
                self.objective.notes.append(note)
            return False

    def _collate(self, positions: Sequence[int]) -> Batch:
        return self.classifier.collate(
            [self.instances[i] for i in positions], [self.training_labels[i] for i in positions]
        )

    def _training_label(self, instance: Instance, name: str) -> int:
        label = gold_class(self.classifier, instance, name)
        if label is None:
            raise ConfigurationError(
                f"{name} has no label (its fields are {', '.join(sorted(instance.fields))}): only classifiers "
                "of whole texts can be explained, by training examples with labels"
            )
        return label


InfluenceFunctions.register("influence-functions")(InfluenceFunctions)


def _hand_over_the_config() -> None:
    """
    AllenNLP's `InfluenceInterpreter.from_archive` constructs the interpreter without the archive's
    configuration, in which alone stands what training froze. Hand it to interpreters of ours.
    """
    original = InfluenceInterpreter.from_archive.__func__

    @functools.wraps(original)
    def from_archive(cls, archive, *, interpreter_name=None, **kwargs):
        chosen = cls.by_name(interpreter_name or cls.default_implementation)
        if isinstance(chosen, type) and issubclass(chosen, InfluenceFunctions):
            kwargs.setdefault("archive_config", archive.config)
            if not (kwargs.get("train_data_path") or archive.config.get("train_data_path")):
                raise ConfigurationError(
                    "the archive's configuration names no training file; give train_data_path"
                )
        return original(cls, archive, interpreter_name=interpreter_name, **kwargs)

    InfluenceInterpreter.from_archive = classmethod(from_archive)


_hand_over_the_config()
