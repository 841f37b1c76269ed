"""Which files belong to the project: what git tracks, and what it would if asked."""

import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Only for a tree without git, unpacked from an archive.
OUTPUT_FOLDERS = ("build", "out", ".git", "__pycache__")


def list_files(root, suffixes):
    """Sorted paths, relative to root, of the project's files that end in one of `suffixes`."""
    if os.path.exists(os.path.join(root, ".git")):
        # safe.directory: the tree may belong to another user, as in a container. Only names are read.
        git = ["git", "-c", "safe.directory=*", "-C", root]
        listing = subprocess.run(
            [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
        ).stdout
        paths = os.fsdecode(listing).split("\0")
    else:
        paths = list(_walk(root))
    wanted = {path for path in paths if path.endswith(tuple(suffixes))}
    # A file deleted in the work tree is still in git's index.
    return sorted(path for path in wanted if os.path.isfile(os.path.join(root, path)))


def _walk(root):
    for folder, folders, names in os.walk(root):
        folders[:] = [
            name
            for name in folders
            if name not in OUTPUT_FOLDERS and not name.startswith("build-")
        ]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), root)
