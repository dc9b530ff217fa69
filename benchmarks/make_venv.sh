#!/bin/sh
# Makes .bench/venv, in which the opponents of the benchmark are installed; all else it takes from .venv.
set -eu

site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
made_of="$site $(cksum < benchmarks/requirements-peers.txt) $(.venv/bin/python --version)"
[ "$(cat .bench/venv/stamp 2>/dev/null || true)" != "$made_of" ] || exit 0

echo "Making .bench/venv"
rm -rf .bench/venv
.venv/bin/python -m venv .bench/venv
.bench/venv/bin/python -m pip --disable-pip-version-check --no-input install -qq --no-deps \
    -r benchmarks/requirements-peers.txt
# addsitedir() rather than the folder by itself: an editable install is a .pth file of its own in it
echo "import site; site.addsitedir('$site')" \
    > "$(.bench/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/main.pth"
echo "$made_of" > .bench/venv/stamp
