"""Checks of siglip."""

from cs_vl.checks.spec import Exercise

EXERCISES: tuple[Exercise, ...] = ()
