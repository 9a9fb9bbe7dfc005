"""Watching: windows of live traffic, judged by the same standard as the release.

``cutting`` says where windows end, ``observed`` what their rows are, ``watched`` what they are held to, ``quality``
how good the answers were, ``judging`` what comes of it all, ``signals`` what alerts are told.
"""
