"""Checks of text transformers."""

from cs_vl.checks.spec import Exercise

EXERCISES: tuple[Exercise, ...] = ()
