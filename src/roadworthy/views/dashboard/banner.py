"""What stands on top of every page: what fires, and whether anybody still watches.

In: a ``Site``. Out: a ``Banner``. Law: a monitor that has stopped is said on every page, because nothing else that a
page says of live traffic is news then.
"""

from __future__ import annotations

import msgspec

from roadworthy.lifecycle import cursors
from roadworthy.lifecycle.alerts.rows import open_alerts
from roadworthy.measures.heartbeat import Health, pulse
from roadworthy.records.alert import AlertState
from roadworthy.views.dashboard.site import Site

__all__ = ["Banner", "banner_of"]

_EXPECTED_S = 10.0
_START = "start it: `roadworthy watch`, or `roadworthy up`, which serves as well"


class Banner(msgspec.Struct, frozen=True, kw_only=True):
    """``firing`` counts alerts that nobody has taken; ``champion`` is the version in service, empty for none.

    ``pulse`` is how the monitor is, in a word, ``watching`` in a sentence, ``look_first`` what to look at.
    """

    champion: str
    firing: int
    pulse: Health
    watching: str
    look_first: str = ""


def banner_of(site: Site) -> Banner:
    """What every page says on top."""
    with site.reading() as connection:
        firing = sum(one.state is AlertState.FIRING for one in open_alerts(connection, site.name))
        beat = cursors.last_beat(connection, site.name)
    champion = site.champion()
    now_us = site.now_us()
    how = pulse(beat, now_us, expected_s=_EXPECTED_S, since_us=now_us)
    never = beat is None
    return Banner(
        champion="" if champion is None else champion.title,
        firing=firing,
        pulse=Health.STALLED if never else how.health,
        watching="nobody watches this project's live traffic yet" if never else how.sentence,
        look_first="start it: `roadworthy watch`, or `roadworthy up`, which serves as well"
        if never
        else how.look_first,
    )
