"""Text that students wrote, made harmless: cut, steering characters spelled out, escaped; and safe file names."""

import hashlib
import re

from markupsafe import Markup, escape

from autograder.reader import printable
from cs_vl.checks.judge import StageVerdict, Verdict

LONGEST = 600  # characters of one note, name or sentence in a page
_MARKS = (
    "\u0300-\u036f\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # set above or below a letter
)
_WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}


def shown(text: str, longest: int = LONGEST) -> str:
    """One line, no longer than `longest`, without characters that steer (direction of writing, terminals, tabs) and
    without towers of accents, which would cover other lines.
    """
    cut = f" … ({len(text):,} characters)" if len(text) > longest else ""
    text = re.sub(rf"([{_MARKS}]{{3}})[{_MARKS}]+", r"\1", text[:longest])
    return printable(re.sub(r"\s+", " ", text).strip()) + cut


def with_code(sentence: str, longest: int = LONGEST) -> Markup:
    """A sentence whose `backticks` become code; all else is escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(shown(sentence, longest)))))


def page_name(student: str, suffix: str = ".html") -> str:
    """A file name for any student id, of plain ASCII; two ids never share one.

    Ids that a file system could take for one another (by case, by accents) or for something else ("..", "con") get a
    hash, after a dot that no other name holds.
    """
    plain = re.sub(r"[^a-z0-9_-]", "_", student.lower())[:40].lstrip("-") or "_"
    if plain != student or plain in _WINDOWS:
        plain += "." + hashlib.sha256(student.encode(errors="surrogatepass")).hexdigest()[:16]
    return plain + suffix


def said(line: Verdict | StageVerdict, where: str = "") -> str:
    """Its sentence, without the line of code, which stands beside it.

    Args:
        where: the line, for a stage.
    """
    where = where or getattr(line, "where", "")
    return line.sentence.replace(f" ({where})", "") if where else line.sentence
