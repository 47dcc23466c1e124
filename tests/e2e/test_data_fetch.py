"""Fetching a benchmark from a hub on loopback: what is needed comes, once and whole, however the hub behaves."""

from __future__ import annotations

import io
import json
import os
import resource
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evalkit.fetch import Archives, PlainFiles, Source, WebFiles
from evalkit.tasks.catalog import data_folder, task_named
from tests.hub_server import HubServer

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def demo() -> dict[str, bytes]:
    """The made-up Video-MME by path: parquet, three videos, subtitles."""
    task = task_named("videomme")
    folder = data_folder(task, "demo")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith((".", "evalkit"))
    }


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip of files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    """A tar of files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def videos(demo: dict[str, bytes]) -> dict[str, bytes]:
    """The videos among the files."""
    return {name: content for name, content in demo.items() if name.endswith(".mp4")}


def published(demo: dict[str, bytes], **archives: bytes) -> dict[str, bytes]:
    """The data set as it is published: annotations and subtitles beside archives of videos."""
    subtitles = {name: content for name, content in demo.items() if name.endswith(".srt")}
    plain = {name: content for name, content in demo.items() if name.endswith(".parquet")}
    named = {name.replace("__", "."): content for name, content in archives.items()}
    return plain | {"subtitle.zip": zipped(subtitles)} | named


@pytest.fixture
def hub(demo: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub that has the set with its videos in two zips."""
    whole = videos(demo)
    names = sorted(whole)
    one, two = ({name: whole[name] for name in part} for part in (names[:1], names[1:]))
    files = published(demo, videos_chunked_01__zip=zipped(one), videos_chunked_02__zip=zipped(two))
    with HubServer(files, repo="lmms-lab/Video-MME") as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        # Read once, when the library is first imported: in a test before this one it may have been offline.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("evalkit.fetch.download._PAUSES", (0.0,) * 5)
        yield server


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes where the task says its files are."""

    def change(**values: object) -> None:
        import dataclasses

        task = task_named("videomme")
        monkeypatch.setattr(type(task), "published_at", dataclasses.replace(task.published_at, **values))

    return change


def same(folder: Path, demo: dict[str, bytes]) -> bool:
    """Whether a folder holds what the made-up data set holds."""
    return all((folder / name).read_bytes() == content for name, content in demo.items())


def test_a_fetched_set_runs_and_is_fetched_once(
    hub: HubServer, evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert "lmms-lab/Video-MME at aaaaaaaaaaaa" in out
    assert "set: 3 of 3 videos" in out
    assert same(tmp_path / "set", demo)
    assert [path.name for path in (tmp_path / "set").rglob("*.zip") if path.is_file()] == []
    before = sum(hub.sent.values())
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert "0 files came" in out
    assert sum(hub.sent.values()) == before
    assert evalkit("data", "check", "--task", "videomme", "--data", "set")[0] == 0


def test_of_a_zip_only_the_members_that_are_needed_are_read(
    hub: HubServer, evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set", "--limit", "1", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert report["videos"] == 1
    assert [path.name for path in sorted((tmp_path / "set" / "data").iterdir())] == ["demo_match_13.mp4"]
    assert (tmp_path / "set" / "data" / "demo_match_13.mp4").read_bytes() == demo["data/demo_match_13.mp4"]
    assert all("Range" not in line or "bytes=" in line for line in hub.asked)


def test_a_dry_run_says_files_and_sizes_and_writes_nothing(hub: HubServer, evalkit: Call, tmp_path: Path) -> None:
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set", "--dry-run")
    assert code == 0, err
    assert "videos_chunked_01.zip" in out
    assert "would come" in out
    assert not (tmp_path / "set").exists()


def test_a_dry_run_of_a_part_says_which_members_of_the_archives_would_come(
    hub: HubServer, evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    def asked() -> dict[str, int]:
        words = ("--out", "set", "--limit", "1", "--dry-run", "--json")
        code, out, err = evalkit("data", "fetch", "videomme", *words)
        assert code == 0, err
        return dict(json.loads(out)["files"])

    video = "data/demo_match_13.mp4"
    assert asked()[video] == len(demo[video])
    assert hub.sent["videos_chunked_01.zip"] + hub.sent["videos_chunked_02.zip"] < 2 * len(demo[video])
    assert not (tmp_path / "set").exists()
    assert evalkit("data", "fetch", "videomme", "--out", "set", "--limit", "1")[0] == 0
    before = sorted((tmp_path / "set").rglob("*"))
    assert asked() == {}
    assert sorted((tmp_path / "set").rglob("*")) == before


def test_verify_leaves_no_record_in_a_folder_of_something_else(evalkit: Call, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    code, _, err = evalkit("data", "verify", "videomme", "--data", "other")
    assert (code, len(err.splitlines())) == (2, 1)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "other/notes.txt")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "is a file: name the folder" in err


def test_cut_connections_and_busy_servers_cost_no_byte_twice(
    hub: HubServer, evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    name = "videos_chunked_01.zip"
    hub.cuts[name] = [20_000, 5_000]
    hub.codes[name] = [503, 429]
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert same(tmp_path / "set", demo)
    assert hub.sent[name] == len(hub.files[name])


def test_a_fetch_that_was_killed_goes_on_where_it_was(
    hub: HubServer, evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    name = "videos_chunked_02.zip"
    hub.cuts[name] = [30_000, 0, 0, 0, 0, 0]  # a server that stays away ends the command as a kill would
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "what came is kept, the same command goes on" in err
    orphan = tmp_path / "set" / ".cache" / "huggingface" / "download" / "x.incomplete"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"of a killed client")
    hub.cuts.clear()
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert same(tmp_path / "set", demo)
    assert hub.sent[name] == len(hub.files[name])
    assert not orphan.exists()


def test_a_file_that_is_another_version_is_begun_anew(hub: HubServer, tmp_path: Path) -> None:
    from evalkit.fetch.download import digest, download

    url = f"{hub.url}/datasets/lmms-lab/Video-MME/resolve/main/subtitle.zip"
    (tmp_path / ".file.part").write_bytes(b"old")
    (tmp_path / ".file.etag").write_text('"another"')
    download(url, tmp_path / "file", size=len(hub.files["subtitle.zip"]))
    assert (tmp_path / "file").read_bytes() == hub.files["subtitle.zip"]
    assert len(digest(tmp_path / "file")) == 64


def test_parts_of_a_tar_are_read_in_a_row_and_a_killed_one_goes_on_behind_the_last_member(
    hub: HubServer, source: Callable[..., None], evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    whole = tarred(videos(demo))
    third = len(whole) // 3
    parts = [whole[:third], whole[third : 2 * third], whole[2 * third :]]
    names = [f"videos.tar.part.a{letter}" for letter in "abc"]
    hub.files = published(demo) | dict(zip(names, parts, strict=True))
    source(videos=(Archives(("videos.tar.part.*",), "tar"),))
    hub.cuts[names[2]] = [10] + [0] * 6
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2, err
    first = sorted(videos(demo))[0]
    assert (tmp_path / "set" / first).read_bytes() == demo[first]
    hub.cuts.clear()
    code, _out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert same(tmp_path / "set", demo)
    assert hub.sent[names[0]] == len(parts[0])
    assert not [path for path in (tmp_path / "set").rglob("*.part.*") if path.is_file()]


def test_videos_that_a_part_of_a_fetch_passed_over_in_a_tar_come_later_and_so_do_those_that_were_deleted(
    hub: HubServer, source: Callable[..., None], evalkit: Call, tmp_path: Path, demo: dict[str, bytes]
) -> None:
    whole = tarred(dict(sorted(videos(demo).items())))
    names = ["videos.tar.part.aa", "videos.tar.part.ab"]
    hub.files = published(demo) | {names[0]: whole[: len(whole) // 2], names[1]: whole[len(whole) // 2 :]}
    source(videos=(Archives(("videos.tar.part.*",), "tar"),))
    # The first sample's video is the last in the tar.
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set", "--limit", "1")
    assert code == 0, err
    assert "set: 1 of 1 videos" in out
    assert "one tar in 2 parts" in err
    assert sum(name in videos(demo) for name in hub_paths(tmp_path / "set")) == 1
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert (code, "set: 3 of 3 videos" in out) == (0, True), err
    assert same(tmp_path / "set", demo)
    (tmp_path / "set" / sorted(videos(demo))[0]).unlink()
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    assert same(tmp_path / "set", demo)
    before = sum(hub.sent.values())
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    assert sum(hub.sent.values()) == before


def hub_paths(folder: Path) -> list[str]:
    """The paths of a folder's files below it."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def test_a_gap_between_parts_is_named_before_anything_is_read(
    hub: HubServer, source: Callable[..., None], evalkit: Call, demo: dict[str, bytes]
) -> None:
    hub.files = published(demo) | {f"videos.tar.part.a{letter}": b"x" * 512 for letter in "abd"}
    source(videos=(Archives(("videos.tar.part.*",), "tar"),))
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "no whole row: 'd' follows 'b'" in err


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../outside.mp4", "/outside.mp4", "data/../../outside.mp4"])
def test_nothing_is_unpacked_outside_the_folder(
    name: str,
    pack: Callable[[dict[str, bytes]], bytes],
    hub: HubServer,
    source: Callable[..., None],
    evalkit: Call,
    tmp_path: Path,
    demo: dict[str, bytes],
) -> None:
    hub.files = published(demo) | {"videos.archive": pack({name: b"x"})}
    source(videos=(Archives(("videos.archive",), "zip" if pack is zipped else "tar"),))
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "would leave the folder" in err
    assert not (tmp_path / "outside.mp4").exists()


def test_a_link_in_a_tar_is_refused(
    hub: HubServer, source: Callable[..., None], evalkit: Call, demo: dict[str, bytes]
) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("data/link.mp4")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    hub.files = published(demo) | {"videos.tar": out.getvalue()}
    source(videos=(Archives(("videos.tar",), "tar"),))
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "is a link or no file" in err


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        ({"gated": True}, (), "accept the terms on the data set's page, then `hf auth login`"),
        ({"repo": "other/set"}, (), "there is no data set lmms-lab/Video-MME, or it is private"),
        ({}, ("--revision", "nowhere"), "has no revision 'nowhere'"),
        ({}, ("--sample", "demo_match_31"), "there is no sample 'demo_match_31'; did you mean 'demo_match_13'?"),
    ],
)
def test_what_the_hub_refuses_is_one_line(
    change: dict[str, object], words: tuple[str, ...], said: str, hub: HubServer, evalkit: Call
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set", *words)
    assert (code, len(err.splitlines())) == (2, 1)
    assert said in err


def test_a_folder_keeps_to_its_revision(hub: HubServer, evalkit: Call) -> None:
    assert evalkit("data", "fetch", "videomme", "--out", "set", "--limit", "1")[0] == 0
    hub.revision = "b" * 40
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set", "--revision", "main")
    assert code == 2
    assert "set holds revision aaaaaaaaaaaa of lmms-lab/Video-MME, and bbbbbbbbbbbb is asked for" in err


def test_without_a_hub_a_folder_that_has_everything_is_enough(
    hub: HubServer, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 0, err
    assert "3 of 3 videos" in out
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "elsewhere")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "the hub cannot be reached for lmms-lab/Video-MME" in err


def test_a_video_that_is_not_published_is_named_and_counted_and_not_sought_again(
    hub: HubServer, evalkit: Call, demo: dict[str, bytes], tmp_path: Path
) -> None:
    kept = {name: content for name, content in videos(demo).items() if "13" not in name}
    hub.files = published(demo, videos_chunked_01__zip=zipped(kept))
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 1
    assert "set: 2 of 3 videos" in out
    assert "absent: data/demo_match_13.mp4: not among the published files" in err
    asked = len(hub.asked)
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 1
    assert not any("resolve" in line for line in hub.asked[asked:])


def test_two_fetches_into_one_folder_are_refused(hub: HubServer, evalkit: Call, tmp_path: Path) -> None:
    from evalkit.records import hold_folder

    with hold_folder(tmp_path / "set"):
        code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "another process is writing into set" in err


def test_too_small_a_disk_is_said_before_an_archive_comes(
    hub: HubServer, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: os.statvfs_result and type("Usage", (), {"free": 1000})())
    code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    assert code == 2
    assert "the next step needs" in err
    assert not any("videos_chunked" in line for line in hub.asked)


def test_verify_sees_bytes_that_changed_although_the_time_was_set_back(
    hub: HubServer, evalkit: Call, tmp_path: Path
) -> None:
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    code, out, _ = evalkit("data", "verify", "videomme", "--data", "set", "--json")
    first = json.loads(out)
    assert [problem["kind"] for problem in first["problems"]] == []
    assert first["looked_at"] == first["files"] - 1  # the digest of the table came from the hub
    again = json.loads(evalkit("data", "verify", "videomme", "--data", "set", "--json")[1])
    assert again["looked_at"] == 0
    video = tmp_path / "set" / "data" / "demo_match_07.mp4"
    times, content = video.stat(), bytearray(video.read_bytes())
    content[len(content) // 2] ^= 255
    video.write_bytes(content)
    os.utime(video, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):  # it stays wrong until it is right
        code, out, _ = evalkit("data", "verify", "videomme", "--data", "set", "--json")
        assert code == 1
        kinds = {(problem["kind"], problem["file"]) for problem in json.loads(out)["problems"]}
        assert ("changed-file", "data/demo_match_07.mp4") in kinds


def test_what_verify_wrote_down_spares_it_and_the_run_opening_every_video_again(
    hub: HubServer, evalkit: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    task = task_named("videomme")
    before = task.load(Path("set"), task.settings()).samples

    def opened(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr("evalkit.tasks.rows.probe", opened)
    code, out, _ = evalkit("data", "verify", "videomme", "--data", "set", "--json")
    kinds = {problem["kind"] for problem in json.loads(out)["rows"]}
    assert kinds <= {"other-version"}, (code, out)
    assert task.load(Path("set"), task.settings()).samples == before


def test_a_task_that_says_nothing_of_its_files_is_one_line(evalkit: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(task_named("videomme")), "published_at", None)
    code, _, err = evalkit("data", "fetch", "videomme")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "make its folder by hand" in err


def test_every_task_says_where_its_files_are() -> None:
    from evalkit.tasks.catalog import TASKS

    unknown = {"omnimmi-pa"}  # where its files lie is not known
    for name in set(TASKS.names()) - unknown:
        assert isinstance(task_named(name).published_at, Source), name


def test_annotations_beside_the_hub_and_plain_videos(
    hub: HubServer, source: Callable[..., None], evalkit: Call, demo: dict[str, bytes], tmp_path: Path
) -> None:
    hub.files = {f"set/{name}": content for name, content in videos(demo).items()}
    notes = {name.removeprefix("videomme/"): one for name, one in demo.items() if name.endswith(".parquet")}
    hub.files |= notes
    source(
        annotations=(),
        web=(WebFiles(f"{hub.url}/raw/", tuple(notes)),),
        videos=(PlainFiles(("set/*.mp4",), strip=1),),
        others=(),
    )
    code, _out, err = evalkit("data", "fetch", "videomme", "--out", "set", "--limit", "2")
    assert code == 0, err
    assert len(list((tmp_path / "set" / "data").glob("*.mp4"))) == 2


def test_pages_are_asked_for_videos_that_the_set_lacks(
    hub: HubServer, source: Callable[..., None], evalkit: Call, demo: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("yt_dlp", reason="yt-dlp is an extra (data)")
    kept = {name: content for name, content in videos(demo).items() if "07" in name}
    hub.files = published(demo, videos_chunked_01__zip=zipped(kept)) | {"13.mp4": demo["data/demo_match_13.mp4"]}
    pages = {
        "data/demo_match_13.mp4": f"{hub.url}/raw/13.mp4",
        "data/demo_match_11.mp4": f"{hub.url}/raw/gone.mp4",
    }
    source(address=pages.get)
    code, out, err = evalkit("data", "fetch", "videomme", "--out", "set", "--web")
    assert code == 1
    assert "set: 2 of 3 videos" in out
    assert (tmp_path / "set" / "data" / "demo_match_13.mp4").read_bytes() == demo["data/demo_match_13.mp4"]
    assert "absent: data/demo_match_11.mp4: " in err
    tried = [json.loads(line) for line in (tmp_path / "set" / "evalkit-web.jsonl").read_text().splitlines()]
    assert {row["file"]: "error" in row for row in tried} == {
        "data/demo_match_13.mp4": False,
        "data/demo_match_11.mp4": True,
    }


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(
    hub: HubServer, evalkit: Call, demo: dict[str, bytes], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    whole = max(len(content) for name, content in demo.items() if name.endswith(".mp4"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, hard))
    try:
        code, _, err = evalkit("data", "fetch", "videomme", "--out", "set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "set: cannot write (File too large); what came is kept" in err
    assert evalkit("data", "fetch", "videomme", "--out", "set")[0] == 0
    assert same(tmp_path / "set", demo)


def test_a_run_on_part_of_the_videos_says_so_wherever_a_score_stands(evalkit: Call, tmp_path: Path) -> None:
    assert evalkit("data", "demo", "--task", "videomme", "--out", "set")[0] == 0
    sorted((tmp_path / "set" / "data").glob("*.mp4"))[0].unlink()
    words = ("--data", "set", "--model", "blind", "--checkpoint", "tiny", "--out", "part")
    assert evalkit("run", "--task", "videomme", *words)[0] == 3
    said = "on 2 of 3 videos"
    assert said in evalkit("score", "part")[2]
    assert said in (tmp_path / "part" / "report.md").read_text()
    assert said in (tmp_path / "part" / "report.html").read_text()
    code, out, err = evalkit("leaderboard", "add", "part", "--leaderboards", "boards")
    assert code == 0, out + err
    assert any(said in path.read_text() for path in (tmp_path / "boards").rglob("*.json"))
