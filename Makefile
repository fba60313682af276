# Two commands matter: `make demo` and `make test`. Both install what is missing first (tools/bootstrap.sh).

.PHONY: demo test bench lint types docs venv clean

demo: venv
	tools/demo.sh

test: venv
	.venv/bin/tox run

# make bench SNAPSHOT=file replays what drover-scheduler snapshot wrote.
bench: venv
	.venv/bin/tox run -e bench $(if $(SNAPSHOT),-- --snapshot $(abspath $(SNAPSHOT)))

lint: venv
	.venv/bin/tox run -e lint,layers

types: venv
	.venv/bin/tox run -e types

docs: venv
	.venv/bin/tox run -e docs,genconfig

venv:
	tools/bootstrap.sh

# Only what this tree holds; a lab goes with `drover lab down`.
clean:
	rm -rf .venv .tox build dist *.egg-info .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
