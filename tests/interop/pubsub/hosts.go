package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// hosts are the hosts of this process, by number.
type hosts struct {
	ctx     context.Context
	emit    func(any)
	lock    sync.Mutex
	last    int
	running map[int]*bare
}

// params are the parameters of all methods except start.
type params struct {
	Node    int     `json:"node"`
	Peer    peer.ID `json:"peer"`
	Address string  `json:"address"`
	Block   *block  `json:"block"`
}

// act carries out one call. A nil result is success without a result.
func (h *hosts) act(ctx context.Context, method string, raw json.RawMessage) (any, error) {
	if method == "start" {
		return h.start(raw)
	}
	var asked params
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, fmt.Errorf("the parameters can't be read: %w", err)
	}
	h.lock.Lock()
	host, runs := h.running[asked.Node]
	h.lock.Unlock()
	if !runs {
		return nil, fmt.Errorf("no host %d runs", asked.Node)
	}
	switch method {
	case "stop":
		h.lock.Lock()
		delete(h.running, asked.Node)
		h.lock.Unlock()
		return nil, host.close()
	case "connect":
		return nil, host.connect(ctx, asked.Address)
	case "disconnect":
		return nil, host.host.Network().ClosePeer(asked.Peer)
	case "connected":
		return host.host.Network().Connectedness(asked.Peer) == network.Connected, nil
	case "publish":
		if asked.Block == nil {
			return nil, errors.New("there is no block to publish")
		}
		return host.publish(ctx, asked.Block)
	case "heard":
		return host.ears.heard(), nil
	case "scores":
		return host.scores(ctx, asked.Peer)
	default:
		return nil, fmt.Errorf("there is no method %q", method)
	}
}

// started describes a running host.
type started struct {
	Node      int      `json:"node"`
	PeerID    string   `json:"peer_id"`
	Addresses []string `json:"addresses"`
}

func (h *hosts) start(raw json.RawMessage) (any, error) {
	var asked startParams
	if err := json.Unmarshal(raw, &asked); err != nil {
		return nil, fmt.Errorf("the parameters can't be read: %w", err)
	}
	h.lock.Lock()
	h.last++
	number := h.last
	h.lock.Unlock()
	host, err := start(h.ctx, number, &asked, h.emit)
	if err != nil {
		return nil, err
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	h.running[number] = host
	told := &started{Node: number, PeerID: host.host.ID().String()}
	for _, address := range host.host.Addrs() {
		told.Addresses = append(told.Addresses, fmt.Sprintf("%s/p2p/%s", address, host.host.ID()))
	}
	return told, nil
}

// connect dials an address that ends with the peer's id, and waits until both have identified each
// other.
func (b *bare) connect(ctx context.Context, address string) error {
	parsed, err := multiaddr.NewMultiaddr(address)
	if err != nil {
		return err
	}
	info, err := peer.AddrInfoFromP2pAddr(parsed)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return b.host.Connect(ctx, *info)
}
