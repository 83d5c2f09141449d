"""aiokafka: kafka-python's asynchronous cousin, with a group and transaction code of its own."""
import asyncio
import sys
import time

import aiokafka
import aiokafka.helpers
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.structs import OffsetAndMetadata

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from checks import *
from security import CA, pem, security

version(aiokafka.__version__)


def numbered(first, end):
    return [(b"k%d" % i, b"value %d" % i, (("n", b"%d" % i),), T0 + 100 * i) for i in range(first, end)]


async def topic(name, partitions=1, config={}):
    name = f"aiokafka-{RUN}-{name}"
    async with admin() as a:
        await a.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    return name


class admin:
    async def __aenter__(self):
        self.client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        await self.client.close()


def producer(**config):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, linger_ms=2, **config)


async def send(p, t, records):
    futures = [await p.send(t, value, key, 0, ts, list(headers)) for key, value, headers, ts in records]
    return [(await f).offset for f in futures]


async def read(t, n, offset=0, quiet=None, **config):
    async with AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, **config) as c:
        tp = TopicPartition(t, 0)
        c.assign([tp])
        c.seek(tp, offset)
        return await poll(c, n, quiet)


async def poll(c, n, quiet=None, limit=30):
    got, end = [], time.time() + (quiet or limit)
    while (n is None or len(got) < n) and time.time() < end:
        for records in (await c.getmany(timeout_ms=200)).values():
            got += records
            if quiet:
                end = time.time() + quiet
    return got


def values(records):
    return [r.value for r in records]


async def compression(codec):
    t, sent = await topic(codec), numbered(0, 500)
    async with producer(compression_type=None if codec == "none" else codec) as p:
        equal(await send(p, t, sent), list(range(500)))
    equal([(r.key, r.value, r.headers, r.timestamp) for r in await read(t, 500)], sent)


async def bare():
    t = await topic("bare")
    sent = [(b"k", b"v", (), T0), (None, b"no key", (), T0), (b"", b"empty key", (), T0), (b"k", None, (), T0), (b"k", b"", (), T0),
            (b"k", b"h", (("a", b"1"), ("a", b"2"), ("", b"")), T0)]
    async with producer() as p:
        await send(p, t, sent)
    equal([(r.key, r.value, r.headers, r.timestamp) for r in await read(t, len(sent))], sent)


async def group():
    t, g = await topic("group", 4), f"aiokafka-{RUN}"
    config = dict(bootstrap_servers=BOOTSTRAP, group_id=g, auto_offset_reset="earliest", enable_auto_commit=False, heartbeat_interval_ms=500)
    async with producer() as p:
        for i in range(400):
            await p.send(t, b"%d" % i, partition=i % 4)
        await p.flush()
        a, b = AIOKafkaConsumer(t, **config), AIOKafkaConsumer(t, **config)
        await asyncio.gather(a.start(), b.start())
        got, end = set(), time.time() + 30
        while time.time() < end and not (len(a.assignment()) == len(b.assignment()) == 2 and len(got) == 400):
            for c in (a, b):
                for records in (await c.getmany(timeout_ms=100)).values():
                    got |= set(values(records))
        equal((len(a.assignment()), len(b.assignment()), len(got)), (2, 2, 400))
        for c in (a, b):
            await c.commit()
            await c.stop()
        async with AIOKafkaConsumer(t, **config) as c:
            equal([await c.committed(TopicPartition(t, i)) for i in range(4)], [100] * 4)
            await p.send_and_wait(t, b"new", partition=3)
            equal(values(await poll(c, 1)), [b"new"])
            await c.commit({TopicPartition(t, 0): OffsetAndMetadata(7, "a note")})
            equal(await c.committed(TopicPartition(t, 0)), 7)


async def seek():
    t = await topic("seek")
    async with producer() as p:
        await send(p, t, numbered(0, 100))
    equal(values(await read(t, 1, offset=42))[0], b"value 42")
    tp = TopicPartition(t, 0)
    async with AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP) as c:
        async def at(ts):
            o = (await c.offsets_for_times({tp: ts}))[tp]
            return o and o.offset
        equal([await at(T0), await at(T0 + 3_000), await at(T0 + 3_001), await at(T0 + 999_000)], [0, 30, 31, None])
        equal(((await c.beginning_offsets([tp]))[tp], (await c.end_offsets([tp]))[tp]), (0, 100))


async def idempotence():
    t, sent = await topic("idempotent"), numbered(0, 3000)
    async with producer(enable_idempotence=True, max_batch_size=2000) as p:
        equal(await send(p, t, sent), list(range(3000)))
    equal(values(await read(t, 3000)), [r[1] for r in sent])


async def transactions():
    t, g = await topic("transactions"), f"aiokafka-{RUN}-tx"
    async with producer(transactional_id=g) as p:
        for first, end in ((0, 10), (10, 20), (20, 30)):
            await p.begin_transaction()
            await send(p, t, numbered(first, end))
            await (p.abort_transaction() if first == 10 else p.commit_transaction())
        equal(values(await read(t, 20, isolation_level="read_committed")), [b"value %d" % i for i in (*range(10), *range(20, 30))])
        equal(values(await read(t, 30)), [b"value %d" % i for i in range(30)])
        await p.begin_transaction()
        await send(p, t, numbered(30, 40))
        equal(len(await read(t, None, quiet=2, isolation_level="read_committed")), 20)
        equal(len(await read(t, 40)), 40)
        tp = TopicPartition(t, 0)
        await p.send_offsets_to_transaction({tp: OffsetAndMetadata(33, "")}, g)
        await p.commit_transaction()
        equal(len(await read(t, 30, isolation_level="read_committed")), 30)
        async with AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, group_id=g) as c:
            c.assign([tp])
            equal(await c.committed(tp), 33)


async def administration():
    t = await topic("admin", 2, {"cleanup.policy": "compact", "retention.ms": "123456"})
    async with admin() as a:
        await a.create_partitions({t: NewPartitions(5)})
        equal(len((await a.describe_topics([t]))[0]["partitions"]), 5)
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
        text = str(await a.describe_configs([ConfigResource(ConfigResourceType.TOPIC, t)]))
        equal([x in text for x in ("compact", "123456")], [True, True])
        equal(isinstance(await a.list_consumer_groups(), list), True)
        await a.delete_topics([t])
        end = time.time() + 30
        while t in await a.list_topics() and time.time() < end:
            await asyncio.sleep(0.1)
        equal(t in await a.list_topics(), False)


async def restart(what):
    t = await topic(what)
    async with producer(enable_idempotence=True, request_timeout_ms=60000) as p:
        futures, away, end = [], None, None
        while end is None or time.time() < end:
            futures.append(await p.send(t, b"%d" % len(futures), partition=0))
            await asyncio.sleep(0.002)
            if len(futures) == 300:
                away = asyncio.create_task(asyncio.to_thread(server, what))
            if away and away.done() and end is None:
                end = time.time() + 2
        for f in futures:
            await f
    equal([int(v) for v in values(await read(t, len(futures)))], list(range(len(futures))))


def secured(login):
    """The configuration of a client that says who it is."""
    cert, key = pem(login) if login.certificate else (None, None)
    tls = aiokafka.helpers.create_ssl_context(cafile=CA, certfile=cert, keyfile=key)
    config = dict(bootstrap_servers=login.bootstrap, ssl_context=tls, security_protocol="SSL")
    if login.mechanism:
        config.update(security_protocol="SASL_SSL", sasl_mechanism=login.mechanism, sasl_plain_username=login.user, sasl_plain_password=login.password)
    return config


async def send_secured(login, t, values):
    async with AIOKafkaProducer(request_timeout_ms=10000, **secured(login)) as p:
        for f in [await p.send(t, v) for v in values]:
            await f


async def read_secured(login, t, g, n):
    async with AIOKafkaConsumer(t, group_id=g, auto_offset_reset="earliest", **secured(login)) as c:
        return values(await poll(c, n, limit=8))


def run(f, *args):
    return asyncio.run(f(*args))


for codec in CODECS:
    check(f"compression {codec}", run, compression, codec)
check("headers, null and empty keys, tombstones", run, bare)
check("group", run, group)
check("seek by offset and time", run, seek)
check("idempotence", run, idempotence)
check("transactions", run, transactions)
check("admin", run, administration)
security(lambda *args: run(send_secured, *args), lambda *args: run(read_secured, *args))
with_restart("restart", run, restart, "restart")
with_restart("kill -9", run, restart, "crash")
