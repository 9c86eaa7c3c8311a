package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/flags"
	"github.com/ethereum-optimism/optimism/op-node/metrics"
	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/p2p/cli"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/rpc"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	urfave "github.com/urfave/cli/v2"
)

// startParams are the settings of a node.
type startParams struct {
	// Args are op-node's own flags; only those of its p2p stack count.
	Args []string `json:"args"`
	// Rollup is the chain's rollup.json.
	Rollup *rollup.Config `json:"rollup"`
	// Signer is the signer whose blocks are accepted.
	Signer common.Address `json:"signer"`
	// Key signs the node's blocks, if it publishes.
	Key hexutil.Bytes `json:"key"`
	// Discovery enables discovery, whose port and bootnodes the flags give.
	Discovery bool `json:"discovery"`
	// RPC enables an RPC server on loopback.
	RPC bool `json:"rpc"`
}

// started describes a running node.
type started struct {
	Node      int      `json:"node"`
	PeerID    string   `json:"peer_id"`
	Addresses []string `json:"addresses"`
	ENR       string   `json:"enr,omitempty"`
	RPC       string   `json:"rpc,omitempty"`
}

// node is one of the reference's nodes, with the parts that op-node would have around it.
type node struct {
	*p2p.NodeP2P
	number int
	log    log.Logger
	rollup *rollup.Config
	key    *ecdsa.PrivateKey
	chain  *chain
	ears   *ears
	server *http.Server
	stop   context.CancelFunc
	emit   func(any)
	// silent suppresses the events of blocks, of which measurements have many.
	silent bool
	lock   sync.Mutex
	taken  int
}

// chain replaces the engine: the blocks that the node has, by number.
type chain struct {
	lock   sync.RWMutex
	blocks map[uint64]*eth.ExecutionPayloadEnvelope
}

func (c *chain) PayloadByNumber(_ context.Context, number uint64) (*eth.ExecutionPayloadEnvelope, error) {
	c.lock.RLock()
	defer c.lock.RUnlock()
	if block, has := c.blocks[number]; has {
		return block, nil
	}
	return nil, ethereum.NotFound
}

func (c *chain) put(block *eth.ExecutionPayloadEnvelope) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.blocks[uint64(block.ExecutionPayload.BlockNumber)] = block
}

// runtime is the configuration that op-node would have read on L1.
type runtime struct{ signer common.Address }

func (r *runtime) P2PSequencerAddress() common.Address         { return r.signer }
func (r *runtime) PreviousP2PSequencerAddress() common.Address { return common.Address{} }
func (r *runtime) ConfirmCurrentSigner()                       {}

// setup is op-node's own configuration with a listener to its gossip.
type setup struct {
	*p2p.Config
	ears *ears
}

func (s *setup) ConfigureGossip(cfg *rollup.Config) []pubsub.Option {
	return append(s.Config.ConfigureGossip(cfg), pubsub.WithRawTracer(s.ears))
}

// OnUnsafeL2Payload takes the blocks that the node accepted, from gossip and sync alike.
func (n *node) OnUnsafeL2Payload(_ context.Context, from peer.ID, block *eth.ExecutionPayloadEnvelope) error {
	at := time.Now()
	n.chain.put(block)
	n.lock.Lock()
	n.taken++
	n.lock.Unlock()
	if !n.silent {
		n.emit(map[string]any{
			"event": "block", "node": n.number, "from": from.String(), "at": at.UnixNano(),
			"number": uint64(block.ExecutionPayload.BlockNumber), "hash": block.ExecutionPayload.BlockHash,
		})
	}
	return nil
}

// start runs a node as op-node does.
func start(parent context.Context, number int, params startParams, emit func(any)) (*node, *started, error) {
	if params.Rollup == nil {
		return nil, nil, errors.New("a node needs a rollup configuration")
	}
	config, err := configuration(params)
	if err != nil {
		return nil, nil, err
	}
	ctx, stop := context.WithCancel(parent)
	logger := logger(fmt.Sprint(number))
	n := &node{
		number: number, log: logger, rollup: params.Rollup, stop: stop, emit: emit,
		chain: &chain{blocks: map[uint64]*eth.ExecutionPayloadEnvelope{}}, ears: newEars(),
	}
	if len(params.Key) > 0 {
		if n.key, err = crypto.ToECDSA(params.Key); err != nil {
			stop()
			return nil, nil, fmt.Errorf("the key can't be used: %w", err)
		}
	}
	n.NodeP2P, err = p2p.NewNodeP2P(ctx, params.Rollup, logger, &setup{config, n.ears}, n, n.chain,
		&runtime{params.Signer}, metrics.NoopMetrics, clock.SystemClock)
	if err != nil {
		stop()
		return nil, nil, err
	}
	if n.Dv5Udp() != nil {
		go n.DiscoveryProcess(ctx, logger, params.Rollup, config.TargetPeers())
	}
	told := &started{Node: number, PeerID: n.Host().ID().String()}
	for _, address := range n.Host().Addrs() {
		told.Addresses = append(told.Addresses, fmt.Sprintf("%s/p2p/%s", address, n.Host().ID()))
	}
	if n.Dv5Local() != nil {
		told.ENR = n.Dv5Local().Node().String()
	}
	if params.RPC {
		if told.RPC, err = n.serve(); err != nil {
			n.close()
			return nil, nil, err
		}
	}
	return n, told, nil
}

// configuration is op-node's configuration from its flags. By default the node listens on a free
// port of loopback, is a new peer, keeps its peers in memory and does not search for peers; given
// flags override that.
func configuration(params startParams) (*p2p.Config, error) {
	var config *p2p.Config
	app := &urfave.App{
		Flags: flags.P2PFlags("OPP2P_INTEROP"),
		Action: func(ctx *urfave.Context) (err error) {
			config, err = cli.NewConfig(ctx, params.Rollup.BlockTime)
			return err
		},
		ExitErrHandler: func(*urfave.Context, error) {},
	}
	identity, err := crypto.GenerateKey()
	if err != nil {
		return nil, err
	}
	args := []string{
		"op-node", "--p2p.priv.raw=" + common.Bytes2Hex(crypto.FromECDSA(identity)), "--p2p.listen.ip=127.0.0.1", "--p2p.nat=false", "--p2p.peerstore.path=memory",
		// An empty one is skipped, but makes op-node ignore the built-in ones.
		"--p2p.discovery.path=memory", "--p2p.bootnodes=",
	}
	if !params.Discovery {
		args = append(args, "--p2p.no-discovery")
	}
	if err := app.Run(append(args, params.Args...)); err != nil {
		return nil, fmt.Errorf("op-node refuses its flags: %w", err)
	}
	if config == nil {
		return nil, errors.New("op-node made no configuration of its flags")
	}
	if config.ListenTCPPort == defaultPort {
		config.ListenTCPPort = 0
	}
	return config, config.Check()
}

// defaultPort is op-node's default port; tests must not use it.
const defaultPort = 9222

// serve answers op-node's p2p RPC on loopback.
func (n *node) serve() (string, error) {
	server := rpc.NewServer()
	if err := server.RegisterName(p2p.NamespaceRPC, p2p.NewP2PAPIBackend(n.NodeP2P, n.log)); err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	n.server = &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	go func() { _ = n.server.Serve(listener) }()
	return "http://" + listener.Addr().String(), nil
}

func (n *node) close() {
	if n.server != nil {
		_ = n.server.Close()
	}
	n.stop()
	if err := n.Close(); err != nil {
		n.log.Error("the node does not close cleanly", "err", err)
	}
}

func logger(name string) log.Logger {
	level := slog.LevelInfo
	if os.Getenv("OPP2P_INTEROP_DEBUG") != "" {
		level = slog.LevelDebug
	}
	return log.NewLogger(log.LogfmtHandlerWithLevel(os.Stderr, level)).With("node", name)
}
