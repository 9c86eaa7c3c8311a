package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/client"
	"github.com/ethereum-optimism/optimism/op-service/sources"
	"github.com/ethereum/go-ethereum/log"
	"github.com/ethereum/go-ethereum/p2p/enode"
	"github.com/ethereum/go-ethereum/p2p/enr"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// witness keeps the raw last answer of HTTP, before it is decoded.
type witness struct {
	lock sync.Mutex
	last []byte
}

func (w *witness) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	w.lock.Lock()
	defer w.lock.Unlock()
	w.last = body
	return response, nil
}

// result returns the result field of the last answer.
func (w *witness) result() json.RawMessage {
	w.lock.Lock()
	defer w.lock.Unlock()
	var answer struct {
		Result json.RawMessage `json:"result"`
	}
	_ = json.Unmarshal(w.last, &answer)
	return answer.Result
}

// clientStep is one call of the reference's client: the raw answer, the client's decoding of it, or
// its error.
type clientStep struct {
	Method string          `json:"method"`
	Came   json.RawMessage `json:"came,omitempty"`
	Read   any             `json:"read,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// rpcClient calls a server with everything that the reference's own client supports. Some calls
// concern a peer that the server is connected with, which is disconnected and dialled again at the
// address; others concern an unknown one.
func rpcClient(ctx context.Context, params struct {
	URL      string  `json:"url"`
	Peer     peer.ID `json:"peer"`
	Address  string  `json:"address"`
	Stranger peer.ID `json:"stranger"`
}) (any, error) {
	seen := &witness{}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	dialled, err := rpc.DialOptions(ctx, params.URL, rpc.WithHTTPClient(&http.Client{Transport: seen}))
	if err != nil {
		return nil, err
	}
	defer dialled.Close()
	asking := sources.NewP2PClient(client.NewBaseRPCClient(dialled))
	_, subnet, err := net.ParseCIDR("10.20.0.0/16")
	if err != nil {
		return nil, err
	}
	ip := net.ParseIP("10.1.2.3")
	nothing := func(err error) (any, error) { return nil, err }
	calls := []struct {
		method string
		call   func() (any, error)
	}{
		{"self", func() (any, error) { return asking.Self(ctx) }},
		{"peers", func() (any, error) { return asking.Peers(ctx, true) }},
		{"peers", func() (any, error) { return asking.Peers(ctx, false) }},
		{"peerStats", func() (any, error) { return asking.PeerStats(ctx) }},
		{"discoveryTable", func() (any, error) { return asking.DiscoveryTable(ctx) }},
		{"blockPeer", func() (any, error) { return nothing(asking.BlockPeer(ctx, params.Stranger)) }},
		{"listBlockedPeers", func() (any, error) { return asking.ListBlockedPeers(ctx) }},
		{"blockAddr", func() (any, error) { return nothing(asking.BlockAddr(ctx, ip)) }},
		{"listBlockedAddrs", func() (any, error) { return asking.ListBlockedAddrs(ctx) }},
		{"blockSubnet", func() (any, error) { return nothing(asking.BlockSubnet(ctx, subnet)) }},
		{"listBlockedSubnets", func() (any, error) { return asking.ListBlockedSubnets(ctx) }},
		{"peers", func() (any, error) { return asking.Peers(ctx, true) }},
		{"unblockPeer", func() (any, error) { return nothing(asking.UnblockPeer(ctx, params.Stranger)) }},
		{"listBlockedPeers", func() (any, error) { return asking.ListBlockedPeers(ctx) }},
		{"unblockAddr", func() (any, error) { return nothing(asking.UnblockAddr(ctx, ip)) }},
		{"listBlockedAddrs", func() (any, error) { return asking.ListBlockedAddrs(ctx) }},
		{"unblockSubnet", func() (any, error) { return nothing(asking.UnblockSubnet(ctx, subnet)) }},
		{"listBlockedSubnets", func() (any, error) { return asking.ListBlockedSubnets(ctx) }},
		{"protectPeer", func() (any, error) { return nothing(asking.ProtectPeer(ctx, params.Peer)) }},
		{"unprotectPeer", func() (any, error) { return nothing(asking.UnprotectPeer(ctx, params.Peer)) }},
		{"disconnectPeer", func() (any, error) { return nothing(asking.DisconnectPeer(ctx, params.Peer)) }},
		{"connectPeer", func() (any, error) { return nothing(asking.ConnectPeer(ctx, params.Address)) }},
		{"peers", func() (any, error) { return asking.Peers(ctx, true) }},
	}
	steps := make([]clientStep, 0, len(calls))
	for _, each := range calls {
		step := clientStep{Method: each.method}
		read, err := each.call()
		step.Came = seen.result()
		if err != nil {
			step.Error = err.Error()
		} else {
			step.Read = read
		}
		steps = append(steps, step)
	}
	return steps, nil
}

// recordTold is a node's record as geth and op-node read it.
type recordTold struct {
	NodeID string `json:"node_id"`
	PeerID string `json:"peer_id,omitempty"`
	Seq    uint64 `json:"seq"`
	IP     string `json:"ip"`
	TCP    int    `json:"tcp"`
	UDP    int    `json:"udp"`
	// Entries are the record's, each value as its RLP.
	Entries map[string]string `json:"entries"`
	// ChainID and Version are those of the entry of OP Stack nodes, if it can be read.
	ChainID *uint64 `json:"chain_id"`
	Version *uint64 `json:"version"`
	// Taken is the result of op-node's own filter for the chain.
	Taken bool `json:"taken"`
	// Written is the record as geth encodes it.
	Written string `json:"written"`
}

// readENR reads a node's record as op-node's discovery does.
func readENR(_ context.Context, params struct {
	ENR    string         `json:"enr"`
	Rollup *rollup.Config `json:"rollup"`
}) (any, error) {
	node, err := enode.Parse(enode.ValidSchemes, params.ENR)
	if err != nil {
		return nil, fmt.Errorf("geth refuses the record: %w", err)
	}
	told := recordTold{
		NodeID: node.ID().String(), Seq: node.Seq(), TCP: node.TCP(), UDP: node.UDP(),
		Entries: map[string]string{}, Written: node.String(),
	}
	if node.IP() != nil {
		told.IP = node.IP().String()
	}
	elements := node.Record().AppendElements(nil)
	for at := 1; at+1 < len(elements); at += 2 {
		key, isKey := elements[at].(string)
		value, isValue := elements[at+1].(rlp.RawValue)
		if !isKey || !isValue {
			return nil, fmt.Errorf("the record's entry %d is of an unknown kind", at)
		}
		told.Entries[key] = hex.EncodeToString(value)
	}
	var key p2p.Secp256k1
	if err := node.Load(&key); err == nil {
		id, err := peer.IDFromPublicKey((*crypto.Secp256k1PublicKey)(&key))
		if err != nil {
			return nil, err
		}
		told.PeerID = id.String()
	}
	var entry p2p.OpStackENRData
	if err := node.Load(&entry); err == nil {
		// op-node exports neither of the two.
		value := reflect.ValueOf(entry)
		chain, version := value.FieldByName("chainID").Uint(), value.FieldByName("version").Uint()
		told.ChainID, told.Version = &chain, &version
	} else if !enr.IsNotFound(err) {
		return nil, fmt.Errorf("op-node can't read the entry: %w", err)
	}
	if params.Rollup != nil {
		told.Taken = p2p.FilterEnodes(log.NewLogger(log.DiscardHandler()), params.Rollup)(node)
	}
	return told, nil
}
