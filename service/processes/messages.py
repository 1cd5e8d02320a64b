"""Messages from the other API processes of the host, as an app acts on them."""

from service.context import Context
from service.processes.inbox import Kind, Message


def take(message: Message, here: Context) -> None:
    """Do what the message asks; connections are the server's."""
    if message.kind is Kind.REFRESH:
        here.metrics.refresh()
        here.models.share_statistics()
        here.place.have_refreshed()
    elif message.kind is Kind.LINK and message.sent is not None:
        here.links.serve(message.sent)
    elif message.kind is Kind.RELEASE:
        here.sessions.release([message.text])
