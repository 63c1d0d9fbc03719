# Everything starts here; `make` alone lists what there is. Needs Python 3.11, git and make; see tools/setup.py.

PYTHON := .venv/bin/python
CODE := src tests bench tools demo
PRESENT := $(wildcard $(CODE))
JOBS ?= 3
RUNS ?= 200
SEED ?= 0
TESTS ?= tests
REQUIRE ?= restic,cinder,root,cryptsetup,xfs,fuse,sshd,vsftpd,rclone,swift,seaweedfs,lab,vm

# Servers and commands are started hundreds of times; without compiled modules each start takes ten times as long.
unexport PYTHONDONTWRITEBYTECODE

# mkfs and losetup are there, but not on everybody's PATH
export PATH := $(PATH):/usr/sbin:/sbin
export ICEBRICK_DEVCLOUD_VENV ?= $(CURDIR)/.venv-devcloud
export ICEBRICK_SERVERS_VENV ?= $(CURDIR)/.venv-servers
export ICEBRICK_LAB ?= $(CURDIR)/.lab
export ICEBRICK_READER_DIR ?= $(CURDIR)/build/reader

# Loop devices and mounts need root.
ifneq ($(shell id -u),0)
AS_ROOT := sudo env PATH="$(PATH)" ICEBRICK_DEVCLOUD_VENV="$(ICEBRICK_DEVCLOUD_VENV)" \
    ICEBRICK_SERVERS_VENV="$(ICEBRICK_SERVERS_VENV)" ICEBRICK_LAB="$(ICEBRICK_LAB)" \
    ICEBRICK_READER_DIR="$(ICEBRICK_READER_DIR)"
endif

.PHONY: help demo test check format bench kill-matrix kill-matrix-iscsi storm docs clean setup setup-tests setup-servers setup-lab setup-reader images
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F '|' '{ printf "  make %-18s %s\n", $$1, $$2 }'

demo: setup ## back up a volume, destroy it, restore it, prove it: on a real Cinder
	@$(AS_ROOT) $(PYTHON) -m demo

test: setup-tests ## run every test (TESTS=path for some, JOBS=n at a time)
	$(AS_ROOT) $(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --require=$(REQUIRE) $(TESTS)

check: setup ## formatting, lint, types, layers, sizes
	.venv/bin/ruff format --check $(PRESENT)
	.venv/bin/ruff check $(PRESENT)
	.venv/bin/mypy src tools demo
	.venv/bin/lint-imports
	$(PYTHON) tools/size_limits.py $(PRESENT)

format: setup ## format the code and mend what can be mended
	.venv/bin/ruff format $(PRESENT)
	.venv/bin/ruff check --fix $(PRESENT)

bench: setup-servers ## measure against stock restic, as a table and as JSON
	$(AS_ROOT) $(PYTHON) -m bench
	$(AS_ROOT) $(PYTHON) -m bench.files
	$(AS_ROOT) $(PYTHON) -m bench.media
	$(AS_ROOT) $(PYTHON) -m bench.uploads

kill-matrix: setup ## kill a backup and a restore at every step; print what was left before and after recovery
	$(AS_ROOT) $(PYTHON) -m tests.faults.kill_matrix

images: setup-reader ## read 560 damaged and malicious file systems in isolation (from SEED=n on), and count what became of them
	$(AS_ROOT) $(PYTHON) -m tests.faults.images $(SEED)

kill-matrix-iscsi: setup-lab ## the same over real iSCSI, in a guest of the laboratory (takes hours)
	$(AS_ROOT) $(PYTHON) -m icebrick.testing.lab run --timeout 86400 -- $(PYTHON) -m tests.faults.kill_matrix --lvm

storm: setup ## let everything fail by chance, over and over (RUNS=n, from SEED=n on)
	PYTHONHASHSEED=0 $(PYTHON) -m tests.faults.storm $(RUNS) $(SEED)

docs: setup ## make the generated pages again
	$(PYTHON) tools/generate_docs.py

clean: ## remove environments, caches and everything else that was made here
	$(AS_ROOT) rm -rf .venv .venv.lock \
	    .venv-devcloud .venv-devcloud.lock .venv-servers .venv-servers.lock .lab build dist \
	    .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	$(AS_ROOT) find $(PRESENT) -name __pycache__ -prune -exec rm -rf {} +

setup: ## install what is missing: Debian packages, .venv, .venv-devcloud (the others do it first)
	@python3 tools/setup.py

setup-tests: ## install and build all that tests need, at the same time (test does it)
	@python3 tools/setup.py servers lab reader

setup-servers: ## install also what storage servers need: further Debian packages, .venv-servers (bench does it)
	@python3 tools/setup.py servers

setup-lab: ## build also what guests of the laboratory start from
	@python3 tools/setup.py lab

setup-reader: ## install also what the isolated reader of file systems starts from
	@python3 tools/setup.py reader
