"""
How long single queries take on a server that is prepared for them, solver by solver:

    python benchmarks/server.py out/sst2/model.tar.gz dev.tsv --solver identity --solver '{"type": "ek-fac"}'

Reads inputs from a file as `allennlp influence` does. A line a solver: what the preparation takes the first time, and when
everything is on disk; the median and the longest of the queries; the memory. Each solver has a process of its own.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict


def measured(args: argparse.Namespace, cache: str) -> Dict[str, Any]:
    import torch
    from allennlp.interpret import InfluenceInterpreter
    from allennlp.predictors import Predictor

    import allennlp_influence.plugin  # noqa: F401
    from allennlp_influence.commands.arguments import solver_from_text
    from allennlp_influence.predictors.inputs import read_inputs
    from allennlp_influence.server import InfluenceEndpoint, ServedModel

    torch.set_num_threads(args.threads)
    influence = InfluenceInterpreter.from_path(
        args.archive,
        interpreter_name="influence-functions",
        train_data_path=args.train_data,
        solver=solver_from_text(args.solver[0]),
        cache_dir=cache,
    )
    model = ServedModel("measured", args.archive)
    predictor = Predictor.from_path(args.archive, "text_explainer")
    endpoint = InfluenceEndpoint(
        model, predictor, influence, most_gigabytes=args.keep_gradients
    )
    begin, cpu = time.perf_counter(), time.process_time()
    endpoint.prepare()
    prepared, prepared_cpu = time.perf_counter() - begin, time.process_time() - cpu
    seconds, cpus = [], []
    for _, example in list(read_inputs(predictor, args.inputs))[: args.queries]:
        begin, cpu = time.perf_counter(), time.process_time()
        endpoint.start_interpret("influence_functions", example.text, "predicted").future.result()
        seconds.append(time.perf_counter() - begin)
        cpus.append(time.process_time() - cpu)
    endpoint.close()
    return {
        "examples": len(influence.examples),
        "prepared": prepared,
        "prepared_cpu": prepared_cpu,
        "median": statistics.median(seconds),
        "longest": max(seconds),
        "median_cpu": statistics.median(cpus),
        "memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("inputs")
    parser.add_argument("--train-data")
    parser.add_argument("--solver", action="append", required=True)
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep-gradients", type=float, default=8.0, metavar="GB")
    parser.add_argument("--cache-dir", help="by default one that is thrown away after each solver")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(args, args.cache_dir)))
        return
    print("solver | first start (CPU) s | next start s | query, median (longest; CPU) s | memory GB | disk GB")
    for solver in args.solver:
        with tempfile.TemporaryDirectory(prefix="server-benchmark-") as folder:
            cache = args.cache_dir or folder
            command = [sys.executable, __file__, args.archive, args.inputs, "--solver", solver, "--child"]
            command += ["--queries", str(args.queries), "--threads", str(args.threads)]
            command += ["--keep-gradients", str(args.keep_gradients), "--cache-dir", cache]
            command += ["--train-data", args.train_data] if args.train_data else []
            first, again = [
                json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])
                for _ in range(2)
            ]
            disk = sum(file.stat().st_size for file in Path(cache).rglob("*.safetensors")) / 1e9
        print(
            f"{solver} | {first['prepared']:.0f} ({first['prepared_cpu']:.0f}) | {again['prepared']:.0f} | "
            f"{again['median']:.2f} ({again['longest']:.2f}; {again['median_cpu']:.2f}) | "
            f"{again['memory_gb']:.1f} | {disk:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
