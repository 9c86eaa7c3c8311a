package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"slices"
	"time"

	"github.com/ethereum-optimism/optimism/op-node/p2p"
	"github.com/ethereum-optimism/optimism/op-node/rollup"
	"github.com/ethereum-optimism/optimism/op-service/clock"
	"github.com/ethereum-optimism/optimism/op-service/eth"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/log"
	"github.com/holiman/uint256"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
)

// decoded returns the block from the reference's decoder.
func (e *encoded) decoded() (*eth.ExecutionPayloadEnvelope, error) {
	version := eth.BlockVersion(e.Version)
	if version < eth.BlockV1 || version > eth.BlockV4 {
		return nil, fmt.Errorf("there is no version %d of blocks", e.Version)
	}
	envelope := &eth.ExecutionPayloadEnvelope{}
	if version.HasParentBeaconBlockRoot() {
		return envelope, envelope.UnmarshalSSZ(version, uint32(len(e.SSZ)), bytes.NewReader(e.SSZ))
	}
	envelope.ExecutionPayload = &eth.ExecutionPayload{}
	return envelope, envelope.ExecutionPayload.UnmarshalSSZ(version, uint32(len(e.SSZ)), bytes.NewReader(e.SSZ))
}

// encode encodes a block with the reference's encoder.
func encode(envelope *eth.ExecutionPayloadEnvelope) (hexBytes, error) {
	var out bytes.Buffer
	var err error
	if envelope.ParentBeaconBlockRoot != nil {
		_, err = envelope.MarshalSSZ(&out)
	} else {
		_, err = envelope.ExecutionPayload.MarshalSSZ(&out)
	}
	return out.Bytes(), err
}

// read is the reference's result of reading bytes: the reason of a refusal, or the block, encoded
// again and as JSON.
type read struct {
	Refused string                        `json:"refused,omitempty"`
	SSZ     hexBytes                      `json:"ssz,omitempty"`
	Block   *eth.ExecutionPayloadEnvelope `json:"block,omitempty"`
	// Hash is the true hash of the block, whatever it claims.
	Hash *common.Hash `json:"hash,omitempty"`
}

// decode reads blocks with the reference's decoder.
func decode(_ context.Context, params struct {
	Blocks []encoded `json:"blocks"`
}) (any, error) {
	all := make([]read, 0, len(params.Blocks))
	for _, block := range params.Blocks {
		all = append(all, reading(&block))
	}
	return all, nil
}

func reading(block *encoded) (told read) {
	envelope, err := block.decoded()
	if err != nil {
		return read{Refused: err.Error()}
	}
	told.Block = envelope
	if told.SSZ, err = encode(envelope); err != nil {
		return read{Refused: "it can't be encoded again: " + err.Error()}
	}
	hash, _ := envelope.CheckBlockHash()
	told.Hash = &hash
	return told
}

// makePayloads makes up blocks with any value in any field, and encodes them with the reference's
// encoder.
func makePayloads(_ context.Context, params struct {
	Version int   `json:"version"`
	Seed    int64 `json:"seed"`
	Count   int   `json:"count"`
}) (any, error) {
	version := eth.BlockVersion(params.Version)
	random := rand.New(rand.NewSource(params.Seed))
	all := make([]read, 0, params.Count)
	for range params.Count {
		envelope := anything(random, version)
		ssz, err := encode(envelope)
		if err != nil {
			return nil, err
		}
		hash, _ := envelope.CheckBlockHash()
		all = append(all, read{SSZ: ssz, Block: envelope, Hash: &hash})
	}
	return all, nil
}

// anything makes a block of the version in which only the shape is valid.
func anything(random *rand.Rand, version eth.BlockVersion) *eth.ExecutionPayloadEnvelope {
	fill := func(into []byte) {
		random.Read(into)
	}
	some := func(most int) []byte {
		bytes := make([]byte, random.Intn(most+1))
		random.Read(bytes)
		return bytes
	}
	// Small, large or in between, with the extremes often.
	number := func() uint64 {
		switch random.Intn(8) {
		case 0:
			return 0
		case 1:
			return math.MaxUint64
		default:
			return random.Uint64() >> random.Intn(64)
		}
	}
	payload := &eth.ExecutionPayload{
		BlockNumber: eth.Uint64Quantity(number()), GasLimit: eth.Uint64Quantity(number()),
		GasUsed: eth.Uint64Quantity(number()), Timestamp: eth.Uint64Quantity(number()), ExtraData: some(32),
	}
	fill(payload.ParentHash[:])
	fill(payload.FeeRecipient[:])
	fill(payload.StateRoot[:])
	fill(payload.ReceiptsRoot[:])
	fill(payload.LogsBloom[:])
	fill(payload.PrevRandao[:])
	fill(payload.BlockHash[:])
	fee := new(big.Int).SetBytes(some(32))
	payload.BaseFeePerGas = eth.Uint256Quantity(*uint256.MustFromBig(fee))
	payload.Transactions = []eth.Data{}
	for range random.Intn(8) {
		payload.Transactions = append(payload.Transactions, some(300))
	}
	envelope := &eth.ExecutionPayloadEnvelope{ExecutionPayload: payload}
	if version.HasWithdrawals() {
		payload.Withdrawals = &types.Withdrawals{}
		for range random.Intn(4) {
			withdrawal := &types.Withdrawal{Index: number(), Validator: number(), Amount: number()}
			fill(withdrawal.Address[:])
			*payload.Withdrawals = append(*payload.Withdrawals, withdrawal)
		}
	}
	if version.HasBlobProperties() {
		used, excess := eth.Uint64Quantity(number()), eth.Uint64Quantity(number())
		payload.BlobGasUsed, payload.ExcessBlobGas = &used, &excess
	}
	if version.HasParentBeaconBlockRoot() {
		envelope.ParentBeaconBlockRoot = new(common.Hash)
		fill(envelope.ParentBeaconBlockRoot[:])
	}
	if version.HasWithdrawalsRoot() {
		payload.WithdrawalsRoot = new(common.Hash)
		fill(payload.WithdrawalsRoot[:])
	}
	return envelope
}

// judgeParams is a topic's validator, and its inputs.
type judgeParams struct {
	Rollup   *rollup.Config `json:"rollup"`
	Signer   common.Address `json:"signer"`
	Previous common.Address `json:"previous"`
	Version  int            `json:"version"`
	// Now is the validator's clock, in Unix seconds.
	Now int64 `json:"now"`
	// Threshold is the maximum age of accepted blocks, in seconds.
	Threshold int64      `json:"threshold"`
	Messages  []hexBytes `json:"messages"`
}

// runtimeOfTwo knows two signers, the second for a while after a change.
type runtimeOfTwo struct{ current, previous common.Address }

func (r *runtimeOfTwo) P2PSequencerAddress() common.Address         { return r.current }
func (r *runtimeOfTwo) PreviousP2PSequencerAddress() common.Address { return r.previous }
func (r *runtimeOfTwo) ConfirmCurrentSigner()                       {}

// threshold is the only setting that the validator reads in the configuration of gossip.
type threshold struct {
	p2p.GossipSetupConfigurables
	age time.Duration
}

func (t *threshold) GetGossipTimestampThreshold() time.Duration { return t.age }

func (p *judgeParams) validator() pubsub.ValidatorEx {
	return p2p.BuildBlocksValidator(log.NewLogger(log.DiscardHandler()), p.Rollup, &runtimeOfTwo{p.Signer, p.Previous},
		eth.BlockVersion(p.Version), &threshold{age: time.Duration(p.Threshold) * time.Second},
		clock.NewDeterministicClock(time.Unix(p.Now, 0)))
}

// judge shows messages to the reference's own validator, one after another, and returns its
// verdicts.
func judge(ctx context.Context, params judgeParams) (any, error) {
	validator := params.validator()
	words := map[pubsub.ValidationResult]string{
		pubsub.ValidationAccept: "accept", pubsub.ValidationIgnore: "ignore", pubsub.ValidationReject: "reject",
	}
	verdicts := make([]string, 0, len(params.Messages))
	for _, data := range params.Messages {
		message := &pubsub.Message{Message: &pb.Message{Data: data}}
		verdicts = append(verdicts, words[validator(ctx, "peer", message)])
	}
	return verdicts, nil
}

// timeJudgment returns the nanoseconds that the validator takes for each of the messages, as the
// median of the rounds. Each round has a new validator, which has seen none of them.
func timeJudgment(ctx context.Context, params struct {
	judgeParams
	Rounds int `json:"rounds"`
}) (any, error) {
	if params.Rounds < 1 || len(params.Messages) == 0 {
		return nil, fmt.Errorf("there is nothing to time")
	}
	took := make([]int64, 0, params.Rounds)
	for range params.Rounds {
		validator := params.validator()
		started := time.Now()
		for at, data := range params.Messages {
			message := &pubsub.Message{Message: &pb.Message{Data: data}}
			if verdict := validator(ctx, "peer", message); verdict != pubsub.ValidationAccept {
				return nil, fmt.Errorf("message %d is not accepted", at)
			}
		}
		took = append(took, time.Since(started).Nanoseconds()/int64(len(params.Messages)))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
