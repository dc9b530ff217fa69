#!/bin/sh
# Makes .venv, or brings it up to date: `sh scripts/make_venv.sh [PYTHON]`, from the repository root.
#
# .venv/stamp says what the environment was made of (Python, requirements, package metadata) and is written last: an
# environment without it was never finished, one with another is stale.
set -eu

fail() { echo "$1" >&2; exit 1; }

# The interpreter behind a command (the one behind a virtual environment, if the command is in one) and its version,
# if it is one that AllenNLP's dependencies have wheels for; nothing otherwise.
suited() {
    "$1" -c '
import os, sys
if (3, 10) <= sys.version_info[:2] <= (3, 12):
    print(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable), "%d.%d.%d" % sys.version_info[:3])
' 2>/dev/null || true
}

if [ -n "${1:-}" ]; then
    found=$(suited "$1")
    there=$("$1" --version 2>/dev/null | head -n 1 || true)
    [ -n "$found" ] || fail "PYTHON=$1 is not Python 3.10, 3.11 or 3.12 (${there:-it does not run}): name one that is, as in PYTHON=python3.12 make test"
else
    for candidate in .venv/bin/python python3 python3.12 python3.11 python3.10; do
        found=$(suited "$candidate")
        [ -z "$found" ] || break
    done
    [ -n "$found" ] || fail "no Python 3.10, 3.11 or 3.12 among python3, python3.12, python3.11, python3.10: install one, or name it, as in PYTHON=/path/to/python3.12 make test"
fi
python=${found% *}
version=${found##* }

environment="$version $(cat requirements.txt requirements-allennlp.txt | cksum)"
package="$(cat setup.cfg pyproject.toml | cksum) $PWD"
stamped_environment=$(sed -n 1p .venv/stamp 2>/dev/null || true)
stamped_package=$(sed -n 2p .venv/stamp 2>/dev/null || true)
pip() { .venv/bin/python -m pip --disable-pip-version-check --no-input install -qq --no-deps "$@"; }

if [ "$stamped_environment" != "$environment" ]; then
    echo "Making .venv with Python $version: some minutes, about 6 GB"
    rm -rf .venv
    if ! message=$("$python" -m venv .venv 2>&1); then
        rm -rf .venv
        fail "$python -m venv failed (on Debian and Ubuntu: apt install python${version%.*}-venv): $(echo "$message" | tail -n 1)"
    fi
    pip -r requirements.txt
    pip -r requirements-allennlp.txt
    stamped_package=
fi
if [ "$stamped_package" != "$package" ]; then
    rm -f .venv/stamp
    pip --no-build-isolation --editable .
    printf '%s\n%s\n' "$environment" "$package" > .venv/stamp
fi
