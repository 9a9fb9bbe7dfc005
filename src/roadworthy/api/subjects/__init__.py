"""The models that ``inspect`` takes, each as one ``Subject``.

In: whatever names or is a model, and labelled rows. Out: a ``Subject``: its scores on those rows, a way to ask it
again, what it costs. ``subject`` holds the noun, ``naming`` tells what a word, a file or an object is, and one module
per kind makes the subject: ``bundled``, ``plain`` (graphs, boosters, endpoints), ``estimators``.
"""

from roadworthy.api.subjects.naming import subject_of
from roadworthy.api.subjects.subject import Cost, Scored, Subject

__all__ = ["Cost", "Scored", "Subject", "subject_of"]
