"""Known answers: LLaVA's projector, images among words, labels, and what learns when."""

import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake
from cs_vl.losses.next_token import IGNORED
from cs_vl.models.llava import Projector

PROJECTOR = "Projector"
SPLICE = "splice_images"
LABELS = "answer_labels"
PHASE = "set_phase"

# --- the projector -----------------------------------------------------------------------------------


@alternative(PROJECTOR)
class AsInTheOfficialCode(Projector):
    def feature_select(self, image_forward_outs):
        image_features = image_forward_outs[self.layer]
        if self.class_token:
            image_features = image_features[:, 1:]
        return image_features

    def forward(self, hidden_states):
        layers = [self.fc1]
        if self.fc2 is not None:
            layers += [torch.nn.GELU(), self.fc2]
        return torch.nn.Sequential(*layers)(self.feature_select(hidden_states))


@alternative(PROJECTOR)
class ClassTokenDroppedAtTheEnd(Projector):
    def forward(self, hidden_states):
        x = F.linear(hidden_states[self.layer], self.fc1.weight, self.fc1.bias)
        if self.fc2:
            x = F.gelu(x, approximate="none") @ self.fc2.weight.T + self.fc2.bias
        return x[:, int(self.class_token) :, :]


@alternative(PROJECTOR)
class ByStackAndEinsum(Projector):
    def forward(self, hidden_states):
        stacked = torch.stack(list(hidden_states))
        first = 1 if self.class_token else 0
        x = torch.narrow(stacked[self.layer], 1, first, stacked.shape[2] - first)
        x = torch.einsum("npv,dv->npd", x, self.fc1.weight) + self.fc1.bias
        if self.fc2 is None:
            return x
        x = 0.5 * x * (1 + torch.erf(x / 2**0.5))
        return torch.einsum("npd,ed->npe", x, self.fc2.weight) + self.fc2.bias


@alternative(PROJECTOR)
class ByLoops(Projector):
    def forward(self, hidden_states):
        layer = self.layer if self.layer >= 0 else len(hidden_states) + self.layer
        projected = []
        for image in hidden_states[layer]:
            patches = list(image)[1:] if self.class_token else list(image)
            rows = [self.fc1(patch) for patch in patches]
            if self.fc2 is not None:
                rows = [self.fc2(torch.special.ndtr(row) * row) for row in rows]
            projected.append(torch.stack(rows))
        return torch.stack(projected)


class Mistaken(Projector):
    """Right as it stands; each mistake changes one step."""

    def pick(self, hidden_states):
        return hidden_states[self.layer]

    def patches(self, x):
        return x[:, 1:] if self.class_token else x

    def activate(self, x):
        return F.gelu(x)

    def project(self, x):
        x = self.fc1(x)
        return x if self.fc2 is None else self.fc2(self.activate(x))

    def forward(self, hidden_states):
        return self.project(self.patches(self.pick(hidden_states)))


@mistake(PROJECTOR, "You always take the last hidden state: which one is said by `self.layer`.")
class AlwaysTheLast(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[-1]


@mistake(PROJECTOR, "Your -2 is fixed: take hidden_states[self.layer].")
class AlwaysTheLastButOne(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[-2]


@mistake(
    PROJECTOR,
    "Your layer is one too early: hidden_states[self.layer] needs no correction, -2 is the last but one.",
)
class OneTooEarly(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[(self.layer - 1) % len(hidden_states)]


@mistake(
    PROJECTOR,
    "Your layer is one too late: hidden_states[self.layer] needs no correction, -2 is the last but one.",
)
class OneTooLate(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[(self.layer + 1) % len(hidden_states)]


@mistake(
    PROJECTOR,
    "You count layers without the first hidden state, which enters block 0: index hidden_states as they are.",
)
class WithoutTheFirstState(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[1:][self.layer]


@mistake(
    PROJECTOR,
    "You took the sign off the layer or counted from the wrong end: -2 counts from the end, 0 from the start.",
)
class FromTheWrongEnd(Mistaken):
    def pick(self, hidden_states):
        return hidden_states[-self.layer]


@mistake(
    PROJECTOR, "You average the hidden states; only one of them is asked for, hidden_states[self.layer]."
)
class MeanOfLayers(Mistaken):
    def pick(self, hidden_states):
        return torch.stack(tuple(hidden_states)).mean(0)


@mistake(
    PROJECTOR,
    "You add up the hidden states from the layer on; only one of them is asked for, hidden_states[self.layer].",
)
class SumFromTheLayerOn(Mistaken):
    def pick(self, hidden_states):
        return sum(hidden_states[self.layer :])


@mistake(
    PROJECTOR,
    "You keep the class token: where class_token is True the first token of each image is left out, x[:, 1:].",
)
class ClassTokenKept(Mistaken):
    def patches(self, x):
        return x


@mistake(PROJECTOR, "You leave out the last token; the class token is the first: x[:, 1:].")
class LastTokenLeftOut(Mistaken):
    def patches(self, x):
        return x[:, :-1] if self.class_token else x


@mistake(
    PROJECTOR,
    "You leave out the first token in any case: without a class token it is a patch like the others.",
)
class FirstTokenAlwaysLeftOut(Mistaken):
    def patches(self, x):
        return x[:, 1:]


@mistake(
    PROJECTOR,
    "You have it the other way round: the first token is left out where class_token is True, not where it is False.",
)
class ClassTokenInverted(Mistaken):
    def patches(self, x):
        return x if self.class_token else x[:, 1:]


@mistake(PROJECTOR, "x[1:] leaves out the first image: the tokens are the second dimension, x[:, 1:].")
class FirstImageLeftOut(Mistaken):
    def patches(self, x):
        return x[1:] if self.class_token else x


@mistake(PROJECTOR, "You keep only the class token; it is the patches that are asked for.")
class OnlyTheClassToken(Mistaken):
    def patches(self, x):
        return x[:, :1] if self.class_token else x


@mistake(PROJECTOR, "You set the class token to zero: it has to go, so that only patches are left.")
class ClassTokenZeroed(Mistaken):
    def patches(self, x):
        return F.pad(x[:, 1:], (0, 0, 1, 0)) if self.class_token else x


@mistake(PROJECTOR, "You average the patches; each of them becomes a token of its own.")
class MeanOfPatches(Mistaken):
    def patches(self, x):
        return super().patches(x).mean(1, keepdim=True)


@mistake(PROJECTOR, "Your GELU is its tanh form; the exact one is asked for, F.gelu(x).")
class TanhGELU(Mistaken):
    def activate(self, x):
        return F.gelu(x, approximate="tanh")


@mistake(
    PROJECTOR, "You took CLIP's quick GELU, x * sigmoid(1.702 x); the exact one is asked for, F.gelu(x)."
)
class QuickGELU(Mistaken):
    def activate(self, x):
        return x * torch.sigmoid(1.702 * x)


@mistake(PROJECTOR, "You took ReLU between the layers; it is GELU.")
class ReLU(Mistaken):
    def activate(self, x):
        return F.relu(x)


@mistake(PROJECTOR, "You took SiLU between the layers; it is GELU.")
class SiLU(Mistaken):
    def activate(self, x):
        return F.silu(x)


@mistake(PROJECTOR, "You took tanh between the layers; it is GELU.")
class Tanh(Mistaken):
    def activate(self, x):
        return torch.tanh(x)


@mistake(PROJECTOR, "Nothing stands between your two layers: without GELU they are one linear layer.")
class NoActivation(Mistaken):
    def activate(self, x):
        return x


@mistake(PROJECTOR, "Your GELU comes before fc1; it stands between fc1 and fc2.")
class ActivationFirst(Mistaken):
    def project(self, x):
        return self.fc1(x) if self.fc2 is None else self.fc2(self.fc1(F.gelu(x)))


@mistake(PROJECTOR, "You apply GELU after fc2, too: it stands between the layers only.")
class ActivationAfterBoth(Mistaken):
    def project(self, x):
        return self.fc1(x) if self.fc2 is None else F.gelu(self.fc2(F.gelu(self.fc1(x))))


@mistake(PROJECTOR, "You apply GELU only after fc2; it stands between fc1 and fc2.")
class ActivationAtTheEnd(Mistaken):
    def project(self, x):
        return self.fc1(x) if self.fc2 is None else F.gelu(self.fc2(self.fc1(x)))


@mistake(PROJECTOR, "You apply GELU where fc1 is alone: with mlp=False the projector is linear.")
class ActivationWithoutMLP(Mistaken):
    def project(self, x):
        x = F.gelu(self.fc1(x))
        return x if self.fc2 is None else self.fc2(x)


@mistake(PROJECTOR, "You forgot fc2: where there is one, it follows on fc1 and GELU.")
class FirstLayerOnly(Mistaken):
    def project(self, x):
        return self.fc1(x)


@mistake(PROJECTOR, "You end with GELU where fc2 should follow.")
class SecondLayerForgotten(Mistaken):
    def project(self, x):
        return self.fc1(x) if self.fc2 is None else F.gelu(self.fc1(x))


@mistake(PROJECTOR, "You add fc1's output to fc2's: the projector has no residual connection.")
class WithResidual(Mistaken):
    def project(self, x):
        x = self.fc1(x)
        return x if self.fc2 is None else x + self.fc2(F.gelu(x))


@mistake(PROJECTOR, "You normalise the hidden state before projecting it; no norm comes in between.")
class NormBefore(Mistaken):
    def patches(self, x):
        return F.layer_norm(super().patches(x), x.shape[-1:])


@mistake(PROJECTOR, "You normalise the features after projecting them; no norm follows.")
class NormAfter(Mistaken):
    def project(self, x):
        x = super().project(x)
        return F.layer_norm(x, x.shape[-1:])


@mistake(
    PROJECTOR, "You divide the features by their length, as CLIP does; a projector leaves them as they are."
)
class UnitLength(Mistaken):
    def project(self, x):
        return F.normalize(super().project(x), dim=-1)


@mistake(PROJECTOR, "You left out the bias: call the layers, or add `bias` to the product with `weight`.")
class NoBias(Mistaken):
    def project(self, x):
        x = x @ self.fc1.weight.T
        return x if self.fc2 is None else F.gelu(x) @ self.fc2.weight.T


@mistake(PROJECTOR, "Nothing learns in your projector: leave out no_grad and detach.")
class NothingLearns(Mistaken):
    @torch.no_grad()
    def forward(self, hidden_states):
        return super().forward(hidden_states)


@mistake(PROJECTOR, "Only fc2 learns: detach, .data or no_grad cuts fc1 off.")
class OnlyTheSecondLearns(Mistaken):
    def activate(self, x):
        return F.gelu(x.detach())


# --- images among words ------------------------------------------------------------------------------


@alternative(SPLICE)
def as_in_the_official_code(ids, text_embeds, image_features, image_id, labels=None):
    new_input_embeds, new_labels = [], []
    cur_image_idx = 0
    _labels = labels
    if labels is None:
        labels = torch.full_like(ids, IGNORED)
    for batch_idx, cur_input_ids in enumerate(ids):
        num_images = (cur_input_ids == image_id).sum()
        image_token_indices = [-1, *torch.where(cur_input_ids == image_id)[0].tolist(), len(cur_input_ids)]
        cur_labels = labels[batch_idx]
        cur_new_input_embeds, cur_new_labels = [], []
        for i in range(num_images + 1):
            between = slice(image_token_indices[i] + 1, image_token_indices[i + 1])
            cur_new_input_embeds.append(text_embeds[batch_idx, between])
            cur_new_labels.append(cur_labels[between])
            if i < num_images:
                cur_image_features = image_features[cur_image_idx]
                cur_image_idx += 1
                cur_new_input_embeds.append(cur_image_features)
                cur_new_labels.append(
                    torch.full((cur_image_features.shape[0],), IGNORED, dtype=cur_labels.dtype)
                )
        new_input_embeds.append(torch.cat(cur_new_input_embeds))
        new_labels.append(torch.cat(cur_new_labels))
    return torch.stack(new_input_embeds, dim=0), None if _labels is None else torch.stack(new_labels, dim=0)


@alternative(SPLICE)
def by_expanded_ids(ids, text_embeds, image_features, image_id, labels=None):
    """As in transformers: first one <image> for each patch, then the features in their places."""
    patches = image_features.shape[1]
    rows, row_labels, embeds = [], [], []
    for b in range(ids.shape[0]):
        index = []
        for i, token in enumerate(ids[b].tolist()):
            index += [i] * (patches if token == image_id else 1)
        rows.append(ids[b, index])
        embeds.append(text_embeds[b, index])
        if labels is not None:
            row_labels.append(labels[b, index])
    expanded, embeds = torch.stack(rows), torch.stack(embeds)
    mask = (expanded == image_id).unsqueeze(-1).expand_as(embeds)
    embeds = embeds.masked_scatter(mask, image_features.to(embeds.dtype))
    if labels is None:
        return embeds, None
    new_labels = torch.stack(row_labels)
    new_labels[expanded == image_id] = -100
    return embeds, new_labels


@alternative(SPLICE)
def by_places(ids, text_embeds, image_features, image_id, labels=None):
    """As in transformers before placeholders were expanded: compute where each token goes."""
    batch, length = ids.shape
    patches, dim = image_features.shape[1:]
    is_image = ids == image_id
    grow = is_image * (patches - 1) + 1
    ends = torch.cumsum(grow, dim=1) - 1
    total = length + int(is_image[0].sum()) * (patches - 1)
    embeds = torch.zeros(batch, total, dim, dtype=text_embeds.dtype, device=text_embeds.device)
    free = torch.ones(batch, total, dtype=torch.bool, device=ids.device)
    row, column = torch.where(~is_image)
    embeds[row, ends[row, column]] = text_embeds[row, column]
    free[row, ends[row, column]] = False
    embeds[free] = image_features.reshape(-1, dim).to(text_embeds.dtype)
    spliced = None
    if labels is not None:
        spliced = torch.full((batch, total), IGNORED, dtype=labels.dtype, device=labels.device)
        spliced[row, ends[row, column]] = labels[row, column]
    return embeds, spliced


@alternative(SPLICE)
def by_index_put(ids, text_embeds, image_features, image_id, labels=None):
    batch, length = ids.shape
    n, patches, dim = image_features.shape
    per_row = n // batch
    total = length + per_row * (patches - 1)
    counted = (ids == image_id).cumsum(1)
    where = torch.arange(length)[None] + (counted - (ids == image_id).long()) * (patches - 1)
    text = ids != image_id
    rows = torch.arange(batch)[:, None].expand_as(ids)
    embeds = text_embeds.new_zeros(batch, total, dim)
    embeds = embeds.index_put((rows[text], where[text]), text_embeds[text])
    image_rows = rows[~text][:, None].expand(-1, patches)
    image_where = where[~text][:, None] + torch.arange(patches)
    embeds = embeds.index_put((image_rows, image_where), image_features)
    if labels is None:
        return embeds, None
    new = labels.new_full((batch, total), -100)
    new.index_put_((rows[text], where[text]), labels[text])
    return embeds, new


@alternative(SPLICE)
def by_gather(ids, text_embeds, image_features, image_id, labels=None):
    """One table of all that can be read, words first; then each place looks up its own."""
    batch, length = ids.shape
    patches = image_features.shape[1]
    table = torch.cat([text_embeds.flatten(0, 1), image_features.flatten(0, 1)])
    image, lookup, spliced = 0, [], []
    for b in range(batch):
        for i in range(length):
            if ids[b, i] == image_id:
                start = batch * length + image * patches
                lookup.extend(range(start, start + patches))
                spliced.extend([IGNORED] * patches)
                image += 1
            else:
                lookup.append(b * length + i)
                spliced.append(IGNORED if labels is None else int(labels[b, i]))
    embeds = table[torch.tensor(lookup)].reshape(batch, -1, table.shape[1])
    return embeds, None if labels is None else torch.tensor(spliced).reshape(batch, -1)


@alternative(SPLICE)
def from_behind(ids, text_embeds, image_features, image_id, labels=None):
    """Put images in from the last to the first, so that the places of the others stay right."""
    features = list(image_features)
    embeds, spliced = [], []
    for b in reversed(range(len(ids))):
        x = text_embeds[b]
        y = labels[b] if labels is not None else None
        for i in reversed((ids[b] == image_id).nonzero().flatten().tolist()):
            image = features.pop()
            x = torch.vstack([x[:i], image, x[i + 1 :]])
            if y is not None:
                y = torch.hstack([y[:i], torch.full((len(image),), IGNORED), y[i + 1 :]])
        embeds.insert(0, x)
        spliced.insert(0, y)
    return torch.stack(embeds), (torch.stack(spliced) if labels is not None else None)


@alternative(SPLICE)
def by_too_many(ids, text_embeds, image_features, image_id, labels=None):
    """Every token as often as an image has patches; then a mask throws out what is too many."""
    patches, dim = image_features.shape[1:]
    is_image = ids == image_id
    wide = text_embeds.unsqueeze(2).repeat(1, 1, patches, 1)
    wide[is_image] = image_features
    keep = is_image.unsqueeze(2).repeat(1, 1, patches)
    keep[..., 0] = True
    embeds = wide[keep].view(len(ids), -1, dim)
    if labels is None:
        return embeds, None
    wide_labels = labels.masked_fill(is_image, IGNORED).unsqueeze(2).expand(-1, -1, patches)
    return embeds, wide_labels[keep].view(len(ids), -1)


def splicer(
    *,
    places=lambda row, image_id: (row == image_id).nonzero().flatten().tolist(),
    pick=lambda features, row, k, per_row: features[row * per_row + k],
    image=lambda features: features,
    between=lambda x, start, stop: x[start:stop],
    before=lambda embeds, at: embeds[:0],
    after=lambda embeds, at: embeds[:0],
    patch_labels=lambda labels, at, patches: labels.new_full((patches,), IGNORED),
    text_embeds_too=False,
):
    """Right where no option is given; each mistake changes one."""

    def splice(ids, text_embeds, image_features, image_id, labels=None):
        all_embeds, all_labels = [], []
        for b in range(len(ids)):
            at = places(ids[b], image_id)
            embeds, its_labels, start = [], [], 0
            for k, i in enumerate(at):
                features = image(pick(image_features, b, k, len(at)))
                if text_embeds_too:
                    features = features + text_embeds[b, i]
                extra = before(text_embeds[b], i), after(text_embeds[b], i)
                embeds += [between(text_embeds[b], start, i), extra[0], features, extra[1]]
                if labels is not None:
                    patches = len(features) + len(extra[0]) + len(extra[1])
                    its_labels += [between(labels[b], start, i), patch_labels(labels[b], i, patches)]
                start = i + 1
            all_embeds.append(torch.cat([*embeds, text_embeds[b, start:]]))
            if labels is not None:
                all_labels.append(torch.cat([*its_labels, labels[b, start:]]))
        return torch.stack(all_embeds), None if labels is None else torch.stack(all_labels)

    return splice


right = splicer()


def wrong(name, sentence, **options):
    """Register a mistake that differs from the right splice by options."""
    answer = splicer(**options)
    answer.__name__ = name
    mistake(SPLICE, sentence)(answer)


wrong(
    "image_token_kept_before",
    "The embedding of <image> is still there, before its patches: they stand in its place.",
    before=lambda embeds, at: embeds[at : at + 1],
)
wrong(
    "image_token_kept_behind",
    "The embedding of <image> is still there, behind its patches: they stand in its place.",
    after=lambda embeds, at: embeds[at : at + 1],
)
wrong(
    "added_to_the_image_token",
    "You add the features to the embedding of <image>, which means nothing: they replace it.",
    text_embeds_too=True,
)
wrong(
    "mean_of_the_patches",
    "You put one average where <image> stands; each patch becomes a token of its own.",
    image=lambda features: features.mean(0, keepdim=True),
)
wrong(
    "first_patch_only",
    "You put one patch where <image> stands; all of them go there, one after the other.",
    image=lambda features: features[:1],
)
wrong(
    "patches_backwards",
    "The patches of your images stand in the wrong order: the first comes first.",
    image=lambda features: features.flip(0),
)
wrong(
    "repeated_first_patch",
    "You repeat one patch of the image; each has its own place.",
    image=lambda features: features[:1].expand_as(features),
)
wrong(
    "features_of_the_row",
    "You take image_features[row] at each of a text's images: with several a text, image k of row b has the "
    "number b * (images in a row) + k.",
    pick=lambda features, row, k, per_row: features[row],
)
wrong(
    "features_of_the_place",
    "You start anew with the first image in each text: go on counting from one text to the next.",
    pick=lambda features, row, k, per_row: features[k],
)
wrong(
    "row_plus_place",
    "You take image_features[row + k]: each row before has used up all of its images, so it is "
    "row * (images in a row) + k.",
    pick=lambda features, row, k, per_row: features[row + k],
)
wrong(
    "columns_first",
    "You hand out the images column by column; they come in the order of reading, row after row.",
    pick=lambda features, row, k, per_row: features[k * (len(features) // per_row) + row],
)
wrong(
    "images_of_a_row_backwards",
    "The images of a text stand in the wrong order, the last one first.",
    pick=lambda features, row, k, per_row: features[(row + 1) * per_row - 1 - k],
)
wrong(
    "all_images_backwards",
    "You hand out the images from the last to the first; they come in the order of reading.",
    pick=lambda features, row, k, per_row: features[-1 - (row * per_row + k)],
)
wrong(
    "first_of_a_row_twice",
    "All images of your texts are their first one: go on to the next at each <image>.",
    pick=lambda features, row, k, per_row: features[row * per_row],
)
wrong(
    "one_image_for_all",
    "All images of yours are the first one: go on to the next at each <image>.",
    pick=lambda features, row, k, per_row: features[0],
)
wrong(
    "detached_features",
    "No gradient reaches the image features, so the projector never learns: leave out detach, .data and no_grad.",
    image=lambda features: features.detach(),
)
wrong(
    "labels_of_the_image_token",
    "You give every patch the label of <image>: nobody has to guess an image, so the label is -100.",
    patch_labels=lambda labels, at, patches: labels[at].expand(patches),
)
wrong(
    "only_first_patch_labelled",
    "You keep the label of <image> at its first patch: all patches get -100.",
    patch_labels=lambda labels, at, patches: torch.cat(
        [labels[at : at + 1], labels.new_full((patches - 1,), IGNORED)]
    ),
)
wrong(
    "patches_labelled_0",
    "You give the patches the label 0, which is a token: only -100 is left out of the loss.",
    patch_labels=lambda labels, at, patches: labels.new_zeros(patches),
)
wrong(
    "patches_labelled_minus_1",
    "You give the patches the label -1: the loss leaves out -100 only.",
    patch_labels=lambda labels, at, patches: labels.new_full((patches,), -1),
)


def moved(where):
    """All images of a text together, the words without <image> around them."""

    def splice(ids, text_embeds, image_features, image_id, labels=None):
        images = image_features.reshape(len(ids), -1, image_features.shape[-1])
        ignored = torch.full(images.shape[:2], IGNORED)

        def rest(x):
            return x[ids != image_id].unflatten(0, (len(ids), -1))

        embeds = torch.cat(where(images, rest(text_embeds)), dim=1)
        return embeds, None if labels is None else torch.cat(where(ignored, rest(labels)), dim=1)

    return splice


@mistake(SPLICE, "You put the images in front of the text; they stand where their <image> tokens do.")
def images_in_front(*args):
    return moved(lambda images, words: (images, words))(*args)


@mistake(SPLICE, "You put the images behind the text; they stand where their <image> tokens do.")
def images_behind(*args):
    return moved(lambda images, words: (words, images))(*args)


@mistake(SPLICE, "You take the places of the first text for all: each row has its images in its own places.")
def places_of_the_first_row(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids[:1].expand_as(ids), text_embeds, image_features, image_id, labels)


@mistake(
    SPLICE,
    "Your places go stale: each image that you put in moves all that is behind it by patches - 1.",
)
def stale_places(ids, text_embeds, image_features, image_id, labels=None):
    patches, features = image_features.shape[1], iter(image_features)
    embeds, spliced = [], []
    for b, row in enumerate(ids):
        x, y = text_embeds[b], None if labels is None else labels[b]
        for i in (row == image_id).nonzero().flatten().tolist():
            x = torch.cat([x[:i], next(features), x[i + 1 :]])
            if y is not None:
                y = torch.cat([y[:i], y.new_full((patches,), IGNORED), y[i + 1 :]])
        embeds.append(x)
        spliced.append(y)
    return torch.stack(embeds), None if labels is None else torch.stack(spliced)


@mistake(
    SPLICE,
    "You insert nothing: the patches overwrite the words behind <image>, and the text is as long as before.",
)
def words_overwritten(ids, text_embeds, image_features, image_id, labels=None):
    embeds, spliced = text_embeds.clone(), None if labels is None else labels.clone()
    for n, (b, i) in enumerate((ids == image_id).nonzero().tolist()):
        embeds[b, i : i + image_features.shape[1]] = image_features[n, : len(embeds[b, i:])]
        if spliced is not None:
            spliced[b, i : i + image_features.shape[1]] = IGNORED
    return embeds, spliced


@mistake(
    SPLICE,
    "You put in one image a text; each of its <image> tokens has its own.",
)
def first_image_only(ids, text_embeds, image_features, image_id, labels=None):
    per_row = int((ids[0] == image_id).sum())
    only = splicer(places=lambda row, image_id: (row == image_id).nonzero().flatten().tolist()[:1])
    return only(ids, text_embeds, image_features[:: max(per_row, 1)], image_id, labels)


@mistake(
    SPLICE,
    "Patches of different images are mixed: flatten (images, patches, dim) without swapping its dimensions.",
)
def patches_mixed(ids, text_embeds, image_features, image_id, labels=None):
    mixed = image_features.transpose(0, 1).reshape(image_features.shape)
    return right(ids, text_embeds, mixed, image_id, labels)


@mistake(
    SPLICE,
    "You return the embeddings alone: (embeds, labels) is asked for, labels None where there are none.",
)
def embeds_alone(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id, labels)[0]


@mistake(SPLICE, "You return (labels, embeds); the embeddings come first.")
def labels_first(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id, labels)[::-1]


@mistake(SPLICE, "You make up labels where none were given: None stays None.")
def labels_made_up(ids, text_embeds, image_features, image_id, labels=None):
    if labels is None:
        labels = torch.full_like(ids, IGNORED)
    return right(ids, text_embeds, image_features, image_id, labels)


@mistake(SPLICE, "You make up labels where none were given, out of the ids: None stays None.")
def ids_as_labels(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id, ids if labels is None else labels)


@mistake(SPLICE, "You always return None for the labels: those that are given become longer with the text.")
def labels_forgotten(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id)


@mistake(
    SPLICE, "You return the labels as they came: they need -100 for each patch, as long as the embeddings."
)
def labels_not_spliced(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id)[0], labels


@mistake(
    SPLICE, "You put the ids in place of the labels: `labels` has -100 where nothing is learned already."
)
def labels_from_ids(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id, None if labels is None else ids)


@mistake(
    SPLICE,
    "You shift the labels by one: a label stands where its token stands, the shift is the loss's business.",
)
def labels_shifted(ids, text_embeds, image_features, image_id, labels=None):
    embeds, spliced = right(ids, text_embeds, image_features, image_id, labels)
    if labels is not None:
        spliced = torch.cat([spliced[:, 1:], torch.full_like(spliced[:, :1], IGNORED)], dim=1)
    return embeds, spliced


@mistake(SPLICE, "Your labels are all -100: only the patches' are, the text keeps its own.")
def labels_all_ignored(ids, text_embeds, image_features, image_id, labels=None):
    embeds, spliced = right(ids, text_embeds, image_features, image_id, labels)
    return embeds, None if labels is None else torch.full_like(spliced, IGNORED)


@mistake(SPLICE, "A label of 0 is a label: only what stands for an image is -100.")
def labels_of_0_ignored(ids, text_embeds, image_features, image_id, labels=None):
    if labels is not None:
        labels = torch.where(labels <= 0, IGNORED, labels)
    return right(ids, text_embeds, image_features, image_id, labels)


@mistake(SPLICE, "You return labels as floats: they are ids, so keep the dtype of those that are given.")
def labels_as_floats(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds, image_features, image_id, None if labels is None else labels.float())


@mistake(SPLICE, "You ignore all labels before the last image, too: only the patches' labels become -100.")
def labels_before_ignored(ids, text_embeds, image_features, image_id, labels=None):
    if labels is not None:
        behind = (ids == image_id).flip(1).cumsum(1).flip(1) == 0
        labels = labels.masked_fill(~behind, IGNORED)
    return right(ids, text_embeds, image_features, image_id, labels)


@mistake(SPLICE, "You put all -100 of the patches in front: they stand where the patches stand.")
def labels_padded_in_front(ids, text_embeds, image_features, image_id, labels=None):
    embeds, _ = right(ids, text_embeds, image_features, image_id)
    return embeds, None if labels is None else F.pad(
        labels, (embeds.shape[1] - ids.shape[1], 0), value=IGNORED
    )


@mistake(SPLICE, "You put all -100 of the patches at the end: they stand where the patches stand.")
def labels_padded_behind(ids, text_embeds, image_features, image_id, labels=None):
    embeds, _ = right(ids, text_embeds, image_features, image_id)
    return embeds, None if labels is None else F.pad(
        labels, (0, embeds.shape[1] - ids.shape[1]), value=IGNORED
    )


@mistake(SPLICE, "Without images you return None for the labels: texts without <image> keep theirs.")
def labels_lost_without_images(ids, text_embeds, image_features, image_id, labels=None):
    if not (ids == image_id).any():
        return text_embeds, None
    return right(ids, text_embeds, image_features, image_id, labels)


@mistake(SPLICE, "No gradient reaches the words' embeddings: leave out detach, .data and no_grad.")
def detached_text(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds.detach(), image_features, image_id, labels)


@mistake(SPLICE, "No gradient reaches features or embeddings: leave out detach, .data and no_grad.")
def detached_all(ids, text_embeds, image_features, image_id, labels=None):
    return right(ids, text_embeds.detach(), image_features.detach(), image_id, labels)


@mistake(
    SPLICE,
    "A gradient reaches the embedding at <image>, which stands nowhere in the result: it must be exactly zero.",
)
def straight_through(ids, text_embeds, image_features, image_id, labels=None):
    row, place = torch.where(ids == image_id)
    kept = text_embeds[row, place][:, None]
    return right(ids, text_embeds, image_features + (kept - kept.detach()), image_id, labels)


@mistake(
    SPLICE,
    "You set the embeddings at <image> to zero in the caller's own tensor: work on a clone, or build a new one.",
)
def text_changed_in_place(ids, text_embeds, image_features, image_id, labels=None):
    text_embeds[ids == image_id] = 0
    return right(ids, text_embeds, image_features, image_id, labels)


@mistake(SPLICE, "You write -100 into the caller's own labels: work on a clone, or build new ones.")
def labels_changed_in_place(ids, text_embeds, image_features, image_id, labels=None):
    if labels is not None:
        labels[ids == image_id] = IGNORED
    return right(ids, text_embeds, image_features, image_id, labels)


# --- which tokens are learned ------------------------------------------------------------------------


@alternative(LABELS)
def token_by_token(ids, assistant_id, end_id):
    flat = ids.reshape(-1, ids.shape[-1])
    labels = torch.full_like(flat, -100)
    for row, out in zip(flat, labels, strict=True):
        answering = False
        for i, token in enumerate(row.tolist()):
            if answering:
                out[i] = token
                answering = token != end_id
            elif token == assistant_id:
                answering = True
    return labels.reshape(ids.shape)


@alternative(LABELS)
def column_by_column(ids, assistant_id, end_id):
    labels = ids.clone()
    answering = torch.zeros(ids.shape[:-1], dtype=torch.bool)
    for i in range(ids.shape[-1]):
        token = ids[..., i]
        labels[..., i] = torch.where(answering, token, IGNORED)
        answering = (answering & (token != end_id)) | (token == assistant_id)
    return labels


@alternative(LABELS)
def by_counting(ids, assistant_id, end_id):
    """A token is learned where an <assistant> came before it, and no end between the two."""
    end = (ids == end_id).long()
    ends_before = end.cumsum(-1) - end
    starts = ids == assistant_id
    at_start = torch.where(starts, ends_before, -1).cummax(-1)[0]
    learned = (at_start == ends_before) & ~starts
    return torch.where(learned, ids, torch.full_like(ids, IGNORED))


@alternative(LABELS)
def by_search(ids, assistant_id, end_id):
    if ids.dim() > 1:
        return torch.stack([by_search(row, assistant_id, end_id) for row in ids])
    tokens, labels, i = ids.tolist(), [-100] * len(ids), 0
    while assistant_id in tokens[i:]:
        start = tokens.index(assistant_id, i) + 1
        i = tokens.index(end_id, start) + 1 if end_id in tokens[start:] else len(tokens)
        labels[start:i] = tokens[start:i]
    return torch.tensor(labels)


@alternative(LABELS)
def by_a_mask_of_pairs(ids, assistant_id, end_id):
    """learned[i] = some j < i is <assistant>, and no end stands in j ... i - 1."""
    n = ids.shape[-1]
    i, j = torch.arange(n)[:, None], torch.arange(n)
    ends = torch.nn.functional.pad((ids == end_id).long().cumsum(-1), (1, 0))[..., :-1]  # before each
    no_end = ends[..., :, None] == ends[..., None, :]
    learned = ((ids == assistant_id)[..., None, :] & no_end & (j < i)).any(-1)
    return ids.masked_fill(~learned | (ids == assistant_id), IGNORED)


def labeller(
    *,
    opens=lambda answering, token, assistant, end: token == assistant,
    marker=lambda token: IGNORED,
    end=lambda token: token,
    outside=lambda token: IGNORED,
    inside=lambda token: token,
    outside_end=lambda token: IGNORED,
    closes=True,
    answering_first=False,
    finish=lambda labels, ids, answering_since: labels,
):
    """Right where no option is given; each mistake changes one."""

    def row_labels(row, assistant_id, end_id):
        labels, answering, since = [], answering_first, 0
        for i, token in enumerate(row.tolist()):
            if not answering and opens(answering, token, assistant_id, end_id):
                labels.append(marker(token))
                answering, since = True, i + 1
            elif answering and token == end_id:
                labels.append(end(token))
                answering = not closes
            elif answering:
                labels.append(inside(token))
            else:
                labels.append(outside_end(token) if token == end_id else outside(token))
        return torch.tensor(finish(labels, row.tolist(), since if answering else None))

    def answer(ids, assistant_id, end_id):
        if ids.ndim == 1:
            return row_labels(ids, assistant_id, end_id)
        return torch.stack([row_labels(row, assistant_id, end_id) for row in ids])

    return answer


right_labels = labeller()


def wrong_labels(name, sentence, **options):
    answer = labeller(**options)
    answer.__name__ = name
    mistake(LABELS, sentence)(answer)


wrong_labels(
    "everything_learned",
    "You label every token with itself: only answers and the ends that close them are learned.",
    marker=lambda token: token,
    outside=lambda token: token,
    outside_end=lambda token: token,
)
wrong_labels(
    "nothing_learned",
    "Your labels are all -100: the answers' tokens keep their ids.",
    inside=lambda token: IGNORED,
    end=lambda token: IGNORED,
)
wrong_labels(
    "questions_learned",
    "You have it the other way round: you label what is outside of answers.",
    outside=lambda token: token,
    inside=lambda token: IGNORED,
    end=lambda token: IGNORED,
)
wrong_labels(
    "marker_learned",
    "You label <assistant>, too: the prompt brings it, so its label is -100.",
    marker=lambda token: token,
)
wrong_labels(
    "end_not_learned",
    "You leave out the end token: a model that never learned it never stops.",
    end=lambda token: IGNORED,
)
wrong_labels(
    "marker_in_place_of_the_end",
    "You are one too early, <assistant> is in and the end is out: start after <assistant>, stop after the end.",
    marker=lambda token: token,
    end=lambda token: IGNORED,
)
wrong_labels(
    "all_ends_learned",
    "You label every end token: one that ends no answer, padding for instance, is not learned.",
    outside_end=lambda token: token,
)
wrong_labels(
    "never_closed",
    "Your answers never end: what follows an answer's end token, the next question or padding, is not learned.",
    closes=False,
)
wrong_labels(
    "ignored_is_0",
    "You give 0 to what is not learned, but 0 is a token: the label that the loss leaves out is -100.",
    outside=lambda token: 0,
    outside_end=lambda token: 0,
    marker=lambda token: 0,
)
wrong_labels(
    "ignored_is_minus_1",
    "You give -1 to what is not learned: the label that the loss leaves out is -100.",
    outside=lambda token: -1,
    outside_end=lambda token: -1,
    marker=lambda token: -1,
)
wrong_labels(
    "ones_and_zeros",
    "You return a mask of ones and zeros: labels are the ids themselves, or -100.",
    inside=lambda token: 1,
    end=lambda token: 1,
    marker=lambda token: 0,
    outside=lambda token: 0,
    outside_end=lambda token: 0,
)
wrong_labels(
    "open_answers_dropped",
    "You drop an answer that has no end token: cut off by the row's end it counts up to there.",
    finish=lambda labels, ids, since: (
        labels if since is None else labels[:since] + [IGNORED] * (len(labels) - since)
    ),
)
wrong_labels(
    "open_answers_without_their_last",
    "An answer that the row's end cuts off loses its last token in yours: it counts up to the row's end.",
    finish=lambda labels, ids, since: labels if since in (None, len(ids)) else [*labels[:-1], IGNORED],
)
wrong_labels(
    "first_token_skipped",
    "You skip the first token of each answer: the answer begins right after <assistant>.",
    finish=lambda labels, ids, since: [
        IGNORED if i and labels[i - 1] == IGNORED else label for i, label in enumerate(labels)
    ],
)
wrong_labels(
    "shifted_left",
    "You shift the labels by one: a label stands where its token stands, the shift is the loss's business.",
    finish=lambda labels, ids, since: [*labels[1:], IGNORED],
)
wrong_labels(
    "next_tokens",
    "You label each place with the token that follows it: a label is the token at its own place.",
    finish=lambda labels, ids, since: [
        IGNORED if label == IGNORED else ids[min(i + 1, len(ids) - 1)] for i, label in enumerate(labels)
    ],
)
wrong_labels(
    "answering_from_the_start",
    "You begin as if in an answer: a row starts with a question, so nothing is learned before <assistant>.",
    answering_first=True,
)


@mistake(LABELS, "You label the last answer of a row only: every turn's answer is learned.")
def last_answer_only(ids, assistant_id, end_id):
    labels = right_labels(ids, assistant_id, end_id)
    starts = ids == assistant_id
    return labels.masked_fill(starts.flip(-1).cumsum(-1).flip(-1) > 0, IGNORED)


@mistake(LABELS, "You label the first answer of a row only: every turn's answer is learned.")
def first_answer_only(ids, assistant_id, end_id):
    labels = right_labels(ids, assistant_id, end_id)
    return labels.masked_fill((ids == assistant_id).cumsum(-1) > 1, IGNORED)


@mistake(
    LABELS,
    "You label everything from the first <assistant> to the last end token: the questions in between are not learned.",
)
def from_first_to_last(ids, assistant_id, end_id):
    started = (ids == assistant_id).cumsum(-1) > 0
    more_ends = (ids == end_id).flip(-1).cumsum(-1).flip(-1) > 0
    return ids.masked_fill(~(started & more_ends) | (ids == assistant_id), IGNORED)


@mistake(LABELS, "You take the places of the first row for all: each row has its answers in its own places.")
def places_of_the_first_conversation(ids, assistant_id, end_id):
    if ids.ndim == 1:
        return right_labels(ids, assistant_id, end_id)
    return ids.masked_fill(right_labels(ids[0], assistant_id, end_id) == IGNORED, IGNORED)


@mistake(
    LABELS, "You treat a batch as one long text: an answer that one row leaves open goes on in the next."
)
def rows_run_on(ids, assistant_id, end_id):
    return right_labels(ids.flatten(), assistant_id, end_id).reshape(ids.shape)


@mistake(
    LABELS,
    "You pair answers and end tokens by counting both: an end token that ends no answer upsets the count.",
)
def more_began_than_ended(ids, assistant_id, end_id):
    starts, ends = ids == assistant_id, ids == end_id
    open_before = (starts.cumsum(-1) - starts.long()) - (ends.cumsum(-1) - ends.long())
    return torch.where(open_before > 0, ids, IGNORED)


def up_to(ids, assistant_id, end):
    """Each answer is learned from behind its <assistant> up to `end(row, its place, that of the next or the end)`."""
    if ids.ndim > 1:
        return torch.stack([up_to(row, assistant_id, end) for row in ids])
    labels = torch.full_like(ids, IGNORED)
    starts = (ids == assistant_id).nonzero().flatten().tolist()
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=False):
        learned = slice(start + 1, end(ids, start, stop))
        labels[learned] = ids[learned]
    return labels


@mistake(
    LABELS,
    "An answer of yours lasts up to the row's last end token: it ends with the first one after <assistant>.",
)
def up_to_the_last_end(ids, assistant_id, end_id):
    def end(row, start, stop):
        ends = [i for i in range(start + 1, stop) if row[i] == end_id]
        return ends[-1] + 1 if ends else stop

    return up_to(ids, assistant_id, end)


@mistake(
    LABELS,
    "Your answers run to the row's last end token: each ends with the first one after its <assistant>.",
)
def up_to_the_rows_last_end(ids, assistant_id, end_id):
    starts, ends = ids == assistant_id, ids == end_id
    begun = starts.cumsum(-1) > starts
    goes_on = (ends.flip(-1).cumsum(-1).flip(-1) > 0) | ~ends.any(-1, keepdim=True)
    return ids.masked_fill(~(begun & goes_on), IGNORED)


@mistake(
    LABELS,
    "You overlook an empty answer: its end token stands right after <assistant>, and is learned.",
)
def past_an_empty_answer(ids, assistant_id, end_id):
    def end(row, start, stop):
        ends = [i for i in range(start + 2, len(row)) if row[i] == end_id]
        return ends[0] + 1 if ends else len(row)

    return up_to(ids, assistant_id, end)


@mistake(
    LABELS,
    "You go on past an empty answer up to the next end token: its own may stand right after <assistant>.",
)
def past_an_empty_answer_without_markers(ids, assistant_id, end_id):
    return past_an_empty_answer(ids, assistant_id, end_id).masked_fill(ids == assistant_id, IGNORED)


@mistake(LABELS, "You leave out an empty answer's end token: it ends an answer, too, so it is learned.")
def empty_answers_left_out(ids, assistant_id, end_id):
    behind = F.pad(ids[..., :-1] == assistant_id, (1, 0))
    labels = right_labels(ids, assistant_id, end_id)
    return labels.masked_fill(behind & (ids == end_id), IGNORED)


@mistake(
    LABELS,
    "You return a row's labels in a batch of one: ids of shape (length,) give labels of shape (length,).",
)
def always_a_batch(ids, assistant_id, end_id):
    return right_labels(ids.reshape(-1, ids.shape[-1]), assistant_id, end_id)


@mistake(LABELS, "You write into the ids that you were given: labels = ids is no copy, ids.clone() is.")
def ids_changed_in_place(ids, assistant_id, end_id):
    ids[right_labels(ids, assistant_id, end_id) == IGNORED] = IGNORED
    return ids


# --- what learns when --------------------------------------------------------------------------------


@alternative(PHASE)
def parameter_by_parameter(model, phase):
    for p in model.visual.parameters():
        p.requires_grad = False
    for p in model.projector.parameters():
        p.requires_grad = True
    for p in model.lm.parameters():
        p.requires_grad = phase == 2


@alternative(PHASE)
def by_names(model, phase):
    for name, parameter in model.named_parameters():
        if name.startswith("visual"):
            parameter.requires_grad_(False)
        elif name.startswith("lm."):
            parameter.requires_grad_(phase == 2)
        else:
            parameter.requires_grad_(True)


@alternative(PHASE)
def by_identity(model, phase):
    learning = {id(p) for p in model.projector.parameters()}
    if phase == 2:
        learning |= set(map(id, model.lm.parameters()))
    for p in model.parameters():
        p.requires_grad = id(p) in learning


@alternative(PHASE)
def by_modules(model, phase):
    def switch(module, on):
        for p in module.parameters(recurse=False):
            p.requires_grad = on
        for child in module.children():
            switch(child, on)

    for name, on in (("visual", False), ("projector", True), ("lm", phase > 1)):
        switch(getattr(model, name), on)


@alternative(PHASE)
def with_modes(model, phase):
    """What is frozen stays in its evaluation mode, too, as some do it; the model is handed back."""
    model.requires_grad_(False).eval()
    parts = [model.projector] if phase == 1 else [model.projector, model.lm]
    for part in parts:
        part.train()
        for p in part.parameters():
            p.requires_grad = True
    return model


@alternative(PHASE)
def by_the_first_word_of_a_name(model, phase):
    learns = {"visual": False, "projector": True, "lm": {1: False, 2: True}[phase]}
    for name, p in model.named_parameters():
        p.requires_grad = learns[name.split(".")[0]]


def setter(*, visual=(False, False), projector=(True, True), lm=(False, True)):
    """In phase 1 and in phase 2: True learns, False is frozen, None is left as it was.  Right by default."""

    def set_it(model, phase):
        for part, learns in ((model.visual, visual), (model.projector, projector), (model.lm, lm)):
            if learns[phase - 1] is not None:
                part.requires_grad_(learns[phase - 1])

    return set_it


def wrong_phase(name, sentence, **options):
    answer = setter(**options)
    answer.__name__ = name
    mistake(PHASE, sentence)(answer)


wrong_phase(
    "lm_learns_in_both",
    "Your language model learns in phase 1, too: there only the projector does.",
    lm=(True, True),
)
wrong_phase(
    "lm_never_learns",
    "Your language model is frozen in phase 2: there it learns with the projector.",
    lm=(False, False),
)
wrong_phase(
    "phases_swapped",
    "You swapped the phases: 1 is the projector alone, 2 the projector and the language model.",
    lm=(True, False),
)
wrong_phase(
    "projector_frozen_in_phase_2",
    "Your projector is frozen in phase 2: it goes on learning there, with the language model.",
    projector=(True, False),
)
wrong_phase(
    "projector_never_learns",
    "Your projector is always frozen: it learns in both phases.",
    projector=(False, False),
)
wrong_phase(
    "projector_left_as_it_was",
    "You never unfreeze the projector: it may be frozen when you get it, so set it to True in both phases.",
    projector=(None, None),
)
wrong_phase(
    "lm_never_frozen_again",
    "You never freeze the language model: it learns when you get it or after phase 2, so set it to False in phase 1.",
    lm=(None, True),
)
wrong_phase(
    "lm_never_unfrozen",
    "Your language model stays frozen after phase 1: set it to True in phase 2.",
    lm=(False, None),
)
wrong_phase(
    "tower_learns_in_both",
    "Your vision tower learns; it is frozen in both phases.",
    visual=(True, True),
)
wrong_phase(
    "tower_learns_in_phase_2",
    "Your vision tower learns in phase 2; it is frozen in both phases.",
    visual=(False, True),
)
wrong_phase(
    "tower_learns_in_phase_1",
    "Your vision tower learns in phase 1; it is frozen in both phases.",
    visual=(True, False),
)
wrong_phase(
    "tower_left_as_it_was",
    "You never freeze the vision tower: set it to False in both phases, whatever it was before.",
    visual=(None, None),
)
wrong_phase(
    "tower_frozen_in_phase_1_only",
    "You freeze the vision tower in phase 1 only: somebody may start with phase 2.",
    visual=(False, None),
)
wrong_phase(
    "tower_frozen_in_phase_2_only",
    "You freeze the vision tower in phase 2 only: it is frozen in both phases.",
    visual=(None, False),
)
wrong_phase(
    "only_unfreezes",
    "You only unfreeze: whatever else learned before, the tower and in phase 1 the language model, has to be frozen.",
    visual=(None, None),
    lm=(None, True),
)
wrong_phase(
    "only_freezes",
    "You only freeze: what was frozen before has to learn again where its phase says so.",
    projector=(None, None),
    lm=(False, None),
)
wrong_phase(
    "all_but_the_tower",
    "You let everything learn that is no vision tower, whatever the phase, and unfreeze nothing: "
    "set each of the three parts to True or False.",
    projector=(None, None),
    lm=(None, None),
)
wrong_phase(
    "inverted",
    "You have it the other way round: requires_grad=True learns, requires_grad=False is frozen.",
    visual=(True, True),
    projector=(False, False),
    lm=(True, False),
)
wrong_phase(
    "all_frozen_in_phase_1",
    "In phase 1 nothing learns in yours: the projector does.",
    projector=(False, True),
)


@mistake(
    PHASE,
    "Nothing changes: no parameter's requires_grad is set. (train() and eval() don't freeze, and requires_grad of a "
    "module is just a new attribute.)",
)
def attribute_of_the_module(model, phase):
    model.visual.requires_grad = False
    model.projector.requires_grad = True
    model.lm.requires_grad = phase == 2


@mistake(PHASE, "You left out the biases: all parameters of a part learn, weights and biases.")
def weights_only(model, phase):
    setter()(model, phase)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.requires_grad = False


@mistake(
    PHASE,
    'Many a name has "proj" in it, of the tower and of attention, too: ask for names that start with "projector".',
)
def any_name_with_proj(model, phase):
    for name, p in model.named_parameters():
        p.requires_grad = "proj" in name or (phase == 2 and name.startswith("lm"))


@mistake(
    PHASE,
    "Only the blocks of your language model learn in phase 2: so do its embedding, its norm and its head.",
)
def only_the_blocks(model, phase):
    setter(lm=(False, False))(model, phase)
    model.lm.blocks.requires_grad_(phase == 2)


@mistake(
    PHASE, "You forgot the token embedding: it is a part of the language model and learns in phase 2, too."
)
def embedding_frozen(model, phase):
    setter()(model, phase)
    model.lm.token_embed.requires_grad_(False)


@mistake(
    PHASE, "You let the token embedding learn in phase 1: it is a part of the language model, frozen there."
)
def embedding_learns(model, phase):
    setter()(model, phase)
    model.lm.token_embed.requires_grad_(True)


@mistake(PHASE, "You freeze the blocks of the language model only: in phase 1 all of it is frozen.")
def only_the_blocks_frozen(model, phase):
    setter(lm=(True, True))(model, phase)
    model.lm.blocks.requires_grad_(phase == 2)


@mistake(PHASE, "You forgot the language model's head: it learns in phase 2, too.")
def head_frozen(model, phase):
    setter()(model, phase)
    model.lm.head.requires_grad_(False)


@mistake(PHASE, "You forgot the projector's second layer: all of the projector learns.")
def first_layer_only(model, phase):
    setter()(model, phase)
    model.projector.fc2.requires_grad_(False)


@mistake(
    PHASE,
    "You skip parameters in submodules: parameters(recurse=False) and children() alone do not reach all of them.",
)
def without_submodules(model, phase):
    for part, learns in ((model.visual, False), (model.projector, True), (model.lm, phase == 2)):
        for p in part.parameters(recurse=False):
            p.requires_grad = learns


@mistake(PHASE, "You flip requires_grad: say True or False, or a second call undoes the first.")
def flipped(model, phase):
    for part in (model.visual, model.lm) if phase == 1 else (model.visual,):
        for p in part.parameters():
            p.requires_grad = not p.requires_grad
