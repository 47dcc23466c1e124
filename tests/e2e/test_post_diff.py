"""Posting a leaderboard diff, against a real HTTP server that behaves like GitHub's API."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "post_leaderboard_diff.py"
TOKEN = "ghs_not-a-real-token"
BOT = "github-actions[bot]"

spec = importlib.util.spec_from_file_location("post_leaderboard_diff", SCRIPT)
script = importlib.util.module_from_spec(spec)
sys.modules["post_leaderboard_diff"] = script
spec.loader.exec_module(script)


class GitHub:
    """The part of the API that is used, with faults on demand."""

    def __init__(self) -> None:
        self.comments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.faults: list[int] = []
        self.lose_answer_to_post = 0
        self.redirect_to: str | None = None

    def add(self, body: str, login: str = BOT) -> int:
        self.comments.append({"id": 1000 + len(self.comments), "body": body, "user": {"login": login}})
        return self.comments[-1]["id"]


@pytest.fixture
def github() -> Iterator[tuple[GitHub, str]]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def _send(self, code: int, content: object, **headers: str) -> None:
            blob = json.dumps(content).encode()
            self.send_response(code)
            for name, value in {"Content-Length": str(len(blob)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(blob)

        def _handle(self) -> None:
            state.requests.append((self.command, self.path))
            state.tokens.add(self.headers.get("Authorization"))
            length = int(self.headers.get("Content-Length") or 0)
            content = json.loads(self.rfile.read(length)) if length else {}
            if state.redirect_to:
                return self._send(302, {}, Location=state.redirect_to)
            if state.faults:
                return self._send(state.faults.pop(0), {"message": "fault"})
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                return self._send(401, {"message": "Bad credentials"})
            parts = urlsplit(self.path)
            if parts.path == "/api/repos/o/r/issues/7/comments" and self.command == "GET":
                page = int(parse_qs(parts.query)["page"][0])
                size = int(parse_qs(parts.query)["per_page"][0])
                return self._send(200, state.comments[(page - 1) * size : page * size])
            if parts.path == "/api/repos/o/r/issues/7/comments" and self.command == "POST":
                state.add(content["body"])
                if state.lose_answer_to_post:
                    state.lose_answer_to_post -= 1
                    return self._send(502, {"message": "Bad gateway"})
                return self._send(201, state.comments[-1])
            if parts.path.startswith("/api/repos/o/r/issues/comments/") and self.command == "PATCH":
                one = next(c for c in state.comments if c["id"] == int(parts.path.rpartition("/")[2]))
                one["body"] = content["body"]
                return self._send(200, one)
            return self._send(404, {"message": "Not Found"})

        do_GET = do_POST = do_PATCH = _handle

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state, f"http://127.0.0.1:{server.server_address[1]}/api"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def diff(tmp_path) -> Path:
    path = tmp_path / "diff.md"
    path.write_text("## Leaderboard changes\n\n| model | 50.00 → 53.00 |\n", encoding="utf-8")
    return path


def post(api: str, body: Path, *words: str, number: int = 7, token: str | None = TOKEN):
    """Run the script as CI does, in a process of its own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    env |= {"PYTHONPATH": str(ROOT)} | ({"GITHUB_TOKEN": token} if token else {})
    command = [
        sys.executable, str(SCRIPT), "--pull-request", str(number), "--body", str(body), "--repository", "o/r",
        "--api", api, "--wait", "0.01", *words,
    ]  # fmt: skip
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_first_diff_is_posted_and_the_next_replaces_it(github, diff):
    state, api = github
    state.add("a person's words", "somebody")
    assert post(api, diff).returncode == 0
    assert len(state.comments) == 2
    diff.write_text("second", encoding="utf-8")
    done = post(api, diff)
    assert done.returncode == 0
    assert "updated" in done.stderr
    assert len(state.comments) == 2
    assert state.comments[0]["body"] == "a person's words"
    assert state.comments[1]["body"] == f"{script.MARKER}\nsecond"


def test_the_comment_is_found_on_a_later_page(github, diff):
    state, api = github
    for number in range(130):
        state.add(f"comment {number}", "somebody")
    known = state.add(f"{script.MARKER}\nold")
    assert post(api, diff).returncode == 0
    assert len(state.comments) == 131
    assert "50.00" in next(one for one in state.comments if one["id"] == known)["body"]


def test_a_comment_of_somebody_else_with_the_marker_is_left_alone(github, diff):
    state, api = github
    state.add(f"{script.MARKER}\nmine", "somebody")
    assert post(api, diff).returncode == 0
    assert state.comments[0]["body"] == f"{script.MARKER}\nmine"
    assert len(state.comments) == 2


def test_server_errors_are_tried_again(github, diff):
    state, api = github
    state.faults = [500, 503, 429]
    assert post(api, diff).returncode == 0
    assert len(state.comments) == 1


def test_a_post_whose_answer_was_lost_is_not_posted_twice(github, diff):
    state, api = github
    state.lose_answer_to_post = 1
    assert post(api, diff).returncode == 0
    assert len(state.comments) == 1


def test_a_server_that_stays_down_is_one_line(github, diff):
    state, api = github
    state.faults = [502] * 20
    done = post(api, diff, "--attempts", "3")
    assert done.returncode == 2
    assert done.stderr == "post_leaderboard_diff: gave up after 3 attempts: the server said 502\n"
    assert len(state.requests) == 3


def test_nobody_listening_is_one_line(diff):
    done = post("http://127.0.0.1:9", diff, "--attempts", "2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("token", "number", "said"),
    [("wrong", 7, "pull-requests: write"), (TOKEN, 8, "no pull request 8 in o/r"), (None, 7, "set GITHUB_TOKEN")],
)
def test_a_refusal_says_what_to_do_and_is_not_repeated(github, diff, token, number, said):
    state, api = github
    done = post(api, diff, token=token, number=number)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(state.requests) <= 1


def test_the_token_is_never_printed_nor_carried_to_another_address(github, diff):
    state, api = github
    state.redirect_to = "http://localhost:1/stolen"
    done = post(api, diff)
    assert done.returncode == 2
    assert TOKEN not in done.stdout + done.stderr
    assert "302" in done.stderr
    assert len(state.requests) == 1


@pytest.mark.parametrize("api", ["http://api.example.com", "ftp://127.0.0.1", "api.github.com", "https://"])
def test_a_token_is_sent_over_https_or_to_this_machine_only(diff, api):
    done = post(api, diff)
    assert done.returncode == 2
    assert "over https only" in done.stderr


def test_a_dry_run_prints_the_comment_and_asks_nobody(github, diff):
    state, api = github
    done = post(api, diff, "--dry-run", token=None)
    assert done.returncode == 0
    assert done.stdout == script.comment_body(diff.read_text(encoding="utf-8"))
    assert state.requests == []


def test_a_comment_that_is_too_long_is_cut_and_says_so():
    body = script.comment_body("| row |\n" * 20_000)
    assert len(body) < 65_536
    assert "_Cut: the diff has 160000 characters" in body


def test_a_missing_file_is_one_line(github, tmp_path):
    done = post(github[1], tmp_path / "none.md")
    assert done.returncode == 2
    assert "cannot read" in done.stderr
