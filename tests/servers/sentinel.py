"""A master with two replicas, watched by three sentinels. The servers want a password, and the sentinels another."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.servers.node import PLAIN, Node, free_ports, wait

NAME: Final = "main"
DOWN_AFTER_MS: Final = 1500
"""After so long without an answer a master is replaced."""
_PASSWORD: Final = "data-secret"
_SENTINEL_PASSWORD: Final = "guard-secret"
_CONFIG: Final = f"""
requirepass {_SENTINEL_PASSWORD}
sentinel sentinel-pass {_SENTINEL_PASSWORD}
sentinel monitor {NAME} 127.0.0.1 %d 2
sentinel auth-pass {NAME} {_PASSWORD}
sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}
sentinel failover-timeout {NAME} 6000
"""


class SentinelServers:
    """The servers and the sentinels, as a context: started, introduced, and ended with it."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(6)
        self._folder = folder
        words = (*PLAIN, "--requirepass", _PASSWORD, "--masterauth", _PASSWORD)
        self.nodes = [Node(folder / str(port), port, words, _PASSWORD) for port in ports[:3]]
        self.sentinels = [
            Node(folder / str(port), port, (str(folder / f"{port}.conf"), "--sentinel"), _SENTINEL_PASSWORD)
            for port in ports[3:]
        ]

    @property
    def url(self) -> str:
        """What to give to a Queue."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.sentinels)
        return f"redis+sentinel://:{_PASSWORD}@{hosts}/{NAME}/0?sentinel_password={_SENTINEL_PASSWORD}"

    @property
    def socket(self) -> Path:
        """There is none: a test that needs one server's is skipped."""
        pytest.skip("this test handles its server")

    def __enter__(self) -> Self:
        try:
            for node in self.nodes:
                node.start()
            for node in self.nodes[1:]:
                node.ask("REPLICAOF", "127.0.0.1", self.nodes[0].port)
            self._folder.mkdir(parents=True, exist_ok=True)
            for node in self.sentinels:
                (self._folder / f"{node.port}.conf").write_text(_CONFIG % self.nodes[0].port)
                node.start()
            wait(self._is_healthy, "sentinels that know all")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End them all."""
        for node in (*self.sentinels, *self.nodes):
            node.kill()

    @property
    def master(self) -> Node:
        """Who is master, once all sentinels say the same."""
        named: set[int] = set()

        def agree() -> bool:
            named.clear()
            named.update(self._named())
            return len(named) == 1

        wait(agree, "sentinels that agree")
        return next(node for node in self.nodes if node.port in named)

    def heal(self) -> None:
        """Thaw and restart what a test froze and killed; returns when all are there and in agreement."""
        for node in (*self.nodes, *self.sentinels):
            node.thaw()
        wait(lambda: self.master.alive, "a master that lives")
        master = self.master
        for node in self.nodes:
            node.start()
            if node is not master and node.info("replication")["role"] == "master":
                node.ask("REPLICAOF", "127.0.0.1", master.port)  # the sentinels would do so too, in ten seconds
        wait(self._is_healthy, "a healthy master with its replicas", timeout=60)

    def _named(self) -> set[int]:
        answers = [node.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME) for node in self.sentinels if not node.frozen]
        return {int(port) for _host, port in answers}

    def _is_healthy(self) -> bool:
        for sentinel in self.sentinels:
            flat = iter(sentinel.ask("SENTINEL", "MASTER", NAME))
            said = dict(zip(flat, flat, strict=True))
            if (said["flags"], said["num-slaves"], said["num-other-sentinels"]) != ("master", "2", "2"):
                return False
        master = self.master
        replication = master.info("replication")
        return replication["role"] == "master" and all(
            f"slave{n}" in replication and "state=online" in replication[f"slave{n}"] for n in range(2)
        )
