// Package rate replaces the library of the same name, to lift op-node's limits for a measurement:
// op-node has them as constants. No call ever waits.
package rate

import (
	"context"
	"math"
	"time"
)

// Limit is a rate that is not enforced.
type Limit float64

// Inf is no limit, like all others here.
const Inf = Limit(math.MaxFloat64)

// Every returns the rate of one event in this time.
func Every(interval time.Duration) Limit {
	if interval <= 0 {
		return Inf
	}
	return Limit(1 / interval.Seconds())
}

// Limiter lets everything through.
type Limiter struct {
	limit Limit
	burst int
}

// NewLimiter makes a limiter that remembers its nominal limits.
func NewLimiter(limit Limit, burst int) *Limiter { return &Limiter{limit, burst} }

// Limit returns the nominal rate.
func (l *Limiter) Limit() Limit { return l.limit }

// Burst returns the nominal burst.
func (l *Limiter) Burst() int { return l.burst }

// Tokens always returns a full bucket.
func (l *Limiter) Tokens() float64 { return float64(l.burst) }

// Allow always returns true.
func (l *Limiter) Allow() bool { return true }

// AllowN always returns true.
func (l *Limiter) AllowN(time.Time, int) bool { return true }

// Wait returns at once.
func (l *Limiter) Wait(ctx context.Context) error { return ctx.Err() }

// WaitN returns at once.
func (l *Limiter) WaitN(ctx context.Context, _ int) error { return ctx.Err() }

// Reserve returns a permit that is granted at once.
func (l *Limiter) Reserve() *Reservation { return &Reservation{} }

// ReserveN returns a permit that is granted at once.
func (l *Limiter) ReserveN(time.Time, int) *Reservation { return &Reservation{} }

// Reservation is a permit.
type Reservation struct{}

// OK always returns true.
func (r *Reservation) OK() bool { return true }

// Delay always returns zero.
func (r *Reservation) Delay() time.Duration { return 0 }

// Cancel does nothing.
func (r *Reservation) Cancel() {}
