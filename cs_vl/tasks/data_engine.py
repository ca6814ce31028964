"""The data engine: the model helps to label the data that it is trained on next."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cs_vl.exercise import exercise

Image = TypeVar("Image")
Model = TypeVar("Model")

STAGES = ("assisted-manual", "semi-automatic", "fully-automatic")


@exercise
def data_engine(
    model: Model,
    stages: Sequence[tuple[str, Sequence[Image]]],
    *,
    propose: Callable[[Model, Image], list[Any]],
    annotate: Callable[[Model, Image, list[Any]], list[Any]],
    train: Callable[[Model, list[tuple[Image, list[Any]]]], Model],
) -> tuple[Model, list[tuple[Image, list[Any]]]]:
    """Label images in stages, with less and less help, and train after each (Kirillov et al. 2023, sec. 4).

    The masks of an image are, in a stage called

    - "assisted-manual": all from the annotator, who starts from nothing: annotate(model, image, []);
    - "semi-automatic": those that the model proposes, followed by those that the annotator adds to them:
      annotate(model, image, proposed);
    - "fully-automatic": those that the model proposes.

    After each stage `train` makes the next model, from the last one and from *all* that has been labelled so
    far.  Within a stage the model does not change.

    Args:
        model: that of the first stage.
        stages: (name, images) of each, in order; a name may come more than once.
        propose: (model, image) -> the masks that it is sure of, a list.
        annotate: (model, image, masks that are there) -> the masks that were missing, a list; the annotator
            clicks with the model's help.
        train: (model, labelled) -> the next model.

    Returns:
        (model, labelled): the last model, and (image, masks) of every image in order.  What `propose` and
        `annotate` have given is left as it was.

    Raises:
        ValueError: a stage of another name.
    """
    ### BEGIN SOLUTION
    labelled: list[tuple[Image, list[Any]]] = []
    for stage, images in stages:
        for image in images:
            if stage == "assisted-manual":
                masks = annotate(model, image, [])
            elif stage == "semi-automatic":
                proposed = propose(model, image)
                masks = proposed + annotate(model, image, proposed)
            elif stage == "fully-automatic":
                masks = propose(model, image)
            else:
                raise ValueError(f"a stage is one of {', '.join(STAGES)}; got {stage!r}")
            labelled.append((image, masks))
        model = train(model, labelled)
    return model, labelled
    ### END SOLUTION
