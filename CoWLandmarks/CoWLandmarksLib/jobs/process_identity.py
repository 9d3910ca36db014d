"""Which process made something, and whether it still lives, on Linux, macOS and Windows with the standard library.

A process number alone does not tell: numbers are given again. Number and time of start together do, on one computer.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_ENDED = ("Z", "X", "x")
"""States in /proc of processes that only wait to be forgotten."""
_QUERY_LIMITED_INFORMATION, _STILL_ACTIVE, _INVALID_PARAMETER = 0x1000, 259, 87
"""Of the Windows API."""
_CANNOT_BE_KNOWN = (OSError, ValueError, IndexError, subprocess.SubprocessError)


def this_process() -> dict[str, Any]:
    """What tells this process from all others, to be kept as JSON; `started` is None where the system hides it."""
    started = None
    with suppress(*_CANNOT_BE_KNOWN):
        started = _started(os.getpid())
    return {"host": _host(), "pid": os.getpid(), "started": started}


def still_lives(identity: dict[str, Any]) -> bool | None:
    """Whether the process with this identity lives; None where that cannot be known, as for another computer."""
    pid, started = identity.get("pid"), identity.get("started")
    if identity.get("host") != _host() or not isinstance(pid, int) or pid <= 0 or not isinstance(started, str):
        return None
    try:
        return _started(pid) == started
    except ProcessLookupError:
        return False
    except _CANNOT_BE_KNOWN:
        return None


def _host() -> str:
    """The computer, and on Linux the container, within which process numbers mean anything."""
    space = ""
    with suppress(OSError):
        space = str((_PROC / "self" / "ns" / "pid").readlink())
    return f"{platform.node()} {space}".strip()


def _started(pid: int) -> str:
    """When a process began, as the system writes it. Raises ProcessLookupError where there is no such process."""
    if sys.platform == "win32":
        return _started_on_windows(pid)
    if (_PROC / "self" / "stat").is_file():
        return _started_on_linux(pid)
    return _started_by_ps(pid)


def _started_on_linux(pid: int) -> str:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    fields = text.rpartition(")")[2].split()  # the name before may hold anything
    if fields[0] in _ENDED:
        raise ProcessLookupError(pid)
    boot = (_PROC / "sys" / "kernel" / "random" / "boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {fields[19]}"  # clock ticks since this boot


def _started_by_ps(pid: int) -> str:
    """On macOS. In UTC, so that a journey does not change it."""
    command = ["ps", "-o", "state=,lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=10.0)
    state, _, started = completed.stdout.strip().partition(" ")
    if not started or state[0] in _ENDED:
        if completed.stderr.strip():
            raise OSError(completed.stderr.strip())
        raise ProcessLookupError(pid)
    return " ".join(started.split())


def _started_on_windows(pid: int) -> str:
    import ctypes  # Windows only
    from ctypes import wintypes  # Windows only

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
    kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    process = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
    if not process:
        code = ctypes.get_last_error()  # type: ignore[attr-defined]
        raise ProcessLookupError(pid) if code == _INVALID_PARAMETER else OSError(code, "OpenProcess")
    try:
        code, times = wintypes.DWORD(), [wintypes.FILETIME() for _ in range(4)]
        if not kernel.GetExitCodeProcess(process, ctypes.byref(code)):
            raise OSError("GetExitCodeProcess")
        if code.value != _STILL_ACTIVE:
            raise ProcessLookupError(pid)
        if not kernel.GetProcessTimes(process, *map(ctypes.byref, times)):
            raise OSError("GetProcessTimes")
        return f"{times[0].dwHighDateTime:08x}{times[0].dwLowDateTime:08x}"
    finally:
        kernel.CloseHandle(process)
