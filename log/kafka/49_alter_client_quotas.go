package kafka

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterClientQuotas sets and removes quotas; all that are as they should be are
// set together. Version 1 is flexible.
var alterClientQuotasAPI = api{key: kmsg.AlterClientQuotas, min: 0, max: 1, handle: (*Server).alterClientQuotas}

func (s *Server) alterClientQuotas(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	refused := r.cluster(toAlterConfigs)
	errs := make([]error, len(req.Entries))
	var all []fact
	for i := range req.Entries {
		facts, err := quotaFacts(&req.Entries[i])
		if refused != nil {
			err = refused
		}
		if errs[i] = err; err == nil {
			all = append(all, facts...)
		}
	}
	var failed error
	if !req.ValidateOnly && refused == nil {
		failed = s.access.write(ctx, all)
	}
	for i := range req.Entries {
		err := errs[i]
		if err == nil {
			err = failed
		}
		out := kmsg.NewAlterClientQuotasResponseEntry()
		out.ErrorCode, out.ErrorMessage = answerError(err)
		for _, e := range req.Entries[i].Entity {
			out.Entity = append(out.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: e.Type, Name: e.Name})
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp, nil
}

// quotaFacts are the records that an entry comes to.
func quotaFacts(entry *kmsg.AlterClientQuotasRequestEntry) ([]fact, error) {
	var entities []quotaEntity
	for _, e := range entry.Entity {
		q := quotaEntity{kind: e.Type, isDefault: e.Name == nil}
		if e.Name != nil {
			q.name = *e.Name
		}
		switch {
		case e.Type != "user" && e.Type != "client-id":
			return nil, problemf(kerr.InvalidRequest, "quota for a %q, want user or client-id", e.Type)
		case e.Name != nil && (*e.Name == "" || strings.Contains(*e.Name, "\x00")):
			return nil, problemf(kerr.InvalidRequest, "quota for the %s %q, want a name, or null for the default", e.Type, *e.Name)
		case slices.ContainsFunc(entities, func(o quotaEntity) bool { return o.kind == e.Type }):
			return nil, problemf(kerr.InvalidRequest, "quota for more than one %s", e.Type)
		}
		entities = append(entities, q)
	}
	if len(entities) == 0 {
		return nil, problemf(kerr.InvalidRequest, "quota for nobody, want user or client-id")
	}
	var facts []fact
	for _, op := range entry.Ops {
		switch {
		case !slices.Contains(quotaLimits, op.Key):
			return nil, problemf(kerr.InvalidRequest, "quota %q is not kept here, want %s", op.Key, strings.Join(quotaLimits, " or "))
		case !op.Remove && (!(op.Value > 0) || math.IsInf(op.Value, 0)):
			return nil, problemf(kerr.InvalidRequest, "quota %s of %g, want more than 0", op.Key, op.Value)
		case slices.ContainsFunc(facts, func(f fact) bool { return f.key[1] == op.Key }):
			return nil, problemf(kerr.InvalidRequest, "quota %s is named more than once", op.Key)
		}
		f := fact{key: append([]string{"quota", op.Key}, strings.Split(entityKey(entities), "\x00")...)}
		if !op.Remove {
			f.value = map[string]float64{"value": op.Value}
		}
		facts = append(facts, f)
	}
	return facts, nil
}
