"""Known answers: the data engine."""

from autograder.known import alternative, mistake

ENGINE = "data_engine"
MANUAL, SEMI, FULL = "assisted-manual", "semi-automatic", "fully-automatic"


# --- other right answers -----------------------------------------------------------------------------------


@alternative(ENGINE)
def a_function_for_each_stage(model, stages, *, propose, annotate, train):
    def manual(model, image):
        return annotate(model, image, [])

    def semi(model, image):
        masks = propose(model, image)
        return [*masks, *annotate(model, image, list(masks))]

    kinds = {"assisted-manual": manual, "semi-automatic": semi, "fully-automatic": propose}
    for name, _ in stages:
        if name not in kinds:
            raise ValueError(f"unknown stage {name}")
    data = []
    for name, images in stages:
        data += [(image, kinds[name](model, image)) for image in images]
        model = train(model, data)
    return model, data


@alternative(ENGINE)
def two_questions(model, stages, *, propose, annotate, train):
    """Does the model propose?  Does the annotator add?"""
    labelled = []
    for name, images in stages:
        if name not in (MANUAL, SEMI, FULL):
            raise ValueError(name)
        for image in images:
            masks = []
            if name != MANUAL:
                masks.extend(propose(model, image))
            if name != FULL:
                masks.extend(annotate(model, image, tuple(masks)))
            labelled.append((image, masks))
        model = train(model, list(labelled))
    return model, labelled


@alternative(ENGINE)
def by_recursion(model, stages, *, propose, annotate, train):
    def go(model, rest, done):
        if not rest:
            return model, done
        (name, images), *others = rest
        match name:
            case "assisted-manual":
                new = [[image, annotate(model, image, [])] for image in images]
            case "semi-automatic":
                new = [[i, propose(model, i) + annotate(model, i, propose(model, i))] for i in images]
            case "fully-automatic":
                new = [[image, propose(model, image)] for image in images]
            case _:
                raise ValueError(f"no such stage: {name}")
        return go(train(model, done + new), others, done + new)

    return go(model, list(stages), [])


@alternative(ENGINE)
def stage_by_stage_with_copies(model, stages, *, propose, annotate, train):
    everything, current = [], model
    for i in range(len(stages)):
        kind, images, new = stages[i][0], stages[i][1], []
        for image in images:
            if kind == "assisted-manual":
                new.append((image, annotate(current, image, [])[:]))
            elif kind == "semi-automatic":
                found = propose(current, image).copy()
                added = annotate(current, image, found)
                found.extend(added)
                new.append((image, found))
            elif kind == "fully-automatic":
                new.append((image, propose(current, image)))
            else:
                raise ValueError("stage")
        everything.extend(new)
        current = train(current, everything.copy())
    return current, everything


# --- mistakes: variations of one plain answer --------------------------------------------------------------


def manual_masks(model, image, propose, annotate):
    return annotate(model, image, [])


def semi_masks(model, image, propose, annotate):
    proposed = propose(model, image)
    return [*proposed, *annotate(model, image, proposed)]


def full_masks(model, image, propose, annotate):
    return propose(model, image)


def unknown_stage(name):
    raise ValueError(name)


def engine(
    model,
    stages,
    *,
    propose,
    annotate,
    train,
    manual=manual_masks,
    semi=semi_masks,
    full=full_masks,
    unknown=unknown_stage,
    entry=lambda image, masks: (image, masks),
    trained=lambda labelled, new: labelled,
    asks=lambda first, before, now: now,
    improves=lambda first, now: now,
    returned=lambda model, labelled, new: (model, labelled),
):
    """The right answer, with one of its steps in place of another."""
    first = before = model
    labelled, new = [], []
    for name, images in stages:
        ask = asks(first, before, model)
        masks_of = {MANUAL: manual, SEMI: semi, FULL: full}.get(name) or unknown(name)
        new = [entry(image, masks_of(ask, image, propose, annotate)) for image in images] if masks_of else []
        labelled = labelled + new
        before, model = model, train(improves(first, model), trained(labelled, new))
    return returned(model, labelled, new)


def wrong(name, sentence, **options):
    """A mistake that is `engine` with other options."""

    def answer(model, stages, *, propose, annotate, train):
        return engine(model, stages, propose=propose, annotate=annotate, train=train, **options)

    answer.__name__ = name
    mistake(ENGINE, sentence)(answer)


wrong(
    "trained_on_the_last_stage",
    "You trained on what the last stage has labelled alone: on all that has been labelled so far.",
    trained=lambda labelled, new: new,
)
wrong(
    "last_stage_returned",
    "You returned what the last stage has labelled: return all of it.",
    returned=lambda model, labelled, new: (model, new),
)
wrong(
    "only_the_last_stage",
    "You begin the labels anew in each stage: collect them over all stages, to train on and to return.",
    trained=lambda labelled, new: new,
    returned=lambda model, labelled, new: (model, new),
)
wrong(
    "first_model_throughout",
    "You asked the first model in every stage: ask the one that the last stage has trained.",
    asks=lambda first, before, now: first,
)
wrong(
    "one_model_behind",
    "You asked a model that is one stage old: ask the one that the last stage has trained.",
    asks=lambda first, before, now: before,
)
wrong(
    "trained_from_the_first",
    "You trained from the first model each time: from the one that the last stage has made.",
    improves=lambda first, now: first,
)
wrong(
    "model_thrown_away",
    "You threw away what `train` returns: it is the next model, to ask, to train on, and to return.",
    asks=lambda first, before, now: first,
    improves=lambda first, now: first,
    returned=lambda model, labelled, new: (model.split("+")[0], labelled),
)
wrong(
    "first_model_returned",
    "You returned the model that you were given: return the last one.",
    returned=lambda model, labelled, new: (model.split("+")[0], labelled),
)
wrong(
    "exchanged_results",
    "You returned the labels first: (model, labelled).",
    returned=lambda model, labelled, new: (labelled, model),
)
wrong(
    "model_alone",
    "You returned the model alone: return what has been labelled, too.",
    returned=lambda model, labelled, new: model,
)
wrong(
    "labels_alone",
    "You returned what has been labelled alone: return the model, too.",
    returned=lambda model, labelled, new: labelled,
)
wrong(
    "annotator_sees_nothing",
    "In the semi-automatic stage your annotator starts from nothing: they see what the model proposes.",
    semi=lambda m, i, propose, annotate: propose(m, i) + annotate(m, i, []),
)
wrong(
    "proposals_lost",
    "In the semi-automatic stage you kept the annotator's masks alone: `annotate` gives those that were missing, and "
    "the proposals stay.",
    semi=lambda m, i, propose, annotate: annotate(m, i, propose(m, i)),
)
wrong(
    "additions_lost",
    "In the semi-automatic stage you kept the proposals alone: the annotator's masks follow them.",
    semi=full_masks,
)
wrong(
    "semi_is_manual",
    "Your semi-automatic stage is the assisted-manual one: the model's proposals are missing.",
    semi=manual_masks,
)
wrong(
    "annotator_first",
    "You put the annotator's masks before the proposals: the proposals come first.",
    semi=lambda m, i, propose, annotate: annotate(m, i, propose(m, i)) + propose(m, i),
)
wrong(
    "a_list_of_two",
    "You made a list of two lists (append in place of +): the masks of an image are one list.",
    semi=lambda m, i, propose, annotate: [propose(m, i), annotate(m, i, propose(m, i))],
)
wrong(
    "annotations_as_one_mask",
    "You appended the annotator's list as if it were a mask: join the two lists.",
    semi=lambda m, i, propose, annotate: [*propose(m, i), annotate(m, i, propose(m, i))],
)
wrong(
    "manual_is_semi",
    "In the assisted-manual stage the model proposes in yours: all masks are the annotator's, who starts from nothing.",
    manual=semi_masks,
)
wrong(
    "manual_sees_proposals",
    "In the assisted-manual stage your annotator sees proposals: they start from nothing, an empty list.",
    manual=lambda m, i, propose, annotate: annotate(m, i, propose(m, i)),
)
wrong(
    "manual_is_automatic",
    "In the assisted-manual stage you took the model's proposals: all masks are the annotator's.",
    manual=full_masks,
)
wrong(
    "full_is_semi",
    "In the fully-automatic stage your annotator adds masks: nobody annotates there.",
    full=semi_masks,
)
wrong(
    "full_is_manual",
    "In the fully-automatic stage you asked the annotator in place of the model.",
    full=manual_masks,
)
wrong(
    "full_and_semi_exchanged",
    "You exchanged the semi- and the fully-automatic stage.",
    full=semi_masks,
    semi=full_masks,
)
wrong(
    "full_and_manual_exchanged",
    "You exchanged the assisted-manual and the fully-automatic stage.",
    full=manual_masks,
    manual=full_masks,
)
wrong(
    "unknown_is_automatic",
    "A stage of another name is fully-automatic in yours (a last `else`): raise a ValueError.",
    unknown=lambda name: full_masks,
)
wrong(
    "unknown_is_passed_over",
    "A stage of another name is passed over in yours: raise a ValueError.",
    unknown=lambda name: None,
)
wrong(
    "masks_without_images",
    "You collected masks without their images: (image, masks) of each.",
    entry=lambda image, masks: masks,
)
wrong(
    "masks_first",
    "You put the masks before the image: (image, masks).",
    entry=lambda image, masks: (masks, image),
)
wrong(
    "mask_by_mask",
    "You made a pair for each mask: one for each image, with the list of its masks.",
    entry=lambda image, masks: [(image, mask) for mask in masks],
)


@mistake(
    ENGINE,
    "A stage of another name raises a KeyError in yours: raise a ValueError that says which there are.",
)
def a_key_error(model, stages, *, propose, annotate, train):
    known = {MANUAL: 0, SEMI: 0, FULL: 0}
    return engine(model, stages, propose=propose, annotate=annotate, train=train, unknown=known.__getitem__)


@mistake(ENGINE, "You trained after each image: within a stage the model does not change.")
def trained_after_each_image(model, stages, *, propose, annotate, train):
    kinds, labelled = {MANUAL: manual_masks, SEMI: semi_masks, FULL: full_masks}, []
    for name, images in stages:
        for image in images:
            masks_of = kinds.get(name) or unknown_stage(name)
            labelled.append((image, masks_of(model, image, propose, annotate)))
            model = train(model, labelled)
    return model, labelled


def labels_of(model, stages, propose, annotate, stop=None):
    kinds = {MANUAL: manual_masks, SEMI: semi_masks, FULL: full_masks}
    return [
        (image, (kinds.get(name) or unknown_stage(name))(model, image, propose, annotate))
        for name, images in stages[:stop]
        for image in images
    ]


@mistake(
    ENGINE, "You trained once, after all stages: train after each, so that the next one has a better model."
)
def trained_once(model, stages, *, propose, annotate, train):
    labelled = labels_of(model, stages, propose, annotate)
    return train(model, labelled), labelled


@mistake(
    ENGINE, "You labelled the images of earlier stages again with each new model: what is labelled stays."
)
def labelled_again(model, stages, *, propose, annotate, train):
    labelled = []
    for i in range(len(stages)):
        labelled = labels_of(model, stages, propose, annotate, i + 1)
        model = train(model, labelled)
    return model, labelled


@mistake(ENGINE, "You never trained: after each stage `train` makes the next model.")
def never_trained(model, stages, *, propose, annotate, train):
    return model, labels_of(model, stages, propose, annotate)


@mistake(ENGINE, "You trained before each stage, on what was labelled until then: train after it.")
def trained_before(model, stages, *, propose, annotate, train):
    labelled = []
    for stage in stages:
        model = train(model, list(labelled))
        labelled += labels_of(model, [stage], propose, annotate)
    return model, labelled


@mistake(ENGINE, "You did not train after the last stage: after each, the last one too.")
def last_training_left_out(model, stages, *, propose, annotate, train):
    labelled = []
    for i, stage in enumerate(stages):
        labelled += labels_of(model, [stage], propose, annotate)
        if i < len(stages) - 1:
            model = train(model, labelled)
    return model, labelled


@mistake(ENGINE, "You did not train after the fully-automatic stage: after each, whoever has labelled.")
def not_trained_on_its_own(model, stages, *, propose, annotate, train):
    labelled = []
    for name, images in stages:
        labelled += labels_of(model, [(name, images)], propose, annotate)
        if name != FULL:
            model = train(model, labelled)
    return model, labelled


@mistake(ENGINE, "You put the newest labels in front: they are in the order of the images.")
def newest_first(model, stages, *, propose, annotate, train):
    labelled = []
    for stage in stages:
        labelled = labels_of(model, [stage], propose, annotate) + labelled
        model = train(model, labelled)
    return model, labelled


@mistake(
    ENGINE,
    "You made a dict of the stages, so that of two stages of a name one is lost: go through the pairs.",
)
def a_dict_of_stages(model, stages, *, propose, annotate, train):
    return engine(model, list(dict(stages).items()), propose=propose, annotate=annotate, train=train)


@mistake(
    ENGINE, "You ran the three stages in their usual order: run those that are given, in the order given."
)
def usual_order(model, stages, *, propose, annotate, train):
    order = (MANUAL, SEMI, FULL)
    known = sorted(stages, key=lambda stage: order.index(stage[0]) if stage[0] in order else 3)
    return engine(model, known, propose=propose, annotate=annotate, train=train)


@mistake(ENGINE, "A stage without images did not train in yours: after each stage the model is trained.")
def empty_stages_passed_over(model, stages, *, propose, annotate, train):
    stages = [stage for stage in stages if stage[1]]
    return engine(model, stages, propose=propose, annotate=annotate, train=train)


@mistake(
    ENGINE, "You extended the list that `propose` has given (+= or extend): make a new one, proposed + added."
)
def proposals_extended(model, stages, *, propose, annotate, train):
    def semi(model, image, propose, annotate):
        masks = propose(model, image)
        masks += annotate(model, image, list(masks))
        return masks

    return engine(model, stages, propose=propose, annotate=annotate, train=train, semi=semi)


@mistake(
    ENGINE, "You put the proposals into the list that `annotate` has given: make a new one, proposed + added."
)
def annotations_extended(model, stages, *, propose, annotate, train):
    def semi(model, image, propose, annotate):
        proposed = propose(model, image)
        masks = annotate(model, image, proposed)
        masks[:0] = proposed
        return masks

    return engine(model, stages, propose=propose, annotate=annotate, train=train, semi=semi)


@mistake(ENGINE, "You emptied the list that `propose` has given (pop?): it is to be left as it was.")
def proposals_emptied(model, stages, *, propose, annotate, train):
    def semi(model, image, propose, annotate):
        proposed, masks = propose(model, image), []
        added = annotate(model, image, proposed)
        while proposed:
            masks.append(proposed.pop(0))
        return masks + added

    return engine(model, stages, propose=propose, annotate=annotate, train=train, semi=semi)


@mistake(
    ENGINE, "You leave out images in which the model sees nothing: they are labelled with an empty list."
)
def left_out_where_empty(model, stages, *, propose, annotate, train):
    labelled = []
    for stage in stages:
        labelled += [pair for pair in labels_of(model, [stage], propose, annotate) if pair[1]]
        model = train(model, labelled)
    return model, labelled
