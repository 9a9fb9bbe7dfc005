"""The command line, the outermost edge.

In: words. Out: the result on standard output, everything else on standard error, and an exit code: 0 ready or done,
1 not ready, 2 bad usage or project file, 3 not enough evidence, 70 a fault of Roadworthy's own. Nothing heavy is
imported before a command needs it, so that ``--help`` answers at once.
"""

from roadworthy.cli import (  # noqa: F401 - their commands join those of app
    alerting,
    feedback,
    inspecting,
    packaging,
    serving,
    signing,
    watching,
)
from roadworthy.cli.app import main

__all__ = ["main"]
