"""What the Python checks share: the lines that lib.sh describes, restarts of the server, and values to send."""
import os
import signal
import subprocess
import sys
import time
import traceback

BOOTSTRAP = os.environ["BOOTSTRAP"]
QUICK = bool(os.environ.get("QUICK"))
RUN = f"{int(time.time())}{os.getpid()}"  # in every topic's name: a check may run again on the same server
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
T0 = int(time.time()) * 1000 - 3_600_000  # the time of the first record, in ms; each next one is 100 ms later. Old enough records would be retired.
SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "server")


def version(text):
    print(f"VERSION\t{text}", flush=True)


def skip(name, reason):
    print(f"SKIP\t{name}\t{reason}", flush=True)


def check(name, run, *args, limit=60):
    """Runs one check and prints PASS, or FAIL with the error; after limit seconds it has failed."""

    def expired(signum, frame):
        raise TimeoutError(f"not done after {limit} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    began = time.time()
    try:
        run(*args)
        print(f"PASS\t{name}", flush=True)
    except Exception as e:
        traceback.print_exc()
        where = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == sys.argv[0]] or [None]
        text = f"{type(e).__name__}: {e}" + (f" (line {where[-1].lineno}: {where[-1].line})" if where[-1] else "")
        print(f"FAIL\t{name}\t{' '.join(text.split())[:400]}", flush=True)
    finally:
        signal.alarm(0)
        print(f"--- {name}: {time.time() - began:.1f} s", file=sys.stderr, flush=True)


def with_restart(name, run, *args, limit=120):
    """A check that restarts the server, where that is allowed."""
    if os.environ.get("SERVER_DIR"):
        check(name, run, *args, limit=limit)
    else:
        skip(name, "the server is not ours to restart")


def server(what):
    """restart or crash: returns when the server listens again."""
    subprocess.run([SERVER, what], check=True, stdout=sys.stderr)


def equal(got, want):
    if got != want:
        raise AssertionError(f"got {str(got)[:150]}, wanted {str(want)[:150]}")


def until(what, true, limit=30):
    end = time.time() + limit
    while not true():
        if time.time() > end:
            raise TimeoutError(f"{what}: not so after {limit} s")
        time.sleep(0.1)
