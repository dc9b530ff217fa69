# Needs make and Python 3.10, 3.11 or 3.12. Another Python than the first suitable one: PYTHON=python3.12 make test
PYTHON ?=

.PHONY: help venv demo test wheel clean

help:
	@echo "make demo    train, explain, write demo/report.html"
	@echo "make test    run the tests"
	@echo "make wheel   build dist/*.whl"
	@echo "make clean   remove .venv and everything made here"

venv:
	@sh scripts/make_venv.sh "$(PYTHON)"

demo: venv
	.venv/bin/allennlp-influence demo -s demo

test: venv
	.venv/bin/python -m pytest -q -m "not slow and not gpu"

wheel: venv
	.venv/bin/python -m build --no-isolation

clean:
	rm -rf .venv build dist demo *.egg-info .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
