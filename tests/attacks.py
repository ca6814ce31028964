"""Hostile and accidental submissions, as a table: what `softmax` does instead of, or before, its job.

Each is graded together with a right `layer_norm`, which must keep its points unless the attack is in the loading.
`Through` and `Held` are what an attempt raises: an exception's name is told by the report.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """
    Args:
        name, kind: for the table.
        body: of `softmax(x, axis=-1)`, which may use `right(x, axis)`; or, with `whole`, all that comes before `layer_norm`.
        status: what the verdict on softmax may be.
        says: a regular expression that its sentence matches.
        others: whether layer_norm passes.
    """

    name: str
    kind: str
    body: str
    status: str = "error"
    says: str = ""
    whole: bool = False
    others: bool = True

    @property
    def cells(self) -> list[str]:
        if self.whole:
            return [SETUP, self.body]
        lines = self.body.strip("\n").split("\n")
        return [SETUP, "\n".join(["def softmax(x, axis=-1):", *(f"    {line}" for line in lines)])]


SETUP = """
import asyncio, atexit, builtins, collections, ctypes, gc, io, itertools, mmap, os, random, re, resource, signal, socket
import subprocess, sys, tempfile, threading, time
import numpy as np, torch
from ctypes import pythonapi as libc
class Through(Exception): pass
class Held(Exception): pass
class LUCKY:
    number = random.random()
def right(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)
def through(got=True):
    raise Through if got else Held
def held(function):
    try:
        got = function()
    except (NameError, TypeError, SyntaxError):
        raise  # a mistake of the attack's own
    except BaseException:
        raise Held from None
    raise Through if got else Held
"""


def attempt(expression: str) -> str:
    """Through, if the expression is true; held, where it raises."""
    return f"held(lambda: {expression})"


def _attacks(kind: str, *rows: tuple, whole: bool = False, others: bool = True) -> list[Attack]:
    return [Attack(name, kind, body, *rest, whole=whole, others=others) for name, body, *rest in rows]


TIMEOUT = ("timeout", "endless loop")
MEMORY = ("out of memory", "memory")
HELD = ("error", "raised Held")
FAILED = ("failed",)
PASSED = ("passed",)

RESOURCES = _attacks(
    "resources",
    ("loop", "while True: pass", *TIMEOUT),
    ("loop that catches everything", "while True:\n    try:\n        time.sleep(9)\n    except BaseException: pass", *TIMEOUT),
    ("loop that ignores signals", """
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
while True: pass
""", *TIMEOUT),
    ("loop in C", "collections.deque(itertools.repeat(0), maxlen=0)", *TIMEOUT),
    ("regular expression", "re.match(r'(a+)+$', 'a' * 60 + 'b')", *TIMEOUT),
    ("huge power", "return 9 ** 9 ** 9", *TIMEOUT),
    ("sleep", "time.sleep(10**6)", *TIMEOUT),
    ("stop self", "os.kill(os.getpid(), signal.SIGSTOP)", *TIMEOUT),
    ("deadlock", "lock = threading.Lock()\nlock.acquire()\nlock.acquire()", *TIMEOUT),
    ("wait for a child that never ends", "if os.fork() == 0:\n    time.sleep(10**6)\nos.wait()", *TIMEOUT),
    ("memory in Python", "held = []\nwhile True: held.append(bytearray(10**7))", *MEMORY),
    ("memory in NumPy", "return np.ones(10**11)", *MEMORY),
    ("memory in torch", "return torch.zeros(10**11)", *MEMORY),
    ("memory that is shared", "held = mmap.mmap(-1, 2**31)", "error", "OSError|Held"),
    ("memory in children", """
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(b'x') * (100 * 2**20)
        time.sleep(60)
time.sleep(60)
""", *MEMORY),
    ("memory, caught", "held = []\nwhile True:\n    try: held.append(bytearray(10**8))\n    except MemoryError: held.clear()", "timeout|out of memory"),
    ("memfd", attempt("os.memfd_create('x') >= 0"), *HELD),
    ("/dev/shm", attempt("open('/dev/shm/x', 'w')"), *HELD),
    ("shared memory of System V", attempt("libc.shmget(0, 2**28, 0o1600) >= 0"), *HELD),
    ("fork bomb", "while True:\n    try: os.fork()\n    except OSError: pass", "timeout|error"),
    ("forks to the limit", "while True: os.fork()", "error|timeout"),
    ("threads", "for _ in range(10**4): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "error", "RuntimeError"),
    ("threads that stay busy", """
def spin():
    while True: pass
for _ in range(8): threading.Thread(target=spin, daemon=True).start()
return right(x, axis)
""", "passed|timeout|error"),
    ("disk", "with open('/tmp/x', 'wb') as f:\n    while True: f.write(bytes(2**20))", "error", "OSError"),
    ("disk, in many files", "for i in range(10**6): open(f'/tmp/{i}', 'w').close()", "error", "OSError"),
    ("disk, a file with a hole", "with open('/tmp/x', 'wb') as f: f.truncate(10**13)", "error", "OSError"),
    ("disk, elsewhere", attempt("[open(p + '/x', 'w') for p in ('/', '/usr', '/var/tmp', '/course', '/packages/0', '/dev')]"), *HELD),
    ("descriptors", "held = [os.open('/dev/null', 0) for _ in range(10**5)]", "error", "OSError"),
    ("stdout", "for _ in range(200): print('x' * 10**6)\nreturn right(x, axis)", *PASSED),
    ("stdout and stderr, as descriptors", "for _ in range(200): os.write(1, b'x' * 10**6); os.write(2, b'x' * 10**6)\nreturn right(x, axis)", *PASSED),
    ("recursion", "return softmax(x, axis)", "error", "RecursionError"),
    ("recursion without its limit", "sys.setrecursionlimit(10**9)\nthreading.stack_size()\nreturn eval('(' * 90 + '1' + ')' * 90) + softmax(x, axis)", "crashed|error|out of memory|timeout"),
    ("output of 80 MB", "return np.zeros(10**7)", "refused", "too large"),
    ("output of a terabyte, not there", "return np.broadcast_to(np.zeros(1), (10**6, 10**6))", "refused", "too large"),
    ("output of ten million numbers in a list", "return [0.0] * 10**7", "refused|out of memory|timeout"),
    ("output of nested lists", "for _ in range(10**5): x = [x]\nreturn x", "error|crashed|refused"),
)  # fmt: skip

LOADING = _attacks(
    "resources, while loading",
    ("loop at import", "class Loop:\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass", "timeout", "definitions alone did not load in 6 seconds"),
    ("fork bomb at import", "class Bomb:\n    while True:\n        try: os.fork()\n        except OSError: pass", "timeout", "definitions"),
    ("memory at import", "class Hoard:\n    for _ in range(6):\n        if os.fork() == 0:\n            held = bytearray(b'x') * (100 * 2**20)\n            time.sleep(60)\n    time.sleep(60)", "out of memory", "definitions were loaded.*memory"),
    ("crash at import", "class Crash:\n    ctypes.string_at(0)", "crashed", "definitions were loaded.*SIGSEGV"),
    ("end at import", "class End:\n    os._exit(0)", "crashed", "definitions were loaded.*exit status 0"),
    whole=True,
    others=False,
)  # fmt: skip

FORGING = _attacks(
    "forging",
    ("NumPy and torch say yes", """
np.allclose = torch.allclose = torch.equal = np.array_equal = lambda *a, **k: True
np.abs = lambda x: 0 * x
np.ndarray.__eq__ if False else None
torch.Tensor.__eq__ = torch.Tensor.__sub__ = lambda self, other: self
return x
""", *FAILED),
    ("builtins say yes", "builtins.abs = builtins.max = lambda *a: 0\nbuiltins.all = builtins.isinstance = lambda *a: True\nreturn x", "failed|error|refused|crashed"),
    ("the judge's parts are replaced", """
import cs_vl.checks.compare as compare, cs_vl.checks.judge as judge, cs_vl.checks.spec as spec
compare.compare = judge.compare = judge._judge_stage = lambda *a, **k: None
spec.Stage.rtol = spec.Stage.points = 10**9
return x
""", *FAILED),
    ("status “passed”", "import cs_vl.checks.worker as w\nw.Serving.answer = lambda *a: {'status': 'passed', 'results': {}, 'error': '', 'message': '', 'where': ''}\nos.write(3, b'')", "refused|error|crashed|failed"),
    ("points in a reply", "import cs_vl.checks.worker as w\nw.asdict = lambda o: {'status': 'ok', 'results': {}, 'points': 100}\nreturn x", "failed|refused"),
    ("results that are no dict", "import cs_vl.checks.worker as w\nw.run_probe = w.asdict = lambda *o: {'status': 'ok', 'results': [1], 'error': '', 'message': '', 'where': ''}\nreturn x", "failed|refused"),
    ("a reply of ten thousand brackets", "import cs_vl.checks.wire as w\nw.json.dumps = lambda x: '[' * 10000\nreturn x", "refused", "damaged"),
    ("one array, named a million times", """
import cs_vl.checks.wire as w
w.pack = lambda tree: ({'status': 'ok', 'error': '', 'message': '', 'where': '', 'results': {'output': [{'$array': '0', 'torch': True}] * 10**5}}, {'0': np.zeros(10**6)})
return x
""", "refused", "too large"),
    ("a flood is announced", "import cs_vl.checks.wire as w, struct\nw.send = lambda s, t, m=0: (s.write(struct.pack('>QQ', 2**60, 2**60)), s.flush())\nreturn x", "refused", "size limit"),
    ("half a reply", "import cs_vl.checks.wire as w, struct\nw.send = lambda s, t, m=0: (s.write(struct.pack('>QQ', 100, 100)), s.flush())\nreturn x", *TIMEOUT),
    ("a reply that trickles", """
import cs_vl.checks.wire as w, struct
def send(stream, tree, most=0):
    stream.write(struct.pack('>QQ', 10**6, 0))
    while True:
        stream.write(b'1'); stream.flush(); time.sleep(0.01)
w.send = send
return x
""", *TIMEOUT),
    ("garbage into every descriptor", "for fd in range(3, 256):\n    try: os.write(fd, b'x' * 4096)\n    except OSError: pass\nreturn x", "refused|timeout|failed"),
    ("replies ahead of time", """
from cs_vl.checks import wire
from dataclasses import asdict
from cs_vl.checks.run import Outcome
buffer = io.BytesIO()
wire.send(buffer, asdict(Outcome('ok', {'output': np.ones((2, 3, 5))})))
for fd in range(3, 64):
    try: os.write(fd, buffer.getvalue() * 20)
    except OSError: pass
return x
""", "failed|refused|timeout"),
    ("every descriptor is closed", "os.closerange(0, 256)\nreturn x", "crashed", "died|exit status"),
    ("exit code 0", "os._exit(0)", "crashed", "exit status 0"),
    ("SystemExit", "sys.exit(0)", "error", "SystemExit"),
    ("exit handlers", "atexit.register(os._exit, 0)\nreturn x", *FAILED),
    ("tensor that equals everything", """
class Always(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return True
return torch.zeros(2).as_subclass(Always)
""", "refused|error", "class of its own"),
    ("array that equals everything", """
class Always(np.ndarray):
    def __eq__(self, other): return np.ones(self.shape, bool)
    def __array_finalize__(self, other): pass
return x.view(Always)
""", "refused", "class of its own"),
    ("object that equals everything", "class Always:\n    __eq__ = lambda self, other: True\n    shape = x.shape\nreturn Always()", "refused", "came where"),
    ("generator", "return (y for y in x)", "refused", "generator"),
    ("tensor without numbers", "return torch.zeros(x.shape, device='meta')", "refused", "meta"),
    ("masked array", "return np.ma.masked_all(x.shape)", "refused", "class of its own"),
    ("objects in an array", "return np.array([x, None], dtype=object)", "refused", "type object"),
    ("NaN", "return x * np.nan", *FAILED),
    ("wrong shape", "return x[None]", "failed", "shape"),
    ("the inputs", "return x", *FAILED),
    ("the inputs, changed in place", "x[...] = 1 / x.shape[axis]\nreturn x", *FAILED),
    ("zeros", "return np.zeros_like(x)", *FAILED),
    ("what the visible check stores", """
from cs_vl.checks.visible import references
return next(iter(references('a1_transformer')['softmax']['stages'].values())).expected[0]['output']
""", *FAILED),
    ("frames", """
def walk():
    frame = sys._getframe(1)
    while frame:
        names = {*frame.f_locals, *frame.f_globals}
        if {'expected', 'StageCases', 'secret'} & names or 'autograder.references' in sys.modules: return True
        frame = frame.f_back
held(walk)
""", *HELD),
    ("garbage collector", "held(lambda: any(type(o).__name__ in ('StageCases', 'Drawn', 'Journal') for o in gc.get_objects()))", *HELD),
    ("parent's memory, in /proc", attempt("open(f'/proc/{os.getppid()}/mem', 'rb')"), *HELD),
    ("parent's memory, by a system call", "buffer = ctypes.create_string_buffer(8)\nplace = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)\nthrough(libc.process_vm_readv(os.getppid(), place, 1, place, 1, 0) >= 0)", *HELD),
    ("ptrace", "through(libc.ptrace(16, os.getppid(), 0, 0) == 0)", *HELD),
    ("import the answers", attempt("__import__('autograder')"), *HELD),
    ("import the known mistakes", attempt("__import__('autograder.known.a1_transformer')"), *HELD),
    ("import the stand-ins", attempt("__import__('cs_vl.checks.a1_transformer.stand_ins')"), *HELD),
    ("the library's own", "from cs_vl.nn.by_hand import softmax as theirs\nreturn theirs(x, axis)", "missing|error"),
    ("look for answers in files", """
def found():
    for place in os.listdir('/packages'):
        if any(os.listdir(f'/packages/{place}/{name}') for name in ('cs_vl', 'autograder') if os.path.exists(f'/packages/{place}/{name}')): return True
    for folder, _, files in os.walk('/course'):
        if 'stand_ins.py' in files or 'known' in folder: return True
        if folder.endswith('cs_vl/nn') and 'NotImplementedError' not in open(folder + '/by_hand.py').read(): return True
    return any(os.path.exists(path) for path in {COURSE!r})
held(found)
""", *HELD),
    ("right on the visible shapes only", "return right(x, axis) if x.shape == (2, 3) else x", *FAILED),
    ("behave when the grader is seen", "return x if os.getppid() == 1 else right(x, axis)", *FAILED),
)  # fmt: skip

EXFILTRATION = _attacks(
    "exfiltration",
    ("network", attempt("socket.create_connection(('127.0.0.1', {PORT}), 1)"), *HELD),
    ("network, by a program", "held(lambda: subprocess.run(['/bin/bash', '-c', 'echo x > /dev/tcp/127.0.0.1/{PORT}']).returncode == 0)", *HELD),
    ("names", attempt("socket.getaddrinfo('example.org', 80)"), *HELD),
    ("the secret", attempt("open({SECRET!r})"), *HELD),
    ("another submission", attempt("open({OTHER!r})"), *HELD),
    ("home", attempt("os.path.exists({HOME!r})"), *HELD),
    ("environment", attempt("[v for k, v in os.environ.items() if 'SECRET' in k or '4711' in v]"), *HELD),
    ("the judge's processes", attempt("os.listdir('/proc')"), *HELD),
    ("terminal", attempt("open('/dev/tty')"), *HELD),
    ("keys of the kernel", "through(libc.syscall(250, 0, -3, 0, 0) >= 0)", *HELD),
    ("mounts", "through(libc.mount(b'none', b'/tmp', b'tmpfs', 0, b'') == 0)", *HELD),
    ("namespaces", "through(libc.unshare(0x10000000) == 0)", *HELD),
    ("root", attempt("os.setuid(0) is None"), *HELD),
    ("kill the judge", attempt("[os.kill(pid, 0) for pid in {PIDS}]"), *HELD),
    ("a hidden case as a message", "raise ValueError(f'MARK {x.tolist()}')", "error", "raised ValueError"),
    ("a hidden case as an exception's name", "raise type('MARK_%d' % (abs(x.flat[0]) * 1e6), (Exception,), {})", "error", "raised Exception"),
    ("a hidden case as a line", "import cs_vl.checks.run as r\nr._where = lambda *a: f'cell 2, line 1: MARK {x.tolist()}'\nraise ValueError", "error", "raised ValueError"),
    ("a hidden case as a refusal", "from cs_vl.checks.wire import Refused\nraise Refused(f'MARK {x.tolist()}')", "refused", "no result"),
)  # fmt: skip

CRASHES = _attacks(
    "crashes",
    ("segmentation fault", "ctypes.string_at(0)", "crashed", "SIGSEGV"),
    ("abort", "os.abort()", "crashed", "SIGABRT"),
    ("kill self", "os.kill(os.getpid(), signal.SIGKILL)", "crashed", "SIGKILL"),
    ("kill all", "os.kill(-1, signal.SIGKILL)\nreturn x", "error", "ProcessLookupError"),
    ("kill parent", "os.kill(os.getppid(), signal.SIGKILL)\nreturn x", *FAILED),
    ("stop parent", "os.kill(os.getppid(), signal.SIGSTOP)\nreturn x", *FAILED),
    ("terminate parent", "for s in (2, 6, 11, 14, 15, 17): os.kill(os.getppid(), s)\nreturn x", *FAILED),
    ("MemoryError", "raise MemoryError", *MEMORY),
    ("KeyboardInterrupt", "raise KeyboardInterrupt", "timeout"),
    ("exception that can't be printed", "class Bad(Exception):\n    def __str__(self): raise self\nraise Bad", "error", "raised Bad"),
    ("a daemon", """
if os.fork() == 0:
    os.setsid()
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(number, signal.SIG_IGN)
    if os.fork(): os._exit(0)
    while True: time.sleep(1)
return right(x, axis)
""", *PASSED),
    ("a new thread raises", "threading.Thread(target=lambda: 1 / 0).start()\nreturn right(x, axis)", *PASSED),
    ("modules are removed", "sys.modules.clear()\nreturn right(x, axis)", "passed|error|crashed|refused"),
    ("the next exercise's tools are removed", "np.sqrt = np.mean = np.ndarray = None\nreturn x", "failed|error|crashed|refused"),
    ("a process that does not end", """
import cs_vl.checks.wire as w
def receive(*a):
    while True:
        try: time.sleep(60)
        except BaseException: pass
w.receive = receive
return right(x, axis)
""", "timeout"),
    ("a process that does not go", """
def stay(*a):
    while True: time.sleep(60)
os._exit = stay
return right(x, axis)
""", *PASSED),
    ("a descriptor in the way", "os.dup2(0, 5); os.dup2(0, 6)\nreturn x", "failed|refused|timeout|crashed"),
)  # fmt: skip

CHANCE = _attacks(
    "non-determinism",
    ("random", "return right(x, axis) if random.random() < 0.5 else x", "passed|failed"),
    ("NumPy's stream", "return right(x, axis) if np.random.rand() < 0.5 else x", "passed|failed"),
    ("torch's stream", "return right(x, axis) if torch.rand(()) < 0.5 else x", "passed|failed"),
    ("order of a set", "return right(x, axis) if list({'a', 'b', 'c'})[0] == 'a' else x", "passed|failed"),
    ("random numbers while loading", "return right(x, axis) if LUCKY.number < 0.5 else x", "passed|failed"),
    ("process number", "return right(x, axis) if os.getpid() % 2 else x", "passed|failed"),
)  # fmt: skip

RIGHT = "def softmax(x, axis=-1):\n    return right(x, axis)\n"
FORMATS = _attacks(
    "formats",
    ("endless story", RIGHT + "while True:\n    pass", *PASSED),
    ("magics", RIGHT + "!rm -rf /\n%timeit softmax(3)\n", *PASSED),
    ("input", RIGHT + "name = input()\nx = 3", *PASSED),
    ("top-level await", RIGHT + "await asyncio.sleep(1)", "passed|error"),
    ("exit() in the story", RIGHT + "exit()", *PASSED),
    ("a package that is not there", "import ipywidgets_of_nowhere\n" + RIGHT, *PASSED),
    whole=True,
)

ATTACKS = [*RESOURCES, *LOADING, *FORGING, *EXFILTRATION, *CRASHES, *CHANCE, *FORMATS]
