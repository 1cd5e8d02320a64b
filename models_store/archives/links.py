"""Links of an archive, followed where they stay inside it: each file that a link names counts as a copy of it.

Hard links name a member from the archive's top, symbolic links from their own folder, through `..` and other links if
need be. A link to a folder stands for all that is in the folder. Targets may come later than their links, so links are
followed when all members are known.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from models_store.archives.rules import (
    ABSOLUTE,
    LONGEST_NAME,
    Limits,
    Link,
    MemberKindRefused,
    MemberNameRefused,
    shown_name,
    too_many,
    too_much,
)
from models_store.wording import counted

MOST_HOPS = 40  # from link to link, as in Linux
FREE_COPIES = 100_000
COPIES_PER_MEMBER = 100
"""What links may add, besides and for each member: links between folders of links double with each step."""


@dataclass
class Followed:
    """What links add: path → the file it is a copy of, the folders, and link → what it names."""

    files: dict[str, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)


def follow(links: Mapping[str, Link], sizes: Mapping[str, int], folders: set[str], limits: Limits) -> Followed:
    """Return what the links add to an archive of files (path → size in bytes) and folders.

    Raises:
        MemberKindRefused: if a link leaves the archive, names nothing in it, or leads back to itself.
        TooManyMembers, UnpackedTooLarge: if the archive, with the copies, is over the limits.
    """
    tree = _Tree(links, sizes, folders)
    followed = Followed()
    files_left = limits.files - len(sizes)
    members = len(links) + len(sizes) + len(folders)
    copies_left = FREE_COPIES + COPIES_PER_MEMBER * members
    bytes_left = limits.unpacked_bytes - sum(sizes.values())
    for link in links:
        followed.targets[link] = tree.target(link)
        for path, real in tree.below(link):
            files_left -= 1
            bytes_left -= sizes.get(real, 0)
            copies_left -= 1
            if copies_left < 0:
                raise refused(
                    link, links[link], f"and links make far more copies than the archive's {counted(members, 'member')}"
                )
            if files_left < 0:
                raise too_many(limits)
            if bytes_left < 0:
                raise too_much(limits)
            if real in sizes:
                followed.files[path] = real
            else:
                followed.folders.append(path)
    return followed


def refused(name: str, link: Link, reason: str) -> MemberKindRefused:
    """Return the error for a link that can't be followed."""
    name, target = shown_name(name), shown_name(link.target)
    return MemberKindRefused(
        f"{name} is a {link.kind} link to {target[:200]}, {reason}; pack the archive again with the files themselves "
        "in place of links (`tar -h`, that is --dereference; `zip -r` without -y)",
        member=name,
    )


class _Tree:
    """All paths of an archive, and where its links lead."""

    def __init__(self, links: Mapping[str, Link], sizes: Mapping[str, int], folders: set[str]) -> None:
        self._links = links
        self._files = sizes
        self._folders = {"", *folders}
        self._children: defaultdict[str, set[str]] = defaultdict(set)
        self._real: dict[str, tuple[str, int]] = {}  # link → where it leads, over how many links
        for path in [*links, *sizes, *folders]:
            self._note(path)

    def _note(self, path: str) -> None:
        while path:
            folder, _, name = path.rpartition("/")
            if name in self._children[folder]:
                return
            self._children[folder].add(name)
            self._folders.add(folder)
            path = folder

    def target(self, link: str) -> str:
        """Return the file or folder where the link leads in the end."""
        return self._led(link, frozenset())[0]

    def below(self, link: str) -> Iterator[tuple[str, str]]:
        """Yield each path that the link adds, with the file or folder it is."""
        waiting: list[tuple[str, str, tuple[str, ...]]] = [(link, self.target(link), (link.rpartition("/")[0],))]
        while waiting:
            path, real, trail = waiting.pop()
            if len(path) > LONGEST_NAME:
                raise MemberNameRefused(
                    f"the links in {shown_name(link)} make a name of more than {LONGEST_NAME} characters; pack the "
                    "archive again without links between folders",
                    member=shown_name(link),
                )
            yield path, real
            if real in self._files:
                continue
            if real == "" or any(f"{folder}/".startswith(f"{real}/") for folder in trail):
                raise refused(link, self._links[link], "which leads back to where it is itself")
            for name in sorted(self._children[real], reverse=True):
                child = f"{real}/{name}"
                waiting.append(
                    (f"{path}/{name}", self.target(child) if child in self._links else child, (*trail, real))
                )

    def _led(self, link: str, above: frozenset[str]) -> tuple[str, int]:
        if link in self._real:
            return self._real[link]
        given = self._links[link]
        if link in above or len(above) > MOST_HOPS:
            raise refused(link, given, "which leads back to itself, or over too many links")
        if ABSOLUTE.match(given.target):
            raise refused(link, given, "an absolute path outside of the archive")
        at = "" if given.is_hard else link.rpartition("/")[0]
        hops = 1
        for part in given.target.split("/"):
            at, over = self._step(link, at, part, above)
            hops += over
        if hops > MOST_HOPS:
            raise refused(link, given, "which leads over too many links")
        self._real[link] = at, hops
        return self._real[link]

    def _step(self, link: str, at: str, part: str, above: frozenset[str]) -> tuple[str, int]:
        """Return where one part of the link's target leads from `at`, and over how many links."""
        if part in {"", "."}:
            return at, 0
        if part == ".." and at not in self._files:
            if not at:
                raise refused(link, self._links[link], "which is outside of the archive")
            return at.rpartition("/")[0], 0
        path = f"{at}/{part}" if at else part
        if path in self._links:
            return self._led(path, above | {link})
        if path not in self._files and path not in self._folders:
            raise refused(link, self._links[link], "which is not in the archive")
        return path, 0
