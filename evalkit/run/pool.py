"""Samples under way at once: on threads where a model waits for a server, as streams where one network serves."""

from __future__ import annotations

__all__ = ["run_all", "run_together"]

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from evalkit.models.together import Together
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
    _raise_first([error for one in running if (error := _raised(one)) is not None])


def run_together(
    samples: Sequence[StreamSample],
    run: Callable[[StreamSample], None],
    at_once: int,
    stop: StopRequest,
    group: Together,
) -> None:
    """Run samples in their order, so many as streams that advance together; see `run_all` for the rest.

    Args:
        samples: What runs.
        run: Runs one of them.
        at_once: How many.
        stop: Asked where one raises.
        group: What lets the streams advance.
    """
    errors: list[BaseException] = []

    def one(sample: StreamSample) -> None:
        if stop():
            return
        try:
            run(sample)
        except Exception as error:
            errors.append(error)
            stop.ask()

    group.run((partial(one, sample) for sample in samples), at_once)
    if not errors and stop():
        raise Interrupted
    _raise_first(errors)


def _raise_first(errors: Sequence[BaseException]) -> None:
    """Raise what went wrong first; that samples were stopped for it comes after."""
    stops = [error for error in errors if isinstance(error, Interrupted)]
    for error in [*(e for e in errors if e not in stops), *stops]:
        raise error


def _raised(one: Future[None]) -> BaseException | None:
    return None if one.cancelled() else one.exception()
