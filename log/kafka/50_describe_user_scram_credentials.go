package kafka

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials tells by which kinds of SCRAM users prove who they
// are, and nothing that would help to do so.
var describeUserSCRAMCredentialsAPI = api{key: kmsg.DescribeUserSCRAMCredentials, min: 0, max: 0, handle: (*Server).describeUserSCRAMCredentials}

// scramNumbers are Kafka's numbers for mechanisms.
var scramNumbers = map[int8]string{1: ScramSHA256, 2: ScramSHA512}

func (s *Server) describeUserSCRAMCredentials(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if err := r.cluster(toDescribe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	known := map[string]User{}
	for _, u := range s.access.Users() {
		known[u.Name] = u
	}
	asked := map[string]int{}
	for _, u := range req.Users {
		asked[u.Name]++
	}
	if len(req.Users) == 0 { // null or none: all
		for name := range known {
			asked[name] = 1
		}
	}
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		out := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		out.User = name
		u, is := known[name]
		switch {
		case asked[name] > 1:
			out.ErrorCode, out.ErrorMessage = answerError(problemf(kerr.DuplicateResource, "user %q is named more than once", name))
		case !is:
			out.ErrorCode, out.ErrorMessage = answerError(problemf(kerr.ResourceNotFound, "there is no user %q", name))
		}
		for number := int8(1); out.ErrorCode == 0 && int(number) <= len(scramNumbers); number++ {
			if iterations, has := u.Mechanisms[scramNumbers[number]]; has {
				info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
				info.Mechanism, info.Iterations = number, int32(iterations)
				out.CredentialInfos = append(out.CredentialInfos, info)
			}
		}
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}
