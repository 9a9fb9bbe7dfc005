"""A picture goes with a message where the channel takes one, and is never a reason that a message waits or is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from roadworthy.errors import RoadworthyError
from roadworthy.lifecycle.alerts import AlertStore, Channel, Links, deliver
from roadworthy.lifecycle.alerts.messages import numbers_told
from roadworthy.lifecycle.alerts.pictures import Draw
from roadworthy.lifecycle.transactions import Transactions
from roadworthy.records.alert import Policy, Signal, Word
from roadworthy.testing import FixedClock, MemoryNotifier

POLICY = Policy()
START = datetime(2026, 1, 2, tzinfo=UTC)
START_US = int(START.timestamp() * 1e6)
PNG = b"\x89PNG"
PLAIN, SHOWN = "scrypt:aaaaaa", "scrypt:bbbbbb"


class Gallery(MemoryNotifier):
    """A channel that takes pictures; ``refuses`` makes it refuse messages that have any."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[dict[str, bytes]] = []
        self.refuses = False

    def takes_pictures(self) -> bool:
        return True

    def notify_with(self, key: str, title: str, body: str, pictures: Mapping[str, bytes]) -> None:
        if self.refuses:
            raise RoadworthyError("too large")
        self.notify(key, title, body)
        self.pictures.append(dict(pictures))


class Two:
    """A channel of text and one of pictures, and what was asked to be drawn."""

    def __init__(self, kept: Transactions) -> None:
        self.kept, self.plain, self.shown = kept, MemoryNotifier(), Gallery()
        self.channels = {PLAIN: Channel("sms aaaaaa", self.plain), SHOWN: Channel("slack bbbbbb", self.shown)}
        self.asked: list[list[int]] = []

    def draw(self, numbers: Sequence[int]) -> Mapping[int, bytes | str]:
        self.asked.append(list(numbers))
        return dict.fromkeys(numbers, PNG)

    def alarm(self, *rules: str, group: str = "quality", channels: Sequence[str] = (PLAIN, SHOWN)) -> None:
        store = AlertStore("clicks", channels=channels, links=Links(dashboard="https://rw.example/"))
        said = [
            Signal(rule=rule, word=Word.ALARM, at_us=1, source="1 h/1", group=group, sentence=f"{rule}\n\nAlert 99: x")
            for rule in rules
        ]
        with self.kept.changing() as connection:
            store.apply(connection, said, POLICY, START_US)

    def deliver(self, draw: Draw | None) -> tuple[int, int]:
        store = AlertStore("clicks", channels=list(self.channels))
        done = deliver(self.kept, store, self.channels, POLICY, FixedClock(START), draw=draw)
        return done.sent, done.failed


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    opened = Transactions(f"sqlite:///{tmp_path / 'registry.db'}")
    yield Two(opened)
    opened.close()


def test_each_alert_is_drawn_once_for_channels_that_take_pictures(two: Two) -> None:
    two.alarm("a", "b", "c", "d")
    two.alarm("skew", group="data")
    assert two.deliver(two.draw) == (4, 0)
    assert [sorted(numbers) for numbers in two.asked] == [[1, 2, 3, 5]]  # three of the first message, one of the other
    names = sorted(sorted(one) for one in two.shown.pictures)
    assert names == [["alert-1.png", "alert-2.png", "alert-3.png"], ["alert-5.png"]]
    assert sorted(key for key, _, _ in two.plain.messages) == sorted(key for key, _, _ in two.shown.messages)
    assert all("picture" not in body for _, _, body in two.plain.messages)


def test_nothing_is_drawn_where_no_channel_takes_pictures(two: Two) -> None:
    two.alarm("a", channels=[PLAIN])
    assert two.deliver(two.draw) == (1, 0)
    assert two.asked == []


def test_drawing_that_breaks_costs_the_picture_and_says_so(two: Two) -> None:
    def broken(_numbers: Sequence[int]) -> Mapping[int, bytes | str]:
        raise OSError("the disk is gone")

    two.alarm("a")
    assert two.deliver(broken) == (2, 0)
    assert two.shown.pictures == []
    (body,) = [body for _, _, body in two.shown.messages]
    assert body.endswith("no picture: drawing broke: OSError; the figures are on the alert's page")


def test_what_could_not_be_drawn_is_told(two: Two) -> None:
    two.alarm("a")
    assert two.deliver(lambda numbers: dict.fromkeys(numbers, "nothing was kept")) == (2, 0)
    assert "no picture: nothing was kept; " in two.shown.messages[0][2]


def test_a_channel_that_does_not_take_the_picture_gets_the_message_at_once(two: Two) -> None:
    two.shown.refuses = True
    two.alarm("a")
    assert two.deliver(two.draw) == (2, 0)
    ((_, _, body),) = two.shown.messages
    assert "no picture: the channel did not take it" in body


def test_a_channel_that_is_down_is_tried_again_without_drawing(two: Two) -> None:
    two.alarm("a", channels=[SHOWN])
    two.shown.failing = True
    assert two.deliver(two.draw) == (0, 1)
    two.shown.failing = False
    store = AlertStore("clicks", channels=[SHOWN])
    later = FixedClock(datetime(2026, 1, 2, 1, tzinfo=UTC))
    assert deliver(two.kept, store, two.channels, POLICY, later, draw=two.draw).sent == 1
    assert two.asked == [[1]]
    assert two.shown.pictures == []


def test_the_link_to_the_alert_stands_in_every_message(two: Two) -> None:
    two.alarm("a")
    two.deliver(None)
    for channel in (two.plain, two.shown):
        assert "dashboard  https://rw.example/alerts/1" in channel.messages[0][2]
    assert two.shown.pictures == []


def test_names_from_the_data_are_no_numbers_of_alerts(two: Two) -> None:
    two.alarm("a")
    two.deliver(None)
    assert numbers_told(two.plain.messages[0][2]) == (1,)
