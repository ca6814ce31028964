"""Checks of byte-pair encoding."""

from cs_vl.checks.spec import Exercise

EXERCISES: tuple[Exercise, ...] = ()
