"""Files and folders of systems and tools, which are ignored in archives and listed as such."""

from pathlib import PurePosixPath

NAMES = frozenset(
    [
        # macOS
        *("__macosx", ".ds_store", ".appledouble", ".appledb", ".appledesktop", ".spotlight-v100", ".fseventsd"),
        *(".temporaryitems", ".trashes", ".documentrevisions-v100", ".localized", ".volumeicon.icns", ".apdisk"),
        *("icon\r", "network trash folder", "temporary items", ".metadata_never_index", ".pkinstallsandboxmanager"),
        # Windows
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler", "recycled"),
        *("system volume information", "$windows.~bt", "$windows.~ws", "found.000"),
        # Linux and file systems
        *("lost+found", ".directory", ".trash", ".thumbnails", ".snapshot", ".zfs", ".xvpics"),
        # network storage: Synology, QNAP
        *("@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", ".@__thumb", "@sharebin"),
        # cloud folders, galleries
        *(
            ".dropbox",
            ".dropbox.attr",
            ".dropbox.cache",
            ".tmp.drivedownload",
            ".tmp.driveupload",
            ".sync",
            ".stfolder",
        ),
        *(".stversions", ".picasa.ini", "picasa.ini", ".picasaoriginals", ".nomedia", ".comments"),
        # tools
        *(".git", ".gitignore", ".gitattributes", ".gitkeep", ".gitmodules", ".keep", ".svn", ".hg", ".bzr", ".dvc"),
        *(".dvcignore", ".idea", ".vscode", ".vs", ".ipynb_checkpoints", "__pycache__", ".cache", ".venv"),
    ]
)
"""names, folded, of a file or of a folder with all that is in it"""
BEGINNINGS = ("._", ".#", ".trash-", ".~lock.", "~$", ".nfs0000", ".fuse_hidden", ".goutputstream-", ".syncthing.")
ENDINGS = ("@synoeastream", "@synoresource", ":zone.identifier")


def is_system(path: PurePosixPath) -> bool:
    """Return whether a system or a tool has left the file, or a folder that it is in."""
    return any(_is_known(part.casefold()) for part in path.parts)


def is_hidden(path: PurePosixPath) -> bool:
    """Return whether the file, or a folder that it is in, has a name that file managers don't show."""
    return any(part.startswith(".") for part in path.parts)


def _is_known(name: str) -> bool:
    return name in NAMES or name.startswith(BEGINNINGS) or name.endswith(ENDINGS)
