"""A run's samples in this process, with one model: one after the other, on threads, or as streams of one batch."""

from __future__ import annotations

__all__ = ["Alone", "settings_of", "together"]

from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from types import TracebackType
from typing import Any, Self

from evalkit.errors import EvalkitError
from evalkit.models.protocol import BatchingModel, StreamingModel
from evalkit.models.together import Together
from evalkit.records import FailedSample, Latency
from evalkit.run.failures import costs_a_sample, put_failed, reason_of
from evalkit.run.fingerprint import full_fingerprint
from evalkit.run.memory import memory_readers
from evalkit.run.pace import Clock, Pace
from evalkit.run.plan import RunPlan
from evalkit.run.pool import run_all, run_together
from evalkit.run.provenance import host_facts
from evalkit.run.sample import SampleRunner
from evalkit.run.surroundings import ALONE, Surroundings
from evalkit.run.work import Work
from evalkit.stream import StreamSample
from evalkit.timing import MemorySampler


class Alone:
    """This process, with the model of a plan.

    Attributes:
        repeats: Nobody else goes on with a sample.
        latency: Whether other runs work between two seconds of this one.

    Args:
        plan: What runs.
        around: What it shares with runs beside it.
    """

    repeats = False

    def __init__(self, plan: RunPlan, around: Surroundings = ALONE) -> None:
        self._plan, self._around = plan, around
        self.latency: Latency = "turns" if around.in_turns else "alone"
        self._ending = ExitStack()
        self._tell: Callable[[str], None] | None = None

    def __enter__(self) -> Self:
        """Make the model.

        Raises:
            EvalkitError: It cannot be made.
        """
        self._plan.model.check()
        self._model = self._ending.enter_context(closing(self._around.make(self._plan.model)))
        try:
            self._fingerprint = full_fingerprint(self._plan, self._model)
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free it; a model that breaks while it is closed takes nothing away from a run that is done."""
        try:
            self._ending.close()
        except EvalkitError as fault:
            if self._tell is None or kind is not None:
                raise
            self._tell(f"warning: {fault}")

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The fingerprint of the run, with the model loaded."""
        return self._fingerprint

    @property
    def host(self) -> dict[str, Any]:
        """This machine."""
        return host_facts(self._model.placement.device)

    def run(self, work: Work) -> None:
        """Run samples until each is done or failed.

        Raises:
            Interrupted: The run was asked to stop.
            StopRun: A session ended it in good order.
        """
        plan, self._tell = self._plan, work.notify
        group, model = together(plan, self._model)
        with MemorySampler(memory_readers(self._model.placement.device)) as memory:
            runner = SampleRunner(
                model=model,
                recorder=work.recorder,
                checkpoints=work.checkpoints,
                stopping=work.stop,
                heartbeat=work.stop.give_up_long_work,
                advanced=work.advanced,
                watch=work.watch,
                warn=work.warn,
                memory=memory,
                reads=self._around.reads if group is None else self._around.reads.for_streams(group.meet),
                **settings_of(plan, group),
            )
            one: Callable[[StreamSample], None] = partial(_run_sample, runner=runner, work=work)
            try:
                if group is None:
                    run_all(work.samples, one, plan.concurrency, work.stop)
                else:
                    run_together(work.samples, one, plan.options.streams, work.stop, group)
            finally:
                for warning in getattr(self._model, "warnings", ()):
                    work.warn(warning)


def settings_of(plan: RunPlan, group: Together | None) -> dict[str, Any]:
    """Return what a runner of samples takes from the options, whoever it works for."""
    return {
        "seed": plan.options.seed,
        "checkpoint_seconds": plan.options.checkpoint_seconds,
        "gather": None if group is None else group.gather,
        "pace": Pace.of(plan.options, Clock() if group is None else Clock(sleep=group.sleep)),
    }


def together(plan: RunPlan, model: StreamingModel) -> tuple[Together | None, StreamingModel]:
    """Return what lets streams advance together, where the run asks for it, and the model as they see it."""
    if plan.options.streams == 1:
        return None, model
    assert isinstance(model, BatchingModel)  # check_streams saw to it
    return model.together()


def _run_sample(sample: StreamSample, runner: SampleRunner, work: Work) -> None:
    if work.recorder.status(sample.id) is not None:
        work.advanced(sample.end - sample.start)
        return
    try:
        runner.run(sample)
    except Exception as error:
        if not costs_a_sample(error):
            raise
        reason = reason_of(error)
        work.fail(FailedSample(sample=sample.id, reason=reason, error=type(error).__name__))
        put_failed(sample, reason, work.recorder)
    else:
        work.recorder.finish(sample.id, "done")
    work.checkpoints.drop(sample.id)
