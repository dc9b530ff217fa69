#!/bin/sh
# BERT-base on a GPU: time and memory by stage, written to benchmarks/results/gpu.json. See benchmarks/README.md.
#   benchmarks/gpu.sh                        .venv is made if it is not there (needs the package index)
#   PYTHON=python3 benchmarks/gpu.sh         a Python that has a CUDA build of torch; what else is missing is installed
#                                            beside it from the wheels in $WHEELS, offline
set -eu
cd "$(dirname "$0")/.."
if [ -n "${WHEELS:-}" ]; then
    target=$(mktemp -d)
    trap 'rm -rf "$target"' EXIT
    "${PYTHON:-python3}" -m pip install -q --no-index --no-deps --target "$target" "$WHEELS"/*.whl
    export PYTHONPATH="$target:$PWD"
elif [ -z "${PYTHON:-}" ]; then
    sh scripts/make_venv.sh
    PYTHON=.venv/bin/python
fi
"${PYTHON:-python3}" benchmarks/gpu.py --out benchmarks/results/gpu.json "$@"
