"""The report in a real browser: what it loads, how wide it is, whether its table sorts, and whether hostile text acts."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, needs_chromium
from classes import HOSTILE, synthetic_class

from autograder.report import write_report
from autograder.report.looks import SUBMISSIONS, standing
from cs_vl.checks.spec import load_assignment

pytestmark = needs_chromium
A2 = load_assignment("a2_clip")
CLASS = synthetic_class(A2, 60)
VISIBLE = "[...document.querySelectorAll('#students tbody tr')].filter(row => !row.hidden)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report")
    write_report(A2, CLASS, HOSTILE, path, ["A wall stood.", "Another did not."])
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        yield one


def pages(folder: Path) -> list[Path]:
    return [folder / "index.html", *sorted(folder.glob("students/*.html"))[:30]]


def test_hostile_pages_load_nothing_say_nothing_and_do_nothing(browser, folder):
    for page in pages(folder):
        browser.open(page)
        assert browser.messages == []  # no error, no blocked load, no alert
        assert browser.requests == [page.resolve().as_uri()]
        assert browser.run("document.title").startswith(f"{A2.title}: ")
        assert browser.run("document.body.lastElementChild.tagName") in ("FOOTER", "SCRIPT")


def test_a_page_may_load_and_run_nothing_else(browser, folder):
    """The page's own policy stops what escaping would miss."""
    browser.open(folder / "index.html")
    for attack in (
        "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x.png'}))",
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.bad = 1'}))",
        "document.body.insertAdjacentHTML('beforeend', '<svg onload=\"window.bad = 1\">')",
    ):
        browser.run(f"{attack}, 1")
    assert (
        browser.run("new Promise(done => setTimeout(() => done(window.bad ?? 'nothing'), 200))") == "nothing"
    )
    assert len(browser.messages) >= 3  # each was refused aloud
    assert "Content Security Policy" in browser.messages[0]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_need_not_scroll_sideways(browser, folder, dark):
    for page in pages(folder):
        browser.open(page, 360, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") <= 360, page.name


def test_a_sheet_of_paper_holds_it(browser, folder):
    browser.open(folder / "index.html", 794, dark=True)  # A4 at 96 dots an inch
    browser.call("Emulation.setEmulatedMedia", media="print", features=[])
    try:
        assert browser.run("document.documentElement.scrollWidth") <= 794
        assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_light_and_dark(browser, folder):
    colours = {}
    for dark in (False, True):
        browser.open(folder / "index.html", dark=dark)
        colours[dark] = browser.run(
            "[document.body, document.querySelector('.mark')].flatMap("
            "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color])"
        )
    assert len({*colours[False], *colours[True]}) == 8  # nothing keeps its colour
    assert colours[False][0] == "rgb(255, 255, 255)"


def column(browser, number: int) -> list[str]:
    return browser.run(
        f"{VISIBLE}.map(row => row.cells[{number}].dataset.v ?? row.cells[{number}].textContent)"
    )


def test_the_table_sorts(browser, folder):
    browser.open(folder / "index.html")
    click = "document.querySelectorAll('#students th button')[1].click()"
    points = sorted((r.points for r in CLASS if r.points is not None), reverse=True)
    none = [""] * (len(CLASS) - len(points))
    for expected in (points, points[::-1]):
        browser.run(click)
        seen = column(browser, 1)
        assert [float(text) for text in seen if text] == expected
        assert seen[len(points) :] == none  # whoever has no score stands last, never among the zeros
    assert browser.run("document.querySelector('#students th[aria-sort]').ariaSort") == "ascending"


def test_the_table_is_filtered(browser, folder):
    browser.open(folder / "index.html")
    for status in SUBMISSIONS:
        browser.run(
            f"(s => {{s.value = '{status}'; s.dispatchEvent(new Event('change'))}})(document.querySelector('#status'))"
        )
        found = [r for r in CLASS if standing(r) == status]
        if found:  # a status that nobody has is not offered
            assert len(browser.run(f"{VISIBLE}.map(row => row.dataset.status)")) == len(found)
    browser.open(folder / "index.html")
    browser.run(
        "(f => {f.value = 'NUMBER 4 kim'; f.dispatchEvent(new Event('input'))})(document.querySelector('#find'))"
    )
    texts = [" ".join([r.name, r.student, *r.notes]).lower() for r in CLASS]
    expected = sum(all(word in text for word in ("number", "4", "kim")) for text in texts)
    assert len(column(browser, 0)) == expected > 0
    assert browser.run("document.querySelector('#shown').textContent") == f"{expected} of {len(CLASS)}"


def test_without_its_script_the_page_is_whole(browser, folder):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(folder / "index.html")
        assert len(column(browser, 0)) == len(CLASS)
        assert browser.run("getComputedStyle(document.querySelector('#filter')).display") == "none"
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_every_link_of_the_class_page_opens(browser, folder):
    browser.open(folder / "index.html")
    links = set(browser.run("[...document.links].map(a => a.href)"))
    assert len(links) >= len(CLASS)
    for link in sorted(links)[::5]:
        assert Path(browser.run(f"decodeURIComponent(new URL({link!r}).pathname)")).is_file(), link
