package main

import (
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// ears records the events of a host's gossip: its own verdict on each message, and the control
// messages that it receives.
type ears struct {
	lock sync.Mutex
	// verdicts counts the results of messages, by peer and word.
	verdicts map[string]map[string]int
	// received counts control messages, by peer and kind.
	received map[string]map[string]int
	// sent counts the sent ones.
	sent map[string]map[string]int
	// mesh holds the peers in each topic's mesh.
	mesh map[string]map[string]bool
}

func newEars() *ears {
	return &ears{
		verdicts: map[string]map[string]int{}, received: map[string]map[string]int{},
		sent: map[string]map[string]int{}, mesh: map[string]map[string]bool{},
	}
}

func count(counts map[string]map[string]int, peer, word string, more int) {
	if more == 0 {
		return
	}
	if counts[peer] == nil {
		counts[peer] = map[string]int{}
	}
	counts[peer][word] += more
}

// heard is a copy of all records, for an answer.
func (e *ears) heard() map[string]any {
	e.lock.Lock()
	defer e.lock.Unlock()
	copied := func(counts map[string]map[string]int) map[string]map[string]int {
		all := map[string]map[string]int{}
		for peer, words := range counts {
			all[peer] = map[string]int{}
			for word, number := range words {
				all[peer][word] = number
			}
		}
		return all
	}
	mesh := map[string][]string{}
	for topic, peers := range e.mesh {
		mesh[topic] = []string{}
		for peer := range peers {
			mesh[topic] = append(mesh[topic], peer)
		}
	}
	return map[string]any{
		"verdicts": copied(e.verdicts), "received": copied(e.received), "sent": copied(e.sent), "mesh": mesh,
	}
}

func (e *ears) verdict(message *pubsub.Message, word string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	count(e.verdicts, message.ReceivedFrom.String(), word, 1)
}

func (e *ears) control(counts map[string]map[string]int, rpc *pubsub.RPC, peer peer.ID) {
	e.lock.Lock()
	defer e.lock.Unlock()
	name := peer.String()
	count(counts, name, "message", len(rpc.GetPublish()))
	control := rpc.GetControl()
	count(counts, name, "ihave", len(control.GetIhave()))
	count(counts, name, "iwant", len(control.GetIwant()))
	count(counts, name, "graft", len(control.GetGraft()))
	count(counts, name, "prune", len(control.GetPrune()))
	count(counts, name, "idontwant", len(control.GetIdontwant()))
}

func (e *ears) Graft(p peer.ID, topic string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	if e.mesh[topic] == nil {
		e.mesh[topic] = map[string]bool{}
	}
	e.mesh[topic][p.String()] = true
}

func (e *ears) Prune(p peer.ID, topic string) {
	e.lock.Lock()
	defer e.lock.Unlock()
	delete(e.mesh[topic], p.String())
}

func (e *ears) OnClosedOutboundStream(p peer.ID) {
	e.lock.Lock()
	defer e.lock.Unlock()
	for _, peers := range e.mesh {
		delete(peers, p.String())
	}
}

func (e *ears) DeliverMessage(message *pubsub.Message)               { e.verdict(message, "delivered") }
func (e *ears) RejectMessage(message *pubsub.Message, reason string) { e.verdict(message, reason) }
func (e *ears) DuplicateMessage(message *pubsub.Message)             { e.verdict(message, "duplicate") }
func (e *ears) UndeliverableMessage(message *pubsub.Message)         { e.verdict(message, "undeliverable") }
func (e *ears) SendRPC(rpc *pubsub.RPC, p peer.ID)                   { e.control(e.sent, rpc, p) }
func (e *ears) DropRPC(_ *pubsub.RPC, p peer.ID)                     { e.dropped(p) }
func (e *ears) RecvRPC(rpc *pubsub.RPC)                              { e.control(e.received, rpc, rpc.From()) }
func (e *ears) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (e *ears) Join(string)                                          {}
func (e *ears) Leave(string)                                         {}
func (e *ears) ValidateMessage(*pubsub.Message)                      {}
func (e *ears) ThrottlePeer(peer.ID)                                 {}

func (e *ears) dropped(p peer.ID) {
	e.lock.Lock()
	defer e.lock.Unlock()
	count(e.sent, p.String(), "dropped", 1)
}
