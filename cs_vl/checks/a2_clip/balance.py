"""Checks of balancing: how likely each text is to be kept."""

from numbers import Real

import numpy as np

from cs_vl.checks.spec import Exercise, Stage


def entries_of_counts(rng, counts):
    """Each entry as often as its count says, in random order; entries have numbers with gaps."""
    numbers = rng.choice(3 * len(counts), len(counts), replace=False)
    return rng.permutation(np.repeat(numbers, counts)).tolist()


def one_entry_each(rng):
    """Entries rarer than the limit, as rare, and more frequent."""
    limit = int(rng.integers(3, 6))
    counts = [1, 2, limit, limit + 1, 2 * limit, 4 * limit + 1]
    return {"matches": [[entry] for entry in entries_of_counts(rng, counts)], "limit": float(limit)}


def several_entries(rng):
    """Two to four entries a text, all more frequent than the limit, which is no whole number."""
    share = rng.uniform(0.35, 0.9, 6)
    rows = [rng.permutation(np.flatnonzero(rng.random(6) < share)).tolist() for _ in range(40)]
    matches = [row for row in rows if 2 <= len(row) <= 4]
    limit = 2 + rng.uniform(0.2, 0.8)
    return {"matches": matches, "limit": float(limit)}


def some_without(rng):
    """Texts that nothing matches, first and last, too; and a limit that some entries do not reach."""
    matches = several_entries(rng)["matches"][:12]
    matches += [[20, 31], [31], [20]]
    for place in (0, int(rng.integers(3, 10)), len(matches) + 2):
        matches.insert(place, [])
    return {"matches": matches, "limit": 3.0}


def array(x):
    """A list of numbers is as good as an array."""
    numbers = isinstance(x, list | tuple) and all(isinstance(y, Real) for y in x)
    return np.asarray(x, dtype=np.float64) if numbers else x


def probability(fn, inputs):
    return {"probability": array(fn(inputs["matches"], inputs["limit"]))}


def probability_of_all(fn, inputs):
    """With the given limit, and with one that no entry reaches: then every text with a match is kept."""
    return {
        "probability": array(fn([list(entries) for entries in inputs["matches"]], inputs["limit"])),
        "probability under a high limit": array(fn(inputs["matches"], 100.5)),
    }


KEEP_PROBABILITY = Exercise(
    name="keep_probability",
    module="cs_vl.data.balance",
    stages=(
        Stage(name="one entry a text", points=1, case=one_entry_each, probe=probability),
        Stage(name="several entries a text", points=2, case=several_entries, probe=probability),
        Stage(
            name="no entry, and no frequent entry",
            kind="property",
            points=1,
            case=some_without,
            probe=probability_of_all,
            needs=("one entry a text",),
            hint="Some texts match nothing, some entries match fewer texts than the limit.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (KEEP_PROBABILITY,)
