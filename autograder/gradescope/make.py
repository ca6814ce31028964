"""Make the zip that Gradescope's "Configure Autograder" takes.

It holds the course as it lies in the repository, less what grading does not need (data, other assignments, the sample
class): with an editable install all is where grading looks for it, and nothing has to be built first.  It holds the answers
and the secret: it is for Gradescope alone.
"""

import secrets
import zipfile
from pathlib import Path

from autograder.build.notebooks import ROOT, student_path
from autograder.release import DATE
from cs_vl.checks.spec import Assignment

HERE = Path(__file__).parent
PACKAGES = ("cs_vl", "autograder")
FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
LEFT_OUT = ("__pycache__", "sample_class")
SECRET = "secret"


def make_upload(assignment: Assignment, target: Path, *, seconds: float, total: int) -> bool:
    """Write the zip; returns whether it keeps the secret of one that was there, so that regrades use the same cases.

    Args:
        seconds: the limit of one case of one stage.
        total: that of a submission; below the one that is set in Gradescope.

    Raises:
        FileNotFoundError: the student notebook has not been built.
        ValueError: `target` is there and is no such zip.
    """
    notebook = student_path(assignment.name)
    if not notebook.exists():
        raise FileNotFoundError(f"{notebook.name} is not built: run `make build` first")
    before = _secret(target)
    run = (HERE / "run_autograder").read_text(encoding="utf-8")
    for name, value in {
        "ASSIGNMENT": assignment.name,
        "SECONDS": f"{seconds:g}",
        "TOTAL": str(total),
    }.items():
        run = run.replace(f"@{name}@", value)
    files = {
        "setup.sh": (HERE / "setup.sh").read_bytes(),
        "run_autograder": run.encode(),
        SECRET: before or str(secrets.randbits(48) + 1).encode(),
    }
    for path in [*(ROOT / name for name in FILES), notebook, *_sources()]:
        files[f"course/{path.relative_to(ROOT).as_posix()}"] = path.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(target.name + ".draft")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, DATE)  # the same sources and secret give the same zip
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name in ("setup.sh", "run_autograder") else 0o644) << 16
            archive.writestr(entry, data)
    draft.chmod(0o600)
    draft.replace(target)
    return before is not None


def _sources() -> list[Path]:
    found = [path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()]
    return sorted(
        path for path in found if not any(part in LEFT_OUT for part in path.relative_to(ROOT).parts)
    )


def _secret(target: Path) -> bytes | None:
    if not target.exists():
        return None
    try:
        with zipfile.ZipFile(target) as archive:
            return archive.read(SECRET)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{target} is there, and was not made by this command: delete it, or choose another name with -o"
        ) from error
