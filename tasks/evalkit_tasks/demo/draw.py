"""The pixels of a made-up match: pitch, players, ball, score board, banners; leaves encoding to evalkit.video."""

from __future__ import annotations

__all__ = ["frames", "make_match_video"]

from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from evalkit.video import write_mp4
from evalkit_tasks.demo.match import PLAYERS_PER_TEAM, DemoEvent, DemoMatch

Pixels: TypeAlias = npt.NDArray[np.uint8]
Track: TypeAlias = npt.NDArray[np.float64]

WIDTH, HEIGHT = 640, 360
FPS = 25
_BOARD_TOP, _BOARD_LEFT = 10, 12
_BANNER_SECONDS = 3
_BANNER_TOP = 314
_PITCH = (44, 60, 620, 300)
"""Left, top, right and bottom touch lines."""
_FORMATION = ((0.03, 0.50), (0.22, 0.25), (0.22, 0.75), (0.40, 0.30), (0.40, 0.65))
"""Home positions of shirts 1 to 5 as shares of the pitch; the away side's are mirrored."""
_WHITE = (245, 245, 245)


def make_match_video(path: Path, match: DemoMatch) -> None:
    """Write a match as an H.264 file of 640x360 pixels at 25 frames a second.

    Args:
        path: File to write.
        match: What to show.
    """
    write_mp4(path, frames(match), fps=FPS, gop=2 * FPS)


def frames(match: DemoMatch) -> Iterator[Pixels]:
    """Yield a match's frames, each a uint8 array of shape ``(360, 640, 3)``, RGB.

    The score board shows ``match.score_at`` and ``match.clock_at`` of the frame's second; an event's banner
    stands for three seconds from the event on.
    """
    times = np.arange(match.seconds * FPS) / FPS
    ball = _ball_track(match, times)
    players = _player_tracks(match, times, ball)
    shirts = [_shirt(match, side, number) for side in (0, 1) for number in range(1, PLAYERS_PER_TEAM + 1)]
    football = _disc(9, _WHITE)
    ground = _pitch()
    second = -1
    for index in range(len(times)):
        if index // FPS != second:
            second = index // FPS
            backdrop = _with_texts(ground, match, second)
        frame = backdrop.copy()
        for shirt, track in zip(shirts, players, strict=True):
            _paste(frame, shirt, track[index])
        _paste(frame, football, ball[index])
        yield frame


def _pitch() -> Pixels:
    image = Image.new("RGB", (WIDTH, HEIGHT), (28, 92, 44))
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = _PITCH
    for stripe in range(0, WIDTH, 80):
        draw.rectangle((stripe, 0, stripe + 39, HEIGHT), fill=(34, 104, 50))
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    draw.rectangle(_PITCH, outline=_WHITE, width=2)
    draw.line((middle_x, top, middle_x, bottom), fill=_WHITE, width=2)
    draw.ellipse((middle_x - 40, middle_y - 40, middle_x + 40, middle_y + 40), outline=_WHITE, width=2)
    for side_x, direction in ((left, 1), (right, -1)):
        box = sorted((side_x, side_x + 70 * direction))
        draw.rectangle((box[0], middle_y - 62, box[1], middle_y + 62), outline=_WHITE, width=2)
        goal = sorted((side_x, side_x - 12 * direction))
        draw.rectangle((goal[0], middle_y - 26, goal[1], middle_y + 26), fill=(200, 200, 200))
    return np.asarray(image, dtype=np.uint8)


def _with_texts(ground: Pixels, match: DemoMatch, second: int) -> Pixels:
    """Return the pitch with the score board, and the banner of an event that has just happened."""
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    home, away = match.score_at(second)
    text = f"{match.teams[0].name}  {home} - {away}  {match.teams[1].name}    {match.clock_at(second)}"
    _label(draw, text, (_BOARD_LEFT, _BOARD_TOP), 26)
    event = match.latest(second)
    if event is not None and second < event.at + _BANNER_SECONDS:
        _label(draw, _banner(match, event), (_BOARD_LEFT, _BANNER_TOP), 26)
    return np.asarray(image, dtype=np.uint8)


def _banner(match: DemoMatch, event: DemoEvent) -> str:
    return f"{event.kind.upper()}   {match.teams[event.side].name}   no. {event.player}"


def _label(draw: ImageDraw.ImageDraw, text: str, corner: tuple[int, int], size: int) -> None:
    font = ImageFont.load_default(size=size)
    left, top = corner
    width = round(draw.textlength(text, font=font))
    draw.rectangle((left, top, left + width + 16, top + size + 10), fill=(16, 20, 40))
    draw.text((left + 8, top + 2), text, font=font, fill=_WHITE)


def _shirt(match: DemoMatch, side: int, number: int) -> Pixels:
    """Return a player as RGBA pixels: a disc in the team's colour with the shirt number."""
    disc = Image.fromarray(_disc(24, match.teams[side].rgb))
    ink = (0, 0, 0, 255) if sum(match.teams[side].rgb) > 380 else (255, 255, 255, 255)
    font = ImageFont.load_default(size=16)
    ImageDraw.Draw(disc).text((12, 12), str(number), font=font, fill=ink, anchor="mm")
    return np.asarray(disc, dtype=np.uint8)


def _disc(diameter: int, rgb: tuple[int, int, int]) -> Pixels:
    offset = np.arange(diameter) - (diameter - 1) / 2
    inside = offset[:, None] ** 2 + offset[None, :] ** 2 <= (diameter / 2) ** 2
    disc = np.zeros((diameter, diameter, 4), dtype=np.uint8)
    disc[inside] = (*rgb, 255)
    return disc


def _paste(frame: Pixels, sprite: Pixels, centre: Track) -> None:
    size = sprite.shape[0]
    left = min(max(round(float(centre[0])) - size // 2, 0), WIDTH - size)
    top = min(max(round(float(centre[1])) - size // 2, 0), HEIGHT - size)
    target = frame[top : top + size, left : left + size]
    np.copyto(target, sprite[..., :3], where=sprite[..., 3:] > 0)


def _ball_track(match: DemoMatch, times: Track) -> Track:
    """Return where the ball is, ``(frames, 2)`` pixels: at each event's place from the event on for 0.8 s."""
    keys: list[tuple[float, tuple[float, float]]] = [(0.0, _on_pitch(0.5, 0.5))]
    for event in match.events:
        place = _on_pitch(*_place(match, event))
        keys += [(float(event.at), place), (event.at + 0.8, place)]
    moments = [moment for moment, _ in keys]
    return np.stack([np.interp(times, moments, [place[axis] for _, place in keys]) for axis in (0, 1)], axis=1)


def _place(match: DemoMatch, event: DemoEvent) -> tuple[float, float]:
    """Return an event's place as shares of the pitch; the home side plays to the right."""
    height = 0.3 + 0.4 * ((event.player * 7 + event.at) % 5) / 4
    across = {
        "kick-off": 0.5,
        "pass": 0.45,
        "shot": 0.82,
        "save": 0.03,
        "corner": 0.995,
        "foul": 0.35,
        "goal": 1.01,
    }[event.kind]
    if event.kind in ("kick-off", "goal"):
        height = 0.5
    elif event.kind == "corner":
        height = 0.01
    return (across if event.side == 0 else 1 - across), height


def _player_tracks(match: DemoMatch, times: Track, ball: Track) -> list[Track]:
    """Return ten tracks ``(frames, 2)``: home 1 to 5, away 1 to 5; keepers stay, the others lean to the ball."""
    rng = np.random.default_rng([match.seed, match.seconds, 2])
    tracks: list[Track] = []
    for side in (0, 1):
        for number, (across, height) in enumerate(_FORMATION, start=1):
            home = np.array(_on_pitch(across if side == 0 else 1 - across, height))
            phase = rng.uniform(0, 2 * np.pi, size=2)
            pace = rng.uniform(0.5, 1.1, size=2)
            sway = np.sin(times[:, None] * pace + phase) * ((4, 18) if number == 1 else (34, 26))
            lean = 0.0 if number == 1 else 0.35
            tracks.append(home + sway + lean * (ball - home))
    return tracks


def _on_pitch(across: float, height: float) -> tuple[float, float]:
    left, top, right, bottom = _PITCH
    return left + across * (right - left), top + height * (bottom - top)
