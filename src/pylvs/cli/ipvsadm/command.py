"""What each command does to a director, and what it prints."""

from __future__ import annotations

from pylvs.cli.ipvsadm.failure import Answered, NothingToList, TryHelp, UnreadableOption
from pylvs.cli.ipvsadm.grammar import COUNTS
from pylvs.cli.ipvsadm.names import naming
from pylvs.cli.ipvsadm.read import read
from pylvs.errors import NoSuchService, NotYetSupported, PylvsError, Refused, UsageError
from pylvs.model.value import Value
from pylvs.views.daemon import daemon_line
from pylvs.views.endpoint import numeric
from pylvs.views.listing import FORMS, listing, title
from pylvs.views.order import servers_in_order, services_in_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TextIO

    from pylvs.cli.ipvsadm.names import Names
    from pylvs.cli.ipvsadm.request import Request
    from pylvs.director.port import Director
    from pylvs.model import ServiceSnapshot
    from pylvs.views.connection import Row
    from pylvs.views.endpoint import Name

_REFUSED = 255


class Session(Value):
    """A director, opened once, who knows the names, and the streams to speak through."""

    director: Director
    names: Names
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO


def run_line(line: Sequence[str], session: Session) -> int:
    """Do what a command line says, or tell what is wrong with it; returns the exit status."""
    try:
        return _perform(line, session)
    except Answered:
        return 0
    except UsageError as error:
        _tell(error, error.exit_code, session)
        if error.hint:
            session.stderr.write(f"{error.hint}\n")
        return error.exit_code
    except PylvsError as error:
        _tell(error, _REFUSED, session)
        if error.hint:
            session.stderr.write(f"{error.hint}\n")
        return _REFUSED


def _perform(line: Sequence[str], session: Session, *, restoring: bool = False) -> int:
    """As `run_line`, but raises what a --restore does not survive."""
    try:
        request = read(line or ("--list",), session.names)
        if request.command == "restore":
            if restoring:
                raise TryHelp
            return _restore(session, request)
        if "dry-run" in request.given:
            from pylvs.cli.ipvsadm.whole import dry_run

            dry_run(line, session, request, _do)
        else:
            _do(session, request)
    except UnreadableOption as error:
        return _tell(error, error.exit_code, session)
    except Refused as error:
        return _tell(error, _REFUSED, session)
    return 0


def _tell(error: PylvsError, status: int, session: Session) -> int:
    session.stderr.write(f"{error}\n")
    return status


def _do(session: Session, request: Request) -> None:
    _COMMANDS[request.command](session, request)


def _restore(session: Session, request: Request) -> int:
    if "atomic" in request.given:
        from pylvs.cli.ipvsadm.whole import restore_whole

        restore_whole(session, _do, dry="dry-run" in request.given)
        return 0
    if "dry-run" in request.given:
        from pylvs.cli.ipvsadm.whole import restore_dry

        return restore_dry(session, _restore_lines)
    return _restore_lines(session)


def _restore_lines(session: Session) -> int:
    """Every line through the same director; the last one's status counts."""
    from pylvs.cli.ipvsadm.restore import command_lines

    status = 0
    session.director.begin()
    try:
        for line in command_lines(session.stdin):
            status = _perform(line, session, restoring=True)
    finally:
        session.director.commit()
    return status


def _add_service(session: Session, request: Request) -> None:
    session.director.add_service(request.service)


def _edit_service(session: Session, request: Request) -> None:
    session.director.edit_service(request.service)


def _delete_service(session: Session, request: Request) -> None:
    session.director.delete_service(request.id)


def _flush(session: Session, _: Request) -> None:
    session.director.flush()


def _add_server(session: Session, request: Request) -> None:
    session.director.add_server(request.id, request.server)


def _edit_server(session: Session, request: Request) -> None:
    session.director.edit_server(request.id, request.server)


def _delete_server(session: Session, request: Request) -> None:
    session.director.delete_server(request.id, request.server_endpoint)


def _set(session: Session, request: Request) -> None:
    session.director.set_timeouts(request.timeouts)


def _sysctl(session: Session, request: Request) -> None:
    from pylvs.director import knob

    name, _, value = request.knob.partition("=")
    which = knob.named(name)
    current = session.director.knobs()[which.name]
    session.director.set_knobs({which.name: knob.parsed(which, value.replace(",", " "), current)})


def _mark(_: Session, __: Request) -> None:
    """It is for those who take the whole file."""


def _zero(session: Session, request: Request) -> None:
    session.director.zero(request.id if "service-address" in request.given else None)


def _start_daemon(session: Session, request: Request) -> None:
    session.director.start_daemon(request.daemon)


def _stop_daemon(session: Session, request: Request) -> None:
    session.director.stop_daemon(request.daemon.role)


def _save(session: Session, request: Request) -> None:
    from pylvs.views.saved import saved

    services, name = _sorted(session.director.services()), _name(session, request)
    if "full" not in request.given:
        session.stdout.write(saved(services, name))
        return
    from pylvs.views.step import knob_line, timeouts_text

    knobs = (f"{knob_line(*one)}\n" for one in session.director.knobs().items())
    timeouts = timeouts_text(session.director.timeouts())
    session.stdout.writelines(("--begin\n", *knobs, f"{timeouts}\n", saved(services, name, whole=True), "--end\n"))


def _list(session: Session, request: Request) -> None:
    given = request.given
    if "json" in given:
        _list_json(session, request)
    elif "connection" in given:
        _list_connections(session, request)
    elif "service-address" in given:
        _list_services(session, request, [_one_service(session, request)])
    elif "timeout" in given:
        now = session.director.timeouts()
        session.stdout.write(f"Timeout (tcp tcpfin udp): {now.tcp} {now.tcp_fin} {now.udp}\n")
    elif "daemon" in given:
        _list_daemons(session)
    else:
        services = _counted(session, request)
        session.stdout.write(title(session.director.table_size))
        _list_services(session, request, services if "nosort" in given else services_in_order(services))


def _list_json(session: Session, request: Request) -> None:
    """What would be listed, as JSON."""
    from pylvs.views import as_json

    given, director, write = request.given, session.director, session.stdout.writelines
    if "connection" in given:
        write(as_json.connections_json(director.connections()))
    elif "timeout" in given:
        write(as_json.timeouts_json(director.timeouts()))
    elif "daemon" in given:
        write(as_json.daemons_json({**vars(daemon), "group": str(daemon.group)} for daemon in director.daemons()))
    else:
        one = "service-address" in given
        services = [_one_service(session, request)] if one else _counted(session, request)
        in_order = services if "nosort" in given else _sorted(services)
        write(as_json.services_json(in_order, rates=_count(request) == "rate"))


def _list_daemons(session: Session) -> None:
    for daemon in session.director.daemons():
        if daemon.runs:
            session.stdout.write(daemon_line(daemon))
        else:
            session.stderr.write(
                f"the {daemon.role} sync daemon has died; start it again: --start-daemon {daemon.role}\n"
            )


def _list_connections(session: Session, request: Request) -> None:
    from pylvs.views.connection import connections, numeric_lines

    with_engine = "persistent-conn" in request.given
    rows: Callable[[], Iterator[Row]] | None = getattr(session.director, "connection_rows", None)
    if rows is not None and "numeric" in request.given:
        session.stdout.writelines(numeric_lines(rows(), persistence_engine=with_engine))
        return
    session.stdout.writelines(
        connections(session.director.connections(), _name(session, request), persistence_engine=with_engine)
    )


def _list_services(session: Session, request: Request, services: Iterable[ServiceSnapshot]) -> None:
    form = FORMS[_count(request)]
    if "nosort" not in request.given:
        services = _servers_sorted(services)
    session.stdout.write(listing(services, form, _name(session, request), exact="exact" in request.given))


def _count(request: Request) -> str:
    return next((count for count in COUNTS if count in request.given), "")


def _counted(session: Session, request: Request) -> Sequence[ServiceSnapshot]:
    """Every service, with what is to be counted."""
    if _count(request) != "rate":
        return session.director.services()
    rates: Callable[[], Sequence[ServiceSnapshot]] | None = getattr(session.director, "rates", None)
    if rates is None:
        raise NotYetSupported("pylvs: --rate is not supported yet")
    return rates()


def _one_service(session: Session, request: Request) -> ServiceSnapshot:
    try:
        found = session.director.service(request.id)
    except NoSuchService as error:
        raise NothingToList(str(error)) from None
    if _count(request) != "rate":
        return found
    return next((rate for rate in _counted(session, request) if rate.service.id == request.id), found)


def _sorted(services: Iterable[ServiceSnapshot]) -> Iterator[ServiceSnapshot]:
    return _servers_sorted(services_in_order(services))


def _servers_sorted(services: Iterable[ServiceSnapshot]) -> Iterator[ServiceSnapshot]:
    for service in services:
        yield service.replace(servers=tuple(servers_in_order(service.servers)))


def _name(session: Session, request: Request) -> Name:
    return numeric if "numeric" in request.given else naming(session.names)


def _help(session: Session, _: Request) -> None:
    from pylvs.cli.ipvsadm.help import HELP, VERSION

    session.stdout.write(VERSION + HELP)
    raise Answered


def _version(session: Session, _: Request) -> None:
    from pylvs.cli.ipvsadm.help import VERSION

    session.stdout.write(VERSION)
    raise Answered


_COMMANDS: dict[str, Callable[[Session, Request], None]] = {
    "add-service": _add_service,
    "edit-service": _edit_service,
    "delete-service": _delete_service,
    "flush": _flush,
    "list": _list,
    "add-server": _add_server,
    "delete-server": _delete_server,
    "edit-server": _edit_server,
    "set": _set,
    "start-daemon": _start_daemon,
    "stop-daemon": _stop_daemon,
    "save": _save,
    "begin": _mark,
    "end": _mark,
    "sysctl": _sysctl,
    "zero": _zero,
    "help": _help,
    "version": _version,
}
