"""Samples under way at once, each on a thread of its own: for models that wait for a server most of the time."""

from __future__ import annotations

__all__ = ["run_all"]

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait

from evalkit.run.stop import Interrupted, StopRequest
from evalkit.stream import StreamSample


def run_all(
    samples: Sequence[StreamSample], run: Callable[[StreamSample], None], at_once: int, stop: StopRequest
) -> None:
    """Run samples in their order, at most so many at once.

    Args:
        samples: What runs.
        run: Runs one of them.
        at_once: How many; 1 runs them in the caller's own thread.
        stop: Asked where one raises, so that the others end in good order before the error goes on.

    Raises:
        Interrupted: The samples were asked to stop.
        Exception: Whatever the first that failed raised.
    """
    if at_once == 1:
        for sample in samples:
            run(sample)
        return
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="sample")
    try:
        running = [pool.submit(run, sample) for sample in samples]
        wait(running, return_when=FIRST_EXCEPTION)
    except BaseException:  # a second Ctrl-C: whoever waits for a reply is not waited for
        stop.ask()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    if any(_raised(one) for one in running if one.done()):
        stop.ask()
    pool.shutdown(wait=True, cancel_futures=stop())
    errors = [error for one in running if (error := _raised(one)) is not None]
    stops = [error for error in errors if isinstance(error, Interrupted)]
    for error in [*(e for e in errors if e not in stops), *stops]:
        raise error


def _raised(one: Future[None]) -> BaseException | None:
    return None if one.cancelled() else one.exception()
