"""The results in nbgrader's own gradebook, in a course folder that nbgrader's commands and formgrader understand.

    course/
      gradebook.db           nbgrader's database
      nbgrader_config.py     its settings; written once, then the TA's
      source/<a>/            the solved notebook
      submitted/<student>/   what was handed in
      autograded/<student>/  the same with our verdicts, for formgrader

What a person gave (scores, extra credit, comments) is never touched.
"""

from autograder.gradebook.course import Course, due_date
from autograder.gradebook.write import GradebookError, write_gradebook

__all__ = ["Course", "GradebookError", "due_date", "write_gradebook"]
