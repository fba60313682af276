"""The contracts between services, and the buses that carry them.

``agent.py``, ``conductor.py`` and ``scheduler.py`` hold one contract each.  :mod:`drover.rpc.bus` is the port;
``transport.py`` (RabbitMQ by oslo.messaging), ``embedded.py`` (in-process) and ``unix.py`` (a socket for the
command line of ``drover standalone``) implement it.
"""
