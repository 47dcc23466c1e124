"""Train the built-in checkpoint `learnt-llava` from scratch: one process, one thread, seeded, with a log.

    python scripts/train_learnt_llava.py --out evalkit/models/learnt-llava [--seed 0] [--steps-scale 1.0]

It first teaches the vision tower what a frame shows, then trains the whole on questions about made-up matches
(full attention, the session's own layout), on short streams first and on streams of a minute at the end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learnt.llava import LONGEST, begin_recalling, begin_with_words, build_llava, llava_features, save_llava
from learnt.llava_vocabulary import make_llava_tokenizer
from learnt.muon import Muon
from learnt.questions import PARTS, Questions, Row
from torch import nn
from train_learnt import (
    DENSE,
    TOWER_STEPS,
    Log,
    Tally,
    keep_memory,
    learning_rate,
    take_step,
    train_tower,
    with_peaks,
)

from evalkit_tasks.demo import STREAM_RATES, Rates


@dataclass(frozen=True, slots=True)
class Stage:
    """Some steps of one kind.

    Args:
        name: Its name in the log.
        steps: Steps.
        seconds: Shortest and longest stream.
        batch: Rows a step.
        questions: Questions a row.
        rates: How often what is seen; each row takes one of them.
    """

    name: str
    steps: int
    seconds: tuple[int, int]
    batch: int
    questions: int
    rates: tuple[Rates, ...]


STAGES = (
    Stage("short", 350, (3, 10), 6, 12, (DENSE, STREAM_RATES)),
    Stage("medium", 1100, (6, 26), 4, 12, (DENSE, STREAM_RATES, STREAM_RATES)),
    Stage("long", 1000, (20, LONGEST), 3, 12, (STREAM_RATES,)),
)
_SAVE_EVERY = 200
WEIGHTS = dict.fromkeys(PARTS, 1.0) | {"none": 0.0, "form": 0.2}


def _seen(network: Any, rows: Sequence[Row], rng: np.random.Generator) -> torch.Tensor:
    """Return the vision tokens of rows, in order; each frame is encoded once for all places where it stands."""
    wanted = [second for row in rows for second in row.shown]
    moments = {(second[0].seed, second[1].at): second for second in wanted if second is not None}
    place = {key: index for index, key in enumerate(moments)}
    features = llava_features(network, list(moments.values()), rng).unflatten(0, (len(moments), -1))
    frames = features.unbind()
    newline = network.model.image_newline[None]
    return torch.cat([newline if one is None else frames[place[one[0].seed, one[1].at]] for one in wanted])


def forward(network: Any, rows: Sequence[Row], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits of every learnt token ``(n, vocabulary)`` and, per token, id and part ``(n, 2)``."""
    length = max(len(row.ids) for row in rows)

    def padded(name: str, fill: int) -> torch.Tensor:
        found = torch.full((len(rows), length), fill)
        for index, row in enumerate(rows):
            values: list[int] = getattr(row, name)
            found[index, : len(values)] = torch.tensor(values)
        return found

    ids, positions, branches = padded("ids", 0), padded("positions", 0), padded("branches", -1)
    limits, parts = padded("limits", 0), padded("parts", 0)
    place = torch.arange(length)
    own = branches[:, :, None] == branches[:, None, :]
    stream = (branches[:, None, :] == 0) & (place < limits[:, :, None])
    allowed = (own | stream) & (place <= place[:, None])
    mask = torch.zeros(allowed.shape).masked_fill(~allowed, -1e9)[:, None]
    embeddings = network.model.language_model.embed_tokens(ids)
    at = ids == network.config.video_token_id
    embeddings = embeddings.masked_scatter(at[..., None], _seen(network, rows, rng))
    hidden = network.model.language_model(
        inputs_embeds=embeddings, position_ids=positions, attention_mask={"full_attention": mask}, use_cache=False
    ).last_hidden_state
    learnt = parts[:, 1:] > 0
    # The token before one that is learnt is of the same branch, and stands just before it.
    logits = network.lm_head(hidden[:, :-1][learnt])
    return logits, torch.stack([ids[:, 1:][learnt], parts[:, 1:][learnt]], dim=1)


def tower_parameters(network: Any) -> list[nn.Parameter]:
    """Return the weights that make a frame tokens."""
    return [*network.model.vision_tower.parameters(), *network.model.multi_modal_projector.parameters()]


def optimisers_of(network: Any) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the text layers and AdamW for the rest, the tower at half of its rate."""
    layers = list(network.model.language_model.layers.parameters())
    matrices = [p for p in layers if p.ndim == 2]
    tower = tower_parameters(network)
    taken = {id(p) for p in (*matrices, *tower)}
    rest = [p for p in network.parameters() if id(p) not in taken]
    adam = [{"params": rest, "lr": 2e-3}, {"params": tower, "lr": 1e-3}]
    return with_peaks([Muon(matrices, lr=4e-3), torch.optim.AdamW(adam, betas=(0.9, 0.98), weight_decay=0.01)])


def train(network: Any, questions: Questions, stages: Sequence[Stage], seed: int, log: Log, save: Any) -> None:
    """Train on rows, stage after stage, with one learning-rate curve over all of them."""
    rng = np.random.default_rng([seed, 2])
    weights = torch.tensor([WEIGHTS[name] for name in PARTS])
    optimisers = optimisers_of(network)
    steps, step, tally = sum(stage.steps for stage in stages), 0, Tally(PARTS)
    for stage in stages:
        for _ in range(stage.steps):
            seconds = int(rng.integers(stage.seconds[0], stage.seconds[1] + 1))
            rates = [stage.rates[int(index)] for index in rng.integers(len(stage.rates), size=stage.batch)]
            rows = [questions.draw(seconds, stage.questions, one) for one in rates]
            logits, targets = forward(network, rows, rng)
            loss = take_step(network, optimisers, weights, logits, targets, learning_rate(step, steps))
            step += 1
            tally.add(logits.detach(), targets, loss)
            if step % min(50, max(steps // 4, 1)) == 0:
                log.write(stage=stage.name, step=step, **tally.read())
            if step % _SAVE_EVERY == 0:
                save()
        save()


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
    tokenizer = make_llava_tokenizer()
    network = build_llava(tokenizer)
    begin_with_words(network, tokenizer)
    begin_recalling(network)
    stages = [
        Stage(s.name, max(1, round(s.steps * args.steps_scale)), s.seconds, s.batch, s.questions, s.rates)
        for s in STAGES
    ]
    with (args.out / "training.jsonl").open("w") as file:
        log = Log(file)
        size = sum(p.numel() for p in network.parameters())
        log.write(seed=args.seed, parameters=size, vocabulary=tokenizer.get_vocab_size(), torch=torch.__version__)
        train_tower(
            lambda shown, noise: llava_features(network, shown, noise),
            tower_parameters(network),
            network.config.text_config.hidden_size,
            steps=TOWER_STEPS,
            seed=args.seed,
            log=log,
        )
        questions = Questions(tokenizer, args.seed)
        train(network, questions, stages, args.seed, log, lambda: save_llava(network, tokenizer, args.out))
        log.write(done=True)


if __name__ == "__main__":
    main()
