"""Opens a file only where it really lies below a folder.

Whoever writes to a volume can put a symbolic link on it that leads to another file of the pod, such as a key. So it is
not the name that is checked but the file that was opened: no link can be exchanged in between.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


class OutsideFolder(OSError):
    """The path leads out of the folder, or is no regular file."""


def open_confined(path: Path, folder: Path) -> BinaryIO:
    """The file, opened for reading. Raises OutsideFolder, and OSError as `open` does."""
    # Without O_NONBLOCK the opening of a named pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(descriptor, "rb")
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OutsideFolder(f"{path} is no regular file")
        if not _place(descriptor, path).is_relative_to(folder.resolve()):
            raise OutsideFolder(f"{path} leads out of {folder}")
    except OSError:
        file.close()
        raise
    return file


def _place(descriptor: int, path: Path) -> Path:
    """Where the open file lies; only Linux knows that of a descriptor."""
    opened = Path(f"/proc/self/fd/{descriptor}")
    return opened.resolve() if opened.exists() else path.resolve()
