"""Make the embedded model from nothing.

    python -m training.train look --out RUN          the tower alone, on scenes of 12 x 12 patches
    python -m training.train coarse --out RUN        with the language model
    python -m training.train fine --out RUN          on 24 x 24 patches
    python -m training.train spread --out RUN        the same, until the projected tokens use all directions
    python -m training.train write --out RUN --to FOLDER

Each stage starts from the end of the one before, writes RUN/STAGE.pt as it goes, and resumes from it.

Besides the answers, CLS must name the objects present, as CLIP's text side would have it do, at the layer LLaVA reads
and at the end; and, fading out, patches must name what covers them. The language model sees all patches with objects
and a random number of the others: it learns to read sequences of any length.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from training.architecture import BOS, llava_config, write_processor
from training.batches import BACKGROUND, GROUPS, IGNORE, Batch, batch
from training.start import grown, new_model
from vtp_export.runtime.writing import atomically

SEED = 20261124
SAVE_EVERY = 100
FAINT = 1e-3
"""Energy, in units of the mean, up to which every direction of the projected tokens is asked to grow."""


@dataclass(frozen=True)
class Stage:
    """What a stage does.

    size: edge of a scene in pixels. steps, batch: how many, of how many scenes.
    span: steps over which the two below change; a stage may end before.
    rate: highest and last learning rate. patch_weight: of the loss on patches, first and last.
    first_scene: number of its first scene; no two stages see the same. answers: whether the language model takes part.
    spread: weight of the unevenness of the projected tokens' spectrum.
    """

    size: int
    steps: int
    batch: int
    span: int
    rate: tuple[float, float]
    patch_weight: tuple[float, float]
    first_scene: int
    answers: bool = True
    spread: float = 0.0


STAGES = {
    "look": Stage(48, 1000, 32, 1000, (2e-3, 1.5e-3), (1.0, 1.0), 0, answers=False),
    "coarse": Stage(48, 800, 32, 1500, (1.5e-3, 1e-3), (0.7, 0.3), 10_000_000),
    "fine": Stage(96, 1300, 16, 1300, (8e-4, 1e-5), (0.3, 0.05), 20_000_000),
    "spread": Stage(96, 300, 16, 300, (5e-4, 1e-5), (0.05, 0.05), 30_000_000, spread=0.3),
}
LAST = "spread"


class Student(nn.Module):
    """The model with the heads that only training needs."""

    def __init__(self, model: LlavaForConditionalGeneration) -> None:
        super().__init__()
        self.llava = model
        width = model.config.vision_config.hidden_size
        self.patch_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, BACKGROUND + 2))
        self.early_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, BACKGROUND))
        self.final_head = nn.Linear(width, BACKGROUND)

    def forward(self, data: Batch, visible: int | None) -> tuple[dict[str, Tensor], Tensor | None]:
        """Losses by name, and logits (b, t, words); the language model sees `visible` patches, or is left out."""
        tower = self.llava.model.vision_tower(data.pixels, output_hidden_states=True)
        states = tower.hidden_states[-2]
        losses = self._tower_losses(states, tower.pooler_output, data)
        if visible is None:
            return losses, None
        features = self.llava.model.multi_modal_projector(states[:, 1:])
        losses["unevenness"] = unevenness(features)
        # All patches with objects and chance ones, in raster order.
        key = (data.kind != BACKGROUND).float() * 2 + torch.rand(data.kind.shape)
        shown = key.topk(visible, dim=1).indices.sort(1).values
        features = features.gather(1, shown[:, :, None].expand(-1, -1, features.shape[-1]))
        logits = self._read(features, data)
        token_losses = F.cross_entropy(logits.float().flatten(0, 1), data.labels.flatten(), reduction="none")
        weight = torch.where(data.groups.flatten() == GROUPS.index("caption"), 0.4, 1.0)
        weight = weight * (data.labels.flatten() != IGNORE)
        losses["answers"] = (token_losses * weight).sum() / weight.sum()
        return losses, logits

    def _tower_losses(self, states: Tensor, pooled: Tensor, data: Batch) -> dict[str, Tensor]:
        guess = self.patch_head(states[:, 1:]).float()
        kind, centre = guess[..., :-1], guess[..., -1]
        each = F.cross_entropy(kind.flatten(0, 1), data.kind.flatten(), reduction="none", ignore_index=IGNORE)
        objects = (data.kind.flatten() != BACKGROUND) & (data.kind.flatten() != IGNORE)
        ground = data.kind.flatten() == BACKGROUND
        patches = each[objects].mean() + each[ground].mean()
        patches = patches + F.binary_cross_entropy_with_logits(centre, data.centre, pos_weight=torch.tensor(10.0))
        heavier = torch.tensor(4.0)
        named = sum(
            F.binary_cross_entropy_with_logits(head(cls).float(), data.present, pos_weight=heavier)
            for head, cls in ((self.early_head, states[:, 0]), (self.final_head, pooled))
        )
        return {"patches": patches, "cls": named}

    def _read(self, features: Tensor, data: Batch) -> Tensor:
        """Run the language model: every question sees the image and itself."""
        language = self.llava.model.language_model
        embed = language.embed_tokens
        count, visible = features.shape[:2]
        start = embed(torch.full((count, 1), BOS))
        inputs = torch.cat([start, features, embed(data.ids)], dim=1)
        before = 1 + visible
        segment = torch.cat([torch.full((count, before), -2), data.segment], dim=1)
        same = segment[:, :, None] == segment[:, None, :]
        causal = torch.ones(same.shape[1:], dtype=torch.bool).tril()
        mask = causal & (same | (segment == -2)[:, None, :])
        place = torch.cat([torch.arange(before).expand(count, -1), before + data.place], dim=1)
        out = language(inputs_embeds=inputs, attention_mask=mask[:, None], position_ids=place, use_cache=False)
        logits: Tensor = self.llava.lm_head(out.last_hidden_state[:, before:])
        return logits


def unevenness(features: Tensor) -> Tensor:
    """How far the centred spectrum of (b, n, d) is from that of a large model's features.

    The sum of squared energy shares (1 if one direction holds all), and a third of the mean log by which energies fall
    short of FAINT times their mean. Without this pressure one direction (object or ground) grows to hold four fifths of
    the energy and the last dozen nothing: the effective rank would be a matter of float32 rounding.
    """
    with torch.autocast("cpu", enabled=False):
        centred = features.float() - features.float().mean(1, keepdim=True)
        energies = torch.linalg.eigvalsh(centred.transpose(1, 2) @ centred)
        share = energies.clamp(min=0) / energies.sum(1, keepdim=True)
        shortfall = math.log(FAINT) - (share * share.shape[1]).clamp(min=FAINT * 1e-4).log()
        return share.square().sum(1).mean() + shortfall.clamp(min=0).mean() / 3


def accuracies(logits: Tensor, data: Batch) -> dict[str, tuple[int, int]]:
    """Right answers and all, by kind of question; only the first token of an answer counts, all of a caption."""
    right = logits.argmax(-1) == data.labels
    asked = data.labels != IGNORE
    found = {}
    for number, name in enumerate(GROUPS):
        mine = asked & (data.groups == number)
        if name != "caption":
            earlier = F.pad(asked, (1, 0))[:, :-1] & (F.pad(data.segment, (1, 0), value=-9)[:, :-1] == data.segment)
            mine &= ~earlier
        found[name] = int(right[mine].sum()), int(mine.sum())
    return found


def visible_patches(data: Batch, generator: torch.Generator) -> int:
    """How many patches the language model sees: all now and then, else somewhere between the objects and all."""
    n = data.kind.shape[1]
    if torch.rand((), generator=generator) < 0.1:
        return n
    needed = int((data.kind != BACKGROUND).sum(1).max())
    low = min(max(n // 9, math.ceil(0.8 * needed)), n)
    share = float(torch.rand((), generator=generator)) ** 2
    return int(low + (n - low) * share * 0.6)


def rate_at(stage: Stage, step: int) -> float:
    """Warm up, then half a cosine."""
    turn = 0.5 * (1 + math.cos(math.pi * step / stage.span))
    first, last = stage.rate
    return min(1.0, (step + 1) / 100) * (last + (first - last) * turn)


@torch.no_grad()
def examine(student: Student, stage: Stage, scenes: int = 96) -> str:
    """Accuracies on scenes that are neither trained nor tested on, all patches visible."""
    student.eval()
    total = {name: [0, 0] for name in GROUPS}
    for first in range(0, scenes, 32):
        data = batch("calibration", 900_000 + first, 32, stage.size)
        with torch.autocast("cpu", torch.bfloat16):
            _, logits = student(data, data.kind.shape[1])
        for name, (right, asked) in accuracies(logits, data).items():
            total[name][0] += right
            total[name][1] += asked
    student.train()
    return ", ".join(f"{name} {right / max(asked, 1):.3f}" for name, (right, asked) in total.items())


def begun(name: str, out: Path) -> tuple[Student, torch.optim.Optimizer, int]:
    """The student, its optimiser and the step to go on from."""
    stage, path = STAGES[name], out / f"{name}.pt"
    order = list(STAGES)
    torch.manual_seed(SEED)
    student = Student(new_model(stage.size))
    if not path.exists() and name != order[0]:
        before = order[order.index(name) - 1]
        student = Student(new_model(STAGES[before].size))
        student.load_state_dict(torch.load(out / f"{before}.pt", weights_only=True)["student"])
        if STAGES[before].size != stage.size:
            student.llava = grown(student.llava, stage.size)
    matrices = [p for p in student.parameters() if p.ndim > 1]
    vectors = [p for p in student.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=stage.rate[0], betas=(0.9, 0.98))
    if not path.exists():
        return student, optimiser, 0
    saved = torch.load(path, weights_only=True)
    student.load_state_dict(saved["student"])
    optimiser.load_state_dict(saved["optimiser"])
    return student, optimiser, saved["step"]


def train(name: str, out: Path) -> None:
    """Run one stage to its end, resuming where it was left."""
    stage, path = STAGES[name], out / f"{name}.pt"
    student, optimiser, begin = begun(name, out)
    student.train()
    started = time.monotonic()
    for step in range(begin, stage.steps):
        generator = torch.Generator().manual_seed(SEED + step)
        torch.manual_seed(SEED + step)
        data = batch("train", stage.first_scene + step * stage.batch, stage.batch, stage.size)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(stage, step)
        with torch.autocast("cpu", torch.bfloat16):
            losses, _ = student(data, visible_patches(data, generator) if stage.answers else None)
        first, last = stage.patch_weight
        fading = first + (last - first) * step / stage.span
        loss = losses.get("answers", 0.0) + fading * losses["patches"] + losses["cls"]
        if stage.spread:
            loss = loss + stage.spread * losses["unevenness"]
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == stage.steps:
            state = {"student": student.state_dict(), "optimiser": optimiser.state_dict(), "step": step + 1}
            with atomically(path) as file:
                torch.save(state, file)
            told = ", ".join(f"{k} {float(v.detach()):.3f}" for k, v in losses.items())
            speed = (step + 1 - begin) * stage.batch / (time.monotonic() - started)
            scores = examine(student, stage) if stage.answers else ""
            print(f"{name} {step + 1}: {told}; {scores}; {speed:.1f} images/s", flush=True)


def write(out: Path, folder: Path) -> None:
    """The finished model as a Hugging Face folder, float16."""
    student = Student(LlavaForConditionalGeneration(llava_config(STAGES[LAST].size)))
    student.load_state_dict(torch.load(out / f"{LAST}.pt", weights_only=True)["student"])
    student.llava.half().save_pretrained(folder)
    write_processor(folder, STAGES[LAST].size)
    (folder / "model.safetensors").chmod(0o644)


def main() -> None:
    """Parse and go."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*STAGES, "write"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--to", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "write":
        write(options.out, options.to)
    else:
        train(options.what, options.out)


if __name__ == "__main__":
    main()
