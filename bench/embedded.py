"""The embedded model on its test scenes: scores beside guessing, and how the complexity measures vary.

python -m bench.embedded [IMAGES]        default 400, a few minutes
"""

import sys
from collections import Counter

import numpy as np
import torch

from vtp_export.benchmarks.shapes import Benchmark, scene_of
from vtp_export.functional.attention import attention_entropy
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.answers import answers_of
from vtp_export.reference.erank import effective_rank
from vtp_export.runtime.preprocess import pixel_values

MODEL = "tiny-llava"
CROWDS = ((1, 1), (2, 3), (4, 6), (7, 12))
"""Numbers of objects that are told apart."""


def main() -> None:
    """Print two tables and the correlations."""
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    model, answerer, benchmark = load_model(MODEL), Answerer(source_of(MODEL)), Benchmark()
    assembly = assemble(model, "none", {})
    graph, packer = EagerSession(assembly.graph), packer_for(model, assembly.layout, None)
    examples = list(benchmark.examples(images))
    asked, numbers = [], []
    for i, example in enumerate(examples):
        pixels = torch.from_numpy(pixel_values(example.open(), model.preprocessing))
        with torch.inference_mode():
            tokens = model.frontend.encode(pixels, ("projected", "saliency"))
        assert tokens.projected is not None and tokens.saliency is not None
        asked += [reply.answered for reply in answers_of(answerer, [example], graph, packer)]
        rank = effective_rank(tokens.projected[0].numpy(), center=True)
        numbers.append((len(scene_of("test", i)[0].things), rank, float(attention_entropy(tokens.saliency)[0])))
    print("| questions | accuracy | always the most common answer |\n|---|---|---|")
    scores = benchmark.score(asked)
    for kind in dict.fromkeys(a.question.kind.split()[0] for a in asked if a.question.kind != "caption"):
        answers = [a.question.answer for a in asked if a.question.kind.split()[0] == kind]
        guess = Counter(answers).most_common(1)[0][1] / len(answers)
        print(f"| {kind} ({len(answers)}) | {scores[kind]:.3f} | {guess:.3f} |")
    print(", ".join(f"{name} {value:.3f}" for name, value in scores.items() if name[0] in "FCrl"))
    table = np.array(numbers)
    print("\n| objects | scenes | erank, mean (least to most) | attention entropy, mean |\n|---|---|---|---|")
    for low, high in CROWDS:
        mine = table[(table[:, 0] >= low) & (table[:, 0] <= high)]
        erank, entropy = mine[:, 1], mine[:, 2]
        spread = f"{erank.mean():.1f} ({erank.min():.1f} to {erank.max():.1f})"
        print(f"| {low} to {high} | {len(mine)} | {spread} | {entropy.mean():.2f} |")
    together = np.corrcoef(table.T)
    print(f"\ncorrelation of erank with the number of objects {together[0, 1]:.2f}, with attention entropy", end=" ")
    print(f"{together[1, 2]:.2f}; of attention entropy with the number of objects {together[0, 2]:.2f}")


if __name__ == "__main__":
    main()
