"""Statistics for questions that share videos: clustered errors, paired tests, judges, rankings, power."""

from __future__ import annotations

__all__ = [
    "BOOTSTRAP_DRAWS",
    "Agreement",
    "Clusters",
    "CompareOptions",
    "ComparedPair",
    "Composition",
    "DisconnectedModels",
    "Estimate",
    "Games",
    "Interval",
    "LengthControlledWinRate",
    "NonInferiority",
    "PairOutcome",
    "PairedComparison",
    "PairwiseSummary",
    "Place",
    "RankedModel",
    "Ranking",
    "SpeechLength",
    "Trend",
    "UnboundedStrength",
    "VideosNeeded",
    "WinProbability",
    "Winner",
    "average_repeats",
    "bootstrap_by_cluster",
    "cohen_kappa",
    "combined_score",
    "compare_all",
    "compare_pair",
    "exact_bounds",
    "flip_rate",
    "gwet_ac1",
    "headline_estimate",
    "holm",
    "krippendorff_alpha",
    "length_controlled_win_rate",
    "macro_average",
    "mcnemar_exact",
    "mean_by_cluster",
    "minimal_detectable_effect",
    "nested_weights",
    "prediction_powered_win_rate",
    "quantile_interval",
    "rank_models",
    "repeat_noise",
    "sign_flip_p",
    "summarise_pairs",
    "trend",
    "unpaired_difference",
    "videos_needed",
    "videos_to_decide",
]

from evalkit.stats.agreement import Agreement, cohen_kappa, gwet_ac1, krippendorff_alpha
from evalkit.stats.bootstrap import BOOTSTRAP_DRAWS, Interval
from evalkit.stats.clusters import Clusters
from evalkit.stats.composition import Composition
from evalkit.stats.length_control import LengthControlledWinRate, SpeechLength, length_controlled_win_rate
from evalkit.stats.macro import bootstrap_by_cluster, macro_average, nested_weights
from evalkit.stats.one import (
    Estimate,
    average_repeats,
    headline_estimate,
    mean_by_cluster,
    repeat_noise,
)
from evalkit.stats.pairwise import PairOutcome, PairwiseSummary, Winner, combined_score, summarise_pairs
from evalkit.stats.places import Place
from evalkit.stats.power import VideosNeeded, minimal_detectable_effect, videos_needed, videos_to_decide
from evalkit.stats.prediction_powered import prediction_powered_win_rate
from evalkit.stats.ranking import (
    DisconnectedModels,
    Games,
    RankedModel,
    Ranking,
    UnboundedStrength,
    WinProbability,
    rank_models,
)
from evalkit.stats.series import Trend, quantile_interval, trend
from evalkit.stats.table import ComparedPair, compare_all, holm
from evalkit.stats.two import (
    CompareOptions,
    NonInferiority,
    PairedComparison,
    compare_pair,
    exact_bounds,
    flip_rate,
    mcnemar_exact,
    sign_flip_p,
    unpaired_difference,
)
