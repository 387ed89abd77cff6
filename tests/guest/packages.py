"""Debian 12's packages for the guest, fetched with lists of their own, whatever release the host has."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from pylvs.errors import PylvsError

KERNEL = "linux-image-cloud-amd64"
USERLAND = (
    *("bash", "coreutils", "curl", "dash", "findutils", "grep", "kmod", "mawk", "mount", "procps", "sed", "util-linux"),
    *("bpftool", "ethtool", "iproute2", "iptables", "iputils-ping", "ipvsadm", "libbpf1", "nftables", "tcpdump"),
    *("libstdc++6", "netbase", "python3.11"),
)
_UNNEEDED = re.compile(
    r"perl.*|lib.*perl.*|dpkg|debconf|gcc-12-base|tzdata|init-system-helpers|passwd|adduser|libpam.*"
)
"""What Debian's packages depend on only to be installed and configured."""

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SOURCES = f"""\
deb [arch=amd64 signed-by={_KEYRING}] http://deb.debian.org/debian bookworm main
deb [arch=amd64 signed-by={_KEYRING}] http://deb.debian.org/debian-security bookworm-security main
"""


class GuestError(PylvsError):
    """The guest could not be made, or does not answer."""


def output_of(*argv: str, cwd: Path | None = None) -> str:
    """What a command prints; its last words of complaint when it fails."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            argv, cwd=cwd, env={**os.environ, "PATH": path, "LC_ALL": "C"}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise GuestError(f"{argv[0]} is missing here", hint="script/guest installs what the guest needs") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing was said about why"]
        raise GuestError(f"{' '.join(argv)[:60]}... failed: {said[-1]}")
    return done.stdout


class Apt:
    """apt-get with a state of its own in a folder, in which nothing is installed."""

    def __init__(self, home: Path) -> None:
        if not Path(_KEYRING).exists():
            raise GuestError(f"there is no {_KEYRING}", hint="install debian-archive-keyring")
        for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / "sources.list").write_text(_SOURCES)
        (home / "status").write_text("")
        self._debs = home / "debs"
        options = {
            "Dir::State": home / "state",
            "Dir::State::status": home / "status",
            "Dir::Cache": home / "cache",
            "Dir::Etc::SourceList": home / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",  # the unprivileged one can't write in a user's cache
            "Acquire::Languages": "none",
        }
        self._apt = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]

    def update(self) -> None:
        output_of(*self._apt, "update")

    def needed(self, *names: str) -> list[str]:
        """These packages and all that they need to run."""
        planned = output_of(*self._apt, "-s", "install", *names)
        found = re.findall(r"^Inst (\S+)", planned, re.MULTILINE)
        return [name for name in found if not _UNNEEDED.fullmatch(name)]

    def kernel(self) -> str:
        """The package of the kernel itself."""
        return next(name for name in self.needed(KERNEL) if re.match(r"linux-image-\d", name))

    def download(self, names: list[str]) -> list[Path]:
        """The packages' files, in the order of their names."""
        output_of(*self._apt, "download", *names, cwd=self._debs)
        return [max(self._debs.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime) for name in names]


def unpack(deb: Path, root: Path) -> None:
    """A package's files, where / has links to the folders in /usr."""
    tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner"]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as packed:
        unpacked = subprocess.run(tar, stdin=packed.stdout, check=False)
    if packed.returncode or unpacked.returncode:
        raise GuestError(f"{deb} can't be unpacked", hint="remove it and try again")
