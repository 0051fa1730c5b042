"""Idefics3: as SmolVLM."""

from tests.laws.checkpoints.smolvlm import SMOL, smolvlm


def idefics3(folder, vision=SMOL, **options):
    return smolvlm(folder, vision, kind="Idefics3", **options)


WRITERS = [idefics3]
