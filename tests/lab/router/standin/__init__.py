"""A stand-in for qdrouterd, test equipment of the lab: a small AMQP 1.0 router on python-qpid-proton."""

VERSION = "0.1 (stand-in for qdrouterd, test equipment)"
