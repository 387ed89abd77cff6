"""The nouns of LVS as frozen values: endpoint, virtual service, real server, connection, counters, snapshot."""

from pylvs.model.address import Endpoint, IPAddress, parse_address
from pylvs.model.connection import Connection, EngineConnection
from pylvs.model.server import ForwardingMethod, RealServer, Tunnel, TunnelChecksum, TunnelType
from pylvs.model.service import FirewallMark, Protocol, ServiceId, VirtualAddress, VirtualService
from pylvs.model.snapshot import Counters, ServerSnapshot, ServiceSnapshot, Timeouts
from pylvs.model.sync import SyncDaemon, SyncRole
from pylvs.model.value import Value

__all__ = [
    "Connection",
    "Counters",
    "Endpoint",
    "EngineConnection",
    "FirewallMark",
    "ForwardingMethod",
    "IPAddress",
    "Protocol",
    "RealServer",
    "ServerSnapshot",
    "ServiceId",
    "ServiceSnapshot",
    "SyncDaemon",
    "SyncRole",
    "Timeouts",
    "Tunnel",
    "TunnelChecksum",
    "TunnelType",
    "Value",
    "VirtualAddress",
    "VirtualService",
    "parse_address",
]
