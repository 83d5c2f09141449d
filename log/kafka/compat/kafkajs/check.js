// kafkajs: a client written in JavaScript alone.
const assert = require("node:assert");
const { execFile } = require("node:child_process");
const path = require("node:path");

const { promisify } = require("node:util");
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = require("kafkajs");
const security = require("./security");

CompressionCodecs[CompressionTypes.Snappy] = require("kafkajs-snappy");
CompressionCodecs[CompressionTypes.LZ4] = new (require("kafkajs-lz4"))().codec;

const run = `${Date.now()}`;
const t0 = Date.now() - 3600_000;
const kafka = new Kafka({ clientId: "compat", brokers: [process.env.BOOTSTRAP], logLevel: logLevel.ERROR, retry: { retries: 60, initialRetryTime: 100, maxRetryTime: 1000 } });
const admin = kafka.admin();

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const numbered = (first, end) =>
  Array.from({ length: end - first }, (_, i) => ({ key: `k${first + i}`, value: `value ${first + i}`, headers: { n: `${first + i}` }, timestamp: `${t0 + 100 * (first + i)}`, partition: 0 }));

async function check(name, f) {
  let timer;
  try {
    await Promise.race([f(), new Promise((_, no) => (timer = setTimeout(() => no(new Error("not done after 90 s")), 90_000)))]);
    console.log(`PASS\t${name}`);
  } catch (e) {
    console.error(name, e);
    console.log(`FAIL\t${name}\t${`${e.name}: ${e.message}`.replace(/\s+/g, " ").slice(0, 400)}`);
  } finally {
    clearTimeout(timer);
  }
}

async function topic(name, numPartitions = 1, configEntries = []) {
  name = `kafkajs-${run}-${name}`;
  await admin.createTopics({ topics: [{ topic: name, numPartitions, replicationFactor: 1, configEntries }], waitForLeaders: true });
  return name;
}

async function send(topic, messages, options = {}, acks = -1) {
  const p = kafka.producer({ ...options });
  await p.connect();
  const [answer] = await p.send({ topic, messages, acks, compression: options.compression });
  await p.disconnect();
  return answer;
}

// read takes n messages, or with quiet whatever comes until so many ms bring nothing.
async function read(topic, n, { quiet, groupId = `${topic}-${Math.random()}`, readUncommitted = false, seek, close = true, fromBeginning = true } = {}) {
  const c = kafka.consumer({ groupId, readUncommitted, heartbeatInterval: 500, maxWaitTimeInMs: 200 });
  const got = [];
  let last = Date.now();
  await c.connect();
  await c.subscribe({ topic, fromBeginning });
  await c.run({ eachMessage: async ({ message, partition }) => { got.push({ ...message, partition }); last = Date.now(); } });
  if (seek !== undefined) c.seek({ topic, partition: 0, offset: `${seek}` });
  const end = Date.now() + 30_000;
  while (Date.now() < end && (quiet ? Date.now() - last < quiet : got.length < n)) await sleep(20);
  await c.stop();
  await c.disconnect();
  return got;
}

const values = (messages) => messages.map((m) => m.value && m.value.toString());
const wanted = (...ranges) => ranges.flatMap(([a, b]) => numbered(a, b)).map((m) => m.value);

async function compression(codec) {
  const t = await topic(codec);
  const sent = numbered(0, 300);
  await send(t, sent, { compression: CompressionTypes[codec] });
  const got = await read(t, 300);
  assert.deepEqual(got.map((m) => [m.key.toString(), m.value.toString(), m.headers.n.toString(), m.timestamp]), sent.map((m) => [m.key, m.value, m.headers.n, m.timestamp]));
}

async function bare() {
  const t = await topic("bare");
  const sent = [["k", "v"], [null, "no key"], ["", "empty key"], ["k", null], ["k", ""]];
  await send(t, [...sent.map(([key, value]) => ({ key, value })), { key: "k", value: "h", headers: { a: ["1", "2"], b: "" } }]);
  const got = await read(t, 6);
  const text = (b) => (b === null ? null : b.toString());
  assert.deepEqual(got.slice(0, 5).map((m) => [text(m.key), text(m.value)]), sent);
  assert.deepEqual([got[5].headers.a.map(text), text(got[5].headers.b)], [["1", "2"], ""]);
}

async function group() {
  const t = await topic("group", 4), groupId = `kafkajs-${run}`;
  const messages = Array.from({ length: 400 }, (_, i) => ({ value: `${i}`, partition: i % 4 }));
  await send(t, messages);
  const got = new Set(), shares = [0, 0];
  const members = [0, 1].map(() => kafka.consumer({ groupId, heartbeatInterval: 300, maxWaitTimeInMs: 200 }));
  await Promise.all(members.map(async (c, i) => {
    c.on(c.events.GROUP_JOIN, (e) => (shares[i] = (e.payload.memberAssignment[t] || []).length));
    await c.connect();
    await c.subscribe({ topic: t, fromBeginning: true });
    await c.run({ eachMessage: async ({ message }) => void got.add(message.value.toString()) });
  }));
  for (let i = 0; i < 600 && !(got.size === 400 && shares.join() === "2,2"); i++) await sleep(50);
  assert.deepEqual([got.size, shares], [400, [2, 2]]);
  await Promise.all(members.map(async (c) => { await c.stop(); await c.disconnect(); }));
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [t] });
  const ends = Object.fromEntries((await admin.fetchTopicOffsets(t)).map((p) => [p.partition, p.high])); // more than 100 where a send was retried
  for (const p of partitions) assert.equal(p.offset, ends[p.partition]);
  await send(t, [{ value: "new", partition: 3 }]);
  assert.deepEqual(values(await read(t, 1, { groupId })), ["new"]);
}

async function seek() {
  const t = await topic("seek");
  await send(t, numbered(0, 100));
  const at = async (ts) => (await admin.fetchTopicOffsetsByTimestamp(t, ts))[0].offset;
  assert.deepEqual([await at(t0), await at(t0 + 3000), await at(t0 + 3001)], ["0", "30", "31"]);
  const [o] = await admin.fetchTopicOffsets(t);
  assert.deepEqual([o.low, o.high], ["0", "100"]);
  assert.deepEqual(values(await read(t, 58, { seek: 42 })).slice(-58), wanted([42, 100]));
}

async function transactions() {
  const t = await topic("transactions"), groupId = `kafkajs-${run}-tx`;
  const p = kafka.producer({ transactionalId: groupId, idempotent: true, maxInFlightRequests: 1 });
  await p.connect();
  for (const [first, end] of [[0, 10], [10, 20], [20, 30]]) {
    const tx = await p.transaction();
    await tx.send({ topic: t, messages: numbered(first, end) });
    await (first === 10 ? tx.abort() : tx.commit());
  }
  assert.deepEqual(values(await read(t, 20)), wanted([0, 10], [20, 30]));
  assert.deepEqual(values(await read(t, 30, { readUncommitted: true })), wanted([0, 30]));
  const tx = await p.transaction();
  await tx.send({ topic: t, messages: numbered(30, 40) });
  assert.equal((await read(t, 40, { readUncommitted: true })).length, 40);
  assert.equal((await read(t, 0, { quiet: 2000 })).length, 20);
  await tx.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: t, partitions: [{ partition: 0, offset: "33" }] }] });
  await tx.commit();
  assert.equal((await read(t, 30)).length, 30);
  const [{ partitions }] = await admin.fetchOffsets({ groupId, topics: [t] });
  assert.equal(partitions[0].offset, "33");
  await p.disconnect();
}

async function idempotence() {
  const t = await topic("idempotent");
  const p = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await p.connect();
  for (let i = 0; i < 500; i += 10) await p.send({ topic: t, messages: numbered(i, i + 10) });
  await p.disconnect();
  assert.deepEqual(values(await read(t, 500)), wanted([0, 500]));
}

async function administration() {
  const t = await topic("admin", 2, [{ name: "cleanup.policy", value: "compact" }]);
  const type = ConfigResourceTypes.TOPIC;
  const config = async (key) => (await admin.describeConfigs({ resources: [{ type, name: t }] })).resources[0].configEntries.find((e) => e.configName === key).configValue;
  assert.equal(await config("cleanup.policy"), "compact");
  await admin.alterConfigs({ resources: [{ type, name: t, configEntries: [{ name: "retention.ms", value: "123456" }] }] });
  assert.equal(await config("retention.ms"), "123456");
  await admin.createPartitions({ topicPartitions: [{ topic: t, count: 5 }] });
  assert.equal((await admin.fetchTopicMetadata({ topics: [t] })).topics[0].partitions.length, 5);
  const r = await topic("records"), groupId = `kafkajs-${run}-admin`;
  await send(r, numbered(0, 50));
  await admin.fetchTopicMetadata({ topics: [r] });
  await admin.deleteTopicRecords({ topic: r, partitions: [{ partition: 0, offset: "20" }] });
  assert.equal((await admin.fetchTopicOffsets(r))[0].low, "20");
  await read(r, 30, { groupId });
  assert.ok((await admin.listGroups()).groups.some((g) => g.groupId === groupId));
  assert.equal((await admin.describeGroups([groupId])).groups[0].state, "Empty");
  await admin.resetOffsets({ groupId, topic: r, earliest: true });
  await admin.deleteGroups([groupId]);
  assert.ok(!(await admin.listGroups()).groups.some((g) => g.groupId === groupId));
  await admin.deleteTopics({ topics: [t] });
  assert.ok(!(await admin.listTopics()).includes(t));
  assert.ok((await admin.describeCluster()).clusterId);
}

async function restart(what) {
  const t = await topic(what);
  const p = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
  await p.connect();
  let sent = 0, end;
  const server = promisify(execFile)(path.join(__dirname, "..", "server"), [what]).then(() => (end = Date.now() + 1500));
  while (!end || Date.now() < end) {
    await p.send({ topic: t, messages: numbered(sent, sent + 10) });
    sent += 10;
  }
  await server;
  await p.disconnect();
  assert.deepEqual(values(await read(t, sent)), wanted([0, sent]));
}

(async () => {
  console.log(`VERSION\t${require("kafkajs/package.json").version}`);
  await admin.connect();
  for (const codec of ["None", "GZIP", "Snappy", "LZ4"]) await check(`compression ${codec.toLowerCase()}`, () => compression(codec));
  await check("headers, null and empty keys, tombstones", bare);
  await check("group", group);
  await check("seek by offset and time", seek);
  await check("idempotence", idempotence);
  await check("transactions", transactions);
  await check("admin", administration);
  await security(check, run);
  for (const [name, what] of [["restart", "restart"], ["kill -9", "crash"]]) {
    if (process.env.SERVER_DIR) await check(name, () => restart(what));
    else console.log(`SKIP\t${name}\tthe server is not ours to restart`);
  }
  await admin.disconnect().catch(() => {});
  process.exit(0);
})();
