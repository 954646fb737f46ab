/**
 * `npm run relay:dictionary`: core/relay/dictionary.ts, what agents and hubs know of xDS before a word is said. It is
 * made of the resources that istiod sends to sidecars (test/golden), those that say most that is new first: Zstandard
 * finds the end of a dictionary with the shortest distances, so the order is turned round at last.
 *
 * Another dictionary is another version of the wire: both sides tell which one they have, and go without when they
 * differ.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import zlib from 'node:zlib'
import { pathToFileURL } from 'node:url'
import { encodeDeltaRequest } from '../control-sync/ads/messages.ts'
import { describeNode } from '../control-sync/ads/node.ts'
import { FolderReader } from '../control-sync/directory/reader.ts'
import { watchFolder } from '../control-sync/directory/watch.ts'
import { systemClock } from '../core/os/clock.ts'
import { encodeMessage } from '../proto/relay/xds.ts'
import { TYPE_URLS } from '../model/snapshot.ts'
import { PLAIN_NODE } from '../test/helpers/control-plane/node-settings.ts'

const MAX_BYTES = 20 * 1024
const ROOT = path.resolve(import.meta.dirname, '..')
const FILE = path.join(ROOT, 'core/relay/dictionary.ts')
const LINE_CHARS = 100

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href)
  fs.writeFileSync(FILE, formatDictionary(await makeDictionary()))

export async function makeDictionary(): Promise<Buffer> {
  const samples = await readSamples()
  const chosen: Buffer[] = []
  let bytes = 0
  while (samples.length > 0) {
    const known = Buffer.concat(chosen)
    const costs = samples.map((sample) => costOf(sample, known))
    const best = costs.indexOf(Math.max(...costs))
    const [sample] = samples.splice(best, 1)
    if (costs[best]! < sample!.length / 8 || bytes + sample!.length > MAX_BYTES) continue
    chosen.push(sample!)
    bytes += sample!.length
  }
  return Buffer.concat([...chosen.toReversed(), firstRequest()])
}

/** What every connection begins with. */
function firstRequest(): Uint8Array {
  const node = describeNode({ ...PLAIN_NODE, name: 'gateway', meshId: 'cluster.local', ip: '10.0.0.1', dns: true })
  const request = { kind: 'cluster', withNode: true, subscribe: [], unsubscribe: [], known: new Map() } as const
  return encodeMessage(encodeDeltaRequest({ ...request, nonce: '', error: undefined }, node))
}

function costOf(sample: Buffer, dictionary: Buffer): number {
  return zlib.zstdCompressSync(sample, dictionary.length === 0 ? {} : { dictionary }).length
}

/** Type URLs, then every resource of every golden file, as bytes on the wire. */
async function readSamples(): Promise<Buffer[]> {
  const clock = systemClock
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'meshlet-dictionary-'))
  const samples = new Map<string, Buffer>()
  samples.set('types', Buffer.from(Object.values(TYPE_URLS).join('\n')))
  try {
    for (const file of fs.readdirSync(path.join(ROOT, 'test/golden')).sort()) {
      if (!/^istiod-.*\.json$/.test(file)) continue
      fs.copyFileSync(path.join(ROOT, 'test/golden', file), path.join(folder, 'resources.json'))
      using reader = new FolderReader(clock)
      using _watching = await watchFolder({
        folder,
        node: undefined,
        clock,
        reader,
        onChange: ({ resources }) => {
          for (const named of resources.values())
            for (const value of named.values()) {
              const bytes = Buffer.from(value)
              samples.set(bytes.toString('latin1'), bytes)
            }
        },
      })
    }
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
  return [...samples.values()].sort((a, b) => Buffer.compare(a, b))
}

export function formatDictionary(bytes: Buffer): string {
  const lines = bytes.toString('base64').match(new RegExp(`.{1,${LINE_CHARS}}`, 'g')) ?? []
  return `/** Made by tools/relay-dictionary.ts of what istiod sends to sidecars; not edited by hand. */
export const DICTIONARY = Buffer.from(
  \`
${lines.join('\n')}
\`,
  'base64',
)
`
}
