"""The demo data of Video-MME and LongVideoBench are in the published layouts and pass their own checks."""

import numpy as np

from evalkit.video import write_mp4
from evalkit_tasks.longvideobench import LongVideoBenchSettings
from evalkit_tasks.longvideobench import task as longvideobench
from evalkit_tasks.toy_qa import Toy, make_toy
from evalkit_tasks.videomme import VideoMmeSettings
from evalkit_tasks.videomme import task as videomme


def grey(path, match):
    """Encode one grey frame a second: what is on the pictures does not matter here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(path, [np.full((16, 16, 3), 128, np.uint8)] * match.seconds, fps=1)


def test_the_longvideobench_demo_loads_in_every_protocol_and_has_both_subtitle_forms(tmp_path):
    folder = tmp_path / "demo"
    make_toy("longvideobench", folder, Toy(film=grey))
    report = longvideobench.check(folder)
    assert report.problems == ()
    assert (report.counts["val"], report.counts["test"], report.videos) == (6, 2, 2)
    for protocol in ("streaming", "official"):
        settings = LongVideoBenchSettings(protocol=protocol, subtitles=True)
        loaded = longvideobench.load(folder, settings)
        assert loaded.problems == ()
        assert len(loaded.samples) == (2 if protocol == "streaming" else 6)
        for sample in loaded.samples:
            assert len(sample.texts) > 5
            assert all(-1 <= at <= sample.end for at, _ in sample.texts)
            assert [at for at, _ in sample.texts] == sorted(at for at, _ in sample.texts)
    hidden = longvideobench.load(folder, LongVideoBenchSettings(split="test"))
    assert {query.answer for sample in hidden.samples for query in sample.queries} == {None}


def test_the_videomme_demo_loads_in_every_protocol(tmp_path):
    folder = tmp_path / "demo"
    make_toy("videomme", folder, Toy(film=grey))
    report = videomme.check(folder)
    assert report.problems == ()
    assert (report.counts["questions"], report.videos, report.facts["videos_with_subtitles"]) == (9, 3, 2)
    for protocol, count in (("streaming", 3), ("official", 9), ("logit", 9)):
        loaded = videomme.load(folder, VideoMmeSettings(protocol=protocol, subtitles=True))
        assert loaded.problems == ()
        assert len(loaded.samples) == count
        assert {query.answer for sample in loaded.samples for query in sample.queries} <= set("ABCD")
        assert all(query.at == sample.end for sample in loaded.samples for query in sample.queries)
