"""Holds a stage of the pipeline at a chosen moment, so that a test can kill it there (tests.support.Moment).

Python imports this module at its start where its folder is on PYTHONPATH. Python's audit events say what a process is
about to do (PEP 578).
"""

import json
import os
import sys
import time

moment = json.loads(os.environ.get("HOLD", "{}"))
marker = os.environ.get("HOLD_MARKER", "")


def hold(event, arguments):
    if event != moment["event"]:
        return
    path = os.fspath(arguments[1 if event == "os.rename" else 0])
    if not path.endswith(moment["path"]):
        return
    moment["count"] -= 1
    if moment["count"] == 0:
        open(marker, "w").close()
        while os.path.exists(marker):
            time.sleep(0.02)


if moment and f"stages.{moment['stage']}" in sys.orig_argv:
    sys.addaudithook(hold)
