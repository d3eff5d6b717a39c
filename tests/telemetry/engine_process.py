"""An engine process: publishes a report every few milliseconds until it is killed.

Usage: python engine_process.py ENDPOINT REPORT_JSON [COUNT]

With COUNT it says "done" after so many reports and returns without closing anything.
"""

import sys
import time

import msgspec

from telemetry.channel import ReportPublisher
from telemetry.report import EngineReport


def main(endpoint: str, report_json: str, count: int = 2**31) -> None:
    report = msgspec.json.decode(report_json, type=EngineReport)
    publisher = ReportPublisher(endpoint)
    for seq in range(report.seq, report.seq + count):
        publisher.publish(msgspec.structs.replace(report, seq=seq))
        time.sleep(0.002)
    sys.stdout.write("done\n")


main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
