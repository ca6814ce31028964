"""Make everything that is built: notebooks, the student edition of the library, the stored references.

Read in this order: `regions` (find an answer in the library, strip it), `notebooks`, `edition`, `hashes`, `drift`.
"""
