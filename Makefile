# make train         train the README's network
# make moons         train on two moons, and draw moons.png
# make gpt           train a character GPT in three steps
# make lab           open the notebooks in JupyterLab
#
# make test          run the tests
# make lint          run every static check
# make docs          build a site of the documentation, in build/docs
# make guide         apply CONTRIBUTING.md's op guide to a copy, and run the tests there
# make sanitize      run the tests and random programs under gcc's sanitizers
# make ulps          measure the errors of the ops, eager and on vectors
# make bench         compare with other engines
#
# Long runs, whose figures are in docs/reliability.md:
# make hostile       call all entries with arguments that lie, raise or change
# make mutated       load pickles, states and safetensors files with bytes or items changed
# make mutants       build faulty engines, one change each, and count those that the tests find
# make coverage      measure which lines of the sources the tests run
# make fuzz          random programs on the engine and on an oracle of plain Python
# make fuzzcompile   random programs, compiled and eager
# make fuzz-c        cases that libFuzzer makes of bytes, guided by the coverage of the engine's code
# make grid          all ops on special values, in each form
# make leaks         repeat each public entry, and count what grows
# make oom           let each allocation of the engine fail
# make soak          repeat steps a million times, and print by how much the process grows
# make interruption  measure how long Ctrl-C waits in long work
# make threads       compiled calls under ThreadSanitizer
# make valgrind      a short program under valgrind
#
# make wheels        build and test what users install, into dist/
# make wasm          build the wheel for browsers, and test it under node
# make wasm-wheel    only build it
# make wasm-browser  run it in Chromium
# make play          build the playground, a page with this wheel, and serve it on the loopback address
# make play-test     test it in Chromium
# make lite          build the notebooks in JupyterLite, which run in the browser, and serve them likewise
# make lite-test     test them in Chromium
# make elsewhere     build for other machines, and test there what can be emulated; ON=arm64 does one of them
#
# make setup         prepare a checkout for changes: all tools, and pre-commit
# make clean         remove what the others made
# make help          print this list
#
# Each makes .venv if it is missing and installs what it needs. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(wildcard $(foreach end,pyx pxi pxd h,src/micrograd/*.$(end) src/micrograd/*/*.$(end))) setup.py pyproject.toml
BUILDING := 'building the extension modules, and installing what they need: a minute or two ...'
REFERENCE := build/reference/micrograd/engine.py
ELSEWHERE := build/elsewhere/tools

.NOTPARALLEL:
.PHONY: help setup train moons gpt lab test guide sanitize bench docs lint workflows wheels wasm wasm-wheel wasm-browser elsewhere needs dot clean ulps hostile mutated coverage mutants fuzz fuzzcompile grid leaks oom soak interruption threads valgrind play play-test lite lite-test fuzz-c

# The first target, which `make` alone runs. It prints the lines at the top of this file.
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

setup: .venv/installed-test .venv/installed-lint
	$(BIN)/pre-commit install

train: .venv/installed
	$(BIN)/python examples/train_mlp.py

moons: .venv/installed-test
	$(BIN)/python examples/moons.py

gpt: .venv/installed
	$(BIN)/python examples/microgpt.py

lab: .venv/installed-test dot
	$(PIP) install --quiet jupyterlab
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/lecture.ipynb

test: .venv/installed-test $(REFERENCE)
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4  # some tests need a gigabyte each

guide: .venv/installed-test $(REFERENCE)
	$(BIN)/python .ci/guide.py

# A debug build in a folder of its own. A report aborts the test's process and so fails the test; with --capture=sys pytest
# does not capture the report, which is written to file descriptor 2. PYTHONMALLOC=malloc, since AddressSanitizer tracks
# malloc only. libstdc++ is preloaded, since the sanitizer looks up C++'s throw at start.
STEPS := 5e4
PROGRAMS := 1e3
SANITIZED = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so.6)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1 \
	UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 \
	PYTHONMALLOC=malloc PYTHONPATH=$(CURDIR)/build/sanitize/lib:$(CURDIR)/tests MICROGRAD_SANITIZE=1 $(BIN)/python

sanitize: .venv/installed-test $(REFERENCE)
	CC=gcc MICROGRAD_SANITIZE=1 $(PIP) install --quiet --no-deps --upgrade --target build/sanitize/lib .
	$(SANITIZED) -m pytest --numprocesses 2 --capture=sys
	$(SANITIZED) -m reliability.fuzz --steps $(STEPS)
	$(SANITIZED) -m reliability.compiled --programs $(PROGRAMS)

# SEED draws other cases. `--first K --count 1` after the file's name runs case K again.
SEED := 0

hostile mutated: .venv/installed-test
	$(BIN)/python tests/reliability/$@.py --seed $(SEED)

# A second for each mutant that a test finds, a minute or two for the others, after all tests without a change. The same
# command goes on with a run that was interrupted; without build/mutants it begins anew.
COUNT := 100

mutants: .venv/installed-test $(REFERENCE)
	$(PIP) install --quiet 'Cython>=3.1,<4'
	$(BIN)/python tests/reliability/mutants.py --seed $(SEED) --count $(COUNT)

# The tests twice: with coverage.py, and on a build for gcov, which counts lines of the Cython sources. Each fails if a
# line was not run that is not named with a reason: in pyproject.toml, and in compiled_coverage.py. Without PyTorch the
# conversions to and from it cannot run.
coverage: .venv/installed-test $(REFERENCE)
	$(PIP) install --quiet coverage 'Cython>=3.1,<4'
	rm -rf build/coverage
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report $$($(BIN)/python -c 'import torch' 2>/dev/null || echo '--omit=*/interop.py')
	$(BIN)/python tests/reliability/compiled_coverage.py

# Two of the next three take minutes. `make fuzz ARGS='--seed 7'` runs one program again, `ARGS='--steps 1e4'` fewer.
fuzz: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.fuzz $(ARGS)

fuzzcompile: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.compiled $(ARGS)

# A build by clang in a folder of its own, with libFuzzer's counters and the sanitizers. atheris has libFuzzer, and what
# is preloaded. `ARGS=build/fuzzer/found/crash-...` runs a case that was found again.
MINUTES := 60

fuzz-c: .venv/installed-test
	@command -v clang >/dev/null || { echo 'missing: clang (Debian: apt install clang)' >&2; exit 1; }
	@$(PIP) install --quiet --only-binary atheris atheris || \
		{ echo 'missing: atheris, which has wheels for CPython 3.11 to 3.14 on x86-64 Linux' >&2; exit 1; }
	CC=clang MICROGRAD_SANITIZE=fuzzer $(PIP) install --quiet --no-deps --upgrade --target build/fuzzer/lib .
	LD_PRELOAD="$$($(BIN)/python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=1024:quarantine_size_mb=64:abort_on_error=1 \
	UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1 \
	PYTHONMALLOC=malloc PYTHONHASHSEED=0 PYTHONPATH=$(CURDIR)/build/fuzzer/lib:$(CURDIR)/tests \
	$(BIN)/python -m reliability.guided --minutes $(MINUTES) $(ARGS)

grid: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.grid

ulps: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.precision
	$(BIN)/python tests/ulps.py

# What docs/reliability.md has the figures of; the suite runs short forms.
leaks soak interruption: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.$@

# A build in a folder of its own. CPython itself is not instrumented: its lock is seen by its calls of pthread.
threads: .venv/installed-test
	CC=gcc MICROGRAD_SANITIZE=thread $(PIP) install --quiet --no-deps --upgrade --target build/thread/lib .
	LD_PRELOAD="$$(gcc -print-file-name=libtsan.so)" TSAN_OPTIONS=suppressions=tests/reliability/threads.txt \
	PYTHONPATH=build/thread/lib:tests $(BIN)/python -m reliability.threads

# What it says of CPython alone is not shown: without pymalloc there is little, and threads.txt has it.
valgrind: .venv/installed-test
	PYTHONMALLOC=malloc PYTHONPATH=tests valgrind --quiet --error-exitcode=1 --suppressions=tests/reliability/valgrind.txt \
	$(BIN)/python -m reliability.threads --rounds 1 --samples 300

oom: .venv/installed-test
	PYTHONPATH=tests $(BIN)/python -m reliability.oom
	PYTHONPATH=tests $(BIN)/python -m reliability.oom system

# PyTorch and JAX are compared if they are installed in .venv. XAD is small, and is installed if it has a wheel.
bench: .venv/installed $(REFERENCE)
	$(PIP) install --quiet --editable '.[bench]'
	$(PIP) install --quiet xad || echo 'XAD cannot be installed: the tables show it as absent'
	$(BIN)/python -m benchmarks.run --json build/benchmarks/results.json
	$(BIN)/python -m benchmarks.instructions

# From scratch each time, as Sphinx does not see that a docstring has changed. -W makes an error of each warning. The
# notebooks run while the site is built.
docs: .venv/installed-test .venv/installed-docs dot
	rm -rf build/docs
	$(BIN)/sphinx-build -W --keep-going --quiet --fresh-env -d build/doctrees -c docs/site . build/docs
	$(BIN)/python .ci/site.py build/docs

lint: .venv/installed-test .venv/installed-lint workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m mypy.stubtest micrograd --allowlist tests/stubtest-allowlist.txt --mypy-config-file pyproject.toml
	PATH="$(BIN):$$PATH" cython-lint src/micrograd  # runs pycodestyle, which is in .venv too

workflows: .venv/installed-lint
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format --default-filetype yaml CITATION.cff
	$(BIN)/zizmor --offline --quiet .github

wheels: $(REFERENCE)
	$(PYTHON) .ci/wheels.py

# The wheel for Pyodide, into dist/; its tests and the README's loop under node; the loop in headless Chromium.
wasm-wheel: | .venv/bin/python
	$(BIN)/python .ci/wasm.py wheel

wasm: wasm-wheel $(REFERENCE)
	$(BIN)/python .ci/wasm.py test

wasm-browser: | .venv/bin/python
	$(PIP) install --quiet playwright
	$(BIN)/python .ci/wasm.py browser

# ON is one or more of arm64, s390x, musl, macos and windows; all of them if it is empty.
elsewhere: $(ELSEWHERE)/installed $(REFERENCE)
	$(ELSEWHERE)/bin/python .ci/elsewhere $(ON)

$(ELSEWHERE)/installed: requirements-elsewhere.txt | needs
	$(PYTHON) -m venv $(ELSEWHERE)
	$(ELSEWHERE)/bin/python -m pip --disable-pip-version-check install --quiet --requirement requirements-elsewhere.txt
	touch $@

# The playground, built in build/play. The wheel in dist/ is used if there is one.
play: build/play/index.html
	$(BIN)/python .ci/play.py serve

play-test: build/play/index.html
	$(PIP) install --quiet playwright
	$(BIN)/python .ci/play_test.py

build/play/index.html: $(wildcard docs/play/* dist/*_wasm32.whl) .ci/play.py | .venv/bin/python
	ls dist/*_wasm32.whl >/dev/null 2>&1 || $(MAKE) wasm-wheel
	$(BIN)/python .ci/play.py build

# The notebooks in JupyterLite, with the same wheel, in build/lite.
lite: build/lite/graphviz.js
	$(BIN)/python .ci/lite.py serve

lite-test: build/lite/graphviz.js
	$(PIP) install --quiet playwright
	$(BIN)/python .ci/lite_test.py

build/lite/graphviz.js: $(wildcard docs/lite/* notebooks/* dist/*_wasm32.whl) .ci/lite.py .venv/installed-lite
	ls dist/*_wasm32.whl >/dev/null 2>&1 || $(MAKE) wasm-wheel
	$(BIN)/python .ci/lite.py build

.venv/bin/python: | needs
	$(PYTHON) -m venv .venv

.venv/installed: $(SOURCES) | .venv/bin/python
	@echo $(BUILDING)
	$(PIP) install --quiet --editable .
	touch $@

.venv/installed-test: $(SOURCES) | .venv/bin/python
	@echo $(BUILDING)
	$(PIP) install --quiet --editable '.[test,viz,parallel,notebooks]'
	touch .venv/installed $@

.venv/installed-lint .venv/installed-docs .venv/installed-lite: .venv/installed-%: requirements-%.txt | .venv/bin/python
	$(PIP) install --quiet --requirement $<
	touch $@

# The implementation the tests compare with, in a folder that is not in sys.path.
$(REFERENCE): | .venv/bin/python
	$(PIP) install --quiet --no-deps --upgrade --target build/reference micrograd==0.1.0

# On Debian the C compiler, the C headers, Python's headers and venv are separate packages. Root gets the missing ones
# installed; for other users they are named.
needs:
	@cc="$${CC:-$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}" || exit; \
	python="python$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_python_version())')"; \
	include="$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')"; what= packages=; \
	miss() { what="$$what$${what:+, }$$1"; packages="$$packages $$2"; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || miss "Python's module venv" "$$python-venv"; \
	echo '#include <math.h>' | $$cc -x c -c -o /dev/null - 2>/dev/null || miss 'a C compiler' 'gcc libc6-dev'; \
	[ -e "$$include/Python.h" ] || miss Python.h "$$python-dev"; \
	if [ -z "$$packages" ]; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "missing: $$what; installing Debian's$$packages ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$packages \
		>/dev/null && exit; \
	fi; \
	echo "missing: $$what (Debian: apt install --no-install-recommends$$packages)" >&2; exit 1

# Graphviz's program, with which the notebooks draw graphs.
dot: | needs
	@if command -v dot >/dev/null; then exit; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "missing: Graphviz's program dot; installing Debian's graphviz ..."; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends graphviz \
		>/dev/null && exit; \
	fi; \
	echo "missing: Graphviz's program dot (Debian: apt install --no-install-recommends graphviz)" >&2; exit 1

clean:
	rm -rf .venv build dist src/*.egg-info src/micrograd/*.c src/micrograd/*.so
