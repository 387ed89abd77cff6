"""What a lab's director and real servers are told: the words that an operator would give to each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pylvs.lab.topology import Lab, Topology
from pylvs.model import Endpoint, ForwardingMethod, IPAddress, TunnelType

PORT = 80
MAPPED_PORT = 8080
MARKED_PORTS = (80, 443)
_PROTOCOLS = ("-t", "-u")
_METHOD = {
    ForwardingMethod.NAT: "-m",
    ForwardingMethod.DR: "-g",
    ForwardingMethod.TUN: "-i",
    ForwardingMethod.FULLNAT: "--fullnat",
}
_NFT_FAMILY = {4: "ip", 6: "ip6"}


def rules(topology: Topology) -> list[list[str]]:
    """The arguments of one ipvsadm after another."""
    services = _marked if topology.lab.mark is not None else _addressed
    return [
        rule for vip in topology.vips for service in services(topology, vip) for rule in _one(topology, vip, service)
    ]


def _addressed(topology: Topology, vip: IPAddress) -> Iterator[list[str]]:
    del topology
    yield from ([protocol, str(Endpoint(vip, PORT))] for protocol in _PROTOCOLS)


def _marked(topology: Topology, vip: IPAddress) -> Iterator[list[str]]:
    yield ["-f", str(topology.lab.mark), *(["-6"] if vip.version == 6 else [])]


def _one(topology: Topology, vip: IPAddress, service: Sequence[str]) -> Iterator[list[str]]:
    """Servers are added from the last to the first, because the one added last is listed and tried first."""
    lab = topology.lab
    persistence = [] if lab.persistence is None else ["-p", str(lab.persistence)]
    yield ["-A", *service, "-s", lab.scheduler, *persistence]
    for rip in reversed(topology.rips(vip)):
        yield ["-a", *service, "-r", _real_server(lab, rip), _METHOD[lab.method], *tunnel(lab)]


def _real_server(lab: Lab, rip: IPAddress) -> str:
    """FULLNAT shows that it can map ports. What a mark stands for may have many ports: there each stays what it is."""
    if lab.mark is not None:
        return str(rip)
    return str(Endpoint(rip, MAPPED_PORT if lab.method is ForwardingMethod.FULLNAT else PORT))


def host(address: IPAddress) -> str:
    """An address as it stands before a port, also where none follows."""
    return f"[{address}]" if address.version == 6 else str(address)


def url(address: IPAddress) -> str:
    """The page of a VIP or RIP."""
    return f"http://{host(address)}/"


def tunnel(lab: Lab) -> list[str]:
    """The options of a tunnel, as the director and the real server take them; none where it is the usual one."""
    words = ["--tun-type", lab.tunnel.type] if lab.tunnel.type is not TunnelType.IPIP else []
    if lab.tunnel.type is TunnelType.GUE:
        words += ["--tun-port", str(lab.tunnel.port)]
    return [*words, f"--tun-{lab.tunnel.checksum}"] if words else []


def realserver(topology: Topology) -> list[str]:
    """The arguments of `pylvs realserver` on each real server; empty where it has nothing to do."""
    lab = topology.lab
    if lab.method is not ForwardingMethod.TUN:
        return []
    port = ["--tun-port", str(lab.tunnel.port)] if lab.tunnel.type is TunnelType.GUE else []
    vips = [word for vip in topology.vips for word in ("--vip", str(vip))]
    dips = {topology.node("director").address_of(lab.rip_family(vip.version)) for vip in topology.vips}
    only = [word for dip in sorted(dips, key=str) for word in ("--director", str(dip))]
    return ["up", "--method", lab.method, *vips, "--tun-type", lab.tunnel.type, *port, *only]


def marking(topology: Topology) -> str:
    """The nft rules that give the director's packets their mark; empty where none is wanted."""
    lab = topology.lab
    if lab.mark is None:
        return ""
    ports = ", ".join(map(str, MARKED_PORTS))
    rows = "".join(
        f"\t\t{_NFT_FAMILY[vip.version]} daddr {vip} meta l4proto {{ tcp, udp }} th dport {{ {ports} }}"
        f" meta mark set {lab.mark}\n"
        for vip in topology.vips
    )
    return (
        "table inet pylvs_lab {\n\tchain marking {\n\t\ttype filter hook prerouting priority mangle;\n"
        f"{rows}\t}}\n}}\n"
    )
