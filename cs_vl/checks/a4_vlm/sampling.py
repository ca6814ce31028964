"""Checks of the probabilities that the next token is drawn with: temperature, top-k, top-p."""

import numpy as np
import torch

from cs_vl.checks.spec import Exercise, Stage

MARGIN = 2e-3  # no sum of probabilities lies nearer to top_p: who stays is never a matter of rounding


def likeliest_first(rng, batch, vocab):
    """Probabilities in each row, from rows that are nearly sure to rows that are not."""
    weights = np.exp(rng.uniform(0.7, 2.5, (batch, 1)) * rng.standard_normal((batch, vocab)))
    return -np.sort(-weights / weights.sum(axis=1, keepdims=True), axis=1)


def logits_of(rng, p, temperature=1.0):
    """Logits that have these probabilities at a temperature, each row in an order of its own."""
    logits = temperature * np.log(p) + rng.uniform(-2, 9, (len(p), 1))
    return torch.from_numpy(rng.permuted(logits, axis=1)).float()


def temperature_case(rng):
    temperature = float(rng.choice([rng.uniform(0.4, 0.7), rng.uniform(1.5, 2.5)]))
    return {"logits": logits_of(rng, likeliest_first(rng, 4, 7)), "temperature": temperature}


def top_k_case(rng):
    k, temperature = int(rng.integers(2, 6)), float(rng.uniform(0.6, 1.6))
    return {"logits": logits_of(rng, likeliest_first(rng, 5, 11)), "temperature": temperature, "top_k": k}


def short_of(p, top_p):
    """How many of the likeliest tokens add up to less than top_p; None where one of the sums is too near."""
    sums = p.cumsum(axis=1)
    return None if np.abs(sums - top_p).min() < MARGIN else (sums < top_p).sum(axis=1)


def top_p_case(rng):
    """In one row the likeliest token is enough, in another four or more are needed."""
    while True:
        p, top_p = likeliest_first(rng, 6, 11), float(rng.uniform(0.65, 0.9))
        short = short_of(p, top_p)
        if short is not None and short.min() == 0 and short.max() > 2:
            return {"logits": logits_of(rng, p), "top_p": top_p}


def together_case(rng):
    """The order of the steps makes a difference to who stays."""
    while True:
        k, top_p, temperature = int(rng.integers(3, 7)), rng.uniform(0.5, 0.9), rng.uniform(1.4, 2.0)
        p = likeliest_first(rng, 6, 13)
        colder = p**temperature  # at temperature 1
        orders = [short_of(q / q.sum(axis=1, keepdims=True), top_p) for q in (p[:, :k], p, colder[:, :k])]
        if any(short is None for short in orders):
            continue
        right, p_before_k, temperature_last = orders
        if (right < np.minimum(p_before_k, k - 1)).any() and (right != temperature_last).any():
            settings = {"temperature": float(temperature), "top_k": k, "top_p": float(top_p)}
            return {"logits": logits_of(rng, p, temperature), **settings}


def stays(p):
    """Which tokens can be drawn at all."""
    return torch.as_tensor(p) > 0


def probabilities(fn, inputs):
    settings = {name: value for name, value in inputs.items() if name != "logits"}
    p = fn(inputs["logits"].clone(), **settings)
    return {"probabilities": p, "tokens that stay": stays(p)}


def warmer_and_colder(fn, inputs):
    logits, temperature = inputs["logits"], inputs["temperature"]
    return {
        "probabilities": fn(logits.clone(), temperature),
        "probabilities at temperature 1": fn(logits.clone()),
    }


def greedy(fn, inputs):
    logits = inputs["logits"]
    return {
        "probabilities at temperature 0": fn(logits.clone(), 0.0),
        "the same with top_k and top_p": fn(logits.clone(), 0.0, inputs["top_k"], 0.8),
    }


def limits(fn, inputs):
    """Nothing to cut; one token alone; and logits that are far from 0."""
    logits, temperature, k = inputs["logits"], inputs["temperature"], inputs["top_k"]
    steps = logits.argsort(dim=1).argsort(dim=1).float()  # in the same order, each 1 above the one before
    everyone = {
        "top_k of all tokens": fn(logits.clone(), temperature, top_k=logits.shape[1]),
        "top_k of more tokens than there are": fn(logits.clone(), temperature, top_k=logits.shape[1] + k),
        "top_p of 1": fn(logits.clone(), temperature, top_p=1.0),
        "top_p of 1 behind top_k": fn(logits.clone(), temperature, k, 1.0),
    }
    return {
        **{f"probabilities at {what}": p for what, p in everyone.items()},
        "probabilities at top_k of 1": fn(logits.clone(), temperature, top_k=1),
        "probabilities at a very small top_p": fn(logits.clone(), temperature, top_p=1e-4),
        "probabilities of large logits": fn(logits + 120 * temperature, temperature, k),
        "probabilities of very negative logits": fn(logits - 120 * temperature, temperature, k),
        "tokens that stay of logits near -131072": stays(fn(steps - 2.0**17, top_k=k)),
    }


NEXT_TOKEN_PROBABILITIES = Exercise(
    name="next_token_probabilities",
    module="cs_vl.models.sampling",
    stages=(
        Stage(
            name="temperature",
            points=1,
            case=temperature_case,
            probe=warmer_and_colder,
            hint="Divide the logits by the temperature, then take a softmax over the vocabulary.",
        ),
        Stage(
            name="temperature 0",
            points=1,
            case=top_k_case,
            probe=greedy,
            hint="At temperature 0 the token with the largest logit gets 1, all others get 0.",
        ),
        Stage(
            name="top-k",
            points=1,
            case=top_k_case,
            probe=probabilities,
            hint="In each row the k likeliest tokens stay, divided by their sum; the others get 0.",
        ),
        Stage(
            name="top-p",
            points=2,
            case=top_p_case,
            probe=probabilities,
            hint="Add up from the likeliest token on until top_p is reached; the one that reaches it stays.",
        ),
        Stage(
            name="all three",
            points=1,
            case=together_case,
            probe=probabilities,
            hint="First the temperature, then top_k, then top_p on what top_k left, divided by its sum.",
        ),
        Stage(
            name="limits",
            kind="property",
            points=1,
            case=top_k_case,
            probe=limits,
            needs=("top-k", "top-p"),
            hint="Where top_k or top_p lets all pass, all stay; one always does. Logits may be of any size.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (NEXT_TOKEN_PROBABILITIES,)
