package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/p2p/store"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	opsigner "github.com/ethereum-optimism/optimism/op-service/signer"
	"github.com/ethereum/go-ethereum/common"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"
)

// world is everything that runs in this process, by number.
type world struct {
	ctx       context.Context
	emit      func(any)
	lock      sync.Mutex
	last      int
	nodes     map[int]*node
	strangers map[int]*stranger
}

func newWorld(ctx context.Context, emit func(any)) *world {
	return &world{ctx: ctx, emit: emit, nodes: map[int]*node{}, strangers: map[int]*stranger{}}
}

func (w *world) close() {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, node := range w.nodes {
		node.close()
	}
	for _, stranger := range w.strangers {
		_ = stranger.host.Close()
	}
}

func (w *world) next() int {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.last++
	return w.last
}

func (w *world) node(number int) (*node, error) {
	w.lock.Lock()
	defer w.lock.Unlock()
	if node, runs := w.nodes[number]; runs {
		return node, nil
	}
	return nil, fmt.Errorf("no node %d runs", number)
}

// methods are the calls of the world.
func (w *world) methods() map[string]method {
	return map[string]method{
		"start":      as(w.start),
		"stop":       as(w.stop),
		"connect":    as(w.connect),
		"disconnect": as(w.disconnect),
		"connected":  as(w.connected),
		"publish":    as(w.publish),
		"hold":       as(w.hold),
		"holds":      as(w.holds),
		"request":    as(w.request),
		"heard":      as(w.heard),
		"scores":     as(w.scores),
		"identified": as(w.identified),
		"ping":       as(w.ping),
		"ban":        as(w.ban),
		"quiet":      as(w.quiet),

		"stranger":         as(w.stranger),
		"stranger_connect": as(w.strangerConnect),
		"stranger_send":    as(w.strangerSend),
		"stranger_ask":     as(w.strangerAsk),
		"stranger_stop":    as(w.strangerStop),

		"judge":         as(judge),
		"time_judgment": as(timeJudgment),
		"decode":        as(decode),
		"make_payloads": as(makePayloads),

		"rpc_client": as(rpcClient),
		"read_enr":   as(readENR),
	}
}

type ofNode struct {
	Node int `json:"node"`
}

type ofPeer struct {
	Node int     `json:"node"`
	Peer peer.ID `json:"peer"`
}

type toAddress struct {
	Node    int    `json:"node"`
	Address string `json:"address"`
}

func (w *world) start(_ context.Context, params startParams) (any, error) {
	node, told, err := start(w.ctx, w.next(), params, w.emit)
	if err != nil {
		return nil, err
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	w.nodes[node.number] = node
	return told, nil
}

func (w *world) stop(_ context.Context, params ofNode) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	w.lock.Lock()
	delete(w.nodes, params.Node)
	w.lock.Unlock()
	node.close()
	return nil, nil
}

// connect dials an address that ends with the peer's id, and waits until both have identified each
// other.
func (w *world) connect(ctx context.Context, params toAddress) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	info, err := addressed(params.Address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return nil, node.Host().Connect(ctx, *info)
}

func addressed(address string) (*peer.AddrInfo, error) {
	parsed, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return nil, err
	}
	return peer.AddrInfoFromP2pAddr(parsed)
}

func (w *world) disconnect(_ context.Context, params ofPeer) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	return nil, node.Host().Network().ClosePeer(params.Peer)
}

// connected returns whether there is a connection with the peer.
func (w *world) connected(_ context.Context, params ofPeer) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	return node.Host().Network().Connectedness(params.Peer) == network.Connected, nil
}

// encoded is a block as SSZ: only the payload up to version 1, with the parent beacon block root
// before it from 2.
type encoded struct {
	Version int      `json:"version"`
	SSZ     hexBytes `json:"ssz"`
}

// hexBytes are hexadecimal digits without a prefix.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func (h hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h)), nil }

func (w *world) publish(ctx context.Context, params struct {
	Node  int     `json:"node"`
	Block encoded `json:"block"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	if node.key == nil {
		return nil, errors.New("the node has no key to sign with")
	}
	block, err := params.Block.decoded()
	if err != nil {
		return nil, err
	}
	at := time.Now()
	if err := node.GossipOut().SignAndPublishL2Payload(ctx, block, opsigner.NewLocalSigner(node.key)); err != nil {
		return nil, err
	}
	return map[string]any{"at": at.UnixNano(), "hash": block.ExecutionPayload.BlockHash}, nil
}

// hold gives the node blocks that it serves from then on.
func (w *world) hold(_ context.Context, params struct {
	Node   int       `json:"node"`
	Blocks []encoded `json:"blocks"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	for _, block := range params.Blocks {
		decoded, err := block.decoded()
		if err != nil {
			return nil, err
		}
		node.chain.put(decoded)
	}
	return len(params.Blocks), nil
}

// holds returns the hashes of the blocks that the node has in a range, first and last included, by
// number.
func (w *world) holds(_ context.Context, params struct {
	Node  int    `json:"node"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	node.chain.lock.RLock()
	defer node.chain.lock.RUnlock()
	held := map[uint64]common.Hash{}
	for number := params.First; number <= params.Last; number++ {
		if block, has := node.chain.blocks[number]; has {
			held[number] = block.ExecutionPayload.BlockHash
		}
	}
	return held, nil
}

// request requests the blocks between two blocks, both excluded.
func (w *world) request(ctx context.Context, params struct {
	Node  int            `json:"node"`
	Start eth.L2BlockRef `json:"start"`
	End   eth.L2BlockRef `json:"end"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	return nil, requestRange(ctx, node, params.Start, params.End)
}

// heard returns the records of the node's gossip: see ears.
func (w *world) heard(_ context.Context, params ofNode) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	return node.ears.heard(), nil
}

// scores returns the node's records of a peer, and the resulting score.
func (w *world) scores(_ context.Context, params ofPeer) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	total, err := node.GetPeerScore(params.Peer)
	if err != nil {
		return nil, err
	}
	book, is := node.Host().Peerstore().(store.ExtendedPeerstore)
	if !is {
		return nil, errors.New("the node keeps no scores")
	}
	scores, err := book.GetPeerScores(params.Peer)
	return map[string]any{"total": total, "scores": scores}, err
}

// identified returns the identify data that the peer sent.
func (w *world) identified(_ context.Context, params ofPeer) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	book := node.Host().Peerstore()
	protocols, err := book.GetProtocols(params.Peer)
	if err != nil {
		return nil, err
	}
	agent, _ := book.Get(params.Peer, "AgentVersion")
	version, _ := book.Get(params.Peer, "ProtocolVersion")
	return map[string]any{
		"agent": agent, "protocol_version": version, "protocols": protocols, "addresses": book.Addrs(params.Peer),
	}, nil
}

// ping sends one ping and returns its round trip in nanoseconds.
func (w *world) ping(ctx context.Context, params ofPeer) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	result := <-ping.Ping(ctx, node.Host(), params.Peer)
	return result.RTT.Nanoseconds(), result.Error
}

func (w *world) ban(_ context.Context, params struct {
	Node    int     `json:"node"`
	Peer    peer.ID `json:"peer"`
	Seconds uint    `json:"seconds"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	return nil, node.BanPeer(params.Peer, time.Now().Add(time.Duration(params.Seconds)*time.Second))
}

// quiet suppresses the node's events of blocks, and returns the number of blocks that it has
// accepted.
func (w *world) quiet(_ context.Context, params struct {
	Node  int  `json:"node"`
	Quiet bool `json:"quiet"`
}) (any, error) {
	node, err := w.node(params.Node)
	if err != nil {
		return nil, err
	}
	node.lock.Lock()
	defer node.lock.Unlock()
	node.silent = params.Quiet
	return node.taken, nil
}
