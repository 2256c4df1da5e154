"""A budget is asked before work and told after it; what would pass it is not begun, and what was done is kept."""

from __future__ import annotations

import pytest

from configs.budget import BudgetConfig
from configs.errors import BudgetReached
from tasks.purse import Cost, Purse


def purse(**limits: float) -> Purse:
    return Purse(BudgetConfig.model_validate(limits))


def test_what_fits_is_begun_and_what_would_pass_is_not() -> None:
    mine = purse(gpu_seconds=10)
    with mine.hold(Cost(6), "shot 1") as hold:
        hold.pay(Cost(7))
    with pytest.raises(BudgetReached, match=r"shot 2 would take about 4\.00 s of device time and 3\.00 s"):
        mine.hold(Cost(4), "shot 2").__enter__()
    with mine.hold(Cost(3), "shot 3"):
        pass
    assert mine.spent == Cost(7)


def test_work_in_flight_is_held_and_paid_work_no_longer() -> None:
    mine = purse(bytes=100)
    with mine.hold(Cost(0, 60), "a") as first:
        with pytest.raises(BudgetReached):
            mine.hold(Cost(0, 50), "b").__enter__()
        first.pay(Cost(0, 30))
        with mine.hold(Cost(0, 40), "c"):
            pass
        with pytest.raises(BudgetReached):
            mine.hold(Cost(0, 41), "d").__enter__()
    with mine.hold(Cost(0, 70), "e"):
        pass


def test_nothing_to_pay_is_never_refused() -> None:
    mine = purse(gpu_seconds=1)
    with mine.hold(Cost(1), "a") as hold:
        hold.pay(Cost(5))
    with mine.hold(Cost(0, 10**9), "found in the store"):
        pass


def test_a_piece_larger_than_the_limit_is_told_so() -> None:
    with pytest.raises(BudgetReached, match=r"give budget\.gpu_seconds at least 40"):
        purse(gpu_seconds=10).hold(Cost(40), "shot 1").__enter__()


def test_a_wrong_forecast_stops_between_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tasks.purse.time.monotonic", lambda: clock[0])
    mine = purse(gpu_seconds=10)
    with mine.hold(Cost(1), "shot 1") as hold:
        for now in (1.0, 2.0, 3.0, 4.0):
            clock[0] = now
            hold.check(2, "shot 1")  # two workers: 8 device-seconds, and a step is 2 more
        clock[0] = 4.9
        with pytest.raises(BudgetReached, match="took longer than forecast"):
            hold.check(2, "shot 1")


def test_stages_of_the_driver_take_no_device_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tasks.purse.time.monotonic", lambda: clock[0])
    with purse(gpu_seconds=10).hold(Cost(1), "shot 1") as hold:
        hold.begin(on_device=False)
        clock[0] = 500.0
        hold.check(2, "shot 1")
        hold.begin(on_device=True)
        clock[0] = 501.0
        hold.check(2, "shot 1")
