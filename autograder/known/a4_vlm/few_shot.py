"""Known answers: labels compared after some examples."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

SCORES = "few_shot_scores"


@alternative(SCORES)
def padded_behind(read, shots, labels, *, image_id, eoc_id, prefix=()):
    """All labels in one batch."""
    prompt = []
    for shot in shots:
        prompt.extend([image_id, *prefix, *shot, eoc_id])
    prompt.extend([image_id, *prefix])
    texts = [torch.tensor(prompt + list(label) + [eoc_id]) for label in labels]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=0)
    ends = torch.tensor([len(text) for text in texts])
    log_p = F.log_softmax(read(ids)[:, :-1], dim=-1)
    picked = torch.gather(log_p, 2, ids[:, 1:, None]).squeeze(-1)
    at = torch.arange(1, ids.shape[1])
    return (picked * ((at >= len(prompt)) & (at < ends[:, None]))).sum(dim=1)


@alternative(SCORES)
def by_cross_entropy(read, shots, labels, *, image_id, eoc_id, prefix=()):
    """Labels as a training loss takes them: -100 where nothing is asked."""
    context = []
    for shot in shots:
        context += [image_id, *prefix, *shot, eoc_id]
    context += [image_id, *prefix]
    losses = []
    for label in labels:
        text = torch.LongTensor([context + list(label) + [eoc_id]])
        target = text.clone()
        target[:, : len(context)] = -100
        logits = read(text)
        losses.append(
            F.cross_entropy(
                logits[:, :-1].flatten(0, 1), target[:, 1:].flatten(), ignore_index=-100, reduction="sum"
            )
        )
    return -torch.stack(losses)


@alternative(SCORES)
def token_by_token(read, shots, labels, *, image_id, eoc_id, prefix=()):
    """The text grows by one token at a time."""
    scores = torch.zeros(len(labels))
    with torch.no_grad():
        for i, label in enumerate(labels):
            text = []
            for shot in shots:
                text.append(image_id)
                text.extend(prefix)
                text.extend(shot)
                text.append(eoc_id)
            text.append(image_id)
            text.extend(prefix)
            for token in [*label, eoc_id]:
                last = read(torch.tensor(text)[None])[0, -1]
                scores[i] += last[token] - last.logsumexp(dim=0)
                text.append(token)
    return scores


@alternative(SCORES)
def whole_text_less_prompt(read, shots, labels, *, image_id, eoc_id, prefix=()):
    """log p(prompt, label) - log p(prompt)."""

    def log_likelihood(text):
        ids = torch.tensor(text)
        log_p = read(ids.unsqueeze(0)).squeeze(0).log_softmax(-1)
        return log_p[torch.arange(len(ids) - 1), ids[1:]].double().sum()

    prompt = [t for shot in shots for t in (image_id, *prefix, *shot, eoc_id)] + [image_id, *prefix]
    return torch.tensor(
        [log_likelihood([*prompt, *label, eoc_id]) - log_likelihood(prompt) for label in labels]
    )


@alternative(SCORES)
def in_numpy(read, shots, labels, *, image_id, eoc_id, prefix=()):
    start = np.array([image_id, *prefix], dtype=np.int64)
    parts = [np.concatenate([start, np.asarray(shot, dtype=np.int64), [eoc_id]]) for shot in shots]
    prompt = np.concatenate([*parts, start])
    scores = []
    for label in labels:
        answer = np.array([*label, eoc_id])
        logits = read(torch.from_numpy(np.concatenate([prompt, answer]))[None])[0].numpy().astype(np.float64)
        logits = logits[len(prompt) - 1 : len(prompt) - 1 + len(answer)]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        scores.append(log_p[np.arange(len(answer)), answer].sum())
    return torch.tensor(scores, dtype=torch.float32)


@alternative(SCORES)
def labels_of_a_length_together(read, shots, labels, *, image_id, eoc_id, prefix=()):
    def block(tokens):
        return torch.tensor([image_id, *prefix, *tokens, eoc_id])

    prompt = torch.cat([block(shot) for shot in shots] + [block([])[:-1]])
    scores = torch.empty(len(labels))
    for length in {len(label) for label in labels}:
        index = [i for i, label in enumerate(labels) if len(label) == length]
        answers = torch.tensor([[*labels[i], eoc_id] for i in index])
        logits = read(torch.cat([prompt.expand(len(index), -1), answers], dim=1))[:, -length - 2 : -1]
        scores[index] = logits.log_softmax(-1).gather(2, answers.unsqueeze(2)).sum(dim=(1, 2))
    return scores


# --- mistakes: variations of one plain answer ------------------------------------------------------------


def prompt_of(shots, image_id, eoc_id, prefix):
    return [t for shot in shots for t in (image_id, *prefix, *shot, eoc_id)] + [image_id, *prefix]


def log_softmax(logits):
    return logits.log_softmax(dim=-1)


def picked(read, prompt, answer, shift=1, soften=log_softmax):
    """log p of each token of the answer, behind the prompt; right with shift=1."""
    ids = torch.tensor([*prompt, *answer])
    log_p = soften(read(ids[None])[0])
    at = (torch.arange(len(prompt), len(ids)) - shift).clamp(min=0)
    return log_p[at, ids[len(prompt) :]]


def scored(read, prompt, labels, eoc_id, score=lambda log_p: log_p.sum(), soften=log_softmax):
    """The right scores behind a prompt; `score` makes one number of a label's log p."""
    return torch.stack([score(picked(read, prompt, [*label, eoc_id], soften=soften)) for label in labels])


@mistake(
    SCORES,
    "You read each token's log-likelihood off the logits at the token itself: those at i are of token i + 1.",
)
def not_shifted(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return torch.stack([picked(read, prompt, [*label, eoc_id], shift=0).sum() for label in labels])


@mistake(SCORES, "You shifted by two: the logits at i are of token i + 1, one place on.")
def shifted_twice(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return torch.stack([picked(read, prompt, [*label, eoc_id], shift=2).sum() for label in labels])


@mistake(SCORES, "You did not count the label's <eoc>: its log-likelihood is part of the score.")
def eoc_not_scored(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p[:-1].sum())


@mistake(SCORES, "You left out the label's first token: the logits at the prompt's last token are of it.")
def first_token_not_scored(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p[1:].sum())


@mistake(SCORES, "You counted the label's first token alone: all its tokens count, and its <eoc>.")
def first_token_only(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p[0])


@mistake(SCORES, "You counted the <eoc> alone: the label's own tokens count, too.")
def eoc_only(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p[-1])


@mistake(SCORES, "You averaged over the label's tokens: add them up.")
def mean(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p.mean())


@mistake(SCORES, "You divided by the label's length: the sum itself is the log-likelihood.")
def divided_by_length(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p.sum() / (len(log_p) - 1))


@mistake(SCORES, "You averaged over the label's tokens and left its <eoc> out: add them up, the <eoc> too.")
def mean_without_eoc(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: log_p[:-1].mean())


@mistake(
    SCORES, "You scored the whole text: the label's tokens and its <eoc> alone count, given what is before."
)
def whole_text(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return torch.stack([picked(read, prompt[:1], [*prompt[1:], *label, eoc_id]).sum() for label in labels])


@mistake(SCORES, "You averaged over the whole text: add up what the label's tokens and its <eoc> get.")
def mean_of_the_whole_text(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return torch.stack([picked(read, prompt[:1], [*prompt[1:], *label, eoc_id]).mean() for label in labels])


@mistake(SCORES, "You scored the query's prefix as well: the label's tokens and its <eoc> alone count.")
def prefix_scored(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, ())
    before = prompt_of(shots, image_id, eoc_id, prefix)[: -len(prefix) or None]
    return torch.stack([picked(read, before or prompt, [*prefix, *label, eoc_id]).sum() for label in labels])


@mistake(SCORES, "You scored the token before the label as well: begin with the label's first token.")
def one_too_early(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    if len(prompt) == 1:
        return scored(read, prompt, labels, eoc_id)
    return torch.stack([picked(read, prompt[:-1], [prompt[-1], *label, eoc_id]).sum() for label in labels])


@mistake(SCORES, "You forgot the <eoc> behind each shot's label.")
def no_eoc_between_shots(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (image_id, *prefix, *shot)] + [image_id, *prefix]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "You put one <eoc> behind all shots: each shot's label has one.")
def one_eoc_for_all_shots(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (image_id, *prefix, *shot)] + [eoc_id] * bool(shots)
    return scored(read, [*prompt, image_id, *prefix], labels, eoc_id)


@mistake(SCORES, "You forgot the query's own <image>.")
def no_image_in_query(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    cut = len(prompt) - len(prefix) - 1
    prompt = prompt[:cut] + prompt[cut + 1 :]
    return scored(read, prompt or [eoc_id], labels, eoc_id)


@mistake(SCORES, "You forgot the shots' <image> tokens: each shot shows an image.")
def no_images_in_shots(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (*prefix, *shot, eoc_id)] + [image_id, *prefix]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "You put all <image> tokens at the beginning: each stands before its own text.")
def images_first(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [image_id] * (len(shots) + 1) + [t for shot in shots for t in (*prefix, *shot, eoc_id)]
    return scored(read, [*prompt, *prefix], labels, eoc_id)


@mistake(SCORES, "You put each shot's <image> behind its text: it stands before it.")
def images_behind(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (*prefix, *shot, image_id, eoc_id)] + [image_id, *prefix]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "Your shots stand in reverse: keep their order, which is that of the images.")
def shots_reversed(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots[::-1], image_id, eoc_id, prefix), labels, eoc_id)


@mistake(SCORES, "You left out the shots: they stand before the query.")
def no_shots(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of([], image_id, eoc_id, prefix), labels, eoc_id)


@mistake(
    SCORES, "You used the last shot alone (is the prompt overwritten in a loop?): all of them, in order."
)
def last_shot_only(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots[-1:], image_id, eoc_id, prefix), labels, eoc_id)


@mistake(SCORES, "You used the first shot alone: all of them, in order.")
def first_shot_only(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots[:1], image_id, eoc_id, prefix), labels, eoc_id)


@mistake(SCORES, "You left out the last shot: all of them, in order.")
def last_shot_missing(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots[:-1], image_id, eoc_id, prefix), labels, eoc_id)


@mistake(SCORES, "The shots' prefix is missing: it stands between each image and its label.")
def no_prefix_in_shots(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (image_id, *shot, eoc_id)] + [image_id, *prefix]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "The query's prefix is missing: it stands between its image and the label.")
def no_prefix_in_query(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (image_id, *prefix, *shot, eoc_id)] + [image_id]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "You left out the prefix: it stands between each image, the query's too, and its label.")
def no_prefix(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, ()), labels, eoc_id)


@mistake(SCORES, "You put the prefix before the image: it stands between the image and the label.")
def prefix_before_image(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = [t for shot in shots for t in (*prefix, image_id, *shot, eoc_id)] + [*prefix, image_id]
    return scored(read, prompt, labels, eoc_id)


@mistake(SCORES, "You put the prefix once, in front of everything: it stands behind each image.")
def prefix_once(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, [*prefix, *prompt_of(shots, image_id, eoc_id, ())], labels, eoc_id)


@mistake(SCORES, "You put an <eoc> before the label, too: one follows it, none comes before it.")
def eoc_before_the_label(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, [*prompt_of(shots, image_id, eoc_id, prefix), eoc_id], labels, eoc_id)


@mistake(SCORES, "You put an <eoc> in front of the text: it begins with the first image.")
def eoc_in_front(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, [eoc_id, *prompt_of(shots, image_id, eoc_id, prefix)], labels, eoc_id)


@mistake(SCORES, "You put another <image> behind the label and scored it in place of <eoc>.")
def image_behind_the_label(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, image_id)


@mistake(SCORES, "You exchanged image_id and eoc_id.")
def ids_exchanged(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, eoc_id, image_id, prefix), labels, image_id)


def from_logits(read, prompt, labels, eoc_id, score):
    """Scores where `score` sees the logits of the label's tokens, and the tokens."""
    found = []
    for label in labels:
        ids = torch.tensor([*prompt, *label, eoc_id])
        found.append(score(read(ids[None])[0, len(prompt) - 1 : -1], ids[len(prompt) :, None]))
    return torch.stack(found)


@mistake(SCORES, "You added up logits: take the log-softmax over the vocabulary first.")
def logits_summed(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return from_logits(read, prompt, labels, eoc_id, lambda x, ids: x.gather(1, ids).sum())


@mistake(SCORES, "You added up probabilities: their *logarithms* add up, as probabilities multiply.")
def probabilities_summed(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return from_logits(read, prompt, labels, eoc_id, lambda x, ids: x.softmax(dim=-1).gather(1, ids).sum())


@mistake(
    SCORES, "Your softmax runs over the tokens of the text: it runs over the vocabulary, the last dimension."
)
def softmax_over_the_text(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return from_logits(read, prompt, labels, eoc_id, lambda x, ids: x.log_softmax(dim=0).gather(1, ids).sum())


@mistake(
    SCORES,
    "Your softmax runs over the places of the text: the likelihoods of the next token sum to 1 over the vocabulary.",
)
def softmax_over_the_whole_text(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, soften=lambda x: x.log_softmax(dim=0))


@mistake(
    SCORES,
    "You took the logarithm of a softmax, which is exactly 0 for what is very unlikely: log_softmax never has to leave "
    "the logarithm.",
)
def log_of_softmax(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, soften=lambda x: x.softmax(dim=-1).log())


@mistake(
    SCORES,
    "You added a small number to a softmax before its logarithm, so that all that is very unlikely gets the same score: "
    "log_softmax needs no such number.",
)
def log_of_softmax_and_a_bit(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, soften=lambda x: (x.softmax(dim=-1) + 1e-9).log())


@mistake(SCORES, "You returned likelihoods: return their logarithms.")
def likelihoods(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).exp()


@mistake(
    SCORES, "Your sign is turned round: yours is the loss; the likelier label should have the larger score."
)
def negative(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return -scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id)


@mistake(
    SCORES, "You returned the mean cross entropy: return the sum of log-likelihoods, which is its negative."
)
def mean_loss(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    return scored(read, prompt, labels, eoc_id, lambda log_p: -log_p.mean())


@mistake(
    SCORES,
    "You read the labels one after the other in one text: each label has a text of its own, with the same prompt.",
)
def one_text_for_all(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, scores = prompt_of(shots, image_id, eoc_id, prefix), []
    for label in labels:
        scores.append(picked(read, prompt, [*label, eoc_id]).sum())
        prompt = [*prompt, *label, eoc_id]
    return torch.stack(scores)


@mistake(
    SCORES,
    "You put each label's text behind those of the labels before it: each has a text of its own, with the same prompt.",
)
def texts_pile_up(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, scores = prompt_of(shots, image_id, eoc_id, prefix), []
    for label in labels:
        scores.append(picked(read, prompt, [*label, eoc_id]).sum())
        prompt = [*prompt, *label, eoc_id, image_id, *prefix]
    return torch.stack(scores)


@mistake(
    SCORES,
    "You read all of the label's tokens off the logits at the prompt's end: each token is predicted by all before it, "
    "those of the label too.",
)
def all_from_the_prompts_end(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt = prompt_of(shots, image_id, eoc_id, prefix)
    log_p = read(torch.tensor([prompt]))[0, -1].log_softmax(dim=-1)
    return torch.stack([log_p[torch.tensor([*label, eoc_id])].sum() for label in labels])


@mistake(SCORES, "You scored the padding, too: leave out what stands behind a label's <eoc>.")
def padding_scored(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, longest = prompt_of(shots, image_id, eoc_id, prefix), max(map(len, labels))
    padded = [[*label, *[eoc_id] * (longest + 1 - len(label))] for label in labels]
    return torch.stack([picked(read, prompt, label).sum() for label in padded])


@mistake(
    SCORES, "You padded in front, which moves all tokens to other places: pad behind, or read text by text."
)
def padded_in_front(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, longest = prompt_of(shots, image_id, eoc_id, prefix), max(map(len, labels))
    fronts = [[eoc_id] * (longest - len(label)) for label in labels]
    rows = [
        picked(read, front + prompt, [*label, eoc_id]) for front, label in zip(fronts, labels, strict=True)
    ]
    return torch.stack([row.sum() for row in rows])


@mistake(SCORES, "You scored the padding, too: only the label's own tokens and its one <eoc> count.")
def padding_of_zeros_scored(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, longest = prompt_of(shots, image_id, eoc_id, prefix), max(map(len, labels))
    padded = [[*label, eoc_id, *[0] * (longest - len(label))] for label in labels]
    return torch.stack([picked(read, prompt, label).sum() for label in padded])


@mistake(
    SCORES,
    "You padded on the left, which moves every token of the shorter texts: fill up behind their end.",
)
def padded_on_the_left(read, shots, labels, *, image_id, eoc_id, prefix=()):
    prompt, longest = prompt_of(shots, image_id, eoc_id, prefix), max(map(len, labels))
    fronts = [[0] * (longest - len(label)) for label in labels]
    rows = [
        picked(read, front + prompt, [*label, eoc_id]) for front, label in zip(fronts, labels, strict=True)
    ]
    return torch.stack([row.sum() for row in rows])


@mistake(
    SCORES, "You made a distribution over the labels of the scores: return the log-likelihoods themselves."
)
def softmax_over_labels(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).softmax(dim=0)


@mistake(SCORES, "You normalised the scores over the labels: return the log-likelihoods as they are.")
def log_softmax_over_labels(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).log_softmax(dim=0)


@mistake(SCORES, "You returned the best label alone: return a score for each.")
def best_label(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).argmax()


@mistake(SCORES, "You added up the scores of all labels: return one for each.")
def all_labels_in_one(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).sum()


@mistake(SCORES, "You sorted the scores: score i is of label i.")
def sorted_scores(read, shots, labels, *, image_id, eoc_id, prefix=()):
    return (
        scored(read, prompt_of(shots, image_id, eoc_id, prefix), labels, eoc_id).sort(descending=True).values
    )
