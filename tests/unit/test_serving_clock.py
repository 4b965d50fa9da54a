"""Limits of time for many requests, kept by one timer."""

import asyncio

import pytest

from btplug.serving._clock import Clock

SOON, LONG = 0.01, 60.0  # seconds


def test_what_takes_too_long_is_cancelled_and_ends_as_a_timeout():
    clock, ended = Clock(), []

    async def run():
        with pytest.raises(TimeoutError):
            await work()
        return asyncio.current_task().cancelling()

    async def work():
        with clock.limit(SOON) as limit:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(limit.late)

    assert asyncio.run(run()) == 0
    assert ended == [True]


def test_what_ends_in_time_goes_on_undisturbed():
    clock = Clock()

    async def run():
        with clock.limit(SOON) as short:
            pass
        with pytest.raises(TimeoutError), clock.limit(10 * SOON):
            await asyncio.Event().wait()
        return short.late

    assert asyncio.run(run()) is False


def test_an_error_of_what_is_limited_is_raised_as_it_is():
    async def run():
        with Clock().limit(LONG):
            raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(run())


def test_whoever_is_cancelled_by_somebody_else_as_well_stays_cancelled():
    clock = Clock()

    async def work(inside):
        with clock.limit(SOON) as limit:
            inside.append(limit)
            await asyncio.Event().wait()

    async def run():
        inside = []
        task = asyncio.ensure_future(work(inside))
        await asyncio.sleep(0)
        # Both in one step of the loop, before the task runs again.
        inside[0].check(asyncio.get_running_loop().time() + LONG)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())


def test_a_call_of_its_own_cancels_nothing():
    clock = Clock()

    async def run():
        called = asyncio.Event()
        with clock.limit(SOON, called.set) as limit:
            await called.wait()
        return limit.late

    assert asyncio.run(run())


def test_many_limits_share_one_timer_which_ends_with_the_last():
    clock = Clock()

    async def run():
        loop, made = asyncio.get_running_loop(), []
        call_later = loop.call_later
        loop.call_later = lambda *call: made.append(call) or call_later(*call)

        async def one(seconds):
            with clock.limit(seconds):
                await asyncio.Event().wait()

        work = (one(seconds) for seconds in [SOON] * 500)
        found = await asyncio.gather(*work, return_exceptions=True)
        armed = len(made)
        while clock._timer is not None:
            await asyncio.sleep(SOON)
        return {type(one) for one in found}, armed

    kinds, armed = asyncio.run(run())

    assert kinds == {TimeoutError}
    assert armed < 500


def test_a_second_loop_gets_a_timer_of_its_own():
    clock = Clock()

    async def begun():
        with clock.limit(LONG):
            pass

    async def late():
        with pytest.raises(TimeoutError), clock.limit(SOON):
            await asyncio.Event().wait()

    asyncio.run(begun())
    asyncio.run(asyncio.wait_for(late(), 10))
