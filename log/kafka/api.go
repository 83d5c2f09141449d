package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// api is one request kind of the protocol: the versions that are served, and by
// whom.
type api struct {
	key      kmsg.Key
	min, max int16 // versions that are served
	// listsZero makes ApiVersions tell 0 as the lowest version: librdkafka takes
	// a Produce without version 0 for one that cannot compress (KAFKA-18659).
	listsZero bool
	open      bool // allowed before authentication

	// handle answers a request. It may wait until ctx ends. A nil answer sends
	// nothing (Produce with acks=0); an error ends the connection.
	handle func(s *Server, ctx context.Context, r *request) (kmsg.Response, error)

	// begin, if set, starts a request ahead of its turn: see the package's page.
	begin func(s *Server, r *request) begun

	shapes []*shape // of versions min to max
}

// begun is a request that was started ahead of its turn. Its frame is in use until
// finish returns.
type begun interface {
	// waits tells whether finish will have to wait.
	waits() bool
	finish(ctx context.Context) (kmsg.Response, error)
}

// request is one request on its way. All it points to is valid until it has been
// answered.
type request struct {
	*api
	conn        *conn
	version     int16
	correlation int32
	clientID    string
	unsupported bool         // of ApiVersions: the version asked for is not known
	last        bool         // the connection ends after the answer
	body        kmsg.Request // aliases frame
	frame       []byte
	decoded     int64 // bytes that body takes up beside the frame
	received    time.Time
	begun       begun // ahead of its turn; nil: not yet
}

// newAPIs is the protocol's table, by key. A file each, named after key and API.
func newAPIs() map[int16]*api {
	table := map[int16]*api{}
	for _, a := range []api{
		produceAPI,
		fetchAPI,
		listOffsetsAPI,
		metadataAPI,
		offsetCommitAPI,
		offsetFetchAPI,
		findCoordinatorAPI,
		joinGroupAPI,
		heartbeatAPI,
		leaveGroupAPI,
		syncGroupAPI,
		saslHandshakeAPI,
		describeGroupsAPI,
		listGroupsAPI,
		apiVersionsAPI,
		createTopicsAPI,
		deleteTopicsAPI,
		deleteRecordsAPI,
		initProducerIDAPI,
		offsetForLeaderEpochAPI,
		addPartitionsToTxnAPI,
		addOffsetsToTxnAPI,
		endTxnAPI,
		writeTxnMarkersAPI,
		txnOffsetCommitAPI,
		describeACLsAPI,
		createACLsAPI,
		deleteACLsAPI,
		describeConfigsAPI,
		deleteGroupsAPI,
		offsetDeleteAPI,
		alterConfigsAPI,
		alterReplicaLogDirsAPI, describeLogDirsAPI,
		saslAuthenticateAPI,
		createPartitionsAPI,
		electLeadersAPI,
		incrementalAlterConfigsAPI,
		alterPartitionAssignmentsAPI,
		listPartitionReassignmentsAPI,
		describeClientQuotasAPI,
		alterClientQuotasAPI,
		describeUserSCRAMCredentialsAPI,
		alterUserSCRAMCredentialsAPI,
		describeQuorumAPI,
		describeClusterAPI,
		describeProducersAPI,
		describeTransactionsAPI,
		listTransactionsAPI,
		consumerGroupHeartbeatAPI,
		consumerGroupDescribeAPI,
		listConfigResourcesAPI,
		describeTopicPartitionsAPI,
	} {
		for version := a.min; version <= a.max; version++ {
			a.shapes = append(a.shapes, shapeOf(a.key, version))
		}
		table[int16(a.key)] = &a
	}
	return table
}
