"""Every listing as JSON is what docs/ipvsadm.schema.json says, and says what the plain listing says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pylvs.director.memory import MemoryDirector
from pylvs.model import Connection, Endpoint, Protocol, parse_address
from tests.ipvsadm import director, ipvsadm
from tests.unit.cli.test_whole import RULES

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "ipvsadm.schema.json").read_text())


def _closed(schema: Any) -> Any:
    """As strict as can be: here nothing may be there that the schema doesn't name."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    return {**closed, "additionalProperties": False} if schema.get("type") == "object" else closed


def _end(address: str, port: int) -> Endpoint:
    return Endpoint(parse_address(address), port)


class Busy(MemoryDirector):
    """Has connections."""

    def connections(self) -> Iterator[Connection]:
        server = _end("fd00::1", 80)
        yield Connection(Protocol.TCP, _end("203.0.113.5", 5), _end("192.0.2.80", 80), _end("10.0.0.1", 80), "CLOSE", 9)
        yield Connection(None, _end("fd00::5", 0), _end("::7", 0), server, "NONE", 300)


def _listed(words: list[str]) -> Any:
    table = Busy()
    assert ipvsadm(["-R"], table, RULES).rc == 0
    outcome = ipvsadm(["-L", *words, "--json"], table)
    assert outcome[1:] == ("", 0)
    listed = json.loads(outcome.stdout)
    Draft202012Validator(_closed(SCHEMA)).validate(listed)
    return listed


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "words", [[], ["--stats"], ["--thresholds"], ["--persistent-conn"], ["--tun-info"], ["--nosort"], ["-n", "--exact"]]
)
def test_services(words: list[str]) -> None:
    listed = _listed(words)["services"]
    assert len(listed) == 3
    tcp = next(service for service in listed if service["protocol"] == "tcp")
    assert (tcp["address"], tcp["port"], tcp["persistence"], tcp["netmask"]) == ("192.0.2.80", 80, 300, "255.255.255.0")
    limits = {server["address"]: (server["weight"], server["upper_threshold"]) for server in tcp["servers"]}
    assert limits == {"198.51.100.11": (1, 0), "198.51.100.12": (2, 100)}
    mark = next(service for service in listed if service["mark"])
    assert (mark["mark"], mark["family"]) == (4294967295, 6)
    assert mark["servers"][0]["tunnel"] == {"type": "gue", "port": 6080, "checksum": "csum"}
    assert all("counters" in each and "rates" not in each for each in (*listed, *tcp["servers"]))


def test_they_are_sorted_as_in_the_plain_listing() -> None:
    services = _listed([])["services"]
    tcp = next(service for service in services if service["protocol"] == "tcp")
    assert [service["mark"] for service in services] == [4294967295, None, None]  # -1 to ipvsadm's order
    assert [server["address"] for server in tcp["servers"]] == ["198.51.100.11", "198.51.100.12"]


def test_rates() -> None:
    listed = _listed(["--rate"])["services"]
    assert all("rates" in each and "counters" not in each for each in (*listed, *listed[0]["servers"]))


def test_one_service() -> None:
    assert [service["port"] for service in _listed(["-u", "vip:53"])["services"]] == [53]
    assert ipvsadm(["-L", "-t", "192.0.2.9:9", "--json"], director()) == ("", "No such service\n", 1)


def test_an_empty_table() -> None:
    assert json.loads(ipvsadm(["-L", "--json"], director()).stdout) == {"format": 1, "services": []}


def test_connections() -> None:
    closed, template = _listed(["-c"])["connections"]
    assert closed == {
        "protocol": "tcp",
        "state": "CLOSE",
        "expires": 9,
        "client": {"address": "203.0.113.5", "port": 5},
        "virtual": {"address": "192.0.2.80", "port": 80},
        "server": {"address": "10.0.0.1", "port": 80},
    }
    assert (template["protocol"], template["virtual"]["address"]) == (None, "::7")


def test_settings() -> None:
    assert _listed(["--timeout"])["timeouts"] == {"tcp": 901, "tcp_fin": 121, "udp": 301}
    assert _listed(["--daemon"])["daemons"] == []
