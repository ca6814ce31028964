"""How good captions are: n-grams that they share with people's, and objects that they name or invent.

`corpus_scores` leaves BLEU and chrF to sacrebleu: maintained, the field's reference for both, with nothing
to download and no Java.  COCO's captions are reported with CIDEr, METEOR and SPICE, too; these stand in
pycocoevalcap (last release 2020), which starts Java to split words and downloads a parser for SPICE.  nltk's
METEOR downloads WordNet; torchmetrics follows sacrebleu in what it has.

Such scores are blind to what matters most: "a fox and a car" and "a fox and a cat" share nearly all n-grams.
`object_scores` counts exactly that.
"""

import re
from collections.abc import Mapping, Sequence

from cs_vl.data.captions import plural


def corpus_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-4 (Papineni et al. 2002) and chrF (Popovic 2015) over all captions: {"BLEU", "chrF", "n"}.

    Both are in 0 to 100, as they are always reported, and are counted over the corpus as a whole, which is
    no mean over captions.  Case is ignored.  BLEU has the standard 13a tokenizer and exponential smoothing;
    where no caption has four words, it goes up to the longest n-grams that there are.  chrF has character
    6-grams and counts recall twice (beta = 2).  No captions score 0, with n = 0.

    Args:
        references: for each caption, one or more right ones, not necessarily equally many.

    Raises:
        ImportError: sacrebleu is not installed.
        ValueError: not as many reference lists as captions, or an empty one.
    """
    _check_lengths(captions, references, "lists of references")
    for i, right in enumerate(references):
        if isinstance(right, str) or not right:
            raise ValueError(f"caption {i} needs a list of one reference or more; got {right!r}")
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise ImportError(
            "corpus_scores needs sacrebleu, which is not installed: `pip install sacrebleu`; "
            "object_scores does without it"
        ) from None
    if not captions:
        return {"BLEU": 0.0, "chrF": 0.0, "n": 0}
    # sacrebleu wants first references together, then second ones, ...  Who has fewer repeats its first one,
    # which changes neither score.
    most = max(len(right) for right in references)
    streams = [[right[k] if k < len(right) else right[0] for right in references] for k in range(most)]
    metrics = {"BLEU": BLEU(lowercase=True, effective_order=True), "chrF": CHRF(lowercase=True)}
    scores = {name: metric.corpus_score(list(captions), streams).score for name, metric in metrics.items()}
    return {**scores, "n": len(captions)}


def name_forms(names: Sequence[str], synonyms: Mapping[str, str] | None = None) -> dict[str, str]:
    """How each name may appear in a text: {form, lower case: name}; the names, regular plurals, synonyms.

    Args:
        synonyms: further forms and whose they are: {"wolves": "wolf", "automobile": "car"}.  They win over
            names, and names win over plurals, where two look the same.

    Raises:
        ValueError: a synonym stands for no name.
    """
    forms = {}
    for name in names:
        if name.endswith("y") and name[-2:-1] not in tuple("aeiou"):
            forms[name[:-1].lower() + "ies"] = name
        forms[plural(name).lower()] = name
    forms |= {name.lower(): name for name in names}
    for form, name in (synonyms or {}).items():
        if name not in names:
            raise ValueError(f"{form!r} is given as a synonym of {name!r}, which is not among the names")
        forms[form.lower()] = name
    return {form: name for form, name in forms.items() if form}


def mentions(text: str, forms: Mapping[str, str]) -> list[tuple[int, int, str]]:
    """The names in a text, in order: (start, end, name), by whole words, in any case.

    Of forms that start at one place the longest counts, so "polar bear" is no mention of "bear".
    """
    if not forms:
        return []
    longest_first = sorted(forms, key=len, reverse=True)
    pattern = rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest_first))})(?![\w-])"
    return [(*m.span(), forms[m.group().lower()]) for m in re.finditer(pattern, text, re.IGNORECASE)]


def object_scores(
    captions: Sequence[str],
    present: Sequence[Sequence[str]],
    names: Sequence[str],
    synonyms: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """CHAIR (Rohrbach et al. 2018, sec. 3.2), and its complement: what captions invent, and what they miss.

    - "CHAIR_i": of the objects that are mentioned, the share that is not there.  Lower is better.
    - "CHAIR_s": of the captions, the share that mentions something that is not there.  Lower is better.
    - "precision": 1 - CHAIR_i, but 0 where nothing is mentioned.
    - "recall": of the objects that are there, the share that is mentioned.  CHAIR without it is easily
      fooled: who says nothing invents nothing.
    - "n": the number of captions.  All others are in [0, 1], and 0 where they would be a share of nothing.

    An object counts once a caption, however often it is named.  (The official code counts every mention:
    to name a true object again and again then makes an invented one weigh less.)  What is mentioned is found
    by `mentions`: words alone, so "no fox" mentions a fox, and how many there are is not compared.

    Args:
        present: the names of what each picture shows.
        names: all names that are looked for.  Others in a caption are not seen.
        synonyms: see `name_forms`; irregular plurals belong here.

    Raises:
        ValueError: not as many lists as captions, or a name in `present` is not among the names.
    """
    _check_lengths(captions, present, "lists of what is present")
    forms, known = name_forms(names, synonyms), set(names)
    strange = sorted({name for there in present for name in there} - known)
    if strange:
        raise ValueError(f"{strange[0]!r} is present in a picture, but not among the names")
    said = [{name for _, _, name in mentions(caption, forms)} for caption in captions]
    there = [set(row) for row in present]
    mentioned, existing = sum(map(len, said)), sum(map(len, there))
    invented = sum(len(s - t) for s, t in zip(said, there, strict=True))
    inventing = sum(bool(s - t) for s, t in zip(said, there, strict=True))
    right = mentioned - invented
    return {
        "CHAIR_i": _share(invented, mentioned),
        "CHAIR_s": _share(inventing, len(captions)),
        "precision": _share(right, mentioned),
        "recall": _share(right, existing),
        "n": len(captions),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _check_lengths(captions: Sequence[str], others: Sequence, what: str) -> None:
    if len(captions) != len(others):
        raise ValueError(f"each caption needs one of the {what}; got {len(captions)} and {len(others)}")
