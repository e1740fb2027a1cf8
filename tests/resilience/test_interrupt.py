"""Ctrl-C in a blocking call ends it at once, whatever the server does."""

from __future__ import annotations

import pingthings.timeseries as pt
from resilience.conftest import Script, calling
from resilience.proxy import Proxy

INTERRUPTS = """
import os, signal, sys, threading, time
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
print("connected", flush=True)
sys.stdin.readline()
waits = []
for _ in range(5):
    sent = []
    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(0.1, interrupt)
    timer.start()
    try:
        client.info()
    except KeyboardInterrupt:
        waits.append(time.monotonic() - sent[0])
    timer.join()
print(*(f"{wait:.3f}" for wait in waits))
sys.stdin.readline()
print(client.info()["major_version"])
"""


def test_ctrl_c_ends_a_blocking_call_and_the_client_works_on(proxy: Proxy) -> None:
    with calling(INTERRUPTS, proxy) as child:
        assert child.stdout is not None
        waits = [float(wait) for wait in child.stdout.readline().split()]
        assert len(waits) == 5
        # The core looks for signals every 50 ms. The best of five, because the machine may be busy.
        assert min(waits) < 0.25
        proxy.release()
        out, errors = child.communicate("\n", timeout=30)
    assert (child.returncode, out, errors) == (0, "5\n", "")


def test_a_signal_handler_runs_during_a_blocking_call(script: Script, proxy: Proxy) -> None:
    text = """
import os, signal, sys, threading
import pingthings.timeseries as pt

class Stop(Exception):
    pass

def stop(*_):
    raise Stop

signal.signal(signal.SIGUSR1, stop)
client = pt.connect(endpoint=sys.argv[1])
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
try:
    while True:
        client.info()
except Stop:
    print("stopped")
"""
    done = script(text, proxy.endpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")


INSERT = """
import os, signal, sys, threading
import numpy as np
import pingthings.timeseries as pt

client = pt.connect(endpoint=sys.argv[1])
stream = client.stream_from_uuid(sys.argv[2])
print("connected", flush=True)
sys.stdin.readline()
told = []
points = np.arange(10**9 + 1, 10**9 + 1_000_001)
timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))

def tell(done, total):
    told.append(done)
    if not done:
        timer.start()

try:
    stream.insert((points, points.astype(float)), progress=tell)
except KeyboardInterrupt as error:
    print(told, flush=True)
timer.join()
sys.stdin.readline()
print(stream.count(10**9 + 1, 10**9 + 1_000_001) <= 4 * 50_000)
print(client.stats().calls.insert.cancelled)
"""


def test_ctrl_c_ends_an_insert_that_tells(proxy: Proxy, stream: pt.Stream) -> None:
    with calling(INSERT, proxy, str(stream.uuid)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "[0]\n"
        proxy.release()
        out, errors = child.communicate("\n", timeout=30)
    # What was under way may have been stored; nothing further was sent.
    assert (child.returncode, out, errors) == (0, "True\n1\n", "")
