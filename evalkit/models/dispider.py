"""Dispider: named in the field's tables, nothing without its own weights; what asking for it says (no torch)."""

from __future__ import annotations

__all__ = ["DispiderEntry", "dispider"]

from evalkit.errors import UsageError
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.protocol import Capabilities
from evalkit.models.settings import GenerationSettings
from evalkit.settings import SettingGroups


class DispiderEntry(ModelEntry):
    """Dispider (arXiv 2501.03218): a compressor network that decides and retrieves, and one that answers.

    Decision, retrieval and compression are all trained, so that no memory over other weights can stand for it. Its
    published predictions are scored like any others.
    """

    name = "dispider"
    summary = (
        "Dispider: its published predictions are scored (evalkit score); it runs on nothing but its own weights."
    )

    @property
    def groups(self) -> SettingGroups:
        """How it would decode; it has no settings of its own."""
        return {"generation": GenerationSettings}

    @property
    def capabilities(self) -> Capabilities:
        """It answers; as released it decides to speak and is not heard."""
        return Capabilities(narrate=None, options=False, why="as released it answers once, at the end")

    def recipe(self, choice: ModelChoice) -> ModelRecipe:
        """Refuse.

        Raises:
            UsageError: Always; one line says what it needs and what can be done.
        """
        raise UsageError(
            "dispider runs on its own checkpoint alone (two networks with trained decision and retrieval), and "
            "evalkit loads none of that architecture: score its published predictions with `evalkit score --task "
            "ovobench FILE`, or give the model as a class of your own (docs/adding-a-model.md)"
        )


dispider = DispiderEntry()
