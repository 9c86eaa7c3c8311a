//go:build !newest

package main

import (
	"context"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// requestRange requests the blocks between the two from peers.
func requestRange(ctx context.Context, node *node, start, end eth.L2BlockRef) error {
	return node.RequestL2Range(ctx, start, end)
}
