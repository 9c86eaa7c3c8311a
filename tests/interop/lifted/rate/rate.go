// Package rate stands in for the library of the same name where op-node's limits are to be lifted for a measurement:
// op-node keeps them in constants. Nothing ever waits.
package rate

import (
	"context"
	"math"
	"time"
)

// Limit is a rate that nobody keeps to.
type Limit float64

// Inf is no limit, as all others are.
const Inf = Limit(math.MaxFloat64)

// Every is the rate of one event in this time.
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

// NewLimiter makes one that remembers what it was to keep to.
func NewLimiter(limit Limit, burst int) *Limiter { return &Limiter{limit, burst} }

// Limit is what it was to keep to.
func (l *Limiter) Limit() Limit { return l.limit }

// Burst is what it was to let through at once.
func (l *Limiter) Burst() int { return l.burst }

// Tokens is always a full bucket.
func (l *Limiter) Tokens() float64 { return float64(l.burst) }

// Allow is always true.
func (l *Limiter) Allow() bool { return true }

// AllowN is always true.
func (l *Limiter) AllowN(time.Time, int) bool { return true }

// Wait doesn't.
func (l *Limiter) Wait(ctx context.Context) error { return ctx.Err() }

// WaitN doesn't.
func (l *Limiter) WaitN(ctx context.Context, _ int) error { return ctx.Err() }

// Reserve is granted at once.
func (l *Limiter) Reserve() *Reservation { return &Reservation{} }

// ReserveN is granted at once.
func (l *Limiter) ReserveN(time.Time, int) *Reservation { return &Reservation{} }

// Reservation is a permit.
type Reservation struct{}

// OK is always true.
func (r *Reservation) OK() bool { return true }

// Delay is always none.
func (r *Reservation) Delay() time.Duration { return 0 }

// Cancel gives nothing back.
func (r *Reservation) Cancel() {}
