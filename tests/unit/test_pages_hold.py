"""What README and docs print holds: every command's options exist, every link and every path leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from evalkit.cli.main import COMMANDS, command_of, with_actions

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SHEETS = sorted((ROOT / "tasks" / "evalkit_tasks").glob("*/README.md"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(text: str) -> list[list[str]]:
    """Return the words of every printed ``evalkit COMMAND ...``, in blocks and between backticks."""
    joined = re.sub(r"\\\n\s*", " ", text)
    inline = re.sub(r"```.*?```", "", joined, flags=re.DOTALL).replace("\n", " ")
    found = re.findall(r"^\s*(evalkit [a-z]+\b.*)$", joined, re.MULTILINE) + re.findall(
        r"`(evalkit [^`]*)`", inline
    )
    printed = [re.split(r"\s#|\s[>|&]", line)[0] for line in found]
    words = [shlex.split(line) for line in printed if line.count('"') % 2 == 0 and line.count("'") % 2 == 0]
    return [one[1:] for one in words if len(one) > 1 and one[1] in COMMANDS]


@pytest.mark.parametrize("page", [*PAGES, *SHEETS], ids=named)
def test_every_option_of_a_printed_command_exists(page: Path) -> None:
    for command, *words in commands(page.read_text(encoding="utf-8")):
        _, parser = command_of(command)
        known = {
            option for one in with_actions(parser) for action in one._actions for option in action.option_strings
        }
        odd = {word.partition("=")[0] for word in words if word.startswith("--")} - known - {"--debug"}
        assert not odd, f"evalkit {command} {shlex.join(words)}"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, *SHEETS], ids=named)
def test_every_link_and_every_path_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        place, _, part = link.partition("#")
        target = page.parent / place if place else page
        assert target.exists(), link
        if part:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert part in map(anchor, headings), link
    for path in re.findall(r"(?<![\w/.])(?:scripts|tests|tasks|examples|docs)/[\w/.-]+\.(?:py|md|json)\b", text):
        assert (ROOT / path).exists(), path


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    found = commands(
        "    evalkit run --task a \\\n        --model b  # why\n\nSo `evalkit list\ntasks` says; evalkit is.\n"
    )
    assert found == [["run", "--task", "a", "--model", "b"], ["list", "tasks"]]
