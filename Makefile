# The same two environments for everybody: `make demo` to see it work, `make test` to change it.
PYTHON ?= python3
VIDEO ?= examples/demo.mp4
BIN := .venv/bin

.PHONY: demo test check docs fuzz clean
.DELETE_ON_ERROR:

demo: .venv/installed
	mkdir -p demo
	$(BIN)/python tools/score_video.py "$(VIDEO)" --report demo/report.html --annotate demo/annotated.mp4 \
		--json demo/result.json

# Two processes of one thread each: most tests wait for files and children more than they compute.
test: .venv/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Bandit: findings are fixed, or justified on their line. pip-audit: known holes of what is installed.
AUDIT_INDEX := https://pypi.org/pypi/pip/json
check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/codespell -D docs/words.txt README.md CONTRIBUTING.md SECURITY.md docs deepfake_detect examples
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py tests/test_prose.py
	$(BIN)/bandit -q -c pyproject.toml -r deepfake_detect tools
	@if $(BIN)/python -c "import urllib.request as u; u.urlopen('$(AUDIT_INDEX)', timeout=10)" 2>/dev/null; \
	then $(BIN)/pip-audit --skip-editable --progress-spinner off; \
	else echo "pip-audit: skipped, as $(AUDIT_INDEX) does not answer"; fi

# The documentation site, into site/; a warning or a dead link is an error (but would not be with --quiet).
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

# Damaged files of every kind, ever new ones, and what became of them.
FUZZ_HOURS ?= 1
fuzz: .venv/installed-test
	$(BIN)/python benchmarks/mutate.py "$(VIDEO)" --hours $(FUZZ_HOURS)

clean:
	rm -rf .venv demo site

# Stamps: the environment is made anew only when what it depends on has changed.
.venv/installed: setup.cfg setup.py pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --upgrade --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --editable ".[app,cluster,completion,heic,openvino,provenance,remote,test,train,url]"
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --editable ".[docs]"
	touch $@
