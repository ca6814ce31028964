"""Walls around a student's code: it sees no file of yours, no network and no other submission, and is gone after.

    judge (pool.py, walled.py) --> bubblewrap (bwrap.py) --> warm process (inside/server.py) --> a submission --> an exercise

Read in this order:

    bwrap.py             what the file system looks like from inside: the command line of bubblewrap
    inside/server.py     one warm process a core: Python, torch and the student edition, imported once
    inside/walls.py      what each submission gets of its own: namespaces, scratch, no capabilities, a filter
    inside/limits.py     memory, processes, files, CPU time
    inside/submission.py loads a student's definitions, then one fork an exercise runs that exercise
    seccomp.py           which system calls are denied
    pool.py              starts warm processes and lends them out
    walled.py            the other end of one submission, for the judge
    preflight.py         tries every wall from inside, as a student's code could

Nothing in `inside` imports anything from outside of it but the standard library and the student edition: it is all of
the grader that can be seen from there.
"""
