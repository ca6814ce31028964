"""TA commands: `cs-vl build`, `release`, `grade`."""

import typer

app = typer.Typer()


@app.command()
def build() -> None:
    """build"""
