"""Whether NVIDIA's parser takes each of many ONNX files, and its builder some of them; a process, because it may die.

python -m tests.targets.verdicts FOLDER [NAME ...]      every .onnx file there; files of these names are built too
"""

import json
import sys
from pathlib import Path

from vtp_export.backends._tensorrt_build import Network
from vtp_export.backends.tensorrt_rtx import library


def shape_of(tensor):
    return tuple(length if length >= 0 else 2 for length in tensor.shape)


def built(trt, network):
    """Why no plan for compute capability 8.6 can be built, or None."""
    builder, parsed = network._builder, network._network
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    for place in range(parsed.num_inputs):
        tensor = parsed.get_input(place)
        if tensor.is_shape_tensor:
            count = tensor.shape[0] if len(tensor.shape) else 1
            profile.set_shape_input(tensor.name, [0] * count, [0] * count, [1] * count)  # equal ones would be constants
        else:
            profile.set_shape(tensor.name, *(shape_of(tensor),) * 3)
    config.add_optimization_profile(profile)
    return None if builder.build_serialized_network(parsed, config) is not None else network._log.last()


if __name__ == "__main__":
    trt, wanted = library(), set(sys.argv[2:])
    for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        network = Network(trt, path)
        words = network.refusals[0].words if network.refusals else None
        if words is None and path.stem in wanted:
            words = built(trt, network)
        print(json.dumps([path.stem, words]), flush=True)  # noqa: T201
