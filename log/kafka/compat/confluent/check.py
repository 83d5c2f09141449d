"""confluent-kafka, and with it librdkafka: of PyPI, and the older one of Debian."""
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition, OFFSET_BEGINNING
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from checks import *
from security import CA, pem, security

text = lambda v: v if isinstance(v, str) else v[0]
version(f"{text(confluent_kafka.version())}, librdkafka {confluent_kafka.libversion()[0]}")
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(name, partitions=1, config={}):
    name = f"confluent-{RUN}-{name}"
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(20)
    until("topic is listed", lambda: name in admin.list_topics(timeout=10).topics)
    return name


def producer(**config):
    return Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 2, **{k.replace("_", "."): v for k, v in config.items()}})


def send(t, records, p=None, **config):
    """Sends (key, value, headers, timestamp) and returns the offsets that were acknowledged."""
    p, offsets = producer(**config) if p is None else p, []  # an idle producer is false in old releases

    def delivered(err, m):
        if err:
            raise KafkaException(err)
        offsets.append(m.offset())

    for key, value, headers, ts in records:
        p.produce(t, value, key, 0, delivered, timestamp=ts, headers=headers)
        p.poll(0)
    equal(p.flush(30), 0)
    equal(len(offsets), len(records))
    return offsets


def numbered(first, end):
    return [(b"k%d" % i, b"value %d" % i, [("n", b"%d" % i)], T0 + 100 * i) for i in range(first, end)]


def read(t, n, offset=OFFSET_BEGINNING, partition=0, quiet=None, **config):
    """Reads n records from an offset; with quiet, whatever comes until so many seconds bring nothing."""
    c = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": f"{t}-reader", "enable.auto.commit": False,
                  "auto.offset.reset": "earliest", **{k.replace("_", "."): v for k, v in config.items()}})
    c.assign([TopicPartition(t, partition, offset)])
    try:
        return poll(c, n, quiet)
    finally:
        c.close()


def poll(c, n, quiet=None, limit=30):
    got, end = [], time.time() + (quiet or limit)
    while (n is None or len(got) < n) and time.time() < end:
        m = c.poll(0.2)
        if m is None:
            continue
        if m.error():
            raise KafkaException(m.error())
        got.append(m)
        if quiet:
            end = time.time() + quiet
    return got


def values(messages):
    return [m.value() for m in messages]


def compression(codec):
    t = topic(codec)
    sent = numbered(0, 500)
    equal(send(t, sent, compression_type=codec), list(range(500)))
    got = read(t, 500)
    equal([(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in got], sent)


def bare():
    t = topic("bare")
    sent = [(b"k", b"v", None, T0), (None, b"no key", None, T0), (b"", b"empty key", None, T0), (b"k", None, None, T0), (b"k", b"", None, T0),
            (None, None, None, T0), (b"k", b"h", [("a", b"1"), ("a", None), ("", b"")], T0)]
    send(t, sent)
    equal([(m.key(), m.value(), m.headers(), m.timestamp()[1]) for m in read(t, len(sent))], sent)


def group():
    share("group", {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 10000})


def next_group():
    share("next-group", {"group.protocol": "consumer"})


def share(name, protocol):
    t, g = topic(name, 4), f"confluent-{RUN}-{name}"
    p = producer()
    for i in range(400):
        p.produce(t, b"%d" % i, partition=i % 4)
    equal(p.flush(30), 0)
    config = {"bootstrap.servers": BOOTSTRAP, "group.id": g, "auto.offset.reset": "earliest", "enable.auto.commit": False, **protocol}
    members = [Consumer(config), Consumer(config)]
    got = []
    for c in members:
        c.subscribe([t])

    def shared():
        for c in members:
            m = c.poll(0.1)
            if m is not None and not m.error():
                got.append(m)
        return sorted(len(c.assignment()) for c in members) == [2, 2]

    until("two members share four partitions", shared)
    end = time.time() + 20
    while len({m.value() for m in got}) < 400 and time.time() < end:
        shared()
    equal(sorted({int(m.value()) for m in got}), list(range(400)))
    for c in members:
        if c.assignment():
            c.commit(asynchronous=False)
        c.close()
    again = Consumer(config)
    committed = again.committed([TopicPartition(t, i) for i in range(4)], timeout=10)
    equal([c.offset for c in committed], [100] * 4)
    p.produce(t, b"new", partition=3)
    p.flush(10)
    again.subscribe([t])
    equal(values(poll(again, 1)), [b"new"])
    again.commit(offsets=[TopicPartition(t, 0, 7)], asynchronous=False)
    equal(again.committed([TopicPartition(t, 0)], timeout=10)[0].offset, 7)
    again.close()


def seek():
    t = topic("seek")
    send(t, numbered(0, 100))
    equal(values(read(t, 1, offset=42)), [b"value 42"])
    c = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "seek"})
    at = lambda ts: c.offsets_for_times([TopicPartition(t, 0, ts)], timeout=10)[0].offset
    equal([at(T0), at(T0 + 3_000), at(T0 + 3_001), at(T0 + 999_000)], [0, 30, 31, -1])
    equal(c.get_watermark_offsets(TopicPartition(t, 0), timeout=10), (0, 100))
    c.assign([TopicPartition(t, 0, 10)])
    equal(values(poll(c, 1)), [b"value 10"])
    c.seek(TopicPartition(t, 0, 90))
    equal(values(poll(c, 1)), [b"value 90"])
    c.close()


def idempotence():
    t = topic("idempotent")
    sent = numbered(0, 5000)
    equal(send(t, sent, enable_idempotence=True, batch_num_messages=50), list(range(5000)))
    equal(values(read(t, 5000)), [r[1] for r in sent])


def transactions():
    t, id = topic("transactions"), f"confluent-{RUN}-tx"
    p = producer(transactional_id=id)
    p.init_transactions(30)
    for first, end in ((0, 10), (10, 20), (20, 30)):
        p.begin_transaction()
        send(t, numbered(first, end), p=p)
        p.abort_transaction(30) if first == 10 else p.commit_transaction(30)
    committed, everything = [b"value %d" % i for i in (*range(10), *range(20, 30))], [b"value %d" % i for i in range(30)]
    equal(values(read(t, 20, isolation_level="read_committed")), committed)
    equal(values(read(t, 30, isolation_level="read_uncommitted")), everything)
    p.begin_transaction()
    send(t, numbered(30, 40), p=p)
    equal(len(read(t, None, quiet=2, isolation_level="read_committed")), 20)
    equal(len(read(t, 40, isolation_level="read_uncommitted")), 40)
    zombie, p = p, producer(transactional_id=id)
    p.init_transactions(30)  # aborts what was open
    equal(len(read(t, None, quiet=2, isolation_level="read_committed")), 20)
    try:
        zombie.commit_transaction(20)
    except KafkaException as e:
        equal(e.args[0].code() in (confluent_kafka.KafkaError._FENCED, confluent_kafka.KafkaError.INVALID_PRODUCER_EPOCH, confluent_kafka.KafkaError.PRODUCER_FENCED), True)
    else:
        raise AssertionError("a zombie could commit")
    p.begin_transaction()
    send(t, numbered(40, 50), p=p)
    p.commit_transaction(30)
    equal(values(read(t, 30, isolation_level="read_committed"))[20:], [b"value %d" % i for i in range(40, 50)])


def consume_transform_produce():
    source, sink = topic("source"), topic("sink")
    send(source, numbered(0, 100))
    g = f"confluent-{RUN}-ctp"
    p = producer(transactional_id=f"{g}-tx")
    p.init_transactions(30)
    c = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": g, "auto.offset.reset": "earliest", "enable.auto.commit": False, "isolation.level": "read_committed"})
    c.subscribe([source])
    seen, rounds = 0, 0
    while seen < 100:
        batch = poll(c, 20)
        p.begin_transaction()
        send(sink, [(m.key(), m.value(), None, T0) for m in batch], p=p)
        p.send_offsets_to_transaction([TopicPartition(source, 0, batch[-1].offset() + 1)], c.consumer_group_metadata(), 30)
        rounds += 1
        if rounds == 2:
            p.abort_transaction(30)
            position = c.committed([TopicPartition(source, 0)], timeout=10)
            equal(position[0].offset, seen)
            c.seek(TopicPartition(source, 0, seen))
        else:
            p.commit_transaction(30)
            seen += len(batch)
            equal(c.committed([TopicPartition(source, 0)], timeout=10)[0].offset, seen)
    c.close()
    equal(values(read(sink, None, quiet=2, isolation_level="read_committed")), [b"value %d" % i for i in range(100)])


def administration():
    t = topic("admin", 2, {"cleanup.policy": "compact", "retention.ms": "123456"})
    resource = ConfigResource("topic", t)
    config = lambda: admin.describe_configs([resource])[resource].result(10)
    equal([config()[k].value for k in ("cleanup.policy", "retention.ms")], ["compact", "123456"])
    equal(config()["retention.bytes"].is_default, True)
    admin.create_partitions([NewPartitions(t, 5)])[t].result(20)
    until("five partitions", lambda: len(admin.list_topics(t, timeout=10).topics[t].partitions) == 5)
    admin.alter_configs([ConfigResource("topic", t, {"retention.ms": "654321"})])[resource].result(10)
    equal(config()["retention.ms"].value, "654321")
    try:
        admin.create_topics([NewTopic(t, 1, 1)])[t].result(20)
    except KafkaException as e:
        equal(e.args[0].code(), confluent_kafka.KafkaError.TOPIC_ALREADY_EXISTS)
    else:
        raise AssertionError("the same topic was created twice")
    admin.delete_topics([t])[t].result(20)
    until("topic is gone", lambda: t not in admin.list_topics(timeout=10).topics)


def administration_of_groups():
    from confluent_kafka import ConsumerGroupTopicPartitions, ConsumerGroupState
    from confluent_kafka.admin import OffsetSpec
    t, g = topic("groups"), f"confluent-{RUN}-admin"
    send(t, numbered(0, 50))
    c = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": g, "auto.offset.reset": "earliest", "client.id": "member"})
    c.subscribe([t])
    equal(len(poll(c, 50)), 50)
    c.commit(asynchronous=False)
    equal(g in [x.group_id for x in admin.list_consumer_groups().result(10).valid], True)
    d = admin.describe_consumer_groups([g])[g].result(10)
    equal((d.state, [m.client_id for m in d.members], d.members[0].assignment.topic_partitions[0].topic), (ConsumerGroupState.STABLE, ["member"], t))
    c.close()
    offsets = lambda: admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(g)])[g].result(10).topic_partitions[0].offset
    equal(offsets(), 50)
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(g, [TopicPartition(t, 0, 5)])])[g].result(10)
    equal(offsets(), 5)
    tp = TopicPartition(t, 0)
    offset = lambda spec: admin.list_offsets({tp: spec})[tp].result(10).offset
    equal([offset(OffsetSpec.earliest()), offset(OffsetSpec.latest()), offset(OffsetSpec.max_timestamp()), offset(OffsetSpec.for_timestamp(T0 + 700))], [0, 50, 49, 7])
    equal(admin.delete_records([TopicPartition(t, 0, 20)])[tp].result(10).low_watermark, 20)
    equal(offset(OffsetSpec.earliest()), 20)
    cluster = admin.describe_cluster().result(10)
    equal(len(cluster.nodes) >= 1 and bool(cluster.cluster_id), True)
    admin.delete_consumer_groups([g])[g].result(10)
    equal(g in [x.group_id for x in admin.list_consumer_groups().result(10).valid], False)


def restart(what):
    """An idempotent producer works on while the server goes and comes back: nothing lost, nothing twice, order kept."""
    t = topic(what)
    p = producer(enable_idempotence=True, message_timeout_ms=90000)
    done = threading.Event()

    def away():
        time.sleep(1)
        server(what)
        done.set()

    threading.Thread(target=away).start()
    sent, acked = 0, []
    end = None
    while end is None or time.time() < end:
        if done.is_set() and end is None:
            end = time.time() + 2
        p.produce(t, b"%d" % sent, partition=0, callback=lambda err, m: acked.append((err, m.offset())))
        sent += 1
        p.poll(0.002)
    equal(p.flush(60), 0)
    equal([e for e, _ in acked if e], [])
    equal([int(v) for v in values(read(t, sent))], list(range(sent)))


def secured(login, **config):
    """The configuration of a client that says who it is. Its errors, which a call may not meet, are raised by raise_errors."""
    errors = []
    config = {"bootstrap.servers": login.bootstrap, "ssl.ca.location": CA, "error_cb": errors.append, **{k.replace("_", "."): v for k, v in config.items()}}
    if login.mechanism:
        config.update({"security.protocol": "SASL_SSL", "sasl.mechanisms": login.mechanism, "sasl.username": login.user, "sasl.password": login.password})
    else:
        config["security.protocol"] = "SSL"
        if login.certificate:
            config["ssl.certificate.location"], config["ssl.key.location"] = pem(login)

    def raise_errors():
        for e in errors:
            raise KafkaException(e)

    return config, raise_errors


def send_secured(login, t, values):
    config, raise_errors = secured(login)
    p, failed, delivered = Producer(config), [], []
    for v in values:
        p.produce(t, v, callback=lambda err, m: failed.append(err) if err else delivered.append(m))
    end = time.time() + 20
    while len(delivered) + len(failed) < len(values) and time.time() < end:
        p.poll(0.1)
        raise_errors()
    if failed:
        raise KafkaException(failed[0])
    equal(len(delivered), len(values))


def read_secured(login, t, g, n):
    config, raise_errors = secured(login, group_id=g, auto_offset_reset="earliest", topic_metadata_refresh_interval_ms=500)
    c = Consumer(config)
    c.subscribe([t])
    try:
        got = values(poll(c, n, limit=8))
        raise_errors()
        return got
    finally:
        c.close()


for codec in CODECS:
    check(f"compression {codec}", compression, codec)
check("headers, null and empty keys, tombstones", bare)
check("group", group)
if confluent_kafka.libversion()[1] >= 0x020C0000:  # 2.12
    check("group of the consumer protocol", next_group)
check("seek by offset and time", seek)
check("idempotence", idempotence)
check("transactions", transactions)
check("consume-transform-produce", consume_transform_produce)
check("admin", administration)
if hasattr(admin, "list_offsets"):
    check("admin of groups", administration_of_groups)
security(send_secured, read_secured)
with_restart("restart", restart, "restart")
with_restart("kill -9", restart, "crash")
