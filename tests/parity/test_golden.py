"""Golden records that somebody has changed and sealed again: a sentence, or a verdict, and never a pass."""

import dataclasses
import io
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest

from tests.sealing import reseal
from vtp_export.errors import ArtefactError
from vtp_export.parity.gates import GATES, Gates
from vtp_export.parity.golden import ARRAYS, RECORD, read_golden
from vtp_export.parity.witness import Noise
from vtp_export.pipeline.check import check
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import record_files, write_manifest
from vtp_export.runtime.front_end import PrunedArtefact


@pytest.fixture
def copy(artefact, tmp_path, monkeypatch):
    """Of the artefact, with a record that may be changed: what was built for another is opened all the same."""
    monkeypatch.setattr("vtp_export.backends.base.refuse_other_identity", lambda *_: None)
    return shutil.copytree(artefact, tmp_path / "copy")


def seal_again(folder):
    """Write the digests of the golden files as they are now."""
    manifest = open_artefact(folder).manifest
    files = record_files(folder, [folder / name for name in manifest.golden])
    write_manifest(folder, dataclasses.replace(manifest, golden=files))
    return folder


def with_arrays(folder, change):
    """Arrays by name, changed by a function, and written as `numpy.savez` does."""
    arrays = dict(np.load(folder / ARRAYS))
    change(arrays)
    with (folder / ARRAYS).open("wb") as file:
        np.savez(file, **arrays)
    return seal_again(folder)


def with_bytes(folder, content):
    (folder / ARRAYS).write_bytes(content)
    return seal_again(folder)


def picture_file(folder):
    """Of the first picture, from the artefact on."""
    return read_golden(open_artefact(folder)).record.pictures[0].file


def with_record(folder, change):
    reseal(folder / RECORD, change)
    return seal_again(folder)


def archive(*entries, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as made:
        for name, content in entries:
            made.writestr(name, content)
    return file.getvalue()


def npy(header, version=1):
    text = header.encode("latin1")
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text


def larger_than_its_file():
    """The directory of an archive that says of its one entry that it is a terabyte."""
    content = archive(("views.npy", b"x" * 64))
    at = content.index(b"PK\x01\x02")
    return content[: at + 20] + struct.pack("<LL", 0xFFFFFFF0, 0xFFFFFFF0) + content[at + 28 :]


ARCHIVES = {
    "nothing": b"",
    "no archive": b"PK" + bytes(100),
    "an archive of nothing": archive(),
    "no array in it": archive(("views.npy", b"")),
    "a pickle": archive(
        ("views.npy", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n") + b"\x80\x04N.")
    ),
    "compressed": archive(("views.npy", bytes(1 << 20)), compression=zipfile.ZIP_DEFLATED),
    "larger than its file": larger_than_its_file(),
    "a header that is no Python": archive(("views.npy", npy("{'descr': ((((\n"))),
    "a header of brackets": archive(("views.npy", npy("(" * 9000 + "\n"))),
    "a header that is no dict": archive(("views.npy", npy("'''\n"))),
    "a type that is none": archive(
        ("views.npy", npy("{'descr': [('a',)], 'fortran_order': False, 'shape': (1,), }\n"))
    ),
    "a terabyte": archive(("views.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000,), }\n"))),
    "of less than nothing": archive(("views.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"))),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_that_is_none_of_ours_is_one_sentence(copy, what):
    with pytest.raises(ArtefactError, match="the golden record of ") as error:
        read_golden(open_artefact(with_bytes(copy, ARCHIVES[what])))
    assert "\n" not in str(error.value)


def test_an_archive_that_was_cut_off_is_one_sentence(copy):
    whole = (copy / ARRAYS).read_bytes()
    for share in (0.1, 0.5, 0.99):
        with pytest.raises(ArtefactError, match=r"the golden record of .* cannot be read: .*arrays\.npz'"):
            read_golden(open_artefact(with_bytes(copy, whole[: int(len(whole) * share)])))


def planted(name, value, place=0):
    """A function that puts a number into an array."""

    def change(arrays):
        arrays[name].reshape(-1)[place] = value

    return change


WRONG_ARRAYS = {
    "one too few": (lambda a: a.pop("output.kept"), r"output\.kept is None, not"),
    "one too many": (lambda a: a.update(extra=np.zeros(3)), "'extra' is "),
    "of another name": (lambda a: a.update({"signal.gaze": a.pop("signal.saliency")}), r"'signal\.gaze' is"),
    "beside the tokens": (lambda a: a.update({"signal.cls": a["signal.saliency"][:, :1]}), r"'signal\.cls' is"),
    "another shape": (lambda a: a.update(views=a["views"][:, :-1]), "views is "),
    "another dtype": (
        lambda a: a.update({"output.kept": a["output.kept"].astype(float)}),
        "is float64, and must be int64",
    ),
    "another order of bytes": (
        lambda a: a.update({"signal.saliency": a["signal.saliency"].astype(">f4")}),
        "is >f4, and must be float32",
    ),
    "words": (lambda a: a.update({"output.erank": a["output.erank"].astype("U")}), "and must be float32"),
    "no number": (planted("output.tokens", np.nan), r"output\.tokens holds a NaN or an infinity"),
    "no signal": (planted("signal.saliency", np.inf), r"signal\.saliency holds a NaN or an infinity"),
    "a place that is none": (planted("output.kept", -1), "'kept' holds -1, and must be from 0 to 35"),
    "more than there are": (planted("output.num_kept", 9), "num_kept is 9, and must be from 1 to 8"),
}


@pytest.mark.parametrize("what", WRONG_ARRAYS)
def test_arrays_that_cannot_be_are_refused(copy, what):
    change, words = WRONG_ARRAYS[what]
    with pytest.raises(ArtefactError, match=words):
        read_golden(open_artefact(with_arrays(copy, change)))


WRONG_RECORDS = {
    "a share above 1": (lambda k: k["gates"].update(cosine=2.0), "the limit 'cosine' is 2; it must be 0 to 1"),
    "an error below 0": (lambda k: k["gates"].update(erank=-1.0), "the limit 'erank' is -1; it must be 0 or more"),
    "no number": (lambda k: k["gates"].update(erank=float("inf")), "gates.erank is inf"),
    "noise below 0": (lambda k: k["noise"].update(saliency=-1e-9), "the noise of 'saliency' is -1e-09"),
    "noise of nothing": (lambda k: k["noise"].update(gaze=0.1), "the noise of 'gaze' is 0.1"),
    "no pictures": (lambda k: k.update(pictures=[]), "contradicts its manifest"),
    "one picture twice": (lambda k: k["pictures"].__setitem__(1, k["pictures"][0]), "contradicts its manifest"),
    "one name twice": (lambda k: k["pictures"][1].update(name=k["pictures"][0]["name"]), "two pictures have the name"),
    "a view that is none": (lambda k: k["pictures"][0].update(view=1), "a picture has more views than are recorded"),
    "a file outside": (lambda k: k["pictures"][0].update(file="../manifest.json"), "is not in both"),
}


@pytest.mark.parametrize("what", WRONG_RECORDS)
def test_a_record_that_cannot_be_is_refused(copy, what):
    change, words = WRONG_RECORDS[what]
    with pytest.raises(ArtefactError, match=words):
        read_golden(open_artefact(with_record(copy, change)))


def a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def a_link_out(path):
    outside = path.parent.parent.parent / "outside"
    shutil.copy(path, outside)
    path.unlink()
    path.symlink_to(outside)


@pytest.mark.parametrize(("change", "words"), [(a_pipe, "no regular file"), (a_link_out, "leads out of the artefact")])
@pytest.mark.parametrize("name", ["a picture", RECORD, ARRAYS])
def test_what_is_no_file_of_the_artefact_is_refused(copy, change, words, name):
    change(copy / (picture_file(copy) if name == "a picture" else name))
    with pytest.raises(ArtefactError, match=words):
        check(copy)


@pytest.mark.parametrize("what", ["another picture", "nothing", "text"])
def test_a_picture_that_was_swapped_fails_by_name(copy, what):
    golden = read_golden(open_artefact(copy))
    one, other, *_ = (copy / picture.file for picture in golden.record.pictures)
    one.write_bytes({"another picture": other.read_bytes(), "nothing": b"", "text": b"no picture"}[what])
    result = check(seal_again(copy), formats=["onnx"])
    count, name = len(golden.names), golden.names[0]
    assert not result.passed
    assert any(
        f"1 of {count} pictures get other pixels than the model takes; those of {name}" in f for f in result.failures
    )


def test_wider_limits_count_for_nothing(copy, monkeypatch):
    """An artefact's own limits may be stricter than those of its precision, and never wider."""
    wide = dict.fromkeys(("explained",), False)
    wide |= dict.fromkeys(("worth", "worth_worst", "jaccard", "cosine", "answers"), 0.0)
    wide |= dict.fromkeys(("norm_ratio", "relative_error", "erank", "entropy"), 1e9)
    with_record(copy, lambda keys: keys.update(gates=wide))
    run = PrunedArtefact.run_padded

    def doubled(self, pixels):
        output = run(self, pixels)
        return dataclasses.replace(output, tokens=2 * output.tokens)

    assert check(copy, formats=["onnx"]).passed
    monkeypatch.setattr(PrunedArtefact, "run_padded", doubled)
    result = check(copy, formats=["onnx"])
    assert not result.passed
    assert "the golden record has wider limits than fp32 has here; it is judged by these" in result.notes


def test_of_two_limits_the_stricter_one_counts():
    fp32, loose = GATES["fp32"], GATES["int8"]
    assert fp32.stricter(loose) == dataclasses.replace(
        fp32, jaccard=loose.jaccard, worth=loose.worth, worth_worst=loose.worth_worst
    )
    ones = dict.fromkeys(("worth", "worth_worst", "jaccard", "cosine", "answers"), 1)
    strict = Gates(explained=True, norm_ratio=0, relative_error=0, erank=0, entropy=0, **ones)
    assert fp32.stricter(strict) == strict.stricter(fp32) == strict


def test_signals_that_the_reference_lacks_are_one_sentence(copy, monkeypatch):
    with_arrays(copy, lambda arrays: arrays.pop("signal.saliency"))
    run, last = PrunedArtefact.run_padded, open_artefact(copy).manifest.layout.candidates.n - 1

    def turned(self, pixels):
        output = run(self, pixels)
        return dataclasses.replace(output, kept=np.sort(last - output.kept, axis=1))

    monkeypatch.setattr(PrunedArtefact, "run_padded", turned)
    with pytest.raises(ArtefactError, match="are not what the reference of adaptive reads"):
        check(copy, formats=["onnx"])


LIES = {
    "limits": ({"gates": GATES["fp16"]}, "golden.gates is wider in the record than the limits of fp32 are"),
    "a chaotic method": ({"chaotic": True}, "golden.chaotic is true in the record, and false by the method itself"),
    "a merging method": ({"merges": True}, "golden.merges is true in the record, and false by the method itself"),
    "noise": (
        {"noise": {"saliency": 1.1e-6}},
        "golden.noise.saliency is 1.1e-06 in the record, and 1e-07 by the model",
    ),
}


def test_what_would_let_more_pass_is_a_lie(artefact):
    from vtp_export.parity.claims import false_record
    from vtp_export.pruners.base import Method

    method, noise = Method(slots=8, needs=frozenset()), Noise({"saliency": 1e-7})
    true = dataclasses.replace(read_golden(open_artefact(artefact)).record, noise={"saliency": 9e-7})
    assert false_record(true, "fp32", method, noise) == ()
    for changes, words in LIES.values():
        (sentence,) = false_record(dataclasses.replace(true, **changes), "fp32", method, noise)
        assert sentence.startswith(words)
