"""What can go wrong in the demo, in sentences that say what to do."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


class CommandFailed(DemoError):
    """A command ended with an error; the message holds the command and the end of its output."""


class TimedOut(DemoError):
    """A condition did not come true in time; the message says which and what was seen last."""
