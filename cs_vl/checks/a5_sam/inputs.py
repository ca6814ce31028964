"""A probe that several of SAM's checks share: are the inputs left as they were?"""

import torch


def leaves_inputs(run, names):
    """A probe: what comes out, and whether the inputs of these names are what they were.

    Args:
        run: `run(answer, inputs, **given)` -> (anything, named results), with `given` in the inputs' place.
    """

    def probe(answer, inputs):
        given = {name: inputs[name].clone() for name in names}
        with torch.no_grad():
            _, found = run(answer, inputs, **given)
        return {**found, **{f"{name} as before": torch.equal(x, inputs[name]) for name, x in given.items()}}

    return probe
