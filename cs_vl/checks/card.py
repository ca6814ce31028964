"""The report card: a few lines of text, or a small box in a notebook."""

from jinja2 import Environment, PackageLoader, select_autoescape

from cs_vl.checks.judge import StageVerdict, Verdict

MARKS = {"passed": "✓", "failed": "✗", "not run": "·", "missing": "○"}

templates = Environment(
    loader=PackageLoader("cs_vl.checks", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["number"] = lambda x: f"{x:g}"
templates.globals["marks"] = MARKS


def text(verdict: Verdict) -> str:
    """The card as plain text."""
    lines = [
        f"{MARKS.get(verdict.status, '✗')} {verdict.exercise}: "
        f"{verdict.points:g} of {verdict.out_of:g} points"
    ]
    if verdict.sentence and not verdict.passed:
        lines.append(f"  {verdict.sentence}")
    for stage in verdict.stages if not verdict.passed and verdict.status != "missing" else []:
        lines.append(f"  {MARKS.get(stage.status, '✗')} {stage.name}{_note(stage, verdict)}")
    return "\n".join(lines)


def _note(stage: StageVerdict, verdict: Verdict) -> str:
    parts = (
        []
        if stage.status == "passed"
        else [stage.sentence if stage.sentence != verdict.sentence else "", stage.detail]
    )
    said = " ".join(part for part in parts if part)
    shapes = f" [{stage.shapes}]" if stage.shapes else ""
    return f": {said}{shapes}" if said else shapes


def html(verdict: Verdict) -> str:
    """The card as HTML that needs no style sheet and no script."""
    return templates.get_template("card.html").render(verdict=verdict)


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
