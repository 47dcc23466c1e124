"""How replies are decoded, as settings (no torch)."""

from __future__ import annotations

__all__ = ["GenerationSettings"]

from pydantic import BaseModel, ConfigDict, Field


class GenerationSettings(BaseModel):
    """How replies are decoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float = Field(default=0.9, ge=0, description="Sampling temperature; 0 decodes greedily.")
    top_k: int = Field(default=50, ge=0, description="Sample among the k likeliest tokens; 0 for all.")
    top_p: float = Field(default=1.0, gt=0, le=1, description="Sample among the likeliest of this total mass.")
    repetition_penalty: float = Field(default=1.05, gt=0, description="Penalty on ids that stand in the context.")
    max_new_tokens: int = Field(default=20, ge=1, description="Most tokens spoken in one second.")
    answer_tokens: int = Field(default=128, ge=1, description="Most tokens of an answer to a question.")
    answer_temperature: float = Field(
        default=0.0, ge=0, description="Sampling temperature of answers to questions; 0 decodes greedily."
    )
    exact_tokens: bool = Field(
        default=False, description="Say exactly as many tokens as are allowed: for comparing speeds."
    )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature == 0

    @property
    def of_answers(self) -> GenerationSettings:
        """The settings under which a question is answered."""
        return self.model_copy(update={"temperature": self.answer_temperature})
