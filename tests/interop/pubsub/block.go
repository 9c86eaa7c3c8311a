package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/golang/snappy"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"golang.org/x/crypto/sha3"
)

// hexBytes are hexadecimal digits, with or without a prefix.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(strings.TrimPrefix(string(text), "0x"))
	return err
}

// block is a block as SSZ: only the payload up to version 1, with the parent beacon block root
// before it from 2.
type block struct {
	Version int      `json:"version"`
	SSZ     hexBytes `json:"ssz"`
}

// header is the part of a block that a bare host reads.
type header struct {
	number, timestamp uint64
	hash              string
}

// Offsets in the encoding of a payload, which follows a root from version 2 on.
const (
	rootSize    = 32
	numberAt    = 404
	timestampAt = 428
	hashAt      = 472
)

// read reads the fields at fixed positions. This is all of a bare host's SSZ decoder.
func read(version int, encoded []byte) (*header, error) {
	if version >= 2 {
		encoded = encoded[min(rootSize, len(encoded)):]
	}
	if len(encoded) < hashAt+32 {
		return nil, errors.New("the block is too short")
	}
	return &header{
		number:    binary.LittleEndian.Uint64(encoded[numberAt:]),
		timestamp: binary.LittleEndian.Uint64(encoded[timestampAt:]),
		hash:      hex.EncodeToString(encoded[hashAt : hashAt+32]),
	}, nil
}

func keccak(data ...[]byte) []byte {
	hash := sha3.NewLegacyKeccak256()
	for _, part := range data {
		hash.Write(part)
	}
	return hash.Sum(nil)
}

// signingHash is the hash that a sequencer signs: of 32 zero bytes as the domain, the chain id in
// 32 bytes, and a hash.
func signingHash(chain uint64, encoded []byte) []byte {
	var number [32]byte
	binary.BigEndian.PutUint64(number[24:], chain)
	return keccak(make([]byte, 32), number[:], keccak(encoded))
}

// sign makes a message from a block.
func sign(key *secp256k1.PrivateKey, chain uint64, encoded []byte) []byte {
	compact := ecdsa.SignCompact(key, signingHash(chain, encoded), false)
	signature := append(bytes.Clone(compact[1:]), compact[0]-27)
	return snappy.Encode(nil, append(signature, encoded...))
}

// opened checks a message's compression and its signature.
func (b *bare) opened(data []byte) ([]byte, error) {
	length, err := snappy.DecodedLen(data)
	if err != nil || length > maxGossipSize || length < 66 {
		return nil, fmt.Errorf("a length of %d: %w", length, err)
	}
	contents, err := snappy.Decode(nil, data)
	if err != nil {
		return nil, err
	}
	signature, encoded := contents[:65], contents[65:]
	if signature[64] > 3 {
		return nil, errors.New("the recovery id is no such")
	}
	compact := append([]byte{signature[64] + 27}, signature[:64]...)
	key, _, err := ecdsa.RecoverCompact(compact, signingHash(b.chain, encoded))
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(keccak(key.SerializeUncompressed()[1:])[12:], b.signer) {
		return nil, errors.New("another signer")
	}
	return encoded, nil
}

// judge applies the rules of op-node's validator that only need a block's fixed fields.
func (b *bare) judge(version int, message *pubsub.Message) pubsub.ValidationResult {
	encoded, err := b.opened(message.Data)
	if err != nil {
		return pubsub.ValidationReject
	}
	header, err := read(version, encoded)
	if err != nil {
		return pubsub.ValidationReject
	}
	at := time.Unix(int64(header.timestamp), 0)
	if time.Since(at) > b.age || time.Until(at) > 5*time.Second {
		return pubsub.ValidationReject
	}
	if _, seen := b.seen.LoadOrStore(header.hash, true); seen {
		return pubsub.ValidationIgnore
	}
	message.ValidatorData = header
	return pubsub.ValidationAccept
}

// messageID is op-node's message id: a hash of the decompressed data, or of the raw data if it
// can't be decompressed.
func messageID(message *pb.Message) string {
	data, domain := message.GetData(), byte(0)
	if length, err := snappy.DecodedLen(data); err == nil && length <= maxGossipSize {
		if contents, err := snappy.Decode(nil, data); err == nil {
			data, domain = contents, 1
		}
	}
	topic := message.GetTopic()
	hash := sha256.New()
	hash.Write([]byte{domain, 0, 0, 0})
	hash.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(topic))))
	hash.Write([]byte(topic))
	hash.Write(data)
	return string(hash.Sum(nil)[:20])
}
