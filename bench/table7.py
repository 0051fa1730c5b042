"""`compare --table N` end to end, without the paper's weights and data: stand-ins for both.

A random checkpoint whose tower and projector have LLaVA-1.5's shapes, before a decoder of 32 narrow layers; drawn
pictures with questions in the columns of the nine published data sets. The scores mean nothing: what is shown is that
every method of the table runs on every benchmark, and what that takes.

    python -m bench.table7 OUT [LIMIT] [TABLE]
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bench.checkpoint import write_checkpoint
from vtp_export import rooms
from vtp_export.integrations.prompts import SYSTEM
from vtp_export.pipeline.compare import compare
from vtp_export.reports.compared import CompareReport

WIDTH, LAYERS, HEADS = 256, 32, 8
COLOURS = ("red", "green", "blue", "yellow")
ANSWERS = (*COLOURS, "yes", "no", "Yes", "No", "A", "B", "C", "D", "2", "unanswerable")
LOUD, ENDED = 1.5, 12.0
"""How much louder a random decoder says what answers are made of, and how loud that each of these ends one: it would
turn in circles."""

Rows = Iterator[dict[str, Any]]


def drawn(number: int, size: tuple[int, int] = (256, 192)) -> Image.Image:
    """A picture with a few discs and boxes, seeded."""
    draw = np.random.default_rng(number)
    image = Image.fromarray(draw.integers(60, 200, (*size[::-1], 3), dtype=np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(1, 9))):
        x, y, edge = (int(value) for value in draw.integers(10, 150, 3))
        shape = pen.ellipse if draw.random() < 0.5 else pen.rectangle
        shape((x, y, x + edge // 2, y + edge // 2), fill=COLOURS[int(draw.integers(4))])
    return image


def _said(answer: str) -> list[str]:
    return [answer] * 8 + ["grey"] * 2


def _vqav2(n: int) -> Rows:
    told = [{"answer": one, "answer_confidence": "yes", "answer_id": i} for i, one in enumerate(_said(COLOURS[n % 4]))]
    head = {"image_id": n, "question_id": n, "question": "What color is the disc?", "answer_type": "other"}
    yield {**head, "answers": told, "multiple_choice_answer": COLOURS[n % 4]}


def _gqa(n: int) -> Rows:
    yield {"id": str(n), "imageId": str(n), "question": "What color is the box?", "answer": COLOURS[n % 4]}


def _vizwiz(n: int) -> Rows:
    answers = _said("unanswerable" if n % 2 else "2")
    yield {"question_id": f"{n}", "question": "How many are there?", "answers": answers, "category": "other"}


def _scienceqa(n: int) -> Rows:
    choices = {"choices": list(COLOURS[:3]), "answer": n % 3}
    yield {"question": "Which color is warm?", **choices, "hint": "Look at the discs.", "subject": "natural science"}


def _textvqa(n: int) -> Rows:
    head = {"image_id": f"{n}", "question_id": n, "question": "What does it say?"}
    yield {**head, "answers": _said(COLOURS[n % 4]), "ocr_tokens": ["STOP", "red"]}


def _pope(n: int) -> Rows:
    for kind in ("random", "popular", "adversarial"):
        for answer in ("yes", "no"):
            asked = {"question": f"Is there a {COLOURS[n % 4]} disc in the image?", "answer": answer}
            yield {"question_id": f"{n}", **asked, "image_source": f"{n}", "category": kind}


def _mme(n: int) -> Rows:
    kind = ("existence", "color", "code_reasoning")[n % 3]
    for answer in ("Yes", "No"):
        question = f"Is there a {COLOURS[n % 4]} box? Please answer yes or no."
        yield {"question_id": f"{kind}/{n}.png", "question": question, "answer": answer, "category": kind}


def _mmbench(n: int) -> Rows:
    for turn in range(4):
        options = {letter: COLOURS[(place + turn) % 4] for place, letter in enumerate("ABCD")}
        right = next(letter for letter, colour in options.items() if colour == COLOURS[n % 4])
        head = {"index": n + turn * 10**6, "question": "What color is it?", "hint": "nan", "category": "color"}
        yield {**head, **options, "answer": right}


SETS: dict[str, Callable[[int], Rows]] = {
    "vqav2": _vqav2,
    "gqa": _gqa,
    "vizwiz": _vizwiz,
    "scienceqa": _scienceqa,
    "textvqa": _textvqa,
    "pope": _pope,
    "mme": _mme,
    "mmbench": _mmbench,
    "mmbench_cn": _mmbench,
}


def write_sets(home: Path, pictures: int) -> None:
    """Write all nine, of so many pictures each, where `compare` looks for them."""
    for place, (name, rows) in enumerate(SETS.items()):
        source = rooms.load("benchmarks", name).Benchmark.source
        lines = []
        folder = home / name / (source.config or "data")
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(pictures):
            drawn(1000 * place + number).save(folder / f"{number}.png")
            lines += [{**row, "image": f"{number}.png"} for row in rows(number)]
        _write_rows(folder / f"{source.split}.jsonl", lines)
        if source.pictures is not None:
            beside = home / name / source.pictures
            beside.mkdir(parents=True, exist_ok=True)
            shown = [{"id": line["imageId"], "image": f"../{folder.name}/{line['image']}"} for line in lines]
            _write_rows(beside / f"{source.split}.jsonl", shown)


def _write_rows(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _words(home: Path) -> list[str]:
    """Every word that is asked or answered."""
    split = pre_tokenizers.Whitespace()
    found = {word for word, _ in split.pre_tokenize_str(f"{SYSTEM} USER: ASSISTANT: Reference OCR token Context")}
    for name in SETS:
        benchmark = rooms.load("benchmarks", name).Benchmark(home / name)
        for example in benchmark.examples(1):
            found |= {word for one in example.questions for word, _ in split.pre_tokenize_str(one.prompt)}
    return sorted(found | set(ANSWERS))


def add_language_model(folder: Path, home: Path, width: int, layers: int = LAYERS, heads: int = HEADS) -> None:
    """Give a checkpoint of a front end a random decoder, and a tokenizer that knows every word of the data sets.

    Args:
        folder: the checkpoint; its projector has this width.
        home: the data sets.
        width: channels of the decoder.
        layers: of the decoder.
        heads: of each.
    """
    names = ["<unk>", "</s>", "<image>", *_words(home)]
    words = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.add_special_tokens([AddedToken("<image>", special=True), AddedToken("</s>", special=True)])
    tokenizer: Any = PreTrainedTokenizerFast
    tokenizer(tokenizer_object=words, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)
    generator, inner = torch.Generator().manual_seed(7), 2 * width
    shapes = {"language_model.model.embed_tokens": (len(names), width), "language_model.lm_head": (len(names), width)}
    for number in range(layers):
        layer = f"language_model.model.layers.{number}."
        shapes |= {f"{layer}self_attn.{part}_proj": (width, width) for part in "qkvo"}
        shapes |= {f"{layer}mlp.{part}_proj": (inner, width) for part in ("gate", "up")}
        shapes |= {f"{layer}mlp.down_proj": (width, inner)}
    tensors = {f"{k}.weight": torch.randn(v, generator=generator) * v[1] ** -0.5 for k, v in shapes.items()}
    halves = ("input_layernorm", "post_attention_layernorm")
    norms = [f"layers.{number}.{half}" for number in range(layers) for half in halves]
    tensors |= {f"language_model.model.{norm}.weight": torch.ones(width) for norm in [*norms, "norm"]}
    said, mark = [names.index(one) for one in ANSWERS], torch.randn(width, generator=generator).sign()
    tensors["language_model.model.embed_tokens.weight"] *= width**0.5
    tensors["language_model.model.embed_tokens.weight"][said] += 20 * mark
    tensors["language_model.lm_head.weight"][said] *= LOUD
    tensors["language_model.lm_head.weight"][names.index("</s>")] = ENDED / width * mark
    save_file({name: tensor.half() for name, tensor in tensors.items()}, folder / "language.safetensors")
    index: dict[str, str] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            index |= dict.fromkeys(file.keys(), path.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] = {
        "model_type": "llama",
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "vocab_size": len(names),
        "max_position_embeddings": 4096,
        "eos_token_id": 1,
    }
    config |= {"image_token_index": 2, "eos_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 1}))


def run(out: Path, limit: int, table: int = 7, model: Path | None = None, **chosen: Any) -> CompareReport:
    """Write what is not there yet, and compare.

    Args:
        out: folder of all of it.
        limit: pictures of each data set.
        table: of the paper.
        model: a checkpoint with a decoder; None writes one of LLaVA-1.5's shapes.
        chosen: of `compare`.
    """
    home, folder = out / "vtp-export" / "benchmarks", out / "model" if model is None else model
    if not home.is_dir():
        write_sets(home, limit)
    if model is None and not (folder / "language.safetensors").exists():
        write_checkpoint(folder, WIDTH)
        add_language_model(folder, home, WIDTH)
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(out)
    try:
        return compare(folder, table=table, limit=limit, report=out / f"table{table}", **chosen)
    finally:
        os.environ.pop("XDG_CACHE_HOME") if before is None else os.environ.update(XDG_CACHE_HOME=before)


if __name__ == "__main__":
    from vtp_export.reports.standings import standings_table
    from vtp_export.terminal import Listener, show

    began = time.perf_counter()
    with Listener(quiet=False, verbose=False) as listener:
        result = run(
            Path(sys.argv[1]), int((sys.argv[2:3] or ["20"])[0]), int((sys.argv[3:4] or ["7"])[0]), progress=listener
        )
    show([standings_table(result), *result.notes, f"{time.perf_counter() - began:.0f} seconds"])
