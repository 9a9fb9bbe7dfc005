"""The frozen nouns that flow through Roadworthy, each with its digest and its parents' digests.

Records know neither how to draw nor how to store themselves. Laws: records are immutable; equal content has
equal digests (``digests``); counts add up (``data.CleanRows``).
"""
