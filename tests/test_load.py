"""Loading a submission: what right answers need is there, what is story does not run, whatever stands in the cells."""

import textwrap
import time

import pytest

import cs_vl.checks.load
import cs_vl.checks.source
from cs_vl.checks.cells import Cell
from cs_vl.checks.keep import keeps
from cs_vl.checks.load import Loaded, load
from cs_vl.checks.source import parse


def cells(*sources: str, ids: tuple[str, ...] = (), kinds: tuple[str, ...] = ()) -> list[Cell]:
    made = []
    for i, source in enumerate(sources):
        kind, grade_id = (kinds[i : i + 1] or ("code",))[0], (ids[i : i + 1] or ("",))[0]
        made.append(Cell(i + 1, kind, textwrap.dedent(source).strip("\n"), grade_id))
    return made


def value(*sources: str, **more) -> object:
    """What the exercise `f` returns, loaded from cells."""
    loaded = load(cells(*sources, **more), ["f"])
    assert "f" in loaded.answers, (loaded.problems, loaded.notes)
    return loaded.answer("f")()


# --- right answers load ------------------------------------------------------------------------------------

HELPERS = {
    "a lambda": ("g = lambda x: x + 1", "g(2)", 3),
    "a partial": ("from functools import partial\ng = partial(max, 3)", "g(2)", 3),
    "a constant of NumPy": ("import numpy as np\nR = np.sqrt(9)", "R", 3),
    "a constant of others": ("A = 1\nB = A + 1\nC = [A, B, *[A]]", "sum(C)", 4),
    "two at once": ("a, (b, *c) = 1, (2, 3, 4)", "a + b + c[1]", 7),
    "one after the other": ("N = 1\nN += 2", "N", 3),
    "a list of names": ("__all__ = ['f']\n__all__ += ['g']", "len(__all__)", 2),
    "a cache": ("_cache = {}", "_cache.setdefault(1, 2)", 2),
    "a dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass P:\n    x: int\n    y: list = field(default_factory=list)",
        "P(3).x",
        3,
    ),
    "a named tuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 2",
        "P(1).y",
        2,
    ),
    "an old named tuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')", "P(1, 2).y", 2),
    "an enum": ("from enum import Enum\nclass E(Enum):\n    A = 3", "E.A.value", 3),
    "an enum in one line": ("from enum import Enum\nE = Enum('E', 'A B')", "E.B.value", 2),
    "a class in a class": ("class A:\n    class B:\n        x = 3", "A.B.x", 3),
    "a metaclass": ("class M(type):\n    x = 3\nclass A(metaclass=M):\n    pass", "A.x", 3),
    "a comprehension": ("SQUARES = {i: i * i for i in range(4)}", "SQUARES[3]", 9),
    "a table that a function makes": ("def table():\n    return [1, 2]\nT = table()", "T[1]", 2),
    "a table of a table": (
        "from collections import Counter\nC = Counter('aab')\nD = dict(C.items())",
        "D['a']",
        2,
    ),
    "a choice": (
        "import torch\ndevice = 'cuda' if torch.cuda.is_available() else 'cpu'",
        "len(device) > 2",
        True,
    ),
    "a branch": ("import sys\nif sys.version_info >= (3, 0):\n    x = 3\nelse:\n    x = 2", "x", 3),
    "an import that may fail": (
        "try:\n    import nothing_of_this_name as m\n    print(m)\nexcept ImportError:\n    print('no')\n    m = None",
        "m",
        None,
    ),
    "type aliases": (
        "from typing import Callable, Optional, TypeVar, Union\nfrom jaxtyping import Float\nfrom torch import Tensor\n"
        "T = TypeVar('T')\nA = Optional[int]\nB = Union[int, str]\nC = Callable[[int], int]\n"
        "D = dict[str, list[int]] | None\nE = Float[Tensor, 'a b']",
        "(A, B, C, D, E) is not None",
        True,
    ),
    "a module of torch": ("from torch import nn\ngelu = nn.GELU()", "gelu is not None", True),
    "a seed": ("import torch\nG = torch.manual_seed(0)", "G is not None", True),
    "a generator": ("import torch\nG = torch.Generator().manual_seed(3)", "G.initial_seed()", 3),
    "a pattern": ("import re\nW = re.compile(r'\\w+')", "W.findall('ab c')", ["ab", "c"]),
    "an f-string": ("n = 2\ns = f'{n}{n:02d}'", "s", "202"),
    "a default that a function makes": ("def g(x=max(1, 3)):\n    return x", "g()", 3),
    "a decorator of one's own": (
        "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def h(*a):\n        return 2 * g(*a)\n    return h\n@twice\ndef g():\n    return 3",
        "g()",
        6,
    ),
    "a decorator of torch": (
        "import torch\n@torch.no_grad()\ndef g():\n    return torch.is_grad_enabled()",
        "g()",
        False,
    ),
    "a cached function": (
        "from functools import lru_cache\n@lru_cache(maxsize=None)\ndef g(n):\n    return n",
        "g(3)",
        3,
    ),
    "a method from outside": ("class A:\n    pass\ndef g(self):\n    return 3\nA.g = g", "A().g()", 3),
    "an entry from outside": ("KINDS = {}\ndef g():\n    return 3\nKINDS['g'] = g", "KINDS['g']()", 3),
    "a walrus": ("(n := 3)", "n", 3),
    "an overloaded bracket": (
        "class A:\n    def __class_getitem__(cls, i):\n        return i\nB = A[3]",
        "B",
        3,
    ),
    "a match in a function": (
        "def g(x):\n    match x:\n        case [a, *_]:\n            return a",
        "g([3, 4])",
        3,
    ),
    "a star import": ("from math import *", "floor(pi)", 3),
    "a global": ("def g():\n    global n\n    n = 3\n    return n", "g()", 3),
    "an assert beside it": ("assert False, 'story'\nx = 3", "x", 3),
    "a script's guard": ("x = 3\nif __name__ == '__main__':\n    while True:\n        pass", "x", 3),
}


@pytest.mark.parametrize("what", HELPERS)
@pytest.mark.parametrize("where", ["before", "after", "beside"])
def test_what_a_right_answer_needs_is_there(what, where):
    helper, expression, expected = HELPERS[what]
    answer = f"def f():\n    return {expression}"
    sources = {"before": (helper, answer), "after": (answer, helper), "beside": (f"{helper}\n{answer}",)}[
        where
    ]
    assert value(*sources) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "f = lambda: 3",
        "from functools import partial\nf = partial(int, 3)",
        "def make(n):\n    def g():\n        return n\n    return g\nf = make(3)",
        "class F:\n    def __call__(self):\n        return 3\nf = F()",
        "import torch\ndef f():\n    return 3\nf = torch.no_grad()(f)",
        "try:\n    import nothing_of_this_name\nexcept ImportError:\n    def f():\n        return 3",
        "if True:\n    def f():\n        return 3",
        "def f():\n    return 3\nprint(f())\nassert f() == 4",
        "from __future__ import annotations\ndef f(x: Undefined = 0) -> Undefined:\n    return 3",
        "    # the whole cell is indented\n    def f():\n        return 3",
        "def f():\n    '''\n% of all\n! attention\n?'''\n    return 3\n%timeit f()",
        "%matplotlib inline\ndef f():\n    return len('%d' \\\n    % 100)",
        "!pip install \\\n    torch \\\n    numpy\ndef f():\n    return 3",
        "files = !ls\nold = %pwd\na, b = !ls\ndef f():\n    return 3\nf?\nf??\n?f",
        "%%time\ndef f():\n    return 3",
        "\n\n%%capture out\ndef f():\n    return 3",
        "%%timeit -n 1\ndef f():\n    return 3",
        "if True:\n    !pip install x\ndef f():\n    return 3",
        "import asyncio\nawait asyncio.sleep(100)\nx = await g()\ndef f():\n    return 3",
        "def f():\n    return len(input('your name?')) + 3",
        "def f():\n    display(get_ipython().system('ls'), get_ipython().run_cell_magic('a', 'b', 'c'))\n    return 3",
        "import ipywidgets\n@ipywidgets.interact(x=(0, 3))\ndef g(x):\n    return x\ndef f():\n    return 3",
        "def f():\n    return 3\nf = f\n",
        "def f():\n\treturn 3\n\x0c\ndef g():\n\treturn 4",
        "return 5\ndef f():\n    return 3",
        "def f():\n    return 3\nraise SystemExit",
        "import matplotlib.pyplot as plt\nplt.show()\ndef f():\n    return 3\nfor i in range(3): plt.plot(i)",
    ],
)
def test_right_answers_in_odd_clothes(answer):
    assert value(answer) == 3


def test_an_answer_of_a_later_python_or_a_lost_name_gets_a_sentence():
    loaded = load(cells("def f(x: Undefined):\n    return 3"), ["f"])
    assert loaded.problems == {"f": "Cell 1, line 1: NameError: name 'Undefined' is not defined"}


def test_the_future_holds_for_the_cells_after():
    assert value("from __future__ import annotations", "def f(x: Undefined = 0):\n    return 3") == 3


# --- story does not run ------------------------------------------------------------------------------------

HANG = "def train():\n    while True:\n        pass\ndef table(n):\n    return train()"
STORY = [
    "while True:\n    pass",
    "for i in iter(int, 1):\n    pass",
    "model = train()",
    "loss = train().log()",
    "loss = torch.log(train())",
    "best = table(3).exp().sqrt().array()",
    "text = f'{train()}'",
    "text = f'{1:{train()}}'",
    "part = [1, 2][train():]",
    "part = [1, 2][train()]",
    "late = lambda x=train(): x",
    "late = lambda *, x=train(): x",
    "both = [*train()]",
    "pick = train() if True else 0",
    "pick = {1: train()}",
    "pick = {**train()}",
    "(x := train())",
    "x: int = train()",
    "x: train() = train()",
    "x += train()",
    "x = y = train()",
    "x[train()] = train()",
    "all_of_them = [train() for _ in range(3)]",
    "lazy = list(train() for _ in range(3))",
    "n = 10 ** 10 ** 10",
    "n = (9 ** 99) ** 99",
    "n = -10 ** -1000000",
    "n = 1 << 10 ** 10",
    "n = [0] * 10 ** 12",
    "n = 1000000000 * [0]",
    "n = 10 ** 10 * 'a'",
    "n = '%1000000000d' % 1",
    "n = sum(range(10 ** 10))",
    "n = list(range(10 ** 10))",
    "with train():\n    pass",
    "del train()[0]",
    "assert train()",
    "raise train()",
    "return train()",
    "if train():\n    x = 1",
    "if True:\n    train()",
    "if __name__ == '__main__':\n    train()\n    x = train()",
    "try:\n    train()\nfinally:\n    train()",
    "match train():\n    case _:\n        train()",
    "await train()",
    "print(train())",
    "lambda: train()\ntrain()",
    "getattr(train(), 'x')",
    "train().x = 3",
]


@pytest.mark.parametrize("story", STORY)
def test_story_does_not_run(story):
    start = time.monotonic()
    assert value("import torch\n" + HANG, story, "def f():\n    return 3") == 3
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("story", ["model = train()", "x = [train() for _ in range(3)]", "n += train()"])
def test_what_an_answer_does_not_read_is_story(story):
    """Not even where its own variables, or attributes, have such a name; nor where a helper of the story reads it."""
    names = (
        "class A:\n    model = x = n = 1\n    y = model + x + n\n"
        "def f(model=0):\n    x = n = 3\n    return A and x or n.model or n.x\n"
    )
    assert value(HANG, story, names, "def show():\n    return model, x, n") == 3


def test_a_loop_that_an_answer_needs_is_told():
    loaded = load(cells("T = {}", "for i in range(3):\n    T[i] = i", "def f():\n    return T[1]"), ["f"])
    assert [
        note for note in loaded.notes if note.startswith("Cell 2, line 1 does not run") and "needs T" in note
    ]


def test_story_that_stumbles_over_story_is_no_note():
    loaded = load(cells("data = read()\nlabels = data.y\nmore = labels + 1", "def f():\n    return 3"), ["f"])
    assert loaded.notes == []
    assert load(cells("labels = dta.y"), ["f"]).notes == [
        "Cell 1, line 1: NameError: name 'dta' is not defined"
    ]


# --- what hangs or breaks costs itself only ----------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(cs_vl.checks.load, "STATEMENT_SECONDS", 0.3)
    monkeypatch.setattr(cs_vl.checks.load, "ALL_SECONDS", 2.0)


@pytest.mark.parametrize(
    "hog",
    [
        "class A:\n    while True:\n        pass",
        "def g(x=[i for i in iter(int, 1)]):\n    pass",
        "@(lambda g: [i for i in iter(int, 1)])\ndef g():\n    pass",
        "class A:\n    while True:\n        try:\n            while True:\n                pass\n        except Exception:\n            break",
        "x = [i for i in iter(int, 1)]\ndef g():\n    return x",
    ],
)
def test_a_hog_costs_itself_only(hurried, hog):
    start = time.monotonic()
    loaded = load(cells(hog, *[hog] * 9, "def f():\n    return 3 if g else 4"), ["f"])
    assert "f" in loaded.answers and time.monotonic() - start < 4
    assert all("did not come to an end" in note for note in loaded.notes if "A" in hog)


def test_an_answer_that_needs_the_storys_training_by_accident_costs_little():
    training = ["def train():\n    while True:\n        pass", *(f"w{i} = train()" for i in range(20))]
    forgot = "def f():\n    return " + " + ".join(f"w{i}" for i in range(20))
    start = time.monotonic()
    loaded = load(cells(*training, forgot, "def g():\n    return 3"), ["f", "g"])
    assert time.monotonic() - start < 8 and loaded.answer("g")() == 3
    assert "did not come to an end in 1.5 seconds" in loaded.notes[0]


@pytest.mark.parametrize(
    "broken",
    [
        "class A:\n    raise SystemExit",
        "class A:\n    raise KeyboardInterrupt",
        "class A:\n    raise GeneratorExit",
        "class E(Exception):\n    def __str__(self):\n        raise SystemExit\nclass A:\n    raise E",
        "class E(BaseException):\n    def __str__(self):\n        return 3\nclass A:\n    raise E",
        "class A:\n    raise Exception(chr(0xd800) * 10**6)",
        "class A:\n    raise type('x' * 10**6, (Exception,), {})",
        "class A:\n    globals().clear()",
        "class A:\n    del __builtins__",
        "class f:\n    __module__ = 3",
        "class F:\n    def __getattr__(self, name):\n        raise SystemExit\nf = F()",
        "class M(type):\n    def __getattribute__(self, name):\n        raise SystemExit\nclass f(metaclass=M):\n    pass",
        "class F:\n    def __eq__(self, other):\n        raise SystemExit\n    def __bool__(self):\n        raise SystemExit\nf = F()",
        "f = None",
        "f = 3",
        "x = " + "+".join(["1"] * 900),
        "x = " + "-" * 900 + "1",
        "x = " + "+".join(["1"] * 5000),
        "x = " + "(" * 5000,
        "x = " + "[" * 150 + "]" * 150,
        "x = " + "f" + ".a" * 2000,
        "def g():\n    return " + "+".join(["1"] * 800) + "\ndef g():\n    return " + "+".join(["2"] * 800),
        "def g():\n    raise E(" + "+".join(["1"] * 800) + ")",
        "def g(): pass\n" * 5000,
        "if 1: pass\n" + "elif 1: pass\n" * 900,
        "lambda: " * 5000,
        "\0",
        "x = '\ud800'",
        "x = 1\x00",
        "\ufeffx = 1",
        "def g(:\n    pass",
        "'''",
        "  x = 1\n y = 2",
        "%%\n%%\n%",
        "!\n" * 3000,
        "?",
        "=" * 10**5,
        "from __future__ import braces",
        "from __future__ import nothing",
        "from . import x",
        "import " + "a." * 900 + "b",
        "def g(" + ",".join(f"a{i}" for i in range(5000)) + "): pass",
    ],
)
def test_a_broken_cell_costs_itself_only(broken):
    start = time.monotonic()
    loaded = load(cells(broken, "def h():\n    return 3", "def g():\n    return h()", kinds=()), ["f", "g"])
    assert loaded.answer("g")() == 3
    assert all(len(text) < 500 for text in [*loaded.notes, *loaded.problems.values()])
    assert time.monotonic() - start < 10


def test_a_syntax_error_in_a_long_cell_costs_its_own_definition():
    source = """
        import math
        def f():
            return 3

        @decorated
        def g(x)
            return 4

        N = 2
        def h():
            return N
    """
    loaded = load(cells(source), ["f", "g", "h"])
    assert loaded.answer("f")() == 3 and loaded.answer("h")() == 2
    assert list(loaded.problems) == ["g"] and "Cell 1, line 6 is not Python" in loaded.problems["g"]
    loaded = load(
        cells(textwrap.dedent(source) + "\nclass k\n    pass\ndef f(x: Undefined): pass"), ["f", "g", "k"]
    )
    assert "line 13" in loaded.problems["k"]
    assert "line 6" in loaded.problems["g"] and loaded.answer("f")() == 3


def test_another_language_is_no_python():
    loaded = load(
        cells("%%bash\nimport os\n", "\n%%writefile f.py\ndef f():\n    pass", "%%html\n<b>"), ["f"]
    )
    assert (loaded.answers, loaded.notes) == ({}, [])
    assert "os" not in loaded.namespace


# --- which definition counts -------------------------------------------------------------------------------

BLANK = "@exercise\ndef f():\n    '''What.'''\n    # YOUR CODE HERE\n    raise NotImplementedError()"
SETUP = cells("from cs_vl.exercise import exercise")


def from_cells(*sources: str, **more) -> Loaded:
    return load(cells(*sources, **more), ["f"], SETUP)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_answer_in_another_cell_counts_before_the_blank(order):
    there = [(BLANK, "f"), ("def f():\n    return 3", "")]
    loaded = from_cells(*(there[i][0] for i in order), ids=tuple(there[i][1] for i in order))
    assert loaded.answer("f")() == 3 and loaded.notes == []


def test_a_class_with_a_blank_method_is_blank():
    blank = (
        "class f:\n    def a(self):\n        return 1\n    def b(self):\n        raise NotImplementedError"
    )
    assert (
        from_cells(blank.replace("raise NotImplementedError", "return 3"), blank, ids=("", "f"))
        .answer("f")()
        .b()
        == 3
    )


@pytest.mark.parametrize(
    "answer", ["if x:\n        return 3\n    else:\n        return 4", "with open(x):\n        return 3"]
)
def test_what_returns_something_is_no_blank_whatever_was_left_below(answer):
    old, new = "def f(x):\n    return 'old'", f"def f(x):\n    {answer}\n    raise NotImplementedError()"
    loaded = from_cells(old, new, ids=("", "f"))
    assert "if x" not in answer or loaded.answer("f")(True) == 3
    assert loaded.notes == ["f is defined in cells 1, 2: the one in cell 2 counts."]


def test_code_pasted_with_its_prompts_is_read():
    assert from_cells(">>> def f(x):\n...     return x + 1\n...\n>>> y = f(2)").answer("f")(2) == 3


def test_a_copy_with_the_same_grade_id_counts_if_it_is_the_last():
    loaded = from_cells("def f():\n    return 1", "def f():\n    return 2", BLANK, ids=("f", "f", "f"))
    assert loaded.answer("f")() == 2
    assert loaded.notes == ["f is defined in cells 1, 2: the one in cell 2 counts."]
    assert from_cells("def f():\n    return 1", "def  f(): return 1", ids=("f", "f")).notes == []


def test_a_broken_try_is_told_where_all_else_is_blank():
    loaded = from_cells(BLANK, "def f()\n    return 3", ids=("f",))
    assert "f" not in loaded.answers and "Cell 2, line 1 is not Python" in loaded.problems["f"]
    loaded = from_cells("def f():\n    return 3", "def f()\n    return 4", ids=("", "f"))
    assert loaded.answer("f")() == 3 and "Cell 2, line 1 is not Python" in loaded.notes[0]


@pytest.mark.parametrize(
    "later",
    [
        "f = f()",
        "f = 3",
        "f = None",
        "from math import floor as f",
        "from cs_vl.exercise import exercise as f",
    ],
)
def test_a_later_use_of_the_name_is_no_answer(later):
    assert from_cells("def f():\n    return 3", later).answer("f")() == 3
    blank = from_cells(BLANK, later, ids=("f",)).answers["f"]
    with pytest.raises(NotImplementedError):
        blank()


@pytest.mark.parametrize("kind", ["markdown", "raw"])
@pytest.mark.parametrize("text", ["{}", "My answer:\n\n```python\n{}\n```\nI like it.", "Here it is:\n\n{}"])
def test_an_answer_in_a_text_cell_counts_where_there_is_no_other(kind, text):
    text = text.format("import math\n\n@exercise\ndef f():\n    return g() + math.floor(1.5)")
    loaded = from_cells(BLANK, text, "def g():\n    return 2", ids=("f",), kinds=("code", kind))
    assert loaded.answer("f")() == 3
    assert loaded.notes == [
        "Cell 2 is no code cell, but holds f, which was read as code: turn it into a code cell."
    ]
    loaded = from_cells("def f():\n    return 1", text, kinds=("code", kind))
    assert loaded.answer("f")() == 1 and loaded.notes == []


def test_a_text_that_talks_of_the_name_is_no_answer():
    loaded = from_cells("Now write `def f(x): ...`, the class f and so on", kinds=("markdown",))
    assert (loaded.answers, loaded.problems, loaded.notes) == ({}, {}, [])


def test_later_cells_may_use_a_helpers_name_for_other_things():
    first = "eps = 3\ndef helper():\n    return eps\ndef f():\n    return helper() + later()"
    second = "def helper():\n    return 10\ndef g():\n    return helper()"
    third = "eps = 'story'\nhelper = None\ndef later():\n    return 100"
    loaded = load(cells(first, second, third), ["f", "g"])
    for _ in range(2):
        assert loaded.answer("f")() == 103
        assert loaded.answer("g")() == 10


@pytest.mark.parametrize(
    "later",
    [
        "sum = 0",
        "sum, len = 0, 5",
        "from torch import *",
        "def sum(x):\n    return 'story'",
        "import math as sum",
    ],
)
def test_later_cells_may_use_pythons_own_names_for_other_things(later):
    first, second = (
        "def f():\n    return sum([1, 2])",
        "def sum(x):\n    return 10\ndef g():\n    return sum([1])",
    )
    loaded = load(cells(first, second, later), ["f", "g"])
    for _ in range(2):
        assert (loaded.answer("f")(), loaded.answer("g")()) == (3, 10)


def test_a_helper_that_is_mended_before_the_check_counts_as_it_is_then():
    wrong, answer = "def helper():\n    return 1", "def f():\n    return helper()"
    mended, check = "def helper():\n    return 3", 'from cs_vl.checks import check\n\ncheck("f")'
    story = "helper = None"
    another = "def helper():\n    return 10\ndef g():\n    return helper()"
    for after, found in (
        ((mended, check, story), 3),
        ((check, mended), 1),  # by then it has been checked
        ((mended, another, check), 1),  # another answer's helper
        ((mended, story), 1),  # no check: as it was written
    ):
        assert load(cells(wrong, answer, *after), ["f", "g"]).answer("f")() == found


@pytest.mark.parametrize(
    "call",
    [
        "TABLE.append(2)", "TABLE[0].append(2)", "init.zeros_(TABLE)", "setattr(f, 'a', TABLE)", "for i in range(3):\n    TABLE.append(i)",
        "%time TABLE = list(range(3))",
    ],
)  # fmt: skip
def test_a_call_that_changes_what_an_answer_needs_is_told(call):
    loaded = from_cells(f"TABLE = [[1]]\ndef f():\n    return TABLE\n{call}")
    assert any("does not run in grading" in note for note in loaded.notes) == ("%" not in call)
    quiet = from_cells(
        f"TABLE = [[1]]\n{call}\nimport math\nmath.sqrt(2)\nprint(TABLE)\ndef f():\n    return math"
    )
    assert all("setattr" in call for _ in quiet.notes)


def test_many_lines_of_magics_cost_few_looks_at_the_cell(monkeypatch):
    looks, look = [], cs_vl.checks.source.ast.parse
    monkeypatch.setattr(cs_vl.checks.source.ast, "parse", lambda source: looks.append(1) or look(source))
    parsed = parse("\n".join(["!ls", "x = 1"] * 99) + "\ndef f(): pass")
    assert len(looks) <= cs_vl.checks.source.FEW + 1 and len(parsed.body) == 2 * 99 + 1


def test_helpers_of_another_answer_are_not_mixed_up():
    loaded = load(
        cells(
            "def f():\n    return h()",
            "def h():\n    return 1\ndef g():\n    return h()",
            "def h():\n    return 2",
        ),
        ["f", "g"],
    )
    assert (loaded.answer("g")(), loaded.answer("f")(), loaded.answer("g")()) == (1, 2, 1)


def test_an_answer_finds_itself_whatever_has_its_name_later():
    first = "class A:\n    def g(self):\n        return 3\nclass f(A):\n    def g(self):\n        return super(f, self).g()"
    assert load(cells(first, "from cs_vl.exercise import exercise as f"), ["f"]).answer("f")().g() == 3


def test_lines_of_a_traceback_are_the_cells_own():
    import traceback

    loaded = load(cells("x = 1\r\n", "\x0c\n%time x\ndef f():\n    y = 0\n    return 1 / y"), ["f"])
    try:
        loaded.answers["f"]()
    except ZeroDivisionError as error:
        assert traceback.extract_tb(error.__traceback__)[-1].line == "return 1 / y"


# --- magics ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "magic", ["%matplotlib inline", "!echo it's (", "?len", "len?", "x = !ls {", "%cd 'a", "!ls \\\n -l"]
)
def test_a_magic_becomes_pass(magic):
    body = parse(f"a = 1\n{magic}\nb = ('%d'\n  % a)\n{magic}").body
    assert [type(node).__name__ for node in body] == ["Assign", "Pass", "Assign", "Pass"]


def test_no_python_stays_none():
    for source in ("a = = 1", "a = what it is\n%time", "def f(:", "x = (1,\n%time\n"):
        with pytest.raises(SyntaxError):
            parse(source)


def test_no_help_for_those_who_import_the_graders_own():
    assert not keeps(parse("from autograder.hidden import check_hidden").body[0])
