#!/usr/bin/env bash
# Runs the tests in stages, prints how long each took, and fails when fewer tests of a lab ran than there must be.
# tests/run.sh [STAGE ...]; stages: check ssh lab faults packages teardown (all by default), every-fault.
# What mostly waits goes on beside what computes: the lab boots during check, and faults have a small lab of their own
# beside the cloud's.
set -uo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
minimum_lab_tests=203
minimum_package_tests=595
minimum_fault_tests=13
reports=$(mktemp -d)
declare -A beside
trap 'for group in "${beside[@]}"; do kill -- "-$group" 2>/dev/null; done; rm -rf "$reports"' EXIT
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

begin() { # begin NAME COMMAND...: beside what follows; `joined NAME` waits for it and prints what it said
    local name=$1
    shift
    set -m # a process group of its own, which ends with this one
    "$@" >"$reports/$name.log" 2>&1 </dev/null &
    beside[$name]=$!
    set +m
}

joined() {
    local result
    wait "${beside[$1]}"
    result=$?
    unset "beside[$1]"
    cat "$reports/$1.log"
    return $result
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

faults_of() { # faults_of LAB MINIMUM FILE...: a part of all faults, its table kept
    local lab=$1 minimum=$2
    shift 2
    HYBRIDMSG_LAB_NAME=$lab counted "$1" "$minimum" -v "${@/#/tests/faults/test_}" --table "$reports/table"
}

light() { # light COMMAND...: with a lab without a cloud, called faults
    "$python" -m tests.lab --name faults up --no-cloud --messaging 2 && HYBRIDMSG_LAB_NAME=faults "$@"
    local result=$?
    "$python" -m tests.lab --name faults down && return $result
}

ci_faults() { light counted fault "$minimum_fault_tests" -v tests/faults -m ci; } # one of each kind

wanted=" ${*:-check ssh lab faults packages teardown} "
[[ $wanted == *" lab "* ]] && begin lab-up "$python" -m tests.lab up
for one in $wanted; do
    case $one in
        check) stage check make --no-print-directory check ;;
        ssh) stage ssh "$python" -m pytest -q tests/ssh </dev/null ;;
        lab)
            stage lab-up joined lab-up
            [[ $wanted == *" faults "* ]] && begin faults ci_faults
            stage lab counted lab "$minimum_lab_tests" -v tests/lab/test_lab.py tests/lab/contract tests/lab/e2e -m 'not slow_lab' ;;
        faults)
            [[ -n ${beside[faults]:-} ]] || begin faults ci_faults
            stage faults joined faults ;;
        every-fault) # in two labs at once: while one waits for a network, the other starts a cloud's services
            begin light-faults light faults_of faults 89 network.py hosts.py kills.py
            stage cloud faults_of hmlab 1 cloud.py
            stage rest faults_of hmlab 36 canaries.py disk.py journals.py operators.py services.py
            stage light joined light-faults
            cat "$reports/table" ;;
        packages) stage packages counted package "$minimum_package_tests" -q tests/lab/packages ;;
        teardown) stage teardown env HYBRIDMSG_LAB=1 "$python" -m pytest -v tests/lab/test_teardown.py -m slow_lab --timeout 900 </dev/null ;;
        *) echo "no stage $one" >&2; exit 1 ;;
    esac
done

echo
printf '%s\n' "${summary[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}"
    exit 1
fi
