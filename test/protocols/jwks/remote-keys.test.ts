/** Which keys are fetched: those that listeners in force name, once each, and as long as one does. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { RemoteJwks } from '../../../model/http/jwt.ts'
import type { Listener } from '../../../model/listener.ts'
import type { FetchedKeys } from '../../../protocols/jwks/fetched-keys.ts'
import type { KeySet, KeySets } from '../../../protocols/jwks/key-sets.ts'
import { MAX_REMOTE_SETS, RemoteKeys } from '../../../protocols/jwks/remote-keys.ts'
import { ALONE } from './rig.ts'

const remote = (path: string, more: Partial<RemoteJwks> = {}): RemoteJwks => ({
  cluster: 'c',
  scheme: 'https',
  authority: 'id.test',
  path,
  timeoutMs: 1_000,
  refreshMs: 60_000,
  failedRefetchMs: 2_000,
  retries: 0,
  backoff: { baseMs: 1, capMs: 1 },
  ...more,
})
function listener(of: readonly RemoteJwks[], chain: 'filterChains' | 'defaultFilterChain' = 'filterChains'): Listener {
  const providers = [{ jwks: { keys: [], unused: [] } }, ...of.map((jwks) => ({ jwks }))]
  const http = { kind: 'http', http: { filters: [{ kind: 'cors' }, { kind: 'jwt', jwt: { providers } }] } }
  const one = { codec: http }
  const chains =
    chain === 'filterChains'
      ? { filterChains: [{ codec: { kind: 'tcp' } }, one], defaultFilterChain: undefined }
      : { filterChains: [], defaultFilterChain: one }
  return chains as unknown as Listener
}

class Sets {
  readonly open: KeySet[] = []
  readonly ended: string[] = []
  readonly forgotten: string[] = []
  readonly keys = new RemoteKeys(
    {
      open: (set: KeySet) => {
        this.open.push(set)
        const end = (): void => void this.ended.push(set.url)
        return { url: set.url, problems: () => [set.url], [Symbol.dispose]: end } as unknown as FetchedKeys
      },
      forget: ({ url, way }: KeySet) => void this.forgotten.push(`${way} ${url}`),
    } as unknown as KeySets,
    async ({ path }) => `document of ${path}`,
  )
}

test('each is opened once, whoever names it, and found by whatever names it', async () => {
  const sets = new Sets()
  const [a, again, b] = [remote('/a'), remote('/a'), remote('/b', { failedRefetchMs: 900_000 })]
  sets.keys.apply([listener([a, b]), listener([again], 'defaultFilterChain')])
  assert.deepEqual(
    sets.open.map(({ url, way, times }) => [url, way, times.refreshMs, times.retry]),
    [
      ['https://id.test/a', 'c', 60_000, { baseMs: 2_000, capMs: 300_000 }],
      ['https://id.test/b', 'c', 60_000, { baseMs: 900_000, capMs: 900_000 }],
    ],
  )
  assert.equal(await sets.open[0]!.fetch(ALONE), 'document of /a')
  assert.ok(sets.keys.find(a))
  assert.equal(sets.keys.find(a), sets.keys.find(again))
  assert.notEqual(sets.keys.find(a), sets.keys.find(b))
  assert.equal(sets.keys.find(remote('/a')), undefined, 'of no configuration in force')
  assert.equal(sets.keys.problems().length, 2)
})

test('a push that names the same opens nothing; one that names it no more ends and forgets it', () => {
  const sets = new Sets()
  const [a, b] = [remote('/a'), remote('/b')]
  sets.keys.apply([listener([a, b])])
  const next = remote('/a')
  sets.keys.apply([listener([next])])
  assert.deepEqual([sets.open.length, sets.ended, sets.forgotten], [2, ['https://id.test/b'], ['c https://id.test/b']])
  assert.equal(sets.keys.find(next), sets.keys.find(a))
  assert.ok(sets.keys.find(b), 'connections of the configuration before have its keys')
})

test('other times for the same keys: what is kept of them stays', () => {
  const sets = new Sets()
  sets.keys.apply([listener([remote('/a')])])
  sets.keys.apply([listener([remote('/a', { refreshMs: 5_000 })])])
  assert.deepEqual([sets.open.length, sets.ended.length, sets.forgotten], [2, 1, []])
  sets.keys.apply([listener([remote('/a', { cluster: 'other' })])])
  assert.deepEqual(sets.forgotten, ['c https://id.test/a'])
  sets.keys[Symbol.dispose]()
  assert.deepEqual([sets.ended.length, sets.forgotten.length], [3, 1], 'an end of the agent forgets nothing')
})

test('there is a bound', () => {
  const sets = new Sets()
  const all = Array.from({ length: MAX_REMOTE_SETS + 1 }, (_, i) => remote(`/${i}`))
  sets.keys.apply([listener(all)])
  assert.equal(sets.open.length, MAX_REMOTE_SETS)
  assert.equal(sets.keys.find(all.at(-1)!), undefined)
})
