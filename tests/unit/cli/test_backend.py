"""Which director a command is for, and the commands that are for one of them only."""

from __future__ import annotations

import pytest

from pylvs import __main__ as entry
from pylvs.cli import sysctl
from pylvs.director import backend, knob
from pylvs.director.backend import EBPF, IPVS, VARIABLE, chosen
from pylvs.director.knob import KnobValue
from pylvs.director.memory import MemoryDirector
from pylvs.errors import NotSupportedHere, UsageError


class Kernel(MemoryDirector):
    """With the knobs that IPVS has."""

    def close(self) -> None:
        """Nothing is open."""

    def knobs(self) -> dict[str, KnobValue]:
        return {name: value for name, value in super().knobs().items() if not name.startswith("local_port")}


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()

    def opened(name: str, scheduler_file: str = "") -> Kernel:
        del scheduler_file
        assert name == IPVS
        return made

    monkeypatch.setattr(sysctl, "open_director", opened)
    monkeypatch.setattr(entry, "open_director", opened)
    return made


@pytest.mark.parametrize(
    ("words", "variable", "which", "left"),
    [
        ("ipvsadm -Ln", "", EBPF, "ipvsadm -Ln"),
        ("ipvsadm -Ln", "ipvs", IPVS, "ipvsadm -Ln"),
        ("--backend ipvs ipvsadm -Ln", "", IPVS, "ipvsadm -Ln"),
        ("--backend=ipvs ipvsadm -Ln", "ebpf", IPVS, "ipvsadm -Ln"),
        ("--backend ebpf sysctl", "ipvs", EBPF, "sysctl"),
        ("ipvsadm --backend ipvs", "", EBPF, "ipvsadm --backend ipvs"),
        ("", "ipvs", IPVS, ""),
    ],
)
def test_option_before_variable(
    words: str, variable: str, which: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, variable)
    assert chosen(words.split()) == (which, left.split())


@pytest.mark.parametrize("words", ["--backend nosuch ipvsadm", "--backend= ipvsadm", "--backend"])
def test_there_must_be_such_a_backend(words: str) -> None:
    with pytest.raises(UsageError, match="backend") as refused:
        chosen(words.split())
    assert "ebpf" in refused.value.hint


def test_the_variable_is_named_when_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "IPVS")
    with pytest.raises(UsageError, match="PYLVS_BACKEND: there is no backend 'IPVS'"):
        chosen(["ipvsadm"])


@pytest.mark.parametrize("command", ["attach", "bench", "demo", "detach", "drops", "lab", "upgrade", "watch"])
def test_what_is_for_ebpf_only_says_so(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--backend", IPVS, command]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pylvs: pylvs {command} is for the eBPF data plane")
    assert said.count("\n") == 2
    assert entry.main(["--backend", IPVS, command, "--help"]) == 0


def test_the_option_comes_once_and_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--backend", EBPF, "--backend", IPVS, "sysctl"]) == 2
    assert "given once, before everything else" in capsys.readouterr().err


def test_ipvsadm_is_on_the_kernel(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--backend", IPVS, "ipvsadm", "-A", "-t", "192.0.2.80:80", "-s", "mh"]) == 0
    assert [each.service.scheduler for each in kernel.services()] == ["mh"]
    assert capsys.readouterr().out == ""


def test_sysctl_is_on_the_kernel(kernel: Kernel, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.main(["--backend", IPVS, "sysctl", "conntrack=1"]) == 0
    assert kernel.knobs()["conntrack"] == 1
    assert entry.main(["--backend", IPVS, "sysctl", "--json", "conntrack"]) == 0
    assert '"has_effect": true' in capsys.readouterr().out


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("word", ["local_port_first", "local_port_first=2000"])
def test_the_kernel_has_not_every_knob(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert word.partition("=")[0] in knob.KNOBS
    assert entry.main(["--backend", IPVS, "sysctl", word]) == 2
    assert "the kernel's IPVS has no knob local_port_first" in capsys.readouterr().err


def test_without_ipvs_one_line_and_a_hint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pylvs.director.ipvs import family

    monkeypatch.setattr(family.Family, "_look_up", lambda _: None)
    monkeypatch.setattr(family, "_load_module", lambda: None)
    with pytest.raises(NotSupportedHere) as refused:
        backend.open_director(IPVS)
    assert "modprobe ip_vs" in refused.value.hint
    assert entry.main(["--backend", IPVS, "ipvsadm", "-Ln"]) == 2
    assert capsys.readouterr().err.startswith("Can't initialize ipvs: the kernel has no IPVS")
