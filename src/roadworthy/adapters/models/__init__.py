"""Models that others trained and that stand outside: boosters in their libraries' own files, endpoints.

In: a file or an address. Out: something that answers numbers for numbers, and says what it takes. Laws: nothing is
unpickled; what an optional library is needed for asks for its extra. Each library has its module, imported when such
a model is opened; ``fresh_…`` are what a fresh process runs to load one.
"""

from roadworthy.adapters.models.booster import OpenBooster

__all__ = ["OpenBooster"]
