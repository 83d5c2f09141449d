import java.nio.file.*;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

/** The checks of servers that ask who their clients are: the script `server` tells who may do what there. */
class Security extends Check {
    static final String sasl = System.getenv("SASL_BOOTSTRAP"), mtls = System.getenv("MTLS_BOOTSTRAP"), certs = System.getenv("CERTS");

    interface Login {
        /** the configuration of a client, as names and values */
        String[] config();
    }

    static Login sasl(String mechanism, String user, String password) {
        String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
        return () -> new String[] {"bootstrap.servers", sasl, "security.protocol", "SASL_SSL", "sasl.mechanism", mechanism,
            "ssl.truststore.type", "PEM", "ssl.truststore.location", certs + "/ca.pem",
            "sasl.jaas.config", "org.apache.kafka.common.security." + module + " required username=\"" + user + "\" password=\"" + password + "\";"};
    }

    /** with the certificate of somebody, or without */
    static Login mtls(String name) {
        List<String> config = new ArrayList<>(List.of("bootstrap.servers", mtls, "security.protocol", "SSL", "ssl.truststore.type", "PEM", "ssl.truststore.location", certs + "/ca.pem"));
        if (name != null) config.addAll(List.of("ssl.keystore.type", "PEM", "ssl.keystore.location", certs + "/" + name + ".both.pem"));
        return () -> config.toArray(new String[0]);
    }

    static String[] with(Login login, String... more) {
        return Stream.concat(Arrays.stream(login.config()), Arrays.stream(more)).toArray(String[]::new);
    }

    static void checks() {
        if (sasl == null) {
            for (String name : List.of("SASL_SSL with SCRAM-SHA-512", "SASL_SSL with SCRAM-SHA-256", "SASL_SSL with PLAIN", "wrong password", "ACLs", "mTLS", "kafka-configs, kafka-acls with --command-config"))
                out.println("SKIP\t" + name + "\tthere is no server that asks who its clients are");
            return;
        }
        for (String m : List.of("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"))
            check("SASL_SSL with " + m, () -> thereAndBack(sasl(m, "alice", "alice-secret"), "open-" + run + "-" + m));
        check("wrong password", () -> {
            for (String m : List.of("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"))
                refused(SaslAuthenticationException.class, () -> send(sasl(m, "alice", "wrong"), "open-" + run));
        });
        check("ACLs", () -> acls(sasl("SCRAM-SHA-512", "alice", "alice-secret")));
        check("mTLS", () -> {
            thereAndBack(mtls("alice"), "open-" + run + "-mtls");
            acls(mtls("alice"));
            for (String name : Arrays.asList("mallory", null)) refused(SslAuthenticationException.class, () -> send(mtls(name), "open-" + run));
        });
        check("kafka-configs, kafka-acls with --command-config", Security::tools);
    }

    static void send(Login login, String t) throws Exception {
        try (KafkaProducer<byte[], byte[]> p = producer(with(login, "max.block.ms", "10000"))) {
            send(p, List.of(new ProducerRecord<>(t, "value 0".getBytes()))); // the first alone: a refusal is not to be waited for fifty times
            send(p, IntStream.range(1, 50).mapToObj(i -> new ProducerRecord<byte[], byte[]>(t, ("value " + i).getBytes())).collect(Collectors.toList()));
        }
    }

    static List<String> read(Login login, String t, String group) {
        try (KafkaConsumer<byte[], byte[]> c = consumer(with(login, "group.id", group))) {
            c.subscribe(List.of(t));
            List<String> got = poll(c, 50).stream().map(r -> new String(r.value())).collect(Collectors.toList());
            c.commitSync();
            return got;
        }
    }

    static void thereAndBack(Login login, String t) throws Exception {
        send(login, t);
        equal(new TreeSet<>(read(login, t, t)), IntStream.range(0, 50).mapToObj(i -> "value " + i).collect(Collectors.toCollection(TreeSet::new)));
    }

    static void acls(Login login) throws Exception {
        refused(TopicAuthorizationException.class, () -> send(login, "closed-" + run));
        refused(TopicAuthorizationException.class, () -> send(login, "readable-" + run));
        refused(TopicAuthorizationException.class, () -> read(login, "closed-" + run, "open-" + run));
        refused(GroupAuthorizationException.class, () -> read(login, "open-" + run, "closed-" + run));
        Properties p = new Properties();
        String[] config = login.config();
        for (int i = 0; i < config.length; i += 2) p.put(config[i], config[i + 1]);
        try (Admin a = Admin.create(p)) {
            refused(TopicAuthorizationException.class, () -> get(a.createTopics(List.of(new NewTopic("closed-" + run, 1, (short) 1))).all()));
            refused(TopicAuthorizationException.class, () -> get(a.deleteTopics(List.of("readable-" + run)).all()));
            refused(ClusterAuthorizationException.class, () -> get(a.describeAcls(org.apache.kafka.common.acl.AclBindingFilter.ANY).values()));
            equal(get(a.listTopics().names()).contains("readable-" + run), true);
        }
    }

    /** the body fails with this error, or one that it caused */
    static void refused(Class<? extends Exception> want, Body body) throws Exception {
        try {
            body.run();
        } catch (Exception e) {
            for (Throwable t = e; t != null; t = t.getCause()) if (want.isInstance(t)) return;
            throw e;
        }
        throw new AssertionError("this was let through, want " + want.getSimpleName());
    }

    /** admin makes a user, and lets it do something, by the tools */
    static void tools() throws Exception {
        String acls = Tools.three ? "kafka.admin.AclCommand" : Tools.tools + "AclCommand", configs = "kafka.admin.ConfigCommand";
        String t = "given-" + run, at = "--bootstrap-server " + sasl + " --command-config ";
        String admin = at + file(sasl("SCRAM-SHA-256", "admin", "admin-secret")), alice = at + file(sasl("SCRAM-SHA-512", "alice", "alice-secret"));
        Login bob = sasl("SCRAM-SHA-512", "bob-" + run, "bob-secret");
        Tools.tool(configs, Tools.args(admin + " --alter --entity-type users --entity-name bob-" + run + " --add-config SCRAM-SHA-512=[iterations=8192,password=bob-secret]"), "Completed updating config for user");
        Tools.tool(configs, Tools.args(admin + " --describe --entity-type users --entity-name bob-" + run), "SCRAM-SHA-512=iterations=8192");
        refused(TopicAuthorizationException.class, () -> send(bob, t));
        Tools.tool(acls, Tools.args(admin + " --add --allow-principal User:bob-" + run + " --producer --topic " + t));
        Tools.tool(acls, Tools.args(admin + " --add --allow-principal User:bob-" + run + " --consumer --topic " + t + " --group " + t));
        Tools.tool(acls, Tools.args(admin + " --list --topic " + t), "principal=User:bob-" + run);
        until("bob may", () -> {
            try {
                send(bob, t);
                return true;
            } catch (Exception e) {
                return false;
            }
        });
        equal(new TreeSet<>(read(bob, t, t)).size(), 50);
        equal(Tools.status(acls, "", Tools.args(alice + " --add --allow-principal User:alice --operation All --cluster")) != 0 || Tools.said.contains("ClusterAuthorization"), true);
        Tools.said("ClusterAuthorizationException|[Nn]ot authorized|[Aa]uthorization failed");
        Tools.tool(acls, Tools.args(admin + " --remove --force --allow-principal User:bob-" + run + " --producer --topic " + t));
        until("bob may not", () -> {
            try {
                send(bob, t);
                return false;
            } catch (Exception e) {
                return true;
            }
        });
        Tools.tool(configs, Tools.args(admin + " --alter --entity-type users --entity-name bob-" + run + " --delete-config SCRAM-SHA-512"));
        refused(SaslAuthenticationException.class, () -> read(bob, t, t));
    }

    static Path file(Login login) throws Exception {
        Path file = Files.createTempFile("client", ".properties");
        file.toFile().deleteOnExit();
        List<String> lines = new ArrayList<>();
        String[] config = login.config();
        for (int i = 2; i < config.length; i += 2) lines.add(config[i] + "=" + config[i + 1]);
        Files.write(file, lines);
        return file;
    }
}
