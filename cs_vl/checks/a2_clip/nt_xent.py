"""Checks of nt_xent."""

from cs_vl.checks.spec import Exercise

EXERCISES: tuple[Exercise, ...] = ()
