"""What a hub data set holds at a revision, and its files brought here whole, going on where a download was cut.

The listing is huggingface_hub's. Its own download starts a file anew when the process was killed, and leaves what
it had on the disk; with archives of tens of gigabytes that is a day lost, so files are brought by `download`.
"""

from __future__ import annotations

__all__ = ["HubFile", "HubTree", "read_tree", "url_of"]

from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import quote

from evalkit.errors import DataError


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a data set.

    Args:
        path: Its path in the data set.
        size: Bytes.
        sha256: Digest of its content, where the hub says it (files in large-file storage).
    """

    path: str
    size: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class HubTree:
    """A data set at one commit.

    Args:
        repo: ``owner/name``.
        revision: The commit.
        files: All its files, by path.
    """

    repo: str
    revision: str
    files: tuple[HubFile, ...]

    def matching(self, patterns: tuple[str, ...]) -> list[HubFile]:
        """Return the files of any of the patterns, in order of their names."""
        return [file for file in self.files if any(fnmatchcase(file.path, pattern) for pattern in patterns)]


def read_tree(repo: str, revision: str) -> HubTree:
    """Ask the hub what a data set holds.

    Args:
        repo: ``owner/name``.
        revision: Commit, tag or branch.

    Raises:
        DataError: There is no such data set or revision, its terms have to be accepted, or the hub is not there.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi()
    with hub_errors(repo, revision):
        commit = api.dataset_info(repo, revision=revision).sha
        found = api.list_repo_tree(repo, recursive=True, revision=commit, repo_type="dataset")
        files = [
            HubFile(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None)
            for entry in found
            if isinstance(entry, RepoFile)
        ]
    return HubTree(repo, str(commit), tuple(sorted(files, key=lambda file: file.path)))


def url_of(tree: HubTree, file: HubFile) -> str:
    """Return a file's address."""
    from huggingface_hub import HfApi

    return f"{HfApi().endpoint}/datasets/{tree.repo}/resolve/{tree.revision}/{quote(file.path)}"


class hub_errors:
    """Turn what huggingface_hub and its transport raise into one line that says what to do.

    Args:
        repo: The data set.
        revision: The revision asked for.
    """

    def __init__(self, repo: str, revision: str) -> None:
        self.repo, self.revision = repo, revision

    def __enter__(self) -> None:
        """Nothing to set up."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise a `DataError` of what is known."""
        from huggingface_hub import errors

        if isinstance(error, errors.GatedRepoError):
            page = f"https://huggingface.co/datasets/{self.repo}"
            raise DataError(
                f"{self.repo} is for those who accept its terms: do so at {page}, then `hf auth login` or HF_TOKEN"
            ) from error
        if isinstance(error, errors.RevisionNotFoundError):
            raise DataError(f"{self.repo} has no revision {self.revision!r}") from error
        if isinstance(error, errors.RepositoryNotFoundError):
            raise DataError(f"there is no data set {self.repo}, or it is private: `hf auth login`") from error
        if isinstance(error, errors.OfflineModeIsEnabled):
            raise DataError(f"HF_HUB_OFFLINE is set, so {self.repo} cannot be asked for") from error
        if isinstance(error, errors.HfHubHTTPError):
            code = getattr(getattr(error, "response", None), "status_code", None)
            raise DataError(f"the hub answered {code} when asked for {self.repo}: try again later") from error
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in (
            "httpx",
            "httpx2",
            "httpcore",
        ):
            said = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"the hub cannot be reached for {self.repo} ({said})") from error
