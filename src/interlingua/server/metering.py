"""How a call ended, as its meter is told."""

import asyncio
import contextlib
from collections.abc import Iterator

from interlingua.errors import ApiError
from interlingua.gateway.meter import CallMeter

from .exchange import ClientGone

#: nginx's number for a client that left before its reply; it is never sent.
CLIENT_LEFT = 499


@contextlib.contextmanager
def metered(meter: CallMeter) -> Iterator[CallMeter]:
    """Tell ``meter`` of the end of what runs inside, whichever it is."""
    status = 500
    try:
        yield meter
        status = 200
    except ApiError as error:
        status = error.status
        raise
    except ClientGone:
        status = CLIENT_LEFT
        raise
    except asyncio.CancelledError:
        # The server stops.
        status = 503
        raise
    finally:
        meter.ended(status)
