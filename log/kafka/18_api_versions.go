package kafka

import (
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions tells which APIs are served, in which versions. Version 4 differs
// from 3 in the features only, of which there are none.
//
// A version that is not known is answered in version 0 with
// UNSUPPORTED_VERSION and the whole list, so that the client can ask again
// (KIP-511; conn.go falls back). The answer's header never has tags.
var apiVersionsAPI = api{key: kmsg.ApiVersions, min: 0, max: 4, open: true, handle: (*Server).apiVersions}

// clientSoftware is what a client may call itself and its version.
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (s *Server) apiVersions(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ApiVersionsRequest)
	resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
	if r.unsupported {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
	} else if req.Version >= 3 && !(clientSoftware.MatchString(req.ClientSoftwareName) && clientSoftware.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp, nil
	}
	for _, key := range slices.Sorted(maps.Keys(s.apis)) {
		a := s.apis[key]
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = key, a.min, a.max
		if a.listsZero {
			k.MinVersion = 0
		}
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	if req.Version >= 3 && !r.unsupported {
		// Producers may leave out AddPartitionsToTxn, and get a new epoch with
		// every transaction (KIP-890).
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MaxVersion = "transaction.version", txnVersion
		resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
		finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
		finalized.Name, finalized.MaxVersionLevel, finalized.MinVersionLevel = "transaction.version", txnVersion, txnVersion
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalized)
		resp.FinalizedFeaturesEpoch = 0
	}
	return resp, nil
}
