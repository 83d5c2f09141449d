"""The checks of servers that ask who their clients are, for the Python clients: `server` tells who may do what there."""
import logging
import os
import re
from collections import namedtuple

from checks import RUN, check, equal, skip

CERTS = os.environ.get("CERTS", "")
CA = f"{CERTS}/ca.pem"
MECHANISMS = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]

# Login is where and as whom to connect: by SASL if there is a mechanism, by a certificate if there is a name of one.
Login = namedtuple("Login", "bootstrap mechanism user password certificate")


def sasl(mechanism, password="alice-secret"):
    return Login(os.environ["SASL_BOOTSTRAP"], mechanism, "alice", password, None)


def mtls(name):
    return Login(os.environ["MTLS_BOOTSTRAP"], None, None, None, name)


def pem(login):
    """The files of the login's certificate and of its key."""
    return f"{CERTS}/{login.certificate}.pem", f"{CERTS}/{login.certificate}.key"


class Said(logging.Handler):
    """What a client logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def security(send, read):
    """Runs the checks. send(login, topic, values) and read(login, topic, group, n), which returns values, connect anew each time."""
    if not os.environ.get("SASL_BOOTSTRAP"):
        for name in (*[f"SASL_SSL with {m}" for m in MECHANISMS], "wrong password", "ACLs", "mTLS"):
            skip(name, "there is no server that asks who its clients are")
        return

    said = Said()
    logging.getLogger().addHandler(said)

    def refused(words, f, *args):
        """Nothing comes of f, and its error or what it logs says why: some clients go on trying, and say no more than that at the end."""
        said.lines.clear()
        got, error = None, None
        try:
            got = f(*args)
        except Exception as e:
            error = e
        if got or error is None and not said.lines:
            raise AssertionError(f"this was let through: {args}: {got}")
        text = "\n".join([f"{type(error).__name__} {error}", *said.lines])
        if not re.search(words, text, re.I):
            raise AssertionError(f"{args} failed without {words}: {text}") from error

    def there_and_back(login, topic):
        sent = [b"value %d" % i for i in range(50)]
        send(login, topic, sent)
        equal(sorted(read(login, topic, topic, 50)), sorted(sent))

    def acls(login):
        topic = "topic.?authorization.?failed|topic.* not authorized"
        refused(topic, send, login, f"closed-{RUN}", [b"v"])
        refused(topic, send, login, f"readable-{RUN}", [b"v"])
        refused(topic, read, login, f"closed-{RUN}", f"open-{RUN}", 1)
        refused("group.?authorization.?failed", read, login, f"open-{RUN}", f"closed-{RUN}", 1)

    def wrong_password():
        for m in MECHANISMS:
            refused("authentication|unable to bootstrap", send, sasl(m, "wrong"), f"open-{RUN}", [b"v"])

    def certificates():
        there_and_back(mtls("alice"), f"open-{RUN}-mtls")
        acls(mtls("alice"))
        for name in ("mallory", None):
            refused("ssl|connection|broker|bootstrap", send, mtls(name), f"open-{RUN}", [b"v"])

    for m in MECHANISMS:
        check(f"SASL_SSL with {m}", there_and_back, sasl(m), f"open-{RUN}-{m}")
    check("wrong password", wrong_password)
    check("ACLs", acls, sasl("SCRAM-SHA-512"))
    check("mTLS", certificates)
