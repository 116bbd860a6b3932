#!/usr/bin/env bash
# Runs the tests in stages, prints how long each took, and fails when fewer tests of a lab ran than there must be.
# tests/run.sh [STAGE ...]; stages: check ssh lab packages teardown (all by default).
set -uo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
minimum_lab_tests=195
minimum_package_tests=595
reports=$(mktemp -d)
trap 'rm -rf "$reports"' EXIT
failed=()
summary=()

stage() { # stage NAME COMMAND...: run, time, remember
    local name=$1 began=$SECONDS
    shift
    echo
    echo "== $name"
    if "$@"; then result=passed; else result=FAILED; failed+=("$name"); fi
    summary+=("$(printf '%-10s %-7s %4d s' "$name" "$result" $((SECONDS - began)))")
}

count() { # count FILE: tests that ran (not skipped), from pytest's JUnit report
    "$python" - "$1" <<'PY'
import sys, xml.etree.ElementTree as tree
suites = list(tree.parse(sys.argv[1]).getroot().iter("testsuite"))
print(sum(int(s.get("tests", 0)) - int(s.get("skipped", 0)) for s in suites))
PY
}

counted() { # counted NAME MINIMUM PYTEST-ARGUMENT...: in the lab, and at least so many must run
    local name=$1 minimum=$2 result ran
    shift 2
    HYBRIDMSG_LAB=1 "$python" -m pytest "$@" --timeout 900 --durations 60 --junitxml "$reports/$name.xml" </dev/null
    result=$?
    ran=$(count "$reports/$name.xml")
    echo "$name tests that ran: ${ran:-0} (at least $minimum must)"
    [ "$result" = 0 ] && [ "${ran:-0}" -ge "$minimum" ]
}

for name in "${@:-check ssh lab packages teardown}"; do
    for one in $name; do
        case $one in
            check) stage check make --no-print-directory check ;;
            ssh) stage ssh "$python" -m pytest -q tests/ssh </dev/null ;;
            lab) stage lab counted lab "$minimum_lab_tests" -v tests/lab/test_lab.py tests/lab/contract tests/lab/e2e -m 'not slow_lab' ;;
            packages) stage packages counted package "$minimum_package_tests" -q tests/lab/packages ;;
            teardown) stage teardown env HYBRIDMSG_LAB=1 "$python" -m pytest -v tests/lab/test_teardown.py -m slow_lab --timeout 900 </dev/null ;;
            *) echo "no stage $one" >&2; exit 1 ;;
        esac
    done
done

echo
printf '%s\n' "${summary[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
