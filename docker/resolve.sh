#!/usr/bin/env bash
# Do the packages of each image exist for its machine and its Python? Asks the package index, installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
resolve() { # name, python, machine, constraints, packages...
    local name=$1 python=$2 machine=$3 constraints=$4
    shift 4
    local tags=()
    for tag in manylinux2014 manylinux_2_17 manylinux_2_24 manylinux_2_26 manylinux_2_27 manylinux_2_28; do
        tags+=(--platform "${tag}_${machine}")
    done
    "${PYTHON:-python3}" -m pip install --quiet --dry-run --ignore-installed --only-binary=:all: --target /nowhere \
        --python-version "$python" "${tags[@]}" -c "$constraints" "$@"
    echo "$name: Python $python on $machine: $*"
}
edge=(numpy pillow typer rich)
resolve cpu 312 x86_64 constraints.txt "${edge[@]}" onnxruntime onnx
resolve cpu 312 aarch64 constraints.txt "${edge[@]}" onnxruntime onnx
resolve server 312 x86_64 constraints.txt "${edge[@]}" onnx 'cuda-bindings==13.0.*'
resolve jetpack6 310 aarch64 docker/constraints-python310.txt "${edge[@]}" onnx onnxruntime 'cuda-bindings==12.9.*'
resolve jetpack7 312 aarch64 constraints.txt "${edge[@]}" onnx 'cuda-bindings==13.0.*'
