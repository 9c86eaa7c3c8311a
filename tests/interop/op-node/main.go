// Command op-node runs nodes of the reference: op-node's own p2p package, started from op-node's
// own flags.
//
// Commands arrive on standard input, one JSON object per line:
// {"id":7,"method":"connect","params":{...}}. The answer to each call goes to standard output:
// {"id":7,"result":...} or {"id":7,"error":"..."}. Between the answers there are events:
// {"event":"block",...}. The program ends when standard input does. The nodes log to standard
// error.
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

// method decodes its parameters and carries out the call.
type method func(ctx context.Context, params json.RawMessage) (any, error)

// as makes a method from a function with typed parameters.
func as[P any](act func(ctx context.Context, params P) (any, error)) method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var params P
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &params); err != nil {
				return nil, fmt.Errorf("the parameters can't be read: %w", err)
			}
		}
		return act(ctx, params)
	}
}

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	lines := &wire{out: bufio.NewWriter(os.Stdout)}
	world := newWorld(ctx, lines.write)
	defer world.close()
	methods := world.methods()

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
		act, known := methods[asked.Method]
		if !known {
			lines.write(answer{ID: asked.ID, Error: fmt.Sprintf("there is no method %q", asked.Method)})
			continue
		}
		// Calls may take long, and others must be answered meanwhile.
		go func() {
			result, err := act(ctx, asked.Params)
			if err != nil {
				lines.write(answer{ID: asked.ID, Error: err.Error()})
				return
			}
			if result == nil {
				result = true
			}
			lines.write(answer{ID: asked.ID, Result: result})
		}()
	}
}
