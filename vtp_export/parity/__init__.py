"""Does an artefact do what the reference does? Which tokens, values and answers; and whether rounding explains it."""
