# The everyday commands; `make help` lists them. The build itself is CMakeLists.txt, with the
# settings of CMakePresets.json.

# Where programs and libraries are built. Sanitized builds go beside it: build-asan, …
CLOCKWORK_BUILD ?= build
PYTHON ?= /usr/bin/python3
FUZZ_SECONDS ?= 60
SEEDS ?= 10000

# For the demo, from the environment or this command line: make demo DEMO_SECONDS=60
DEMO_SECONDS ?= 180
DEMO_LOAD_FACTOR ?= 0.12
DEMO_MEMORY_LOAD_FACTOR ?= 4
DEMO_OUT ?=
# For the zoo: subset, seed, all, or names; and where the packages go.
ZOO ?= subset
ZOO_OUT ?= $(CLOCKWORK_BUILD)/zoo
# Of their packages: fp32, tf32, fp16; a GPU's tensor cores want one of the latter two.
ZOO_PRECISION ?= fp32
# Where `make profile-cpu` puts its table; rows that it has are kept.
PROFILE ?= $(CLOCKWORK_BUILD)/cpu.tsv
export CLOCKWORK_BUILD FUZZ_SECONDS PYTHON
DEMO_REQUESTS ?= 200
export DEMO_REQUESTS
export DEMO_SECONDS DEMO_LOAD_FACTOR DEMO_MEMORY_LOAD_FACTOR DEMO_OUT

.PHONY: all
all: build

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile | expand -t 14
	@echo 'check-TIER    one tier of check: $(shell $(PYTHON) scripts/check.py --list)'

.PHONY: setup
setup: ## install the Debian packages that build and demo need
	sh scripts/setup.sh build

.PHONY: setup-cuda
setup-cuda: ## cuDNN's headers, from PyPI, where only they lack for the CUDA backend
	sh scripts/setup_cuda.sh

.PHONY: build
build: ## worker, controller, client and the tools, in CLOCKWORK_BUILD (default build)
	@cmake --preset release -B "$(CLOCKWORK_BUILD)" --log-level=WARNING >/dev/null
	@cmake --build "$(CLOCKWORK_BUILD)" --target programs

.PHONY: demo
demo: build ## replay section 6.5 on this machine; README.md has its DEMO_* variables
	@$(PYTHON) scripts/demo.py

.PHONY: demo-cpu
demo-cpu: build ## trained models on this machine's cores: text of a picture read, executions predicted
	@sh scripts/setup_zoo.sh
	@$(PYTHON) scripts/demo_cpu.py

.PHONY: setup-zoo
setup-zoo: ## install the Python packages that the zoo needs, into CLOCKWORK_BUILD-venv
	@sh scripts/setup_zoo.sh

.PHONY: zoo
zoo: build setup-zoo ## build and compile models of the zoo: make zoo ZOO=all
	@"$(CLOCKWORK_BUILD)-venv/bin/python" zoo/build.py $(ZOO) -o "$(ZOO_OUT)" \
	  --compiler "$(CLOCKWORK_BUILD)/compile_model" --precision "$(ZOO_PRECISION)"

.PHONY: profile-cpu
profile-cpu: build setup-zoo ## durations of the zoo's 61 models on this CPU, into PROFILE: 20 minutes, 20 GB in ZOO_OUT
	@"$(CLOCKWORK_BUILD)-venv/bin/python" zoo/build.py seed -o "$(ZOO_OUT)" \
	  --compiler "$(CLOCKWORK_BUILD)/compile_model"
	@"$(CLOCKWORK_BUILD)-venv/bin/python" bench/profile_cpu.py "$(ZOO_OUT)" -o "$(PROFILE)"

.PHONY: check
check: ## every fast test
	@$(PYTHON) scripts/check.py

.PHONY: check-%
check-%:
	@$(PYTHON) scripts/check.py $*

.PHONY: san
san: ## all tests under ASan+UBSan, then under TSan
	@$(PYTHON) scripts/check.py san-address san-thread

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZ_SECONDS (default 60), from a new random seed
	@$(PYTHON) scripts/check.py fuzz-long

.PHONY: sim
sim: ## faults in virtual time by SEEDS seeds (default 10000), over all cores, and the planted bugs
	@$(PYTHON) scripts/check.py sim planted

.PHONY: bench
bench: build ## what the controller sustains and costs on this machine, then the parts alone
	@cmake --build "$(CLOCKWORK_BUILD)"
	@$(PYTHON) bench/cluster.py --build "$(CLOCKWORK_BUILD)"
	@for program in "$(CLOCKWORK_BUILD)"/bench/bench_*; do \
	  echo "== $${program##*/}"; "$$program" || exit 1; done

.PHONY: figures
figures: build ## Figures 9 and 10 by simulation of eight hours, into docs/figures: ten minutes, 8 GB in TMPDIR
	@$(PYTHON) scripts/figures.py

.PHONY: format
format: ## lay out the C code as `make check` wants it
	@$(PYTHON) scripts/check_format.py --write

.PHONY: golden
golden: build ## write tests/golden/plans anew, after a change of the compiler; look at the difference
	@$(PYTHON) -B tests/integration/compile_smoke.py --write-golden

.PHONY: columns
columns: ## write the Python reader's column names from src/telemetry/events.def
	@$(PYTHON) scripts/generate_columns.py

.PHONY: clean
clean: ## remove what was built
	rm -rf "$(CLOCKWORK_BUILD)" "$(CLOCKWORK_BUILD)-asan" "$(CLOCKWORK_BUILD)-tsan" \
	  "$(CLOCKWORK_BUILD)-fuzz" "$(CLOCKWORK_BUILD)-planted" "$(CLOCKWORK_BUILD)-venv"
