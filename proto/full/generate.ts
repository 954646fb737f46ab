/**
 * `npm run proto:envoy`: every message that Envoy's API knows → rows.ts, from the Go module that Envoy's own control
 * plane library publishes. Needs Go and its module proxy; what it writes is committed, so that nothing else does.
 */
import { fromBinary } from '@bufbuild/protobuf'
import { FileDescriptorSetSchema, type FileDescriptorProto } from '@bufbuild/protobuf/wkt'
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { FileRow } from '../descriptor-rows.ts'
import { ROWS as OURS } from '../gen/descriptor-rows.ts'
import { toRows } from '../rows-of.ts'
import { computeDelta } from './delta.ts'
import { writeRows } from './write.ts'
import { sortByDependency, prune, findReachable, listTypes } from './prune.ts'

/** Named after the release of Envoy whose API it holds. */
const VERSION = 'v1.40.0'
const MODULE = 'github.com/envoyproxy/go-control-plane/envoy'
/** Options of the .proto files themselves. */
const ANNOTATIONS =
  /^(validate|envoy\/annotations|udpa\/annotations|xds\/annotations)\/|^google\/(api\/(?!expr\/)|protobuf\/(descriptor|go_features)\.proto$)/

const ours = new Set<string>()
for (const file of fs.globSync('../**/*.proto', { cwd: import.meta.dirname }))
  for (const type of listTypes(path.join(import.meta.dirname, file))) ours.add(type)
const files = descriptors()
  .filter((f) => !ANNOTATIONS.test(f.name))
  .sort((a, b) => (a.name < b.name ? -1 : 1))
const kept = findReachable(files, ours)
const full = toRows({
  $typeName: 'google.protobuf.FileDescriptorSet',
  file: sortByDependency(files.flatMap((f) => prune(f, kept) ?? [])),
})
writeRows(VERSION.slice(1), computeDelta(full, JSON.parse(OURS) as FileRow[]))

/** A Go program that links all packages of the module knows all descriptors. */
function descriptors(): FileDescriptorProto[] {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-envoy-'))
  const go = (...args: string[]): Buffer =>
    execFileSync('go', args, { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'], maxBuffer: 1 << 28 })
  try {
    fs.writeFileSync(path.join(folder, 'go.mod'), 'module descriptors\n')
    go('get', `${MODULE}@${VERSION}`)
    const source = go('list', '-m', '-f', '{{.Dir}}', MODULE).toString().trim()
    const packages = new Set(fs.globSync('**/*.pb.go', { cwd: source }).map((file) => path.dirname(file)))
    fs.writeFileSync(
      path.join(folder, 'main.go'),
      program([...packages].filter((p) => /v3(alpha)?$/.test(p)).map((p) => `${MODULE}/${p}`)),
    )
    go('mod', 'tidy')
    return fromBinary(FileDescriptorSetSchema, go('run', '.')).file
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

function program(packages: readonly string[]): string {
  return `package main
import (
  "os"
  "google.golang.org/protobuf/proto"
  "google.golang.org/protobuf/reflect/protodesc"
  "google.golang.org/protobuf/reflect/protoreflect"
  "google.golang.org/protobuf/reflect/protoregistry"
  "google.golang.org/protobuf/types/descriptorpb"
${packages.map((p) => `  _ "${p}"`).join('\n')}
)
func main() {
  set := &descriptorpb.FileDescriptorSet{}
  protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
    set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
    return true
  })
  bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
  if err != nil { panic(err) }
  os.Stdout.Write(bytes)
}
`
}
