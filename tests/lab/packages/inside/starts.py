"""How each service comes to its configuration: what its server's main() calls before it serves, in its words."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Start = Callable[[list[str]], Any]
"""Takes the program's words, argv[0] included; returns the ConfigOpts that the service goes by."""


def _call(function: str, *args: Any) -> Any:
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)(*args)


def _global() -> Any:
    return importlib.import_module("oslo_config.cfg").CONF


def _aodh(argv: list[str]) -> Any:
    conf = _call("aodh.service:prepare_service", argv[1:])
    _call("aodh.messaging:get_transport", conf)
    return conf


def _barbican(argv: list[str]) -> Any:
    conf = importlib.import_module("barbican.common.config").CONF
    _call("barbican.common.config:parse_args", conf, argv[1:])
    _call("barbican.queue:init", conf)
    return conf


def _ceilometer(argv: list[str]) -> Any:
    conf = _call("ceilometer.service:prepare_service", argv)
    _call("ceilometer.messaging:get_transport", conf)
    return conf


def _cinder(argv: list[str]) -> Any:
    importlib.import_module("cinder.service")
    _call("cinder.objects:register_all")
    _global()(argv[1:], project="cinder")
    _call("cinder.rpc:init", _global())
    return _global()


def _cloudkitty(argv: list[str]) -> Any:
    importlib.import_module("cloudkitty.orchestrator")
    _call("cloudkitty.service:prepare_service", argv)
    _call("cloudkitty.messaging:get_transport")
    return _global()


def _designate(argv: list[str]) -> Any:
    importlib.import_module("designate.service")
    _call("designate.utils:read_config", "designate", argv)
    _call("designate.rpc:init", _global())
    return _global()


def _glance(argv: list[str]) -> Any:
    importlib.import_module("glance.common.wsgi")
    _call("glance.common.config:parse_args", argv[1:])
    _call("glance.notifier:set_defaults")
    _call("glance.notifier:Notifier")
    return _global()


def _heat(argv: list[str]) -> Any:
    importlib.import_module("heat.engine.service")
    _global()(argv[1:], project="heat", prog="heat-engine")
    _call("heat.common.messaging:setup")
    return _global()


def _ironic(argv: list[str]) -> Any:
    _call("ironic.common.service:prepare_service", "ironic_conductor", argv)
    return _global()


def _ironic_inspector(argv: list[str]) -> Any:
    _call("ironic_inspector.common.service_utils:prepare_service", argv[1:])
    _call("ironic_inspector.common.rpc:init")
    return _global()


def _keystone(argv: list[str]) -> Any:
    _call("keystone.server:configure")
    _call("keystone.notifications:_get_notifier")
    return _global()


def _magnum(argv: list[str]) -> Any:
    _call("magnum.common.service:prepare_service", argv)
    return _global()


def _manila(argv: list[str]) -> Any:
    importlib.import_module("manila.common.config")
    importlib.import_module("manila.service")
    _global()(argv[1:], project="manila")
    _call("manila.rpc:init", _global())
    return _global()


def _masakari(argv: list[str]) -> Any:
    _call("masakari.config:parse_args", argv)
    return _global()


def _mistral(argv: list[str]) -> Any:
    _call("mistral.config:parse_args", argv[1:])
    _call("mistral.rpc.base:get_transport")
    return _global()


def _murano(argv: list[str]) -> Any:
    _call("murano.common.config:parse_args", argv[1:])
    _call("murano.common.rpc:init")
    return _global()


def _neutron(argv: list[str]) -> Any:
    _call("neutron.common.config:register_common_config_options")
    _call("neutron.common.config:init", argv[1:])
    return _global()


def _nova(argv: list[str]) -> Any:
    _call("nova.config:parse_args", argv)
    return _global()


def _octavia(argv: list[str]) -> Any:
    _call("octavia.common.service:prepare_service", argv)
    return _global()


def _sahara(argv: list[str]) -> Any:
    importlib.import_module("sahara.main")
    _call("sahara.config:parse_configs")
    _call("sahara.utils.rpc:setup", "engine")
    return _global()


def _senlin(argv: list[str]) -> Any:
    _call("senlin.common.config:parse_args", argv, "senlin-engine")
    _call("senlin.common.messaging:setup")
    return _global()


def _trove(argv: list[str]) -> Any:
    _call("trove.common.cfg:parse_args", argv)
    _call("trove.rpc:init", _global())
    return _global()


STARTS: dict[str, Start] = {
    "aodh": _aodh,
    "barbican": _barbican,
    "ceilometer": _ceilometer,
    "cinder": _cinder,
    "cloudkitty": _cloudkitty,
    "designate": _designate,
    "glance": _glance,
    "heat": _heat,
    "ironic": _ironic,
    "ironic_inspector": _ironic_inspector,
    "keystone": _keystone,
    "magnum": _magnum,
    "manila": _manila,
    "masakari": _masakari,
    "mistral": _mistral,
    "murano": _murano,
    "neutron": _neutron,
    "nova": _nova,
    "octavia": _octavia,
    "sahara": _sahara,
    "senlin": _senlin,
    "trove": _trove,
}
