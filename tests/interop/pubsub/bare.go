package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Constants of op-node.
const (
	maxGossipSize = 10 << 20
	heartbeat     = 500 * time.Millisecond
	queue         = 256
	throttle      = 512
	validations   = 4
	waiting       = 32
)

// inspection is the interval at which scores are read. op-node's 15 s would only make tests wait.
const inspection = 100 * time.Millisecond

// startParams are the settings of a host. The configuration and the flags are op-node's; those that
// do not apply to a bare host are ignored.
type startParams struct {
	Args   []string `json:"args"`
	Rollup struct {
		L2ChainID uint64 `json:"l2_chain_id"`
		BlockTime uint64 `json:"block_time"`
	} `json:"rollup"`
	// Signer is the signer whose blocks are accepted.
	Signer hexBytes `json:"signer"`
	// Key signs the host's blocks, if it publishes.
	Key hexBytes `json:"key"`
	// Topics are the versions of blocks, from 0, to whose topics the host subscribes: all, if this is
	// absent.
	Topics []int `json:"topics"`
}

// bare is one host.
type bare struct {
	number  int
	host    host.Host
	chain   uint64
	signer  []byte
	key     *secp256k1.PrivateKey
	age     time.Duration
	topics  map[int]*pubsub.Topic
	ears    *ears
	seen    sync.Map
	emit    func(any)
	stop    context.CancelFunc
	lock    sync.Mutex
	looks   int
	opinion map[peer.ID]*pubsub.PeerScoreSnapshot
}

func start(parent context.Context, number int, asked *startParams, emit func(any)) (*bare, error) {
	mesh := pubsub.DefaultGossipSubParams()
	mesh.D, mesh.Dlo, mesh.Dhi, mesh.Dlazy = 8, 6, 12, 6
	mesh.HeartbeatInterval, mesh.FanoutTTL = heartbeat, 24*time.Second
	mesh.HistoryLength, mesh.HistoryGossip = 12, 3
	age := 60 * time.Second
	flags := flag.NewFlagSet("op-node", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.IntVar(&mesh.D, "p2p.gossip.mesh.d", mesh.D, "")
	flags.IntVar(&mesh.Dlo, "p2p.gossip.mesh.lo", mesh.Dlo, "")
	flags.IntVar(&mesh.Dhi, "p2p.gossip.mesh.dhi", mesh.Dhi, "")
	flags.IntVar(&mesh.Dlazy, "p2p.gossip.mesh.dlazy", mesh.Dlazy, "")
	flags.DurationVar(&age, "p2p.gossip.timestamp.threshold", age, "")
	// A bare host never serves blocks.
	_ = flags.Bool("p2p.sync.req-resp", false, "")
	if err := flags.Parse(asked.Args); err != nil {
		return nil, err
	}

	ctx, stop := context.WithCancel(parent)
	listening, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableRelay())
	if err != nil {
		stop()
		return nil, err
	}
	b := &bare{
		number: number, host: listening, chain: asked.Rollup.L2ChainID, signer: asked.Signer, age: age,
		topics: map[int]*pubsub.Topic{}, ears: newEars(), emit: emit, stop: stop,
	}
	if len(asked.Key) > 0 {
		b.key = secp256k1.PrivKeyFromBytes(asked.Key)
	}
	if err := b.join(ctx, mesh, asked); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

func (b *bare) close() error {
	b.stop()
	return b.host.Close()
}

// join starts gossip and subscribes to the topics.
func (b *bare) join(ctx context.Context, mesh pubsub.GossipSubParams, asked *startParams) error {
	all := []string{b.topic(0), b.topic(1), b.topic(2), b.topic(3)}
	// op-node's "light" scores. They show whether the library objects to anything that ours does.
	slot := time.Duration(max(asked.Rollup.BlockTime, 1)) * time.Second
	scores := &pubsub.PeerScoreParams{
		AppSpecificScore: func(peer.ID) float64 { return 0 }, AppSpecificWeight: 1,
		IPColocationFactorWeight: -35, IPColocationFactorThreshold: 10,
		BehaviourPenaltyWeight: -16, BehaviourPenaltyThreshold: 6, BehaviourPenaltyDecay: math.Pow(0.01, 1.0/60),
		DecayInterval: slot, DecayToZero: 0.01, RetainScore: 600 * slot,
	}
	thresholds := &pubsub.PeerScoreThresholds{
		GossipThreshold: -10, PublishThreshold: -40, GraylistThreshold: -40, AcceptPXThreshold: 20,
		OpportunisticGraftThreshold: 0.05,
	}
	gossip, err := pubsub.NewGossipSub(ctx, b.host,
		pubsub.WithMaxMessageSize(maxGossipSize), pubsub.WithMessageIdFn(messageID), pubsub.WithNoAuthor(),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(all...)),
		pubsub.WithValidateQueueSize(queue), pubsub.WithPeerOutboundQueueSize(queue),
		pubsub.WithValidateThrottle(throttle), pubsub.WithSeenMessagesTTL(130*heartbeat),
		pubsub.WithPeerExchange(false), pubsub.WithFloodPublish(false), pubsub.WithGossipSubParams(mesh),
		pubsub.WithRawTracer(b.ears), pubsub.WithPeerScore(scores, thresholds),
		pubsub.WithPeerScoreInspect(b.look, inspection))
	if err != nil {
		return err
	}
	for version, name := range all {
		if asked.Topics != nil && !slices.Contains(asked.Topics, version) {
			continue
		}
		judge := func(_ context.Context, _ peer.ID, message *pubsub.Message) pubsub.ValidationResult {
			return b.judge(version, message)
		}
		err := gossip.RegisterTopicValidator(name, judge, pubsub.WithValidatorConcurrency(validations),
			pubsub.WithValidatorTimeout(3*time.Second))
		if err != nil {
			return err
		}
		if b.topics[version], err = gossip.Join(name); err != nil {
			return err
		}
		subscription, err := b.topics[version].Subscribe(pubsub.WithBufferSize(waiting))
		if err != nil {
			return err
		}
		go b.take(ctx, subscription)
	}
	return nil
}

func (b *bare) topic(version int) string {
	return fmt.Sprintf("/optimism/%d/%d/blocks", b.chain, version)
}

// take reports the accepted blocks.
func (b *bare) take(ctx context.Context, subscription *pubsub.Subscription) {
	for {
		message, err := subscription.Next(ctx)
		if err != nil {
			return
		}
		header, is := message.ValidatorData.(*header)
		if !is || message.ReceivedFrom == b.host.ID() {
			continue
		}
		b.emit(map[string]any{
			"event": "block", "node": b.number, "from": message.ReceivedFrom.String(), "at": time.Now().UnixNano(),
			"number": header.number, "hash": "0x" + header.hash,
		})
	}
}

func (b *bare) publish(ctx context.Context, block *block) (any, error) {
	topic, joined := b.topics[block.Version]
	if !joined {
		return nil, fmt.Errorf("the host is not on the topic of version %d", block.Version)
	}
	if b.key == nil {
		return nil, errors.New("the host has no key to sign with")
	}
	header, err := read(block.Version, block.SSZ)
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if err := topic.Publish(ctx, sign(b.key, b.chain, block.SSZ)); err != nil {
		return nil, err
	}
	return map[string]any{"at": at.UnixNano(), "hash": "0x" + header.hash}, nil
}

// look records the library's score of each peer.
func (b *bare) look(opinion map[peer.ID]*pubsub.PeerScoreSnapshot) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.looks++
	b.opinion = opinion
}

// scores returns the library's scores of a peer, as op-node would: from a reading that begins after
// the call.
func (b *bare) scores(ctx context.Context, id peer.ID) (any, error) {
	state := func() (int, *pubsub.PeerScoreSnapshot) {
		b.lock.Lock()
		defer b.lock.Unlock()
		return b.looks, b.opinion[id]
	}
	// The next reading may have begun before the call, the one after it has not.
	first, _ := state()
	for {
		looks, opinion := state()
		if looks >= first+2 {
			if opinion == nil {
				// op-node has a score for every peer, which is 0 for those that it never met.
				opinion = &pubsub.PeerScoreSnapshot{}
			}
			none := map[string]float64{"validResponses": 0, "errorResponses": 0, "rejectedPayloads": 0}
			return map[string]any{"total": opinion.Score, "scores": map[string]any{
				"gossip": map[string]float64{"behavioralPenalty": opinion.BehaviourPenalty}, "reqResp": none,
			}}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(inspection / 4):
		}
	}
}
