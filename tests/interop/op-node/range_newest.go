//go:build newest

package main

import (
	"context"
	"errors"

	"github.com/ethereum-optimism/optimism/op-service/eth"
)

// requestRange does nothing: releases after 1.19.0 have no sync client.
func requestRange(context.Context, *node, eth.L2BlockRef, eth.L2BlockRef) error {
	return errors.New("this release of op-node has no sync client")
}
