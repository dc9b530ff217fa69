"""
Runs one measured thing in a process of its own, so that none of them finds another's memory or caches:

    python benchmarks/measure.py MODULE JOB.json RESULT.json

MODULE has a function `measure` that takes what is in JOB.json and returns what goes into RESULT.json, its own times
among it: the clock runs from the call, after the imports.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict

Result = Dict[str, Any]


def measured(module: str, name: str, folder: Path, job: Dict[str, Any]) -> Result:
    """
    What `module` measures on `job`, with the peak memory and threads of its process. The process's output goes into
    `folder`; if it fails the result is an `error`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {what: folder / f"{name}.{what}" for what in ("job", "result", "log")}
    files["job"].write_text(json.dumps(job, indent=1))
    files["result"].unlink(missing_ok=True)
    command = [sys.executable, __file__, module, str(files["job"]), str(files["result"])]
    start = time.perf_counter()
    with open(files["log"], "w") as log:
        code = subprocess.run(command, stdout=log, stderr=log).returncode
    if code or not files["result"].exists():
        return {"error": f"{module} ended with {code}, see {files['log']}"}
    result = json.loads(files["result"].read_text())
    return {**result, "process_seconds": time.perf_counter() - start}


def main(module: str, job: str, result: str) -> None:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    measure = importlib.import_module(module).measure
    found = measure(**json.loads(Path(job).read_text()))
    import torch

    found["threads"] = torch.get_num_threads()
    # of this process alone as long as the one that started it was smaller: Linux takes over the peak at its start
    found["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
