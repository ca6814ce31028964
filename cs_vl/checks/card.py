"""The report card: a few lines of text, or a small box in a notebook."""

from jinja2 import Environment, PackageLoader, select_autoescape

from cs_vl.checks.judge import StageVerdict, Verdict

MARKS = {"passed": "✓", "failed": "✗", "not run": "·", "missing": "○"}


def html_templates(package: str) -> Environment:
    """The HTML templates of a package; whatever is put into them is escaped."""
    templates = Environment(
        loader=PackageLoader(package, "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = lambda x: f"{x:g}"
    return templates


templates = html_templates("cs_vl.checks")
templates.globals["marks"] = MARKS


def text(verdict: Verdict) -> str:
    """The card as plain text."""
    lines = [
        f"{MARKS.get(verdict.status, '✗')} {verdict.exercise}: "
        f"{verdict.points:g} of {verdict.out_of:g} points"
    ]
    if not verdict.passed:
        lines += [f"  {sentence}" for sentence in (verdict.sentence, verdict.note) if sentence]
        lines += [f"  {MARKS.get(stage.status, '✗')} {stage.name}{note}" for stage, note in rows(verdict)]
    return "\n".join(lines)


def rows(verdict: Verdict) -> list[tuple[StageVerdict, str]]:
    """Each stage with what there is to say of it: the numbers of the first that fails, and no more."""
    found: list[tuple[StageVerdict, str]] = []
    told = verdict.status == "missing"
    for stage in verdict.stages if verdict.status != "missing" else []:
        note = ""
        if stage.status == "not run":
            note = f": {stage.sentence}" if stage.sentence else ""
        elif stage.status != "passed" and not told:
            told = True
            sentence = stage.sentence if not verdict.mistake and stage.sentence != verdict.sentence else ""
            shapes = f"[{stage.shapes}]" if stage.shapes else ""
            note = " ".join(part for part in (sentence, stage.detail, shapes) if part)
            note = f": {note}" if note else ""
        found.append((stage, note))
    return found


def html(verdict: Verdict) -> str:
    """The card as HTML that needs no style sheet and no script."""
    return templates.get_template("card.html").render(verdict=verdict, rows=rows(verdict))


class Card:
    """What a notebook displays: HTML where it can, text elsewhere."""

    def __init__(self, verdict: Verdict):
        self.verdict = verdict

    def __repr__(self) -> str:
        return text(self.verdict)

    def _repr_html_(self) -> str:
        return html(self.verdict)


def show(verdict: Verdict) -> None:
    """Display the card in a notebook, print it elsewhere."""
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text(verdict))
        return
    shell = get_ipython()  # type: ignore[no-untyped-call]
    if shell is not None and shell.has_trait("kernel"):
        display(Card(verdict))  # type: ignore[no-untyped-call]
    else:
        print(text(verdict))
