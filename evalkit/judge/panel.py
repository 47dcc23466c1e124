"""How far several judges agree about the same pairs; the coefficients are those of evalkit.stats."""

from __future__ import annotations

__all__ = ["PanelAgreement", "agreement_of_judges"]

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from evalkit.errors import UsageError
from evalkit.judge.pairs import Winner
from evalkit.records.schema import VerdictRecord

if TYPE_CHECKING:
    from evalkit.stats import Agreement

_Item = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PanelAgreement:
    """Agreement about single verdicts (a pair in one order), with intervals by video.

    Args:
        judges: Names, in the order given.
        items: Pairs in one order that at least one judge saw.
        kappa: Cohen's kappa of each two judges.
        ac1: Gwet's AC1 of each two judges, steadier where nearly all votes are alike.
        alpha: Krippendorff's alpha of all of them.
    """

    judges: tuple[str, ...]
    items: int
    kappa: Mapping[tuple[str, str], Agreement]
    ac1: Mapping[tuple[str, str], Agreement]
    alpha: Agreement

    def to_json(self) -> dict[str, Any]:
        """Return plain data; the judges of a coefficient are joined by `` / ``."""
        return {
            "judges": list(self.judges),
            "items": self.items,
            "kappa": {" / ".join(two): asdict(found) for two, found in self.kappa.items()},
            "ac1": {" / ".join(two): asdict(found) for two, found in self.ac1.items()},
            "alpha": asdict(self.alpha),
        }


def agreement_of_judges(
    panel: Mapping[str, Sequence[VerdictRecord]], *, draws: int | None = None, seed: int = 0
) -> PanelAgreement:
    """Compare what several judges said about the same pairs.

    A verdict that is no vote counts as missing. Several passes of one judge can be compared the same way.

    Args:
        panel: Verdicts by judge.
        draws: Resamples of the intervals; the statistics' own default where not given.
        seed: Of the resamples.

    Raises:
        UsageError: Fewer than two judges, or two with nothing in common.
    """
    from evalkit.stats import BOOTSTRAP_DRAWS, cohen_kappa, gwet_ac1, krippendorff_alpha

    if len(panel) < 2:
        raise UsageError("agreement needs the verdicts of at least two judges")
    resamples = BOOTSTRAP_DRAWS if draws is None else draws
    clusters: dict[_Item, str] = {}
    for verdicts in panel.values():
        clusters.update({(verdict.pair, verdict.order): verdict.cluster for verdict in verdicts})
    items = sorted(clusters)
    videos = [clusters[item] for item in items]
    ratings = {name: _ratings(verdicts, items) for name, verdicts in panel.items()}
    twos = list(combinations(panel, 2))
    return PanelAgreement(
        judges=tuple(panel),
        items=len(items),
        kappa={(a, b): cohen_kappa(ratings[a], ratings[b], videos, draws=resamples, seed=seed) for a, b in twos},
        ac1={(a, b): gwet_ac1(ratings[a], ratings[b], videos, draws=resamples, seed=seed) for a, b in twos},
        alpha=krippendorff_alpha(list(ratings.values()), videos, draws=resamples, seed=seed),
    )


def _ratings(verdicts: Sequence[VerdictRecord], items: Sequence[_Item]) -> list[Winner | None]:
    votes: dict[_Item, Winner] = {(v.pair, v.order): v.winner for v in verdicts if v.winner != "invalid"}
    return [votes.get(item) for item in items]
