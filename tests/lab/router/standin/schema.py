"""What qdrouterd.conf may say: sections, their attributes, and what each attribute takes.

Taken from qdrouter.json of qpid-dispatch 1.19; sections that the stand-in does not act on are read and kept.
"""

from __future__ import annotations

from collections.abc import Mapping

LONG = "org.apache.qpid.dispatch."
Values = tuple[str, ...]

_ROLE = ("normal", "inter-router", "route-container", "edge")
_STRIP = ("in", "out", "both", "no")
_DISTRIBUTION = ("multicast", "closest", "balanced", "unavailable")
_MORE = "HTTP POLICY CONN_MGR PYTHON PROTOCOL ROUTER_LS AUTHSERVICE ERROR"
MODULES = tuple(f"DEFAULT MESSAGE ROUTER_MA ROUTER_HELLO ROUTER SERVER CONTAINER ROUTER_CORE AGENT {_MORE}".split())
_COMMON = "name=str host=str port=str sslProfile=str saslMechanisms=str cost=int maxFrameSize=int maxSessions=int \
maxSessionFrames=int idleTimeoutSeconds=int linkCapacity=int messageLoggingComponents=str policyVhost=str \
openProperties=map"


def _kinds(text: str, **enums: Values) -> dict[str, str | Values]:
    pairs: list[list[str]] = [word.split("=") for word in text.split()]
    return dict(pairs) | enums


SECTIONS: Mapping[str, Mapping[str, str | Values]] = {
    "router": _kinds(
        "name=str id=str helloIntervalSeconds=int helloMaxAgeSeconds=int raIntervalSeconds=int"
        " raIntervalFluxSeconds=int remoteLsMaxAgeSeconds=int workerThreads=int debugDumpFile=str"
        " saslConfigDir=str saslConfigPath=str saslConfigName=str allowResumableLinkRoute=bool"
        " timestampsInUTC=bool timestampFormat=str"
        " allowUnsettledMulticast=bool metadata=str",
        mode=("standalone", "interior", "edge"),
        defaultDistribution=_DISTRIBUTION,
    ),
    "listener": _kinds(
        _COMMON + " authenticatePeer=bool saslPlugin=str requireEncryption=bool requireSsl=bool trustedCertsFile=str"
        " initialHandshakeTimeoutSeconds=int multiTenant=bool failoverUrls=str healthz=bool metrics=bool"
        " websockets=bool http=bool httpRootDir=str",
        role=_ROLE,
        stripAnnotations=_STRIP,
        socketAddressFamily=("IPv4", "IPv6"),
    ),
    "connector": _kinds(
        _COMMON + " allowRedirect=bool verifyHostname=bool saslUsername=str saslPassword=str",
        role=_ROLE,
        stripAnnotations=_STRIP,
        protocolFamily=("IPv4", "IPv6"),
    ),
    "sslProfile": _kinds(
        "name=str ciphers=str protocols=str caCertFile=str certFile=str privateKeyFile=str passwordFile=str"
        " password=str uidFormat=str uidNameMappingFile=str"
    ),
    "address": _kinds(
        "name=str prefix=str pattern=str waypoint=bool ingressPhase=int egressPhase=int priority=int"
        " enableFallback=bool",
        distribution=_DISTRIBUTION,
    ),
    "log": _kinds("name=str enable=str includeTimestamp=bool includeSource=bool outputFile=str", module=MODULES),
    "policy": _kinds(
        "name=str maxConnections=int maxMessageSize=int enableVhostPolicy=bool enableVhostNamePatterns=bool"
        " policyDir=str defaultVhost=str"
    ),
}

_CONNECTION = {
    "port": "amqp",
    "role": "normal",
    "cost": 1,
    "maxFrameSize": 16384,
    "maxSessions": 32768,
    "idleTimeoutSeconds": 16,
    "stripAnnotations": "both",
    "messageLoggingComponents": "none",
}
DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "router": {"mode": "standalone", "defaultDistribution": "balanced", "saslConfigName": "qdrouterd"},
    "listener": {
        **_CONNECTION,
        **dict.fromkeys(("authenticatePeer", "requireSsl", "requireEncryption", "multiTenant", "http"), False),
        **dict.fromkeys(("healthz", "metrics", "websockets"), True),
        "host": "",
        "initialHandshakeTimeoutSeconds": 0,
    },
    "connector": {**_CONNECTION, "host": "127.0.0.1", "verifyHostname": True, "allowRedirect": True},
    "sslProfile": {},
    "address": {"distribution": "balanced", "waypoint": False, "ingressPhase": 0, "egressPhase": 0, "priority": -1},
    "log": {},
    "policy": {},
}

REQUIRED: Mapping[str, Values] = {"log": ("module",)}
SINGLETONS = ("router", "policy")
ENTITY_TYPES = {
    "address": LONG + "router.config.address",
    **{name: LONG + name for name in ("router", "listener", "connector", "sslProfile", "log")},
}
