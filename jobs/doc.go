// Package jobs says what a job is and how it is cut into tasks. It decides and
// computes; package engine runs what it decided.
//
// A Job is a name, a graph of operators and options. A Plan (New) is how that
// graph runs on one log:
//
//	page-views ──► stage "source", one task per partition of its inputs
//	                   │ topic <job>.<generation>.views-by-page.repartition
//	                   ▼
//	               stage "views-by-page", one task per partition of that topic
//	                   │ store "views-per-page" ──► its changelog topic
//	                   ▼
//	               page-view-counts
//
// The graph is cut into stages wherever records are partitioned anew. A stage
// runs as tasks named "<stage>-<partition>"; task p reads partition p of each of
// the stage's inputs. Inputs that are brought together by key must therefore
// have equal partition counts, which New checks.
//
// A generation is one life of a job's state, from its first offset on. It stands
// in the name of everything the job keeps for itself, so that the next life
// starts with nothing and the last one can be thrown away whole:
//
//	<job>.<generation>.<store>.changelog     compacted, one partition per task
//	<job>.<generation>.<step>.repartition    purged behind its readers
//	<job>.<generation>.checkpoint            compacted, one partition
//	<job>.dead-letters                       for all generations, so without one
//
// Settings, generation and plan of each job are one record in the compacted
// topic grete.jobs, keyed by the job's name (Deployment). A deploy whose plan
// would lose or mix up state is refused with the reasons (Compatible).
//
// A Checkpoint is where a task starts again: it is written in each of the task's
// commits, so it is true exactly when the rest of the commit is.
package jobs
