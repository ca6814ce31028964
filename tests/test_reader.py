"""Whose is which file: layouts, rosters, and zips that want out."""

import os
import socket
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.reader import (
    MAX_BYTES,
    BadInput,
    Roster,
    choose,
    find_submissions,
    printable,
    read_roster,
)
from cs_vl.checks.cells import Unreadable, read_submission

A = "a1_transformer"
NOTEBOOK = '{"cells": []}'


def lay_out(folder: Path, *files: str) -> Path:
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(NOTEBOOK)
    return folder


def zipped(path: Path, files: dict[str, bytes | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of names that occur twice
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def find(tmp_path):
    """{student: the file's path inside the folder or zip}; `find.remarks` and `find.found` hold the rest."""

    def search(source: Path, roster: Roster | None = None) -> dict[str, str | None]:
        scratch = tmp_path / "scratch"
        found, find.remarks = find_submissions(source, A, scratch, roster)
        find.found = {one.student: one for one in found}
        assert len(find.found) == len(found)
        roots = (source, scratch / source.stem, *(scratch / ".zips").glob("*"))
        return {f.student: inside(f.path, roots) for f in found}

    def inside(path, roots):
        for root in roots:
            if path and path.is_relative_to(root):
                return path.relative_to(root).as_posix()
        assert path is None, path
        return None

    find = search
    return search


@pytest.fixture
def roster(tmp_path):
    def write(text: str) -> Roster:
        path = tmp_path / "roster.csv"
        path.write_text(text)
        return read_roster(path)

    return write


# --- layouts -----------------------------------------------------------------------------------------------


def test_nbgraders_layout(tmp_path, find):
    folder = lay_out(
        tmp_path / "submitted",
        f"ada/{A}/{A}.ipynb",
        f"ada/{A}/.ipynb_checkpoints/{A}-checkpoint.ipynb",
        "ada/a2_clip/a2_clip.ipynb",
        "bob/a2_clip/a2_clip.ipynb",
        f"eve/{A}.ipynb",
        f".ipynb_checkpoints/{A}.ipynb",
    )
    assert find(folder) == {"ada": f"ada/{A}/{A}.ipynb", "bob": None, "eve": f"eve/{A}.ipynb"}
    assert find.found["bob"].notes == ["nothing was handed in"]


def test_the_course_folder_of_nbgrader_is_understood(tmp_path, find):
    lay_out(tmp_path / "course", f"submitted/ada/{A}/{A}.ipynb", f"source/{A}/{A}.ipynb")
    assert list(find(tmp_path / "course")) == ["ada"]


def test_a_folder_a_student(tmp_path, find):
    folder = lay_out(tmp_path / "class", "ada/deep/er/work.ipynb", "bob/mine.py", "eve/notes.txt")
    assert find(folder) == {"ada": "ada/deep/er/work.ipynb", "bob": "bob/mine.py", "eve": None}


def test_loose_files(tmp_path, find):
    files = [f"ada_{A}.ipynb", f"{A}-bob.ipynb", "eve.py", "Zoë van Dyk.IPYNB", ".hidden.ipynb"]
    folder = lay_out(tmp_path / "class", *files, "scores.xlsx")
    assert find(folder) == {"ada": files[0], "bob": files[1], "eve": files[2], "Zoë van Dyk": files[3]}
    assert find.remarks == ["left out, as no notebook: scores.xlsx"]


def test_of_two_notebooks_the_one_named_like_the_assignment_counts(tmp_path, find):
    folder = lay_out(tmp_path / "class", "ada/scratch.ipynb", f"ada/{A}.ipynb", "ada/utils.py")
    assert find(folder) == {"ada": f"ada/{A}.ipynb"}
    assert find.found["ada"].notes == [
        f"several files: {A}.ipynb is graded, scratch.ipynb, utils.py left out"
    ]
    old, new = lay_out(tmp_path / "b", "b/x.ipynb", "b/y.ipynb").glob("b/*.ipynb")
    os.utime(old, (1, 1))
    assert choose([old, new], A)[0] == new


def test_links_are_not_followed(tmp_path, find):
    secret = lay_out(tmp_path / "elsewhere", "key.ipynb")
    folder = lay_out(tmp_path / "class", "ada/own.ipynb")
    (folder / "ada" / f"{A}.ipynb").symlink_to(secret / "key.ipynb")
    (folder / "ada" / "dir").symlink_to(secret)
    (folder / "bob").symlink_to(secret)
    assert find(folder) == {"ada": "ada/own.ipynb"}
    assert find.remarks == ["bob is a link, and was not followed"]
    with pytest.raises(Unreadable, match="no link"):
        read_submission(folder / "ada" / f"{A}.ipynb")


def test_names_can_not_steer_a_terminal(tmp_path, find):
    folder = tmp_path / "class"
    lay_out(folder, "\x1b[2Jada\n/x.ipynb")
    lay_out(folder, os.fsdecode(b"bo\xff/x.ipynb"))
    assert sorted(find(folder)) == [r"\x1b[2Jada\n", r"bo\udcff"]
    assert printable("Zoë 李 <b>") == "Zoë 李 <b>"


# --- Canvas ------------------------------------------------------------------------------------------------

CANVAS = {
    "lovelaceada_1001_5001_a1_transformer.ipynb": NOTEBOOK,
    "hopper_LATE_1002_5002_a1_transformer.ipynb": NOTEBOOK,
    "dijkstra_1003_5003_a1_transformer.ipynb": NOTEBOOK,
    "dijkstra_1003_5019_a1_transformer-1.ipynb": NOTEBOOK,
    "dijkstra_1003_5020_helpers.py": "x = 1",
    "zhangwei_1004_5004_a1_transformer.ipynb": NOTEBOOK,
    "zhangwei_1005_5005_a1_transformer.ipynb": NOTEBOOK,
    "turing_1006_5006_essay.pdf": b"%PDF",
}


def test_canvas(tmp_path, find):
    names = list(CANVAS)
    expected = {
        "1001": names[0],
        "1002": names[1],
        "1003": names[3],
        "1004": names[5],
        "1005": names[6],
        "1006": None,
    }
    assert find(zipped(tmp_path / "submissions.zip", CANVAS)) == expected
    assert [find.found[x].name for x in ("1001", "1004", "1005")] == ["lovelaceada", "zhangwei", "zhangwei"]
    assert find.found["1002"].notes == ["handed in late (Canvas)"]
    assert find.found["1003"].notes == [
        f"handed in more than once: {names[3]} is graded, {names[2]}, {names[4]} not"
    ]
    assert find.remarks == [f"1003: {find.found['1003'].notes[0]}"]
    assert find.found["1006"].notes == ["essay.pdf is no notebook"]


def test_canvas_unpacked_or_in_a_folder_of_the_zip(tmp_path, find):
    folder = lay_out(tmp_path / "unpacked", *CANVAS)
    assert sorted(find(folder)) == ["1001", "1002", "1003", "1004", "1005", "1006"]
    wrapped = {f"submissions/{name}": data for name, data in CANVAS.items()}
    assert len(find(zipped(tmp_path / "wrapped.zip", wrapped))) == 6


def test_canvas_with_a_roster(tmp_path, find, roster):
    people = roster(
        "id,name,canvas_id\nada,Ada Lovelace,\ngrace,Grace Hopper,1002\nedsger,Dijkstra,\n"
        "w1,Wei Zhang,\nw2,Wei Zhang,1005\nalan,Alan Turing,1006\nbarbara,Barbara Liskov,\n"
    )
    found = find(zipped(tmp_path / "submissions.zip", CANVAS), people)
    assert found["ada"].startswith("lovelaceada") and found["grace"].startswith("hopper_LATE")
    assert found["w2"].startswith("zhangwei_1005")
    assert found["w1"] is None  # two people of that name: nobody is guessed
    assert found["1004"].startswith("zhangwei_1004") and "not on the roster" in find.found["1004"].notes
    assert any("zhangwei_1004" in remark and "matches nobody" in remark for remark in find.remarks)
    assert (found["barbara"], find.found["barbara"].notes) == (None, ["nothing was handed in"])
    assert (found["alan"], find.found["alan"].notes) == (None, ["essay.pdf is no notebook"])
    assert find.found["grace"].name == "Grace Hopper"


# --- Gradescope --------------------------------------------------------------------------------------------


def gradescope(path: Path, entries: dict, files: dict[str, str], prefix="assignment_7_export/") -> Path:
    tree = {f"{prefix}{name}": data for name, data in files.items()}
    return zipped(path, {f"{prefix}submission_metadata.yml": yaml.safe_dump(entries), **tree})


def people(*submitters: tuple[str, str, str]) -> dict:
    keys = (":name", ":sid", ":email")
    return {
        ":submitters": [dict(zip(keys, p, strict=True)) for p in submitters],
        ":created_at": "2026-01-01 10:00:00 Z",
        ":score": 0.0,
    }


ADA, BOB, EVE = ("Ada Lovelace", "11", "ada@x.org"), ("Bob B", "", "bob@x.org"), ("Eve", "13", "eve@x.org")


@pytest.mark.parametrize("prefix", ["assignment_7_export/", ""])
def test_gradescope(tmp_path, find, prefix):
    path = gradescope(
        tmp_path / "export.zip",
        {
            "submission_1": people(ADA, BOB),
            "submission_2": people(EVE),
            "submission_3": people(("Kurt", "14", "")),
        },
        {
            f"submission_1/{A}.ipynb": NOTEBOOK,
            "submission_1/old.ipynb": NOTEBOOK,
            "submission_2/src/x.py": "x = 1",
            "submission_2/submission_metadata.yml": "{}",
            "submission_3/report.pdf": "",
            "submission_9/x.ipynb": NOTEBOOK,
        },
        prefix,
    )
    assert find(path) == {
        "11": f"{prefix}submission_1/{A}.ipynb",
        "bob@x.org": f"{prefix}submission_1/{A}.ipynb",
        "13": f"{prefix}submission_2/src/x.py",
        "14": None,
        "submission_9": f"{prefix}submission_9/x.ipynb",
    }
    assert find.found["11"].name == "Ada Lovelace"
    assert "handed in by a group: Ada Lovelace, Bob B" in find.found["bob@x.org"].notes
    assert "submission_9 is not in submission_metadata.yml" in find.remarks


def test_gradescope_with_a_roster(tmp_path, find, roster):
    path = gradescope(
        tmp_path / "export.zip",
        {"submission_1": people(ADA, BOB), "submission_2": people(EVE)},
        {f"submission_{i}/x.ipynb": NOTEBOOK for i in (1, 2)},
    )
    found = find(path, roster("student_id;email;name\nal;ada@x.org;\nbb;;Bob B\nkg;kurt@x.org;Kurt\n"))
    assert {s for s, path in found.items() if path} == {"al", "bb", "13"}
    assert found["kg"] is None
    assert [r for r in find.remarks if "matches nobody" in r and "Eve" in r]


@pytest.mark.parametrize(
    "entries",
    [
        {"../../elsewhere": people(ADA)},
        {"/": people(ADA)},
        {"submission_1": None},
        {"submission_1": [1, 2]},
        {"submission_1": {":submitters": {"a": 1}}},
        {1: {":submitters": [3, None, {":sid": 11}]}},
    ],
)
def test_odd_metadata_stops_nothing_and_leads_nowhere(tmp_path, find, entries):
    lay_out(tmp_path / "elsewhere", "key.ipynb")
    lay_out(tmp_path / "scratch" / "elsewhere", "key.ipynb")
    path = gradescope(tmp_path / "export.zip", entries, {"submission_1/x.ipynb": NOTEBOOK})
    found = find(path)
    assert "assignment_7_export/submission_1/x.ipynb" in found.values()
    assert not any("elsewhere" in str(one.path) for one in find.found.values())


def test_objects_in_metadata_are_not_made(tmp_path, find):
    text = (
        "submission_1:\n  :submitters:\n  - :sid: '11'\n  :made: !ruby/object:Time {a: 1}\n"
        f"  :evil: !!python/object/apply:os.system ['touch {tmp_path}/made']\n"
    )
    files = {"e/submission_metadata.yml": text, "e/submission_1/x.ipynb": NOTEBOOK}
    assert find(zipped(tmp_path / "e.zip", files)) == {"11": "e/submission_1/x.ipynb"}
    assert not (tmp_path / "made").exists()
    with pytest.raises(BadInput, match="export it again"):
        find(zipped(tmp_path / "f.zip", {"submission_metadata.yml": "a: [", "submission_1/x.ipynb": ""}))


def test_a_students_own_metadata_does_not_speak_for_the_class(tmp_path, find):
    folder = lay_out(tmp_path / "class", f"ada/{A}/{A}.ipynb", f"eve/{A}/{A}.ipynb")
    (folder / "eve" / A / "submission_metadata.yml").write_text("{ada: {}}")
    assert len(find(folder)) == 2


# --- who ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["ada", "Ada Lovelace", "LovelaceAda", "ada@x.org", "99", "lovelace, ada", "ADA"]
)
def test_a_roster_knows_many_names(roster, key):
    people = roster("id,name,email,canvas_id\nada,Ada Lovelace,ada@x.org,99\nbob,Bob,,\n")
    assert people.find([key]) == ["ada"]
    assert people.find(["nobody", ""]) == []


def test_accents_do_not_matter(roster):
    assert roster("id,name\nz,Zoë Müller\n").find(["mullerzoe"]) == ["z"]


def test_who_matches_two_is_told(tmp_path, find, roster):
    folder = lay_out(tmp_path / "class", "adalovelace_77_1_x.ipynb")
    find(folder, roster("id,name,canvas_id\nada,Ada Lovelace,\nbob,Bob,77\n"))
    assert "matches bob and ada: it is taken for bob's" in find.remarks[0]


def test_a_folder_and_a_file_of_one_student_are_told(tmp_path, find):
    folder = lay_out(tmp_path / "class", "ada/work.ipynb", f"ada_{A}.ipynb")
    assert find(folder) == {"ada": f"ada_{A}.ipynb"}
    assert find.remarks == [f"ada: handed in more than once: ada_{A}.ipynb is graded, work.ipynb not"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"name\nAda\n", "column `id`; its first line has name"),
        (b"", "its first line has nothing"),
        (b"id\n", "lists nobody"),
        (b"id,name\n\xe9,x\n", "UTF-8"),
        (b"id\n" + b"x" * 200_000, "save it as CSV"),
    ],
)
def test_a_bad_roster_gets_a_sentence(tmp_path, data, said):
    path = tmp_path / "roster.csv"
    path.write_bytes(data)
    with pytest.raises(BadInput, match=said):
        read_roster(path)
    with pytest.raises(BadInput, match="no roster"):
        read_roster(tmp_path)


@pytest.mark.parametrize(
    "text", ['\ufeffid,name\r\nada,"Love\nlace"\r\n', "ID ;name\nada;x\n", "name\tsid\nx\tada\n"]
)
def test_rosters_as_programs_write_them(roster, text):
    assert list(roster(text).names) == ["ada"]


# --- zips that want out ------------------------------------------------------------------------------------


def test_nothing_leaves_the_folder(tmp_path, find):
    files = {
        "../escaped.ipynb": NOTEBOOK,
        "ok/../../escaped.ipynb": NOTEBOOK,
        "..\\escaped.ipynb": NOTEBOOK,
        f"{tmp_path}/escaped.ipynb": NOTEBOOK,
        "C:\\escaped.ipynb": NOTEBOOK,
        "__MACOSX/._ada.ipynb": NOTEBOOK,
        "ada/.ipynb_checkpoints/x.ipynb": NOTEBOOK,
        "ada/deep/work.ipynb": NOTEBOOK,
        "bob/work.ipynb": NOTEBOOK,
        "bob/evil.sh": "#!/bin/sh",
    }
    before = set(tmp_path.rglob("*"))
    assert find(zipped(tmp_path / "z.zip", files)) == {"ada": "ada/deep/work.ipynb", "bob": "bob/work.ipynb"}
    assert sum("leads out of the folder" in remark for remark in find.remarks) == 4
    assert "../escaped.ipynb is in z.zip twice: the last one counts" in find.remarks
    new = {p for p in set(tmp_path.rglob("*")) - before if p.is_file()} - {tmp_path / "z.zip"}
    assert {p.relative_to(tmp_path / "scratch" / "z").as_posix() for p in new} == {
        "ada/deep/work.ipynb",
        "bob/work.ipynb",
    }


def test_a_link_in_a_zip_is_a_file_of_text(tmp_path, find):
    link = zipfile.ZipInfo("ada/work.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bob/work.ipynb", NOTEBOOK)
    find(path)
    assert not find.found["ada"].path.is_symlink()
    with pytest.raises(Unreadable):
        read_submission(find.found["ada"].path)


def test_a_huge_file_costs_itself_only(tmp_path, find, monkeypatch):
    monkeypatch.setattr("autograder.reader.MAX_TOTAL", 1000)
    files = {
        "ada/bomb.ipynb": b"0" * (MAX_BYTES + 10),
        "bob/work.ipynb": NOTEBOOK,
        "eve/large.ipynb": b" " * 2000,
    }
    path = zipped(tmp_path / "z.zip", files)
    assert path.stat().st_size < 200_000
    assert find(path)["bob"] == "bob/work.ipynb"
    assert read_submission(find.found["bob"].path).cells == []
    for student in ("ada", "eve"):
        file = find.found[student].path
        assert file.stat().st_blocks * 512 < 2**20  # it takes no room
        with pytest.raises(Unreadable, match="64 MB"):
            read_submission(file)
    assert len([remark for remark in find.remarks if "too large" in remark]) == 2


def test_a_damaged_member_costs_itself_only(tmp_path, find):
    path = zipped(tmp_path / "z.zip", {"ada/work.ipynb": NOTEBOOK * 50, "bob/work.ipynb": NOTEBOOK})
    data = bytearray(path.read_bytes())
    at = data.index(b"ada/work.ipynb") + len(b"ada/work.ipynb")
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert find(path)["bob"] == "bob/work.ipynb"
    assert "ada" in find.found and any("damaged" in remark for remark in find.remarks)
    with pytest.raises(Unreadable):
        read_submission(find.found["ada"].path)


def test_an_encrypted_member_gets_a_sentence(tmp_path, find):
    path = zipped(tmp_path / "z.zip", {"ada/work.ipynb": NOTEBOOK, "bob/work.ipynb": NOTEBOOK})
    data = bytearray(path.read_bytes())
    for head, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(head) + flags
        (old,) = struct.unpack_from("<H", data, at)
        struct.pack_into("<H", data, at, old | 1)
    path.write_bytes(data)
    assert set(find(path)) == {"ada", "bob"}
    assert any("encrypted" in remark for remark in find.remarks)


def test_clashing_and_endless_names_stop_nothing(tmp_path, find):
    files = {
        "ada/x.ipynb": NOTEBOOK,
        "ada/x.ipynb/y.ipynb": NOTEBOOK,
        "bob/" + "n" * 300 + ".ipynb": NOTEBOOK,
    }
    assert find(zipped(tmp_path / "z.zip", {**files, "eve/e.ipynb": NOTEBOOK}))["eve"] == "eve/e.ipynb"


def test_what_an_older_export_left_is_gone(tmp_path, find):
    zipped(tmp_path / "z.zip", {"ada/x.ipynb": NOTEBOOK, "bob/x.ipynb": NOTEBOOK})
    assert set(find(tmp_path / "z.zip")) == {"ada", "bob"}
    zipped(tmp_path / "z.zip", {"ada/x.ipynb": NOTEBOOK, "eve/x.ipynb": NOTEBOOK})
    assert set(find(tmp_path / "z.zip")) == {"ada", "eve"}


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_damaged_zip_gets_a_sentence(tmp_path_factory, data):
    root = tmp_path_factory.mktemp("zip")
    whole = bytearray(zipped(root / "z.zip", {"ada/x.ipynb": NOTEBOOK * 9, "b_1_2_x.py": "x"}).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (root / "z.zip").write_bytes(bytes(whole[: data.draw(st.integers(10, len(whole)))]))
    try:
        found, _ = find_submissions(root / "z.zip", A, root / "scratch")
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert all(one.path is None or one.path.is_relative_to(root / "scratch") for one in found)


# --- what students do to files ------------------------------------------------------------------------------


def blank_and_answered() -> tuple[str, str]:
    from autograder.build.notebooks import student_path
    from autograder.build.sample_class import FOLDER

    answered = FOLDER / "submitted" / "ada" / A / f"{A}.ipynb"
    return student_path(A).read_text(encoding="utf-8"), answered.read_text(encoding="utf-8")


def test_a_blank_copy_beside_the_answers_is_not_graded(tmp_path, find):
    folder = lay_out(tmp_path / "class", f"ada/{A}.ipynb", "ada/Untitled.ipynb", "ada/mine.ipynb")
    blank, answered = blank_and_answered()
    (folder / "ada" / f"{A}.ipynb").write_text(blank)
    (folder / "ada" / "mine.ipynb").write_text(answered)
    assert find(folder) == {"ada": "ada/mine.ipynb"}
    (folder / "ada" / f"{A}.ipynb").write_text(answered)
    assert find(folder) == {"ada": f"ada/{A}.ipynb"}


@pytest.mark.parametrize(
    "name", ["my work.ipynb", f"{A} (1).ipynb", f"{A}.ipynb.txt", "X.IPYNB.JSON", "x.PY"]
)
def test_renamed_notebooks_are_found(tmp_path, find, name):
    lay_out(tmp_path / "class", f"ada/{A}/{name}", f"bob/{A}/{A}.ipynb")
    assert find(tmp_path / "class")["ada"] == f"ada/{A}/{name}"
    assert (
        find(zipped(tmp_path / "z.zip", {f"ada/{name}": NOTEBOOK, "bob/x.ipynb": ""}))["ada"] == f"ada/{name}"
    )
    canvas = f"lovelace_11_22_{name}"
    assert find(zipped(tmp_path / "c.zip", {canvas: NOTEBOOK, "b_1_2_x.py": ""}))["11"] == canvas
    loose = lay_out(tmp_path / "loose", f"ada_{A}.ipynb.txt", f"{A}-bob.ipynb")
    assert find(loose) == {"ada": f"ada_{A}.ipynb.txt", "bob": f"{A}-bob.ipynb"}


def test_a_folder_that_is_a_link_is_not_followed_where_a_folder_is_expected(tmp_path, find):
    folder = lay_out(tmp_path / "class", f"ada/{A}/{A}.ipynb", "eve/old.ipynb", f"bob/{A}/{A}.ipynb")
    (folder / "eve" / A).symlink_to(folder / "ada" / A)
    (folder / "bob" / A / "loop").symlink_to(folder)
    (folder / "ada" / A / "self").symlink_to(folder / "ada" / A / "self")
    assert find(folder)["eve"] == "eve/old.ipynb"
    assert find(folder)["bob"] == f"bob/{A}/{A}.ipynb"
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "x").symlink_to(folder)
    assert find(alone) == {}


def test_pipes_sockets_and_folders_with_the_names_of_notebooks_stop_nothing(tmp_path, find):
    folder = lay_out(tmp_path / "class", "ada/x.ipynb", "eve.ipynb/x.ipynb")
    os.mkfifo(folder / "bob.ipynb")
    os.mkfifo(folder / "c_1_2_x.zip")
    os.mkfifo(folder / "ada" / f"{A}.ipynb")
    (folder / "ada" / "y.ipynb").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "kim.ipynb"))
        found = find(folder)
        assert (found["ada"], found["eve.ipynb"], found["1"]) == ("ada/x.ipynb", "eve.ipynb/x.ipynb", None)
        for student in ("bob", "kim"):
            with pytest.raises(Unreadable, match="a plain file is expected"):
                read_submission(find.found[student].path)
    os.mkfifo(tmp_path / "z.zip")
    with pytest.raises(BadInput, match="neither a folder"):
        find(tmp_path / "z.zip")


ODD_NAMES = [
    "a\nb",
    "\u202egnp.exe",
    "💥",
    "-rf",
    "n" * 249,
    "CON",
    "aux.",
    "a b ",
    "$(id)",
    "'\"<b>",
    "%00",
    "~",
    "a\tb",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_found_and_shown_as_such(tmp_path, find, name):
    zipped(
        tmp_path / "z.zip",
        {f"{name}.ipynb": NOTEBOOK, f"bob/{name}.ipynb": NOTEBOOK, "kim/x.ipynb": NOTEBOOK},
    )
    found = find(tmp_path / "z.zip")
    assert found["bob"] == f"bob/{name}.ipynb" and found[printable(name)] == f"{name}.ipynb"
    assert all(student.isprintable() for student in found)
    read_submission(find.found["bob"].path)


# --- zips of students ---------------------------------------------------------------------------------------


def zip_bytes(tmp_path: Path, files: dict[str, bytes | str]) -> bytes:
    return zipped(tmp_path / "inner.zip", files).read_bytes()


def test_a_zip_that_a_student_handed_in_is_opened(tmp_path, find):
    handed_in = zip_bytes(
        tmp_path, {"hw/x.ipynb": NOTEBOOK, "hw/../../../out.ipynb": NOTEBOOK, "__MACOSX/._x.ipynb": ""}
    )
    find(zipped(tmp_path / "c.zip", {"lovelace_11_22_hw.zip": handed_in, "b_1_2_x.py": ""}))
    assert find.found["11"].path.name == "x.ipynb" and find.found["11"].path.read_text() == NOTEBOOK
    assert any("leads out of the folder" in remark for remark in find.remarks)
    folder = lay_out(tmp_path / "class", f"bob/{A}/{A}.ipynb")
    (folder / "ada" / A).mkdir(parents=True)
    (folder / "ada" / A / "hw.zip").write_bytes(handed_in)
    (folder / "bob" / A / "more.zip").write_bytes(handed_in)
    find(folder)
    assert find.found["ada"].path.name == "x.ipynb" and find.found["bob"].path.name == f"{A}.ipynb"
    assert list(folder.rglob("x.ipynb")) == [] and not list(tmp_path.rglob("out.ipynb"))
    path = gradescope(tmp_path / "e.zip", {"submission_1": people(ADA)}, {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assignment_7_export/submission_1/hw.zip", handed_in)
    find(path)
    assert find.found["11"].path.name == "x.ipynb"


def test_a_zip_in_a_students_zip_stays_closed(tmp_path, find):
    inner = zip_bytes(tmp_path, {"x.ipynb": NOTEBOOK})
    middle = zip_bytes(tmp_path, {"inner.zip": inner})
    find(zipped(tmp_path / "c.zip", {"lovelace_11_22_hw.zip": middle, "b_1_2_x.py": ""}))
    assert find.found["11"].path is None
    assert find.found["11"].notes == ["hw.zip holds no notebook that can be read"]
    assert any("inner.zip" in remark and "stays closed" in remark for remark in find.remarks)


@pytest.mark.parametrize(
    "bomb",
    [
        {f"{i}.ipynb": b"0" * 2**20 for i in range(80)},
        {"x.ipynb": b"0" * (MAX_BYTES + 10)},
        {f"{i}.py": b"" for i in range(3000)},
        {"x.zip": b"not a zip"},
        {},
    ],
    ids=["size", "one", "count", "nested", "empty"],
)
def test_a_bomb_costs_its_owner_only(tmp_path, find, bomb):
    handed_in = zip_bytes(tmp_path, bomb)
    find(
        zipped(
            tmp_path / "c.zip",
            {"lovelace_11_22_hw.zip": handed_in, "b_1_2_x.py": "x = 1", "eve_3_4_hw.zip": b"PK"},
        )
    )
    assert set(find.found) == {"11", "1", "3"} and find.found["1"].path.name == "b_1_2_x.py"
    used = sum(p.stat().st_blocks * 512 for p in (tmp_path / "scratch" / ".zips").rglob("*"))
    assert used < MAX_BYTES + 2**20
    assert all(remark.isprintable() for remark in find.remarks)


def test_a_huge_zip_of_a_student_keeps_its_owners_place(tmp_path, find, monkeypatch):
    monkeypatch.setattr("autograder.reader.MAX_BYTES", 1000)
    path = tmp_path / "c.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ada/hw.zip", os.urandom(5000))
        archive.writestr("bob/x.ipynb", NOTEBOOK)
    assert find(path) == {"ada": None, "bob": "bob/x.ipynb"}
    assert any("ada/hw.zip" in remark and "stays closed" in remark for remark in find.remarks)


def test_too_many_files_are_refused(tmp_path, find, monkeypatch):
    monkeypatch.setattr("autograder.reader.MAX_FILES", 20)
    with pytest.raises(BadInput, match="more than 20 files"):
        find(zipped(tmp_path / "z.zip", {f"{i}/x.ipynb": "" for i in range(30)}))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_whole_and_damaged(tmp_path, find, method):
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("ada/x.ipynb", NOTEBOOK * 50)
        archive.writestr("bob/x.ipynb", NOTEBOOK)
    assert find(path) == {"ada": "ada/x.ipynb", "bob": "bob/x.ipynb"}
    data = bytearray(path.read_bytes())
    at = data.index(b"ada/x.ipynb") + len(b"ada/x.ipynb")
    data[at : at + 12] = b"\xff" * 12
    path.write_bytes(data)
    assert set(find(path)) == {"ada", "bob"} and any("damaged" in remark for remark in find.remarks)


@pytest.mark.parametrize(
    "text",
    [
        "submission_1:\n  :created_at: 2026-02-31",
        "submission_1: {':submitters': [{':name': [1, 2], ':sid': {a: 1}}]}",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nsubmission_1: {':submitters': [{':name': *c}]}",
        "x: " + "9" * 5000,
        "? [1, 2]\n: 3",
        "&a [*a]",
        "- 1",
        "\0",
    ],
)
def test_metadata_of_any_kind_stop_nothing(tmp_path, find, text):
    files = {"e/submission_metadata.yml": text, "e/submission_1/x.ipynb": NOTEBOOK}
    try:
        assert "e/submission_1/x.ipynb" in find(zipped(tmp_path / "e.zip", files)).values()
    except BadInput as error:
        assert "export it again" in str(error)


def test_expanding_aliases_in_metadata_take_no_memory(tmp_path, find):
    levels = "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]\n" for i in range(1, 30))
    text = f"x0: &x0 [lol]\n{levels}submission_1: {{':submitters': [{{':name': *x29, ':sid': 7}}]}}"
    found = find(
        zipped(tmp_path / "e.zip", {"submission_metadata.yml": text, "submission_1/x.ipynb": NOTEBOOK})
    )
    assert found["7"] == "submission_1/x.ipynb"
