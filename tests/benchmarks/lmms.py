"""The metrics of lmms-eval, read straight from its wheel: what they import beside the standard library stands in."""

import json
import subprocess
import sys
import types
import warnings
import zipfile
from functools import lru_cache
from pathlib import Path
from unittest import mock

import pytest

NAME = "lmms_eval-0.7.3-py3-none-any.whl"
WHEEL = Path(sys.prefix) / "wheelhouse" / NAME

NLTK = WHEEL.with_name("nltk-3.10.4-py3-none-any.whl")
needs_nltk = pytest.mark.skipif(not NLTK.is_file(), reason=f"{NLTK.name} is not in the wheelhouse; 'make' fetches it")
needs_wheel = pytest.mark.skipif(not WHEEL.is_file(), reason=f"{NAME} is not in the wheelhouse; 'make' fetches it")

STANDING_IN = ("loguru", "datasets", "tqdm", "requests", "pandas", "sacrebleu", "nltk", "nltk.corpus", "nltk.stem")
"""Loggers, loaders and tables, of which no rule for answers makes any use."""


PARENTS = ("lmms_eval", "lmms_eval.api", "lmms_eval.filters", "lmms_eval.tasks", "lmms_eval.tasks._task_utils")
PARENTS += ("lmms_eval.tasks._task_utils.file_utils",)


def _module(name, source):
    made = types.ModuleType(name)
    made.__file__ = str(WHEEL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in their docstrings
        exec(compile(source, f"{name} of {NAME}", "exec"), vars(made))
    return made


@lru_cache
def module(path):
    """One file of `lmms_eval/`, for example "tasks/pope/utils.py"."""
    vqa = "tasks/_task_utils/vqa_eval_metric.py"
    with zipfile.ZipFile(WHEEL) as wheel:
        sources = {one: wheel.read(f"lmms_eval/{one}").decode() for one in (path, vqa)}
    others = {name: mock.MagicMock() for name in (*STANDING_IN, *PARENTS)}
    others["lmms_eval.filters.extraction"] = types.SimpleNamespace(ExtendedRegexFilter=object)
    others["lmms_eval.api.registry"] = types.SimpleNamespace(register_metric=_kept, register_aggregation=_kept)
    with mock.patch.dict(sys.modules, others):
        sys.modules["lmms_eval.tasks._task_utils.vqa_eval_metric"] = _module(vqa, sources[vqa])
        return _module(path, sources[path])


def _kept(*_, **__):
    """In place of what registers a function."""
    return lambda made: made


def nltk_words(sentences):
    """How nltk's tokenizer splits each, in a process of its own: it imports half of itself."""
    code = "import json, sys; sys.path.insert(0, sys.argv[1]); from nltk.tokenize.destructive import NLTKWordTokenizer;"
    code += "print(json.dumps([NLTKWordTokenizer().tokenize(one) for one in json.load(sys.stdin)]))"
    command = [sys.executable, "-c", code, str(NLTK)]
    done = subprocess.run(command, input=json.dumps(sentences), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
