"""Postfix on the loopback, delivering all it gets to one Maildir: a mail server that the project did not write.

It has its own configuration, queue and log in a folder of its own, and touches nothing of a Postfix of the machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from tests.acceptance.running import eventually

POSTFIX = shutil.which("postfix", path=os.environ.get("PATH", "") + ":/usr/sbin")

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = mta.example
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtputf8_enable = yes
message_size_limit = 52428800
virtual_mailbox_limit = 0
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = {folder}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
"""
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


class Mta:
    """A running Postfix; a context manager. Only root can start one."""

    def __init__(self) -> None:
        # Not below a folder of pytest's: other users, as which parts of it run, may not go in there.
        self._folder = Path(tempfile.mkdtemp(prefix="mta"))
        self._port = 0

    def __enter__(self) -> Mta:
        self._folder.chmod(0o755)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        mail = self._folder / "mail"
        for folder in (self._folder / "etc", self._folder / "queue", self._folder / "data", mail):
            folder.mkdir()
        shutil.chown(self._folder / "data", "postfix")
        shutil.chown(mail, "postfix")
        owner = mail.stat()
        main = _MAIN.format(folder=self._folder, uid=owner.st_uid, gid=owner.st_gid or 1)
        (self._folder / "etc" / "main.cf").write_text(main)
        (self._folder / "etc" / "master.cf").write_text(_MASTER.format(port=self._port))
        try:
            self._command("start")
            eventually(self._listens, "Postfix listening")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._command("stop")
        shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        """What the service is told."""
        return f"smtp://127.0.0.1:{self._port}?tls=none"

    @property
    def logged(self) -> str:
        """What it says about itself."""
        log = self._folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def delivered(self, message_id: str, copies: int = 1) -> list[bytes]:
        """The files of the message with this id, once there are as many *copies* (one for each recipient)."""
        field = f"\nMessage-ID: {message_id}\n".encode()

        def look() -> list[bytes] | None:
            folder = self._folder / "mail" / "inbox" / "new"
            whole = [file.read_bytes() for file in folder.iterdir()] if folder.exists() else []
            found = [data for data in whole if field in data.partition(b"\n\n")[0]]
            return found if len(found) >= copies else None

        return eventually(look, f"{copies} of {message_id} in the mailbox; Postfix says {self.logged[-2000:]}", 30)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _command(self, word: str) -> None:
        assert POSTFIX is not None
        arguments = [POSTFIX, "-c", str(self._folder / "etc"), word]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode and word == "start":
            raise RuntimeError(f"{done.stdout}{done.stderr}{self.logged}")
