"""`cs-vl grade` in the test's own process."""

from click.testing import Result
from typer.testing import CliRunner

import autograder.cli


def invoke(*arguments: object) -> Result:
    """Run it; anything but an orderly end is an error of the test."""
    result = CliRunner().invoke(autograder.cli.app, ["grade", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result
