"""Record the names and signatures of the Python API of TensorRT, or of TensorRT for RTX, from a binding wheel.

python tests/tensorrt_api/record.py WHEEL OUT.json

The binding module needs two or three native libraries to load, and only a handful of functions from them. Empty ones
are compiled here, so the real module imports and can be asked what it has without TensorRT; nothing of it can run.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CLASSES = (  # noqa: SIM905
    "Builder BuilderFlag ComputeCapability DataType Dims EngineInspector IBuilderConfig ICudaEngine "
    "IExecutionContext IHostMemory ILogger INetworkDefinition IOptimizationProfile IProgressMonitor ITensor "
    "ITimingCache LayerInformationFormat Logger MemoryPoolType NetworkDefinitionCreationFlag OnnxParser ParserError "
    "ProfilingVerbosity Runtime TensorIOMode "
).split()

NEEDED = (  # noqa: SIM905
    "createInferBuilder_INTERNAL createInferRefitter_INTERNAL createInferRuntime_INTERNAL createNvOnnxParser_INTERNAL "
    "createNvOnnxParserRefitter_INTERNAL getBuilderPluginRegistry getPluginRegistry getNvOnnxParserVersion "
    "initLibNvInferPlugins getInferLibVersion"
).split()

NATIVE = re.compile(rb"lib(?:nvinfer|nvonnxparser|nvinfer_plugin|tensorrt_rtx|tensorrt_onnxparser_rtx)\.so\.\d+")

LOOK = """
import importlib.util, inspect, json, re, sys
name = sys.argv[1].rpartition("/")[2].removesuffix(".so")
spec = importlib.util.spec_from_file_location(name, sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def signatures(text, name):
    pattern = rf"(?:^|\\n)(?:\\d+\\. )?{re.escape(name)}(\\(.*?\\) -> [^\\n]*)"
    return [found for found in re.findall(pattern, text or "") if "*args" not in found]

def members(kind):
    found = {}
    for name in dir(kind):
        if name.startswith("_") and name not in ("__init__", "__len__", "__getitem__"):
            continue
        member, raw = getattr(kind, name), inspect.getattr_static(kind, name)
        if isinstance(raw, property):
            found[name] = "settable" if raw.fset is not None else "read only"
        elif isinstance(member, kind):
            found[name] = int(member) if hasattr(member, "__int__") else str(member)
        elif isinstance(member, type):
            found[name] = {"class": members(member)}
        elif callable(member):
            found[name] = signatures(member.__doc__, name)
    return found

print(json.dumps({name: members(getattr(module, name)) for name in sys.argv[2:] if hasattr(module, name)}))
"""


def record(wheel: Path) -> dict[str, object]:
    """What there is: classes to members, and functions of the module.

    A member is a list of signatures, "settable" or "read only", a number of an enumeration, or a class.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with zipfile.ZipFile(wheel) as file:
            file.extractall(folder)
        (binding,) = folder.glob("*/tensorrt*.so")
        libraries = set(
            re.findall(
                rb"lib(?:nvinfer|nvonnxparser|nvinfer_plugin|tensorrt_rtx|tensorrt_onnxparser_rtx)\.so\.\d+",
                binding.read_bytes(),
            )
        )
        source = folder / "empty.c"
        source.write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in NEEDED))
        for library in sorted(name.decode() for name in libraries):
            command = ["cc", "-shared", "-fPIC", str(source), "-o", str(folder / library), f"-Wl,-soname,{library}"]
            subprocess.run(command, check=True, capture_output=True)
        command = [sys.executable, "-c", LOOK, str(binding), *CLASSES]
        result = subprocess.run(
            command, check=True, capture_output=True, text=True, env={"LD_LIBRARY_PATH": str(folder)}
        )
        package = ast.parse((binding.parent / "__init__.py").read_text(encoding="utf-8"))
    found: dict[str, object] = json.loads(result.stdout.replace("tensorrt_rtx.", "tensorrt."))
    found["functions"] = sorted(node.name for node in package.body if isinstance(node, ast.FunctionDef))
    return found


if __name__ == "__main__":
    text = json.dumps(record(Path(sys.argv[1])), indent=1, sort_keys=True)
    Path(sys.argv[2]).write_text(text + "\n", encoding="utf-8")
