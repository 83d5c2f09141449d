import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.metadata.*;
import org.apache.kafka.metadata.bootstrap.*;
import org.apache.kafka.server.common.ApiMessageAndVersion;

/**
 * Adopt DIR BROKER-DIRECTORY-ID LEADER-EPOCH TOPIC=ID:PARTITIONS...
 *
 * Adds topics with given ids to what a formatted broker begins its cluster with: no request can create a topic with an id of
 * one's choice, but the controller takes over every record of this file. The broker leads all partitions once it is there.
 */
public class Adopt {
    public static void main(String[] args) throws Exception {
        BootstrapDirectory file = new BootstrapDirectory(args[0]);
        List<ApiMessageAndVersion> records = new ArrayList<>(file.read().records());
        for (String arg : Arrays.asList(args).subList(3, args.length)) {
            String name = arg.substring(0, arg.indexOf('=')), id = arg.substring(arg.indexOf('=') + 1, arg.lastIndexOf(':'));
            records.add(new ApiMessageAndVersion(new TopicRecord().setName(name).setTopicId(Uuid.fromString(id)), (short) 0));
            for (int p = 0; p < Integer.parseInt(arg.substring(arg.lastIndexOf(':') + 1)); p++)
                records.add(new ApiMessageAndVersion(new PartitionRecord().setTopicId(Uuid.fromString(id)).setPartitionId(p).setReplicas(List.of(1)).setIsr(List.of(1))
                    .setLeader(-1).setLeaderEpoch(Integer.parseInt(args[2])).setPartitionEpoch(0).setDirectories(List.of(Uuid.fromString(args[1]))), (short) 1));
        }
        file.writeBinaryFile(BootstrapMetadata.fromRecords(records, "adopted topics"));
    }
}
