"""Options, plans, runs and their folders; what runs tensors is imported when a run starts.

The module can be called: ``evalkit.run(model=..., task=...)`` is `evalkit.run.start.run`. A function of that name
could not stand beside a package of that name, since importing the package puts the module in the function's place.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from evalkit.run.options import RunOptions, merge_options, parse_assignment, read_config
from evalkit.run.plan import RunPlan, make_plan

if TYPE_CHECKING:
    from evalkit.records.tables import RunTables

__all__ = ["RunOptions", "RunPlan", "make_plan", "merge_options", "parse_assignment", "read_config"]


class _Room(ModuleType):
    def __call__(self, *, model: str | object, task: str, **options: Any) -> "RunTables":
        """Run a model on a task; see `evalkit.run.start.run` for everything it takes."""
        from evalkit.run.start import run

        return run(model=model, task=task, **options)


sys.modules[__name__].__class__ = _Room
