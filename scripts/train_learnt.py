"""Train the built-in checkpoint `learnt` from scratch: one process, one thread, seeded, with a log.

    python scripts/train_learnt.py --out evalkit/models/learnt [--seed 0] [--steps-scale 1.0]

It first teaches the vision tower what a picture shows, then trains the whole on chunks of the demo's made-up
matches (full attention, the session's own layout), dense in events first and at the streams' own rates at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import numpy as np
import torch
from learnt.chunks import CLASSES, Chunk, Chunks, seen_pixels
from learnt.muon import Muon
from learnt.network import PATCH_CELLS, build_network, save_checkpoint
from learnt.vocabulary import make_tokenizer
from torch import nn

from evalkit.models.pack import normalise, to_patches
from evalkit_tasks.demo.match import EVENT_KINDS, POINTS, THIRDS, VENUES, DemoMatch, Moment, Rates, make_match
from evalkit_tasks.demo.speech import WORDS

INSTRUCTION_PIECES = ("Call", " the", " match")

DENSE = Rates(
    {"foul": 0.06, "corner": 0.06, "save": 0.06, "goal": 0.18, "clock": 0.16, "replay": 0.10, "house": 0.08}
    | {"board": 0.12},
    correction=0.7,
)
MEDIUM = Rates(
    {"foul": 0.06, "corner": 0.06, "save": 0.06, "goal": 0.16, "clock": 0.14, "replay": 0.08, "house": 0.06}
    | {"board": 0.07},
    correction=0.6,
)
SPARSE = Rates(
    {"foul": 0.05, "corner": 0.05, "save": 0.05, "goal": 0.12, "clock": 0.12, "replay": 0.06, "house": 0.05}
    | {"board": 0.05},
    correction=0.5,
)
QUIET = Rates(
    {"foul": 0.05, "corner": 0.05, "save": 0.05, "goal": 0.08, "clock": 0.08, "replay": 0.08, "house": 0.05}
    | {"board": 0.03},
    correction=0.5,
    score_within=13,
    goal_within=30,
)
"""Long gaps between two mentions of the score, longer than the demo's: what is seldom practised fails there."""

WEIGHTS = dict.fromkeys(CLASSES, 1.0) | {"none": 0.0, "end": 0.3, "card": 5.0, "venue": 2.0, "last": 3.0}
WEIGHTS |= dict.fromkeys(("goal-red", "goal-blue", "clock-red", "clock-blue"), 3.0)
WEIGHTS |= {"third": 2.0, "scorer": 2.0}
WEIGHTS |= dict.fromkeys(("board-red", "board-blue"), 3.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """Some steps of one kind.

    Args:
        name: Its name in the log.
        steps: Steps.
        seconds: Length of a chunk.
        batch: Chunks a step.
        rates: How often what is seen; each chunk takes one of them.
        text_every: Every so many steps the batch is text alone; 0 for never.
    """

    name: str
    steps: int
    seconds: int
    batch: int
    rates: tuple[Rates, ...]
    text_every: int


STAGES = (
    Stage("short", 700, 12, 5, (DENSE, DENSE, QUIET), 2),
    Stage("dense", 900, 20, 4, (DENSE, QUIET), 4),
    Stage("medium", 800, 24, 4, (MEDIUM, QUIET), 6),
    Stage("sparse", 900, 24, 4, (SPARSE, QUIET), 9),
)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
TEXT_BATCH, TEXT_SECONDS = 16, 48
TOWER_STEPS, TOWER_BATCH = 200, 96

Shown: TypeAlias = Sequence[tuple[DemoMatch, Moment]]
"""Seconds of matches."""


class Log:
    """Writes what happens as JSON lines, with the CPU seconds of this process."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, **fields: Any) -> None:
        """Write one line."""
        fields = {"cpu_s": round(time.process_time(), 1)} | fields
        self._file.write(json.dumps(fields) + "\n")
        self._file.flush()
        print(json.dumps(fields), flush=True)


def patches_of(shown: Shown, rng: np.random.Generator) -> torch.Tensor:
    """Return what the tower reads of some seconds."""
    patches, _ = to_patches(normalise(seen_pixels(shown, rng)), patch=PATCH_CELLS)
    return patches


def tower_features(network: Any, shown: Shown, rng: np.random.Generator) -> torch.Tensor:
    """Return the tower's tokens of some seconds, ``(8 n, hidden)``."""
    grid = torch.tensor([[1, 4, 8]]).expand(len(shown), 3)
    features: torch.Tensor = network.model.visual(patches_of(shown, rng), grid).pooler_output
    return features


class TowerLabels(nn.Module):
    """Linear heads that read a second's labels off the mean of its tokens."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        sizes = {"kind": len(EVENT_KINDS), "side": 2, "third": len(THIRDS), "red": POINTS, "blue": POINTS}
        sizes["emblem"] = len(VENUES)
        self.heads = nn.ModuleDict({name: nn.Linear(hidden, size) for name, size in sizes.items()})

    def losses(
        self, tokens: torch.Tensor, shown: Sequence[tuple[DemoMatch, Moment]]
    ) -> Iterator[tuple[str, torch.Tensor, float]]:
        """Yield name, loss and share of right labels, each over the seconds that show it."""
        pooled = tokens.view(len(shown), -1, tokens.shape[-1]).mean(dim=1)
        labels = [_labels(match, moment) for match, moment in shown]
        for name, head in self.heads.items():
            rows = [index for index, label in enumerate(labels) if name in label]
            if rows:
                logits, target = head(pooled[rows]), torch.tensor([labels[row][name] for row in rows])
                right = float((logits.argmax(-1) == target).float().mean())
                yield name, nn.functional.cross_entropy(logits, target), right


def _labels(match: DemoMatch, moment: Moment) -> dict[str, int]:
    labels = {"kind": EVENT_KINDS.index(moment.kind)}
    if moment.kind in ("play", "foul", "corner", "save"):
        labels |= {"side": moment.side, "third": moment.third}
    elif moment.kind == "goal":
        labels |= {"side": moment.side}
    elif moment.kind == "board":
        labels |= {"red": moment.score[0], "blue": moment.score[1]}
    elif moment.kind == "card":
        labels |= {"emblem": match.venue}
    return labels


def train_tower(
    features: Callable[[Shown, np.random.Generator], torch.Tensor],
    parameters: Iterable[nn.Parameter],
    hidden: int,
    *,
    steps: int,
    seed: int,
    log: Log,
    batch: int = TOWER_BATCH,
) -> None:
    """Teach a tower what a picture shows, read off the mean of its tokens.

    Args:
        features: Returns the tokens of some seconds, ``(tokens, hidden)``.
        parameters: What is trained.
        hidden: Width of a token.
        steps: Steps.
        seed: Seed of what is shown.
        log: Told every twentieth step.
        batch: Seconds a step.
    """
    rng = np.random.default_rng([seed, 1])
    heads = TowerLabels(hidden)
    optimiser = torch.optim.AdamW([*parameters, *heads.parameters()], lr=2e-3, weight_decay=0.01)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 20, 2 * (1 - step / steps) + 0.05)
        shown: list[tuple[DemoMatch, Moment]] = []
        while len(shown) < batch:
            match = make_match(int(rng.integers(2**20, 2**40)), 20, DENSE)
            shown += [(match, match.moments[0]), *((match, match.moments[int(i)]) for i in rng.integers(1, 20, 5))]
        losses = list(heads.losses(features(shown, rng), shown))
        loss = torch.stack([part for _, part, _ in losses]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 19:
            right = {name: round(share, 2) for name, _, share in losses}
            log.write(stage="tower", step=step + 1, loss=round(float(loss.detach()), 4), right=right)


def optimisers_of(network: Any) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the text layers and AdamW for the rest, the tower at 0.3 of its rate."""
    layers = list(network.model.language_model.layers.parameters())
    matrices = [p for p in layers if p.ndim == 2]
    taken = {id(p) for p in matrices}
    tower = list(network.model.visual.parameters())
    taken |= {id(p) for p in tower}
    rest = [p for p in network.parameters() if id(p) not in taken]
    muon = Muon(matrices, lr=8e-3)
    adam = torch.optim.AdamW(
        [{"params": rest, "lr": 2e-3}, {"params": tower, "lr": 6e-4}], betas=(0.9, 0.98), weight_decay=0.01
    )
    return with_peaks([muon, adam])


def learning_rate(step: int, steps: int) -> float:
    """Return the share of the peak: 50 steps of warm-up, constant to half, then linear to 3 %."""
    if step < 50:
        return (step + 1) / 50
    return min(1.0, 0.03 + 0.97 * 2 * (1 - step / steps))


def forward(network: Any, chunks: Sequence[Chunk], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of every learnt token ``(n, vocabulary)`` and, per token, id and class ``(n, 2)``."""
    length = max(len(chunk.ids) for chunk in chunks)
    ids = torch.zeros(len(chunks), length, dtype=torch.long)
    classes = torch.zeros(len(chunks), length, dtype=torch.long)
    positions = torch.zeros(3, len(chunks), length)
    for row, chunk in enumerate(chunks):
        size = len(chunk.ids)
        ids[row, :size] = torch.from_numpy(chunk.ids)
        classes[row, :size] = torch.from_numpy(chunk.classes)
        positions[:, row, :size] = torch.from_numpy(chunk.positions)
    embeddings = network.model.language_model.embed_tokens(ids)
    shown = [second for chunk in chunks for second in chunk.shown]
    if shown:
        at = ids == network.config.video_token_id
        embeddings = embeddings.masked_scatter(at[..., None], tower_features(network, shown, rng))
    hidden = network.model.language_model(inputs_embeds=embeddings, position_ids=positions).last_hidden_state
    learnt = classes[:, 1:] > 0
    logits = network.lm_head(hidden[:, :-1][learnt])
    return logits, torch.stack([ids[:, 1:][learnt], classes[:, 1:][learnt]], dim=1)


class Tally:
    """Counts right tokens by class since it was last read.

    Args:
        classes: Their names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._right, self._all = np.zeros(len(classes)), np.zeros(len(classes))
        self._losses: list[float] = []

    def add(self, logits: torch.Tensor, targets: torch.Tensor, loss: float) -> None:
        """Count one batch."""
        right = (logits.argmax(-1) == targets[:, 0]).numpy()
        np.add.at(self._right, targets[:, 1].numpy(), right)
        np.add.at(self._all, targets[:, 1].numpy(), 1)
        self._losses.append(loss)

    def read(self) -> dict[str, Any]:
        """Return the mean loss and the share of right tokens, and begin anew."""
        right = {
            name: round(100 * self._right[i] / self._all[i], 1)
            for i, name in enumerate(self._classes)
            if self._all[i]
        }
        mean = sum(self._losses) / max(len(self._losses), 1)
        self.__init__(self._classes)  # type: ignore[misc]
        return {"loss": round(mean, 4), "right": right}


def with_peaks(optimisers: list[torch.optim.Optimizer]) -> list[torch.optim.Optimizer]:
    """Note in each group the learning rate that `take_step` takes a share of."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return optimisers


def take_step(
    network: Any,
    optimisers: Sequence[torch.optim.Optimizer],
    weights: torch.Tensor,
    logits: torch.Tensor,
    targets: torch.Tensor,
    share: float,
) -> float:
    """Take one step of training and return the loss.

    Args:
        network: The network.
        optimisers: Of its weights, each group with its ``peak``.
        weights: Weight of a token by its class.
        logits: Of every learnt token, ``(n, vocabulary)``.
        targets: Its id and class, ``(n, 2)``.
        share: Of the peak learning rates.
    """
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share
    weight = weights[targets[:, 1]]
    losses = nn.functional.cross_entropy(logits, targets[:, 0], reduction="none")
    loss = (losses * weight).sum() / weight.sum()
    network.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimiser in optimisers:
        optimiser.step()
    return float(loss.detach())


def train(network: Any, chunks: Chunks, stages: Sequence[Stage], seed: int, log: Log, save: Any) -> None:
    """Train on chunks, stage after stage, with one learning-rate curve over all of them."""
    rng = np.random.default_rng([seed, 2])
    weights = torch.tensor([WEIGHTS[name] for name in CLASSES])
    optimisers = optimisers_of(network)
    steps = sum(stage.steps for stage in stages)
    step, seen, text = 0, Tally(CLASSES), Tally(CLASSES)
    for stage in stages:
        for number in range(stage.steps):
            alone = stage.text_every > 0 and number % stage.text_every == stage.text_every - 1
            if alone:
                batch = [chunks.draw_text(TEXT_SECONDS, one) for one in _rates(stage, TEXT_BATCH, rng)]
            else:
                batch = [chunks.draw(stage.seconds, one) for one in _rates(stage, stage.batch, rng)]
            logits, targets = forward(network, batch, rng)
            loss = take_step(network, optimisers, weights, logits, targets, learning_rate(step, steps))
            step += 1
            (text if alone else seen).add(logits.detach(), targets, loss)
            if step % min(50, max(steps // 4, 1)) == 0:
                log.write(stage=stage.name, step=step, **seen.read(), text=text.read())
            if step % 300 == 0:
                save()
        save()


def _rates(stage: Stage, count: int, rng: np.random.Generator) -> list[Rates]:
    return [stage.rates[int(index)] for index in rng.integers(len(stage.rates), size=count)]


def keep_memory() -> None:
    """Let glibc keep freed memory: returned after each step it is zeroed by the kernel again in the next."""
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
        libc.mallopt(parameter, 2**25)


def main() -> None:
    """Train and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and log")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps-scale", type=float, default=1.0, help="share of the steps of each stage")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(WORDS, INSTRUCTION_PIECES)
    network = build_network(tokenizer)
    stages = [
        Stage(s.name, max(1, round(s.steps * args.steps_scale)), s.seconds, s.batch, s.rates, s.text_every)
        for s in STAGES
    ]
    with (args.out / "training.jsonl").open("w") as file:
        log = Log(file)
        size = sum(p.numel() for p in network.parameters())
        log.write(seed=args.seed, parameters=size, vocabulary=tokenizer.get_vocab_size(), torch=torch.__version__)
        train_tower(
            lambda shown, noise: tower_features(network, shown, noise),
            network.model.visual.parameters(),
            network.config.text_config.hidden_size,
            steps=TOWER_STEPS,
            seed=args.seed,
            log=log,
        )
        chunks = Chunks(tokenizer, args.seed)
        train(network, chunks, stages, args.seed, log, lambda: save_checkpoint(network, tokenizer, args.out))
        log.write(done=True)


if __name__ == "__main__":
    main()
