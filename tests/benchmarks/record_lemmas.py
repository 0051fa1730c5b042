"""Write the table of lemmas that CHAIR's count takes: `python tests/benchmarks/record_lemmas.py WORDNET lemmas.txt`.

WORDNET is the folder of WordNet 3.0's files (Debian: wordnet-base, /usr/share/wordnet). It takes nltk, whose rule for
nouns decides: of all lemmas in WordNet the shortest. All forms are tried that the rule could reduce to a word of ours.
"""

import sys
from pathlib import Path

from vtp_export.benchmarks._coco_words import CLASSES, COMPOUNDS


def reader(folder):
    """nltk's own reader, with the two tables that lemmas take and no others."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    made = object.__new__(WordNetCorpusReader)
    lines = (folder / "noun.exc").read_text().splitlines()
    made._exception_map = {"n": {form: lemmas for form, *lemmas in map(str.split, lines)}}
    nouns = (line.split()[0] for line in (folder / "index.noun").read_text().splitlines() if line[0] != " ")
    made._lemma_pos_offset_map = {noun: {"n": [1]} for noun in nouns}
    return made


def main(folder, out):
    wordnet = reader(folder)
    ours = {word for known in (*CLASSES, *COMPOUNDS) for word in known.split()}
    forms = {form for form, lemmas in wordnet._exception_map["n"].items() if ours & {*lemmas}} | ours
    for ending, instead in wordnet.MORPHOLOGICAL_SUBSTITUTIONS["n"]:
        forms |= {word.removesuffix(instead) + ending for word in ours if word.endswith(instead)}
    reduced = {form: min(wordnet._morphy(form, "n") or [form], key=len) for form in forms}
    # A word of ours that becomes another one must be in the table too, or it would be taken as it is.
    kept = {form: lemma for form, lemma in reduced.items() if form != lemma and (lemma in ours or form in ours)}
    lines = [[lemma, *sorted(form for form in kept if kept[form] == lemma)] for lemma in sorted({*kept.values()})]
    out.write_text("".join(f"{' '.join(line)}\n" for line in lines))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
