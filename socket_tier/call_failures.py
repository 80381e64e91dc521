"""Why a call to a charger brought no usable answer."""


class CallFailed(Exception):
    """A call to the charger that brought no usable answer."""


class CallTimedOut(CallFailed):
    """No answer within the deadline. ``written`` tells whether the frame left."""

    def __init__(self, written: bool) -> None:
        super().__init__("the charger did not answer in time" if written else "the line was busy until the deadline")
        self.written = written


class CallRefused(CallFailed):
    """The charger answered CALLERROR, or something that is no answer to this action."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}" if description else code)
        self.code = code


class ConnectionGone(CallFailed):
    """The socket closed before the answer came. ``written`` tells whether the frame left."""

    def __init__(self, written: bool = True) -> None:
        super().__init__("the charger's connection closed")
        self.written = written


class CommandNotSupported(CallFailed):
    """The connection's OCPP version has no such command in its table."""
