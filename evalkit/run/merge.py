"""Put the shards of a run together: the folder that one process would have left, but for its times."""

from __future__ import annotations

__all__ = ["merge_runs"]

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path

from evalkit.errors import DataError, UsageError
from evalkit.leaderboard.fingerprint import comparable, describe_mismatches
from evalkit.records import RunFolder, RunManifest, RunRecords, hold_folder, read_run, write_atomic
from evalkit.records.completeness import missing_text
from evalkit.run.fingerprint import fingerprint_digest, sample_digest
from evalkit.run.plan import shard_numbers

_OF_PARTS = "data.media"
"""Fingerprint field that says which videos a shard had; of the whole it is made anew."""


def merge_runs(paths: Sequence[Path], out: Path) -> RunFolder:
    """Merge the shards of one run.

    Args:
        paths: Run folders, every shard once, in any order.
        out: Folder to make.

    Returns:
        The folder, with records in the order of the samples; nothing is reported yet.

    Raises:
        UsageError: A folder is no shard, a shard is missing or there twice, or ``out`` is taken.
        DataError: The shards are of different runs, or one of them is not done.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    runs = _in_order([read_run(path) for path in paths])
    _require_one_run(runs)
    order = _interleaved([run.manifest.planned for run in runs])
    with hold_folder(out):
        folder = RunFolder(out)
        _write_lines(folder.answers_path, _grouped(((a.sample, a) for run in runs for a in run.answers), order))
        ticks = ((tick.sample, tick) for run in runs for tick in run.ticks)
        _write_lines(folder.ticks_path, _grouped(ticks, order))
        done = chain(*(_lines(run.folder.state_path / "done.jsonl") for run in runs))
        folder.state_path.mkdir()
        write_atomic(folder.state_path / "done.jsonl", "".join(done))
        clusters = {answer.sample: answer.cluster or answer.sample for run in runs for answer in run.answers}
        videos = list(dict.fromkeys(clusters.get(sample, sample) for sample in order))
        folder.write_manifest(_manifest_of([run.manifest for run in runs], order, videos))
    return folder


def _in_order(runs: Sequence[RunRecords]) -> list[RunRecords]:
    """Return shards 1 to N.

    Raises:
        UsageError: One is missing, doubled or no shard.
    """
    found: dict[int, RunRecords] = {}
    counts: Counter[int] = Counter()
    for run in runs:
        shard = run.manifest.options.get("shard")
        if not isinstance(shard, str):
            raise UsageError(f"{run.folder.path} is a whole run: evalkit merge takes runs with --shard I/N")
        number, count = shard_numbers(shard)
        if number in found:
            raise UsageError(f"{found[number].folder.path} and {run.folder.path} are both shard {shard}")
        found[number] = run
        counts[count] += 1
    if len(counts) > 1:
        raise UsageError(
            f"these are shards of {' and of '.join(map(str, sorted(counts)))}: merge those of one run"
        )
    (count,) = counts
    if absent := [number for number in range(1, count + 1) if number not in found]:
        named = ", ".join(f"{number}/{count}" for number in absent)
        raise UsageError(f"shards are missing: {named}")
    return [found[number] for number in range(1, count + 1)]


def _require_one_run(runs: Sequence[RunRecords]) -> None:
    """Refuse shards that are not done, or differ in what can change a number.

    Raises:
        DataError: They are not.
    """
    first = runs[0]
    for run in runs:
        path = run.folder.path
        if run.manifest.status != "done":
            raise DataError(f"{path} is {run.manifest.status}: evalkit run --resume --out {path}", path=path)
        if run.missing:
            gone = missing_text(run.manifest, run.missing)
            raise DataError(f"{path}: {gone}: evalkit run --resume --out {path}", path=path)
        ours, theirs = (_shared(one.manifest.fingerprint) for one in (first, run))
        differing = comparable(ours, theirs)
        models = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
        if differing or models:
            what = describe_mismatches(differing) if differing else ", ".join(sorted(models))
            raise DataError(f"{first.folder.path} and {path} are shards of different runs: {what}", path=path)


def _shared(fingerprint: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in fingerprint.items() if key != _OF_PARTS}


def _interleaved(planned: Sequence[Sequence[str]]) -> list[str]:
    """Return the samples in the order of the whole: shards took them in turn."""
    return [sample for turn in zip_longest(*planned) for sample in turn if sample is not None]


def _grouped(records: Iterable[tuple[str, object]], order: Sequence[str]) -> list[object]:
    """Return records by sample, in the order of the samples and within one as they are."""
    groups: dict[str, list[object]] = {sample: [] for sample in order}
    for sample, record in records:
        groups[sample].append(record)
    return list(chain(*groups.values()))


def _write_lines(path: Path, records: Sequence[object]) -> None:
    if records:
        write_atomic(path, "".join(f"{record.model_dump_json()}\n" for record in records))  # type: ignore[attr-defined]


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []


def _manifest_of(parts: Sequence[RunManifest], order: Sequence[str], videos: Sequence[str]) -> RunManifest:
    """Return ``run.json`` of the whole; the digest of its videos depends on their order."""
    found = {name: value for part in parts for name, value in part.media_digests.items()}
    digests = {name: found[name] for name in videos if name in found} | found
    fingerprint = parts[0].fingerprint | {_OF_PARTS: sample_digest(f"{k}={v}" for k, v in digests.items())}
    media = {name: path for part in parts for name, path in part.media.items()}
    devices = sorted({f"{part.host.get('processor')}, {part.host.get('device')}" for part in parts})
    merged = f"merged of {len(parts)} shards, run on {'; '.join(devices)}"
    return parts[0].model_copy(
        update={
            "started": min(part.started for part in parts),
            "finished": max(filter(None, (part.finished for part in parts)), default=None),
            "options": {**parts[0].options, "shard": None, "out": None},
            "fingerprint": fingerprint,
            "fingerprint_digest": fingerprint_digest(fingerprint),
            "media": {name: media[name] for name in digests if name in media} | media,
            "media_digests": digests,
            "planned": list(order),
            "recorded": {sample: counts for part in parts for sample, counts in part.recorded.items()},
            "failed": [failure for part in parts for failure in part.failed],
            "warnings": [merged, *dict.fromkeys(warning for part in parts for warning in part.warnings)],
            "latency": next((part.latency for part in parts if part.latency != "alone"), "alone"),
        }
    )
