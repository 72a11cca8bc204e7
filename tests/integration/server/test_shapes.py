"""Several threads may read what nobody has read before: the process goes on."""

from __future__ import annotations

import subprocess
import sys

READING = """\
import contextlib, sys, threading
import msgspec
import casemate.server, casemate.server.worker, casemate.server.workers
from casemate import shapes

shapes.work_out()
sys.setswitchinterval(1e-6)
found = [one for one in shapes._below(msgspec.Struct) if one.__module__.startswith("casemate.")]
for shape in found:
    content = msgspec.json.encode({name: 1 for name in reversed(shape.__struct_encode_fields__)})
    meeting = threading.Barrier(6)

    def read():
        meeting.wait()
        with contextlib.suppress(msgspec.MsgspecError, TypeError, NameError):
            msgspec.json.decode(content, type=shape)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
print(len(found))
"""


def test_types_that_several_threads_read_first_do_not_end_the_process() -> None:
    # Without ``work_out`` it ends with a segmentation fault within a second, here and on every try.
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", READING], capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) > 200
