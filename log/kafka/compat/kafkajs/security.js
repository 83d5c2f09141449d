// The checks of servers that ask who their clients are: the script `server` tells who may do what there.
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const { Kafka, logLevel } = require("kafkajs");

const { SASL_BOOTSTRAP, MTLS_BOOTSTRAP, CERTS } = process.env;
const mechanisms = ["scram-sha-512", "scram-sha-256", "plain"];
const names = [...mechanisms.map((m) => `SASL_SSL with ${m.toUpperCase()}`), "wrong password", "ACLs", "mTLS"];
const file = (name) => fs.readFileSync(path.join(CERTS, name), "utf8");
const retry = { retries: 12, initialRetryTime: 100, maxRetryTime: 500 }; // a topic that was made just now may take a while
const common = (broker) => ({ brokers: [broker], ssl: { ca: [file("ca.pem")] }, logLevel: logLevel.NOTHING, retry });
const sasl = (mechanism, password = "alice-secret") => new Kafka({ ...common(SASL_BOOTSTRAP), sasl: { mechanism, username: "alice", password } });

// mtls comes with the certificate of somebody, or without.
function mtls(name) {
  const config = common(MTLS_BOOTSTRAP);
  if (name) Object.assign(config.ssl, { cert: file(`${name}.pem`), key: file(`${name}.key`) });
  return new Kafka(config);
}

async function send(kafka, topic, values) {
  const p = kafka.producer();
  try {
    await p.connect();
    await p.send({ topic, messages: values.map((value) => ({ value })) });
  } finally {
    await p.disconnect();
  }
}

// read takes n different values as a member of a group: a send that was retried is there twice.
async function read(kafka, topic, groupId, n) {
  const c = kafka.consumer({ groupId, maxWaitTimeInMs: 200, retry: { ...retry, restartOnFailure: async () => false } });
  const got = new Set();
  try {
    await c.connect();
    await c.subscribe({ topic, fromBeginning: true });
    const crashed = new Promise((_, no) => c.on(c.events.CRASH, (e) => e.payload.restart || no(e.payload.error)));
    const late = new Promise((_, no) => setTimeout(() => no(new Error(`${got.size} of ${n} records after 20 s`)), 20_000).unref());
    const all = new Promise((done) => c.run({ eachMessage: async ({ message }) => void (got.add(message.value.toString()).size === n && done()) }));
    await Promise.race([all, crashed, late]);
  } finally {
    await c.disconnect();
  }
  return [...got];
}

// refused fails unless f does, with these words.
async function refused(words, f) {
  const got = await f().catch((e) => e);
  if (!(got instanceof Error)) throw new Error(`this was let through, wanted ${words}`);
  let text = "";
  for (let e = got; e; e = e.cause) text += `${e.name} ${e.type} ${e.message} `;
  if (!words.test(text)) throw got;
}

async function thereAndBack(kafka, topic) {
  const values = Array.from({ length: 50 }, (_, i) => `value ${i}`);
  await send(kafka, topic, values);
  assert.deepEqual((await read(kafka, topic, topic, 50)).sort(), values.sort());
}

async function acls(kafka, run) {
  await refused(/TOPIC_AUTHORIZATION_FAILED/, () => send(kafka, `closed-${run}`, ["v"]));
  await refused(/TOPIC_AUTHORIZATION_FAILED/, () => send(kafka, `readable-${run}`, ["v"]));
  await refused(/TOPIC_AUTHORIZATION_FAILED/, () => read(kafka, `closed-${run}`, `open-${run}`, 1));
  // When a coordinator is refused, kafkajs only says that it found none.
  await refused(/GROUP_AUTHORIZATION_FAILED|KafkaJSGroupCoordinatorNotFound/, () => read(kafka, `open-${run}`, `closed-${run}`, 1));
}

module.exports = async function security(check, run) {
  if (!SASL_BOOTSTRAP) {
    for (const name of names) console.log(`SKIP\t${name}\tthere is no server that asks who its clients are`);
    return;
  }
  const steps = [
    ...mechanisms.map((m) => () => thereAndBack(sasl(m), `open-${run}-${m}`)),
    async () => {
      for (const m of mechanisms) await refused(/SASL|authentication/i, () => send(sasl(m, "wrong"), `open-${run}`, ["v"]));
    },
    () => acls(sasl("scram-sha-512"), run),
    async () => {
      await thereAndBack(mtls("alice"), `open-${run}-mtls`);
      await acls(mtls("alice"), run);
      for (const name of ["mallory", undefined]) await refused(/ssl|certificate|connection/i, () => send(mtls(name), `open-${run}`, ["v"]));
    },
  ];
  for (const [i, name] of names.entries()) await check(name, steps[i]);
};
