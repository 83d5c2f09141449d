package operators

import "time"

// Input tunes how a topic is read. The zero value is useful.
type Input struct {
	OutOfOrder  time.Duration // how far behind the largest event time the watermark stays. Default: 0.
	Idle        IdlePolicy    // Default: SkipAfter(30 s).
	FutureBound time.Duration // records further ahead of the clock become dead letters. Default: 1 h. Off (-1): no bound.
	MaxWait     time.Duration // how long to wait for this input when another has later records. Default: 0.
	Priority    int           // higher ones are read first. Default: 0.
	Bootstrap   bool          // read to the end captured at the start before the others
	OnError     OnError       // of records that cannot be decoded or whose function fails. Default: DeadLetter.
	OnGap       OnGap         // when records past the checkpoint are gone. Default: StopOnGap.
	Partitioner Partitioner   // how the writers of the topic partition by key. Default: Java's murmur2.
}

// Off switches a bound off.
const Off time.Duration = -1

// IdlePolicy says when an input stops holding the watermark back.
type IdlePolicy struct {
	Kind  IdleKind
	After time.Duration
}

// IdleKind is the kind of an IdlePolicy.
type IdleKind uint8

const (
	idleDefault IdleKind = iota // SkipAfter(30 s)
	IdleHold                    // the input always counts
	IdleSkip                    // does not count after standing at its end for After
	IdleFollow                  // after standing at its end for After, moves with the wall clock
)

// Hold keeps an input in the watermark's minimum for ever.
func Hold() IdlePolicy { return IdlePolicy{Kind: IdleHold} }

// SkipAfter takes an input out of the minimum after it stood at its end for d.
func SkipAfter(d time.Duration) IdlePolicy { return IdlePolicy{Kind: IdleSkip, After: d} }

// FollowClock moves an input's watermark with the wall clock after it stood at
// its end for d.
func FollowClock(d time.Duration) IdlePolicy { return IdlePolicy{Kind: IdleFollow, After: d} }

// OnError says what becomes of a record that cannot be handled.
type OnError uint8

const (
	ToDeadLetters OnError = iota
	Stop
)

// OnGap says what to do when an input's start offset has passed the checkpoint.
type OnGap uint8

const (
	StopOnGap OnGap = iota
	Continue
)

// Partitioner says how a topic's writers choose a partition by key.
type Partitioner uint8

const (
	Murmur2        Partitioner = iota // (murmur2(key) & 0x7fffffff) mod n
	AnyPartitioner                    // not checked: equal keys are known to meet all the same
)
