"""
The engine by itself on a model of the paper's size: BERT-base with random weights, embeddings and 8 of 12 layers
frozen, on random tokens with the lengths of SST-2's and MultiNLI's training examples.
"""

import argparse
import json
import random
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from allennlp_influence.engine import Batch, InverseCurvature, Objective, TrainingSet
from scoring_rate import operations

# Quantiles (0, 5, … 100 %) of the number of word pieces, see lengths.py.
LENGTHS: Dict[str, List[int]] = json.loads(Path(__file__).with_name("lengths.json").read_text())
SOLVERS = {
    "identity": {"type": "identity"},
    "ek-fac": {"type": "ek-fac"},
    "spectral, Gauss-Newton of 1,000": {
        "type": "spectral",
        "curvature": "gauss-newton",
        "num_examples": 1000,
        "rank": 8,
        "block_size": 8,
        "steps": 3,
    },
    "gauss-newton of 1,000": {"type": "gauss-newton", "num_examples": 1000},
    "conjugate-gradient, Hessian of 1,000": {
        "type": "conjugate-gradient",
        "num_examples": 1000,
        "tolerance": 0.01,
    },
}
BLOCK = 64  # queries at once
MOST_POSITIONS = 512


class Classifier(nn.Module):
    """A linear layer on BERT's first position."""

    def __init__(self, layers: int, num_classes: int) -> None:
        super().__init__()
        config = BertConfig(num_hidden_layers=layers, attn_implementation="sdpa")
        self.bert = BertModel(config, add_pooling_layer=False)
        self.head = nn.Linear(config.hidden_size, num_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Dict[str, Tensor]:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"logits": self.head(hidden[:, 0])}


class Texts:
    """Random tokens of lengths that are spread as those of a data set."""

    def __init__(self, quantiles: Sequence[int], size: int, num_classes: int, device: str) -> None:
        generator = random.Random(0)
        self.lengths = [_quantile(quantiles, generator.random()) for _ in range(size)]
        self.labels = [generator.randrange(num_classes) for _ in range(size)]
        self.device = torch.device(device)

    def collate(self, positions: Sequence[int]) -> Batch:
        """Tokens depend on the position alone."""
        width = max(self.lengths[i] for i in positions)
        ids, mask = torch.zeros(2, len(positions), width, dtype=torch.long)
        for row, i in enumerate(positions):
            generator = torch.Generator().manual_seed(i)
            length = self.lengths[i]
            ids[row, :length] = torch.randint(1000, 30000, (length,), generator=generator)
            mask[row, :length] = 1
        labels = torch.tensor([self.labels[i] for i in positions])
        return Batch({"input_ids": ids, "attention_mask": mask}, labels).to(self.device)


def _quantile(quantiles: Sequence[int], at: float) -> int:
    place = at * (len(quantiles) - 1)
    below = int(place)
    return round(quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below]))


class Stages:
    """Seconds and the peak of the GPU's memory by stage."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.found: Dict[str, Dict[str, float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self.cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        yield
        if self.cuda:
            torch.cuda.synchronize()
        self.found[name] = {"seconds": time.perf_counter() - start}
        if self.cuda:
            self.found[name]["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        print(f"  {name}: {self.found[name]}", flush=True)


def run(args: argparse.Namespace, data: str, num_classes: int, tf32: bool) -> Dict[str, Any]:
    """All solvers on one data set at one precision."""
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.manual_seed(0)
    model = Classifier(args.layers, num_classes).to(args.device)
    frozen = tuple(f"bert.encoder.layer.{i}." for i in range(args.frozen)) + ("bert.embeddings.",)
    trained = [name for name, _ in model.named_parameters() if not name.startswith(frozen)]
    texts = Texts(LENGTHS[data], args.examples + max(args.queries), num_classes, args.device)
    order = sorted(range(args.examples), key=texts.lengths.__getitem__)
    objective = Objective(model, trained, texts.collate([order[0], order[-1]]))
    stages = Stages(args.device)
    with stages("frozen layers"):
        training_set = TrainingSet(
            objective, texts.lengths[: args.examples], texts.collate, token_budget=args.token_budget
        )
    training_set.gradients
    queries = [
        objective.prepare(texts.collate([args.examples + i])) for i in range(max(args.queries))
    ]
    rate = _rate_of_products(args.device)
    found: Dict[str, Any] = {
        "trained_parameters": objective.space.size,
        "tflops_of_products": rate / 1e12,
        "stages": stages.found,
        "scores": {},
    }
    for name in args.solver:
        config = SOLVERS[name]
        solver = InverseCurvature.by_name(config["type"])(
            damping=30.0, **{key: value for key, value in config.items() if key != "type"}
        )
        curvature = solver.curvature_of(training_set)
        for number in sorted(args.queries):  # the first has the preparation too
            scores = []
            with stages(f"{name}, Q = {number}"):
                for start in range(0, number, BLOCK):
                    some = queries[start : min(start + BLOCK, number)]
                    gradients = torch.stack([objective.gradient(query) for query in some])
                    scores.append(solver.influence(curvature, gradients)[0].cpu())
            if name == "identity":  # nothing but the scoring pass
                blocks = [len(part) for part in scores]
                flops = sum(operations(training_set, size) for size in blocks)
                seconds = stages.found[f"{name}, Q = {number}"]["seconds"]
                stages.found[f"{name}, Q = {number}"]["times_the_floor"] = seconds * rate / flops
        found["scores"][name] = torch.cat(scores)[:4].tolist()
    return found


def _rate_of_products(device: str) -> float:
    side = 8192 if device == "cuda" else 1024
    a, b = torch.randn(2, side, side, device=device)
    torch.mm(a, b)
    times = []
    for _ in range(5):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 50, 545])
    parser.add_argument("--solver", nargs="+", choices=list(SOLVERS), default=list(SOLVERS))
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--frozen", type=int, default=8)
    parser.add_argument("--token-budget", type=int, default=16_384)
    args = parser.parse_args()
    results: Dict[str, Any] = {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "sizes": {key: value for key, value in vars(args).items() if key != "out"},
    }
    for data, num_classes in (("sst2", 2), ("mnli", 3)):
        both = {}
        for tf32 in (False, True):
            name = "tf32" if tf32 else "float32"
            print(f"{data}, {name}", flush=True)
            both[name] = run(args, data, num_classes, tf32)
        scores = {name: own.pop("scores") for name, own in both.items()}
        both["lowest_spearman_of_tf32"] = {
            solver: min(
                float(spearmanr(x, y)[0])
                for x, y in zip(scores["tf32"][solver], scores["float32"][solver])
            )
            for solver in args.solver
        }
        results[data] = both
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=1) + "\n")  # what is measured so far
    print(f"all of it: {args.out}")


if __name__ == "__main__":
    main()
