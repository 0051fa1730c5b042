"""A FAKE of TensorRT's Python API, for machines without TensorRT. It proves nothing about TensorRT itself.

Its names and signatures are those recorded from the real binding wheels: an unknown name is an AttributeError, a wrong
number or type of arguments a TypeError, as with the real module. Its engines compute with ONNX Runtime on the CPU, in
the memory of a fake device. What is recorded and has no behaviour here raises NotImplementedError.
"""

import enum
import hashlib
import json
import pickle
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HERE = Path(__file__).parent
VERSIONS = ("10.3.0", "11.4.0")
RTX = "rtx-1.7.1"
"""TensorRT for RTX: a module of another name, with the same names in it."""

MODULES = {"tensorrt": VERSIONS, "tensorrt_rtx_bindings": (RTX,)}
MAGIC = b"FAKE PLAN"
DTYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_}


class Faults:
    """What is to go wrong: a parser error (node, operator, text), a build or a context without memory, a run or a plan
    refused."""

    def __init__(self, parser=None, out_of_memory=False, refuse_run=False, unreadable=False, no_context=False):
        self.parser, self.out_of_memory, self.refuse_run = parser, out_of_memory, refuse_run
        self.unreadable, self.no_context = unreadable, no_context


def split_signature(text):
    """Names, types and whether there is a default, self left out."""
    inner = text[1 : text.rindex(") ->")]
    parts, depth, start = [], 0, 0
    for i, letter in enumerate(inner + ","):
        depth += letter in "[(<"
        depth -= letter in "])>"
        if letter == "," and depth == 0:
            parts.append(inner[start:i].strip())
            start = i + 1
    found = []
    for part in parts[1:]:
        name, _, kind = part.partition(": ")
        found.append((name, kind.partition(" = ")[0], " = " in kind))
    return found


class Module:
    """Builds the module of one version around a fake device."""

    def __init__(self, version, device, faults=None):
        self.recording = json.loads((HERE / f"{version}.json").read_text())
        self.version, self.device, self.faults = version.removeprefix("rtx-"), device, faults or Faults()
        self.name = next(name for name, versions in MODULES.items() if version in versions)
        self.module = types.ModuleType(self.name)
        self.module.__version__ = self.version
        for name, members in self.recording.items():
            if name != "functions":
                setattr(self.module, name, self.kind(name, members))
        assert "nptype" in self.recording["functions"]
        self.module.nptype = lambda dtype: DTYPES[dtype.name]

    def kind(self, name, members):
        numbers = {key: value for key, value in members.items() if isinstance(value, int)}
        if numbers and name != "Dims":
            return enum.IntEnum(name, numbers)
        if name == "IHostMemory":
            return type(name, (bytes,), {"nbytes": property(len)})
        behaviours = BEHAVIOURS.get(name, {})
        body = {"_members": members, "_fake": self, "__getattr__": _unknown, "__setattr__": _settable}
        body["__init__"] = self.checked(name, "__init__", members["__init__"], behaviours.get("__init__"))
        if name == "IBuilderConfig" and self.name == "tensorrt_rtx_bindings":
            behaviours = {**behaviours, "set_compute_capability": lambda this, capability, index: True}
        for key, member in members.items():
            if isinstance(member, dict):
                body[key] = self.kind(key, member["class"])
            elif isinstance(member, list) and key != "__init__" and key in behaviours:
                body[key] = self.checked(name, key, member, behaviours[key])
            elif isinstance(member, str) and key in behaviours:
                body[key] = property(behaviours[key])
        assert set(behaviours) <= set(members) | {"__init__"}, f"{name} has no {set(behaviours) - set(members)}"
        return type(name, (), body)

    def checked(self, owner, name, signatures, behaviour):
        def call(this, *args):
            if not any(self.fits(signature, args) for signature in signatures):
                raise TypeError(f"{owner}.{name}{tuple(type(a).__name__ for a in args)} fits none of {signatures}")
            return behaviour(this, *args) if behaviour else None

        return call

    def fits(self, signature, args):
        wanted = split_signature(signature)
        least = sum(not default for _, _, default in wanted)
        return least <= len(args) <= len(wanted) and all(
            self.is_a(arg, kind) for arg, (_, kind, _) in zip(args, wanted, strict=False)
        )

    def is_a(self, arg, kind):
        if kind in ("int", "typing.SupportsInt"):
            return isinstance(arg, int) and not isinstance(arg, bool)
        if kind in ("buffer", "typing_extensions.Buffer"):
            return isinstance(arg, bytes | bytearray | memoryview)
        if kind == "tensorrt.Dims":  # pybind takes these for it
            return isinstance(arg, tuple | list) and all(isinstance(length, int) for length in arg)
        plain = {"str": str, "bool": bool, "tuple": tuple, "list": list, "object": object}
        if kind in plain:
            return isinstance(arg, plain[kind])
        target = self.module
        for part in kind.removeprefix("tensorrt.").split("."):
            target = getattr(target, part)
        # A Logger is an ILogger; the recording does not tell of bases.
        return isinstance(arg, target) or (kind == "tensorrt.ILogger" and type(arg).__name__ == "Logger")


def _unknown(this, name):
    member = this._members.get(name)
    if member is None:
        raise AttributeError(f"{type(this).__name__} has no attribute {name!r} in TensorRT {this._fake.version}")
    raise NotImplementedError(f"the fake has no behaviour for {type(this).__name__}.{name}")


def _settable(this, name, value):
    subclassed = "_members" not in vars(type(this))
    if not subclassed and not name.startswith("_") and this._members.get(name) != "settable":
        raise AttributeError(f"{type(this).__name__}.{name} cannot be set in TensorRT {this._fake.version}")
    object.__setattr__(this, name, value)


def made(this, kind, **state):
    """An object that only TensorRT makes."""
    fake = this._fake
    found = object.__new__(getattr(fake.module, kind))
    for name, value in state.items():
        object.__setattr__(found, f"_{name}", value)
    return found


def _keep(*names):
    def keep(this, *args):
        for name, value in zip(names, args, strict=False):
            object.__setattr__(this, f"_{name}", value)

    return keep


def create_network(this, flags=0):
    strongly = 1 << int(this._fake.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    # 11 knows no other networks, and TensorRT for RTX neither.
    return made(this, "INetworkDefinition", typed=bool(flags & strongly) or this._fake.version != "10.3.0", model=None)


def parse_from_file(this, path):
    fault = this._fake.faults.parser
    if fault is not None:
        object.__setattr__(this, "_errors", [made(this, "ParserError", told=fault)])
        return False
    model = onnx.load(path)  # with the weights beside it
    del model.metadata_props[:]  # nothing of it gets into a plan
    object.__setattr__(this._network, "name", model.graph.name)
    object.__setattr__(this._network, "_model", model)
    return True


def build_serialized_network(this, network, config):
    fake = this._fake
    assert network._typed, "a weakly typed network: the precision would be TensorRT's choice"
    if fake.faults.out_of_memory:
        this._logger.log(fake.module.ILogger.Severity.ERROR, "[builder] out of memory:\n  requested 9 GiB")
        return None
    if not _monitored(vars(config)["progress_monitor"]):
        this._logger.log(fake.module.ILogger.Severity.ERROR, "the build was stopped by the progress monitor")
        return None
    if config._cache is not None:
        config._cache._timings.add(f"kernel of {network._model.graph.name}".encode())
    flags = sorted(flag.name for flag in fake.module.BuilderFlag if flag not in config._cleared)
    plan = {
        "version": fake.version,
        "capability": fake.device.capability,
        "profile": config._profiles[0]._shapes,
        "tf32": "TF32" in flags,
        "workspace": config._pools.get("WORKSPACE"),
        "name": vars(network).get("name", "Unnamed Network 0"),
        "model": network._model.SerializeToString(),
    }
    content = pickle.dumps(plan)
    return fake.module.IHostMemory(MAGIC + content + hashlib.sha256(content).digest())


def _monitored(monitor):
    """One phase inside of another; False when the monitor stops them. What it raises is lost, as it would be in C++."""

    def told(call, *args):
        try:
            return call(*args)
        except BaseException:
            return True

    told(monitor.phase_start, "Building Engine", None, 2)
    told(monitor.phase_start, "Timing", "Building Engine", 2)
    going = all(told(monitor.step_complete, "Timing", step) for step in range(2))
    told(monitor.phase_finish, "Timing")
    going = going and all(told(monitor.step_complete, "Building Engine", step) for step in range(2))
    told(monitor.phase_finish, "Building Engine")
    return going


def made_on(this):
    """Begins every kept timing cache."""
    return f"made on {this._fake.version} {this._fake.device.capability}".encode()


def create_timing_cache(this, data):
    pieces = bytes(data).split(b"|") if data else [made_on(this)]
    if not pieces[0].startswith(b"made on "):
        return None
    return made(this, "ITimingCache", made_on=pieces[0], timings=set(pieces[1:]))


def set_timing_cache(this, cache, ignore):
    if cache._made_on != made_on(this) and not ignore:
        return False
    _keep("cache")(this, cache)
    return True


def new_config(this):
    return made(this, "IBuilderConfig", cleared=set(), profiles=[], pools={}, cache=None)


def deserialize(this, data):
    fake, severity = this._fake, this._fake.module.ILogger.Severity
    content, digest = bytes(data)[len(MAGIC) : -32], bytes(data)[-32:]
    if fake.faults.unreadable or not bytes(data).startswith(MAGIC) or hashlib.sha256(content).digest() != digest:
        this._logger.log(severity.ERROR, "Serialization assertion failed: magic tag does not match")
        return None
    plan = pickle.loads(content)
    if plan["version"] != fake.version:
        this._logger.log(severity.ERROR, "the plan is of another version")
        return None
    session = onnxruntime.InferenceSession(plan["model"], providers=["CPUExecutionProvider"])
    return made(this, "ICudaEngine", plan=plan, session=session, io=[*session.get_inputs(), *session.get_outputs()])


def create_execution_context(this):
    if this._fake.faults.no_context:
        return None
    return made(this, "IExecutionContext", engine=this, shapes={}, addresses={}, changes=[])


def _entry(engine, name):
    return next(entry for entry in engine._io if entry.name == name)


def _dtype(engine, name):
    kinds = {"tensor(float)": "FLOAT", "tensor(float16)": "HALF", "tensor(int64)": "INT64"}
    return engine._fake.module.DataType[kinds[_entry(engine, name).type]]


def tensor_mode(this, name):
    mode = this._fake.module.TensorIOMode
    return mode.INPUT if name in {entry.name for entry in this._session.get_inputs()} else mode.OUTPUT


def set_input_shape(this, name, shape):
    low, _, high = this._engine._plan["profile"][name]
    if len(shape) != len(low) or not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
        return False
    _change(this, this._shapes, name, tuple(shape))
    return True


def _change(context, held, name, value):
    if held.get(name) != value:
        context._changes.append(name)
    held[name] = value


def context_shape(this, name):
    if name in this._shapes:
        return this._shapes[name]
    (given,) = this._shapes.values()
    shape = _entry(this._engine, name).shape
    return tuple(length if isinstance(length, int) else given[0] for length in shape)


def execute(this, stream):
    fake, engine = this._fake, this._engine
    if fake.faults.refuse_run:
        return False

    def placed(entry):
        shape, dtype = context_shape(this, entry.name), np.dtype(DTYPES[_dtype(engine, entry.name).name])
        return this._addresses[entry.name], tuple(shape), dtype

    inputs, outputs = engine._session.get_inputs(), engine._session.get_outputs()
    changes, captured = len(this._changes), stream in fake.device.captures

    def work(arrays):
        # The documentation leaves undefined what a captured graph does once its context was changed.
        assert not captured or changes == len(this._changes), "a graph of a context that was changed since its capture"
        given = {entry.name: array for entry, array in zip(inputs, arrays, strict=True)}
        return engine._session.run([entry.name for entry in outputs], given)

    fake.device.compute(stream, [*map(placed, inputs)], [*map(placed, outputs)], work)
    return True


def combine(this, other, ignore):
    if other._made_on != this._made_on and not ignore:
        return False
    this._timings.update(other._timings)
    return True


def set_shape(this, name, low, usual, high):
    this._shapes[name] = tuple(map(tuple, (low, usual, high)))


def inspected(this, form):
    assert form is this._fake.module.LayerInformationFormat.JSON
    model = onnx.load_from_string(this._engine._plan["model"])
    return json.dumps({"Layers": [node.name for node in model.graph.node]})


BEHAVIOURS = {
    "Builder": {
        "__init__": _keep("logger"),
        "create_network": create_network,
        "create_builder_config": new_config,
        "create_optimization_profile": lambda this: made(this, "IOptimizationProfile", shapes={}),
        "build_serialized_network": build_serialized_network,
    },
    "INetworkDefinition": {"num_layers": lambda this: 0},
    "IBuilderConfig": {
        "clear_flag": lambda this, flag: this._cleared.add(flag),
        "set_memory_pool_limit": lambda this, pool, size: this._pools.update({pool.name: size}),
        "add_optimization_profile": lambda this, profile: this._profiles.append(profile) or len(this._profiles) - 1,
        "create_timing_cache": create_timing_cache,
        "set_timing_cache": set_timing_cache,
        "get_timing_cache": lambda this: this._cache,
    },
    "ITimingCache": {
        "combine": combine,
        "serialize": lambda this: this._fake.module.IHostMemory(b"|".join([this._made_on, *sorted(this._timings)])),
    },
    "IOptimizationProfile": {"set_shape": set_shape},
    "OnnxParser": {
        "__init__": _keep("network", "logger"),
        "parse_from_file": parse_from_file,
        "num_errors": lambda this: len(this._errors),
        "get_error": lambda this, index: this._errors[index],
    },
    "ParserError": {
        "node_name": lambda this: this._told[0],
        "node_operator": lambda this: this._told[1],
        "desc": lambda this: this._told[2],
    },
    "ILogger": {"__init__": lambda this: None},
    "IProgressMonitor": {"__init__": lambda this: None},
    "Runtime": {"__init__": _keep("logger"), "deserialize_cuda_engine": deserialize},
    "ICudaEngine": {
        "name": lambda this: this._plan["name"],
        "num_io_tensors": lambda this: len(this._io),
        "get_tensor_name": lambda this, index: this._io[index].name,
        "get_tensor_mode": tensor_mode,
        "get_tensor_dtype": _dtype,
        "get_tensor_profile_shape": lambda this, name, index: list(this._plan["profile"][name]),
        "create_execution_context": create_execution_context,
        "create_engine_inspector": lambda this: made(this, "EngineInspector", engine=this),
    },
    "EngineInspector": {"get_engine_information": inspected},
    "IExecutionContext": {
        "set_input_shape": set_input_shape,
        "get_tensor_shape": context_shape,
        "set_tensor_address": lambda this, name, memory: _change(this, this._addresses, name, memory) or True,
        "execute_async_v3": execute,
    },
}
