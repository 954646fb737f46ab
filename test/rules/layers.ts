/** Layer → layers it may import, with the longest prefix winning, so control-sync/directory is not control-sync. */
const MAY: Record<string, readonly string[]> = {
  'core/': [],
  'model/': ['core/'],
  'protocols/': ['core/', 'model/'],
  'proto/': [],
  'control-sync/': ['core/', 'model/', 'proto/'],
  // The hub reads the same resource files as an agent in directory mode, and signs what the agent requests.
  'hub/': ['core/', 'model/', 'proto/', 'control-sync/directory/'],
  'control-sync/directory/': ['core/', 'model/', 'proto/', 'control-sync/'],
  'agent/': ['core/', 'model/', 'protocols/', 'control-sync/', 'proto/', 'control-sync/directory/'],
  'test/': [],
  'tools/': ['agent/', 'core/', 'model/', 'hub/', 'test/'],
  'demo/': ['agent/', 'core/', 'model/', 'hub/', 'test/', 'tools/'],
}

/** Package → where it may be imported, and why it is fenced. Anything not listed may not be imported by shipped code at all. */
const FENCES: Record<string, { readonly in: readonly string[]; readonly why: string }> = {
  '@grpc/grpc-js': { in: ['proto/', 'control-sync/', 'hub/'], why: 'gRPC carries configuration, never user bytes' },
  '@bufbuild/protobuf': { in: ['proto/', 'control-sync/', 'hub/'], why: 'protobuf stops at the decoders' },
  'better-sqlite3': { in: ['core/storage/sqlite-file.ts', 'hub/registry/'], why: 'SQLite calls block; only a worker or the hub may wait for a disk' },
  pino: { in: ['core/log.ts'], why: 'one log format' },
  zod: { in: ['core/yaml.ts', 'agent/config.ts', 'agent/config/', 'model/mqtt-policy.ts', 'hub/config.ts'], why: 'schemas stand at the edges' },
  yaml: { in: ['core/yaml.ts', 'agent/config.ts', 'agent/config/', 'control-sync/directory/', 'hub/config.ts'], why: 'files are parsed at the edges' },
  ws: { in: ['control-sync/fleet/', 'protocols/mqtt/', 'hub/relay/'], why: 'WebSocket: relay and MQTT' },
  'node-forge': { in: ['control-sync/identity/', 'hub/ca/'], why: 'ASN.1 of CSRs and certificates' },
  mqtt: { in: ['agent/cli/', 'demo/'], why: 'an independent client; the product has its own codec' },
  commander: { in: ['agent/cli/', 'agent/main.ts', 'hub/cli/', 'hub/main.ts'], why: 'command lines' },
  'dns-packet': { in: ['protocols/dns/'], why: 'DNS' },
  re2js: { in: ['core/regex.ts'], why: 'the only way to a pattern: linear time' },
  'node:net': { in: ['protocols/', 'agent/workload-health/', 'core/os/network.ts', 'core/os/inherited-sockets.ts', 'core/ip-source.ts', 'agent/admin/', 'hub/', 'tools/', 'demo/'], why: 'sockets belong to the data path' },
  'node:tls': { in: ['protocols/', 'agent/workload-health/', 'core/os/network.ts', 'agent/admin/', 'hub/'], why: 'sockets belong to the data path' },
  'node:dgram': { in: ['core/os/network.ts'], why: 'sockets come through World' },
  'node:http2': { in: ['hub/'], why: 'it ends the process where a head is malformed; the data path has its own codec, grpc-js has this one' },
  'node:http': { in: ['agent/admin/', 'agent/cli/', 'hub/', 'tools/', 'demo/'], why: 'the data path has its own codec' },
  esbuild: { in: ['tools/build/'], why: 'the build' },
  'node:worker_threads': { in: ['core/', 'agent/main.ts', 'hub/main.ts', 'control-sync/directory/'], why: 'workers are started by core, and the one that reads a folder by its reader' },
}

export type Import = readonly [from: string, to: string]

const layerOf = (path: string): string =>
  Object.keys(MAY).filter((l) => path.startsWith(l)).sort((a, b) => b.length - a.length)[0] ?? `(no layer) ${path}`

/** @param imports file → file, both relative to the root. */
export function layerViolations(imports: readonly Import[]): string[] {
  return imports.flatMap(([from, to]) => {
    const [a, b] = [layerOf(from), layerOf(to)]
    return a === b || MAY[a]?.includes(b) ? [] : [`${from} imports ${to}: ${a} may not import ${b}`]
  })
}

/** @param imports file → package name or fenced node: module. */
export function fenceViolations(imports: readonly Import[]): string[] {
  return imports.flatMap(([from, name]) => {
    const fence = FENCES[name]
    if (!fence) return name.startsWith('node:') ? [] : [`${from} imports ${name}: not in the table of test/rules/layers.ts`]
    return fence.in.some((place) => from.startsWith(place)) ? [] : [`${from} imports ${name}: only ${fence.in.join(', ')} may (${fence.why})`]
  })
}
