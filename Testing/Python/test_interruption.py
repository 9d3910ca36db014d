"""A request to stop: it comes at a safe moment, once, and does not get lost."""

from __future__ import annotations

import contextlib
import signal

import pytest
from CoWLandmarksLib.jobs.interruption import Interruption
from CoWLandmarksLib.jobs.progress import Event, EventKind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    with pytest.raises(KeyboardInterrupt), Interruption():
        signal.raise_signal(number)
        pytest.fail("the interrupt did not come")


def test_writing_ends_before_the_interrupt_comes() -> None:
    written = []
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption, interruption.deferred():
        signal.raise_signal(signal.SIGINT)
        written.append("file")
    assert written == ["file"]


def test_a_second_signal_does_not_disturb_the_cleaning() -> None:
    cleaned = []
    with pytest.raises(KeyboardInterrupt), Interruption():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            cleaned.append("folder")
    assert cleaned == ["folder"]


def test_an_interrupt_that_a_library_swallowed_comes_again_with_the_next_event() -> None:
    seen: list[Event] = []
    with pytest.raises(KeyboardInterrupt), Interruption() as interruption:
        events = interruption.watching(seen.append)
        events(Event(EventKind.STAGE, "reading", "read", 0.0))
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        events(Event(EventKind.STAGE, "writing", "write", 0.5))
    assert [event.stage for event in seen] == ["read"]


def test_the_handlers_of_others_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_last_work_of_a_process_a_signal_finds_nothing_to_stop(number: signal.Signals) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with Interruption(last=True):
            pass
        signal.raise_signal(number)
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)
