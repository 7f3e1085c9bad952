"""One campaign at a time in a folder: a file says whose it is."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from multicopy_refinement.errors import OutputError

LOCK = "campaign.lock"
#: Two readings of when a process began agree within this, in s.
_AGREE = 2.0


@contextmanager
def locked(directory: Path) -> Iterator[str | None]:
    """Hold the lock of a folder; give a sentence where one was left by a process that is gone.

    Raises
    ------
    OutputError
        Another campaign is at work, or may be: on another machine nobody can tell from here.
    """
    path = directory / LOCK
    left = _take(path)
    try:
        yield left
    finally:
        path.unlink(missing_ok=True)


def _take(path: Path) -> str | None:
    """Make the lock, in place of a stale one where there is one."""
    try:
        _make(path)
    except FileExistsError:
        holder = _holder(path)
    except OSError as fault:
        raise OutputError(f"{path.parent}: cannot be written: {fault.strerror}") from None
    else:
        return None
    where = f"process {holder.get('pid')} on {holder.get('host')}, since {holder.get('since')}"
    if not _gone(holder):
        raise OutputError(
            f"{path.parent}: another campaign is at work here ({where}); wait for it, or remove "
            f"{path} if you know that it has ended"
        )
    # of several that find a stale lock one alone can move it away
    aside = path.with_name(f".{LOCK}.{os.getpid()}")
    try:
        path.rename(aside)
        moved = _holder(aside)
        aside.unlink()
        if moved != holder:
            raise FileExistsError
        _make(path)
    except (FileNotFoundError, FileExistsError):
        raise OutputError(f"{path.parent}: another campaign begins here just now") from None
    return f"the campaign that was here ({where}) ended without a word; its lock is removed"


def _make(path: Path) -> None:
    content = {
        "pid": os.getpid(), "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "began": psutil.Process().create_time(),
    }  # fmt: skip
    with path.open("x", encoding="utf-8") as stream:
        json.dump(content, stream)


def _holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _gone(holder: dict[str, Any]) -> bool:
    """Return whether a process of this machine has ended, its number used again or not."""
    if holder.get("host") != socket.gethostname():
        return False
    try:
        began = float(psutil.Process(int(holder["pid"])).create_time())
    except (psutil.Error, KeyError, TypeError, ValueError):
        return "pid" in holder
    return bool(abs(began - float(holder.get("began", began))) > _AGREE)
