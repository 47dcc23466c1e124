"""The report in a real headless Chromium: opens, filters, plays to a second, and asks nobody for anything.

Screenshots go to the folder named by ``EVALKIT_SCREENSHOTS_DIR``, else to pytest's temporary folder.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from evalkit.records import read_run
from evalkit.report.html import build_report
from evalkit.report.view import make_server
from evalkit.video.write import write_mp4
from tests.e2e.devtools import Browser, Tab, find_chromium
from tests.e2e.layout import check_layout
from tests.run_folders import HOSTILE, narration_run, question_run

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: chromium)")
SECONDS = 40
TIME = "Math.round(document.querySelector('video').currentTime * 10) / 10"
NOW = "document.querySelector('.now h3').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(CHROMIUM or "") as running:
        yield running


@pytest.fixture
def tab(browser: Browser) -> Iterator[Tab]:
    tab = browser.tab()
    tab.size(1360, 900)
    yield tab
    tab.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("EVALKIT_SCREENSHOTS_DIR")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def narrated(folder: Path) -> list[Path]:
    def frames() -> Iterator[np.ndarray]:
        for number in range(4 * SECONDS):
            picture = np.full((180, 320, 3), (24, 78, 56), np.uint8)
            left = 2 * number % 290
            picture[70:100, left : left + 30] = (240, 236, 220)
            yield picture

    write_mp4(folder / "game-0.mp4", frames(), fps=4, gop=8)
    media = {"game-0": str(folder / "game-0.mp4")}
    return [
        narration_run(
            folder / model,
            model,
            videos=2,
            seconds=SECONDS - 10,
            window=10,
            media=media,
            begin=5.0,
            data={"path": str(folder)},
        )
        for model in ("streamingvlm", "full")
    ]


@pytest.fixture(scope="module")
def asked(folder: Path) -> list[Path]:
    return [question_run(folder / f"asked-{model}", model) for model in ("streamingvlm", "full")]


def still(tab: Tab) -> None:
    tab.run("document.documentElement.style.scrollBehavior = 'auto'")


def check_quiet(tab: Tab, *allowed: str) -> None:
    """No console error, no request beyond the page and its own files, no text that became a program."""
    assert tab.console == []
    assert tab.outside(*allowed) == []
    assert tab.run("window.hacked") is None


def search(tab: Tab, words: str) -> None:
    tab.run(
        f"(() => {{ const s = document.querySelector('input[type=search]'); s.value = {words!r};"
        "s.dispatchEvent(new Event('input')); })()"
    )


def outcome(tab: Tab, value: str) -> None:
    tab.run(
        f"(() => {{ const s = document.querySelector('select[aria-label=Outcome]'); s.value = {value!r};"
        "s.dispatchEvent(new Event('change')); })()"
    )


def count(tab: Tab) -> str:
    return str(tab.run("document.querySelector('.count').textContent"))


def test_a_timeline_opens_from_disk_and_plays_to_a_second(
    tab: Tab, narrated: list[Path], folder: Path, shots: Path
) -> None:
    tab.open(build_report(narrated, folder / "narration.html").as_uri())
    still(tab)
    tab.wait("document.querySelector('video').readyState >= 1")
    assert tab.run(NOW) == "0:05 – 0:06"
    tab.wait(f"{TIME} === 5")
    tab.screenshot(shots / "narration-overview.png")
    tab.run("(() => { const j = document.querySelector('input[type=number]'); j.value = 20;"
            "j.dispatchEvent(new Event('change')); })()")  # fmt: skip
    tab.wait(f"{TIME} === 20 && !document.querySelector('video').seeking")
    assert tab.run(NOW) == "0:20 – 0:21"
    assert tab.run("document.querySelector('tr[aria-current] button').textContent") == "0:20"
    tab.run("document.querySelector('.transport .primary').click()")
    tab.wait(f"{TIME} >= 21.3", 20)
    tab.run("document.querySelector('.transport .primary').click()")
    tab.wait("document.querySelector('video').paused")
    assert tab.run("parseInt(document.querySelector('.transport input[type=range]').value)") >= 16
    tab.run("document.querySelector('#samples').scrollIntoView()")
    tab.screenshot(shots / "narration-timeline.png")
    check_quiet(tab)


def test_a_timeline_shows_speech_memory_eviction_and_both_votes(
    tab: Tab, narrated: list[Path], folder: Path
) -> None:
    tab.open(build_report(narrated, folder / "narration.html").as_uri())
    tab.run("document.querySelector('tr[data-second=\"3\"]').click()")
    said = tab.run("[...document.querySelectorAll('.now .voice p')].map(p => p.textContent)")
    assert said[:2] == [HOSTILE, HOSTILE]
    assert "848" in tab.run("document.querySelector('.meter').textContent")
    tab.run("document.querySelector('tr[data-second=\"28\"]').click()")
    assert "Evicted: vision 180, assistant 14" in tab.run("document.querySelector('.meter').textContent")
    tab.run("document.querySelector('details.window').open = true")
    votes = tab.run("document.querySelector('details.window .votes').innerText")
    assert "First streamingvlm, then baseline" in votes
    assert "First baseline, then streamingvlm" in votes
    check_quiet(tab)


def test_searching_what_was_said_finds_and_marks_it(tab: Tab, narrated: list[Path], folder: Path) -> None:
    tab.open(build_report(narrated, folder / "narration.html").as_uri())
    search(tab, "what a save by")
    tab.wait("document.querySelectorAll('.script mark').length > 0")
    assert tab.run("[...document.querySelectorAll('mark')].every(m => m.textContent === 'what a save by')")
    search(tab, "nobody says this")
    tab.wait("document.querySelector('.count').textContent.startsWith('0 of 2')")
    check_quiet(tab)


def test_a_video_that_is_not_here_leaves_a_timeline_that_still_plays(
    tab: Tab, narrated: list[Path], folder: Path
) -> None:
    tab.open(build_report(narrated, folder / "narration.html").as_uri())
    tab.run("document.querySelector('.picker tr[data-row=\"1\"]').click()")
    assert "not on this machine" in tab.run("document.querySelector('.screen').textContent")
    tab.run("document.querySelector('.transport .primary').click()")
    tab.wait(f"{NOW} === '0:07 – 0:08'", 10)
    check_quiet(tab)


def test_questions_start_with_those_that_differ_and_filter(
    tab: Tab, asked: list[Path], folder: Path, shots: Path
) -> None:
    tab.open(build_report(asked, folder / "asked.html").as_uri())
    still(tab)
    tab.run("document.querySelector('#samples').scrollIntoView()")
    differing = int(count(tab).split(" of ")[0])
    assert 0 < differing < 200
    assert tab.run("document.querySelector('#differing').checked")
    tab.screenshot(shots / "questions-differing.png")
    tab.run("document.querySelector('#differing').click()")
    assert count(tab) == "200 questions"
    outcome(tab, "unparsed")
    unparsed = int(count(tab).split(" of ")[0])
    assert unparsed == tab.run("document.querySelectorAll('#questions tbody .badge.unparsed').length - "
                               "[...document.querySelectorAll('#questions tbody tr')].filter("
                               "r => r.lastChild.textContent === 'unparsed').length")  # fmt: skip
    detail = tab.run("document.querySelector('.detail').innerText")
    assert "reason: two letters in the reply" in detail
    assert HOSTILE in detail
    outcome(tab, "not right")
    assert int(count(tab).split(" of ")[0]) > unparsed
    search(tab, "no such words at all")
    tab.wait("document.querySelector('.count').textContent.startsWith('0 of')")
    check_quiet(tab)


def test_a_question_shows_what_was_asked_and_is_reached_by_its_link(
    tab: Tab, asked: list[Path], folder: Path, shots: Path
) -> None:
    page = build_report(asked, folder / "linked.html").as_uri()
    tab.open(f"{page}#question=s30%2Fq123")
    assert tab.run("document.querySelector('.detail h3').textContent") == "q123"
    asked_for = tab.run("document.querySelector('.detail .prompt').textContent")
    assert asked_for == "Question 123: what is seen at 3 s?\nA. a red ball ... <b>D</b>"
    search(tab, "question 77:")
    tab.wait("document.querySelector('.detail h3').textContent === 'q77'")
    assert tab.run("document.querySelector('.detail h3 a').getAttribute('href')") == "#question=s19%2Fq77"
    still(tab)
    tab.screenshot(shots / "question.png")
    check_quiet(tab)


def test_runs_below_a_folder_are_filtered_and_two_are_compared_in_two_clicks(
    tab: Tab, asked: list[Path], tmp_path: Path, shots: Path
) -> None:
    for number, path in enumerate(asked):
        shutil.copytree(path, tmp_path / "runs" / f"{number}-{path.name}")
    with make_server([tmp_path / "runs"]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tab.open(server.url)
        assert tab.run("document.querySelector('#count').textContent") == f"{len(asked)} of {len(asked)} runs"
        assert tab.run("document.querySelector('#compare').disabled")
        tab.screenshot(shots / "index.png")
        for place in (0, 1):
            tab.run(f"document.querySelectorAll('tbody input')[{place}].click()")
        assert tab.run("document.querySelector('#compare').textContent") == "Compare 2"
        assert tab.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        tab.run("document.querySelector('#compare').click()")
        tab.wait("location.pathname.startsWith('/view/') && document.querySelector('#questions tbody tr')")
        server.shutdown()


def test_keys_go_to_the_next_question_and_the_address_says_which(
    tab: Tab, asked: list[Path], folder: Path
) -> None:
    tab.open(build_report(asked[:1], folder / "keys.html").as_uri())
    for _ in range(51):  # past the end of the first page of the list
        tab.key("j")
    tab.key("k")
    name = tab.run("evalkitReport.data.questions.columns.query[50]")
    assert tab.run("document.querySelector('.detail h3').textContent") == name
    assert tab.run("location.hash") == f"#question=s{int(name[1:]) // 4}%2F{name}"
    line = tab.run("document.querySelector('#questions tr[aria-selected=true] td.asked').textContent")
    assert line.startswith(f"Question {name[1:]}: what is seen")
    tab.run("document.querySelector('input[type=search]').focus()")
    tab.key("j")
    assert tab.run("document.querySelector('.detail h3').textContent") == name, "typing is no command"
    check_quiet(tab)


def test_a_question_shows_the_last_frames_and_where_a_missing_video_was_looked_for(
    tab: Tab, folder: Path, narrated: list[Path]
) -> None:
    moved = "/nowhere/video-1.mp4"
    media = {"video-0": str(folder / "game-0.mp4"), "video-1": moved}
    run = question_run(folder / "filmed", questions=16, media=media, data={"path": str(folder)})
    ticks = [line.replace('"s0"', f'"{name}"') for name in ("s0", "s1", "s2")
             for line in (run / "ticks.jsonl").read_text().splitlines()]  # fmt: skip
    (run / "ticks.jsonl").write_text("\n".join(ticks) + "\n")
    tab.open(f"{build_report([run], folder / 'filmed.html').as_uri()}#question=s1%2Fq7")
    tab.wait("[...document.querySelectorAll('.frames video')].every((v) => v.currentTime > 0 && !v.seeking)")
    moments = tab.run("[...document.querySelectorAll('.frames figcaption')].map((c) => c.textContent)")
    assert moments == ["0:10", "0:10.5", "0:11", "0:11.5"], "the question is asked at 0:12"
    assert "shown 24 frames" in tab.run("document.querySelector('.detail .reply').innerText")
    tab.open(f"{build_report([run], folder / 'filmed.html').as_uri()}#question=s2%2Fq8")
    assert f"Looked for {moved}" in tab.run("document.querySelector('.detail').innerText")
    check_quiet(tab)


def test_the_list_is_walked_by_keyboard(tab: Tab, asked: list[Path], folder: Path) -> None:
    tab.open(build_report(asked[:1], folder / "one.html").as_uri())
    tab.run("document.querySelector('#questions tbody button').focus()")
    for _ in range(3):
        tab.key("ArrowDown")
    assert tab.run("document.querySelector('.detail h3').textContent") == "q3"
    assert tab.run("document.querySelector('#questions tr[aria-selected=true] button').textContent") == "q3"
    check_quiet(tab)


@pytest.mark.parametrize("width", [1400, 420])
def test_light_dark_and_narrow_windows_lay_out_without_sideways_scrolling(
    tab: Tab, width: int, narrated: list[Path], asked: list[Path], folder: Path, shots: Path
) -> None:
    for name, runs in (("narration", narrated), ("asked", asked)):
        for dark in (False, True):
            tab.size(width, 900, dark=dark)
            tab.open(build_report(runs, folder / f"{name}.html").as_uri())
            check_layout(tab, width)
            paper = tab.run("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(20, 22, 26)") is dark
            tab.screenshot(shots / f"{name}-{width}-{'dark' if dark else 'light'}.png", whole=True)
    tab.run("document.querySelector('#theme').click()")
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)"
    tab.run("localStorage.clear()")
    check_quiet(tab)


def test_without_javascript_the_tables_are_there(tab: Tab, asked: list[Path], folder: Path) -> None:
    page = build_report(asked, folder / "asked.html")
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page.as_uri())
    text = tab.run("document.querySelector('main').innerText")
    for words in ("Scores with 95 % intervals", "Strict scores by task", "Latency by question", "need JavaScript"):
        assert words in text
    assert tab.outside() == []


def test_every_control_has_a_name_and_the_page_its_landmarks(tab: Tab, narrated: list[Path], folder: Path) -> None:
    tab.open(build_report(narrated, folder / "narration.html").as_uri())
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "slider", "spinbutton", "searchbox", "checkbox", "combobox", "link", "img", "region"}
    roles: dict[str, int] = {}
    for node in nodes:
        role = node.get("role", {}).get("value")
        roles[role] = roles.get(role, 0) + 1
        if role in named and not node.get("ignored"):
            assert node.get("name", {}).get("value"), node
    for landmark in ("main", "navigation", "banner", "contentinfo", "search"):
        assert roles.get(landmark), landmark


def test_the_served_page_seeks_in_its_video(tab: Tab, narrated: list[Path], shots: Path) -> None:
    with make_server(narrated) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            tab.open(server.url)
            still(tab)
            tab.wait("document.querySelector('video').readyState >= 1")
            tab.run("document.querySelector('tr[data-second=\"25\"]').click()")
            tab.wait(f"{TIME} === 30 && !document.querySelector('video').seeking")
            assert tab.run("document.querySelector('video').seekable.end(0)") == pytest.approx(SECONDS, abs=0.5)
            tab.run("document.querySelector('#samples').scrollIntoView()")
            tab.screenshot(shots / "served.png")
            check_quiet(tab, server.url)
        finally:
            tab.call("Page.navigate", url="about:blank")
            server.shutdown()
            thread.join()


def test_many_questions_are_packed_and_still_found(tab: Tab, tmp_path: Path) -> None:
    page = build_report([question_run(tmp_path / "run", questions=4000)], tmp_path / "report.html")
    assert 'id="index" data-packed' in page.read_text()
    tab.open(page.as_uri())
    tab.wait("document.querySelectorAll('#questions tbody tr').length === 50")
    assert count(tab) == "4,000 questions"
    search(tab, "q3999")
    tab.wait("document.querySelector('.count').textContent === '1 of 4,000 questions'")
    check_quiet(tab)


def test_a_long_timeline_is_packed_and_shows_every_second_that_is_on_record(tab: Tab, tmp_path: Path) -> None:
    runs = [narration_run(tmp_path / model, model, videos=2, seconds=900) for model in ("streamingvlm", "full")]
    page = build_report(runs, tmp_path / "report.html")
    assert 'id="timeline-1" data-packed' in page.read_text()
    tab.open(page.as_uri())
    tab.wait("document.querySelector('.now h3')")
    tab.run("document.querySelector('.picker tr[data-row=\"1\"] button').click()")
    tab.wait("document.querySelector('#stage[aria-busy=false]')")
    tab.run("(() => { const j = document.querySelector('input[type=number]'); j.value = 909;"
            "j.dispatchEvent(new Event('change')); })()")  # fmt: skip
    tab.wait(f"{NOW} === '15:09 – 15:10'")
    last = read_run(runs[0]).ticks[-1]
    assert f"{last.cache_tokens:,} tokens in memory" in tab.run("document.querySelector('.meter').textContent")
    search(tab, "nobody says this")
    tab.wait("document.querySelector('.count').textContent.startsWith('0 of 2')")
    search(tab, "what a save by")
    tab.wait("document.querySelector('.count').textContent === '2 videos'")
    check_quiet(tab)


def test_the_page_of_a_run_that_goes_on_follows_its_records_until_it_is_done(tab: Tab, tmp_path: Path) -> None:
    whole = narration_run(tmp_path / "run", videos=1, seconds=30, judged=False)
    records = {name: (whole / name).read_text() for name in ("run.json", "answers.jsonl", "ticks.jsonl")}

    def grow(seconds: int, status: str) -> None:
        for name in ("answers.jsonl", "ticks.jsonl"):
            (whole / name).write_text("".join(records[name].splitlines(keepends=True)[:seconds]))
        manifest = {**json.loads(records["run.json"]), "status": status}
        if status == "running":
            manifest |= {"recorded": {}, "finished": None}
        (whole / "run.json").write_text(json.dumps(manifest))

    grow(10, "running")
    with make_server([whole]) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        tab.open(server.url)
        tab.wait("document.querySelector('.now h3')")
        assert tab.run(NOW) == "0:19 – 0:20", "the newest second"
        assert "is still running" in tab.run("document.querySelector('.notices').textContent")
        grow(20, "running")
        tab.wait(f"document.querySelector('.now h3') && {NOW} === '0:29 – 0:30'", 20)
        grow(30, "done")
        tab.wait("document.body && !document.body.dataset.follows", 20)
        check_quiet(tab, server.url)
        tab.call("Page.navigate", url="about:blank")
        server.shutdown()
