//go:build ignore

// Command prepare makes a copy of an op-node release that builds as a dependency.
//
// The release embeds an archive of chain configurations that its Go module lacks: the monorepo
// ignores that file, and its own build makes it. The copy has an archive without chains instead.
// Nothing here uses a built-in chain.
//
//	go run prepare.go MODULE COPY
package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// folders are the packages that op-node's p2p package needs. The module's others are ten times as
// large.
var folders = []string{"op-alt-da", "op-core", "op-node", "op-service", "op-test-sequencer"}

// archive is the file that the module lacks. The release compares its hash with the one in the file
// beside it.
const archive = "op-core/superchain/superchain-configs.zip"

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: prepare MODULE COPY"))
	}
	module, target := os.Args[1], os.Args[2]
	fail(os.RemoveAll(target))
	for _, folder := range folders {
		fail(copied(filepath.Join(module, folder), filepath.Join(target, folder)))
	}
	fail(copiedFile(filepath.Join(module, "go.mod"), filepath.Join(target, "go.mod")))
	contents, err := withoutChains()
	fail(err)
	path := filepath.Join(target, filepath.FromSlash(archive))
	fail(os.WriteFile(path, contents, 0o644))
	line := fmt.Sprintf("%x  %s\n", sha256.Sum256(contents), filepath.Base(path))
	fail(os.WriteFile(path+".sha256", []byte(line), 0o644))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// withoutChains makes an archive in which the release finds no chain.
func withoutChains() ([]byte, error) {
	var contents bytes.Buffer
	writer := zip.NewWriter(&contents)
	for _, file := range [][2]string{{"dictionary", ""}, {"chains.json", "{}"}} {
		entry, err := writer.Create(file[0])
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write([]byte(file[1])); err != nil {
			return nil, err
		}
	}
	err := writer.Close()
	return contents.Bytes(), err
}

// copied copies a folder except for tests. Files of the module cache are read-only; those of the
// copy are not.
func copied(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copiedFile(path, filepath.Join(to, below))
	})
}

func copiedFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	contents, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, contents, 0o644)
}
