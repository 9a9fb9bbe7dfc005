"""The project file ``roadworthy.toml``: read with every problem named by its line, and written for people.

In: the file's text, or a ``ProjectSpec`` and remarks. Out: ``ReadProject`` (the spec, and the line of every
key), or the text. Laws: reading what was written gives the same spec; a file with problems gives one
ProjectFileError that lists them all.
"""

from __future__ import annotations

from roadworthy.formats.project.reading import ReadProject, parse_project, read_project
from roadworthy.formats.project.writing import write_project

__all__ = ["ReadProject", "parse_project", "read_project", "write_project"]
