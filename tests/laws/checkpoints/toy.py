"""The embedded family, which has no checkpoint."""


def toy(folder):
    return "toy"


WRITERS = [toy]
