# Needs make and Python 3.10, 3.11 or 3.12. Another Python than the first suitable one: PYTHON=python3.12 make test
PYTHON ?=

.PHONY: help venv demo test bench paper wheel clean

help:
	@echo "make demo    train, explain, write demo/report.html"
	@echo "make test    run the tests"
	@echo "make bench   measure speed, memory and accuracy, also of others (see benchmarks/README.md)"
	@echo "make paper   rerun the paper's tables and figures (see paper/README.md)"
	@echo "make wheel   build dist/*.whl"
	@echo "make clean   remove .venv and everything made here"

venv:
	@sh scripts/make_venv.sh "$(PYTHON)"

demo: venv
	.venv/bin/allennlp-influence demo -s demo

test: venv
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2 --dist loadfile -m "not slow and not gpu"

DATA ?= ../shared/data
N ?= 10000
Q ?= 50
EXACT ?= 4
bench: venv
	@sh benchmarks/make_venv.sh
	@.bench/venv/bin/python benchmarks/bench.py --data "$(DATA)/sst2" --examples $(N) --queries $(Q) \
		--exact-queries $(EXACT) $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(QUICK),--quick)

SIZE ?= full
MINUTES ?= 120
PROCESSES ?= 1
OUT ?= out/paper/$(SIZE)
DOCS ?= $(if $(filter full,$(SIZE)),docs,$(OUT))
paper: venv
	.venv/bin/python -m paper --data "$(DATA)" --size $(SIZE) --out "$(OUT)" --docs "$(DOCS)" \
		--minutes $(MINUTES) --processes $(PROCESSES) \
		$(if $(SST2),--sst2 "$(SST2)") $(if $(MNLI),--mnli "$(MNLI)")

wheel: venv
	.venv/bin/python -m build --no-isolation

clean:
	rm -rf .venv .bench build dist demo *.egg-info .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
