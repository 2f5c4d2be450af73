"""Counts what is done while nothing happens: AWS calls from the proxy's ledger, Kubernetes writes from the API server's audit log."""

import argparse
import collections
import json
import time


def lines_after(path, offset):
    with open(path, encoding="utf-8") as file:
        file.seek(offset)
        return [json.loads(line) for line in file if line.endswith("\n")]


def end_of(path):
    with open(path, "rb") as file:
        return file.seek(0, 2)


def told(counter):
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items())) or "none"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ledger")
    parser.add_argument("audit_log")
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    starts = end_of(arguments.ledger), end_of(arguments.audit_log)
    time.sleep(arguments.seconds)
    calls = lines_after(arguments.ledger, starts[0])
    audit = lines_after(arguments.audit_log, starts[1])
    writes = collections.Counter(call["operation"] for call in calls if call["kind"] == "write")
    objects = collections.Counter(event["objectRef"]["resource"] for event in audit)
    reads = sum(call["kind"] == "read" for call in calls)
    print(f"in {arguments.seconds:.0f} s: AWS writes: {told(writes)} (reads by the check: {reads}); Kubernetes writes: {told(objects)}")


if __name__ == "__main__":
    main()
