/**
 * Floors, the lowest first: a file imports from its own floor and from those below, types included. What stands on one
 * floor knows nothing of its neighbours, but for BESIDE.
 */
const FLOORS: readonly (readonly string[])[] = [
  ['core/'],
  ['model/', 'proto/'],
  ['control-sync/', 'protocols/'],
  ['agent/', 'hub/'],
  ['tools/', 'demo/', 'test/'],
]
const BESIDE: Readonly<Record<string, readonly string[]>> = {
  'tools/': ['test/'],
  'demo/': ['tools/', 'test/'],
  'test/': ['tools/', 'demo/'],
}

/** Where less may be imported than the floor permits, and why. The longest prefix wins. */
const NARROW: Readonly<Record<string, { readonly may: readonly string[]; readonly why: string }>> = {
  'protocols/': { may: ['core/', 'model/', 'protocols/'], why: 'protobuf stops at the decoders' },
  'protocols/http/codec/': {
    may: ['core/', 'model/', 'protocols/http/codec/'],
    why: 'bytes in and out, no connection',
  },
  'protocols/mqtt/codec/': {
    may: ['core/', 'model/', 'protocols/mqtt/codec/'],
    why: 'bytes in and out, no connection',
  },
  'hub/': {
    may: ['core/', 'model/', 'proto/', 'control-sync/directory/', 'control-sync/config-dump.ts', 'hub/'],
    why: 'it reads the same resource files as an agent in directory mode, and shows them as its config_dump does',
  },
  'tools/build/': { may: ['core/', 'tools/'], why: 'what is shipped is built of no test file' },
}

/** Folders of the data path, the lowest first: what both sides of a border need lies below both. */
const DATA_PATH = [
  'protocols/',
  'protocols/protobuf/',
  'protocols/telemetry/',
  'protocols/tls/',
  'protocols/tcp/',
  'protocols/http/',
  'protocols/jwks/',
  'protocols/upstream/',
  'protocols/mqtt/',
  'protocols/downstream/',
  'protocols/dns/',
]

/** More files make it two subjects. */
export const MAX_FILES = 16

/**
 * Package → where it may be imported, and why it is fenced. Anything not listed may not be imported by shipped code at
 * all.
 */
const FENCES: Record<string, { readonly in: readonly string[]; readonly why: string }> = {
  '@grpc/grpc-js': { in: ['proto/', 'control-sync/', 'hub/'], why: 'gRPC carries configuration, never user bytes' },
  '@bufbuild/protobuf': { in: ['proto/', 'control-sync/', 'hub/'], why: 'protobuf stops at the decoders' },
  'better-sqlite3': {
    in: ['core/storage/sqlite-file.ts', 'hub/registry/'],
    why: 'SQLite calls block; only a worker or the hub may wait for a disk',
  },
  pg: { in: ['hub/registry/postgres/'], why: 'PostgreSQL behind the registry of several hubs' },
  pgpass: { in: ['hub/registry/postgres/'], why: 'the file of passwords of PostgreSQL (PGPASSFILE)' },
  fastify: { in: ['hub/api/http/', 'hub/console/'], why: 'the APIs of the hub' },
  pino: { in: ['core/log.ts'], why: 'one log format' },
  zod: {
    in: [
      'core/yaml.ts',
      'agent/config/',
      'model/mqtt-policy.ts',
      'model/mqtt/route.ts',
      'model/mqtt/bridge.ts',
      'model/mqtt/sparkplug.ts',
      'model/mqtt/users.ts',
      'model/mqtt/quota.ts',
      'hub/config.ts',
      'hub/api/http/',
      'hub/istio/kinds/',
      'hub/istio/read/',
      'hub/console/settings.ts',
      'hub/console/schemas.ts',
      'hub/console/fleet-schemas.ts',
      'hub/console/rollout-schemas.ts',
      'hub/console/record-schemas.ts',
    ],
    why: 'schemas stand at the edges',
  },
  yaml: {
    in: ['core/yaml.ts', 'agent/config/', 'control-sync/directory/', 'hub/config.ts', 'hub/istio/read/'],
    why: 'files are parsed at the edges',
  },
  ws: { in: ['protocols/mqtt/', 'control-sync/fleet/', 'hub/relay/'], why: 'WebSocket: MQTT, and the relay' },
  'node-forge': { in: ['control-sync/identity/', 'hub/ca/'], why: 'ASN.1 of CSRs and certificates' },
  mqtt: { in: ['agent/cli/', 'demo/'], why: 'an independent client; the product has its own codec' },
  commander: { in: ['core/cli/', 'agent/cli/', 'agent/main.ts', 'hub/cli/', 'hub/main.ts'], why: 'command lines' },
  'dns-packet': { in: ['protocols/dns/'], why: 'DNS' },
  re2js: { in: ['core/regex.ts'], why: 'the only way to a pattern: linear time' },
  'node:net': {
    in: [
      'protocols/',
      'agent/workload-health/',
      'core/os/network.ts',
      'core/os/inherited-sockets.ts',
      'core/os/sockets/',
      'core/ip-source.ts',
      'agent/admin/',
      'hub/',
      'control-sync/fleet/',
      'tools/',
      'demo/',
    ],
    why: 'sockets belong to the data path',
  },
  'node:tls': {
    in: ['protocols/', 'agent/workload-health/', 'core/os/network.ts', 'agent/admin/', 'hub/', 'control-sync/fleet/'],
    why: 'sockets belong to the data path',
  },
  'node:dgram': { in: ['core/os/network.ts'], why: 'sockets come through World' },
  'node:http2': {
    in: ['hub/'],
    why: 'it ends the process where a head is malformed; the data path has its own codec, grpc-js has this one',
  },
  'node:http': {
    in: ['agent/admin/', 'agent/cli/', 'hub/', 'control-sync/fleet/', 'tools/', 'demo/'],
    why: 'the data path has its own codec',
  },
  esbuild: { in: ['tools/build/'], why: 'the build' },
  'node:worker_threads': {
    in: ['core/', 'agent/main.ts', 'hub/main.ts', 'control-sync/directory/'],
    why: 'workers are started by core, and the one that reads a folder by its reader',
  },
}

export type Import = readonly [from: string, to: string]

const longest = (prefixes: readonly string[], path: string): string | undefined =>
  prefixes.filter((p) => path.startsWith(p)).sort((a, b) => b.length - a.length)[0]
const houseOf = (path: string): string => longest(FLOORS.flat(), path) ?? `(no floor) ${path}`
const floorOf = (path: string): number => FLOORS.findIndex((floor) => floor.includes(houseOf(path)))

/** @param imports file → file, both relative to the root. */
export function layerViolations(imports: readonly Import[]): string[] {
  return imports.flatMap(([from, to]) => {
    const [a, b] = [floorOf(from), floorOf(to)]
    if (a < 0 || b < 0) return [`${from} imports ${to}: one of them stands on no floor`]
    if (b > a) return [`${from} imports ${to}: up, from ${houseOf(from)} to ${houseOf(to)}`]
    if (b === a && houseOf(from) !== houseOf(to) && !BESIDE[houseOf(from)]?.includes(houseOf(to)))
      return [`${from} imports ${to}: ${houseOf(from)} may not import ${houseOf(to)}`]
    const narrow = NARROW[longest(Object.keys(NARROW), from) ?? '']
    if (narrow && !narrow.may.some((place) => to.startsWith(place)))
      return [`${from} imports ${to}: only ${narrow.may.join(', ')} may be imported there (${narrow.why})`]
    const [x, y] = [from, to].map((file) => DATA_PATH.indexOf(longest(DATA_PATH, file) ?? '')) as [number, number]
    return x >= 0 && y > x ? [`${from} imports ${to}: up, from ${DATA_PATH[x]} to ${DATA_PATH[y]}`] : []
  })
}

/** Files that import each other, by whatever way and for types alone, too. @returns one line a circle */
export function circles(imports: readonly Import[]): string[] {
  const out = new Map<string, string[]>()
  for (const [from, to] of imports) if (from !== to) out.set(from, [...(out.get(from) ?? []), to])
  const found: string[] = []
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file)
    if (at >= 0) {
      found.push([...path.slice(at), file].join(' → '))
      return
    }
    if (done.has(file)) return
    for (const next of out.get(file) ?? []) visit(next, [...path, file])
    done.add(file)
  }
  for (const file of out.keys()) visit(file, [])
  return found
}

/** @returns folders with more than MAX_FILES files */
export function crowded(files: readonly string[]): string[] {
  const folders = Map.groupBy(files, (file) => file.slice(0, file.lastIndexOf('/')))
  return [...folders]
    .filter(([, all]) => all.length > MAX_FILES)
    .map(([folder, all]) => `${folder}: ${all.length} files`)
}

/** @param imports file → package name or fenced node: module. */
export function fenceViolations(imports: readonly Import[]): string[] {
  return imports.flatMap(([from, name]) => {
    const fence = FENCES[name]
    if (!fence)
      return name.startsWith('node:')
        ? []
        : [`${from} imports ${name}: not in the table of test/rules/checks/layers.ts`]
    return fence.in.some((place) => from.startsWith(place))
      ? []
      : [`${from} imports ${name}: only ${fence.in.join(', ')} may (${fence.why})`]
  })
}
