// Command pubsub runs bare go-libp2p hosts with go-libp2p-pubsub, with op-node's parameters and no
// other part of op-node: like a peer of any OP Stack client that is built on these libraries.
//
// It has the same interface as the program of the folder op-node: JSON objects, one per line.
// {"id":7,"method":"connect","params":{...}} on standard input is answered by {"id":7,"result":...}
// or {"id":7,"error":"..."} on standard output, which also has events: {"event":"block",...}. The
// program ends when standard input does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// call is one line of standard input.
type call struct {
	ID     uint64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// answer is one line of standard output.
type answer struct {
	ID     uint64 `json:"id"`
	Result any    `json:"result,omitempty"`
	Error  string `json:"error,omitempty"`
}

// wire writes lines, one at a time.
type wire struct {
	lock sync.Mutex
	out  *bufio.Writer
}

func (w *wire) write(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		line, _ = json.Marshal(map[string]string{"event": "broken", "error": err.Error()})
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	_, _ = w.out.Write(append(line, '\n'))
	_ = w.out.Flush()
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := &wire{out: bufio.NewWriter(os.Stdout)}
	all := &hosts{ctx: ctx, emit: lines.write, running: map[int]*bare{}}

	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked call
		if err := json.Unmarshal(line, &asked); err != nil {
			lines.write(answer{Error: fmt.Sprintf("the line can't be read: %v", err)})
			continue
		}
		// A call may wait for a peer. The next one must not wait for it.
		go func() {
			result, err := all.act(ctx, asked.Method, asked.Params)
			switch {
			case err != nil:
				lines.write(answer{ID: asked.ID, Error: err.Error()})
			case result == nil:
				lines.write(answer{ID: asked.ID, Result: true})
			default:
				lines.write(answer{ID: asked.ID, Result: result})
			}
		}()
	}
}
