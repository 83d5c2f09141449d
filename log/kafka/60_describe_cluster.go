package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster tells who the cluster is and which brokers it has: this one.
// Version 1 tells endpoints of brokers from those of controllers, which have
// none here; version 2 has fenced brokers.
var describeClusterAPI = api{key: kmsg.DescribeCluster, min: 0, max: 2, handle: (*Server).describeCluster}

const endpointBrokers = 1 // DescribeCluster's EndpointType

func (s *Server) describeCluster(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.EndpointType = endpointBrokers
	host, port, err := s.advertisedTo(r.conn)
	if err != nil {
		return nil, err
	}
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		resp.ErrorCode, resp.ErrorMessage = answerError(problemf(kerr.MismatchedEndpointType, "endpoint type %d, want %d: this is a broker", req.EndpointType, endpointBrokers))
		return resp, nil
	}
	if req.IncludeClusterAuthorizedOperations {
		resp.ClusterAuthorizedOperations = r.operations(kmsg.ACLResourceTypeCluster, ClusterName)
	}
	resp.ClusterID, resp.ControllerID = s.opts.Log.ClusterID(), s.opts.NodeID
	b := kmsg.NewDescribeClusterResponseBroker()
	b.NodeID, b.Host, b.Port = s.opts.NodeID, host, port
	resp.Brokers = append(resp.Brokers, b)
	return resp, nil
}
