"""Post a leaderboard diff as one comment on a pull request, or update the comment posted before.

    evalkit leaderboard diff --base origin/main --head HEAD > diff.md
    python scripts/post_leaderboard_diff.py --pull-request 12 --body diff.md

The token (GITHUB_TOKEN) needs the permission `pull-requests: write` and goes to the API's own address only. The
comment is found again by a hidden first line, among those of `--author`. Server errors are tried again, looking
for the comment anew each time, so that a comment that was posted although the answer got lost is not posted twice.
"""

from __future__ import annotations

__all__ = ["MARKER", "GitHubError", "PullRequest", "comment_body", "main", "post_or_update"]

import argparse
import http.client
import ipaddress
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from evalkit.env import github_repository, github_token
from evalkit.errors import EvalkitError, UsageError

MARKER = "<!-- evalkit-leaderboard-diff -->"
_LONGEST = 65_000  # GitHub refuses comments above 65,536 characters.
_PAGE, _PAGES = 100, 30  # GitHub gives at most 100 comments a page.
_SECONDS = 30
_AGAIN = {429, 500, 502, 503, 504}


class GitHubError(EvalkitError):
    """The API refused for good, or did not answer in spite of retries."""


class _TryAgain(Exception):
    """A server error or a lost connection."""


@dataclass(frozen=True, slots=True)
class PullRequest:
    """Where to post.

    Args:
        api: Base address of the API, without a trailing slash.
        repository: ``owner/name``.
        number: Of the pull request.
        token: Sent to ``api`` and nowhere else.
        author: Whose comments may be updated.
    """

    api: str
    repository: str
    number: int
    token: str
    author: str

    @property
    def comments(self) -> str:
        """Path of the pull request's comments."""
        return f"/repos/{self.repository}/issues/{self.number}/comments"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirect would carry the token to another address."""

    def redirect_request(self, *_: Any) -> None:
        """Refuse."""
        return


_OPENER = urllib.request.build_opener(_NoRedirect)


def _call(place: PullRequest, method: str, path: str, content: dict[str, str] | None = None) -> Any:
    """Send one request and return the JSON of the answer.

    Raises:
        _TryAgain: The server failed or the connection broke.
        GitHubError: The server refused.
    """
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked in `_checked_api`
        place.api + path,
        data=None if content is None else json.dumps(content).encode(),
        method=method,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {place.token}",
            "Content-Type": "application/json",
            "User-Agent": "evalkit",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    try:
        with _OPENER.open(request, timeout=_SECONDS) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            if error.code in _AGAIN:
                raise _TryAgain(f"the server said {error.code}") from error
            _refused(place, error.code)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _TryAgain(f"no answer ({error})") from error
    except ValueError as error:
        raise _TryAgain("the answer is not JSON") from error


def _refused(place: PullRequest, code: int) -> NoReturn:
    if code in (401, 403):
        raise GitHubError(f"the API refused the token ({code}): it needs the permission pull-requests: write")
    if code == 404:
        raise GitHubError(f"no pull request {place.number} in {place.repository} that the token may see (404)")
    raise GitHubError(f"the API refused with {code}")


def _own_comments(place: PullRequest) -> Iterator[int]:
    """Yield the ids of the comments posted before, oldest first."""
    for page in range(1, _PAGES + 1):
        rows = _call(place, "GET", f"{place.comments}?per_page={_PAGE}&page={page}")
        for row in rows:
            author = (row.get("user") or {}).get("login")
            if author == place.author and (row.get("body") or "").startswith(MARKER):
                yield int(row["id"])
        if len(rows) < _PAGE:
            return


def comment_body(text: str) -> str:
    """Return what is posted: the marker, then the text, cut where GitHub would refuse it."""
    if len(text) > _LONGEST:
        kept = text[:_LONGEST].rpartition("\n")[0]
        text = f"{kept}\n\n_Cut: the diff has {len(text)} characters; the artifact of this run holds all of it._\n"
    return f"{MARKER}\n{text}"


def post_or_update(place: PullRequest, body: str, *, attempts: int = 5, wait: float = 1.0) -> str:
    """Post the comment, or update the one posted before.

    Args:
        place: Where to.
        body: From `comment_body`.
        attempts: How often a failing server is asked, >= 1.
        wait: Seconds before the second attempt, doubled before each further one.

    Returns:
        ``posted`` or ``updated``.

    Raises:
        GitHubError: Refused, or no success in all attempts.
    """
    for attempt in range(1, attempts + 1):
        try:
            known = next(_own_comments(place), None)
            if known is None:
                _call(place, "POST", place.comments, {"body": body})
                return "posted"
            _call(place, "PATCH", f"/repos/{place.repository}/issues/comments/{known}", {"body": body})
            return "updated"
        except _TryAgain as error:
            if attempt == attempts:
                raise GitHubError(f"gave up after {attempts} attempts: {error}") from error
            time.sleep(wait * 2 ** (attempt - 1))
    raise UsageError("at least one attempt is needed")


def _checked_api(address: str) -> str:
    """Return the base address if a token may be sent to it: https, or http on this machine.

    Raises:
        UsageError: It may not.
    """
    parts = urllib.parse.urlsplit(address)
    host = parts.hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not host or (parts.scheme != "https" and not (parts.scheme == "http" and loopback)):
        raise UsageError(f"a token is sent over https only (or to this machine), not to {address!r}")
    return address.rstrip("/")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pull-request", type=int, required=True, metavar="N", help="number of the pull request")
    parser.add_argument("--body", required=True, metavar="FILE", help="Markdown to post; - reads standard input")
    parser.add_argument("--repository", metavar="OWNER/NAME", help="default: GITHUB_REPOSITORY")
    parser.add_argument("--api", default="https://api.github.com", metavar="URL", help="(default %(default)s)")
    parser.add_argument(
        "--author", default="github-actions[bot]", metavar="LOGIN", help="whose comment is updated (%(default)s)"
    )
    parser.add_argument("--attempts", type=int, default=5, help="tries at a failing server (%(default)s)")
    parser.add_argument("--wait", type=float, default=1.0, help="seconds before the second attempt (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print the comment and post nothing")
    return parser


def _run(args: argparse.Namespace) -> None:
    try:
        text = sys.stdin.read() if args.body == "-" else Path(args.body).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {args.body}: {error}") from error
    body = comment_body(text)
    if args.dry_run:
        sys.stdout.write(body if body.endswith("\n") else f"{body}\n")
        return
    repository = args.repository or github_repository()
    if repository is None or not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError("name the repository as OWNER/NAME with --repository or GITHUB_REPOSITORY")
    token = github_token()
    if token is None:
        raise UsageError("no token: set GITHUB_TOKEN, or use --dry-run to see the comment")
    place = PullRequest(_checked_api(args.api), repository, args.pull_request, token, args.author)
    done = post_or_update(place, body, attempts=args.attempts, wait=args.wait)
    sys.stderr.write(f"{done} the leaderboard diff on {repository}#{args.pull_request}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script.

    Returns:
        0 posted, updated or printed; 2 with one line on stderr where that was not possible.
    """
    try:
        _run(_parser().parse_args(argv))
    except EvalkitError as error:
        sys.stderr.write(f"post_leaderboard_diff: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
