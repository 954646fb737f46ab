/** Configurations and requests by chance, asked of Envoy and of meshlet: the first that they treat differently, shrunk. */
import { isDeepStrictEqual } from 'node:util'
import { Dice } from '../../../fuzz/live/words.ts'
import { seededRandom } from '../../../helpers/random.ts'
import { Client } from './client.ts'
import { factsOf, isLocal, isMalformed } from './compare.ts'
import { withEndpoint } from './filters/sessions.ts'
import { StreamClient } from './stream-client.ts'
import { requestOf, type Request } from './requests.ts'
import { configurationOf, type Configuration } from './routes.ts'
import { smallerConfigurations, smallerRequests, type Case } from './shrink.ts'
import { startSubjects, type Subjects } from './subjects.ts'

export type Codec = 'http1' | 'http2'
export type Difference = Case & { readonly envoy: unknown; readonly meshlet: unknown }
export type Compared = { readonly pairs: number; readonly difference: Difference | undefined }

const REQUESTS_PER_TABLE = 100
/** A shrinking configuration gets a listener in both for each thing that it may lose. */
const MAX_CANDIDATES = 150
const MAX_ROUNDS = 30

/** Ends at the first difference. @param pairs rounded up to whole tables */
export async function comparePairs(codec: Codec, seed: number, pairs: number): Promise<Compared> {
  const dice = new Dice(seededRandom(seed))
  const configurations = Array.from({ length: Math.ceil(pairs / REQUESTS_PER_TABLE) }, () => configurationOf(dice))
  let asked = 0
  const found = await withSubjects(configurations, async (subjects) => {
    for (const [i, configuration] of configurations.entries()) {
      using both = new BothClients(subjects, i, codec)
      for (let k = 0; k < REQUESTS_PER_TABLE; k++) {
        const request = requestOf(dice)
        asked++
        if (await both.differ(request)) return { configuration, request }
      }
    }
    return undefined
  })
  return { pairs: asked, difference: found && (await shrink(codec, found)) }
}

const REFUSED = { refused: 'by both' }
let lastKey = 0
/** One request at a time to either. */
class BothClients implements Disposable {
  readonly #envoy: Client | StreamClient
  readonly #meshlet: Client | StreamClient
  readonly #subjects: Subjects
  /** @param which of the configurations */
  constructor(subjects: Subjects, which: number, codec: Codec) {
    const Codecs = { http1: Client, http2: StreamClient }[codec]
    const { envoy, meshlet } = subjects.ports[which]!
    this.#envoy = new Codecs(envoy)
    this.#meshlet = new Codecs(meshlet)
    this.#subjects = subjects
  }
  async facts(request: Request): Promise<[envoy: unknown, meshlet: unknown]> {
    const key = String(lastKey++)
    const own = request.fields.map(([name, value]) => [name, withEndpoint(value, this.#subjects.originPort)] as const)
    const named = { ...request, fields: [...own, ['x-key', key] as const] }
    const [envoy, meshlet] = await Promise.all([this.#envoy.ask(named), this.#meshlet.ask(named)])
    const tries = this.#subjects.tries(key)
    // Nothing was planned for it here, so local_reply_config finds less of it than Envoy's (docs/differences.md).
    const isRefused = isMalformed(meshlet) && isLocal(envoy)
    return [
      { ...(isRefused ? REFUSED : factsOf(envoy, request)), tries: tries.envoy },
      { ...(isRefused ? REFUSED : factsOf(meshlet, request)), tries: tries.meshlet },
    ]
  }
  async differ(request: Request): Promise<boolean> {
    const [envoy, meshlet] = await this.facts(request)
    return !isDeepStrictEqual(envoy, meshlet)
  }
  [Symbol.dispose](): void {
    this.#envoy[Symbol.dispose]()
    this.#meshlet[Symbol.dispose]()
  }
}

async function shrink(codec: Codec, from: Case): Promise<Difference> {
  let now = await withSubjects([from.configuration], (subjects) => shrinkRequest(codec, from, subjects))
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const next = await shrinkConfiguration(codec, now)
    if (!next) break
    now = next
  }
  return await withSubjects([now.configuration], async (subjects) => {
    const last = await shrinkRequest(codec, now, subjects)
    using both = new BothClients(subjects, 0, codec)
    const [envoy, meshlet] = await both.facts(last.request)
    return { ...last, envoy, meshlet }
  })
}
async function shrinkRequest(codec: Codec, from: Case, subjects: Subjects): Promise<Case> {
  using both = new BothClients(subjects, 0, codec)
  for (const request of smallerRequests(from.request))
    if (await both.differ(request)) return await shrinkRequest(codec, { ...from, request }, subjects)
  return from
}
async function shrinkConfiguration(codec: Codec, { configuration, request }: Case): Promise<Case | undefined> {
  const candidates = smallerConfigurations(configuration).slice(0, MAX_CANDIDATES)
  if (candidates.length === 0) return undefined
  return await withSubjects(candidates, async (subjects) => {
    for (const [i, candidate] of candidates.entries()) {
      using both = new BothClients(subjects, i, codec)
      if (await both.differ(request)) return { configuration: candidate, request }
    }
    return undefined
  })
}

/** Both run as long as `use` does. */
async function withSubjects<T>(
  configurations: readonly Configuration[],
  use: (subjects: Subjects) => Promise<T>,
): Promise<T> {
  const ends: (() => void | Promise<void>)[] = []
  try {
    return await use(await startSubjects({ after: (end) => void ends.unshift(end) }, configurations))
  } finally {
    for (const end of ends) await end()
  }
}
