"""`@exercise` marks what a student writes, and lets the library run on the student's own code.

The same decorator stands on the answer in this library and on the blank in the notebook:

- In a notebook (or any file outside this package) it *registers* the function or class.
- In the full library it does nothing: the answer runs.
- In the *student edition* of an assignment the answers' bodies are gone (`EDITION` lists them).
  There it replaces the function, or the named methods of a class, by one that forwards to what the
  student has registered, so that experiments run on the student's code in the library's frame.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable[..., Any])

_EDITION_FILE = Path(__file__).with_name("student_edition.json")
_STORED = json.loads(_EDITION_FILE.read_text()) if _EDITION_FILE.exists() else {}
# In a student edition: its assignment, and {exercise name: [stripped methods]}; a plain function has none.
EDITION_OF: str = _STORED.get("assignment", "")
EDITION: dict[str, list[str]] = _STORED.get("stripped", {})

registered: dict[str, Any] = {}


class MissingExercise(NotImplementedError):
    """The library needs an exercise that has not been written yet."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(
            f"{name} is an exercise that is not written yet: fill in its blank in the notebook and run it."
        )

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence, without a page of the library's own lines."""
        return [f"MissingExercise: {self}"]


def exercise(answer: T) -> T:
    """Mark a function or a class as an exercise; its `__name__` is the exercise's name."""
    name = answer.__name__
    if not answer.__module__.startswith("cs_vl."):
        registered[name] = answer
        return answer
    if name not in EDITION:
        return answer
    if isinstance(answer, type):
        for method in EDITION[name]:
            setattr(answer, method, _forward_method(name, method, answer))
        return answer
    return _forward_function(name, answer)


def find_own(name: str, namespace: dict[str, Any]) -> Any:
    """The student's function or class: what `@exercise` registered, or what a namespace calls so; or None."""
    found = registered.get(name, namespace.get(name))
    return None if getattr(found, "__module__", "cs_vl.").startswith("cs_vl.") else found


def _forward_function(name: str, stripped: Callable) -> Any:
    @functools.wraps(stripped)
    def forward(*args, **kwargs):
        return _call(name, lambda mine: mine, *args, **kwargs)

    return forward


def _forward_method(name: str, method: str, cls: type) -> Callable:
    own = set(vars(cls))

    @functools.wraps(getattr(cls, method))
    def forward(self, *args, **kwargs):
        # Helper methods of the student's class are lent to the library's, which calls them on itself.
        mine = vars(registered[name]) if name in registered else {}
        for extra in mine.keys() - own:
            if not extra.startswith("__"):
                setattr(cls, extra, mine[extra])
        return _call(name, lambda mine: getattr(mine, method), self, *args, **kwargs)

    return forward


def _call(name: str, find: Callable[[Any], Callable], *args, **kwargs) -> Any:
    """Call the student's own; a blank raises NotImplementedError, which becomes the sentence."""
    if name not in registered:
        raise MissingExercise(name)
    try:
        return find(registered[name])(*args, **kwargs)
    except NotImplementedError as error:
        raise error if isinstance(error, MissingExercise) else MissingExercise(name) from None
