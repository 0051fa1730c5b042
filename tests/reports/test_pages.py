"""Pages in a real browser: one file, no script, readable by everybody, on a telephone too."""

import dataclasses
import itertools
import re
import sys
from html.parser import HTMLParser

import pytest
from PIL import Image

from tests.browser import MISSING, browser
from vtp_export.parity.golden import read_golden
from vtp_export.parity.verdict import Comparison, Difference, Values
from vtp_export.parity.witness import Noise, Witness
from vtp_export.pipeline.check import check
from vtp_export.reports.cases import differing
from vtp_export.reports.check import report_check
from vtp_export.reports.compared import BenchmarkReport, CompareReport, Row
from vtp_export.reports.comparison import write_comparison
from vtp_export.reports.losses import Loss
from vtp_export.reports.page import PAGE, embedded, write_page
from vtp_export.reports.standings import Column, standings
from vtp_export.reports.table import Table
from vtp_export.runtime.artefact import open_artefact
from vtp_export.spec import ModelRecord

STRANGE = "<script>document.title = 'ran'</script> & \"quoted\" \ud800"
SHORT = {
    "only_expected": (1, 2),
    "only_found": (7, 35),
    "common": (3, 4, 5),
    "reasons": ("7 (row 1, column 1): dropped by the reference (all 8 were taken before its turn)",),
}


def comparison(**changes):
    differences = (
        Difference(image="astronaut", witness=Witness(0.25, Noise({"saliency": 1e-7})), **SHORT),
        Difference(image="camera", witness=None, **SHORT),
        Difference(image="nowhere", witness=Witness(0.5, Noise({})), **SHORT),
    )
    one = Comparison(
        name="onnx against the graph at the export",
        images=8,
        identical=5,
        jaccard_mean=0.9,
        noise=Noise({}),
        differences=differences,
        values=Values(0.9, 0.99, 1.01, 0.01),
        erank_error=None,
        attention_entropy_error=None,
    )
    return dataclasses.replace(one, **changes)


def row(method, keep, score):
    return Row(
        method=method,
        keep=keep,
        kept=keep,
        score=score,
        share=score / 0.9,
        interval=(-0.2, 0.1),
        p_value=0.5,
        p_permuted=0.5,
        swapped=None,
        metrics={"accuracy": score},
        erank=12.0,
        entropy=3.0,
        by_bin=(score, score, score - 0.1, score - 0.2),
    )


SHAPES = BenchmarkReport(
    benchmark="shapes",
    images=8,
    questions=80,
    counted=70,
    left_out=("a picture is none",),
    metric="accuracy",
    rows=(row("none", 36, 0.9), row("fastervlm", 8, 0.8), row("adaptive:complexity=entropy,count=adaptive", 8, 0.85)),
    edges=(1.0, 4.0, 9.0, 16.0, 25.0),
    bins=(2, 2, 2, 2),
    correlation=-0.5,
)
SETS = (SHAPES, dataclasses.replace(SHAPES, benchmark="circles"))
COLUMNS = [Column(name=one.benchmark, benchmark=one.benchmark) for one in SETS]
COMPARED = CompareReport(
    model="tiny-llava", benchmarks=SETS[:1], columns=("shapes",), standings=standings(SETS[:1], COLUMNS[:1])
)
ON_SEVERAL = CompareReport(
    model="tiny-llava",
    benchmarks=SETS,
    columns=("shapes", "circles"),
    standings=standings(SETS, COLUMNS),
    notes=("left out: FastV",),
)
LOSS = Loss(
    image=STRANGE,
    method="fastervlm 8",
    answers=Table(STRANGE, ("question", "right", "unpruned", "fastervlm 8"), [("How many?", "two", "two", "one")]),
    pictures=(embedded(Image.new("RGB", (64, 48)), "a scene with the 8 tokens lit that fastervlm keeps", "scene"),),
)
CORE = ModelRecord(
    id="tiny-llava", revision=None, family="llava", weights_sha256="ab" * 32, weights_bytes=1, saliency="cls"
)


@pytest.fixture(scope="module")
def pages(artefact, tmp_path_factory):
    """A page of a check that passed, of one that failed, with a strange name, and of a comparison."""
    home = tmp_path_factory.mktemp("pages")
    passed = check(artefact, formats=["onnx"], report=home / "passed")
    opened = open_artefact(artefact)
    failed = dataclasses.replace(passed, artefact=STRANGE, comparisons=(comparison(),), notes=("a note",))
    assert not report_check(failed, opened, read_golden(opened), home / "failed").notes[1:]
    write_comparison(ON_SEVERAL, [[LOSS], []], home / "compared", CORE)
    return {name: home / name / PAGE for name in ("passed", "failed", "compared")}


KINDS = ("passed", "failed", "compared")


class Outline(HTMLParser):
    """Tags with what they say of themselves, and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_one_file_that_everybody_can_read(pages, kind):
    text = pages[kind].read_text()
    outline = Outline(text)
    for one in (*outline.of("img"), *outline.of("link", "a")):
        assert one.get("src", one.get("href", "")).startswith("data:image/")
    assert "url(" not in text and not outline.of("script")
    assert all(len(one["alt"]) > 10 for one in outline.of("img")) and outline.of("img")
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert {one["scope"] for one in outline.of("th")} <= {"col", "row", "rowgroup"}
    assert outline.of("html") == [{"lang": "en"}]
    assert len(outline.of("caption")) == len(outline.of("table"))


def test_what_a_page_tells_of_a_check(pages):
    passed, failed = (Outline(pages[kind].read_text()) for kind in ("passed", "failed"))
    words = " ".join(passed.words)
    assert "✓ Passed" in words and "None: both sides keep the same tokens" in words
    assert "By complexity" in words and re.search(r"Jaccard\s+onnx against .* 1.0000", words)
    assert "at least 0.99999" in words and "every difference explained by rounding" in words
    words = " ".join(failed.words)
    assert "Token by token" in words and "7 (row 1, column 1): dropped by the reference" in words
    assert "✗ Failed" in words and STRANGE[:-1] in words
    assert "camera: keeps other tokens and no rounding within the noise explains it" in words
    assert "explained by a movement of saliency by 1.0e-07: 25% of what rounding may do" in words
    assert "7 (row 1, column 1), 35 (row 5, column 5)" in words
    drawn = [one["alt"] for one in failed.of("img") if "outlined" in one["alt"]]
    assert [alt.split()[0] for alt in drawn] == ["camera"] * 2 + ["astronaut"] * 2  # the worst first
    assert "5 tokens that the graph at the export keeps" in drawn[0] and "1 (row 0, column 1)" in drawn[0]


def test_what_a_page_tells_of_a_comparison(pages):
    words = " ".join(Outline(pages["compared"].read_text()).words)
    assert "best: adaptive:complexity=entropy,count=adaptive, 8 tokens" in words
    assert "erank 16 to 25 (2 images)" in words and "0.6000" in words
    assert CORE.weights_sha256 in words
    for text in ("circles: methods and budgets", "94.44", "left out: FastV", "70 of them in the accuracy; 1 left out"):
        assert text in words
    assert "circles: worst cases" in words and "None: no method loses an answer" in words
    assert "How many?" in words and words.count("Answers about") == 1


def test_the_worst_come_first():
    order = [difference.image for _, difference in differing([comparison()])]
    assert order == ["camera", "nowhere", "astronaut"]


def test_a_page_is_replaced_whole(pages, tmp_path):
    page = tmp_path / PAGE
    page.write_text("of another day")
    with pytest.raises(Exception, match="undefined"):
        write_page(tmp_path, "judged.html.j2", {})
    assert page.read_text() == "of another day"


CONTRASTS = """
const channels = text => text.match(/[\\d.]+/g).map(Number);
const over = ([r, g, b, a = 1], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
const ground = node => {
  if (!node) return [255, 255, 255];
  const own = channels(getComputedStyle(node).backgroundColor);
  return own.length == 4 && own[3] == 0 ? ground(node.parentElement) : over(own, ground(node.parentElement));
};
const light = colour => colour.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const found = [];
for (const node of document.body.querySelectorAll("*")) {
  if (![...node.childNodes].some(one => one.nodeType == 3 && one.textContent.trim())) continue;
  const under = ground(node), ink = over(channels(getComputedStyle(node).color), under);
  const [high, low] = [light(under), light(ink)].sort((a, b) => b - a);
  found.push([(high + 0.05) / (low + 0.05), node.tagName + ": " + node.textContent.trim().slice(0, 40)]);
}
return found;
"""
WIDE = "return [document.documentElement.scrollWidth, window.innerWidth];"
BEYOND = """
const inside = node => node && (node.classList.contains("scroll") || inside(node.parentElement));
return [...document.body.querySelectorAll("*")].filter(node => !inside(node))
  .filter(node => node.getBoundingClientRect().right > window.innerWidth + 1).map(node => node.tagName);
"""
BROKEN = "return [...document.images].filter(one => !one.complete || !one.naturalWidth).map(one => one.alt);"


@pytest.fixture(scope="module")
def window():
    if MISSING:
        pytest.skip(MISSING)
    with browser() as one:
        yield one


@pytest.mark.parametrize("kind", KINDS)
def test_a_browser_shows_it(pages, window, kind):
    for dark in (False, True):
        window.open(pages[kind], 1280, dark=dark)
        contrasts = window.ask(CONTRASTS)
        assert len(contrasts) > 50
        assert [one for one in contrasts if one[0] < 4.5] == []
    assert window.ask(BROKEN) == []
    assert window.ask("return document.title;") != "ran"
    before = window.ask("return getComputedStyle(document.body).backgroundColor;")
    window.open(pages[kind], 390, 844, script=False)
    assert window.ask(WIDE) == [390, 390]
    assert window.ask(BEYOND) == []
    assert window.ask("return getComputedStyle(document.body).backgroundColor;") != before
    assert window.ask("return performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:'));") == []
    assert window.ask("return document.querySelector('.verdict').getBoundingClientRect().bottom;") < 844


def test_a_board_without_jinja2_checks_and_says_before_any_work_what_a_page_takes(vtp, artefact, tmp_path, monkeypatch):
    for name in ("jinja2", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert vtp("check", artefact, "--format", "onnx", "--junit", tmp_path / "junit.xml")[0] == 0
    code, _, err = vtp("check", artefact, "--format", "onnx", "--report", tmp_path / "report")
    assert (code, err.count("\n")) == (2, 1) and "a report needs jinja2: pip install" in err
    assert not (tmp_path / "report").exists()
