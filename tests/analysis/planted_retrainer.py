"""A retrainer whose models are known in advance."""

import os
import time
from typing import Mapping, Optional, Sequence

import numpy
from allennlp.common.checks import ConfigurationError

from allennlp_influence.analysis import Retrainer
from allennlp_influence.data.example import Example

NUM_EXAMPLES, NUM_QUERIES = 20, 3
LABELS = ["a", "b"]
EXAMPLES = [Example(i + 1, {"sentence": f"text {i}"}, LABELS[i % 4 > 0]) for i in range(NUM_EXAMPLES)]
QUERIES = [Example(q + 1, {"sentence": f"query {q}"}) for q in range(NUM_QUERIES)]
# what each training example adds to the logit of class b of each query
EFFECTS = numpy.random.default_rng(0).normal(size=(NUM_QUERIES, NUM_EXAMPLES)) / 10


@Retrainer.register("planted")
class PlantedRetrainer(Retrainer):
    """
    The logit of class b is the sum of what the training examples add, and of the seed / 100; an example whose label is
    replaced adds nothing. The seed 13 can't be trained, the seed 99 kills the process.
    """

    def __init__(
        self,
        archive_file: str = "",
        input_file: str = "",
        train_data: Optional[str] = None,
        overrides: str = "",
        log: str = "",
        pause: float = 0.0,
    ) -> None:
        self.examples, self.queries, self.label_names = EXAMPLES, QUERIES, LABELS
        self.fingerprint = f"planted{overrides}"
        self._log, self._pause = log, pause

    def log_probabilities(
        self, leave_out: Sequence[int], seed: int, labels: Optional[Mapping[int, int]] = None
    ) -> numpy.ndarray:
        self.check_arguments(leave_out, labels)
        time.sleep(self._pause)
        if self._log:
            with open(self._log, "a") as file:
                file.write(f"{os.getpid()} {seed} {sorted(leave_out)}\n")
        if seed == 13:
            raise ConfigurationError("13 can't be trained")
        if seed == 99:
            os._exit(1)
        used = [i for i in range(NUM_EXAMPLES) if i not in {*leave_out, *(labels or ())}]
        logits = EFFECTS[:, used].sum(1) + seed / 100
        return -numpy.logaddexp(0, numpy.stack([logits, -logits], 1))
