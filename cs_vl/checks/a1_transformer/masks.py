"""Checks of masks."""

from cs_vl.checks.spec import Exercise

EXERCISES: tuple[Exercise, ...] = ()
