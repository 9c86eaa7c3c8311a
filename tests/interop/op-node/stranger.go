package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	tls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
)

// stranger is a bare go-libp2p host that sends messages that no honest node would: its gossip goes
// out unchecked.
type stranger struct {
	host   host.Host
	gossip *pubsub.PubSub
	topics map[string]*pubsub.Topic
}

// stranger starts a host that only speaks the given security and multiplexers, in that order.
func (w *world) stranger(_ context.Context, params struct {
	Rollup   *rollup.Config `json:"rollup"`
	Security []string       `json:"security"`
	Mux      []string       `json:"mux"`
	Topics   []string       `json:"topics"`
}) (any, error) {
	options := []libp2p.Option{
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay(), libp2p.Transport(tcp.NewTCPTransport),
	}
	for _, name := range params.Security {
		switch name {
		case "noise":
			options = append(options, libp2p.Security(noise.ID, noise.New))
		case "tls":
			options = append(options, libp2p.Security(tls.ID, tls.New))
		default:
			return nil, fmt.Errorf("there is no security %q", name)
		}
	}
	for _, name := range params.Mux {
		switch name {
		case "yamux":
			options = append(options, libp2p.Muxer(yamux.ID, yamux.DefaultTransport))
		case "mplex":
			options = append(options, p2p.MplexC())
		default:
			return nil, fmt.Errorf("there is no multiplexer %q", name)
		}
	}
	host, err := libp2p.New(options...)
	if err != nil {
		return nil, err
	}
	stranger := &stranger{host: host, topics: map[string]*pubsub.Topic{}}
	if len(params.Topics) > 0 {
		stranger.gossip, err = pubsub.NewGossipSub(w.ctx, host,
			pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
			pubsub.WithMessageIdFn(p2p.BuildMsgIdFn(params.Rollup)), pubsub.WithMaxMessageSize(64<<20),
			pubsub.WithFloodPublish(true))
		if err != nil {
			return nil, err
		}
		for _, name := range params.Topics {
			topic, err := stranger.gossip.Join(name)
			if err != nil {
				return nil, err
			}
			subscription, err := topic.Subscribe()
			if err != nil {
				return nil, err
			}
			go func() {
				for {
					if _, err := subscription.Next(w.ctx); err != nil {
						return
					}
				}
			}()
			stranger.topics[name] = topic
		}
	}
	number := w.next()
	w.lock.Lock()
	defer w.lock.Unlock()
	w.strangers[number] = stranger
	told := &started{Node: number, PeerID: host.ID().String()}
	for _, address := range host.Addrs() {
		told.Addresses = append(told.Addresses, fmt.Sprintf("%s/p2p/%s", address, host.ID()))
	}
	return told, nil
}

func (w *world) strangerOf(number int) (*stranger, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if stranger, runs := w.strangers[number]; runs {
		return stranger, nil
	}
	return nil, fmt.Errorf("no stranger %d runs", number)
}

func (w *world) strangerConnect(ctx context.Context, params toAddress) (any, error) {
	stranger, err := w.strangerOf(params.Node)
	if err != nil {
		return nil, err
	}
	info, err := addressed(params.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return nil, stranger.host.Connect(ctx, *info)
}

// strangerSend publishes raw bytes, once a subscriber is known.
func (w *world) strangerSend(ctx context.Context, params struct {
	Node  int      `json:"node"`
	Topic string   `json:"topic"`
	Data  hexBytes `json:"data"`
}) (any, error) {
	stranger, err := w.strangerOf(params.Node)
	if err != nil {
		return nil, err
	}
	topic, joined := stranger.topics[params.Topic]
	if !joined {
		return nil, fmt.Errorf("the stranger is not on topic %q", params.Topic)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	// Any peer on the topic is enough: the library's own readiness check requires the mesh, which may
	// be full.
	for len(topic.ListPeers()) == 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, topic.Publish(ctx, params.Data)
}

// answered is the result of one request.
type answered struct {
	Bytes hexBytes `json:"bytes"`
	// Refused is the reason why there was no stream, or how it broke.
	Refused string `json:"refused,omitempty"`
	// Nanoseconds is the time from the first request's start to the end of this answer.
	Nanoseconds int64 `json:"nanoseconds"`
}

// strangerAsk opens this many streams of a protocol at once, sends the same on each, and returns
// the answers in the order of arrival.
func (w *world) strangerAsk(ctx context.Context, params struct {
	Node     int         `json:"node"`
	Peer     peer.ID     `json:"peer"`
	Protocol protocol.ID `json:"protocol"`
	Data     hexBytes    `json:"data"`
	// Open leaves our side of the stream open: the peer can't know that no more data follows.
	Open  bool `json:"open"`
	Times int  `json:"times"`
}) (any, error) {
	stranger, err := w.strangerOf(params.Node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ask := func() ([]byte, error) {
		stream, err := stranger.host.NewStream(ctx, params.Peer, params.Protocol)
		if err != nil {
			return nil, err
		}
		defer stream.Close()
		_ = stream.SetDeadline(time.Now().Add(15 * time.Second))
		if _, err := stream.Write(params.Data); err != nil {
			return nil, err
		}
		if !params.Open {
			if err := stream.CloseWrite(); err != nil {
				return nil, err
			}
		}
		return io.ReadAll(stream)
	}
	answers := make(chan answered)
	started := time.Now()
	for range params.Times {
		go func() {
			told := answered{}
			var err error
			if told.Bytes, err = ask(); err != nil {
				told.Refused = err.Error()
			}
			told.Nanoseconds = time.Since(started).Nanoseconds()
			answers <- told
		}()
	}
	all := make([]answered, 0, params.Times)
	for range params.Times {
		all = append(all, <-answers)
	}
	return all, nil
}

func (w *world) strangerStop(_ context.Context, params ofNode) (any, error) {
	stranger, err := w.strangerOf(params.Node)
	if err != nil {
		return nil, err
	}
	w.lock.Lock()
	delete(w.strangers, params.Node)
	w.lock.Unlock()
	return nil, stranger.host.Close()
}
