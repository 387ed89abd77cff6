"""One error tree; a class for each different thing to do about it. Nothing below `main()` prints or exits."""


class PylvsError(Exception):
    """What the user is told: one line of what is wrong, and a hint at how to mend it."""

    exit_code = 1
    hint = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class UsageError(PylvsError):
    """The command line itself is wrong."""

    exit_code = 2


class NotPermitted(PylvsError):
    """The kernel said no: not root, or a capability is missing."""

    hint = "it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON: run it with sudo, or as root"


class NotSupportedHere(PylvsError):
    """This machine (kernel, libbpf, interface) lacks something that pylvs needs."""


class DataPlaneError(PylvsError):
    """The data plane could not be loaded, attached or read."""


class InvalidKnob(UsageError):
    """There is no knob of this name, or it may not have this value."""


class Refused(PylvsError):
    """A director refused a change to its table, as the kernel's IPVS would. The message is ipvsadm's own."""

    exit_code = 255
    message = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or self.message, hint=hint)


class ServiceExists(Refused):
    message = "Service already exists"


class NoSuchService(Refused):
    message = "No such service"


class ServiceNotDefined(Refused):
    """A server was to be changed in a service that is not there."""

    message = "Service not defined"


class DestinationExists(Refused):
    message = "Destination already exists"


class NoSuchDestination(Refused):
    message = "No such destination"


class SchedulerNotFound(Refused):
    message = "Scheduler or persistence engine not found"


class InvalidOperation(Refused):
    message = "Invalid operation.  Possibly wrong module version, address not unicast, ..."


class OutOfRange(Refused):
    message = "Numerical result out of range"


class NoSuchDevice(Refused):
    message = "No such device"


class DaemonRuns(Refused):
    message = "Daemon has already run"


class NoDaemon(Refused):
    message = "No daemon is running"


class DaemonFailed(Refused):
    """The connection sync daemon could not start; the message is the kernel's word for it."""


class FullnatRefused(Refused):
    """Local addresses that can't be, or FULLNAT where it can't be; the message says what, and how to mend it."""


class TunnelRefused(Refused):
    """A tunnel that could carry nothing; the message says why, and how to mend it."""


class TableFull(Refused):
    message = "Memory allocation problem"


class NotYetSupported(Refused):
    """Accepted by IPVS, but not by this director; the message names the feature."""
