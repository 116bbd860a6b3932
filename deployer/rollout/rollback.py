"""Undo a run: every file, mode and owner, and what ran, as they were; shown by reading the hosts again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from deployer.errors import (
    DrainTimeout,
    HostsFailed,
    HybridmsgError,
    Interrupted,
    LeftoverMessages,
    Locked,
    Unreachable,
)
from deployer.journal.run import Run
from deployer.journal.store import RunStore
from deployer.model.deployment import Deployment
from deployer.nornir_plugins.processor import Progress
from deployer.plan.routers import running_versions
from deployer.plan.steps import Wave
from deployer.rollout import record
from deployer.rollout.backends import remove_backends
from deployer.rollout.baseline import ask_again
from deployer.rollout.carry import undo_carrier
from deployer.rollout.choice import Asked, Choice, choose, refuse_forgotten
from deployer.rollout.comparison import Comparison, compare, writes
from deployer.rollout.drain import Drain
from deployer.rollout.endings import telling, untouched
from deployer.rollout.fleet import Fleet, ask_each
from deployer.rollout.outcome import Rollback
from deployer.rollout.restored import look
from deployer.rollout.returns import Returns, state_after
from deployer.rollout.undo import read_journals, scope_of


def rollback(deployment: Deployment, store: RunStore, progress: Progress, asked: Asked) -> Rollback:
    """Undo what is asked for, whole projects in reverse order, each drained first as in a migration, and hold there.

    Brokers and routers stay, for others may use them by now, unless `remove_backends`: then routers go, and what the
    run made on brokers, where nobody is connected.
    Raises what `choose` and `refuse_forgotten` do; HostsFailed of StalePlan when somebody changed what goes back since
    (unless `force`);
    LeftoverMessages when old RPC queues hold any (unless `purge_leftovers`); DrainTimeout.
    """
    with Fleet(deployment, progress) as fleet, telling(fleet.tally):
        with untouched():
            # Before anything is chosen: until then another run may be at work on it.
            lost = _take(fleet, store)
            record.adopt_runs(fleet, store, (name for name in deployment.hosts if name not in lost))
            choice = choose_there(fleet, store, progress, asked, lost)
            if not (choice.projects or choice.run.unfinished or asked.remove_backends):
                return Rollback(choice.run)
            _must_have(_needed(fleet.deployment, choice, asked), lost)
            returns, comparison = _prepare(fleet, store, progress, choice, asked)
        done = _Rollback(returns, choice, comparison).carry_out(backends=asked.remove_backends)
        done.hosts = fleet.tally.endings()
        return done


def choose_there(
    fleet: Fleet, store: RunStore, progress: Progress, asked: Asked, lost: Mapping[str, HybridmsgError]
) -> Choice:
    """Return what is to go back, of the hosts that can be had; `lost` are those that cannot."""
    choice = choose(store, fleet.deployment, asked)
    _leave_out_lost(fleet, choice.run, lost, progress)
    names = choice.names
    return Choice(choice.run, tuple(one for one in reversed(fleet.deployment.projects) if one.name in names))


def _take(fleet: Fleet, store: RunStore) -> dict[str, HybridmsgError]:
    """Take every host that can be had and return the errors of the others; raises HostsFailed of Locked."""
    name = store.begin("rollback", fleet.deployment.directory).run
    lost = ask_each(fleet.deployment.hosts, lambda names: fleet.lock(name, names))[1]
    _must_have((host for host, error in lost.items() if isinstance(error, Locked)), lost)
    return lost


def _must_have(hosts: Iterable[str], lost: Mapping[str, HybridmsgError]) -> None:
    """Raise HostsFailed when any of these hosts cannot be had."""
    missing = {host: lost[host] for host in hosts if host in lost}
    if missing:
        raise HostsFailed(missing)


def _needed(deployment: Deployment, choice: Choice, asked: Asked) -> set[str]:
    """Return the hosts without which nothing is begun.

    Any of the inventory's may have a router to remove; one that is only left in peace need not be had.
    """
    purged = [host.name for host in deployment.rabbitmq if asked.purge_leftovers]
    return {*choice.run.units, *(deployment.hosts if asked.remove_backends else purged)}


def _leave_out_lost(fleet: Fleet, run: Run, lost: Mapping[str, HybridmsgError], progress: Progress) -> None:
    """Go on without the service hosts that the run went without and that are out of reach still: nothing changed there.

    A record without any host is of a run that was cut off before it had any.
    """
    backends = {host.name for host in (*fleet.deployment.rabbitmq, *fleet.deployment.qdrouterd)}
    apart = [name for name in fleet.deployment.hosts if run.hosts and name not in {*run.hosts, *backends}]
    gone = {name: lost[name] for name in apart if isinstance(lost.get(name), Unreachable)}
    for error in gone.values():
        progress.event("", f"{error}; the run changed nothing there, and it is left out")
    fleet.leave_out(gone)


def _prepare(
    fleet: Fleet, store: RunStore, progress: Progress, choice: Choice, asked: Asked
) -> tuple[Returns, Comparison]:
    """Find out all that stands in the way, before anything is touched."""
    run = choice.run
    fleet.tally.plan(Wave("", scope_of(one), {host.name: () for host in one.hosts}) for one in choice.projects)
    for host in record.restore_lost(fleet, store, run, run.units):
        progress.event(host, f"its journal of run {run.run} was lost or damaged, and is put back from the copy here")
    journals = read_journals(fleet, run.units, run.run)
    refuse_forgotten(choice, journals)
    written = writes(choice.projects, journals)
    comparison = compare(fleet, store, run, written, force=asked.force)
    if not asked.force:
        comparison.must_hold()
    for line in comparison.told():
        progress.event("", line)
    drain = Drain(fleet, progress, purge=asked.purge_leftovers)
    carrier = undo_carrier(fleet, store, run)
    returns = Returns(
        fleet, store, run, journals, carrier, drain, progress, force=asked.force, merged=comparison.merged()
    )
    returns.refuse_leftovers(choice.projects)
    return returns, comparison


class _Rollback:
    """One rollback whose hosts are taken and compared."""

    def __init__(self, returns: Returns, choice: Choice, comparison: Comparison) -> None:
        self._returns, self._choice, self._comparison = returns, choice, comparison
        self._fleet, self._run, self._before = returns.fleet, choice.run, choice.run.state

    def carry_out(self, *, backends: bool) -> Rollback:
        """Take the projects back, look at what has become of them, hold the hosts, and remove backends if asked to."""
        returns, run, fleet, projects = self._returns, self._run, self._fleet, self._choice.projects
        with self._recorded():
            returns.carry_out(projects)
            restored = look(fleet, run, projects)
            checks = ask_again(fleet, run, projects, fleet.deployment.timeouts.gate)
            done = Rollback(run, restored, checks, returns.killed, _versions(fleet))
            done.projects, done.told = self._choice.names, self._comparison.told()
            if backends:
                done.told += remove_backends(fleet, returns.store, returns.carrier, run)
        # What the run changed are the files; a unit that somebody stopped since must not keep older runs out of reach.
        back = returns.force or all(one.same for one in restored if one.what.startswith("/"))
        state = state_after(run, self._before) if back else "rolling back"
        returns.end(state, None if done.whole else "not all is as before the run", hold=True)
        return done

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Record that the rollback goes on, and how the run stands when it is broken off."""
        run = self._run
        run.held = list(dict.fromkeys([*run.held, *self._choice.names]))
        # Until all that was asked for is done: else a second try would undo the run before this one.
        self._returns.store.end(run, "rolling back", "its rollback was cut off")
        record.tell(self._fleet, run)
        try:
            yield
        except (DrainTimeout, LeftoverMessages) as error:
            # The project runs on as it did; those that went before it are back, whole.
            run.held = [name for name in run.held if name not in run.projects]
            self._returns.end(state_after(run, self._before), error, hold=True)
            raise
        except (Interrupted, KeyboardInterrupt) as error:
            self._returns.end("rolling back", error, hold=True)
            raise Interrupted(self._where()) from error
        except BaseException as error:
            self._returns.end("rolling back", error, hold=True)
            raise

    def _where(self) -> str:
        """Say where a rollback stands that was interrupted."""
        left = [name for name in self._choice.names if name in self._run.projects]
        stand = f"back: {', '.join(self._returns.done) or 'none'}; not yet: {', '.join(left) or 'none'}"
        return f"Projects that are {stand}. Run rollback again, or reconcile: either goes on with it"


def _versions(fleet: Fleet) -> dict[str, str]:
    """Return what each router says it is; one that does not tell any more is no obstacle on the way back."""
    routers = {host.name: host for host in fleet.deployment.qdrouterd}
    facts = ask_each(routers, lambda names: fleet.observe([routers[name] for name in names]))[0]
    return running_versions(fleet.deployment, facts)
