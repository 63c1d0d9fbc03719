"""Messages between the services of one process arrive at once.

oslo.messaging's transport in memory looks for them twenty times a second for each service: what is asked waits for the
next look, each time it is handed on, and a cloud where nothing happens is busy looking.
"""

from __future__ import annotations

import threading
import time

from oslo_messaging._drivers import impl_fake

_LONGEST_WAIT = 1.0
_delivered = threading.Condition()


def deliver_at_once() -> None:
    """Patch oslo.messaging; call before the first service listens."""
    plain_deliver = impl_fake.FakeExchange.deliver_message

    def deliver_message(self, *args, **kwargs) -> None:
        with _delivered:
            plain_deliver(self, *args, **kwargs)
            _delivered.notify_all()

    impl_fake.FakeExchange.deliver_message = deliver_message
    impl_fake.FakeListener.poll = impl_fake.base.batch_poll_helper(_poll)


def _poll(self, timeout=None):
    """The first message for the listener; None when it is stopped, or `timeout` seconds have passed."""
    end = None if timeout is None else time.monotonic() + timeout
    while not self._stopped.is_set():
        with _delivered:
            message = _take(self)
            if message is not None:
                return message
            left = _LONGEST_WAIT if end is None else min(end - time.monotonic(), _LONGEST_WAIT)
            if left <= 0:
                return None
            _delivered.wait(left)
    return None


def _take(listener):
    for target in listener._targets:
        exchange = listener._exchange_manager.get_exchange(target.exchange)
        context, message, reply_queue, requeue = exchange.poll(target, listener._pool)
        if message is not None:
            return impl_fake.FakeIncomingMessage(context, message, reply_queue, requeue)
    return None
