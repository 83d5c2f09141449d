"""kafka-python: it guesses the server's release from the version ranges that the server lists."""
import sys
import threading
import time

import kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from checks import *
from security import CA, pem, security

version(kafka.__version__)
admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)


def topic(name, partitions=1, config={}):
    name = f"kafka-python-{RUN}-{name}"
    admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)  # a new one: the server may have been away since the last
    admin.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    until("topic is listed", lambda: name in admin.list_topics())
    admin.close()
    return name


def producer(**config):
    return KafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=2, **config)


def send(t, records, p=None, **config):
    own = p is None
    p = p or producer(**config)
    sent = [p.send(t, value, key, headers, 0, ts) for key, value, headers, ts in records]
    p.flush(30)
    offsets = [f.get(10).offset for f in sent]
    if own:
        p.close()
    return offsets


def numbered(first, end):
    return [(b"k%d" % i, b"value %d" % i, [("n", b"%d" % i)], T0 + 100 * i) for i in range(first, end)]


def read(t, n, offset=0, quiet=None, **config):
    c = KafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, **config)
    tp = TopicPartition(t, 0)
    c.assign([tp])
    c.seek(tp, offset)
    try:
        return poll(c, n, quiet)
    finally:
        c.close()


def poll(c, n, quiet=None, limit=30):
    got, end = [], time.time() + (quiet or limit)
    while (n is None or len(got) < n) and time.time() < end:
        for records in c.poll(200).values():
            got += records
            if quiet:
                end = time.time() + quiet
    return got


def values(records):
    return [r.value for r in records]


def compression(codec):
    t, sent = topic(codec), numbered(0, 500)
    equal(send(t, sent, compression_type=None if codec == "none" else codec), list(range(500)))
    equal([(r.key, r.value, list(r.headers), r.timestamp) for r in read(t, 500)], sent)


def bare():
    t = topic("bare")
    sent = [(b"k", b"v", [], T0), (None, b"no key", [], T0), (b"", b"empty key", [], T0), (b"k", None, [], T0), (b"k", b"", [], T0),
            (b"k", b"h", [("a", b"1"), ("a", b"2"), ("", b"")], T0)]
    send(t, sent)
    equal([(r.key, r.value, list(r.headers), r.timestamp) for r in read(t, len(sent))], sent)


def group():
    t, g = topic("group", 4), f"kafka-python-{RUN}"
    p = producer()
    for i in range(400):
        p.send(t, b"%d" % i, partition=i % 4)
    p.flush(30)
    config = dict(bootstrap_servers=BOOTSTRAP, group_id=g, auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=10000, heartbeat_interval_ms=500)
    members = [KafkaConsumer(t, **config), KafkaConsumer(t, **config)]
    # A leader that joins before it knows of the topic assigns nothing and joins again; if that takes longer than a poll, kafka-python
    # 3.0 does not notice that it has joined: it sends no heartbeats and reads nothing. So let them know of it first.
    for m in members:
        until("member knows of the topic", lambda: m.partitions_for_topic(t) == {0, 1, 2, 3})
    got, stop, shares = [set(), set()], threading.Event(), [0, 0]

    def consume(i):  # a thread each: a poll waits for the other member to join
        while not stop.is_set():
            for records in members[i].poll(200).values():
                got[i] |= set(int(v) for v in values(records))
            shares[i] = len(members[i].assignment())
        members[i].commit()
        members[i].close()

    threads = [threading.Thread(target=consume, args=(i,)) for i in range(2)]
    for x in threads:
        x.start()
    try:
        until("two members share four partitions and read all", lambda: shares == [2, 2] and len(got[0] | got[1]) == 400)
    finally:
        stop.set()
        for x in threads:
            x.join(20)
    again = KafkaConsumer(t, **config)
    equal([again.committed(TopicPartition(t, i)) for i in range(4)], [100] * 4)
    p.send(t, b"new", partition=3)
    p.flush(10)
    equal(values(poll(again, 1)), [b"new"])
    again.commit({TopicPartition(t, 0): OffsetAndMetadata(7, "a note", -1)})
    equal(again.committed(TopicPartition(t, 0), metadata=True)[:2], (7, "a note"))
    again.close()
    p.close()


def seek():
    t = topic("seek")
    send(t, numbered(0, 100))
    equal(values(read(t, 1, offset=42))[0], b"value 42")
    tp = TopicPartition(t, 0)
    c = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    at = lambda ts: (lambda o: o and o.offset)(c.offsets_for_times({tp: ts})[tp])
    equal([at(T0), at(T0 + 3_000), at(T0 + 3_001), at(T0 + 999_000)], [0, 30, 31, None])
    equal((c.beginning_offsets([tp])[tp], c.end_offsets([tp])[tp]), (0, 100))
    c.assign([tp])
    for offset in (10, 90):
        c.seek(tp, offset)
        equal(values(poll(c, 1))[0], b"value %d" % offset)
    c.seek_to_end(tp)
    equal(c.position(tp), 100)
    c.close()


def idempotence():
    t, sent = topic("idempotent"), numbered(0, 3000)
    equal(send(t, sent, enable_idempotence=True, batch_size=2000), list(range(3000)))
    equal(values(read(t, 3000)), [r[1] for r in sent])


def transactions():
    t = topic("transactions")
    p = producer(transactional_id=f"kafka-python-{RUN}")
    p.init_transactions()
    for first, end in ((0, 10), (10, 20), (20, 30)):
        p.begin_transaction()
        send(t, numbered(first, end), p=p)
        p.abort_transaction() if first == 10 else p.commit_transaction()
    equal(values(read(t, 20, isolation_level="read_committed")), [b"value %d" % i for i in (*range(10), *range(20, 30))])
    equal(values(read(t, 30)), [b"value %d" % i for i in range(30)])
    p.begin_transaction()
    send(t, numbered(30, 40), p=p)
    equal(len(read(t, None, quiet=2, isolation_level="read_committed")), 20)
    equal(len(read(t, 40)), 40)
    p.commit_transaction()
    equal(len(read(t, 30, isolation_level="read_committed")), 30)
    g = f"kafka-python-{RUN}-tx"
    c = KafkaConsumer(t, bootstrap_servers=BOOTSTRAP, group_id=g, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed")
    equal(len(poll(c, 30)), 30)
    p.begin_transaction()
    p.send_offsets_to_transaction({TopicPartition(t, 0): OffsetAndMetadata(33, "", -1)}, c.group_metadata())
    p.commit_transaction()
    equal(c.committed(TopicPartition(t, 0)), 33)
    c.close()
    p.close()


def administration():
    t = topic("admin", 2, {"cleanup.policy": "compact", "retention.ms": "123456"})
    resource = ConfigResource(ConfigResourceType.TOPIC, t)
    text = lambda: str(admin.describe_configs([resource]))
    equal([x in text() for x in ("compact", "123456")], [True, True])
    admin.create_partitions({t: NewPartitions(5)})
    until("five partitions", lambda: len(admin.describe_topics([t])[0]["partitions"]) == 5)
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, t, {"retention.ms": "654321"})])
    equal("654321" in text(), True)
    other = topic("records")  # records of a compacted topic may not be deleted
    p = producer()
    for i in range(50):
        p.send(other, b"v", b"k", partition=0)
    p.flush(10)
    p.close()
    admin.delete_records({TopicPartition(other, 0): 20})
    c = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
    equal(c.beginning_offsets([TopicPartition(other, 0)])[TopicPartition(other, 0)], 20)
    c.close()
    g = f"kafka-python-{RUN}-admin"
    c = KafkaConsumer(other, bootstrap_servers=BOOTSTRAP, group_id=g, auto_offset_reset="earliest")
    poll(c, 30)
    equal("Stable" in str(admin.describe_groups([g])), True)
    c.close()
    equal(g in str(admin.list_groups()), True)
    admin.delete_groups([g])
    equal(g in str(admin.list_groups()), False)
    admin.delete_topics([t])
    until("topic is gone", lambda: t not in admin.list_topics())
    equal("cluster_id" in str(admin.describe_cluster()), True)


def restart(what):
    t = topic(what)
    p = producer(enable_idempotence=True, delivery_timeout_ms=90000)
    done = threading.Event()

    def away():
        time.sleep(1)
        server(what)
        done.set()

    threading.Thread(target=away).start()
    sent, futures, end = 0, [], None
    while end is None or time.time() < end:
        if done.is_set() and end is None:
            end = time.time() + 2
        futures.append(p.send(t, b"%d" % sent, partition=0))
        sent += 1
        time.sleep(0.002)
    p.flush(60)
    for f in futures:
        f.get(10)
    equal([int(v) for v in values(read(t, sent))], list(range(sent)))
    p.close()


def secured(login):
    """The configuration of a client that says who it is."""
    config = dict(bootstrap_servers=login.bootstrap, ssl_cafile=CA, security_protocol="SSL")
    if login.mechanism:
        config.update(security_protocol="SASL_SSL", sasl_mechanism=login.mechanism, sasl_plain_username=login.user, sasl_plain_password=login.password)
    elif login.certificate:
        config["ssl_certfile"], config["ssl_keyfile"] = pem(login)
    return config


def send_secured(login, t, values):
    p = KafkaProducer(max_block_ms=10000, bootstrap_timeout_ms=3000, **secured(login))
    try:
        for f in [p.send(t, v) for v in values]:
            f.get(10)
    finally:
        p.close(timeout=1)


def read_secured(login, t, g, n):
    c = KafkaConsumer(t, group_id=g, auto_offset_reset="earliest", **secured(login))
    try:
        return values(poll(c, n, limit=8))
    finally:
        c.close()


for codec in CODECS:
    check(f"compression {codec}", compression, codec)
check("headers, null and empty keys, tombstones", bare)
check("group", group)
check("seek by offset and time", seek)
check("idempotence", idempotence)
check("transactions", transactions)
check("admin", administration)
security(send_secured, read_secured)
with_restart("restart", restart, "restart")
with_restart("kill -9", restart, "crash")
