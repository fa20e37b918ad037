"""The parties of an outsourced protocol as processes of their own, over loopback TCP.

``play`` starts one process for each party, tells each only what it holds, and collects the owner's results; ``party``
is what such a process runs. The parties are the very coroutines that the in-process driver plays; only their endpoint
differs: ``endpoint`` sends by remote procedure calls (gRPC) and blocks where a message has not come. ``sockets`` asks
the kernel what really went over the connections, ``framing`` says how much of that is the transport's own, and
``comparison`` holds both against the same protocol played in one process.
"""
