// Verify reads a log of ours with the code that Go's own checksum database trusts.
//
//	verify VKEYFILE FOLDER CLAIMS
//
// It opens FOLDER/checkpoint with the key, reads FOLDER's hash tiles itself, and checks each line
// of CLAIMS against both:
//
//	entry INDEX BASE64 HASH…    the entry stands at the index; the hashes are its proof
//	tree SIZE ROOT HASH…        an older tree begins this one; the hashes show it
//
// Hashes are base64. Prints what it found right; exit 1 and the reason at the first that is not.
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// folder gives the tiles of a log as C2SP tlog-tiles lays them out: Go's paths name the height of
// a tile first, which is always 8 there and left out.
type folder string

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: verify VKEYFILE FOLDER CLAIMS"))
	}
	log := folder(os.Args[2])
	tree, err := open(os.Args[1], string(log))
	if err != nil {
		fail(fmt.Errorf("checkpoint: %v", err))
	}
	claims, err := os.ReadFile(os.Args[3])
	if err != nil {
		fail(err)
	}
	tiles := tlog.TileHashReader(tree, log)
	entries, trees := 0, 0
	for number, line := range strings.Split(strings.TrimSuffix(string(claims), "\n"), "\n") {
		words := strings.Split(line, " ")
		switch {
		case len(words) >= 3 && words[0] == "entry":
			err = checkEntry(tree, tiles, words[1:])
			entries++
		case len(words) >= 3 && words[0] == "tree":
			err = checkTree(tree, tiles, words[1:])
			trees++
		default:
			err = fmt.Errorf("not a claim")
		}
		if err != nil {
			fail(fmt.Errorf("line %d: %v", number+1, err))
		}
	}
	fmt.Printf("size %d, entries %d, older trees %d\n", tree.N, entries, trees)
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func open(keyFile, folder string) (tree tlog.Tree, err error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return tree, err
	}
	verifier, err := note.NewVerifier(strings.TrimSuffix(string(key), "\n"))
	if err != nil {
		return tree, err
	}
	raw, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		return tree, err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, fmt.Errorf("not origin, size and root")
	}
	return parseTree(lines[1], lines[2])
}

func parseTree(size, root string) (tree tlog.Tree, err error) {
	if tree.N, err = strconv.ParseInt(size, 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(root)
	return tree, err
}

func parseHashes(words []string) ([]tlog.Hash, error) {
	hashes := []tlog.Hash{}
	for _, word := range words {
		hash, err := tlog.ParseHash(word)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, hash)
	}
	return hashes, nil
}

func checkEntry(tree tlog.Tree, tiles tlog.HashReader, words []string) error {
	index, err := strconv.ParseInt(words[0], 10, 64)
	if err != nil {
		return err
	}
	entry, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return err
	}
	given, err := parseHashes(words[2:])
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(given, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return err
	}
	made, err := tlog.ProveRecord(tree.N, index, tiles)
	if err != nil {
		return err
	}
	return same(given, made)
}

func checkTree(tree tlog.Tree, tiles tlog.HashReader, words []string) error {
	old, err := parseTree(words[0], words[1])
	if err != nil {
		return err
	}
	given, err := parseHashes(words[2:])
	if err != nil {
		return err
	}
	if err := tlog.CheckTree(given, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return err
	}
	made, err := tlog.ProveTree(tree.N, old.N, tiles)
	if err != nil {
		return err
	}
	return same(given, made)
}

func same(given, made []tlog.Hash) error {
	if len(given) != len(made) {
		return fmt.Errorf("the tiles give a proof of another length")
	}
	for place, hash := range given {
		if hash != made[place] {
			return fmt.Errorf("the tiles give another hash %d", place)
		}
	}
	return nil
}
