"""The report: pages that stand alone, escape what students write, and keep statuses apart."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.grade import Result, Written
from autograder.report import LOOKS, histogram, look, page_name, score_line, write_report
from cs_vl.checks.judge import STATUSES, StageVerdict, Verdict
from cs_vl.checks.spec import load_assignment

A1 = load_assignment("a1_transformer")
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a page holds: tags, attributes, its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text, self.path = "", path
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data.strip() + " "

    @property
    def links(self) -> list[str]:
        return [value for name, value in self.attributes if name in ("href", "src", "action", "xlink:href")]


def verdict(exercise, status="passed", points=None, sentence="", **more) -> Verdict:
    got = exercise.points if points is None and status == "passed" else points or 0.0
    stages = [
        StageVerdict(s.name, status, got / len(exercise.stages), s.points, sentence=sentence)
        for s in exercise.stages
    ]
    return Verdict(exercise.name, status, got, exercise.points, sentence, stages=stages, **more)


def result(student="ada", status="graded", verdicts=None, **more) -> Result:
    graded = status == "graded"
    verdicts = [verdict(e) for e in A1.exercises] if verdicts is None and graded else verdicts or []
    return Result(student, more.pop("name", ""), status, out_of=90.0, verdicts=verdicts, **more)


@pytest.fixture
def report(tmp_path):
    def write(*results: Result, remarks=()) -> dict[str, Page]:
        write_report(A1, list(results), list(remarks), tmp_path, ["which walls", "stood"])
        pages = [tmp_path / "index.html", *(tmp_path / "students").glob("*.html")]
        write.folder = tmp_path
        return {path.name: Page(path) for path in pages}

    return write


ODD_IDS = [
    EVIL, "../../etc/passwd", "a/b", "a_b", "A/B", "Ada", "ada", "..", ".", "-", "x" * 300, "李小龍", "\ud800", "a\nb",
    "con", "=1+1", "%2e%2e", "é" * 60, "#top", "a?b", "a b",
]  # fmt: skip


def test_pages_stand_alone_and_all_links_lead_somewhere(report):
    results = [result(student) for student in dict.fromkeys(ODD_IDS)]
    pages = report(*results, remarks=[EVIL])
    assert len(pages) == len(results) + 1  # no two share a page
    for page in pages.values():
        assert not {"script", "img", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert not any(":" in link.split("/")[0] or link.startswith("//") for link in page.links)
        raw = page.path.read_text()
        assert "http" not in raw and "url(" not in raw and "@import" not in raw
        for link in page.links:
            target = (page.path.parent / unquote(link)).resolve()
            assert target.is_file() and target.is_relative_to(report.folder.resolve()), link
    linked = {unquote(link).removeprefix("students/") for link in pages["index.html"].links}
    assert linked >= {page_name(r.student) for r in results}


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_page_names_are_plain_and_different(a, b):
    for student in (a, b):
        name = page_name(student)
        assert Path(name).name == name and not name.startswith(".") and len(name.encode()) <= 255
    if a != b:
        assert page_name(a).lower() != page_name(b).lower()


def test_what_a_student_wrote_is_escaped(report):
    wrong = [verdict(A1.exercises[0], "error", sentence=f"Your code raised {EVIL}", where=EVIL)]
    wrong += [verdict(A1.exercises[1], "failed", sentence=f"`{EVIL}` differs")]
    pages = report(
        result(EVIL, name=EVIL, verdicts=wrong, file=EVIL, notes=[EVIL, f"`{EVIL}`"]),
        result("b", status="unreadable", notes=[EVIL]),
        remarks=[EVIL],
    )
    for page in pages.values():
        assert "script" not in page.tags and "img" not in page.tags, page.path
    for name in ("index.html", page_name(EVIL)):
        assert "<script>alert(1)</script>" in pages[name].text  # as text


def test_every_status_looks_different(report):
    assert set(LOOKS) >= {*STATUSES, "partly", "not run"}
    assert len({mark for mark, _, _ in LOOKS.values()}) == len(LOOKS)
    assert len({words for _, _, words in LOOKS.values()}) == len(LOOKS)
    assert look(verdict(A1.exercises[0], "failed", 1.0)) == LOOKS["partly"]
    for status in STATUSES:
        page = report(result(verdicts=[verdict(A1.exercises[0], status, sentence="What is said.")]))[
            "ada.html"
        ]
        mark, _, words = LOOKS[status]
        assert mark in page.text
        assert status == "passed" or "What is said." in page.text
        assert words in page.text or ("title", words) in page.attributes


def test_a_zero_a_missing_file_and_a_fault_are_told_apart(report):
    zero = [verdict(e, "missing") for e in A1.exercises]
    pages = report(
        result("zero", verdicts=zero),
        result("none", "no file", notes=["nothing was handed in"]),
        result("broken", "unreadable", notes=["x.ipynb is empty"]),
        result("ours", "grader error", notes=["The grader failed"]),
    )
    assert "0 of 90 points" in pages["zero.html"].text
    for student, said in (
        ("none", "Nothing was handed in."),
        ("broken", "could not be read"),
        ("ours", "a fault of ours"),
    ):
        assert "no score" in pages[f"{student}.html"].text and said in pages[f"{student}.html"].text
    index = pages["index.html"].text
    assert "1 of 4 graded" in index and "2 could not be graded" in index and "1 handed in nothing" in index
    rows = list(csv.DictReader((report.folder / "grades.csv").open(newline="")))
    assert {row["student"]: row["points"] for row in rows} == {
        "zero": "0",
        "none": "",
        "broken": "",
        "ours": "",
    }


def test_written_answers_wait_for_a_person(report):
    waiting = result(written=[Written("why", "awaiting grading", 5.0), Written("so", "cell not found", 3.0)])
    idle = result("bob", written=[Written("why", "unanswered", 5.0)])
    assert score_line(waiting) == "90 of 90, 8 awaiting grading" and waiting.needs_a_person
    assert score_line(idle) == "90 of 90" and not idle.needs_a_person
    pages = report(waiting, idle)
    assert "and 8 awaiting grading by a person" in pages["ada.html"].text
    assert "unanswered" in pages["bob.html"].text
    assert "Written answers of ada Scores" in pages["index.html"].text


def test_a_spreadsheet_takes_nothing_for_a_formula(report):
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", 'x","=1+1', "line\n=1"]
    report(*(result(text, name=text, notes=[text], file=text) for text in evil))
    with (report.folder / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evil) and all(None not in row for row in rows)
    for row, text in zip(rows, evil, strict=True):
        for column in ("student", "name", "file", "notes"):
            assert row[column].removeprefix("'") == text
            assert row[column].lstrip()[:1] not in ("=", "+", "-", "@", "＝")


def test_text_that_is_no_text_stops_nothing(report):
    pages = report(result("\ud800", name="\udcff", notes=["\ud800"]))
    assert r"\ud800" in pages["index.html"].path.read_text()
    assert json.loads((report.folder / "grades.json").read_text())["results"][0]["student"] == "\ud800"


def test_results_come_back_from_json(report):
    before = result(
        verdicts=[verdict(A1.exercises[0], "failed", 1.0)], written=[Written("why", "unanswered", 5.0)]
    )
    report(before)
    (tree,) = json.loads((report.folder / "grades.json").read_text())["results"]
    assert Result.from_json(tree) == before


def test_pages_of_people_who_left_are_gone(report):
    assert set(report(result("ada"), result("bob"))) == {"index.html", "ada.html", "bob.html"}
    assert set(report(result("bob"))) == {"index.html", "bob.html"}


def test_a_class_without_a_score_has_a_page(report):
    assert "0 of 1 graded" in report(result(status="no file"))["index.html"].text


def test_the_histogram_counts_everybody():
    bins = histogram([0, 8.9, 9, 45, 89.9, 90, 90], 90)
    assert [b["count"] for b in bins] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 3]
    assert (bins[0]["low"], bins[-1]["high"], max(b["share"] for b in bins)) == (0, 90, 1)
