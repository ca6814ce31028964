"""The TA's side: build and release assignments, grade submissions, report.

Read in this order: `known` (wrong and right answers), `references`, `build`, `release`, `reader`, `runner`,
`grade`, `report`.
"""
