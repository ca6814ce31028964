"""The report: pages that stand alone, escape what students write, and keep statuses apart."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from classes import EVIL, HOSTILE, synthetic_class, verdict
from classes import result as result_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autograder.grade import Result, Written
from autograder.report import page_name, score_line, templates, write_report
from autograder.report.advice import next_steps
from autograder.report.looks import CHECKS, SUBMISSIONS, UNKNOWN, look, standing
from autograder.report.summary import histogram, misconceptions, to_look_at, why
from autograder.report.text import shown, with_code
from cs_vl.checks.judge import STATUSES
from cs_vl.checks.spec import load_assignment

A1 = load_assignment("a1_transformer")
SCRIPT = templates.loader.get_source(templates, "students.js")[0]


class Page(HTMLParser):
    """What a page holds: tags, attributes, its text."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text, self.path = "", path
        self.scripts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        if self.tags[-1:] == ["script"] and data.strip() and not self.scripts:
            self.scripts.append(data)
        self.text += data.strip() + " "

    @property
    def links(self) -> list[str]:
        return [value for name, value in self.attributes if name in ("href", "src", "action", "xlink:href")]


def result(*arguments, **more) -> Result:
    return result_of(A1, *arguments, **more)


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
    "con", "CON", "nul", "-rf", "e\u0301", "é", "🙂", "\u202egnp", "=1+1", "%2e%2e", "é" * 60, "#top", "a?b", "a b",
]  # fmt: skip


def test_pages_stand_alone_and_all_links_lead_somewhere(report):
    results = [result(student) for student in dict.fromkeys(ODD_IDS)]
    pages = report(*results, remarks=[EVIL])
    assert len(pages) == len(results) + 1  # no two share a page
    for name, page in pages.items():
        assert not {"img", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
        assert page.tags.count("script") == (name == "index.html")
        assert not any(name.startswith("on") for name, _ in page.attributes)
        assert not any(":" in link.split("/")[0] or link.startswith("//") for link in page.links)
        raw = page.path.read_text().replace("http-equiv", "")
        assert "http" not in raw and "url(" not in raw and "@import" not in raw
        for link in page.links:
            target = (page.path.parent / unquote(link)).resolve()
            assert target.is_file() and target.is_relative_to(report.folder.resolve()), link
    linked = {unquote(link).removeprefix("students/") for link in pages["index.html"].links}
    assert linked >= {page_name(r.student) for r in results}


@settings(max_examples=300, deadline=None)
@example("-", "")
@given(st.text(), st.text())
def test_page_names_are_plain_and_different(a, b):
    for student in (a, b):
        name = page_name(student)
        assert re.fullmatch(r"[a-z0-9_][a-z0-9_-]*(\.[0-9a-f]{16})?\.html", name) and len(name) < 70
        assert name.removesuffix(".html") not in ("con", "nul")
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
        assert page.scripts in ([], [SCRIPT]) and "img" not in page.tags, page.path
    for name in ("index.html", page_name(EVIL)):
        assert "<script>alert(1)</script>" in pages[name].text  # as text


def test_every_status_looks_different(report):
    assert set(CHECKS) == {*STATUSES, "partly", "not run"}
    for looks in (CHECKS, SUBMISSIONS):
        for part in ("sign", "words", "light", "dark", "css"):
            assert len({getattr(look, part) for look in looks.values()}) == len(looks), part
    assert look(verdict(A1.exercises[0], "failed", 1.0)) is CHECKS["partly"]
    assert look(verdict(A1.exercises[0], "of another version")) is UNKNOWN
    for status in STATUSES:
        page = report(result(verdicts=[verdict(A1.exercises[0], status, sentence="What is said.")]))[
            "ada.html"
        ]
        seen = CHECKS[status]
        assert seen.sign in page.text
        assert status == "passed" or "What is said." in page.text
        assert seen.words in page.text or ("title", seen.words) in page.attributes


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours (#rrggbb)."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "seen", [*CHECKS.values(), *SUBMISSIONS.values(), UNKNOWN], ids=lambda seen: seen.words
)
def test_every_sign_is_readable(seen):
    assert contrast(*seen.light) >= 4.5 and contrast(*seen.dark) >= 4.5


def everyone() -> dict[str, Result]:
    """A student of each standing."""
    zero = [verdict(e, "missing") for e in A1.exercises]
    stale = result("stale", notes=["the file changed; grading it failed"])
    stale.stale = True
    found = [
        result("graded", verdicts=zero), result("waits", written=[Written("why", "awaiting grading", 5.0)]), stale,
        result("no file", "no file", notes=["nothing was handed in"]),
        result("unreadable", "unreadable", notes=["x.ipynb is empty"]),
        result("grader error", "grader error", notes=["The grader failed"]),
    ]  # fmt: skip
    return {r.student: r for r in found}


def test_a_zero_a_missing_file_and_a_fault_are_told_apart(report):
    pages = report(*everyone().values())
    assert {standing(r) for r in everyone().values()} == set(SUBMISSIONS)
    said = {
        "graded": " 0 of 90 points", "waits": "and 5 awaiting grading by a person", "stale": "of an earlier run",
        "no file": "Nothing was handed in.", "unreadable": "could not be read", "grader error": "a fault of ours",
    }  # fmt: skip
    for student, sentence in said.items():
        page = pages[page_name(student)]
        assert sentence in page.text and SUBMISSIONS[student].words in page.text
        assert ("no score" in page.text) == (student in ("no file", "unreadable", "grader error"))
        assert not any(other in page.text for who, other in said.items() if who != student), student
    index = pages["index.html"].text
    assert "3 of 6 graded" in index and "Nothing came from 1" in index
    for look_ in SUBMISSIONS.values():
        assert f"{look_.sign} {look_.words}" in index


def test_whoever_needs_a_person_is_named_with_the_reason():
    groups = to_look_at(list(everyone().values()))
    assert [status for status, _ in groups] == ["grader error", "stale", "unreadable", "waits"]
    assert all(why(r) for _, group in groups for r in group)
    lost = result(written=[Written("why", "cell not found", 5.0)])
    assert "1 without their cell" in why(lost) and why(result()) == ""


def test_misconceptions_are_counted_and_lead_to_the_students(report):
    first = A1.exercises[0]
    wrong = [verdict(first, "failed", sentence="You forgot it.", mistake="forgot")]
    results = [result("ada", verdicts=wrong), result("bob", verdicts=wrong), result("cay")]
    (found,) = misconceptions(results)
    assert (found.exercise, found.sentence) == (first.name, "You forgot it.")
    assert [r.student for r in found.students] == ["ada", "bob"]
    pages = report(*results)
    assert f"students/ada.html#{first.name}" in pages["index.html"].links
    assert ("id", first.name) in pages["ada.html"].attributes


def test_a_students_own_line_stands_once_beside_the_sentence(report):
    where = "cell 12, line 3: return q @ k"
    wrong = [
        verdict(A1.exercises[0], "error", sentence=f"Your code raised ValueError ({where})", where=where)
    ]
    text = report(result(verdicts=wrong))["ada.html"].text
    assert "Your code raised ValueError Your line: cell 12, line 3: return q @ k" in text
    assert text.count("return q @ k") == 1


def test_what_to_do_next_begins_with_most_to_win():
    first, second = sorted(A1.exercises, key=lambda e: -e.points)[:2]
    others = [verdict(e) for e in A1.exercises if e not in (first, second)]
    steps = next_steps(result(verdicts=[verdict(second, "timeout"), verdict(first, "missing"), *others]))
    assert first.name in steps[0] and "docstring" in steps[0]
    assert second.name in steps[1] and "loop" in steps[1]
    assert next_steps(result()) == ["Nothing: every exercise passed."]
    assert all(next_steps(r) for r in everyone().values())
    idle = result(written=[Written("why", "unanswered", 5.0)])
    assert next_steps(idle) == ["Answer “why” (5 points) in words."]


def test_what_it_took_and_which_walls_stood(report):
    one = result(seconds=2.5)
    one.cpu_seconds, one.peak_mb = 1.25, 512.0
    pages = report(one)
    for page in pages.values():
        assert "2.5 s" in page.text and "512 MB" in page.text and "which walls stood" in page.text
    assert "1.2 s of the processor" in pages["ada.html"].text


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=50) | st.text("`<&\u202e\n\x00\u0301a", max_size=50))
def test_any_text_becomes_one_harmless_line(text):
    assert shown(text).isprintable() and len(shown(text, 20)) <= 20 * 10 + 30
    bare = str(with_code(text)).replace("<code>", "").replace("</code>", "")
    assert not set("<>\"'\n") & set(bare) and bare.count("&") == len(
        re.findall(r"&(amp|lt|gt|#34|#39);", bare)
    )


def test_hostile_text_is_cut_and_spelled_out(report):
    assert shown("\u202egnp\x00\x1b[31m\ta\n b") == r"\u202egnp\x00\x1b[31m a b"
    assert len(shown("W" * 100_000)) < 700 and "100,000 characters" in shown("W" * 100_000)
    assert len(shown("Z" + "\u0301" * 500)) < 40
    results = synthetic_class(A1, len(HOSTILE))
    pages = report(*results, remarks=HOSTILE)
    for page in pages.values():
        raw = page.path.read_text(encoding="utf-8")
        assert len(raw) < 300_000
        assert not set("\u202e\x00\x1b\x07\r") & set(raw)
        assert page.scripts in ([], [SCRIPT]) and "img" not in page.tags
    assert "{{ 7*7 }}" in pages["index.html"].text


def test_written_answers_wait_for_a_person(report):
    waiting = result(written=[Written("why", "awaiting grading", 5.0), Written("so", "cell not found", 3.0)])
    idle = result("bob", written=[Written("why", "unanswered", 5.0)])
    assert score_line(waiting) == "90 of 90, 8 awaiting grading" and waiting.needs_a_person
    assert "of an earlier run" in score_line(everyone()["stale"])
    assert score_line(idle) == "90 of 90" and not idle.needs_a_person
    pages = report(waiting, idle)
    assert "and 8 awaiting grading by a person" in pages["ada.html"].text
    assert "unanswered" in pages["bob.html"].text
    assert "8 points of written answers to grade" in pages["index.html"].text


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
    assert [b.count for b in bins] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 3]
    assert (bins[0].low, bins[-1].high) == (0, 90)
    assert [b.count for b in histogram([0.7], 1)] == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
